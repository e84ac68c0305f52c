//! Reads the few fields of a sentencepiece model file that encoding needs, directly from its protobuf.
//!
//! Source: `sentencepiece_model.proto` of sentencepiece. A dozen fields of three messages do not justify a protobuf
//! library and a generated file.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::files::pointer;

/// The content of a `.model` file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Spm {
    /// Pieces by id.
    pub(super) pieces: Vec<Piece>,
    pub(super) algorithm: Algorithm,
    /// Spell characters without a piece as bytes (`<0x00>` to `<0xFF>`) rather than as the unknown piece.
    pub(super) byte_fallback: bool,
    pub(super) rules: Rules,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Piece {
    pub(super) text: String,
    /// Log probability.
    pub(super) score: f32,
    pub(super) kind: PieceKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PieceKind {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Unigram,
    Bpe,
    Word,
    Char,
}

/// How to normalise a text before cutting it into pieces.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rules {
    /// Replacements in the format that `charsmap.rs` reads; empty if there are none.
    pub(super) charsmap: Vec<u8>,
    /// Put a space before the text.
    pub(super) dummy_prefix: bool,
    /// Drop spaces at the ends and all but one in a row.
    pub(super) single_spaces: bool,
    /// Write spaces as `▁`.
    pub(super) escape_spaces: bool,
    /// Pieces carry their space at the end rather than at the beginning.
    pub(super) space_as_suffix: bool,
}

impl Spm {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let bytes = pointer::read(path)?;
        Self::parse(&bytes).with_context(|| {
            format!("{} is not a complete sentencepiece model; download or copy it again", path.display())
        })
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        let mut spm = Spm {
            pieces: Vec::new(),
            algorithm: Algorithm::Unigram,
            byte_fallback: false,
            rules: Rules {
                charsmap: Vec::new(),
                dummy_prefix: true,
                single_spaces: true,
                escape_spaces: true,
                space_as_suffix: false,
            },
        };
        let mut has_rules = false;
        for field in Fields(bytes) {
            match field? {
                (1, Value::Bytes(piece)) => spm.pieces.push(Piece::parse(piece)?),
                (2, Value::Bytes(trainer)) => spm.trainer(trainer)?,
                (3, Value::Bytes(normalizer)) => {
                    has_rules = true;
                    spm.rules.parse(normalizer)?;
                }
                _ => {}
            }
        }
        // They come last, so a file that was cut between two fields lacks them.
        ensure!(has_rules, "it has no normalisation rules");
        spm.check()?;
        Ok(spm)
    }

    fn trainer(&mut self, bytes: &[u8]) -> Result<()> {
        for field in Fields(bytes) {
            match field? {
                (3, Value::Number(kind)) => {
                    self.algorithm = match kind {
                        1 => Algorithm::Unigram,
                        2 => Algorithm::Bpe,
                        3 => Algorithm::Word,
                        4 => Algorithm::Char,
                        _ => bail!("its model type {kind} is unknown"),
                    }
                }
                (24, Value::Number(suffix)) => self.rules.space_as_suffix = suffix != 0,
                (35, Value::Number(fallback)) => self.byte_fallback = fallback != 0,
                _ => {}
            }
        }
        Ok(())
    }

    /// The checks that sentencepiece itself makes.
    fn check(&self) -> Result<()> {
        ensure!(!self.pieces.is_empty(), "it has no pieces");
        let mut seen = std::collections::HashSet::new();
        let mut unknown = 0;
        let mut bytes = 0;
        for piece in &self.pieces {
            let text = &piece.text;
            ensure!(!text.is_empty() && !text.contains('\0'), "it has an empty piece, or one with a null character");
            ensure!(piece.score.is_finite(), "the score of its piece `{text}` is not finite");
            // A reserved and a normal piece may have the same spelling.
            let is_reserved = matches!(piece.kind, PieceKind::Unknown | PieceKind::Control | PieceKind::Byte);
            ensure!(seen.insert((is_reserved, text)), "it has the piece `{text}` twice");
            unknown += usize::from(piece.kind == PieceKind::Unknown);
            bytes += usize::from(piece.kind == PieceKind::Byte);
        }
        ensure!(unknown == 1, "it has {unknown} unknown pieces instead of one");
        let wanted = if self.byte_fallback { 256 } else { 0 };
        ensure!(bytes == wanted, "it has {bytes} byte pieces instead of {wanted}");
        Ok(())
    }

    /// Id of the unknown piece.
    pub(super) fn unknown(&self) -> usize {
        self.pieces.iter().position(|piece| piece.kind == PieceKind::Unknown).unwrap_or(0)
    }

    /// True if a piece can contain a space, so that the words of a text depend on each other.
    pub(super) fn joins_words(&self) -> bool {
        let joins = |piece: &Piece| piece.text.rfind('▁').is_some_and(|at| at > 0);
        self.pieces.iter().any(|piece| matches!(piece.kind, PieceKind::Normal | PieceKind::UserDefined) && joins(piece))
    }
}

