//! A row as it is in a file, and the characters that the bytes of its fields are.

use std::sync::Arc;

use crate::text::data::clean::text::windows_1252;
use crate::text::data::declare::spec::Purpose;

/// Longest row that is accepted, in bytes: far longer than any text that a model sees, so a longer line is not a row.
pub const LONGEST: usize = 16 << 20;

/// A row as in the file, decoded but not cleaned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw {
    /// Counted from 1, unusable rows included, over all files of the source.
    pub number: u64,
    /// The name of the file, for messages.
    pub file: Arc<str>,
    /// The line where the row begins, or the number of the row in a file without lines; counted from 1.
    pub line: u64,
    pub purpose: Purpose,
    pub text: String,
    /// The second text of a pair.
    pub pair: Option<String>,
    pub label: String,
    pub id: Option<String>,
    pub date: Option<String>,
    /// The values of [`Source::other_columns`](crate::text::data::declare::spec::Source::other_columns); empty if the row lacks one.
    pub others: Vec<String>,
    /// Number of truncated characters in the text, or in both.
    pub cut: u64,
}

impl Raw {
    /// `FILE:LINE`.
    pub fn place(&self) -> String {
        format!("{}:{}", self.file, self.line)
    }
}

/// The encoding of a file's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Utf8,
    Windows1252,
    Utf16Le,
    Utf16Be,
}

impl Encoding {
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Utf8 => "utf-8",
            Encoding::Windows1252 => "windows-1252",
            Encoding::Utf16Le => "utf-16le",
            Encoding::Utf16Be => "utf-16be",
        }
    }
}

/// What to do with the bytes of a truncated character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Remove them.
    Remove,
    /// Replace them with U+FFFD.
    Mark,
}

/// Decodes the bytes of a field.
#[derive(Debug, Clone, Copy)]
pub struct Decoder {
    pub encoding: Encoding,
    pub cut: Cut,
}

impl Decoder {
    /// The text, and the number of truncated characters in it.
    pub fn decode(self, bytes: &[u8]) -> (String, u64) {
        if let Ok(text) = std::str::from_utf8(bytes) {
            return (text.to_owned(), 0);
        }
        if self.encoding == Encoding::Windows1252 {
            // The five undefined bytes stay C1 controls; cleaning decides about them.
            return (bytes.iter().map(|&byte| windows_1252(byte).unwrap_or(char::from(byte))).collect(), 0);
        }
        let mut text = String::with_capacity(bytes.len());
        let mut cut = 0;
        for chunk in bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            if !chunk.invalid().is_empty() {
                cut += 1;
                if self.cut == Cut::Mark {
                    text.push(char::REPLACEMENT_CHARACTER);
                }
            }
        }
        (text, cut)
    }
}
