//! What pairs of models predicted on the same rows.

use anyhow::{Result, ensure};

/// The predictions of a baseline and a variant on the same rows, once for each seed that both were trained with.
#[derive(Debug, Clone)]
pub struct PairedRows<'a> {
    pub(super) labels: &'a [u32],
    pub(super) classes: usize,
    /// Of the baseline and of the variant, `[N]` each, in the order of the labels.
    pub(super) pairs: Vec<[&'a [u32]; 2]>,
}

impl<'a> PairedRows<'a> {
    /// `labels` `[N]`; each pair has the predictions of the baseline and of the variant, `[N]` each. All are below `classes`.
    pub fn new(labels: &'a [u32], classes: usize, pairs: Vec<[&'a [u32]; 2]>) -> Result<Self> {
        ensure!(!labels.is_empty(), "there are no rows to compare");
        ensure!(!pairs.is_empty(), "there are no pairs of runs to compare");
        for predicted in pairs.iter().flatten() {
            let (rows, others) = (labels.len(), predicted.len());
            ensure!(rows == others, "one run has {rows} rows, the other {others}");
        }
        for column in pairs.iter().flatten().copied().chain([labels]) {
            if let Some(class) = column.iter().find(|&&class| class as usize >= classes) {
                anyhow::bail!("class {class} is out of range: there are {classes} classes");
            }
        }
        Ok(Self { labels, classes, pairs })
    }

    pub(super) fn len(&self) -> usize {
        self.labels.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_do_not_fit_together_are_refused() {
        let says = |labels: &[u32], pair: [&[u32]; 2]| {
            let pairs = if pair[0].is_empty() { Vec::new() } else { vec![pair] };
            PairedRows::new(labels, 2, pairs).unwrap_err().to_string()
        };
        assert_eq!(says(&[], [&[0], &[0]]), "there are no rows to compare");
        assert_eq!(says(&[0], [&[], &[]]), "there are no pairs of runs to compare");
        assert_eq!(says(&[0, 1], [&[0, 1], &[0]]), "one run has 2 rows, the other 1");
        assert_eq!(says(&[0, 1], [&[0, 1], &[0, 2]]), "class 2 is out of range: there are 2 classes");
        assert_eq!(says(&[0, 3], [&[0, 1], &[0, 1]]), "class 3 is out of range: there are 2 classes");
    }
}
