//! Cross-entropy with labels, as torch computes it.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Tensor, TensorData};

/// `torch.nn.CrossEntropyLoss(weight, label_smoothing)`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CrossEntropy<'a> {
    /// Share of the target spread evenly over all classes, 0 ≤ smoothing < 1.
    pub smoothing: f64,
    /// One weight per class.
    pub class_weights: Option<&'a [f32]>,
}

impl CrossEntropy<'_> {
    /// Without smoothing and weights.
    pub(crate) const PLAIN: Self = CrossEntropy { smoothing: 0.0, class_weights: None };

    /// The sum over rows of their losses times `-scale`: `logits` `[B, C]` → `[1]`.
    pub(crate) fn sum(&self, logits: Tensor<2>, labels: &[u32], scale: f64) -> Tensor<1> {
        let [rows, classes] = logits.dims();
        let factors = TensorData::new(self.factors(labels, classes, scale), [rows, classes]);
        let factors = Tensor::<2>::from_data(factors, &logits.device());
        (log_softmax(logits, 1) * factors).sum()
    }

    /// The factor of each log-probability, `[B, C]`, times `scale`.
    ///
    /// torch's smoothed loss of a row with label y: (1 − ε)·w[y]·(−log p[y]) + ε/C · Σ_c w[c]·(−log p[c]).
    fn factors(&self, labels: &[u32], classes: usize, scale: f64) -> Vec<f32> {
        let smoothing = self.smoothing;
        let weight = |class: usize| self.class_weights.map_or(1.0, |weights| f64::from(weights[class]));
        let mut out = Vec::with_capacity(labels.len() * classes);
        for &label in labels {
            for class in 0..classes {
                let hard = if class == label as usize { 1.0 - smoothing } else { 0.0 };
                out.push((scale * weight(class) * (hard + smoothing / classes as f64)) as f32);
            }
        }
        out
    }
}
