//! Writes a tokenizer into an artifact, so that other programs get the same ids from it.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Map, Value};
use tokenizers::{NormalizerWrapper, PreTokenizerWrapper, Tokenizer as Library};

use super::files::{CONFIG, Opened, WHOLE, copy_files, read};
use super::settings::{Pipeline, Settings, Side, WITHOUT_TYPES};
use super::special::json;
use crate::compute::foreign::catch_panics;

/// The usual special tokens by role: of BERT and DeBERTa, and of RoBERTa and XLM-R.
const ROLES: [(&str, [&str; 2]); 7] = [
    ("bos_token", ["[CLS]", "<s>"]),
    ("cls_token", ["[CLS]", "<s>"]),
    ("eos_token", ["[SEP]", "</s>"]),
    ("mask_token", ["[MASK]", "<mask>"]),
    ("pad_token", ["[PAD]", "<pad>"]),
    ("sep_token", ["[SEP]", "</s>"]),
    ("unk_token", ["[UNK]", "<unk>"]),
];

/// The class of transformers that takes a `tokenizer.json` as it is.
const AS_IT_IS: &str = "PreTrainedTokenizerFast";

/// What the truncation and the padding of a `tokenizer.json` leave in `tokenizer_config.json`.
const LEFTOVERS: [&str; 5] = ["max_length", "stride", "truncation_strategy", "pad_to_multiple_of", "padding_strategy"];

/// What becomes `model_max_length`, the longest row in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// The length to which texts are cut.
    Rows(usize),
    /// The folder's own length, but at most the model's number of positions.
    Positions(usize),
}

