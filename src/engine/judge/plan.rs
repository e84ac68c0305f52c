//! A plan as a document: shown, kept in a file, and held against what is true later.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::store::manifest::{Line, Manifest};

/// Raise when a reader of the file would no longer understand it.
pub const VERSION: u32 = 1;

/// What a run would do, and everything needed to ask for that run again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Plan {
    pub version: u32,
    pub request: Request,
    pub pipeline: String,
    pub profile: Option<String>,
    /// In topological order.
    pub stages: Vec<Planned>,
}

/// What was asked for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Request {
    /// The pipeline file, relative to the project root where it is below it.
    pub file: String,
    pub profile: Option<String>,
    pub set: Vec<String>,
    /// Empty for all.
    pub stages: Vec<String>,
    pub force: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// The result is in the cache.
    Hit,
    Run,
    /// Runs unless what is above it comes out as it was before.
    MayStop,
    /// Cannot run: an input is missing, its own or that of a stage above it.
    Blocked,
}

impl Action {
    /// As said in messages: `planned as …`.
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
    /// What it took when it was last made.
    pub seconds: Option<f64>,
    /// Absent where it depends on results that are not there yet.
    pub fingerprint: Option<String>,
    /// The lines that the result depends on, as far as they are known.
    pub depends_on: Manifest,
    /// Labels of the lines that are not known yet.
    pub open: Vec<String>,
    /// Where each input comes from: `in.model`, `teacher`.
    pub inputs: Manifest,
}

/// A stage that is no longer as it was planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    pub stage: String,
    /// `learning-rate 0.0005 → 0.0003`.
    pub what: String,
    /// The first line of the manifest that differs.
    pub label: Option<String>,
}

impl Planned {
    /// Whether the inputs come from elsewhere by now; what is still to be made looks the same wherever it comes from.
    fn rewired(&self, now: &Manifest) -> Option<Moved> {
        let changes = now.explain(&self.inputs);
        let what = changes.join("; ");
        (!changes.is_empty()).then(|| Moved { stage: self.stage.clone(), what, label: None })
    }

    /// How a judgement of today departs from this plan. What was still open when it was made may be known by now.
    pub fn moved(&self, action: Action, now: &Manifest, why: &[String]) -> Option<Moved> {
        let moved = |what, label| Some(Moved { stage: self.stage.clone(), what, label });
        let was_open = |l: &Line| self.open.contains(&l.label);
        let now = Manifest(now.0.iter().filter(|l| !was_open(l)).cloned().collect());
        let changes = now.explain(&self.depends_on);
        if !changes.is_empty() {
            let differs = |a: &Manifest, b: &Manifest| {
                a.0.iter().find(|l| b.get(&l.label) != Some(&l.value)).map(|l| l.label.clone())
            };
            let label = differs(&now, &self.depends_on).or_else(|| differs(&self.depends_on, &now));
            return moved(changes.join("; "), label);
        }
        if action == self.action || (self.action == Action::MayStop && action != Action::Blocked) {
            return None;
        }
        let why = if why.is_empty() { "its result is in the cache by now".into() } else { why.join("; ") };
        moved(format!("planned as {}, now {}: {why}", self.action.word(), action.word()), None)
    }
}

impl Plan {
    pub fn count(&self, action: Action) -> usize {
        self.stages.iter().filter(|s| s.action == action).count()
    }

    /// Stages that would run, as far as one can say.
    pub fn runs(&self) -> usize {
        self.count(Action::Run) + self.count(Action::MayStop)
    }

    /// The sum of what the stages to run took last, if any of them was ever timed.
    pub fn seconds(&self) -> Option<f64> {
        let runs = self.stages.iter().filter(|s| matches!(s.action, Action::Run | Action::MayStop));
        let timed: Vec<f64> = runs.filter_map(|s| s.seconds).collect();
        (!timed.is_empty()).then(|| timed.iter().sum())
    }

    /// By stage.
    pub fn index(&self) -> HashMap<&str, &Planned> {
        self.stages.iter().map(|s| (s.stage.as_str(), s)).collect()
    }

    /// Where `now`, a plan of the same request, departs from this one.
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
            all.push(Moved { stage: stage.stage.clone(), what: "planned, and gone by now".into(), label: None });
        }
        all
    }
}
