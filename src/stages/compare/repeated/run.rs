//! One run of a variant.

/// What `evaluate` found for one run.
#[derive(Debug)]
pub(in super::super) struct Run {
    /// The value of the axis; empty if the variant does not have it.
    pub run: String,
    /// The value of each figure.
    pub values: Vec<Option<f64>>,
    /// In the order of the rows of the first run of all.
    pub(super) predicted: Vec<u32>,
}

/// The values of a figure of all runs; None if a run did not measure it.
pub(super) fn values(runs: &[Run], figure: usize) -> Option<Vec<f64>> {
    runs.iter().map(|run| run.values[figure]).collect()
}
