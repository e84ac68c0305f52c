//! Measures how much each neuron matters: the change of the loss if a gate on it closed, to first order.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Result, ensure};
use burn::module::Module;
use burn::tensor::{Device, Gradients};

use super::half::{Half, half};
use crate::compute::cross_entropy::CrossEntropy;
use crate::compute::dropout::Pass;
use crate::model::Model;
use crate::model::names::WEIGHT;
use crate::model::part::{Part, place};
use crate::text::batch::{Batch, Padding};
use crate::text::data::Split;
use crate::watch::{Interrupted, Progress, Watch};

/// Labelled rows for measuring importance.
#[derive(Debug, Clone, Copy)]
pub struct LabelledRows<'a> {
    pub split: &'a Split,
    pub pad_id: u32,
    /// The maximum number of rows to use, evenly spaced.
    pub most: usize,
}

impl LabelledRows<'_> {
    pub fn len(&self) -> usize {
        self.most.min(self.split.len())
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The positions of the used rows in the split.
    fn places(&self) -> impl Iterator<Item = usize> {
        let (count, all) = (self.len(), self.split.len());
        (0..count).map(move |i| i * all / count)
    }
}

/// The importance of each neuron of the feed-forward halves, layer by layer, `[layers][I]`: the mean over the rows of
/// |∂L/∂ξ|. Here ξ = 1 is a gate that multiplies the neuron's activation h at every token of the row, and L the cross-entropy of the
/// row with its label. The absolute value is taken row by row: in a sum over a batch, rows that pull in opposite
/// directions would cancel.
///
/// A gate's gradient is Σ_t h·∂L/∂h, activation times gradient summed over the row's tokens. As h enters only the
/// product with the matrix W `[I, H]` behind it, this is also Σ_k W·∂L/∂W along the neuron's row of W. So the gradient
/// of that matrix, in batches of one row, gives all gates at once.
///
/// Source: Michel, Levy, Neubig 2019, "Are Sixteen Heads Really Better than One?", section 4.1; Molchanov et al. 2019,
/// "Importance Estimation for Neural Network Pruning", section 3.
pub fn of_neurons(model: &Model, rows: &LabelledRows, device: &Device, watch: &dyn Watch) -> Result<Vec<Vec<f64>>> {
    ensure!(!rows.is_empty(), "there are no rows to measure importance with");
    let narrow = |name: &str| half(name) == Some(Half::Narrow);
    // Only these matrices get gradients, and the tensors that their gradients pass through.
    let mut model = model.clone().set_trainable(|name| name.ends_with(WEIGHT) && narrow(name)).train();
    let device = device.clone().autodiff();
    let mut sums: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    let start = Instant::now();
    for (done, row) in rows.places().enumerate() {
        if watch.stopped() {
            return Err(Interrupted.into());
        }
        let batch = Batch::collect(rows.split, &[row], rows.pad_id, Padding::Bucketed);
        let (ids, mask) = batch.to_device(&device);
        let logits = model.forward(ids, mask, &mut Pass::Off);
        let gradients = CrossEntropy::PLAIN.sum(logits, &batch.labels, -1.0).backward();
        for (layer, gates) in gates(&mut model, &gradients)? {
            let sum = sums.entry(layer).or_insert_with(|| vec![0.0; gates.len()]);
            sum.iter_mut().zip(gates).for_each(|(sum, gate)| *sum += f64::from(gate).abs());
        }
        let done = done as u64 + 1;
        let rate = Some(done as f64 / start.elapsed().as_secs_f64());
        watch.progress(Progress { done, total: rows.len() as u64, unit: "row", rate, ..Progress::default() });
    }
    let count = rows.len() as f64;
    let means: Vec<Vec<f64>> =
        sums.into_values().map(|layer| layer.into_iter().map(|sum| sum / count).collect()).collect();
    ensure!(
        means.iter().flatten().all(|importance| importance.is_finite()),
        "the gradients of the model are not finite; run `pipe inspect` to see whether its weights are"
    );
    Ok(means)
}

/// ∂L/∂ξ of every neuron, `[I]` by layer.
fn gates(model: &mut Model, gradients: &Gradients) -> Result<Vec<(usize, Vec<f32>)>> {
    let mut found = Vec::new();
    model.map_linears(&mut |name, linear| {
        if let (Part::Layer(layer), Some(Half::Narrow)) = (place(name).part, half(name)) {
            let weight = linear.matrix.val(); // [I, H]
            if let Some(gradient) = weight.grad(gradients) {
                found.push((layer, (weight.inner() * gradient).sum_dim(1)));
            }
        }
    });
    found
        .into_iter()
        .map(|(layer, gates)| Ok((layer, gates.try_into_data()?.convert::<f32>().try_into_vec::<f32>()?)))
        .collect()
}
