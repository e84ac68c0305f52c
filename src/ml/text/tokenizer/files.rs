//! The files of a tokenizer, and how each layout is opened.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use tokenizers::models::bpe::BPE;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::roberta::RobertaProcessing;
use tokenizers::{AddedToken, Tokenizer as Library};

use super::sentencepiece::{Family, SentencePiece};
use super::settings::{Pipeline, Settings};
use super::special::{Special, required, verbatim};
use super::spm::Spm;
use super::unigram::Unigram;
use super::wordpiece;
use crate::files::pointer;

/// The file with a complete pipeline.
pub(super) const WHOLE: &str = "tokenizer.json";
/// DeBERTa-v2/v3's sentencepiece model.
pub(super) const DEBERTA: &str = "spm.model";
/// XLM-R's sentencepiece model.
pub(super) const XLM_ROBERTA: &str = "sentencepiece.bpe.model";
pub(super) const CONFIG: &str = "tokenizer_config.json";

const LAYOUTS: &str = "tokenizer.json, vocab.json with merges.txt (RoBERTa), spm.model (DeBERTa), \
                       sentencepiece.bpe.model (XLM-R) or vocab.txt (BERT)";

/// Every file that may belong to a tokenizer.
pub const FILES: [&str; 9] = [
    WHOLE,
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    DEBERTA,
    XLM_ROBERTA,
    CONFIG,
    "special_tokens_map.json",
    "added_tokens.json",
];

/// The tokenizer files of a folder, in a fixed order.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    FILES.iter().map(|name| dir.join(name)).filter(|path| path.is_file()).collect()
}

/// Copy a folder's tokenizer files into an artifact.
pub fn copy_files(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    for name in FILES.iter().filter(|name| from.join(name).is_file()) {
        let (from, to) = (from.join(name), to.join(name));
        // Read and written rather than copied: the copy must not inherit a read-only mode.
        let bytes = std::fs::read(&from).with_context(|| format!("cannot read {}", from.display()))?;
        std::fs::write(&to, bytes).with_context(|| format!("cannot write {}", to.display()))?;
    }
    Ok(())
}

/// An opened tokenizer.
pub(super) struct Opened {
    pub(super) library: Library,
    pub(super) pad_id: u32,
    /// Sentencepiece's own algorithm for the ids.
    pub(super) unigram: Option<Unigram>,
    pub(super) settings: Settings,
}

/// Open the tokenizer of a folder: `tokenizer.json` if it exists, otherwise the first complete layout.
pub(super) fn read(dir: &Path) -> Result<Opened> {
    let special = Special::read(dir)?;
    let at = |name: &str| dir.join(name);
    let (whole, vocab, merges, words) = (at(WHOLE), at("vocab.json"), at("merges.txt"), at("vocab.txt"));
    let families = [(DEBERTA, Family::Deberta), (XLM_ROBERTA, Family::XlmRoberta)];
    let pieces = families.into_iter().map(|(name, family)| (at(name), family)).find(|(path, _)| path.is_file());
    let built = |pipeline: Pipeline| Settings::built(&special, dir, pipeline);
    let (mut library, unigram, settings) = if whole.is_file() {
        let mut library = Library::from_bytes(pointer::read(&whole)?)
            .map_err(|error| anyhow!("{} is not a valid tokenizer: {error}", whole.display()))?;
        let settings = Settings::apply(&mut library, &special, dir)?;
        let unigram = match &pieces {
            Some((path, family)) => beside(&library, path, *family, &special)?,
            None => None,
        };
        (library, unigram, settings)
    } else if vocab.is_file() && merges.is_file() {
        (byte_level(&vocab, &merges, &special, dir)?, None, built(Pipeline::ByteLevel)?)
    } else if let Some((path, family)) = &pieces {
        let model = SentencePiece::new(Spm::read(path)?, path, *family, &special)?;
        let damaged = || format!("cannot use {}", path.display());
        let unigram = model.encoder().with_context(damaged)?;
        (model.build(&special, dir).with_context(damaged)?, unigram, built(Pipeline::AsItIs)?)
    } else if words.is_file() {
        (wordpiece::build(&words, &special, dir)?, None, built(Pipeline::Bert)?)
    } else {
        bail!("{} has no tokenizer: expected {LAYOUTS}; found {}", dir.display(), found(dir));
    };
    library.set_encode_special_tokens(settings.splits_special);
    let pad_id = pad(&library, &special, dir)?;
    Ok(Opened { library, pad_id, unigram, settings })
}

/// Whether a folder has the files of a tokenizer, and not only its settings.
pub fn is_in(dir: &Path) -> bool {
    let has = |name: &str| dir.join(name).is_file();
    has(WHOLE) || has("vocab.json") && has("merges.txt") || [DEBERTA, XLM_ROBERTA, "vocab.txt"].into_iter().any(has)
}

