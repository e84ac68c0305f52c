//! The module that a fit trains: a model, and a projection that is only needed during training.

use burn::module::Module;

use crate::model::Model;
use crate::model::linear::Linear;
use crate::model::walk::Parameters;

/// A model in training. Its parameters keep their names in the model; the projection's names begin with `projection`.
#[derive(Module, Debug)]
pub(super) struct Trainee {
    pub model: Model,
    /// Maps the model's hidden states to those of a teacher of another width.
    pub projection: Option<Linear>,
}

impl Parameters for Trainee {
    const AROUND: &'static [&'static str] = &["model", Model::AROUND[0]];
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::model::{Config, walk};

    #[test]
    fn the_models_names_are_those_of_the_model_alone_and_its_projection_comes_last() {
        let text = r#"{"model_type": "bert", "vocab_size": 7, "hidden_size": 4, "num_hidden_layers": 1,
            "num_attention_heads": 2, "intermediate_size": 8, "max_position_embeddings": 8}"#;
        let device = Device::flex();
        let model = Model::init(&Config::parse(text).unwrap(), 1, &device).unwrap();
        let names = |module: Vec<walk::Named>| module.into_iter().map(|p| p.name).collect::<Vec<_>>();
        let alone = names(model.parameters());
        let trainee = Trainee { model, projection: Some(Linear::empty(4, 6, &device)) };
        let expected = [alone, vec!["projection.weight".into(), "projection.bias".into()]].concat();
        assert_eq!(names(walk::list(&trainee)), expected);
    }
}
