//! The forward pass in pieces: embeddings, layer after layer, head.

use burn::tensor::{Bool, Int, Tensor};

use super::Model;
use super::encoder::attention_bias;
use super::part::{Part, place};
use crate::compute::dropout::Pass;

/// The input of a layer.
#[derive(Debug, Clone)]
pub struct Hidden {
    /// `[B·T, H]`
    pub x: Tensor<2>,
    /// DeBERTa's embeddings of distances, `[R, H]`, the same for every layer.
    pub rows: Option<Tensor<2>>,
}

/// Called in order with the same `pass`, these functions give the result of [`Model::forward`]. `mask` is `[B, T]`, true = a real
/// token.
impl Model {
    /// The number of encoder layers.
    pub fn depth(&self) -> usize {
        match self {
            Model::Roberta(model) => model.roberta.encoder.layer.len(),
            Model::Bert(model) => model.bert.encoder.layer.len(),
            Model::Deberta(model) => model.deberta.encoder.layer.len(),
            Model::DistilBert(model) => model.distilbert.encoder.layer.len(),
        }
    }

    /// `ids` `[B, T]` → the input of the first layer.
    pub fn embed(&self, ids: Tensor<2, Int>, mask: &Tensor<2, Bool>, pass: &mut Pass) -> Hidden {
        let [_, length] = ids.dims();
        let x = match self {
            Model::Roberta(model) => model.roberta.embeddings.forward(ids, pass),
            Model::Bert(model) => model.bert.embeddings.forward(ids, pass),
            Model::DistilBert(model) => model.distilbert.embeddings.forward(ids, pass),
            Model::Deberta(model) => {
                let x = model.embed(ids, mask, pass);
                return Hidden { x, rows: model.deberta.encoder.rows(length) };
            }
        };
        Hidden { x, rows: None }
    }

    /// Layer `i`: its input → its output `[B·T, H]`.
    pub fn layer(&self, i: usize, hidden: Hidden, mask: &Tensor<2, Bool>, pass: &mut Pass) -> Tensor<2> {
        let encoder = match self {
            Model::Roberta(model) => &model.roberta.encoder,
            Model::Bert(model) => &model.bert.encoder,
            Model::DistilBert(model) => &model.distilbert.encoder,
            Model::Deberta(model) => {
                let encoder = &model.deberta.encoder;
                let places = encoder.places(mask, hidden.rows);
                return encoder.forward_layer(i, hidden.x, (&places, mask), pass);
            }
        };
        encoder.layer[i].forward(hidden.x, &attention_bias(mask.clone()), pass)
    }

    /// Like [`layer`](Self::layer), with the attention scores before the softmax, `[B, h, T, T]`.
    pub fn layer_with_scores(
        &self,
        i: usize,
        hidden: Hidden,
        mask: &Tensor<2, Bool>,
        pass: &mut Pass,
    ) -> (Tensor<2>, Tensor<4>) {
        let encoder = match self {
            Model::Roberta(model) => &model.roberta.encoder,
            Model::Bert(model) => &model.bert.encoder,
            Model::DistilBert(model) => &model.distilbert.encoder,
            Model::Deberta(model) => {
                let encoder = &model.deberta.encoder;
                let places = encoder.places(mask, hidden.rows);
                return encoder.forward_layer_with_scores(i, hidden.x, (&places, mask), pass);
            }
        };
        encoder.layer[i].forward_with_scores(hidden.x, &attention_bias(mask.clone()), pass)
    }

    /// The last layer's output `x` `[B·T, H]` for `batch` rows → logits `[B, C]`.
    pub fn head(&self, x: Tensor<2>, batch: usize, pass: &mut Pass) -> Tensor<2> {
        match self {
            Model::Roberta(model) => model.head(x, batch, pass),
            Model::Bert(model) => model.head(x, batch, pass),
            Model::Deberta(model) => model.head(x, batch, pass),
            Model::DistilBert(model) => model.head(x, batch, pass),
        }
    }

    /// The lowest piece with trainable parameters, counted from the embeddings (0) over the layers to the head; pieces below it
    /// need no backward pass. `None` if nothing is trainable.
    pub fn lowest_trained(&self) -> Option<usize> {
        let trained = self.parameters().into_iter().filter(|named| named.trainable);
        let piece = |part| match part {
            // The first layer already uses the parameters that all layers share.
            Part::Embeddings | Part::Encoder => 0,
            Part::Layer(layer) => layer + 1,
            Part::Head => self.depth() + 1,
        };
        trained.map(|named| piece(place(&named.name).part)).min()
    }
}
