//! Finds the part of a model that a parameter belongs to, from its name.

use std::fmt;

use super::names::{PEFT, modern, unwrapped};

/// The parts of an encoder with a head, in the order in which a text passes through them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Part {
    /// Tables of words, positions and token types, and their LayerNorm.
    Embeddings,
    /// A layer of the encoder, counted from 0.
    Layer(usize),
    /// Parameters outside single layers: DeBERTa's relative positions, their LayerNorm, its convolution.
    Encoder,
    /// Everything else: pooler, classifier, a language model's head.
    Head,
}

/// A parameter's part, and its name within that part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place<'a> {
    pub part: Part,
    /// For example `attention.self.query.weight` for a layer, `word_embeddings.weight` for the embeddings. For the head, the name
    /// starting at `pooler`, or the whole name.
    pub within: &'a str,
}

/// The part of a Hugging Face name. It does not depend on the family: `layer.N` is a layer wherever it occurs, which holds for
/// BERT, RoBERTa, DeBERTa, DistilBERT and ELECTRA (`layer`), and for decoders (`layers`, `h`).
pub(crate) fn place(name: &str) -> Place<'_> {
    let name = name.strip_prefix(PEFT).unwrap_or(name);
    // The layers of a deeper head do not belong to the encoder.
    if name.starts_with("classifier.") {
        return Place { part: Part::Head, within: name };
    }
    let (mut rest, mut before) = (name, "");
    let (mut embeddings, mut encoder, mut pooler) = (None, None, None);
    while let Some((field, after)) = rest.split_once('.') {
        match field.parse() {
            Ok(layer) if ["layer", "layers", "h"].contains(&before) => {
                return Place { part: Part::Layer(layer), within: after };
            }
            _ => {}
        }
        match field {
            "embeddings" => embeddings = embeddings.or(Some(after)),
            "encoder" => encoder = encoder.or(Some(after)),
            "pooler" => pooler = pooler.or(Some(rest)),
            _ => {}
        }
        (before, rest) = (field, after);
    }
    match (embeddings, encoder) {
        (Some(within), None) => Place { part: Part::Embeddings, within },
        (_, Some(within)) => Place { part: Part::Encoder, within },
        (None, None) => Place { part: Part::Head, within: pooler.unwrap_or(name) },
    }
}

/// Identifies a parameter in checkpoints of any age: with or without a prefix for the model or a wrapper, and with old names of
/// LayerNorm.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub part: Part,
    pub within: String,
}

/// The key of a name in a checkpoint.
pub(crate) fn key(name: &str) -> Key {
    let name = modern(&unwrapped(name));
    let Place { part, within } = place(&name);
    Key { part, within: within.to_owned() }
}

/// The model prefix of a name in a checkpoint, such as `roberta` in `roberta.encoder.layer.0.…`; `None` for an
/// encoder saved alone, and for a head.
pub(crate) fn body(name: &str) -> Option<String> {
    let name = unwrapped(name);
    let first = name.split('.').next()?;
    (place(&name).part != Part::Head && !["embeddings", "encoder"].contains(&first)).then(|| first.to_owned())
}

impl Part {
    /// The number of the layer, if the part is one.
    pub(crate) fn layer(self) -> Option<usize> {
        if let Part::Layer(layer) = self { Some(layer) } else { None }
    }

    /// `embeddings`, `layer`, `encoder` or `head`.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Part::Embeddings => "embeddings",
            Part::Layer(_) => "layer",
            Part::Encoder => "encoder",
            Part::Head => "head",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::Layer(layer) => write!(f, "encoder.layer.{layer}"),
            other => f.write_str(other.kind()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_several_families_find_their_part() {
        let cases = [
            ("roberta.embeddings.word_embeddings.weight", Part::Embeddings, "word_embeddings.weight"),
            ("embeddings.LayerNorm.gamma", Part::Embeddings, "LayerNorm.gamma"),
            ("bert.encoder.layer.11.output.dense.bias", Part::Layer(11), "output.dense.bias"),
            ("encoder.layer.0.attention.self.key.weight", Part::Layer(0), "attention.self.key.weight"),
            ("distilbert.transformer.layer.5.ffn.lin1.weight", Part::Layer(5), "ffn.lin1.weight"),
            ("transformer.h.3.attn.c_attn.weight", Part::Layer(3), "attn.c_attn.weight"),
            ("deberta.encoder.rel_embeddings.weight", Part::Encoder, "rel_embeddings.weight"),
            ("deberta.encoder.LayerNorm.weight", Part::Encoder, "LayerNorm.weight"),
            ("deberta.encoder.conv.conv.weight", Part::Encoder, "conv.conv.weight"),
            ("bert.pooler.dense.weight", Part::Head, "pooler.dense.weight"),
            ("classifier.out_proj.weight", Part::Head, "classifier.out_proj.weight"),
            ("classifier.0.weight", Part::Head, "classifier.0.weight"),
            ("lm_head.bias", Part::Head, "lm_head.bias"),
            ("weight", Part::Head, "weight"),
            (
                "base_model.model.roberta.encoder.layer.2.attention.self.query.lora_A.weight",
                Part::Layer(2),
                "attention.self.query.lora_A.weight",
            ),
            ("base_model.model.classifier.dense.bias", Part::Head, "classifier.dense.bias"),
        ];
        for (name, part, within) in cases {
            assert_eq!(place(name), Place { part, within }, "{name}");
        }
    }

    #[test]
    fn a_parameter_has_one_key_under_all_its_names() {
        let today = key("roberta.embeddings.LayerNorm.weight");
        assert_eq!(key("embeddings.LayerNorm.gamma"), today);
        assert_eq!(key("module.roberta.embeddings.LayerNorm.weight"), today);
        assert_eq!(key("roberta.embeddings._orig_mod.LayerNorm.weight"), today);
        assert_eq!(key("pooler.dense.bias"), key("bert.pooler.dense.bias"));
        assert_ne!(key("roberta.embeddings.LayerNorm.bias"), today);
    }

    #[test]
    fn parts_sort_as_a_text_passes_through_them() {
        let mut parts = [Part::Head, Part::Layer(10), Part::Encoder, Part::Layer(9), Part::Embeddings];
        parts.sort();
        let names: Vec<String> = parts.iter().map(Part::to_string).collect();
        assert_eq!(names, ["embeddings", "encoder.layer.9", "encoder.layer.10", "encoder", "head"]);
    }
}
