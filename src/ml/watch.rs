//! How long-running work reports progress to its caller, and how the caller stops it.

/// Receives the reports of long-running work, and can stop it.
///
/// `ml` prints nothing: everything that a user may want to see goes through this trait.
pub trait Watch: Sync {
    /// Called often; the caller limits how often it shows the progress.
    fn progress(&self, progress: Progress);
    /// One line to keep, such as an evaluation or a warning.
    fn note(&self, text: String);
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

/// A watcher that ignores all reports and never stops the work.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Watch for Silent {
    fn progress(&self, _: Progress) {}
    fn note(&self, _: String) {}
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
