//! Learns a byte-level BPE tokenizer from texts, in RoBERTa's layout.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use serde_json::{Value, json};
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::roberta::RobertaProcessing;
use tokenizers::{AddedToken, ProgressFormat, Tokenizer as Library};

/// RoBERTa's special tokens, with ids 0 to 4.
const SPECIAL: [&str; 5] = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"];

/// The special tokens and the 256 bytes, which every vocabulary has.
pub const SMALLEST: usize = 256 + SPECIAL.len();

/// The settings of the learning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Learn {
    /// Maximum number of ids, special tokens included.
    pub vocabulary: usize,
    /// A pair of tokens is merged if it occurs at least this often.
    pub min_frequency: u64,
}

impl Learn {
    /// Names and contents of the files of a tokenizer learned from `texts`; equal texts give equal bytes.
    pub fn files<'a>(&self, texts: impl Iterator<Item = &'a str> + Send) -> Result<Vec<(&'static str, Vec<u8>)>> {
        let library = self.library(texts)?;
        let whole = library.to_string(true).map_err(|error| anyhow!(error))?;
        let merges = merges(&serde_json::from_str(&whole)?).context("the learned tokenizer has no merges")?;
        Ok(vec![
            ("tokenizer.json", (whole + "\n").into_bytes()),
            ("vocab.json", text(&vocabulary(&library)?)?),
            ("merges.txt", merges.into_bytes()),
            ("tokenizer_config.json", text(&tokenizer_config())?),
            ("special_tokens_map.json", text(&special_tokens())?),
        ])
    }

    /// Learn from `texts` and write the files into `dir`.
    pub fn write<'a>(&self, texts: impl Iterator<Item = &'a str> + Send, dir: &Path) -> Result<()> {
        for (name, bytes) in self.files(texts)? {
            let path = dir.join(name);
            std::fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    fn library<'a>(&self, texts: impl Iterator<Item = &'a str> + Send) -> Result<Library> {
        let level = ByteLevel::new(false, true, true);
        let mut library = Library::new(BPE::default());
        library.with_pre_tokenizer(Some(level)).with_decoder(Some(level));
        let trainer = BpeTrainerBuilder::new()
            .vocab_size(self.vocabulary)
            .min_frequency(self.min_frequency)
            .show_progress(false)
            .progress_format(ProgressFormat::Silent)
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .special_tokens(SPECIAL.map(special).to_vec())
            .build();
        library.train(&mut TrainerWrapper::from(trainer), texts).map_err(|error| anyhow!(error))?;
        let ends = RobertaProcessing::new(("</s>".to_owned(), 2), ("<s>".to_owned(), 0));
        library.with_post_processor(Some(ends.trim_offsets(true).add_prefix_space(false)));
        Ok(library)
    }
}

fn special(token: &str) -> AddedToken {
    AddedToken::from(token.to_owned(), true).lstrip(token == "<mask>").normalized(token != "<mask>")
}

fn text(value: &impl serde::Serialize) -> Result<Vec<u8>> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    Ok(text.into_bytes())
}

fn merges(tokenizer: &Value) -> Option<String> {
    let mut out = "#version: 0.2\n".to_owned();
    for merge in tokenizer["model"]["merges"].as_array()? {
        let pair = merge.as_array()?;
        out.push_str(&format!("{} {}\n", pair.first()?.as_str()?, pair.get(1)?.as_str()?));
    }
    Some(out)
}

fn vocabulary(library: &Library) -> Result<BTreeMap<String, u32>> {
    let size = library.get_vocab_size(true) as u32;
    let token = |id| library.id_to_token(id).with_context(|| format!("id {id} has no token"));
    (0..size).map(|id| Ok((token(id)?, id))).collect()
}

fn tokenizer_config() -> Value {
    json!({
        "add_prefix_space": false,
        "bos_token": "<s>",
        "cls_token": "<s>",
        "eos_token": "</s>",
        "errors": "replace",
        "mask_token": "<mask>",
        "model_max_length": 256,
        "pad_token": "<pad>",
        "sep_token": "</s>",
        "tokenizer_class": "RobertaTokenizer",
        "trim_offsets": true,
        "unk_token": "<unk>",
    })
}

fn special_tokens() -> Value {
    json!({
        "bos_token": "<s>",
        "cls_token": "<s>",
        "eos_token": "</s>",
        "mask_token": {"content": "<mask>", "lstrip": true, "normalized": false, "rstrip": false, "single_word": false},
        "pad_token": "<pad>",
        "sep_token": "</s>",
        "unk_token": "<unk>",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::tokenizer::Tokenizer;

    #[test]
    fn a_learned_tokenizer_opens_from_either_layout_and_repeats_itself() {
        let texts = ["low lower lowest", "new newer newest", "low low new"];
        let learn = Learn { vocabulary: SMALLEST + 12, min_frequency: 2 };
        let files = learn.files(texts.into_iter()).unwrap();
        assert_eq!(files, learn.files(texts.into_iter()).unwrap());
        let dir = tempfile::tempdir().unwrap();
        learn.write(texts.into_iter(), dir.path()).unwrap();
        let whole = Tokenizer::open(dir.path()).unwrap();
        let ids = whole.encode("lowest new 🦀", 50).unwrap();
        assert_eq!((ids.ids[0], ids.ids[ids.ids.len() - 1], whole.pad_id()), (0, 2, 1));
        std::fs::remove_file(dir.path().join("tokenizer.json")).unwrap();
        assert_eq!(Tokenizer::open(dir.path()).unwrap().encode("lowest new 🦀", 50).unwrap(), ids);
    }
}
