//! Contradictions in a specification, found before any file is read.

use std::collections::HashSet;
use std::fmt;

use super::spec::{Purpose, Source, Spec};
use super::take::{Fill, Take};
use crate::text::data::labels::spelling::quoted;

/// A parameter with a value that cannot be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The parameter of the stage.
    pub key: &'static str,
    pub message: String,
    /// What to do.
    pub help: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}; {}", self.message, self.help)
    }
}

pub(crate) fn two_validations(share: f64) -> String {
    format!("validation is {share}, but a source already provides validation rows")
}

impl Spec {
    /// Whether a source has rows for validation.
    pub fn has_validation(&self) -> bool {
        self.sources.iter().any(|source| source.split.purpose() == Some(Purpose::Validation))
    }

    /// All problems that can be known without reading a file.
    pub fn problems(&self) -> Vec<Problem> {
        let mut all = Vec::new();
        let mut say = |key, message: String, help: &str| all.push(Problem { key, message, help: help.to_owned() });
        if !self.sources.iter().any(|source| source.split.may_be(Purpose::Train)) {
            say("sources", "no source has training rows".into(), "leave out `split` of at least one source");
        }
        if let Some(labels) = &self.labels {
            let distinct: HashSet<&String> = labels.iter().collect();
            if distinct.len() < 2 || distinct.len() < labels.len() {
                say("labels", "labels must be at least two different names".into(), "list each label once");
            }
        }
        if let Some(share) = self.validation {
            if !(0.0..1.0).contains(&share) {
                let message = format!("validation is {share}; it must be at least 0 and below 1");
                say("validation", message, "0.1 sets a tenth of the training rows aside");
            } else if share > 0.0 && self.has_validation() {
                say("validation", two_validations(share), "remove `validation`, or set it to 0");
            }
        }
        if let Some(threshold) = self.near_duplicates {
            if !(threshold > 0.0 && threshold <= 1.0) {
                let message = format!("near-duplicates is {threshold}; it must be above 0 and at most 1");
                say("near-duplicates", message, "0.8 finds texts that differ in a word or two");
            } else if !self.dedupe && !self.leakage {
                let message =
                    "near-duplicates is set, but dedupe and leakage are off, so it would change nothing".into();
                say("near-duplicates", message, "leave one of them on, or near-duplicates out");
            }
        }
        if let Some(single) = self.sources.iter().find(|source| source.text_pair.is_none() && self.has_pairs()) {
            let message = format!("{} has no `text-pair`, but another source has", single.path.display());
            say("sources", message, "all rows of a corpus are pairs, or none is: set it in every source or in none");
        }
        for source in &self.sources {
            let at = |message: &str| format!("{}: {message}", source.path.display());
            for mistake in source.mistakes() {
                say("sources", at(&mistake.what), &mistake.help);
            }
            if let Some((message, help)) = self.label_map_problem(source) {
                say("sources", at(&message), help);
            }
        }
        all.extend(self.take.iter().flat_map(|take| self.take_problems(take)));
        all
    }

    /// What cannot be right about `take`.
    fn take_problems(&self, take: &Take) -> Vec<Problem> {
        let mut all = Vec::new();
        let mut say = |message: String, help: &str| all.push(Problem { key: "take", message, help: help.to_owned() });
        for (key, count) in [("per-class", take.per_class), ("test-per-class", take.test_per_class)] {
            if count == Some(0) {
                say(format!("{key} of `take` is 0, which leaves no rows"), "write how many rows of each class to take");
            }
        }
        if take.per_class.is_none() && take.test_per_class.is_none() {
            say("`take` says neither per-class nor test-per-class".to_owned(), "write `take = { per-class = 1000 }`");
        }
        let may_test = self.sources.iter().any(|source| source.split.may_be(Purpose::Test));
        if take.test_per_class.is_some() && !may_test {
            let message = "`take` has test-per-class, but no source has test rows".to_owned();
            say(message, "give a source `split = \"test\"`, or leave test-per-class out");
        }
        if matches!(take.fill, Some(Fill::Augment | Fill::Repeat)) && take.per_class.is_none() {
            let message = "`take` has `fill`, but no per-class to fill up to".to_owned();
            say(message, "test rows are never made; add per-class, or leave `fill` out");
        }
        all
    }

    fn label_map_problem(&self, source: &Source) -> Option<(String, &'static str)> {
        let map = source.label_map.as_ref()?;
        if map.is_empty() {
            return Some((
                "its `label-map` is empty".into(),
                "write `label-map = { 0 = \"negative\" }`, or leave it out",
            ));
        }
        let labels = self.labels.as_ref()?;
        let strange = map.values().find(|name| !labels.contains(name))?;
        let message = format!("its `label-map` gives {}, which `labels` does not list", quoted(strange));
        Some((message, "use one name in both"))
    }
}
