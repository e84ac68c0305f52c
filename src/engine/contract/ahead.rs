//! What can be known of a stage and of the stages upstream before the first stage runs.

use std::path::Path;

use serde_json::Value;

/// A pipeline before it runs; stages are known by index. The engine implements it.
pub trait Known {
    fn name(&self, at: usize) -> &str;
    fn kind(&self, at: usize) -> &'static str;
    fn parameters(&self, at: usize) -> &Value;
    fn external(&self, at: usize, name: &str) -> Option<&Path>;
    /// The sources of a port: stage and output.
    fn inputs(&self, at: usize, port: &str) -> Vec<(usize, &str)>;
    fn line(&self, at: usize, key: &str) -> String;
    fn must_run(&self, at: usize) -> bool;
    fn remembered(&self, question: &str, answer: &mut dyn FnMut() -> Option<String>) -> Option<String>;
}

/// A stage before the first one runs.
///
/// A rule can look at the parameters of all stages, and at the files outside the cache that are on this machine. No stage has
/// made anything yet.
#[derive(Clone, Copy)]
pub struct Ahead<'a> {
    known: &'a dyn Known,
    at: usize,
}

impl<'a> Ahead<'a> {
    pub fn new(known: &'a dyn Known, at: usize) -> Self {
        Self { known, at }
    }

    /// The name of the instance: `teacher`, `scores[pruned]`.
    pub fn name(&self) -> &'a str {
        self.known.name(self.at)
    }

    pub fn kind(&self) -> &'static str {
        self.known.kind(self.at)
    }

    /// The parameters with defaults filled in.
    pub fn parameters(&self) -> &'a Value {
        self.known.parameters(self.at)
    }

    /// The path of one of the stage's externals; None if it is not on this machine.
    pub fn external(&self, name: &str) -> Option<&'a Path> {
        self.known.external(self.at, name)
    }

    /// The stages that feed a port, each with the name of its output.
    pub fn inputs(&self, port: &str) -> Vec<(Ahead<'a>, &'a str)> {
        let known = self.known;
        known.inputs(self.at, port).into_iter().map(|(at, output)| (Ahead { known, at }, output)).collect()
    }

    /// The stage that feeds a port, if there is one.
    pub fn input(&self, port: &str) -> Option<Ahead<'a>> {
        self.inputs(port).first().map(|(stage, _)| *stage)
    }

    /// The place of a parameter or a port, or of the stage if the file does not have it, for messages: `pipeline.toml:12`.
    pub fn line(&self, key: &str) -> String {
        self.known.line(self.at, key)
    }

    /// Whether the cache lacks the stage's result. Problems of a stage that need not run are dropped anyway; a rule asks
    /// before a look that takes long, so that a run with nothing to do stays fast.
    pub fn must_run(&self) -> bool {
        self.known.must_run(self.at)
    }

    /// The answer to a question that several stages may ask, worked out once: `question` must say everything that the
    /// answer depends on.
    pub fn remembered(&self, question: &str, answer: impl FnOnce() -> Option<String>) -> Option<String> {
        let mut answer = Some(answer);
        self.known.remembered(question, &mut || answer.take().and_then(|answer| answer()))
    }
}