impl Piece {
    fn parse(bytes: &[u8]) -> Result<Self> {
        let mut piece = Piece { text: String::new(), score: 0.0, kind: PieceKind::Normal };
        for field in Fields(bytes) {
            match field? {
                (1, Value::Bytes(text)) => {
                    piece.text = std::str::from_utf8(text).context("it has a piece that is not UTF-8")?.to_owned();
                }
                (2, Value::Fixed32(score)) => piece.score = f32::from_bits(score),
                (3, Value::Number(kind)) => {
                    piece.kind = match kind {
                        1 => PieceKind::Normal,
                        2 => PieceKind::Unknown,
                        3 => PieceKind::Control,
                        4 => PieceKind::UserDefined,
                        5 => PieceKind::Unused,
                        6 => PieceKind::Byte,
                        _ => bail!("its piece `{}` has the unknown type {kind}", piece.text),
                    }
                }
                _ => {}
            }
        }
        Ok(piece)
    }
}

impl Rules {
    fn parse(&mut self, bytes: &[u8]) -> Result<()> {
        for field in Fields(bytes) {
            match field? {
                (2, Value::Bytes(charsmap)) => self.charsmap = charsmap.to_vec(),
                (3, Value::Number(prefix)) => self.dummy_prefix = prefix != 0,
                (4, Value::Number(single)) => self.single_spaces = single != 0,
                (5, Value::Number(escape)) => self.escape_spaces = escape != 0,
                _ => {}
            }
        }
        Ok(())
    }
}

/// The fields of a protobuf message in their order, by number.
struct Fields<'a>(&'a [u8]);

enum Value<'a> {
    Number(u64),
    Fixed64,
    Bytes(&'a [u8]),
    Fixed32(u32),
}

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Result<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            number |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        bail!("it contains a number of more than 64 bits");
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let Some((taken, rest)) = self.0.split_at_checked(length) else { bail!("it ends in the middle of a field") };
        self.0 = rest;
        Ok(taken)
    }

    fn field(&mut self) -> Result<(u64, Value<'a>)> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Number(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed64)?,
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(usize::try_from(length)?)?)
            }
            5 => {
                let bytes = self.take(4)?;
                Value::Fixed32(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
            }
            wire => bail!("it contains a field of the unknown wire type {wire}"),
        };
        Ok((tag >> 3, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        (!self.0.is_empty()).then(|| {
            let field = self.field();
            if field.is_err() {
                self.0 = &[];
            }
            field
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes() -> Vec<u8> {
        std::fs::read(crate::text::tokenizer::open::tests::fixture("deberta").join("spm.model")).unwrap()
    }

    #[test]
    fn the_fields_are_those_that_sentencepiece_wrote() {
        let spm = Spm::parse(&bytes()).unwrap();
        assert_eq!((spm.pieces.len(), spm.algorithm, spm.byte_fallback), (600, Algorithm::Unigram, true));
        let kinds: Vec<PieceKind> = spm.pieces[..7].iter().map(|piece| piece.kind).collect();
        use PieceKind::{Byte, Control, Unknown, UserDefined};
        assert_eq!(kinds, [Control, Control, Control, Unknown, UserDefined, UserDefined, Byte]);
        let piece = |at: usize| (spm.pieces[at].text.as_str(), spm.pieces[at].score);
        assert_eq!((piece(3), piece(4), piece(6)), (("[UNK]", 0.0), ("<url>", 0.0), ("<0x00>", 0.0)));
        let rules = &spm.rules;
        assert!(rules.dummy_prefix && rules.single_spaces && rules.escape_spaces && !rules.space_as_suffix);
        assert!(!spm.joins_words() && spm.unknown() == 3 && !rules.charsmap.is_empty());
    }

    #[test]
    fn a_file_cut_at_any_length_is_refused_unless_nothing_is_missing() {
        let bytes = bytes();
        let whole = Spm::parse(&bytes).unwrap();
        for length in 0..bytes.len() {
            if let Ok(spm) = Spm::parse(&bytes[..length]) {
                assert!(spm == whole, "{length}");
            }
        }
    }
}
