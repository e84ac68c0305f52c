//! Sentencepiece's unigram model: the most probable pieces of a text, exactly as sentencepiece finds them.

use anyhow::{Result, ensure};

use super::charsmap::Normaliser;
use super::spm::{PieceKind, Spm};
use super::trie::Trie;

/// Difference of log probability between an unknown character and the least probable piece.
const UNKNOWN_PENALTY: f32 = 10.0;

/// Sums of scores beyond this are reset to zero, because an `f32` would lose the differences.
const LARGEST: f32 = 100_000.0;

/// Encodes texts to the ids that sentencepiece gives.
///
/// The `Unigram` of tokenizers adds scores in `f64` and word by word, sentencepiece in `f32` over the whole text. If
/// two ways to cut a word are about equally probable, they can choose differently.
///
/// Source: `Model::EncodeOptimized` in sentencepiece `unigram_model.cc`, version 0.2.3.
pub(super) struct Unigram {
    normaliser: Normaliser,
    trie: Trie,
    /// By piece; the values of the trie are indices into it.
    scores: Vec<f32>,
    unknown: u32,
    unknown_score: f32,
    /// Ids of the 256 byte pieces, if characters without a piece are spelled with them.
    bytes: Option<Box<[u32; 256]>>,
    ids: Ids,
    is_lowercase: bool,
}

/// How pieces of the file are numbered in the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ids {
    /// As in the file.
    Same,
    /// As fairseq numbers them for XLM-R: one higher, except that the unknown piece (0 in the file) is 3.
    Fairseq,
}

impl Ids {
    fn of(self, piece: u32, unknown: u32) -> u32 {
        match self {
            Ids::Same => piece,
            Ids::Fairseq if piece == unknown => 3,
            Ids::Fairseq => piece + 1,
        }
    }
}

/// The best path to a position in the text.
#[derive(Clone, Copy)]
struct Best {
    piece: u32,
    score: f32,
    /// Where its last piece starts; `None` if no piece ends here.
    start: Option<u32>,
}

impl Unigram {
    pub(super) fn new(spm: &Spm, ids: Ids, is_lowercase: bool) -> Result<Self> {
        let normaliser = Normaliser::new(&spm.rules, &spm.pieces)?;
        let unknown = spm.unknown() as u32;
        let mut scores = Vec::with_capacity(spm.pieces.len());
        let mut table = Vec::with_capacity(spm.pieces.len());
        let mut least = f32::MAX;
        for (id, piece) in spm.pieces.iter().enumerate() {
            // Pieces that users defined win over all others.
            let defined = 0.1 * (piece.text.len() as f64 - 1.0);
            scores.push(if piece.kind == PieceKind::UserDefined { defined as f32 } else { piece.score });
            if piece.kind == PieceKind::Normal {
                least = least.min(piece.score);
            }
            if matches!(piece.kind, PieceKind::Normal | PieceKind::UserDefined) {
                table.push((piece.text.as_bytes(), id as u32));
            }
        }
        ensure!(!table.is_empty(), "it has no pieces of text");
        Ok(Unigram {
            normaliser,
            trie: Trie::new(table),
            scores,
            unknown,
            unknown_score: least - UNKNOWN_PENALTY,
            bytes: if spm.byte_fallback { Some(byte_pieces(spm)?) } else { None },
            ids,
            is_lowercase,
        })
    }

    /// True for a piece that users defined: sentencepiece finds it in a text by itself.
    pub(super) fn defines(&self, piece: &str) -> bool {
        self.normaliser.verbatim.iter().any(|defined| defined == piece)
    }

    /// Append the ids of `text`, without special tokens.
    pub(super) fn encode(&self, text: &str, out: &mut Vec<u32>) {
        let normal = if self.is_lowercase {
            // Letter by letter, as `Lowercase` of tokenizers: it does not treat a final sigma specially.
            self.normaliser.normalise(&text.chars().flat_map(char::to_lowercase).collect::<String>())
        } else {
            self.normaliser.normalise(text)
        };
        let best = self.best(&normal);
        let mut pieces = Vec::with_capacity(normal.len() / 3 + 1);
        let mut end = normal.len();
        while let Some(start) = best[end].start {
            pieces.push((best[end].piece, start as usize..end));
            end = start as usize;
        }
        let mut after_unknown = false;
        for (piece, range) in pieces.into_iter().rev() {
            let is_unknown = piece == self.unknown;
            match &self.bytes {
                Some(bytes) if is_unknown => {
                    let spelled = normal.as_bytes()[range].iter().map(|byte| bytes[usize::from(*byte)]);
                    out.extend(spelled.map(|piece| self.ids.of(piece, self.unknown)));
                }
                // Consecutive unknown characters are one token.
                None if is_unknown && after_unknown => {}
                _ => out.push(self.ids.of(piece, self.unknown)),
            }
            after_unknown = is_unknown;
        }
    }

    /// The best path to every position, by byte.
    fn best(&self, text: &str) -> Vec<Best> {
        let mut best = vec![Best { piece: self.unknown, score: 0.0, start: None }; text.len() + 1];
        // The farthest position reached so far.
        let mut farthest = 0;
        for (start, letter) in text.char_indices() {
            if best[start].score.abs() > LARGEST {
                let far = best[start].score;
                best[start..=farthest].iter_mut().for_each(|way| way.score -= far);
            }
            let here = best[start].score;
            let mut offer = |length: usize, piece: u32, score: f32| {
                let way = &mut best[start + length];
                farthest = farthest.max(start + length);
                if way.start.is_none() || score + here > way.score {
                    *way = Best { piece, score: score + here, start: Some(start as u32) };
                }
            };
            let mut has_letter = false;
            for (length, piece) in self.trie.prefixes(&text.as_bytes()[start..]) {
                has_letter |= length == letter.len_utf8();
                offer(length, piece, self.scores[piece as usize]);
            }
            if !has_letter {
                offer(letter.len_utf8(), self.unknown, self.unknown_score);
            }
        }
        best
    }
}

/// The ids of the pieces `<0x00>` to `<0xFF>`.
fn byte_pieces(spm: &Spm) -> Result<Box<[u32; 256]>> {
    let mut ids = Box::new([u32::MAX; 256]);
    for (id, piece) in spm.pieces.iter().enumerate().filter(|(_, piece)| piece.kind == PieceKind::Byte) {
        let digits = piece.text.strip_prefix("<0x").and_then(|text| text.strip_suffix('>'));
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let Some(byte) = byte else { anyhow::bail!("its piece `{}` is not a byte", piece.text) };
        ids[usize::from(byte)] = id as u32;
    }
    ensure!(!ids.contains(&u32::MAX), "it lacks the pieces of some bytes");
    Ok(ids)
}
