//! A tokenizer opened from a model folder, and parallel encoding of many texts.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use rayon::prelude::*;
use regex::Regex;
use tokenizers::{ModelWrapper, PreTokenizerWrapper, Tokenizer as Library};

use super::cache::{Cache, Caches};
use super::encoded::Encoded;
use super::files::Opened;
use super::pair::{PairEnds, Texts};
use super::settings::{Settings, Side};
use super::special::surroundings;
use super::unigram::Unigram;
use super::wordpiece;
use super::words::Words;
use crate::compute::foreign::catch_panics;
use crate::watch::{Interrupted, Progress, Watch};

/// Texts to encode before checking the watch again: few enough to stop promptly, enough to keep the threads busy.
const CHUNK: usize = 512;

/// Turns texts into token ids, special tokens included.
///
/// The ids equal those of Hugging Face's `tokenizers`, or of `sentencepiece` if the folder has a sentencepiece model.
/// The three common kinds use a faster implementation (`Way`); everything else uses the library.
pub struct Tokenizer {
    library: Library,
    /// Special tokens that precede a text.
    before: Vec<u32>,
    after: Vec<u32>,
    /// The special tokens around a pair; an error says why there are none.
    pair: Result<PairEnds, String>,
    pad_id: u32,
    /// Matches texts that contain an added token literally (`</s>`); the library has to encode those.
    added: Option<Regex>,
    way: Way,
    side: Side,
    max_length: Option<usize>,
    remarks: Vec<String>,
    caches: Caches,
}

/// How a text becomes ids.
enum Way {
    /// With the library.
    Library,
    /// Byte-level BPE that encodes each word only once.
    ByteLevel(Box<Words>),
    /// BERT's WordPiece that encodes each chunk between spaces only once.
    WordPiece,
    /// Unigram as sentencepiece computes it.
    Unigram(Box<Unigram>),
}

impl Tokenizer {
    /// Open the tokenizer of a folder: `tokenizer.json`, `vocab.json` with `merges.txt` (RoBERTa's byte-level BPE),
    /// `spm.model` (DeBERTa), `sentencepiece.bpe.model` (XLM-R) or `vocab.txt` (BERT).
    pub fn open(dir: &Path) -> Result<Self> {
        catch_panics(|| Self::new(super::files::read(dir)?))
            .with_context(|| format!("cannot use the tokenizer in {}", dir.display()))
    }

    fn new(opened: Opened) -> Result<Self> {
        let Opened { library, pad_id, unigram, settings } = opened;
        let (before, after) = surroundings(&library)?;
        let is_own = |token: &str| unigram.as_ref().is_some_and(|unigram| unigram.defines(token));
        let added = library.get_added_tokens_decoder();
        let mut added: Vec<&str> = added.values().map(|token| token.content.as_str()).collect();
        added.retain(|token| !is_own(token));
        let added = added.into_iter().map(regex::escape).collect::<Vec<_>>().join("|");
        let added = if added.is_empty() || settings.splits_special { None } else { Some(Regex::new(&added)?) };
        let way = match (unigram, Words::of(&library)) {
            // How special tokens are read as text is the library's business.
            _ if settings.splits_special => Way::Library,
            (Some(unigram), _) => Way::Unigram(Box::new(unigram)),
            (None, Some(words)) => Way::ByteLevel(Box::new(words)),
            (None, None) if wordpiece::is_chunked(&library) => Way::WordPiece,
            (None, None) => Way::Library,
        };
        let Settings { side, max_length, has_types, remarks, .. } = settings;
        let pair = PairEnds::of(&library, has_types).map_err(|error| format!("{error:#}"));
        Ok(Tokenizer {
            library,
            before,
            after,
            pair,
            pad_id,
            added,
            way,
            side,
            max_length,
            remarks,
            caches: Caches::default(),
        })
    }

