//! Reads the fields of a `config.json` one by one, with errors that name the field and its value.

use std::cell::RefCell;
use std::collections::BTreeSet;

use anyhow::{Result, anyhow, bail, ensure};
use serde_json::{Map, Value};

/// The largest value of a size in `config.json`. The largest real sizes are multilingual vocabularies of about a million.
const LARGEST: usize = 1 << 24;
/// Maximum number of labels; each label name takes memory.
const MOST_LABELS: usize = 1 << 16;

/// Fields that do not affect the logits of a classifier: origin of the model, special tokens, what the model returns, leftovers of
/// older versions, pooler settings of old BERTs that no released code reads, text generation. Names that begin with `_` are
/// internal to transformers.
const NEUTRAL: &str = "
    architectures auto_map bos_token_id chunk_size_feed_forward cls_token_id dtype eos_token_id finetuning_task
    gradient_checkpointing id2label label2id language legacy mask_token_id model_max_length model_type name name_or_path
    num_labels output_attentions output_hidden_states output_past prefix problem_type return_dict sep_token_id task_specific_params
    tie_encoder_decoder tie_word_embeddings tokenizer_class torch_dtype torchscript transformers_version unk_token_id
    use_bfloat16 use_cache xla_device

    directionality pooler_fc_size pooler_num_attention_heads pooler_num_fc_layers pooler_size_per_head pooler_type

    bad_words_ids begin_suppress_tokens cross_attention_hidden_size decoder_start_token_id diversity_penalty do_sample
    early_stopping encoder_no_repeat_ngram_size exponential_decay_length_penalty forced_bos_token_id forced_eos_token_id
    length_penalty max_length min_length no_repeat_ngram_size num_beam_groups num_beams num_return_sequences output_scores
    remove_invalid_values repetition_penalty return_dict_in_generate suppress_tokens temperature tf_legacy_loss top_k top_p
    typical_p";

/// Reads fields of a JSON object, with errors that name the field and its value.
///
/// It records which fields were read, so that [`Fields::unknown`] can list the others.
pub struct Fields<'a> {
    map: &'a Map<String, Value>,
    asked: RefCell<BTreeSet<&'static str>>,
}

impl<'a> Fields<'a> {
    pub fn new(map: &'a Map<String, Value>) -> Self {
        Fields { map, asked: RefCell::default() }
    }

