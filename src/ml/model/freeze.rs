//! Limits training to the upper layers of a model.

use anyhow::{Result, ensure};

use super::classifier::Model;
use super::part::{Part, place};

impl Model {
    /// Limits training to the last `layers` encoder layers and the head; with 0, to the head.
    ///
    /// This freezes embeddings, lower layers, and parameters that all layers share (DeBERTa's table of relative positions).
    /// Frozen parameters get no gradients, and the backward pass stops at the lowest trained layer.
    pub fn finetune_last(self, layers: usize) -> Result<Self> {
        let all = self.config().layers();
        ensure!(layers <= all, "finetune-layers is {layers}, but the model has {all} encoder layers; give 0 to {all}");
        let lowest = all - layers;
        Ok(self.set_trainable(|name| match place(name).part {
            Part::Layer(layer) => layer >= lowest,
            Part::Head => true,
            Part::Embeddings | Part::Encoder => false,
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use burn::tensor::Device;

    use super::*;
    use crate::compute::dropout::Pass;
    use crate::model::fixture::{Fixture, cross_entropy};

    #[test]
    fn freezing_changes_no_forward_pass_dropout_included() {
        let device = Device::flex().autodiff();
        for fixture in Fixture::classifiers() {
            let logits = |layers: Option<usize>| {
                let model = Model::load(&fixture.dir, None, 0, &device).unwrap().model;
                let model = layers.map_or(model.clone(), |layers| model.finetune_last(layers).unwrap());
                let (ids, mask) = fixture.batch(&device);
                model.forward(ids, mask, &mut Pass::step(7, 3)).into_data().try_to_vec::<f32>().unwrap()
            };
            let whole = logits(None);
            for layers in [0, 1] {
                let differs = whole.iter().zip(logits(Some(layers))).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(differs < 1e-5, "{}, {layers} layers: {differs}", fixture.name());
            }
        }
    }

    #[test]
    fn in_every_family_the_last_layers_and_the_head_get_their_gradients_and_nothing_else_any() {
        let device = Device::flex().autodiff();
        let mut families = BTreeSet::new();
        for fixture in Fixture::classifiers() {
            let load = || Model::load(&fixture.dir, None, 0, &device).unwrap().model;
            let gradients = |model: &Model| {
                let (ids, mask) = fixture.batch(&device);
                let loss = cross_entropy(model.forward(ids, mask, &mut Pass::Off), &fixture.labels(), &device);
                model.gradient_norms(&loss.backward()).unwrap()
            };
            let whole = gradients(&load());
            let all = load().config().layers();
            for layers in 0..=all {
                let model = load().finetune_last(layers).unwrap();
                let upper = |name: &&String| {
                    let numbered = name.split('.').find_map(|field| field.parse::<usize>().ok());
                    let in_head = name.starts_with("classifier") || name.contains("pooler") || name.starts_with("pre_");
                    in_head || numbered.is_some_and(|layer| layer >= all - layers)
                };
                let trained = gradients(&model);
                let expected: Vec<_> = whole.iter().filter(|(name, _)| upper(name)).collect();
                let which = format!("{}, {layers} layers", fixture.name());
                assert_eq!(
                    trained.keys().collect::<Vec<_>>(),
                    expected.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
                    "{which}"
                );
                for (name, norm) in expected {
                    assert!(
                        (trained[name] - norm).abs() <= 1e-6 * norm.max(0.1),
                        "{which}: {name} {} {norm}",
                        trained[name]
                    );
                }
                let named = model.parameters().into_iter().filter(|p| p.trainable).map(|p| p.name);
                assert!(named.collect::<Vec<_>>().iter().all(|name| upper(&name)), "{which}");
            }
            let message = load().finetune_last(all + 1).unwrap_err().to_string();
            let expected =
                format!("finetune-layers is {}, but the model has {all} encoder layers; give 0 to {all}", all + 1);
            assert_eq!(message, expected);
            families.insert(load().config().model_type().to_owned());
        }
        let all = ["bert", "deberta-v2", "distilbert", "roberta"];
        assert!(all.iter().all(|family| families.contains(*family)), "fixtures of {families:?} only");
    }
}