    /// The tokenizer's algorithm: "byte-level BPE", "WordPiece", "unigram".
    pub fn kind(&self) -> &'static str {
        match (self.library.get_model(), self.library.get_pre_tokenizer()) {
            (ModelWrapper::BPE(_), Some(PreTokenizerWrapper::ByteLevel(_))) => "byte-level BPE",
            (ModelWrapper::BPE(_), _) => "BPE",
            (ModelWrapper::WordPiece(_), _) => "WordPiece",
            (ModelWrapper::WordLevel(_), _) => "words",
            (ModelWrapper::Unigram(_), _) => "unigram",
        }
    }

    /// The special tokens and their ids, ordered by id.
    pub fn special_tokens(&self) -> Vec<(u32, String)> {
        let added = self.library.get_added_tokens_decoder();
        let mut special: Vec<(u32, String)> =
            added.iter().filter(|(_, token)| token.special).map(|(id, token)| (*id, token.content.clone())).collect();
        special.sort();
        special
    }

    /// The id that pads the short rows of a batch.
    pub fn pad_id(&self) -> u32 {
        self.pad_id
    }

    /// The longest row in tokens that the folder asks for (`model_max_length`), special tokens included.
    pub fn max_length(&self) -> Option<usize> {
        self.max_length
    }

    /// Contradictions between the files of the folder, and what was decided.
    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }

    /// Number of distinct ids, added tokens included.
    pub fn vocabulary(&self) -> usize {
        self.library.get_vocab_size(true)
    }

    /// The token with this id, as the vocabulary spells it.
    pub fn token(&self, id: u32) -> Option<String> {
        self.library.id_to_token(id)
    }

    /// Encode one text into at most `max_length` ids, special tokens included. A longer text is cut at its end, or at its
    /// beginning if the folder says so (`truncation_side`).
    pub fn encode(&self, text: &str, max_length: usize) -> Result<Encoded> {
        self.check(max_length)?;
        self.encode_with(text, max_length, &mut self.caches.borrow())
    }

    /// Encode many texts on all cores. The result keeps their order.
    pub fn encode_batch<T: AsRef<str> + Sync>(
        &self,
        texts: &[T],
        max_length: usize,
        watch: &dyn Watch,
    ) -> Result<Vec<Encoded>> {
        let texts: Vec<Texts> = texts.iter().map(|text| Texts { first: text.as_ref(), second: None }).collect();
        self.encode_rows(&texts, max_length, watch)
    }

    /// Encode many texts or pairs of texts on all cores. Of a pair that is too long, the longer text is cut first, as
    /// transformers does by default (`longest_first`).
    pub fn encode_rows(&self, texts: &[Texts], max_length: usize, watch: &dyn Watch) -> Result<Vec<Encoded>> {
        self.check(max_length)?;
        if texts.iter().any(|row| row.second.is_some()) {
            self.pair_ends()?.check(max_length)?;
        }
        let done = std::sync::atomic::AtomicU64::new(0);
        let chunks: Vec<Vec<Encoded>> = texts
            .par_chunks(CHUNK)
            .map(|chunk| {
                if watch.stopped() {
                    bail!(Interrupted);
                }
                let mut cache = self.caches.borrow();
                let encoded: Result<Vec<Encoded>> =
                    chunk.iter().map(|row| self.encode_row(*row, max_length, &mut cache)).collect();
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
                "max-length {max_length} leaves no room for text: each row has {special} special tokens; use at least \
                 {}",
                special + 1
            );
        }
        Ok(())
    }

    fn pair_ends(&self) -> Result<&PairEnds> {
        self.pair.as_ref().map_err(|error| anyhow!("the tokenizer cannot encode pairs of texts: {error}"))
    }

    fn encode_row(&self, row: Texts, max_length: usize, cache: &mut Cache) -> Result<Encoded> {
        let Some(second) = row.second else { return self.encode_with(row.first, max_length, cache) };
        let (mut first_ids, mut second_ids) = (Vec::new(), Vec::new());
        self.append(row.first, cache, &mut first_ids)?;
        self.append(second, cache, &mut second_ids)?;
        Ok(self.pair_ends()?.join(first_ids, second_ids, max_length, self.side))
    }

    fn encode_with(&self, text: &str, max_length: usize, cache: &mut Cache) -> Result<Encoded> {
        let special = self.before.len() + self.after.len();
        let mut ids = Vec::with_capacity(max_length.min(special + text.len() / 2));
        ids.extend_from_slice(&self.before);
        self.append(text, cache, &mut ids)?;
        let full = ids.len() + self.after.len();
        match self.side {
            Side::Right => ids.truncate(max_length - self.after.len()),
            Side::Left => drop(ids.drain(self.before.len()..self.before.len() + full.saturating_sub(max_length))),
        }
        ids.extend_from_slice(&self.after);
        Ok(Encoded { ids, types: Vec::new(), full })
    }

    /// Append the ids of a text, without special tokens around it.
    fn append(&self, text: &str, cache: &mut Cache, ids: &mut Vec<u32>) -> Result<()> {
        let spelled = self.added.as_ref().is_some_and(|added| added.is_match(text));
        match &self.way {
            Way::ByteLevel(words) if !spelled && Words::knows(text) => {
                words.encode(&self.library, text, cache, ids)?;
            }
            Way::WordPiece if !spelled => wordpiece::encode(&self.library, text, cache, ids)?,
            Way::Unigram(unigram) if !spelled => unigram.encode(text, ids),
            _ => ids.extend_from_slice(self.by_library(text)?.get_ids()),
        }
        Ok(())
    }

    /// Encode with the library, without special tokens.
    fn by_library(&self, text: &str) -> Result<tokenizers::Encoding> {
        catch_panics(|| self.library.encode_fast(text, false).map_err(|error| anyhow!(error)))
            .context("the tokenizer cannot encode a text")
    }
}

#[cfg(test)]
#[path = "tests.rs"]
pub(super) mod tests;
