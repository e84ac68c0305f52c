//! A plan as a document: printed, saved to a file, and compared with a later plan.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::store::manifest::{Line, Manifest};

/// Raise it when older readers can no longer understand the file.
pub const VERSION: u32 = 1;

/// What a run would do, and the request that the plan answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Plan {
    pub version: u32,
    pub request: Request,
    pub pipeline: String,
    pub profile: Option<String>,
    /// The text of the pipeline file, if the plan must not change with the file: a run gives it to the processes of its
    /// stages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// In topological order.
    pub stages: Vec<Planned>,
}

/// What the user asked for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Request {
    /// The pipeline file, relative to the project root if it is inside.
    pub file: String,
    pub profile: Option<String>,
    pub set: Vec<String>,
    /// Empty for all stages.
    pub stages: Vec<String>,
    pub force: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// The result is in the cache, or in the archive.
    Hit,
    Run,
    /// Runs unless its upstream results turn out unchanged.
    MayStop,
    /// Cannot run: an input is missing, either its own or one of a stage upstream.
    Blocked,
}

impl Action {
    /// The wording in messages: `planned as …`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Hit => "a hit",
            Self::Run => "a run",
            Self::MayStop => "a run that may stop early",
            Self::Blocked => "blocked",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Planned {
    pub stage: String,
    pub kind: String,
    pub action: Action,
    pub why: Vec<String>,
    /// For a hit that only the archive has: the bytes that the run fetches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetch: Option<u64>,
    /// How long it took when it last ran.
    pub seconds: Option<f64>,
    /// The trials that it would run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trials: Option<Foreseen>,
    /// None if it depends on results that do not exist yet.
    pub fingerprint: Option<String>,
    /// The known lines that the result depends on.
    pub depends_on: Manifest,
    /// Labels of the lines that are not known yet.
    pub open: Vec<String>,
    /// The source of each input: `in.model`, `teacher`.
    pub inputs: Manifest,
}

/// The trials that a stage would run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Foreseen {
    pub total: usize,
    /// Trials whose results the cache has, up to the first that it lacks.
    pub known: usize,
    /// How long one took: the stages of the file that it varies, when they last ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
}

impl Foreseen {
    /// What is left takes about this long.
    pub fn left(&self) -> Option<f64> {
        Some(self.seconds? * self.total.saturating_sub(self.known) as f64)
    }
}

/// A stage that differs from its plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    pub stage: String,
    /// `learning-rate 0.0005 → 0.0003`.
    pub what: String,
    /// The first line of the manifest that differs.
    pub label: Option<String>,
}

impl Planned {
    /// Whether the inputs now have other sources. `depends_on` cannot show this for results that do not exist yet.
    pub(crate) fn rewired(&self, now: &Manifest) -> Option<Moved> {
        let changes = now.explain(&self.inputs);
        let what = changes.join("; ");
        (!changes.is_empty()).then(|| Moved { stage: self.stage.clone(), what, label: None })
    }

    /// How the lines that the result depends on differ from this plan. Lines that were open when the plan was made may be
    /// known by now.
    pub(crate) fn changed(&self, now: &Manifest) -> Option<Moved> {
        let was_open = |l: &Line| self.open.contains(&l.label);
        let now = Manifest(now.0.iter().filter(|l| !was_open(l)).cloned().collect());
        let changes = now.explain(&self.depends_on);
        if changes.is_empty() {
            return None;
        }
        let differs = |a: &Manifest, b: &Manifest| {
            a.0.iter().find(|l| b.get(&l.label) != Some(&l.value)).map(|l| l.label.clone())
        };
        let label = differs(&now, &self.depends_on).or_else(|| differs(&self.depends_on, &now));
        Some(Moved { stage: self.stage.clone(), what: changes.join("; "), label })
    }

    /// How today's verdict differs from this plan.
    pub fn moved(&self, action: Action, now: &Manifest, why: &[String]) -> Option<Moved> {
        if let Some(changed) = self.changed(now) {
            return Some(changed);
        }
        if action == self.action || (self.action == Action::MayStop && action != Action::Blocked) {
            return None;
        }
        let why = if why.is_empty() { "its result is now in the cache".into() } else { why.join("; ") };
        let what = format!("planned as {}, now {}: {why}", self.action.word(), action.word());
        Some(Moved { stage: self.stage.clone(), what, label: None })
    }
}

impl Plan {
    pub fn count(&self, action: Action) -> usize {
        self.stages.iter().filter(|s| s.action == action).count()
    }

    /// Number of hits that only the archive has, and the bytes to fetch.
    pub fn fetches(&self) -> (usize, u64) {
        let fetches = || self.stages.iter().filter_map(|s| s.fetch);
        (fetches().count(), fetches().sum())
    }

    /// Number of stages that would run, as far as known.
    pub fn runs(&self) -> usize {
        self.count(Action::Run) + self.count(Action::MayStop)
    }

    /// The total last duration of the stages to run, if any of them has one.
    pub fn seconds(&self) -> Option<f64> {
        let runs = self.stages.iter().filter(|s| matches!(s.action, Action::Run | Action::MayStop));
        let timed: Vec<f64> = runs.filter_map(|s| s.seconds).collect();
        (!timed.is_empty()).then(|| timed.iter().sum())
    }

    /// Stages by name.
    pub fn index(&self) -> HashMap<&str, &Planned> {
        self.stages.iter().map(|s| (s.stage.as_str(), s)).collect()
    }

    /// How `now`, a plan of the same request, differs from this one.
    pub fn moved(&self, now: &Plan) -> Vec<Moved> {
        let (then, today) = (self.index(), now.index());
        let mut all: Vec<Moved> = Vec::new();
        for stage in &now.stages {
            match then.get(stage.stage.as_str()) {
                Some(planned) => all.extend(
                    planned
                        .rewired(&stage.inputs)
                        .or_else(|| planned.moved(stage.action, &stage.depends_on, &stage.why)),
                ),
                None => all.push(Moved { stage: stage.stage.clone(), what: "not in the plan".into(), label: None }),
            }
        }
        for stage in self.stages.iter().filter(|s| !today.contains_key(s.stage.as_str())) {
            let what = "in the plan, but no longer in the pipeline".into();
            all.push(Moved { stage: stage.stage.clone(), what, label: None });
        }
        all
    }
}
