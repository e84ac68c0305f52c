//! A tokenizer opened from a model folder, and its parallel encoding of many texts.

mod cache;
mod charsmap;
mod files;
pub mod learn;
mod sentencepiece;
mod special;
mod spm;
mod trie;
mod unigram;
mod wordpiece;
mod words;

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use rayon::prelude::*;
use regex::Regex;
use tokenizers::{ModelWrapper, PreTokenizerWrapper, Tokenizer as Library};

use crate::ml::foreign::survive;
use crate::ml::watch::{Interrupted, Progress, Watch};
use cache::{Cache, Caches};
use files::Opened;
use unigram::Unigram;
use words::Words;

pub use files::{FILES, complete, copy_files, files};

/// Texts encoded between two looks at the watch: small enough to stop at once, large enough to keep threads busy.
const CHUNK: usize = 512;

/// Text → token ids, special tokens included.
///
/// The ids are those of Hugging Face's `tokenizers`, and of `sentencepiece` where a sentencepiece model is read. The three
/// usual kinds take a faster way to them ([`Way`]); everything else goes through the library.
pub struct Tokenizer {
    library: Library,
    /// Special tokens before and after a text.
    before: Vec<u32>,
    after: Vec<u32>,
    pad_id: u32,
    /// Finds the texts that spell out an added token (`</s>`); the library has to handle those.
    added: Option<Regex>,
    way: Way,
    caches: Caches,
}

/// How a text becomes ids.
enum Way {
    /// Through the library.
    Library,
    /// Byte-level BPE, each word worked out once.
    ByteLevel(Words),
    /// BERT's WordPiece, each chunk between spaces worked out once.
    WordPiece,
    /// As sentencepiece does it.
    Unigram(Box<Unigram>),
}

/// One encoded text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    pub ids: Vec<u32>,
    /// Number of ids there were before truncation, special tokens included.
    pub full: usize,
}

impl Tokenizer {
    /// Open the tokenizer of a folder: `tokenizer.json`, `vocab.json` with `merges.txt` (RoBERTa's byte-level BPE),
    /// `spm.model` (DeBERTa), `sentencepiece.bpe.model` (XLM-R) or `vocab.txt` (BERT).
    pub fn open(dir: &Path) -> Result<Self> {
        survive(|| Self::new(files::read(dir)?))
            .with_context(|| format!("cannot use the tokenizer in {}", dir.display()))
    }

    fn new(opened: Opened) -> Result<Self> {
        let Opened { mut library, pad_id, unigram } = opened;
        // Truncation is ours (we want to know the full length) and padding happens per batch.
        library.with_truncation(None).map_err(|error| anyhow!(error))?;
        library.with_padding(None);
        let (before, after) = surroundings(&library)?;
        let added: Vec<String> =
            library.get_added_tokens_decoder().values().map(|token| regex::escape(&token.content)).collect();
        let added = if added.is_empty() { None } else { Some(Regex::new(&added.join("|"))?) };
        let way = match (unigram, Words::of(&library)) {
            (Some(unigram), _) => Way::Unigram(Box::new(unigram)),
            (None, Some(words)) => Way::ByteLevel(words),
            (None, None) if wordpiece::is_chunked(&library) => Way::WordPiece,
            (None, None) => Way::Library,
        };
        Ok(Tokenizer { library, before, after, pad_id, added, way, caches: Caches::default() })
    }

