//! The gradients of one micro-batch: in one backward pass, or layer by layer in a fraction of the memory.

use anyhow::{Context as _, Result};
use burn::module::Module;
use burn::tensor::{Bool, Gradients, Int, Tensor};

use crate::compute::dropout::Noise;
use crate::model::Model;
use crate::model::pieces::Hidden;
use crate::train::guide::Shown;

/// A micro-batch on the model's device, with autodiff.
pub struct Inputs<'a> {
    /// `[B, T]`
    pub ids: Tensor<2, Int>,
    /// `[B, T]`, true = a real token.
    pub mask: Tensor<2, Bool>,
    /// Logits `[B, C]` → loss `[1]`.
    pub loss: &'a dyn Fn(Tensor<2>) -> Tensor<1>,
    /// What a teacher makes of the batch: how far the model is from it is added to the loss.
    pub shown: Option<&'a Shown<'a>>,
}

/// Forward and backward at once; `take` gets the gradients. Returns the loss, `[1]`.
pub fn whole(
    model: &Model,
    Inputs { ids, mask, loss, shown }: Inputs,
    noise: &mut Noise,
    mut take: impl FnMut(Gradients) -> Result<()>,
) -> Result<Tensor<1>> {
    let loss = match shown {
        None => loss(model.forward(ids, mask, noise)),
        Some(shown) => {
            let [batch, _] = ids.dims();
            let Hidden { mut x, rows } = model.embed(ids, &mask, noise);
            let mut from_teacher = Vec::from_iter(shown.embeddings(&x));
            for i in 0..model.depth() {
                let (out, more) = shown.layer(model, i, Hidden { x, rows: rows.clone() }, &mask, noise);
                from_teacher.extend(more);
                x = out;
            }
            from_teacher.into_iter().fold(loss(model.head(x, batch, noise)), |sum, more| sum + more)
        }
    };
    take(loss.backward())?;
    Ok(loss.inner())
}

/// The same with gradient checkpointing (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost"): a first forward
/// pass keeps what goes into each layer and nothing else; then, from the head down, each piece is computed again, with a
/// graph, for its own backward pass. So the graph of one layer is alive at a time, for the price of a second forward pass.
///
/// `take` is called once for each piece; a parameter that several pieces use gets a gradient from each.
///
/// Burn's own strategy (`Device::gradient_checkpointing`) computes only element-wise operations again, and keeps the rest.
pub fn layer_by_layer(
    model: &Model,
    Inputs { ids, mask, loss, shown }: Inputs,
    noise: &mut Noise,
    mut take: impl FnMut(Gradients) -> Result<()>,
) -> Result<Tensor<1>> {
    let [batch, _] = ids.dims();
    let lowest = model.lowest_trained().context("no parameter is trained")?;
    let start = noise.clone();
    let mut kept = Kept::of(model, (ids.clone(), mask.clone()), noise);

    // The head. A piece's input needs a gradient where something below it is trained.
    let head = kept.xs.len();
    let x = leaf(kept.xs.pop().context("the encoder gave nothing")?, lowest < head);
    let loss = loss(model.head(x.clone(), batch, noise));
    let mut grads = loss.backward();
    let mut above = x.grad_remove(&mut grads); // [B·T, H], of what the piece below gives.
    let mut loss = loss.inner();
    take(grads)?;

    let mut rows_grad: Option<Tensor<2>> = None;
    for i in (0..model.depth()).rev() {
        let (Some(given), Some(x), Some(mut noise)) = (above.take(), kept.xs.pop(), kept.noises.pop()) else { break };
        let x = leaf(x, lowest < i + 1);
        let rows = kept.rows.clone().map(|rows| leaf(rows, lowest == 0));
        let hidden = Hidden { x: x.clone(), rows: rows.clone() };
        let (out, more) = match shown {
            None => (model.layer(i, hidden, &mask, &mut noise), None),
            Some(shown) => shown.layer(model, i, hidden, &mask, &mut noise),
        };
        loss = more.iter().fold(loss, |sum, more| sum + more.clone().inner());
        let mut grads = backward_with(out, given, more);
        above = x.grad_remove(&mut grads);
        let more = rows.and_then(|rows| rows.grad_remove(&mut grads));
        rows_grad = match (rows_grad, more) {
            (Some(sum), Some(more)) => Some(sum + more),
            (sum, more) => sum.or(more),
        };
        take(grads)?;
    }

    let Some(given) = above else { return Ok(loss) };
    let Hidden { x, rows } = model.embed(ids, &mask, &mut start.clone());
    let more = shown.and_then(|shown| shown.embeddings(&x));
    loss = more.iter().fold(loss, |sum, more| sum + more.clone().inner());
    if x.is_tracked() || more.as_ref().is_some_and(Tensor::is_tracked) {
        take(backward_with(x, given, more))?;
    }
    if let (Some(rows), Some(given)) = (rows.filter(Tensor::is_tracked), rows_grad) {
        take(backward_with(rows, given, None))?;
    }
    Ok(loss)
}

/// What the first forward pass keeps.
struct Kept {
    /// `x` into each layer and into the head, `[B·T, H]` each.
    xs: Vec<Tensor<2>>,
    rows: Option<Tensor<2>>,
    /// Where the masks of each layer start.
    noises: Vec<Noise>,
}

impl Kept {
    /// `ids` and `mask` `[B, T]` through embeddings and layers, without a graph.
    fn of(model: &Model, (ids, mask): (Tensor<2, Int>, Tensor<2, Bool>), noise: &mut Noise) -> Self {
        let (model, mask) = (model.valid(), mask.inner());
        let Hidden { x, rows } = model.embed(ids.inner(), &mask, noise);
        let mut kept = Kept { xs: vec![x.clone()], rows, noises: Vec::new() };
        let mut x = x;
        for i in 0..model.depth() {
            kept.noises.push(noise.clone());
            x = model.layer(i, Hidden { x, rows: kept.rows.clone() }, &mask, noise);
            kept.xs.push(x.clone());
        }
        kept
    }
}

/// A constant for the graph, or the start of one.
fn leaf(x: Tensor<2>, needs_gradient: bool) -> Tensor<2> {
    Tensor::from_inner(x).set_require_grad(needs_gradient)
}

/// The backward pass from `out`, whose gradient is `given`, and from a loss of the piece itself: that of `Σ out · given` and
/// `more`.
fn backward_with(out: Tensor<2>, given: Tensor<2>, more: Option<Tensor<1>>) -> Gradients {
    let sum = (out * Tensor::from_inner(given)).sum();
    more.into_iter().fold(sum, |sum, more| sum + more).backward()
}
