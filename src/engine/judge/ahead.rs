//! Asks the kinds, before the first stage runs, what would go wrong: with all parameters and files in view.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::path::Path;

use serde_json::Value;

use super::job::Job;
use super::plan::Action;
use crate::contract::ahead::{Ahead, Known};
use crate::store::error::CacheError;
use crate::text::diagnostic::{Diagnostic, Diagnostics, Place};

impl Job<'_> {
    /// An error for everything that the kinds can tell of stages that have to run.
    pub fn foreseen(&self) -> Result<Option<Diagnostics>, CacheError> {
        let view = View { job: self, must_run: OnceCell::new(), answers: RefCell::default() };
        let mut problems = Vec::new();
        for at in (0..self.needed.len()).filter(|at| self.needed[*at]) {
            let found = self.instance(at).work.check_ahead(&Ahead::new(&view, at));
            // A result in the cache was made without the problem, or in spite of it.
            if !found.is_empty() && view.must_run(at) {
                problems.extend(found.into_iter().map(|wrong| {
                    let diagnostic = Diagnostic::new(wrong.message).at(self.place(at, wrong.key));
                    wrong.help.into_iter().fold(diagnostic, Diagnostic::help)
                }));
            }
        }
        if let Some(Err(error)) = view.must_run.into_inner() {
            return Err(error);
        }
        Ok((!problems.is_empty()).then(|| Diagnostics::new(problems)))
    }

    /// The place of a parameter or a port, or of the stage if the file does not have it.
    fn place(&self, at: usize, key: &str) -> &Place {
        let instance = self.instance(at);
        let of_port = || instance.plugged.iter().find(|(port, _)| *port == key).map(|(_, place)| place);
        instance.table.get(key).map(|item| &item.value.place).or_else(of_port).unwrap_or(&instance.place)
    }
}

struct View<'a> {
    job: &'a Job<'a>,
    /// By instance; judged when a rule first asks.
    must_run: OnceCell<Result<Vec<bool>, CacheError>>,
    answers: RefCell<HashMap<String, Option<String>>>,
}

impl Known for View<'_> {
    fn name(&self, at: usize) -> &str {
        &self.job.instance(at).name
    }

    fn kind(&self, at: usize) -> &'static str {
        self.job.instance(at).kind.name
    }

    fn parameters(&self, at: usize) -> &Value {
        &self.job.instance(at).parameters
    }

    fn external(&self, at: usize, name: &str) -> Option<&Path> {
        let mut found = self.job.externals.found[at].iter();
        found.find(|found| found.name == name && found.distant().is_none()).map(|found| found.path.as_path())
    }

    fn inputs(&self, at: usize, port: &str) -> Vec<(usize, &str)> {
        let wires = self.job.instance(at).inputs.iter().filter(|wire| wire.port == port);
        wires.map(|wire| (wire.from, wire.output)).collect()
    }

    fn line(&self, at: usize, key: &str) -> String {
        let place = self.job.place(at, key);
        format!("{}:{}", place.source.name, place.line_column().0)
    }

    fn must_run(&self, at: usize) -> bool {
        let judge = || {
            let verdicts = self.job.verdicts()?;
            Ok(verdicts.iter().map(|verdict| verdict.as_ref().is_some_and(|v| v.action != Action::Hit)).collect())
        };
        // An error is returned when all rules have been asked.
        self.must_run.get_or_init(judge).as_ref().is_ok_and(|all: &Vec<bool>| all[at])
    }

    fn remembered(&self, question: &str, answer: &mut dyn FnMut() -> Option<String>) -> Option<String> {
        if let Some(known) = self.answers.borrow().get(question) {
            return known.clone();
        }
        let found = answer();
        self.answers.borrow_mut().insert(question.to_owned(), found.clone());
        found
    }
}
