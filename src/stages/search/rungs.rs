//! Rungs: epochs after which the worse trials of a bracket end.

use pipe_engine::contract::kind::Invalid;
use pipe_engine::contract::trial::{Found, Override, Sample};
use pipe_engine::store::artifact::Artifact;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::over::Over;

/// The parameter of a training that stops at a rung, and the output that it then has.
const UNTIL: &str = "until";
const STATE: &str = "state";

/// `rungs` as the file has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RungParameters {
    /// The epochs after which trials are compared, ascending; those that are left then train to their last epoch.
    epochs: Vec<u32>,
    /// The share of trials that go on at each rung, rounded up.
    #[serde(default = "half")]
    keep: f64,
    /// The stage that trains. Default: the only one of `over`.
    #[serde(default)]
    stage: Option<String>,
}

fn half() -> f64 {
    0.5
}

/// The rungs of a search.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rungs {
    pub stage: String,
    pub epochs: Vec<u32>,
    keep: f64,
}

impl RungParameters {
    pub(super) fn check(&self, over: &Over) -> Vec<Invalid> {
        let mut problems = Vec::new();
        let mut wrong = |message: String| problems.push(Invalid::new("rungs", message));
        if self.epochs.is_empty() || self.epochs.contains(&0) || !self.epochs.is_sorted_by(|a, b| a < b) {
            wrong(format!("the epochs of `rungs` must grow from at least 1, not {:?}", self.epochs));
        }
        if !(self.keep > 0.0 && self.keep < 1.0) {
            wrong(format!("`keep` of `rungs` is {}; it must be above 0 and below 1", self.keep));
        }
        match self.stage(over) {
            None => wrong("`over` varies several stages: add the one that trains to `rungs`, `stage = \"…\"`".into()),
            Some(stage) => {
                let varied = |key: &str| over.get(stage).is_some_and(|keys| keys.contains_key(key));
                if let Some(key) = ["epochs", UNTIL].into_iter().find(|key| varied(key)) {
                    wrong(format!(
                        "`rungs` compare trials after equal shares of a training: leave `{stage}.{key}` out of `over`"
                    ));
                }
            }
        }
        problems
    }

    fn stage<'a>(&'a self, over: &'a Over) -> Option<&'a str> {
        match (&self.stage, over.len()) {
            (Some(stage), _) => Some(stage),
            (None, 1) => over.keys().next().map(String::as_str),
            (None, _) => None,
        }
    }

    pub(super) fn of(&self, over: &Over) -> Option<Rungs> {
        let stage = self.stage(over)?.to_owned();
        Some(Rungs { stage, epochs: self.epochs.clone(), keep: self.keep })
    }
}

impl Rungs {
    /// The fewest trials of which one is left at the end.
    pub(super) fn bracket(&self) -> usize {
        self.epochs.iter().fold(1.0, |trials: f64, _| (trials / self.keep).ceil()).min(1e6) as usize
    }

    /// How many of some trials go on.
    pub(super) fn kept(&self, trials: usize) -> usize {
        ((trials as f64 * self.keep).ceil() as usize).min(trials)
    }

    pub(super) fn stop_at(&self, until: u32) -> Override {
        Override { stage: self.stage.clone(), key: UNTIL.into(), value: until.into() }
    }

    /// The state from which the next rung goes on.
    pub(super) fn state(&self, found: &Found) -> Option<Artifact> {
        let of_other = found.others.get(&self.stage).and_then(|entry| entry.outputs.get(STATE));
        of_other.or_else(|| found.entry.outputs.get(STATE)).cloned()
    }

    /// Each rung, for a look at it before anything runs.
    pub(super) fn samples(&self) -> impl Iterator<Item = Sample> + '_ {
        self.epochs.iter().enumerate().map(|(at, until)| Sample {
            path: vec!["rungs".into(), "epochs".into(), at.to_string()],
            set: self.stop_at(*until),
        })
    }
}
