//! The loss that a training step minimises: cross-entropy with the labels, or a mixture with a teacher's outputs.

use anyhow::{Result, ensure};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Tensor, TensorData};

use super::guide::Guide;
use crate::compute::cross_entropy::CrossEntropy;
use crate::compute::numbers;
use crate::text::batch::Batch;

/// The loss of a fit.
#[derive(Debug, Clone)]
pub enum Objective {
    /// Cross-entropy as `torch.nn.CrossEntropyLoss(weight, label_smoothing)`, mean reduction.
    CrossEntropy {
        /// Share of the target spread evenly over all classes, 0 ≤ smoothing < 1.
        smoothing: f64,
        /// One weight per class. As in torch, the mean divides by the sum of the weights of the rows' labels.
        class_weights: Option<Vec<f32>>,
    },
    /// `alpha·CE + (1 − alpha)·T²·KL(teacher ‖ student)` with logits softened by T.
    ///
    /// Source: Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015, section 2; KL summed over
    /// classes and averaged over rows (torch's `batchmean`).
    Distill {
        /// `[N, C]` logits of the train rows, in row order.
        teacher: Vec<f32>,
        /// Share of the labels' cross-entropy, 0 ≤ alpha ≤ 1.
        alpha: f64,
        /// T > 0.
        temperature: f64,
        /// Hidden states or attention scores of the teacher that the student imitates as well; their losses are added.
        guide: Option<Guide>,
    },
}

impl Objective {
    /// Plain cross-entropy.
    pub fn cross_entropy() -> Self {
        Self::CrossEntropy { smoothing: 0.0, class_weights: None }
    }

    /// The teacher whose hidden states or attention scores enter the loss, if there is one.
    pub fn guide(&self) -> Option<&Guide> {
        match self {
            Self::Distill { guide, .. } => guide.as_ref(),
            Self::CrossEntropy { .. } => None,
        }
    }

    /// Weights that give every class the same influence: N / (C · rows of the class), 0 for a class without rows.
    ///
    /// Source: `compute_class_weight("balanced")` in scikit-learn.
    pub fn balanced(labels: &[u32], classes: usize) -> Vec<f32> {
        let mut counts = vec![0usize; classes];
        labels.iter().for_each(|&label| counts[label as usize] += 1);
        let weight = |&count: &usize| if count == 0 { 0.0 } else { labels.len() as f32 / (classes * count) as f32 };
        counts.iter().map(weight).collect()
    }

    /// Check that this objective can be used with `rows` train rows of `classes` classes.
    pub fn check(&self, rows: usize, classes: usize) -> Result<()> {
        match self {
            Self::CrossEntropy { smoothing, class_weights } => {
                ensure!(
                    (0.0..1.0).contains(smoothing),
                    "label smoothing is {smoothing}; it must be at least 0 and below 1"
                );
                if let Some(weights) = class_weights {
                    let given = weights.len();
                    ensure!(given == classes, "{given} class weights for {classes} classes; give one for each");
                    let good = weights.iter().all(|w| w.is_finite() && *w >= 0.0) && weights.iter().any(|w| *w > 0.0);
                    ensure!(good, "class weights must be 0 or more, and one of them above 0: {weights:?}");
                }
            }
            Self::Distill { teacher, alpha, temperature, .. } => {
                ensure!((0.0..=1.0).contains(alpha), "alpha is {alpha}; it must be between 0 and 1");
                ensure!(
                    *temperature > 0.0 && temperature.is_finite(),
                    "temperature is {temperature}; it must be above 0"
                );
                let (got, want) = (teacher.len(), rows * classes);
                ensure!(
                    got == want,
                    "the teacher gave {got} logits for {rows} train rows of {classes} classes; expected {want}"
                );
                let bad = teacher.iter().position(|x| !x.is_finite());
                ensure!(
                    bad.is_none(),
                    "the teacher's logits of train row {} are not finite",
                    bad.unwrap_or(0) / classes.max(1)
                );
            }
        }
        Ok(())
    }

    /// The total weight of rows with these labels. The total over all rows of a step is the denominator of its mean
    /// loss.
    pub fn weight(&self, labels: impl Iterator<Item = u32>) -> f64 {
        match self {
            Self::CrossEntropy { class_weights: Some(weights), .. } => {
                labels.map(|l| f64::from(weights[l as usize])).sum()
            }
            _ => labels.count() as f64,
        }
    }

