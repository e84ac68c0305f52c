//! Computes the gradients of one micro-batch, either in one backward pass or layer by layer with a fraction of the
//! memory.

use anyhow::{Context as _, Result};
use burn::module::Module;
use burn::tensor::{Bool, Gradients, Tensor};

use crate::compute::dropout::Pass;
use crate::model::Hidden;
use crate::model::Model;
use crate::text::ids::Ids;
use crate::train::guide::TeacherTargets;

/// A micro-batch on the model's device, with autodiff.
pub(super) struct Inputs<'a> {
    /// `[B, T]`
    pub ids: Ids,
    /// `[B, T]`, true = a real token.
    pub mask: Tensor<2, Bool>,
    /// Logits `[B, C]` → loss `[1]`.
    pub loss: &'a dyn Fn(Tensor<2>) -> Tensor<1>,
    /// The teacher's outputs for the batch, if it is a guide: the distance from them is added to the loss.
    pub targets: Option<&'a TeacherTargets<'a>>,
}

/// Forward and backward in one pass; `take` receives the gradients. Returns the loss, `[1]`.
pub(super) fn whole(
    model: &Model,
    Inputs { ids, mask, loss, targets }: Inputs,
    pass: &mut Pass,
    mut take: impl FnMut(Gradients) -> Result<()>,
) -> Result<Tensor<1>> {
    let loss = match targets {
        None => loss(model.forward(ids, mask, pass)),
        Some(targets) => {
            let [batch, _] = ids.dims();
            let Hidden { mut x, rows } = model.embed(ids, &mask, pass);
            let mut from_teacher = Vec::from_iter(targets.embeddings(&x));
            for i in 0..model.depth() {
                let (out, more) = targets.layer(model, i, Hidden { x, rows: rows.clone() }, &mask, pass);
                from_teacher.extend(more);
                x = out;
            }
            from_teacher.into_iter().fold(loss(model.head(x, batch, pass)), |sum, more| sum + more)
        }
    };
    take(loss.backward())?;
    Ok(loss.inner())
}

/// The same with gradient checkpointing (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost"). A first
/// forward pass keeps only the input of each layer. Then, from the head down, each piece is computed again, with a
/// graph, for its own backward pass. So only one layer's graph exists at a time, at the cost of a second forward pass.
///
/// `take` is called once per piece; a parameter that several pieces use receives a gradient from each.
///
/// Burn's own strategy (`Device::gradient_checkpointing`) recomputes only element-wise operations and keeps the rest.
pub(super) fn layer_by_layer(
    model: &Model,
    Inputs { ids, mask, loss, targets }: Inputs,
    pass: &mut Pass,
    mut take: impl FnMut(Gradients) -> Result<()>,
) -> Result<Tensor<1>> {
    let [batch, _] = ids.dims();
    let lowest = model.lowest_trained().context("the model has no trainable parameter")?;
    let start = pass.clone();
    let mut kept = Kept::of(model, (ids.clone(), mask.clone()), pass);

    // The head. The input of a piece needs a gradient if something below the piece is trained.
    let head = kept.xs.len();
    let x = leaf(kept.xs.pop().context("internal error: the encoder returned no output")?, lowest < head);
    let loss = loss(model.head(x.clone(), batch, pass));
    let mut grads = loss.backward();
    let mut above = x.grad_remove(&mut grads); // [B·T, H], the gradient of the output of the piece below.
    let mut loss = loss.inner();
    take(grads)?;

    let mut rows_grad: Option<Tensor<2>> = None;
    for i in (0..model.depth()).rev() {
        let (Some(given), Some(x), Some(mut pass)) = (above.take(), kept.xs.pop(), kept.passes.pop()) else { break };
        let x = leaf(x, lowest < i + 1);
        let rows = kept.rows.clone().map(|rows| leaf(rows, lowest == 0));
        let hidden = Hidden { x: x.clone(), rows: rows.clone() };
        let (out, more) = match targets {
            None => (model.layer(i, hidden, &mask, &mut pass), None),
            Some(targets) => targets.layer(model, i, hidden, &mask, &mut pass),
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
    let more = targets.and_then(|targets| targets.embeddings(&x));
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
    /// The input `x` of each layer and of the head, `[B·T, H]` each.
    xs: Vec<Tensor<2>>,
    rows: Option<Tensor<2>>,
    /// The state from which each layer draws its dropout masks.
    passes: Vec<Pass>,
}

impl Kept {
    /// Run `ids` and `mask` `[B, T]` through embeddings and layers, without a graph.
    fn of(model: &Model, (ids, mask): (Ids, Tensor<2, Bool>), pass: &mut Pass) -> Self {
        let (model, mask) = (model.valid(), mask.inner());
        let Hidden { x, rows } = model.embed(ids.inner(), &mask, pass);
        let mut kept = Kept { xs: vec![x.clone()], rows, passes: Vec::new() };
        let mut x = x;
        for i in 0..model.depth() {
            kept.passes.push(pass.clone());
            x = model.layer(i, Hidden { x, rows: kept.rows.clone() }, &mask, pass);
            kept.xs.push(x.clone());
        }
        kept
    }
}

/// A tensor that is a constant of the graph, or the leaf at which a new graph starts.
fn leaf(x: Tensor<2>, needs_gradient: bool) -> Tensor<2> {
    Tensor::from_inner(x).set_require_grad(needs_gradient)
}

/// The backward pass from `out`, whose gradient is `given`, and from the piece's own loss `more`: the gradients of
/// `Σ out · given` plus `more`.
fn backward_with(out: Tensor<2>, given: Tensor<2>, more: Option<Tensor<1>>) -> Gradients {
    let sum = (out * Tensor::from_inner(given)).sum();
    more.into_iter().fold(sum, |sum, more| sum + more).backward()
}
