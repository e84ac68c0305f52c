//! Tests that names, their order and layouts follow from fields, and are those of transformers in every family.

use burn::module::Module;
use burn::tensor::Device;

use super::*;
use crate::model::linear::Linear;
use crate::model::norm::LayerNorm;
use crate::model::{Config, Model};

/// A module around another, as training has one; no name may depend on what it is called.
#[derive(Module, Debug)]
struct Anything {
    inner: Inner,
    beside: Option<Linear>,
}

#[derive(Module, Debug)]
struct Inner {
    kind: Kind,
}

#[derive(Module, Debug)]
enum Kind {
    One(Layers),
}

#[derive(Module, Debug)]
struct Layers {
    layer: Vec<Linear>,
    layer_norm: LayerNorm,
}

impl Parameters for Anything {
    const AROUND: &'static [&'static str] = &["inner", "kind"];
}

#[test]
fn names_are_paths_of_fields_without_what_is_around_and_without_structs_and_variants() {
    let device = Device::flex();
    let linear = || Linear::empty(2, 3, &device);
    let layers = Layers { layer: vec![linear(), linear()], layer_norm: LayerNorm::empty(3, 1e-5, &device) };
    let module = Anything { inner: Inner { kind: Kind::One(layers) }, beside: Some(linear()) };
    let seen: Vec<_> = list(&module).into_iter().map(|p| (p.name, p.shape, p.layout, p.decay)).collect();
    let matrix = |name: &str| (name.to_owned(), vec![3, 2], Layout::Transposed, true);
    let vector = |name: &str| (name.to_owned(), vec![3], Layout::AsInFiles, false);
    let expected = [
        matrix("layer.0.weight"),
        vector("layer.0.bias"),
        matrix("layer.1.weight"),
        vector("layer.1.bias"),
        vector("LayerNorm.weight"),
        vector("LayerNorm.bias"),
        matrix("beside.weight"),
        vector("beside.bias"),
    ];
    assert_eq!(seen, expected);
}