    /// This micro-batch's part of a step's loss, without the losses of [`guide`](Self::guide): `logits` `[B, C]` →
    /// `[1]`.
    ///
    /// The sum over rows is divided by `total`, the weight of the whole step, so the parts of an accumulated step add
    /// up to the mean of one big batch. The host computes everything that does not depend on the student.
    pub fn loss(&self, logits: Tensor<2>, batch: &Batch, total: f64) -> Tensor<1> {
        let [rows, classes] = logits.dims();
        let device = logits.device();
        let constant = |values: Vec<f32>| Tensor::<2>::from_data(TensorData::new(values, [rows, classes]), &device);
        match self {
            Self::CrossEntropy { smoothing, class_weights } => {
                let loss = CrossEntropy { smoothing: *smoothing, class_weights: class_weights.as_deref() };
                // If all rows have weight 0, the loss is 0 rather than 0 / 0.
                loss.sum(logits, &batch.labels, if total > 0.0 { -1.0 / total } else { 0.0 })
            }
            Self::Distill { teacher, alpha, temperature, .. } => {
                let scale = (1.0 - alpha) * temperature * temperature / total;
                let (mut soft, mut entropy) = (Vec::with_capacity(rows * classes), 0.0);
                for &row in &batch.rows {
                    let softened: Vec<f64> =
                        teacher[row * classes..][..classes].iter().map(|&x| f64::from(x) / temperature).collect();
                    for log_p in numbers::log_softmax(&softened) {
                        entropy += log_p.exp() * log_p;
                        soft.push((-scale * log_p.exp()) as f32);
                    }
                }
                let student = logits.clone().div_scalar(*temperature);
                let hard = CrossEntropy::PLAIN.sum(logits, &batch.labels, -alpha / total);
                let soft = (log_softmax(student, 1) * constant(soft)).sum();
                (hard + soft).add_scalar(scale * entropy)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn batch() -> Batch {
        Batch {
            rows: vec![0, 1],
            labels: vec![2, 1],
            ids: vec![0, 0],
            types: vec![],
            mask: vec![true, true],
            width: 1,
            tokens: 2,
        }
    }

    const LOGITS: [[f32; 3]; 2] = [[1.0, -0.5, 0.25], [0.0, 2.0, -1.0]];

    fn loss(objective: &Objective) -> f32 {
        objective.check(2, 3).unwrap();
        let total = objective.weight([2, 1].into_iter());
        objective.loss(Tensor::from_data(LOGITS, &Device::flex()), &batch(), total).into_scalar()
    }

    fn distill(teacher: Vec<f32>, alpha: f64, temperature: f64) -> Objective {
        Objective::Distill { teacher, alpha, temperature, guide: None }
    }

    type Torch = (f64, Option<[f32; 3]>, f64, [f64; 6]);

    /// Label smoothing, class weights, then the loss and its gradient with respect to the logits as
    /// `torch.nn.CrossEntropyLoss(weight, label_smoothing)` computes them in f64.
    const TORCH: [Torch; 5] = [
        (0.0, None, 0.7239109, [0.29489883, 0.06580082, -0.36069966, 0.0570976, -0.07810263, 0.02100503]),
        (0.1, None, 0.8072442, [0.27823217, 0.04913416, -0.32736632, 0.04043093, -0.0447693, 0.00433837]),
        (0.0, Some(WEIGHTS), 0.6447588, [0.25277043, 0.05640071, -0.3091711, 0.0652544, -0.08926015, 0.02400575]),
        (0.1, Some(WEIGHTS), 0.6985332, [0.24519996, 0.03672641, -0.28192638, 0.05831735, -0.06723719, 0.00891985]),
        (0.25, Some(WEIGHTS), 0.779195, [0.23384426, 0.00721497, -0.24105924, 0.04791177, -0.0342028, -0.01370901]),
    ];
    const WEIGHTS: [f32; 3] = [0.5, 2.0, 1.5];

    #[test]
    fn smoothing_and_class_weights_are_torchs_in_loss_and_gradient() {
        for (smoothing, weights, expected, expected_gradient) in TORCH {
            let objective = Objective::CrossEntropy { smoothing, class_weights: weights.map(|w| w.to_vec()) };
            let device = Device::flex().autodiff();
            let logits = Tensor::<2>::from_data(LOGITS, &device).require_grad();
            let loss = objective.loss(logits.clone(), &batch(), objective.weight([2, 1].into_iter()));
            let gradient = logits.grad(&loss.backward()).unwrap().into_data().try_into_vec::<f32>().unwrap();
            let loss = f64::from(loss.into_scalar::<f32>());
            assert!((loss - expected).abs() < 1e-6, "{objective:?}: {loss}, torch {expected}");
            let close = gradient.iter().zip(expected_gradient).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-6);
            assert!(close, "{objective:?}: {gradient:?}, torch {expected_gradient:?}");
        }
    }

    // Expected value: alpha·cross_entropy + (1 − alpha)·T²·kl_div(batchmean) in numpy, in f64.
    #[test]
    fn a_students_loss_is_hintons() {
        let distill = distill(vec![0.5, 1.0, -1.0, 2.0, 0.0, 0.0], 0.3, 2.0);
        assert!((loss(&distill) - 0.9741082).abs() < 1e-6, "{}", loss(&distill));
    }

    #[test]
    fn a_student_like_its_teacher_has_no_loss_to_it() {
        let same = distill(vec![1.0, -0.5, 0.25, 0.0, 2.0, -1.0], 0.0, 3.0);
        assert!(loss(&same).abs() < 1e-6);
    }

    #[test]
    fn balanced_weights_are_scikit_learns() {
        let weights = Objective::balanced(&[0, 1, 1, 1, 2, 0, 2, 0], 4);
        let expected = [8.0 / 12.0, 8.0 / 12.0, 1.0, 0.0]; // Four classes, so 8 / (4 · n).
        assert!(weights.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{weights:?}");
    }

    #[test]
    fn what_does_not_fit_the_rows_is_refused() {
        let message = |objective: Objective| objective.check(4, 3).unwrap_err().to_string();
        let teacher = |teacher, temperature| distill(teacher, 0.5, temperature);
        assert!(message(teacher(vec![0.0; 11], 2.0)).contains("11 logits for 4 train rows of 3 classes"));
        assert!(message(teacher(vec![0.0; 12], 0.0)).contains("temperature is 0"));
        assert!(
            message(Objective::CrossEntropy { smoothing: 1.0, class_weights: None }).contains("label smoothing is 1")
        );
        let weights = Objective::CrossEntropy { smoothing: 0.0, class_weights: Some(vec![1.0]) };
        assert!(message(weights).contains("1 class weights for 3 classes"));
    }
}
