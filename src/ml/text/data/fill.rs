//! Fills up classes that have fewer training rows than `take` asks for.

use anyhow::Result;

use super::corpus::{Corpus, Example};
use super::grow::{Amount, Grower};
use super::made::Making;
use super::report::SplitReport;
use crate::text::augment::Augmentation;
use crate::text::data::declare::spec::Purpose;
use crate::text::data::declare::take::{Fill, Take};
use crate::text::data::labels::spelling::quoted;
use crate::watch::Watch;

/// Make training rows of the classes that have fewer than `take` asks for, up to the number that a full class has after
/// validation rows are set aside.
pub(crate) fn fill(corpus: &mut Corpus, take: &Take, share: f64, seed: u64, watch: &dyn Watch) -> Result<()> {
    let making = match take.fill {
        Some(Fill::Augment) => Making::Augment(Augmentation::usual(corpus.has_pairs())),
        Some(Fill::Repeat) => Making::Repeat,
        Some(Fill::Error) | None => return Ok(()),
    };
    let Some(wanted) = take.per_class else { return Ok(()) };
    let target = wanted - (wanted as f64 * share).round() as usize;
    let mut grower = Grower::new(&making, seed, corpus);
    let mut made = 0;
    for at in 0..corpus.report.taken.len() {
        let taken = &corpus.report.taken[at];
        let label = corpus.labels.iter().position(|label| *label == taken.label);
        let Some(label) = label.filter(|_| taken.split == Purpose::Train.name() && taken.is_short()) else { continue };
        let grown = grower.grow(&mut corpus.train, &[label as u32], Amount::UpTo(target), watch)?;
        let line = format!("fill: label {} gets {}", quoted(&corpus.labels[label]), grown.describe());
        corpus.report.notes.push(line);
        corpus.report.taken[at].made = grown.made();
        made += grown.made();
    }
    corpus.count_made(made);
    Ok(())
}

/// The rows of a split, by label.
pub(crate) fn count(rows: &[Example], classes: usize) -> SplitReport {
    let mut labels = vec![0; classes];
    rows.iter().for_each(|row| labels[row.label as usize] += 1);
    SplitReport { rows: rows.len() as u64, labels }
}

impl Corpus {
    /// Bring the report up to date after `made` rows were added to the training rows.
    pub fn count_made(&mut self, made: u64) {
        self.report.made += made;
        self.report.splits.train = count(&self.train, self.labels.len());
    }
}