    /// The value of a field, if it exists and is not null.
    pub fn get(&self, name: &'static str) -> Option<&'a Value> {
        self.asked.borrow_mut().insert(name);
        self.map.get(name).filter(|value| !value.is_null())
    }

    /// Marks fields of a family that do not affect its logits as known.
    pub fn neutral(&self, names: &[&'static str]) {
        self.asked.borrow_mut().extend(names);
    }

    /// The fields that were not read and are not known to be irrelevant for the logits.
    pub fn unknown(&self) -> Vec<String> {
        let asked = self.asked.borrow();
        let known = |name: &str| {
            asked.contains(name) || NEUTRAL.split_whitespace().any(|neutral| neutral == name) || name.starts_with('_')
        };
        let unknown = self.map.iter().filter(|(name, value)| !known(name) && !value.is_null());
        unknown.map(|(name, _)| name.clone()).collect()
    }

    /// A whole number of at least 1.
    pub fn size(&self, name: &'static str, default: usize) -> Result<usize> {
        match self.index(name, default)? {
            0 => bail!("field `{name}` is 0; it must be at least 1"),
            size => Ok(size),
        }
    }

    /// A whole number.
    pub fn index(&self, name: &'static str, default: usize) -> Result<usize> {
        let Some(value) = self.get(name) else { return Ok(default) };
        let number = value.as_u64().and_then(|n| usize::try_from(n).ok());
        let number = number.ok_or_else(|| anyhow!("field `{name}` is {value}; it must be a whole number"))?;
        ensure!(number <= LARGEST, "field `{name}` is {number}; more than {LARGEST} is not supported");
        Ok(number)
    }

    /// A whole number of at least 1; `None` if the field is missing, 0 or -1.
    pub fn positive(&self, name: &'static str) -> Result<Option<usize>> {
        match self.get(name).map(|value| (value, value.as_i64())) {
            None | Some((_, Some(-1 | 0))) => Ok(None),
            Some(_) => self.size(name, 1).map(Some),
        }
    }

    pub fn flag(&self, name: &'static str, default: bool) -> Result<bool> {
        let Some(value) = self.get(name) else { return Ok(default) };
        value.as_bool().ok_or_else(|| anyhow!("field `{name}` is {value}; it must be true or false"))
    }

    /// A list of words: a JSON list of strings, or one string with `|` between the words.
    pub fn words(&self, name: &'static str) -> Result<Vec<String>> {
        let wrong = |value: &Value| anyhow!("field `{name}` is {value}; it must be a list of strings");
        match self.get(name) {
            None => Ok(Vec::new()),
            Some(Value::String(text)) => Ok(text.split('|').map(|word| word.trim().to_lowercase()).collect()),
            Some(value @ Value::Array(list)) => {
                let word = |word: &Value| word.as_str().map(str::to_owned).ok_or_else(|| wrong(value));
                list.iter().map(word).collect()
            }
            Some(value) => Err(wrong(value)),
        }
    }

    pub fn number(&self, name: &'static str, default: f64) -> Result<f64> {
        let Some(value) = self.get(name) else { return Ok(default) };
        value.as_f64().ok_or_else(|| anyhow!("field `{name}` is {value}; it must be a number"))
    }

    /// A probability below 1.
    pub fn probability(&self, name: &'static str, default: f64) -> Result<f64> {
        let p = self.number(name, default)?;
        ensure!((0.0..1.0).contains(&p), "field `{name}` is {p}; it must be at least 0 and below 1");
        Ok(p)
    }

    pub fn text(&self, name: &'static str, default: &'static str) -> Result<&'a str> {
        let Some(value) = self.get(name) else { return Ok(default) };
        value.as_str().ok_or_else(|| anyhow!("field `{name}` is {value}; it must be a string"))
    }

    /// Fails if a field has a value other than the supported one.
    pub fn only(&self, name: &'static str, supported: Value) -> Result<()> {
        match self.get(name) {
            Some(value) if *value != supported => {
                bail!("field `{name}` is {value}; only {supported} is supported")
            }
            _ => Ok(()),
        }
    }

    /// Fails if a list or map is not empty.
    pub fn empty(&self, name: &'static str) -> Result<()> {
        match self.get(name) {
            Some(Value::Array(list)) if list.is_empty() => Ok(()),
            Some(Value::Object(map)) if map.is_empty() => Ok(()),
            Some(value) => bail!("field `{name}` is {value}; it is not supported"),
            None => Ok(()),
        }
    }

    /// Label names from `id2label`; without it, `LABEL_0`, `LABEL_1`, …, as many as `num_labels` says, by default two as in
    /// `transformers`.
    pub fn labels(&self) -> Result<Vec<String>> {
        let Some(value) = self.get("id2label") else {
            let count = self.size("num_labels", 2)?;
            ensure!(count <= MOST_LABELS, "field `num_labels` is {count}; more than {MOST_LABELS} is not supported");
            return Ok((0..count).map(|i| format!("LABEL_{i}")).collect());
        };
        let map = value.as_object().ok_or_else(|| anyhow!("field `id2label` must be an object"))?;
        let mut labels = vec![None; map.len()];
        for (id, label) in map {
            let text = match label {
                Value::String(text) => Some(text.clone()),
                Value::Number(_) | Value::Bool(_) => Some(label.to_string()),
                _ => bail!("field `id2label` has {label} for the id `{id}`; it must be a string"),
            };
            match id.parse::<usize>().ok().and_then(|id| labels.get_mut(id)) {
                Some(slot) => *slot = text,
                None => bail!("field `id2label` has the id `{id}`; ids must run from 0 to {}", map.len() - 1),
            }
        }
        let named: Option<Vec<String>> = labels.into_iter().collect();
        let named = named.ok_or_else(|| anyhow!("field `id2label` must give one string for each id, starting at 0"))?;
        ensure!(!named.is_empty(), "field `id2label` is empty");
        let mut seen = BTreeSet::new();
        if let Some(twice) = named.iter().find(|label| !seen.insert(*label)) {
            bail!("field `id2label` has the label `{twice}` twice");
        }
        Ok(named)
    }
}

#[cfg(test)]
mod tests {
    use crate::model::Config;

    #[test]
    fn fields_that_nobody_knows_are_named() {
        let config = |more: &str| Config::parse(&format!(r#"{{"model_type": "bert", {more}}}"#)).expect("valid");
        assert!(config(r#""use_cache": true, "_name_or_path": "x", "transformers_version": "5""#).unknown().is_empty());
        // A field of another family, a misspelt one, and a null one.
        let odd = config(r#""position_buckets": 256, "hiden_size": 3, "strange": null"#);
        assert_eq!(odd.unknown(), ["hiden_size", "position_buckets"]);
    }

    #[test]
    fn the_configs_of_published_models_hold_nothing_unknown() {
        let shared = std::env::var_os("PIPE_SHARED").map_or_else(
            || std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join("../shared"),
            std::path::PathBuf::from,
        );
        let configs = shared.join("data/model-configs");
        let Ok(entries) = std::fs::read_dir(&configs) else {
            println!("skipped: no {}", configs.display());
            return;
        };
        let mut seen = 0;
        for path in
            entries.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "json"))
        {
            let text = std::fs::read_to_string(&path).expect("read");
            // The oldest configs have no `model_type`; transformers derives it from the folder's name.
            let text =
                if text.contains("model_type") { text } else { text.replacen('{', r#"{"model_type": "roberta","#, 1) };
            let config = Config::parse(&text).unwrap_or_else(|error| panic!("{}: {error:#}", path.display()));
            assert!(config.unknown().is_empty(), "{}: {:?}", path.display(), config.unknown());
            seen += 1;
        }
        assert!(seen >= 5, "{seen} configs");
    }
}
