//! How long-running work reports progress to its caller, and how the caller stops it.

/// Receives the reports of long-running work, and can stop it.
///
/// `ml` prints nothing: everything that a user may want to see goes through this trait.
pub trait Watch: Sync {
    /// Called often; the caller limits how often it shows the progress.
    fn progress(&self, progress: Progress);
    /// The result of an evaluation in the middle of the work.
    fn measured(&self, measured: Measured);
    /// A line to keep; nothing is wrong.
    fn note(&self, text: String);
    /// Something that may make the result other than the user expects.
    fn warn(&self, text: String);
    /// True after the user asked to stop (Ctrl-C).
    fn stopped(&self) -> bool;
}

/// How far a piece of work has come.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    pub done: u64,
    pub total: u64,
    /// What `done` and `total` count: "step", "row", "batch".
    pub unit: &'static str,
    /// The current epoch and the number of epochs, counted from one.
    pub epoch: Option<(u32, u32)>,
    pub loss: Option<f64>,
    pub lr: Option<f64>,
    /// Samples per second.
    pub rate: Option<f64>,
    /// Share of the computed tokens that are padding, 0 to 1.
    pub padding: Option<f64>,
}

/// An evaluation in the middle of training, and how it compares with the earlier ones.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Measured {
    /// Optimizer steps taken.
    pub step: u64,
    /// Optimizer steps of all epochs.
    pub total: u64,
    /// Epochs done: 2 after the second, 2.5 in the middle of the third.
    pub epoch: f64,
    pub epochs: u32,
    /// Steps between evaluations; `None` if there is one at the end of each epoch.
    pub every: Option<u64>,
    /// By name, as in the metrics of a run: `loss`, `validation-loss`, `macro-f1`.
    pub values: Vec<(String, f64)>,
    /// The name of the value that decides which model is kept.
    pub metric: &'static str,
    /// Whether this evaluation is the best so far, so that its model is kept.
    pub best: bool,
    /// The best evaluation so far, this one included.
    pub kept: Option<Kept>,
    /// Evaluations since the metric last became better.
    pub stale: u32,
    /// Training stops when `stale` reaches this number.
    pub patience: Option<u32>,
}

/// The best evaluation so far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Kept {
    pub step: u64,
    pub epoch: f64,
    /// The metric that decides.
    pub value: f64,
}

/// A watcher that ignores all reports and never stops the work.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Watch for Silent {
    fn progress(&self, _: Progress) {}
    fn measured(&self, _: Measured) {}
    fn note(&self, _: String) {}
    fn warn(&self, _: String) {}
    fn stopped(&self) -> bool {
        false
    }
}

/// The error of work that stopped because [`Watch::stopped`] became true. Callers downcast to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interruption_is_recognised_behind_anyhow() {
        let error = anyhow::Error::from(Interrupted).context("training");
        assert!(error.downcast_ref::<Interrupted>().is_some());
    }
}
