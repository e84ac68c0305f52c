//! A teacher's outputs for a batch, and the student's distance from them.

use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::{Bool, Tensor};

use super::teacher::{Guide, Measure, Pairs};
use crate::compute::dropout::Pass;
use crate::model::linear::Linear;
use crate::model::{Hidden, Model};
use crate::text::batch::Batch;
use crate::text::ids::Ids;

/// The denominators of a step's means; padding does not count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Counts {
    /// Number of real tokens in all rows of the step.
    pub tokens: f64,
    /// Number of pairs of real tokens of the same row.
    pub pairs: f64,
}

impl Counts {
    /// Count over the batches of a step.
    pub fn of(batches: &[Batch]) -> Self {
        let rows = batches.iter().flat_map(|batch| batch.mask.chunks(batch.width));
        let lengths = rows.map(|row| row.iter().filter(|real| **real).count() as f64);
        lengths.fold(Self { tokens: 0.0, pairs: 0.0 }, |sum, length| Self {
            tokens: sum.tokens + length,
            pairs: sum.pairs + length * length,
        })
    }
}

/// The teacher's hidden states and attention scores for a batch, as constants of the graph.
pub struct TeacherTargets<'a> {
    guide: &'a Guide,
    projection: Option<&'a Linear>,
    /// By piece of the teacher, `[B·T, H]`.
    states: BTreeMap<usize, Tensor<2>>,
    /// By piece of the teacher, `[B, h, T, T]`.
    scores: BTreeMap<usize, Tensor<4>>,
    /// `[B, T]`, 1 for a real token.
    real: Tensor<2>,
    counts: Counts,
}

impl Guide {
    /// Run the teacher on `ids` and `mask`, `[B, T]` each, which are on a device with autodiff. `counts` are those of
    /// the step.
    pub fn targets<'a>(
        &'a self,
        ids: &Ids,
        mask: &Tensor<2, Bool>,
        counts: Counts,
        projection: Option<&'a Linear>,
    ) -> TeacherTargets<'a> {
        let wanted =
            |pairs: Option<&Pairs>| -> BTreeSet<usize> { pairs.into_iter().flatten().map(|(_, &p)| p).collect() };
        let of_states = wanted(self.hidden.as_ref().map(|(_, pairs)| pairs));
        let of_scores = wanted(self.attention.as_ref().map(|(_, pairs)| pairs));
        let deepest = of_states.iter().chain(&of_scores).max().copied().unwrap_or(0);

        let (teacher, pass, plain) = (&self.teacher, &mut Pass::Off, mask.clone().inner());
        let Hidden { mut x, rows } = teacher.embed(ids.clone().inner(), &plain, pass);
        let (mut states, mut scores) = (BTreeMap::new(), BTreeMap::new());
        for piece in 0..=deepest {
            if let Some(layer) = piece.checked_sub(1) {
                let hidden = Hidden { x, rows: rows.clone() };
                if of_scores.contains(&piece) {
                    let (out, of_layer) = teacher.layer_with_scores(layer, hidden, &plain, pass);
                    scores.insert(piece, Tensor::from_inner(of_layer));
                    x = out;
                } else {
                    x = teacher.layer(layer, hidden, &plain, pass);
                }
            }
            if of_states.contains(&piece) {
                states.insert(piece, Tensor::from_inner(x.clone()));
            }
        }
        TeacherTargets { guide: self, projection, states, scores, real: mask.clone().float(), counts }
    }
}

impl TeacherTargets<'_> {
    /// The distance of the student's embeddings `[B·T, H]` from the teacher's, `[1]`; `None` if they are not compared.
    pub fn embeddings(&self, x: &Tensor<2>) -> Option<Tensor<1>> {
        self.hidden_loss(0, x)
    }

    /// Run layer `i` of the student. Returns its output, `[B·T, H]`, and its distance from the teacher, `[1]`, or
    /// `None` if it is not compared.
    pub fn layer(
        &self,
        student: &Model,
        i: usize,
        hidden: Hidden,
        mask: &Tensor<2, Bool>,
        pass: &mut Pass,
    ) -> (Tensor<2>, Option<Tensor<1>>) {
        let piece = i + 1;
        let theirs = self.guide.attention.as_ref().and_then(|(_, pairs)| self.scores.get(pairs.get(&piece)?));
        let (x, of_scores) = match theirs {
            None => (student.layer(i, hidden, mask, pass), None),
            Some(theirs) => {
                let (x, ours) = student.layer_with_scores(i, hidden, mask, pass);
                (x, self.attention_loss(ours, theirs))
            }
        };
        let of_states = self.hidden_loss(piece, &x);
        (x, of_states.into_iter().chain(of_scores).reduce(|a, b| a + b))
    }

    /// The share of a step's hidden-state loss that comes from `x` `[B·T, H]` of this piece in this batch.
    ///
    /// `mse`: weight / layers · mean over the step's real tokens and their dimensions of (W·x − y)²; Jiao et al. 2020,
    /// "TinyBERT", equations 8 and 9. `cosine`: weight / layers · mean over real tokens of 1 − cos(W·x, y); Sanh et al. 2019,
    /// "DistilBERT", section 3, and `torch.nn.CosineEmbeddingLoss`. W is the projection, if there is one.
    fn hidden_loss(&self, piece: usize, x: &Tensor<2>) -> Option<Tensor<1>> {
        let (loss, pairs) = self.guide.hidden.as_ref()?;
        let y = self.states.get(pairs.get(&piece)?)?.clone();
        let x = match self.projection {
            Some(projection) => projection.forward(x.clone(), &mut Pass::Off),
            None => x.clone(),
        };
        let [rows, width] = x.dims();
        let real = self.real.clone().reshape([rows, 1]);
        let scale = loss.weight / (pairs.len() as f64 * self.counts.tokens);
        Some(match loss.loss {
            Measure::Mse => ((x - y).square() * real).sum() * (scale / width as f64),
            Measure::Cosine => {
                const EPSILON: f64 = 1e-12; // As in torch, so that a zero vector has an angle.
                let norm = |x: Tensor<2>| x.square().sum_dim(1).add_scalar(EPSILON).sqrt();
                let product = (x.clone() * y.clone()).sum_dim(1); // [B·T, 1]
                let cosine = product / (norm(x) * norm(y));
                ((cosine.neg() + 1.0) * real).sum() * scale
            }
        })
    }

    /// The share of a step's attention loss that comes from `ours` in this batch, both `[B, h, T, T]`.
    ///
    /// weight / layers · mean over heads and pairs of real tokens of (A − A')², with A the scores before the softmax; Jiao et
    /// al. 2020, "TinyBERT", equation 7.
    fn attention_loss(&self, ours: Tensor<4>, theirs: &Tensor<4>) -> Option<Tensor<1>> {
        let (loss, pairs) = self.guide.attention.as_ref()?;
        let ([batch, length], heads) = (self.real.dims(), ours.dims()[1]);
        let (queries, keys) = ([batch, 1, length, 1], [batch, 1, 1, length]);
        // Padding gets the same large negative score on both sides, so that the softmax ignores it.
        let real = self.real.clone().reshape(queries) * self.real.clone().reshape(keys);
        let scale = loss.weight / (pairs.len() as f64 * self.counts.pairs * heads as f64);
        Some(((ours - theirs.clone()).square() * real).sum() * scale)
    }
}

#[cfg(test)]
#[path = "targets_tests.rs"]
mod tests;
