//! How long work tells its caller where it stands, and how the caller stops it.

/// What long work tells its caller, and how it is stopped.
///
/// `ml` prints nothing: everything that a user may want to see passes through here.
pub trait Watch: Sync {
    /// Called often; the caller throttles.
    fn progress(&self, progress: Progress);
    /// One line worth keeping: an evaluation, a warning.
    fn note(&self, text: String);
    /// True once the user asked to stop (Ctrl-C).
    fn stopped(&self) -> bool;
}

/// Where a piece of work stands.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    pub done: u64,
    pub total: u64,
    /// What `done` and `total` count: "step", "row", "batch".
    pub unit: &'static str,
    /// The running epoch and how many there are, counted from one.
    pub epoch: Option<(u32, u32)>,
    pub loss: Option<f64>,
    pub lr: Option<f64>,
    /// Samples per second.
    pub rate: Option<f64>,
    /// Share of the computed tokens that were padding, 0 to 1.
    pub padding: Option<f64>,
}

/// A watcher that hears nothing and never stops the work.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Watch for Silent {
    fn progress(&self, _: Progress) {}
    fn note(&self, _: String) {}
    fn stopped(&self) -> bool {
        false
    }
}

/// The error of work that ended because [`Watch::stopped`] became true; callers downcast to it.
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