    /// What kind of tokens these are: "byte-level BPE", "WordPiece", "unigram".
    pub fn kind(&self) -> &'static str {
        match (self.library.get_model(), self.library.get_pre_tokenizer()) {
            (ModelWrapper::BPE(_), Some(PreTokenizerWrapper::ByteLevel(_))) => "byte-level BPE",
            (ModelWrapper::BPE(_), _) => "BPE",
            (ModelWrapper::WordPiece(_), _) => "WordPiece",
            (ModelWrapper::WordLevel(_), _) => "words",
            (ModelWrapper::Unigram(_), _) => "unigram",
        }
    }

    /// The special tokens with their ids, by id.
    pub fn special_tokens(&self) -> Vec<(u32, String)> {
        let added = self.library.get_added_tokens_decoder();
        let mut special: Vec<(u32, String)> =
            added.iter().filter(|(_, token)| token.special).map(|(id, token)| (*id, token.content.clone())).collect();
        special.sort();
        special
    }

    /// The id that fills a batch's short rows.
    pub fn pad_id(&self) -> u32 {
        self.pad_id
    }

    /// Number of different ids, added tokens included.
    pub fn vocabulary(&self) -> usize {
        self.library.get_vocab_size(true)
    }

    /// The token of an id, as the vocabulary spells it.
    pub fn token(&self, id: u32) -> Option<String> {
        self.library.id_to_token(id)
    }

    /// Encode one text; at most `max_length` ids, special tokens included.
    pub fn encode(&self, text: &str, max_length: usize) -> Result<Encoded> {
        self.check(max_length)?;
        self.encode_with(text, max_length, &mut self.caches.borrow())
    }

    /// Encode many texts on all cores, in their order.
    pub fn encode_batch<T: AsRef<str> + Sync>(
        &self,
        texts: &[T],
        max_length: usize,
        watch: &dyn Watch,
    ) -> Result<Vec<Encoded>> {
        self.check(max_length)?;
        let done = std::sync::atomic::AtomicU64::new(0);
        let chunks: Vec<Vec<Encoded>> = texts
            .par_chunks(CHUNK)
            .map(|chunk| {
                if watch.stopped() {
                    bail!(Interrupted);
                }
                let mut cache = self.caches.borrow();
                let encoded: Result<Vec<Encoded>> =
                    chunk.iter().map(|text| self.encode_with(text.as_ref(), max_length, &mut cache)).collect();
                let chunk = chunk.len() as u64;
                let done = done.fetch_add(chunk, std::sync::atomic::Ordering::Relaxed) + chunk;
                watch.progress(Progress { done, total: texts.len() as u64, unit: "row", ..Progress::default() });
                encoded
            })
            .collect::<Result<_>>()?;
        Ok(chunks.into_iter().flatten().collect())
    }

    fn check(&self, max_length: usize) -> Result<()> {
        let special = self.before.len() + self.after.len();
        if max_length <= special {
            bail!(
                "max-length {max_length} leaves no room for text: {special} special tokens surround it; use at least {}",
                special + 1
            );
        }
        Ok(())
    }

    fn encode_with(&self, text: &str, max_length: usize, cache: &mut Cache) -> Result<Encoded> {
        let special = self.before.len() + self.after.len();
        let mut ids = Vec::with_capacity(max_length.min(special + text.len() / 2));
        ids.extend_from_slice(&self.before);
        let spelled = self.added.as_ref().is_some_and(|added| added.is_match(text));
        match &self.way {
            Way::ByteLevel(words) if !spelled && Words::knows(text) => {
                words.encode(&self.library, text, cache, &mut ids)?;
            }
            Way::WordPiece if !spelled => wordpiece::encode(&self.library, text, cache, &mut ids)?,
            Way::Unigram(unigram) if !spelled => unigram.encode(text, &mut ids),
            _ => ids.extend_from_slice(self.by_library(text)?.get_ids()),
        }
        let full = ids.len() + self.after.len();
        ids.truncate(max_length - self.after.len());
        ids.extend_from_slice(&self.after);
        Ok(Encoded { ids, full })
    }

    /// Without special tokens.
    fn by_library(&self, text: &str) -> Result<tokenizers::Encoding> {
        self.library.encode_fast(text, false).map_err(|error| anyhow!(error).context("tokenizing failed"))
    }
}

