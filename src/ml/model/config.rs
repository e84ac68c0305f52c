//! A model's `config.json`: checks the fields that affect the computation and preserves all others.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::{Map, Value, json};

use super::family;
use super::family::Family;
use super::fields::Fields;
use super::head::{HeadConfig, HeadKind};
use super::quantization;
use super::quantization::Quantization;
use crate::files::{pointer, weights};

/// The file that makes a folder an adapter.
pub(crate) const ADAPTER: &str = "adapter_config.json";

/// The `problem_type` of the classifiers that `pipe` trains and scores.
const SINGLE_LABEL: &str = "single_label_classification";

/// The `config.json` of a text classifier.
///
/// [`Config::to_json`] writes fields that `pipe` does not use unchanged.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub family: Family,
    /// Label names in the order of the logits.
    labels: Vec<String>,
    head: HeadKind,
    quantization: Option<Quantization>,
    /// Every field as read.
    fields: Map<String, Value>,
    /// Names of unknown fields; they have no effect.
    unknown: Vec<String>,
}

impl Config {
    /// Reads and checks `config.json` in a model folder.
    pub fn open(dir: &Path) -> Result<Self> {
        let path = dir.join("config.json");
        ensure!(
            dir.is_dir(),
            "model folder {} does not exist; give a folder in the Hugging Face layout or `hf:OWNER/NAME`",
            dir.display()
        );
        // `pipe` puts a `config.json` beside an adapter, for its labels.
        let has_weights = || weights::files(dir).is_ok_and(|files| !files.is_empty());
        ensure!(
            !dir.join(ADAPTER).is_file() || path.is_file() && has_weights(),
            "{} is an adapter, not a model; merge it into its base with a stage of `use = \"merge\"`",
            dir.display()
        );
        ensure!(
            path.is_file(),
            "model folder {} has no config.json; it needs config.json, model.safetensors and tokenizer files",
            dir.display()
        );
        let text =
            String::from_utf8(pointer::read(&path)?).map_err(|_| anyhow!("{} is not UTF-8 text", path.display()))?;
        // Some Windows editors put a byte order mark before the text.
        Self::parse(text.trim_start_matches('\u{feff}')).with_context(|| format!("in {}", path.display()))
    }

    /// Parses and checks the text of a `config.json`.
    pub fn parse(text: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(text).context("not valid JSON")?;
        match value {
            Value::Object(fields) => Self::of(fields),
            _ => bail!("not a JSON object"),
        }
    }

    /// Checks the fields of a `config.json`.
    fn of(fields: Map<String, Value>) -> Result<Self> {
        let read = Fields::new(&fields);
        let model_type = read.text("model_type", "")?;
        let Some(family) = Family::read(model_type, &read) else {
            let known = family::model_types().join(", ");
            ensure!(
                !model_type.is_empty(),
                "field `model_type` is missing; known families: {known} (add it if the model is one of them)"
            );
            bail!("field `model_type` is `{model_type}`; known families: {known}");
        };
        let family = family?;
        let quantization = Quantization::read(&read)?;
        let labels = read.labels()?;
        let head = HeadKind::read(&read)?;
        let unknown = read.unknown();
        Ok(Config { family, labels, head, quantization, fields, unknown })
    }

    /// The content of a new `config.json`: the fields as read, with the current labels and dtype f32.
    pub fn to_json(&self) -> Value {
        Value::Object(self.new_fields())
    }

    fn new_fields(&self) -> Map<String, Value> {
        let mut fields = self.fields.clone();
        let numbered = self.labels.iter().enumerate();
        let id2label: Map<_, _> = numbered.clone().map(|(i, label)| (i.to_string(), json!(label))).collect();
        let label2id: Map<_, _> = numbered.map(|(i, label)| (label.clone(), json!(i))).collect();
        fields.insert("id2label".into(), Value::Object(id2label));
        fields.insert("label2id".into(), Value::Object(label2id));
        fields.insert("architectures".into(), json!([self.family.names().architecture(self.model_type())]));
        fields.insert("problem_type".into(), json!(SINGLE_LABEL));
        // transformers derives `num_labels` from `id2label`; a stale value would contradict it. The other two say where
        // the base came from and which transformers wrote its file; transformers does not copy them either.
        for stale in ["num_labels", "_name_or_path", "transformers_version"] {
            fields.remove(stale);
        }
        fields.remove(quantization::FIELD);
        match self.head {
            HeadKind::Standard => drop(fields.remove(HeadKind::FIELD)),
            HeadKind::Mlp => drop(fields.insert(HeadKind::FIELD.into(), json!("mlp"))),
        }
        // The old and the new name of the dtype field; a file may have both.
        let both = ["torch_dtype", "dtype"];
        let there: Vec<&str> = both.into_iter().filter(|name| fields.contains_key(*name)).collect();
        for name in if there.is_empty() { vec!["dtype"] } else { there } {
            fields.insert(name.into(), json!("float32"));
        }
        fields
    }

