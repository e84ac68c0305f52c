//! The files of a tokenizer: which there are, and how each layout becomes one.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;
use tokenizers::models::bpe::BPE;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::roberta::RobertaProcessing;
use tokenizers::{AddedToken, Tokenizer as Library};

/// Every file that may belong to a tokenizer.
pub const FILES: [&str; 8] = [
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "spm.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
];

/// The tokenizer files that a folder has, in a fixed order.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    FILES.iter().map(|name| dir.join(name)).filter(|path| path.is_file()).collect()
}

/// Copy a folder's tokenizer files beside an artifact.
pub fn copy_files(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    for name in FILES.iter().filter(|name| from.join(name).is_file()) {
        let (from, to) = (from.join(name), to.join(name));
        // Read and written anew rather than copied: the copy must not inherit a read-only mode.
        let bytes = std::fs::read(&from).with_context(|| format!("cannot read {}", from.display()))?;
        std::fs::write(&to, bytes).with_context(|| format!("cannot write {}", to.display()))?;
    }
    Ok(())
}

/// The tokenizer of a folder, and its padding id.
pub(super) fn read(dir: &Path) -> Result<(Library, u32)> {
    let whole = dir.join("tokenizer.json");
    let (vocab, merges) = (dir.join("vocab.json"), dir.join("merges.txt"));
    let special = Special::read(dir)?;
    let library = if whole.is_file() {
        Library::from_file(&whole).map_err(|error| anyhow!("{}: not a tokenizer: {error}", whole.display()))?
    } else if vocab.is_file() && merges.is_file() {
        byte_level(&vocab, &merges, &special, dir)?
    } else {
        bail!(
            "{} has no tokenizer: looked for tokenizer.json, or vocab.json with merges.txt; found {}",
            dir.display(),
            found(dir)
        );
    };
    let pad = special.pad.iter().map(String::as_str).chain(["<pad>", "[PAD]"]).find_map(|pad| library.token_to_id(pad));
    match pad {
        Some(pad) => Ok((library, pad)),
        None => bail!(
            "the tokenizer in {} has no padding token: name it as `pad_token` in special_tokens_map.json",
            dir.display()
        ),
    }
}

/// What stands in a folder, for the message that something is missing there.
fn found(dir: &Path) -> String {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return "no such folder".to_owned();
    };
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).take(20).collect();
    names.sort();
    if names.is_empty() { "an empty folder".to_owned() } else { names.join(", ") }
}

/// Special tokens as `special_tokens_map.json` or `tokenizer_config.json` name them.
struct Special {
    start: String,
    end: String,
    unknown: String,
    mask: String,
    pad: Option<String>,
    prefix_space: bool,
    /// Tokens of `added_tokens.json`, by id.
    added: Vec<(u64, String)>,
}

impl Special {
    fn read(dir: &Path) -> Result<Self> {
        let map = json(&dir.join("special_tokens_map.json"))?;
        let config = json(&dir.join("tokenizer_config.json"))?;
        // A token is written as text, or as an object with its `content`.
        let token = |name: &str| {
            [&map, &config].into_iter().find_map(|file| {
                let token = file.get(name)?;
                token.as_str().or_else(|| token.get("content")?.as_str()).map(str::to_owned)
            })
        };
        let or = |name: &str, default: &str| token(name).unwrap_or_else(|| default.to_owned());
        let mut added: Vec<(u64, String)> = json(&dir.join("added_tokens.json"))?
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(token, id)| Some((id.as_u64()?, token.clone())))
            .collect();
        added.sort();
        Ok(Special {
            start: token("cls_token").or_else(|| token("bos_token")).unwrap_or_else(|| "<s>".to_owned()),
            end: token("sep_token").or_else(|| token("eos_token")).unwrap_or_else(|| "</s>".to_owned()),
            unknown: or("unk_token", "<unk>"),
            mask: or("mask_token", "<mask>"),
            pad: token("pad_token"),
            prefix_space: config.get("add_prefix_space").and_then(Value::as_bool).unwrap_or(false),
            added,
        })
    }
}

