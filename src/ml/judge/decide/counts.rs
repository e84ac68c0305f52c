//! Counts of right and wrong predictions by class, and the macro F1 that they give.

/// By class: rows of the label, predictions, and those that are right.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Counts {
    pub support: Vec<u64>,
    pub predicted: Vec<u64>,
    pub right: Vec<u64>,
}

impl Counts {
    /// `rows` are labels with their predictions, all below `classes`.
    pub(super) fn of(rows: impl Iterator<Item = (usize, usize)>, classes: usize) -> Self {
        let mut all = Self { support: vec![0; classes], predicted: vec![0; classes], right: vec![0; classes] };
        for (label, predicted) in rows {
            all.support[label] += 1;
            all.predicted[predicted] += 1;
            all.right[label] += u64::from(label == predicted);
        }
        all
    }

    /// F1 of a class; 0 if it has neither rows nor predictions.
    pub(super) fn f1(&self, class: usize) -> f64 {
        match self.support[class] + self.predicted[class] {
            0 => 0.0,
            both => 2.0 * self.right[class] as f64 / both as f64,
        }
    }

    /// Whether the class counts in the mean: it has rows or predictions.
    pub(super) fn is_seen(&self, class: usize) -> bool {
        self.support[class] + self.predicted[class] > 0
    }

    /// The mean over the classes with rows or predictions, as `Metrics` and scikit-learn compute it.
    pub(super) fn macro_f1(&self) -> f64 {
        let seen = || (0..self.support.len()).filter(|&class| self.is_seen(class));
        seen().map(|class| self.f1(class)).sum::<f64>() / seen().count().max(1) as f64
    }

    pub(super) fn accuracy(&self) -> f64 {
        let rows: u64 = self.support.iter().sum();
        self.right.iter().sum::<u64>() as f64 / rows.max(1) as f64
    }

    /// Move one row of `label` from one prediction to another.
    pub(super) fn shift(&mut self, label: usize, from: usize, to: usize) {
        self.predicted[from] -= 1;
        self.predicted[to] += 1;
        self.right[label] -= u64::from(label == from);
        self.right[label] += u64::from(label == to);
    }
}
