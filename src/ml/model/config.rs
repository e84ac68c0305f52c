//! A model's `config.json`: the fields that shape the computation, checked; the rest carried along.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::{Map, Value, json};

use super::roberta::RobertaConfig;

/// The families that [`Model`](super::Model) can compute, by their `model_type`.
pub const FAMILIES: &[&str] = &["roberta", "xlm-roberta"];

/// `quant_method` of the int8 folders that [`quantize`](crate::ml::quantize) writes.
pub const INT8: &str = "pipe-int8";

/// Largest number that a size in `config.json` may be: vocabularies come first, at a million for the many-lingual ones.
const LARGEST: usize = 1 << 24;
/// Most labels that a classifier has: their names are kept one by one.
const MOST_LABELS: usize = 1 << 16;

/// What `config.json` says about a text classifier.
///
/// Fields that `pipe` does not use are kept as they are and written again by [`Config::to_json`].
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub family: Family,
    /// Label names in the order of the logits.
    labels: Vec<String>,
    /// Every field as read.
    fields: Map<String, Value>,
}

/// The fields of one model family.
#[derive(Debug, Clone, PartialEq)]
pub enum Family {
    Roberta(RobertaConfig),
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
        ensure!(
            path.is_file(),
            "model folder {} has no config.json; it needs config.json, model.safetensors and tokenizer files",
            dir.display()
        );
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("in {}", path.display()))
    }

    /// Checks the text of a `config.json`.
    pub fn parse(text: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(text).context("not valid JSON")?;
        let Value::Object(fields) = value else {
            bail!("not a JSON object");
        };
        let read = Fields(&fields);
        let model_type = read.text("model_type", "")?;
        let family = match model_type {
            "roberta" | "xlm-roberta" => Family::Roberta(RobertaConfig::read(&read)?),
            "" => bail!(
                "field `model_type` is missing; known families: {} (add it if the model is one of them)",
                FAMILIES.join(", ")
            ),
            other => bail!("field `model_type` is `{other}`; known families: {}", FAMILIES.join(", ")),
        };
        if let Some(quantization) = read.get("quantization_config") {
            let method = &quantization["quant_method"];
            ensure!(*method == INT8, "field `quantization_config` has the method {method}; only \"{INT8}\" is read");
        }
        let labels = read.labels()?;
        Ok(Config { family, labels, fields })
    }

    /// The text to write as `config.json`: the fields as read, with today's labels, as f32.
    pub fn to_json(&self) -> Value {
        let mut fields = self.fields.clone();
        let numbered = self.labels.iter().enumerate();
        let id2label: Map<_, _> = numbered.clone().map(|(i, label)| (i.to_string(), json!(label))).collect();
        let label2id: Map<_, _> = numbered.map(|(i, label)| (label.clone(), json!(i))).collect();
        fields.insert("id2label".into(), Value::Object(id2label));
        fields.insert("label2id".into(), Value::Object(label2id));
        fields.insert("architectures".into(), json!([self.architecture()]));
        fields.insert("problem_type".into(), json!("single_label_classification"));
        // `num_labels` is derived from id2label by transformers; a stale one would contradict it.
        fields.remove("num_labels");
        fields.remove("quantization_config");
        let dtype = if fields.contains_key("torch_dtype") { "torch_dtype" } else { "dtype" };
        fields.insert(dtype.into(), json!("float32"));
        Value::Object(fields)
    }

    /// Label names in the order of the logits.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The same model with other labels.
    pub fn with_labels(mut self, labels: &[String]) -> Self {
        self.labels = labels.to_vec();
        self
    }

    /// A field as written in `config.json`.
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.fields.get(name)
    }

    /// `roberta`, `xlm-roberta`, …
    pub fn model_type(&self) -> &str {
        self.field("model_type").and_then(Value::as_str).unwrap_or_default()
    }

    /// The longest sequence in tokens, special tokens included, that the position table allows.
    pub fn max_length(&self) -> usize {
        match &self.family {
            Family::Roberta(c) => c.max_length(),
        }
    }

    /// The token that pads batches.
    pub fn pad_id(&self) -> u32 {
        match &self.family {
            Family::Roberta(c) => c.pad_token_id as u32,
        }
    }

    pub fn vocab_size(&self) -> usize {
        match &self.family {
            Family::Roberta(c) => c.vocab_size,
        }
    }

    pub fn hidden_size(&self) -> usize {
        match &self.family {
            Family::Roberta(c) => c.hidden_size,
        }
    }

    /// Number of encoder layers.
    pub fn layers(&self) -> usize {
        match &self.family {
            Family::Roberta(c) => c.num_hidden_layers,
        }
    }

    /// Standard deviation of freshly initialised weights.
    pub fn initializer_range(&self) -> f64 {
        match &self.family {
            Family::Roberta(c) => c.initializer_range,
        }
    }

    fn architecture(&self) -> &'static str {
        match self.model_type() {
            "xlm-roberta" => "XLMRobertaForSequenceClassification",
            _ => "RobertaForSequenceClassification",
        }
    }
}