/// A JSON file's content; null where there is none.
fn json(path: &Path) -> Result<Value> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| format!("{} is not JSON", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Value::Null),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// RoBERTa's byte-level BPE, as `RobertaTokenizer` in transformers builds it.
fn byte_level(vocab: &Path, merges: &Path, special: &Special, dir: &Path) -> Result<Library> {
    let name = |path: &Path| path.to_str().map(str::to_owned).with_context(|| format!("{path:?} is not UTF-8"));
    let bad = |error| anyhow!("{} or {}: {error}", vocab.display(), merges.display());
    let (tokens, pairs) = BPE::read_file(&name(vocab)?, &name(merges)?).map_err(bad)?;
    let bpe = BPE::builder().vocab_and_merges(tokens, pairs).build().map_err(bad)?;
    let mut library = Library::new(bpe);
    let id = |library: &Library, token: &str| {
        let id = library.token_to_id(token);
        id.with_context(|| format!("{} does not have the special token `{token}`", dir.join("vocab.json").display()))
    };
    let (start, end) = (id(&library, &special.start)?, id(&library, &special.end)?);
    let pre = ByteLevel::new(special.prefix_space, true, true);
    library.with_pre_tokenizer(Some(pre)).with_decoder(Some(pre)).with_post_processor(Some(
        RobertaProcessing::new((special.end.clone(), end), (special.start.clone(), start))
            .trim_offsets(true)
            .add_prefix_space(special.prefix_space),
    ));
    let plain = [Some(&special.start), special.pad.as_ref(), Some(&special.end), Some(&special.unknown)];
    let mut added: Vec<AddedToken> =
        plain.into_iter().flatten().map(|token| AddedToken::from(token.clone(), true).normalized(true)).collect();
    added.push(AddedToken::from(special.mask.clone(), true).lstrip(true).normalized(false));
    // A special token that the vocabulary lacks would get a new id, beyond the model's embedding.
    added.retain(|token| library.token_to_id(&token.content).is_some());
    library.add_special_tokens(added).map_err(|error| anyhow!(error))?;
    let others = special.added.iter().map(|(_, token)| AddedToken::from(token.clone(), false));
    library.add_tokens(others).map_err(|error| anyhow!(error))?;
    for (id, token) in &special.added {
        if library.token_to_id(token).map(u64::from) != Some(*id) {
            bail!(
                "added_tokens.json in {} gives `{token}` the id {id}, which does not follow the vocabulary",
                dir.display()
            );
        }
    }
    Ok(library)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_tokenizer_says_what_was_looked_for_and_found() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.json"), "{}").unwrap();
        std::fs::write(dir.path().join("vocab.json"), "{}").unwrap();
        let message = read(dir.path()).unwrap_err().to_string();
        assert!(message.contains("looked for tokenizer.json, or vocab.json with merges.txt"), "{message}");
        assert!(message.ends_with("found config.json, vocab.json"), "{message}");
        let message = read(&dir.path().join("nowhere")).unwrap_err().to_string();
        assert!(message.ends_with("found no such folder"), "{message}");
    }

    #[test]
    fn broken_files_are_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("tokenizer.json"), "{}").unwrap();
        let message = read(dir.path()).unwrap_err().to_string();
        assert!(message.contains("tokenizer.json: not a tokenizer"), "{message}");
    }

    #[test]
    fn a_vocabulary_without_special_tokens_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("vocab.json"), r#"{"a": 0, "b": 1, "ab": 2}"#).unwrap();
        std::fs::write(dir.path().join("merges.txt"), "#version: 0.2\na b\n").unwrap();
        let message = read(dir.path()).unwrap_err().to_string();
        assert!(message.contains("special token `<s>`"), "{message}");
    }

    #[test]
    fn copies_are_the_same_files() {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tiny-roberta");
        let to = tempfile::tempdir().unwrap();
        copy_files(&from, to.path()).unwrap();
        assert_eq!(files(to.path()).len(), files(&from).len());
        assert!(!to.path().join("config.json").exists());
    }
}
