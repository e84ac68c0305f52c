//! The `tokenizer.json` that a folder lacks, so that other programs read the same ids from it.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Map, Value};

use super::files::{CONFIG, DEBERTA, WHOLE, XLM_ROBERTA, read};
use super::special::json;
use crate::ml::foreign::survive;

/// The special tokens by role, as transformers has them for the two families of sentencepiece models.
const DEBERTA_ROLES: [(&str, &str); 7] = [
    ("bos_token", "[CLS]"),
    ("cls_token", "[CLS]"),
    ("eos_token", "[SEP]"),
    ("mask_token", "[MASK]"),
    ("pad_token", "[PAD]"),
    ("sep_token", "[SEP]"),
    ("unk_token", "[UNK]"),
];
const XLM_ROBERTA_ROLES: [(&str, &str); 7] = [
    ("bos_token", "<s>"),
    ("cls_token", "<s>"),
    ("eos_token", "</s>"),
    ("mask_token", "<mask>"),
    ("pad_token", "<pad>"),
    ("sep_token", "</s>"),
    ("unk_token", "<unk>"),
];

/// Write the `tokenizer.json` that a folder's other files make, where it has none: `tokenizers` and transformers then read
/// the same ids from the folder as this program.
pub fn complete(dir: &Path) -> Result<()> {
    let path = dir.join(WHOLE);
    if path.is_file() {
        return Ok(());
    }
    let text = survive(|| read(dir)?.library.to_string(true).map_err(|error| anyhow!(error)))
        .with_context(|| format!("cannot use the tokenizer in {}", dir.display()))?;
    if dir.join(DEBERTA).is_file() {
        take_as_it_is(dir, &DEBERTA_ROLES)?;
    } else if dir.join(XLM_ROBERTA).is_file() {
        take_as_it_is(dir, &XLM_ROBERTA_ROLES)?;
    }
    std::fs::write(&path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
}

/// Have transformers take the `tokenizer.json` of a folder as it is.
///
/// `DebertaV2Tokenizer` of transformers 5 takes only the pieces from it and builds a pipeline of its own around them, without
/// the model's normalisation and without bytes for unknown characters. The plain class knows no roles unless they are named.
fn take_as_it_is(dir: &Path, roles: &[(&str, &str)]) -> Result<()> {
    let path = dir.join(CONFIG);
    let map = json(&dir.join("special_tokens_map.json"))?;
    let mut config = json(&path)?;
    if config.is_null() {
        config = Value::Object(Map::new());
    }
    let Some(fields) = config.as_object_mut() else { bail!("{} holds no object", path.display()) };
    fields.insert("tokenizer_class".to_owned(), "PreTrainedTokenizerFast".into());
    for (role, token) in roles {
        let named = map.get(role).cloned().unwrap_or_else(|| (*token).into());
        fields.entry((*role).to_owned()).or_insert(named);
    }
    let text = serde_json::to_string_pretty(&config)? + "\n";
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::tokenizer::tests::fixture;
    use crate::ml::tokenizer::{Tokenizer, copy_files};

    #[test]
    fn every_layout_gets_a_tokenizer_json_that_gives_the_same_ids() {
        for name in ["bert", "bert-cased", "deberta", "xlmr"] {
            let dir = tempfile::tempdir().unwrap();
            copy_files(&fixture(name), dir.path()).unwrap();
            let before = Tokenizer::open(dir.path()).unwrap();
            complete(dir.path()).unwrap();
            let written = std::fs::read(dir.path().join(WHOLE)).unwrap();
            let after = Tokenizer::open(dir.path()).unwrap();
            for text in ["", "naïve “so” bad… 1st½", "…\u{301} ﬁne", "NOOOOOOOOOOO! 👍🏽", "[MASK] <mask> <url>"]
            {
                assert_eq!(after.encode(text, 100).unwrap(), before.encode(text, 100).unwrap(), "{name} {text}");
            }
            assert_eq!((after.kind(), after.pad_id()), (before.kind(), before.pad_id()));
            assert_eq!(after.special_tokens(), before.special_tokens());
            // The same files give the same bytes, and what is there stays.
            std::fs::remove_file(dir.path().join(WHOLE)).unwrap();
            complete(dir.path()).unwrap();
            complete(dir.path()).unwrap();
            assert!(std::fs::read(dir.path().join(WHOLE)).unwrap() == written);
        }
    }

    #[test]
    fn transformers_is_told_to_take_a_sentencepiece_pipeline_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        copy_files(&fixture("deberta"), dir.path()).unwrap();
        let old = r#"{"do_lower_case": false, "pad_token": "[PAD]", "model_max_length": 512}"#;
        std::fs::write(dir.path().join(CONFIG), old).unwrap();
        complete(dir.path()).unwrap();
        let config = json(&dir.path().join(CONFIG)).unwrap();
        assert_eq!(config["tokenizer_class"], "PreTrainedTokenizerFast");
        assert_eq!((&config["mask_token"], &config["model_max_length"]), (&"[MASK]".into(), &512.into()));
    }
}