/// The order counts as well: a gradient's norm is summed in it.
#[test]
fn the_parameters_of_every_family_have_the_names_of_transformers_in_this_order() {
    let sizes = r#""vocab_size": 7, "max_position_embeddings": 9, "hidden_size": 8, "num_attention_heads": 2"#;
    let bert = r#""num_hidden_layers": 1, "intermediate_size": 16"#;
    let own =
        r#""vocab_size": 7, "max_position_embeddings": 9, "dim": 8, "n_heads": 2, "n_layers": 1, "hidden_dim": 16"#;
    let distances =
        r#""relative_attention": true, "position_buckets": 4, "pos_att_type": "c2p|p2c", "norm_rel_ebd": "layer_norm""#;
    for (model_type, fields, expected) in [
        ("roberta", format!("{sizes}, {bert}"), ROBERTA),
        ("bert", format!("{sizes}, {bert}"), BERT),
        ("distilbert", own.to_owned(), DISTILBERT),
        ("deberta-v2", format!("{sizes}, {bert}, {distances}, \"conv_kernel_size\": 3"), DEBERTA),
    ] {
        let config = Config::parse(&format!(r#"{{"model_type": "{model_type}", {fields}}}"#)).expect("valid");
        let mark = |p: Named| format!("{}{}", p.name, if p.layout == Layout::Transposed { "ᵀ" } else { "" });
        let seen: Vec<String> = Model::outline(&config).into_iter().map(mark).collect();
        assert_eq!(seen, expected.split_whitespace().collect::<Vec<_>>(), "{model_type}");
    }
}

/// Matrices that the module stores transposed have a mark.
const ROBERTA: &str = "
    roberta.embeddings.word_embeddings.weight roberta.embeddings.position_embeddings.weight
    roberta.embeddings.token_type_embeddings.weight roberta.embeddings.LayerNorm.weight
    roberta.embeddings.LayerNorm.bias roberta.encoder.layer.0.attention.self.query.weightᵀ
    roberta.encoder.layer.0.attention.self.query.bias roberta.encoder.layer.0.attention.self.key.weightᵀ
    roberta.encoder.layer.0.attention.self.key.bias roberta.encoder.layer.0.attention.self.value.weightᵀ
    roberta.encoder.layer.0.attention.self.value.bias roberta.encoder.layer.0.attention.output.dense.weightᵀ
    roberta.encoder.layer.0.attention.output.dense.bias roberta.encoder.layer.0.attention.output.LayerNorm.weight
    roberta.encoder.layer.0.attention.output.LayerNorm.bias roberta.encoder.layer.0.intermediate.dense.weightᵀ
    roberta.encoder.layer.0.intermediate.dense.bias roberta.encoder.layer.0.output.dense.weightᵀ
    roberta.encoder.layer.0.output.dense.bias roberta.encoder.layer.0.output.LayerNorm.weight
    roberta.encoder.layer.0.output.LayerNorm.bias classifier.dense.weightᵀ classifier.dense.bias
    classifier.out_proj.weightᵀ classifier.out_proj.bias";
const BERT: &str = "
    bert.embeddings.word_embeddings.weight bert.embeddings.position_embeddings.weight
    bert.embeddings.token_type_embeddings.weight bert.embeddings.LayerNorm.weight bert.embeddings.LayerNorm.bias
    bert.encoder.layer.0.attention.self.query.weightᵀ bert.encoder.layer.0.attention.self.query.bias
    bert.encoder.layer.0.attention.self.key.weightᵀ bert.encoder.layer.0.attention.self.key.bias
    bert.encoder.layer.0.attention.self.value.weightᵀ bert.encoder.layer.0.attention.self.value.bias
    bert.encoder.layer.0.attention.output.dense.weightᵀ bert.encoder.layer.0.attention.output.dense.bias
    bert.encoder.layer.0.attention.output.LayerNorm.weight bert.encoder.layer.0.attention.output.LayerNorm.bias
    bert.encoder.layer.0.intermediate.dense.weightᵀ bert.encoder.layer.0.intermediate.dense.bias
    bert.encoder.layer.0.output.dense.weightᵀ bert.encoder.layer.0.output.dense.bias
    bert.encoder.layer.0.output.LayerNorm.weight bert.encoder.layer.0.output.LayerNorm.bias
    bert.pooler.dense.weightᵀ bert.pooler.dense.bias classifier.weightᵀ classifier.bias";
const DISTILBERT: &str = "
    distilbert.embeddings.word_embeddings.weight distilbert.embeddings.position_embeddings.weight
    distilbert.embeddings.LayerNorm.weight distilbert.embeddings.LayerNorm.bias
    distilbert.transformer.layer.0.attention.q_lin.weightᵀ distilbert.transformer.layer.0.attention.q_lin.bias
    distilbert.transformer.layer.0.attention.k_lin.weightᵀ distilbert.transformer.layer.0.attention.k_lin.bias
    distilbert.transformer.layer.0.attention.v_lin.weightᵀ distilbert.transformer.layer.0.attention.v_lin.bias
    distilbert.transformer.layer.0.attention.out_lin.weightᵀ distilbert.transformer.layer.0.attention.out_lin.bias
    distilbert.transformer.layer.0.sa_layer_norm.weight distilbert.transformer.layer.0.sa_layer_norm.bias
    distilbert.transformer.layer.0.ffn.lin1.weightᵀ distilbert.transformer.layer.0.ffn.lin1.bias
    distilbert.transformer.layer.0.ffn.lin2.weightᵀ distilbert.transformer.layer.0.ffn.lin2.bias
    distilbert.transformer.layer.0.output_layer_norm.weight distilbert.transformer.layer.0.output_layer_norm.bias
    pre_classifier.weightᵀ pre_classifier.bias classifier.weightᵀ classifier.bias";
const DEBERTA: &str = "
    deberta.embeddings.word_embeddings.weight deberta.embeddings.position_embeddings.weight
    deberta.embeddings.LayerNorm.weight deberta.embeddings.LayerNorm.bias
    deberta.encoder.layer.0.attention.self.query_proj.weightᵀ
    deberta.encoder.layer.0.attention.self.query_proj.bias deberta.encoder.layer.0.attention.self.key_proj.weightᵀ
    deberta.encoder.layer.0.attention.self.key_proj.bias deberta.encoder.layer.0.attention.self.value_proj.weightᵀ
    deberta.encoder.layer.0.attention.self.value_proj.bias
    deberta.encoder.layer.0.attention.self.pos_key_proj.weightᵀ
    deberta.encoder.layer.0.attention.self.pos_key_proj.bias
    deberta.encoder.layer.0.attention.self.pos_query_proj.weightᵀ
    deberta.encoder.layer.0.attention.self.pos_query_proj.bias
    deberta.encoder.layer.0.attention.output.dense.weightᵀ deberta.encoder.layer.0.attention.output.dense.bias
    deberta.encoder.layer.0.attention.output.LayerNorm.weight
    deberta.encoder.layer.0.attention.output.LayerNorm.bias deberta.encoder.layer.0.intermediate.dense.weightᵀ
    deberta.encoder.layer.0.intermediate.dense.bias deberta.encoder.layer.0.output.dense.weightᵀ
    deberta.encoder.layer.0.output.dense.bias deberta.encoder.layer.0.output.LayerNorm.weight
    deberta.encoder.layer.0.output.LayerNorm.bias deberta.encoder.rel_embeddings.weight
    deberta.encoder.LayerNorm.weight deberta.encoder.LayerNorm.bias deberta.encoder.conv.conv.weight
    deberta.encoder.conv.conv.bias deberta.encoder.conv.LayerNorm.weight deberta.encoder.conv.LayerNorm.bias
    pooler.dense.weightᵀ pooler.dense.bias classifier.weightᵀ classifier.bias";