/// Copy a folder's tokenizer files into an artifact, such that `tokenizers` and transformers get the same ids from it as
/// this program: a `tokenizer.json` with all settings applied, without truncation and padding, and settings that say
/// the same. Returns the contradictions between the folder's files, for the user.
///
/// The tokenizer is opened in the source folder, so that an error names the user's file and not its copy.
pub fn save(from: &Path, to: &Path, limit: Limit) -> Result<Vec<String>> {
    let Opened { library, settings, .. } =
        catch_panics(|| read(from)).with_context(|| format!("cannot use the tokenizer in {}", from.display()))?;
    copy_files(from, to)?;
    if settings.is_changed || !from.join(WHOLE).is_file() {
        let path = to.join(WHOLE);
        let text = library.to_string(true).map_err(|error| anyhow!(error))? + "\n";
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let max_length = match limit {
        Limit::Rows(length) => length,
        Limit::Positions(most) => settings.max_length.map_or(most, |length| length.min(most)),
    };
    write_config(to, &library, &settings, max_length)?;
    Ok(settings.remarks)
}

/// Store the longest row with a tokenizer that is already in its folder.
pub fn limit(dir: &Path, max_length: usize) -> Result<()> {
    let path = dir.join(CONFIG);
    let mut config = read_config(&path)?;
    config.insert("model_max_length".to_owned(), max_length.into());
    write_json(&path, config)
}

/// Say in a folder whose rows have token types that the model gets them: the plain class gives none in transformers 5
/// unless `model_input_names` asks for them.
pub fn name_types(dir: &Path) -> Result<()> {
    let path = dir.join(CONFIG);
    let mut config = read_config(&path)?;
    let names = ["input_ids", "token_type_ids", "attention_mask"];
    config.entry("model_input_names").or_insert(names.as_slice().into());
    write_json(&path, config)
}

/// Write `tokenizer_config.json` such that transformers uses the `tokenizer.json` of the folder unchanged.
///
/// For BERT and RoBERTa it builds the same pipeline from these settings. Other classes build their own pipeline around
/// the pieces (`DebertaV2Tokenizer` of transformers 5 leaves out the model's normalisation and the bytes for unknown
/// characters), so the plain class is named, which has no roles unless they are named.
fn write_config(dir: &Path, library: &Library, settings: &Settings, max_length: usize) -> Result<()> {
    let path = dir.join(CONFIG);
    let map = json(&dir.join("special_tokens_map.json"))?;
    let mut config = read_config(&path)?;
    LEFTOVERS.iter().for_each(|name| drop(config.remove(*name)));
    match (settings.pipeline, library.get_normalizer(), library.get_pre_tokenizer()) {
        (Pipeline::Bert, Some(NormalizerWrapper::BertNormalizer(normalizer)), _) => {
            let settings = [
                ("do_lower_case", Some(normalizer.lowercase)),
                ("strip_accents", normalizer.strip_accents),
                ("tokenize_chinese_chars", Some(normalizer.handle_chinese_chars)),
            ];
            settings.into_iter().for_each(|(name, value)| drop(config.insert(name.to_owned(), value.into())));
        }
        (Pipeline::ByteLevel, _, Some(PreTokenizerWrapper::ByteLevel(level))) => {
            config.insert("add_prefix_space".to_owned(), level.add_prefix_space.into());
        }
        _ => {
            if WITHOUT_TYPES.contains(&settings.class()) {
                let names = ["input_ids", "attention_mask"];
                config.entry("model_input_names").or_insert(names.as_slice().into());
            }
            config.insert("tokenizer_class".to_owned(), AS_IT_IS.into());
            for (role, usual) in ROLES {
                let usual = usual.into_iter().find(|token| library.token_to_id(token).is_some());
                if let Some(named) = map.get(role).cloned().or(usual.map(Value::from)) {
                    config.entry(role).or_insert(named);
                }
            }
        }
    }
    if let Some(class) = &settings.class {
        config.entry("tokenizer_class").or_insert(class.as_str().into());
    }
    if settings.side == Side::Left {
        config.insert("truncation_side".to_owned(), "left".into());
    }
    config.insert("model_max_length".to_owned(), max_length.into());
    write_json(&path, config)
}

fn read_config(path: &Path) -> Result<Map<String, Value>> {
    match json(path)? {
        Value::Null => Ok(Map::new()),
        Value::Object(config) => Ok(config),
        _ => bail!("{} is not a JSON object", path.display()),
    }
}

fn write_json(path: &Path, fields: Map<String, Value>) -> Result<()> {
    let text = serde_json::to_string_pretty(&Value::Object(fields))? + "\n";
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::tokenizer::Tokenizer;
    use crate::text::tokenizer::files::DEBERTA;
    use crate::text::tokenizer::open::tests::fixture;

    #[test]
    fn every_layout_gets_a_tokenizer_json_that_gives_the_same_ids() {
        for name in ["bert", "bert-cased", "deberta", "xlmr"] {
            let (dir, again) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let before = Tokenizer::open(&fixture(name)).unwrap();
            save(&fixture(name), dir.path(), Limit::Positions(512)).unwrap();
            let after = Tokenizer::open(dir.path()).unwrap();
            for text in ["", "naïve “so” bad… 1st½", "…\u{301} ﬁne", "NOOOOOOOOOOO! 👍🏽", "[MASK] <mask> <url>"]
            {
                assert_eq!(after.encode(text, 100).unwrap(), before.encode(text, 100).unwrap(), "{name} {text}");
            }
            assert_eq!((after.kind(), after.pad_id()), (before.kind(), before.pad_id()));
            assert_eq!(after.special_tokens(), before.special_tokens());
            // Equal files give equal bytes, and a copy of the copy is equal again.
            let written = |dir: &Path| std::fs::read(dir.join(WHOLE)).unwrap();
            save(&fixture(name), again.path(), Limit::Positions(512)).unwrap();
            assert!(written(again.path()) == written(dir.path()));
            save(dir.path(), again.path(), Limit::Positions(512)).unwrap();
            assert!(written(again.path()) == written(dir.path()));
        }
    }

    #[test]
    fn transformers_is_told_to_take_a_sentencepiece_pipeline_as_it_is() {
        let (from, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        copy_files(&fixture("deberta"), from.path()).unwrap();
        let old = r#"{"do_lower_case": false, "pad_token": "[PAD]", "model_max_length": 512}"#;
        std::fs::write(from.path().join(CONFIG), old).unwrap();
        save(from.path(), dir.path(), Limit::Positions(512)).unwrap();
        let config = json(&dir.path().join(CONFIG)).unwrap();
        assert_eq!(config["tokenizer_class"], "PreTrainedTokenizerFast");
        assert_eq!((&config["mask_token"], &config["model_max_length"]), (&"[MASK]".into(), &512.into()));
    }

    #[test]
    fn a_damaged_file_is_named_where_the_user_has_it() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(from.path().join(DEBERTA), "not a model").unwrap();
        let message = format!("{:#}", save(from.path(), to.path(), Limit::Positions(512)).unwrap_err());
        assert!(message.contains(&from.path().join(DEBERTA).display().to_string()), "{message}");
    }
}