/// Reads fields of a JSON object with errors that name field and value.
pub struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    fn get(&self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A whole number of at least one.
    pub fn size(&self, name: &str, default: usize) -> Result<usize> {
        match self.index(name, default)? {
            0 => bail!("field `{name}` is 0; it must be at least 1"),
            size => Ok(size),
        }
    }

    /// A whole number.
    pub fn index(&self, name: &str, default: usize) -> Result<usize> {
        let Some(value) = self.get(name) else { return Ok(default) };
        let number = value.as_u64().and_then(|n| usize::try_from(n).ok());
        let number = number.ok_or_else(|| anyhow!("field `{name}` is {value}; it must be a whole number"))?;
        ensure!(number <= LARGEST, "field `{name}` is {number}; more than {LARGEST} is not supported");
        Ok(number)
    }

    pub fn number(&self, name: &str, default: f64) -> Result<f64> {
        let Some(value) = self.get(name) else { return Ok(default) };
        value.as_f64().ok_or_else(|| anyhow!("field `{name}` is {value}; it must be a number"))
    }

    /// A probability below one.
    pub fn probability(&self, name: &str, default: f64) -> Result<f64> {
        let p = self.number(name, default)?;
        ensure!((0.0..1.0).contains(&p), "field `{name}` is {p}; it must be at least 0 and below 1");
        Ok(p)
    }

    pub fn text(&self, name: &str, default: &'static str) -> Result<&'a str> {
        let Some(value) = self.get(name) else { return Ok(default) };
        value.as_str().ok_or_else(|| anyhow!("field `{name}` is {value}; it must be a text"))
    }

    /// Refuses a field that would change the computation and has another than the supported value.
    pub fn only(&self, name: &str, supported: Value) -> Result<()> {
        match self.get(name) {
            Some(value) if *value != supported => {
                bail!("field `{name}` is {value}; only {supported} is supported")
            }
            _ => Ok(()),
        }
    }

    /// Refuses a list or map that would change the computation unless it is empty.
    pub fn empty(&self, name: &str) -> Result<()> {
        match self.get(name) {
            Some(Value::Array(list)) if list.is_empty() => Ok(()),
            Some(Value::Object(map)) if map.is_empty() => Ok(()),
            Some(value) => bail!("field `{name}` is {value}; it is not supported"),
            None => Ok(()),
        }
    }

    /// Label names by `id2label`, or as many as `num_labels` says, or two as `transformers` has it.
    fn labels(&self) -> Result<Vec<String>> {
        let Some(value) = self.get("id2label") else {
            let count = self.size("num_labels", 2)?;
            ensure!(count <= MOST_LABELS, "field `num_labels` is {count}; more than {MOST_LABELS} is not supported");
            return Ok((0..count).map(|i| format!("LABEL_{i}")).collect());
        };
        let map = value.as_object().ok_or_else(|| anyhow!("field `id2label` must be an object"))?;
        let mut labels = vec![None; map.len()];
        for (id, label) in map {
            let text = label.as_str().map(str::to_owned);
            match id.parse::<usize>().ok().and_then(|id| labels.get_mut(id)) {
                Some(slot) => *slot = text,
                None => bail!("field `id2label` has the id `{id}`; ids must run from 0 to {}", map.len() - 1),
            }
        }
        let named: Option<Vec<String>> = labels.into_iter().collect();
        let named = named.ok_or_else(|| anyhow!("field `id2label` must give each id one text"))?;
        ensure!(!named.is_empty(), "field `id2label` is empty");
        Ok(named)
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
            "field `model_type` is `gpt2`; known families: roberta, xlm-roberta"
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
        assert_eq!(refused(r#""hidden_act": "relu""#), r#"field `hidden_act` is "relu"; only "gelu" is supported"#);
        assert_eq!(
            refused(r#""pruned_heads": {"0": [1]}"#),
            r#"field `pruned_heads` is {"0":[1]}; it is not supported"#
        );
        assert_eq!(refused(r#""hidden_size": "big""#), r#"field `hidden_size` is "big"; it must be a whole number"#);
        assert_eq!(
            refused(r#""hidden_size": 100, "num_attention_heads": 12"#),
            "field `hidden_size` is 100, which 12 attention heads (`num_attention_heads`) do not divide"
        );
    }

    #[test]
    fn unknown_fields_survive_and_labels_are_rewritten() {
        let text = r#"{"model_type": "roberta", "made_by": [1, {"x": null}], "num_labels": 9,
                       "id2label": {"1": "good", "0": "bad"}, "torch_dtype": "float16"}"#;
        let config = Config::parse(text).expect("valid");
        assert_eq!(config.labels(), ["bad", "good"]);
        let json = config.with_labels(&["a".into(), "b".into(), "c".into()]).to_json();
        assert_eq!(json["made_by"], json!([1, {"x": null}]));
        assert_eq!(json["id2label"], json!({"0": "a", "1": "b", "2": "c"}));
        assert_eq!(json["label2id"], json!({"a": 0, "b": 1, "c": 2}));
        assert_eq!(json["architectures"], json!(["RobertaForSequenceClassification"]));
        assert_eq!(json["torch_dtype"], json!("float32"));
        assert!(json.get("num_labels").is_none());
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