/// Sentencepiece's own algorithm, if `tokenizer.json` is the pipeline of the sentencepiece model beside it.
///
/// If it is not, `tokenizer.json` wins: transformers uses it, and the model may have learned from its ids.
fn beside(library: &Library, path: &Path, family: Family, special: &Special) -> Result<Option<Unigram>> {
    let spm = Spm::read(path)?;
    match SentencePiece::new(spm, path, family, special) {
        Ok(model) if model.makes(library)? => model.encoder(),
        _ => Ok(None),
    }
}

fn pad(library: &Library, special: &Special, dir: &Path) -> Result<u32> {
    let named = special.token("pad_token");
    let pad = named.iter().map(String::as_str).chain(["<pad>", "[PAD]"]).find_map(|pad| library.token_to_id(pad));
    pad.with_context(|| {
        format!(
            "the tokenizer in {} has no padding token; set `pad_token` in its special_tokens_map.json",
            dir.display()
        )
    })
}

/// The content of a folder, for the message that something is missing there.
fn found(dir: &Path) -> String {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return "no such folder".to_owned();
    };
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).take(20).collect();
    names.sort();
    if names.is_empty() { "an empty folder".to_owned() } else { names.join(", ") }
}

/// RoBERTa's byte-level BPE, as `RobertaTokenizer` in transformers builds it.
fn byte_level(vocab: &Path, merges: &Path, special: &Special, dir: &Path) -> Result<Library> {
    let name = |path: &Path| path.to_str().map(str::to_owned).with_context(|| format!("{path:?} is not UTF-8"));
    let bad = |error| anyhow!("{} or {}: {error}", vocab.display(), merges.display());
    // Other tokenizers with the same files split words differently, such as HerBERT's.
    let known = ["RobertaTokenizer", "GPT2Tokenizer", "BartTokenizer", "LongformerTokenizer", "LEDTokenizer"];
    special.class(vocab, &known)?;
    pointer::check(vocab)?;
    pointer::check(merges)?;
    let (tokens, pairs) = BPE::read_file(&name(vocab)?, &name(merges)?).map_err(bad)?;
    let bpe = BPE::builder().vocab_and_merges(tokens, pairs).build().map_err(bad)?;
    let mut library = Library::new(bpe);
    let role = |first: &str, second: &str, default: &str| {
        special.token(first).or_else(|| special.token(second)).unwrap_or_else(|| default.to_owned())
    };
    let (start, end) = (role("cls_token", "bos_token", "<s>"), role("sep_token", "eos_token", "</s>"));
    let (first, last) = (required(&library, &start, vocab)?, required(&library, &end, vocab)?);
    let prefix_space = special.flag("add_prefix_space")?.unwrap_or(false);
    let pre = ByteLevel::new(prefix_space, true, true);
    library.with_pre_tokenizer(Some(pre)).with_decoder(Some(pre)).with_post_processor(Some(
        RobertaProcessing::new((end.clone(), last), (start.clone(), first))
            .trim_offsets(true)
            .add_prefix_space(prefix_space),
    ));
    let plain = [Some(start), special.token("pad_token"), Some(end), Some(special.token_or("unk_token", "<unk>"))];
    let mut roles: Vec<AddedToken> =
        plain.into_iter().flatten().map(|token| AddedToken::from(token, true).normalized(true)).collect();
    roles.push(verbatim(special.token_or("mask_token", "<mask>")).lstrip(true));
    special.add_to(&mut library, &roles, dir)?;
    Ok(library)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(dir: &Path) -> String {
        read(dir).err().expect("it was read").to_string()
    }

    #[test]
    fn a_folder_without_tokenizer_says_what_was_looked_for_and_found() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.json"), "{}").unwrap();
        std::fs::write(dir.path().join("vocab.json"), "{}").unwrap();
        let message = refusal(dir.path());
        assert!(
            message.contains("expected tokenizer.json, vocab.json with merges.txt (RoBERTa), spm.model"),
            "{message}"
        );
        assert!(message.ends_with("found config.json, vocab.json"), "{message}");
        let message = refusal(&dir.path().join("nowhere"));
        assert!(message.ends_with("found no such folder"), "{message}");
    }

    #[test]
    fn broken_files_are_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("tokenizer.json"), "{}").unwrap();
        let message = refusal(dir.path());
        assert!(message.contains("tokenizer.json is not a valid tokenizer"), "{message}");
    }

    #[test]
    fn a_vocabulary_without_special_tokens_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("vocab.json"), r#"{"a": 0, "b": 1, "ab": 2}"#).unwrap();
        std::fs::write(dir.path().join("merges.txt"), "#version: 0.2\na b\n").unwrap();
        let message = refusal(dir.path());
        assert!(message.contains("special token `<s>`"), "{message}");
    }

    #[test]
    fn copies_are_the_same_files() {
        let from = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join("models/tiny-roberta");
        let to = tempfile::tempdir().unwrap();
        copy_files(&from, to.path()).unwrap();
        assert_eq!(files(to.path()).len(), files(&from).len());
        assert!(!to.path().join("config.json").exists());
    }
}