/// The special tokens that the library's post-processor puts before and after a text.
fn surroundings(library: &Library) -> Result<(Vec<u32>, Vec<u32>)> {
    let ids = |special| -> Result<Vec<u32>> {
        Ok(library.encode_fast("a", special).map_err(|error| anyhow!(error))?.get_ids().to_vec())
    };
    let (bare, whole) = (ids(false)?, ids(true)?);
    let at = whole.windows(bare.len().max(1)).position(|window| window == bare);
    match at {
        Some(at) => Ok((whole[..at].to_vec(), whole[at + bare.len()..].to_vec())),
        None => bail!("its special tokens do not simply surround a text, which is all that this program handles"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::ml::watch::Silent;

    /// Real tokenizer files beside the checkout, which are no part of the project.
    fn shared(path: &str) -> Option<PathBuf> {
        let root = std::env::var_os("PIPE_SHARED")
            .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
        let path = root.join(path);
        path.exists().then_some(path)
    }

    fn tiny() -> Tokenizer {
        Tokenizer::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tiny-roberta")).unwrap()
    }

    /// Every text of the golden file gives exactly its ids.
    fn assert_golden(tokenizer: &Tokenizer, golden: &Path) {
        let text = std::fs::read_to_string(golden).unwrap();
        let rows: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(rows.len(), 362);
        let texts: Vec<&str> = rows.iter().map(|row| row["text"].as_str().unwrap()).collect();
        let encoded = tokenizer.encode_batch(&texts, 100_000, &Silent).unwrap();
        for (row, encoded) in rows.iter().zip(encoded) {
            let ids: Vec<u32> = serde_json::from_value(row["ids"].clone()).unwrap();
            assert_eq!(encoded.ids, ids, "{}", row["text"]);
        }
    }

    #[test]
    fn roberta_golden_from_both_layouts() {
        let (Some(dir), Some(golden)) =
            (shared("data/tokenizers/roberta"), shared("data/tokenizers/golden/roberta.jsonl"))
        else {
            println!("skipped: no shared tokenizer files");
            return;
        };
        assert_golden(&Tokenizer::open(&dir).unwrap(), &golden);
        let old = tempfile::tempdir().unwrap();
        for name in ["vocab.json", "merges.txt", "special_tokens_map.json"] {
            std::fs::copy(dir.join(name), old.path().join(name)).unwrap();
        }
        let old = Tokenizer::open(old.path()).unwrap();
        assert_eq!(old.pad_id(), 1);
        assert_golden(&old, &golden);
    }

    #[test]
    fn truncation_keeps_the_special_tokens_and_the_full_length() {
        let tokenizer = tiny();
        let whole = tokenizer.encode("The supermarket is not so bad today", 200).unwrap();
        let cut = tokenizer.encode("The supermarket is not so bad today", 5).unwrap();
        assert_eq!((whole.ids[0], whole.ids[whole.ids.len() - 1]), (0, 2));
        assert_eq!(cut.ids[..4], whole.ids[..4]);
        assert_eq!((cut.ids.len(), cut.ids[4]), (5, 2));
        assert_eq!((whole.full, cut.full), (whole.ids.len(), whole.ids.len()));
    }

    #[test]
    fn a_length_without_room_for_text_is_refused() {
        let message = tiny().encode("text", 2).unwrap_err().to_string();
        assert!(message.contains("use at least 3"), "{message}");
    }

    #[test]
    fn the_fast_way_gives_the_ids_of_the_library() {
        let tokenizer = tiny();
        let texts = [
            "",
            " ",
            "  ",
            "a",
            " a",
            "  a",
            "a  ",
            "a\n\nb",
            "a \n b",
            "\t\tx",
            "don't we'll I'M 'tis ''s",
            "x'",
            "' s",
            "£5 – “so” bad… 1st½ 12,5 %",
            "naïve Ωmega café",
            "a\u{a0}b\u{a0} c",
            "\u{2028} x",
            "日本語 is fine",
            "👍🏽 ok",
            "</s> inside",
            " <mask> lstrip",
            "#COVID19 @user https://t.co/aB3",
            "ⅷ ² ₂ ℃",
            "\u{85}z",
            "e\u{301}x",
        ];
        for text in texts {
            let ids = tokenizer.encode(text, 1000).unwrap().ids;
            assert_eq!(ids[1..ids.len() - 1], *tokenizer.by_library(text).unwrap().get_ids(), "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_gives_the_ids_of_the_library(text in "[ -~\u{85}\u{a0}-\u{4ff}\u{2000}-\u{2bff}\n\t '’a-z]{0,40}") {
            let tokenizer = TINY.get_or_init(tiny);
            let ids = tokenizer.encode(&text, 1000).unwrap().ids;
            let expected = tokenizer.by_library(&text).unwrap();
            proptest::prop_assert_eq!(&ids[1..ids.len() - 1], expected.get_ids());
        }
    }

    static TINY: std::sync::OnceLock<Tokenizer> = std::sync::OnceLock::new();
}
