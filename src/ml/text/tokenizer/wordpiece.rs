//! BERT's WordPiece: built from `vocab.txt`, and run on each chunk between spaces.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Result, anyhow, ensure};
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::{ModelWrapper, NormalizerWrapper, PreTokenizerWrapper, Tokenizer as Library};

use super::cache::Cache;
use super::special::{Special, required, template, verbatim};
use crate::files::pointer;

/// Maximum number of characters of a word; a longer word becomes the unknown token. The number is BERT's.
pub(super) const LONGEST_WORD: usize = 100;

/// The tokenizer of a `vocab.txt`, as `BertTokenizer` in transformers builds it.
pub(super) fn build(vocab: &Path, special: &Special, dir: &Path) -> Result<Library> {
    special.class(vocab, &["BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer"])?;
    ensure!(
        special.flag("do_basic_tokenize")? != Some(false),
        "tokenizer_config.json in {} has `do_basic_tokenize` false, which is not supported; save the folder's \
         tokenizer.json with transformers and use that",
        dir.display()
    );
    let role = |role: &str, default: &str| special.token_or(role, default);
    let (unknown, start, end) = (role("unk_token", "[UNK]"), role("cls_token", "[CLS]"), role("sep_token", "[SEP]"));
    let (pad, mask) = (role("pad_token", "[PAD]"), role("mask_token", "[MASK]"));
    let damaged = |error| anyhow!("{}: {error}", vocab.display());
    // An empty map of the library's own type, which it does not export.
    let mut ids = WordPiece::read_bytes(&[]).map_err(damaged)?;
    ids.extend(tokens(vocab)?);
    let model = WordPiece::builder()
        .vocab(ids)
        .unk_token(unknown.clone())
        .max_input_chars_per_word(LONGEST_WORD)
        .build()
        .map_err(damaged)?;
    let mut library = Library::new(model);
    for token in [&unknown, &start, &end, &pad] {
        required(&library, token, vocab)?;
    }
    let id = |token: &String| Ok::<_, anyhow::Error>((token.clone(), required(&library, token, vocab)?));
    let ends = template(&[id(&start)?, id(&end)?], "{start}:0 $A:0 {end}:0", "{start}:0 $A:0 {end}:0 $B:1 {end}:1")?;
    let normalizer = BertNormalizer::new(
        true,
        special.flag("tokenize_chinese_chars")?.unwrap_or(true),
        special.flag("strip_accents")?,
        special.flag("do_lower_case")?.unwrap_or(true),
    );
    library
        .with_normalizer(Some(normalizer))
        .map_err(damaged)?
        .with_pre_tokenizer(Some(BertPreTokenizer))
        .with_decoder(Some(tokenizers::decoders::wordpiece::WordPiece::default()))
        .with_post_processor(Some(ends));
    special.add_to(&mut library, &[unknown, end, pad, start, mask].map(verbatim), dir)?;
    Ok(library)
}

/// The tokens of a vocabulary, one per line, numbered from zero.
fn tokens(path: &Path) -> Result<Vec<(String, u32)>> {
    let bytes = pointer::read(path)?;
    let text = String::from_utf8(bytes).map_err(|_| anyhow!("{} is not UTF-8 text", path.display()))?;
    let mut lines: HashMap<&str, usize> = HashMap::new();
    let mut tokens = Vec::new();
    for (at, token) in text.lines().enumerate() {
        tokens.push((token.to_owned(), at as u32));
        if let Some(before) = lines.insert(token, at) {
            anyhow::bail!(
                "{} has the token `{token}` twice, in lines {} and {}; ids are line numbers, so the file is damaged",
                path.display(),
                before + 1,
                at + 1
            );
        }
    }
    Ok(tokens)
}

/// True for a tokenizer whose ids for a text are the ids of its chunks between spaces, one after the other.
///
/// BERT's normaliser turns these four characters into a space, moves no accent over a space, and ends words there.
/// An added token that is matched in the normalised text could extend over a space.
pub(super) fn is_chunked(library: &Library) -> bool {
    matches!(library.get_normalizer(), Some(NormalizerWrapper::BertNormalizer(_)))
        && matches!(library.get_pre_tokenizer(), Some(PreTokenizerWrapper::BertPreTokenizer(_)))
        && matches!(library.get_model(), ModelWrapper::WordPiece(_))
        && library.get_added_tokens_decoder().values().all(|token| !token.normalized)
}

/// Append the ids of `text`, without special tokens.
pub(super) fn encode(library: &Library, text: &str, cache: &mut Cache, out: &mut Vec<u32>) -> Result<()> {
    for chunk in text.split([' ', '\n', '\t', '\r']).filter(|chunk| !chunk.is_empty()) {
        cache.ids(chunk, out, |ids| {
            let encoding = library.encode_fast(chunk, false).map_err(|error| anyhow!(error))?;
            ids.extend_from_slice(encoding.get_ids());
            Ok(())
        })?;
    }
    Ok(())
}
