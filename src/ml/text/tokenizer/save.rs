//! Writes the `tokenizer.json` that a folder lacks, so that other programs get the same ids from it.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Map, Value};

use super::files::{CONFIG, DEBERTA, WHOLE, XLM_ROBERTA, copy_files, read};
use super::special::json;
use crate::compute::foreign::catch_panics;

/// The special tokens by role, as in transformers, for the two families of sentencepiece models.
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

/// Copy a folder's tokenizer files into an artifact, and write their `tokenizer.json` if there is none. `tokenizers`
/// and transformers then get the same ids from the artifact as this program.
///
/// The tokenizer is opened in the source folder, so that an error names the user's file and not its copy.
pub fn save(from: &Path, to: &Path) -> Result<()> {
    let library = catch_panics(|| Ok(read(from)?.library))
        .with_context(|| format!("cannot use the tokenizer in {}", from.display()))?;
    copy_files(from, to)?;
    if from.join(WHOLE).is_file() {
        return Ok(());
    }
    if from.join(DEBERTA).is_file() {
        take_as_it_is(to, &DEBERTA_ROLES)?;
    } else if from.join(XLM_ROBERTA).is_file() {
        take_as_it_is(to, &XLM_ROBERTA_ROLES)?;
    }
    let path = to.join(WHOLE);
    let text = library.to_string(true).map_err(|error| anyhow!(error))? + "\n";
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Make transformers use the `tokenizer.json` of a folder unchanged.
///
/// `DebertaV2Tokenizer` of transformers 5 takes only the pieces from it and builds its own pipeline around them,
/// without the model's normalisation and without bytes for unknown characters. The plain class has no roles unless they
/// are named.
fn take_as_it_is(dir: &Path, roles: &[(&str, &str)]) -> Result<()> {
    let path = dir.join(CONFIG);
    let map = json(&dir.join("special_tokens_map.json"))?;
    let mut config = json(&path)?;
    if config.is_null() {
        config = Value::Object(Map::new());
    }
    let Some(fields) = config.as_object_mut() else { bail!("{} is not a JSON object", path.display()) };
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
    use crate::text::tokenizer::Tokenizer;
    use crate::text::tokenizer::open::tests::fixture;

    #[test]
    fn every_layout_gets_a_tokenizer_json_that_gives_the_same_ids() {
        for name in ["bert", "bert-cased", "deberta", "xlmr"] {
            let (dir, again) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let before = Tokenizer::open(&fixture(name)).unwrap();
            save(&fixture(name), dir.path()).unwrap();
            let after = Tokenizer::open(dir.path()).unwrap();
            for text in ["", "naïve “so” bad… 1st½", "…\u{301} ﬁne", "NOOOOOOOOOOO! 👍🏽", "[MASK] <mask> <url>"]
            {
                assert_eq!(after.encode(text, 100).unwrap(), before.encode(text, 100).unwrap(), "{name} {text}");
            }
            assert_eq!((after.kind(), after.pad_id()), (before.kind(), before.pad_id()));
            assert_eq!(after.special_tokens(), before.special_tokens());
            // Equal files give equal bytes, and a copy of the copy is equal again.
            let written = |dir: &Path| std::fs::read(dir.join(WHOLE)).unwrap();
            save(&fixture(name), again.path()).unwrap();
            assert!(written(again.path()) == written(dir.path()));
            save(dir.path(), again.path()).unwrap();
            assert!(written(again.path()) == written(dir.path()));
        }
    }

    #[test]
    fn transformers_is_told_to_take_a_sentencepiece_pipeline_as_it_is() {
        let (from, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        copy_files(&fixture("deberta"), from.path()).unwrap();
        let old = r#"{"do_lower_case": false, "pad_token": "[PAD]", "model_max_length": 512}"#;
        std::fs::write(from.path().join(CONFIG), old).unwrap();
        save(from.path(), dir.path()).unwrap();
        let config = json(&dir.path().join(CONFIG)).unwrap();
        assert_eq!(config["tokenizer_class"], "PreTrainedTokenizerFast");
        assert_eq!((&config["mask_token"], &config["model_max_length"]), (&"[MASK]".into(), &512.into()));
    }

    #[test]
    fn a_damaged_file_is_named_where_the_user_has_it() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(from.path().join(DEBERTA), "not a model").unwrap();
        let message = format!("{:#}", save(from.path(), to.path()).unwrap_err());
        assert!(message.contains(&from.path().join(DEBERTA).display().to_string()), "{message}");
    }
}