    /// How the weights are stored, if they are integers.
    pub fn quantization(&self) -> Option<&Quantization> {
        self.quantization.as_ref()
    }

    /// Label names in the order of the logits.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The labels in the file, even if [`Config::with_labels`] replaced them.
    pub fn own_labels(&self) -> Result<Vec<String>> {
        Fields::new(&self.fields).labels()
    }

    /// The same model with other labels.
    pub fn with_labels(mut self, labels: &[String]) -> Self {
        self.labels = labels.to_vec();
        self
    }

    /// The same model with another classifier.
    pub fn with_head(mut self, head: HeadKind) -> Self {
        self.head = head;
        self
    }

    pub fn head(&self) -> HeadKind {
        self.head
    }

    /// The same model with another number of layers.
    pub fn with_layers(&self, layers: usize) -> Result<Self> {
        self.with_size(self.family.names().layers, layers)
    }

    /// The same model with feed-forward layers of this width.
    pub fn with_intermediate_size(&self, width: usize) -> Result<Self> {
        self.with_size(self.family.names().intermediate, width)
    }

    /// The same model with another size, which is in `field`.
    fn with_size(&self, field: &str, size: usize) -> Result<Self> {
        let mut fields = self.new_fields();
        fields.insert(field.into(), size.into());
        Self::of(fields)
    }

    /// A field as written in `config.json`.
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.fields.get(name)
    }

    /// The `problem_type` of the head, unless it is single-label classification. The logits of such a head are not scores
    /// for the choice of one label.
    pub fn other_problem(&self) -> Option<&str> {
        let problem = self.field("problem_type").and_then(Value::as_str);
        problem.filter(|problem| *problem != SINGLE_LABEL)
    }

    /// Names of unknown fields, which have no effect.
    pub fn unknown(&self) -> &[String] {
        &self.unknown
    }

    /// `roberta`, `xlm-roberta`, …
    pub fn model_type(&self) -> &str {
        self.field("model_type").and_then(Value::as_str).unwrap_or_default()
    }

    /// The longest sequence that the position table allows, in tokens, including special tokens.
    pub fn max_length(&self) -> usize {
        self.family.max_length()
    }

    /// The id of the padding token.
    pub fn pad_id(&self) -> u32 {
        self.family.encoder().pad_token_id as u32
    }

    /// The rows of the table of token types; 0 if the model has none.
    pub fn token_types(&self) -> usize {
        self.family.encoder().type_vocab_size
    }

    pub fn vocab_size(&self) -> usize {
        self.family.encoder().vocab_size
    }

    pub fn hidden_size(&self) -> usize {
        self.family.encoder().hidden_size
    }

    /// Width of the feed-forward layers.
    pub fn intermediate_size(&self) -> usize {
        self.family.encoder().intermediate_size
    }

    /// Number of encoder layers.
    pub fn layers(&self) -> usize {
        self.family.encoder().num_hidden_layers
    }

    /// Number of attention heads per layer.
    pub fn attention_heads(&self) -> usize {
        self.family.encoder().num_attention_heads
    }

    /// Standard deviation of freshly initialised weights.
    pub fn initializer_range(&self) -> f64 {
        self.family.encoder().initializer_range
    }

    /// The kind and sizes of the head.
    pub(super) fn head_config(&self) -> HeadConfig {
        HeadConfig { kind: self.head, hidden: self.hidden_size(), labels: self.labels.len() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Config::parse(text).map(|_| ()).expect_err("refused").to_string()
    }

    #[test]
    fn an_unknown_or_absent_family_names_the_field_and_the_known_ones() {
        assert_eq!(
            error(r#"{"model_type": "gpt2"}"#),
            "field `model_type` is `gpt2`; known families: roberta, xlm-roberta, bert, distilbert, deberta-v2"
        );
        assert!(error("{}").starts_with("field `model_type` is missing; known families: roberta"));
    }

    #[test]
    fn fields_that_change_the_computation_are_refused_by_name() {
        let refused = |field: &str| error(&format!(r#"{{"model_type": "roberta", {field}}}"#));
        assert_eq!(
            refused(r#""position_embedding_type": "relative_key""#),
            r#"field `position_embedding_type` is "relative_key"; only "absolute" is supported"#
        );
        assert_eq!(refused(r#""is_decoder": true"#), "field `is_decoder` is true; only false is supported");
        assert_eq!(
            refused(r#""hidden_act": "mish""#),
            "field `hidden_act` is \"mish\"; known functions: gelu, gelu_python, gelu_new, gelu_pytorch_tanh, relu, silu, \
             swish, tanh"
        );
        assert_eq!(
            refused(r#""pruned_heads": {"0": [1]}"#),
            r#"field `pruned_heads` is {"0":[1]}; it is not supported"#
        );
        assert_eq!(refused(r#""hidden_size": "big""#), r#"field `hidden_size` is "big"; it must be a whole number"#);
        assert_eq!(
            refused(r#""hidden_size": 100, "num_attention_heads": 12"#),
            "field `hidden_size` is 100; it must be a multiple of `num_attention_heads` = 12"
        );
    }

    #[test]
    fn unknown_fields_survive_and_labels_are_rewritten() {
        let text = r#"{"model_type": "roberta", "made_by": [1, {"x": null}], "num_labels": 9,
                       "id2label": {"1": "good", "0": "bad"}, "torch_dtype": "float16",
                       "_name_or_path": "roberta-base", "transformers_version": "4.13.0"}"#;
        let config = Config::parse(text).expect("valid");
        assert_eq!(config.labels(), ["bad", "good"]);
        let json = config.with_labels(&["a".into(), "b".into(), "c".into()]).to_json();
        assert_eq!(json["made_by"], json!([1, {"x": null}]));
        assert_eq!(json["id2label"], json!({"0": "a", "1": "b", "2": "c"}));
        assert_eq!(json["label2id"], json!({"a": 0, "b": 1, "c": 2}));
        assert_eq!(json["architectures"], json!(["RobertaForSequenceClassification"]));
        assert_eq!(json["torch_dtype"], json!("float32"));
        for stale in ["num_labels", "_name_or_path", "transformers_version"] {
            assert!(json.get(stale).is_none(), "{stale}");
        }
    }

    #[test]
    fn both_names_of_the_type_say_what_is_saved() {
        let config =
            |more: &str| Config::parse(&format!(r#"{{"model_type": "bert", {more}}}"#)).expect("valid").to_json();
        let both = config(r#""torch_dtype": "float16", "dtype": "bfloat16""#);
        assert_eq!((&both["torch_dtype"], &both["dtype"]), (&json!("float32"), &json!("float32")));
        let one = config(r#""dtype": "float16""#);
        assert!(one["dtype"] == "float32" && one.get("torch_dtype").is_none());
    }

    #[test]
    fn labels_may_be_numbers_and_nothing_else() {
        let config = Config::parse(r#"{"model_type": "bert", "id2label": {"0": 0, "1": true}}"#).expect("valid");
        assert_eq!(config.labels(), ["0", "true"]);
        assert_eq!(
            error(r#"{"model_type": "bert", "id2label": {"0": "a", "1": null}}"#),
            "field `id2label` has null for the id `1`; it must be a string"
        );
    }

    #[test]
    fn gaps_in_the_label_ids_are_refused() {
        assert_eq!(
            error(r#"{"model_type": "roberta", "id2label": {"0": "a", "2": "b"}}"#),
            "field `id2label` has the id `2`; ids must run from 0 to 1"
        );
    }

    #[test]
    fn a_folder_without_config_says_what_it_needs() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let text = Config::open(dir.path()).map(|_| ()).expect_err("no config").to_string();
        assert!(text.contains("has no config.json"), "{text}");
        let text = Config::open(&dir.path().join("no")).map(|_| ()).expect_err("no folder").to_string();
        assert!(text.contains("does not exist"), "{text}");
    }
}
