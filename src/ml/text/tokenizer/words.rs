//! Byte-level BPE that encodes each word only once: the library's ids at several times its speed.

use std::sync::LazyLock;

use anyhow::{Result, anyhow};
use regex::Regex;
use tokenizers::models::bpe::BPE;
use tokenizers::{Model, ModelWrapper, PreTokenizerWrapper, Tokenizer as Library};

use super::cache::Cache;

/// Characters below this value have an entry in [`CLASSES`]; see [`Words::knows`].
const TABLE: usize = 0x2C00;

/// Splits a text into words as GPT-2 does and remembers the ids of each word.
///
/// Source: the pattern of `ByteLevel` in tokenizers, from `encoder.py` of GPT-2:
/// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`.
pub(super) struct Words {
    prefix_space: bool,
    /// Printable characters that represent the 256 bytes.
    letters: [char; 256],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Space,
    Letter,
    Number,
    Other,
}

/// The class of every character below [`TABLE`].
static CLASSES: LazyLock<Vec<Class>> = LazyLock::new(|| {
    let all: String = (0..TABLE as u32).filter_map(char::from_u32).collect();
    let mut classes = vec![Class::Other; TABLE];
    for (pattern, class) in [(r"\s", Class::Space), (r"\p{L}", Class::Letter), (r"\p{N}", Class::Number)] {
        // The three patterns are constants. If one were invalid, nothing would be classified and tests would fail.
        for found in Regex::new(pattern).iter().flat_map(|regex| regex.find_iter(&all)) {
            found.as_str().chars().for_each(|letter| classes[letter as usize] = class);
        }
    }
    classes
});

fn class(letter: char) -> Class {
    CLASSES.get(letter as usize).copied().unwrap_or(Class::Other)
}

impl Words {
    /// For a tokenizer of exactly the kind that this file handles: byte-level BPE without normaliser and dropout.
    pub(super) fn of(library: &Library) -> Option<Self> {
        let Some(PreTokenizerWrapper::ByteLevel(level)) = library.get_pre_tokenizer() else { return None };
        let ModelWrapper::BPE(BPE { dropout: None, .. }) = library.get_model() else { return None };
        (library.get_normalizer().is_none() && level.use_regex)
            .then(|| Words { prefix_space: level.add_prefix_space, letters: letters() })
    }

    /// True if this file classifies the characters exactly as the library's regex does: scripts whose Unicode blocks
    /// were complete before either table was made. Other texts (emoji, CJK) go through the library.
    pub(super) fn knows(text: &str) -> bool {
        text.is_ascii() || text.chars().all(|letter| matches!(letter as usize, 0..0x500 | 0x2000..TABLE))
    }

    /// Append the ids of `text`, without special tokens.
    pub(super) fn encode(&self, library: &Library, text: &str, cache: &mut Cache, out: &mut Vec<u32>) -> Result<()> {
        let spaced;
        let mut rest = text;
        if self.prefix_space && !text.is_empty() && !text.starts_with(' ') {
            spaced = format!(" {text}");
            rest = &spaced;
        }
        while !rest.is_empty() {
            let (word, after) = rest.split_at(first_word(rest));
            rest = after;
            cache.ids(word, out, |ids| {
                let spelled: String = word.bytes().map(|byte| self.letters[usize::from(byte)]).collect();
                let tokens = library.get_model().tokenize(&spelled).map_err(|error| anyhow!(error))?;
                ids.extend(tokens.iter().map(|token| token.id));
                Ok(())
            })?;
        }
        Ok(())
    }
}

/// Length in bytes of the first word of a non-empty text.
fn first_word(text: &str) -> usize {
    let mut letters = text.chars();
    let Some(first) = letters.next() else { return 0 };
    if first == '\'' {
        let endings = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"];
        if let Some(ending) = endings.iter().find(|ending| text.starts_with(**ending)) {
            return ending.len();
        }
    }
    // One space may precede a word of any class but space.
    let (skip, kind) = match (first, letters.next()) {
        (' ', Some(second)) if class(second) != Class::Space => (1, class(second)),
        _ => (0, class(first)),
    };
    let run = run(&text[skip..], kind);
    if kind != Class::Space || run == text.len() {
        return skip + run;
    }
    // White space before a word leaves its last character to the word, unless it is the only character.
    let last = text[..run].chars().next_back().map_or(0, char::len_utf8);
    if run > last { run - last } else { run }
}

/// Length in bytes of the leading characters of one class.
fn run(text: &str, kind: Class) -> usize {
    text.char_indices().find(|(_, letter)| class(*letter) != kind).map_or(text.len(), |(at, _)| at)
}

/// GPT-2's `bytes_to_unicode`: printable bytes represent themselves; characters from U+0100 on represent the others.
fn letters() -> [char; 256] {
    let mut next = 0x100;
    std::array::from_fn(|byte| {
        let code = match byte as u32 {
            code @ (0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF) => code,
            _ => {
                next += 1;
                next - 1
            }
        };
        char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
    })
}

#[cfg(test)]
mod tests {
    use tokenizers::pre_tokenizers::byte_level::ByteLevel;

    use super::*;

    fn split(text: &str) -> Vec<&str> {
        let mut words = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (word, after) = rest.split_at(first_word(rest));
            words.push(word);
            rest = after;
        }
        words
    }

    #[test]
    fn words_are_those_of_gpt2() {
        assert_eq!(split("I don't know  what"), ["I", " don", "'t", " know", " ", " what"]);
        assert_eq!(split("a\n\nb \n"), ["a", "\n", "\n", "b", " \n"]);
        assert_eq!(split("(x) 12% we'll"), ["(", "x", ")", " 12", "%", " we", "'ll"]);
    }

    #[test]
    fn the_stand_ins_are_the_alphabet_of_the_library() {
        let all: std::collections::HashSet<char> = letters().into_iter().collect();
        assert_eq!(all, ByteLevel::alphabet().into_iter().collect());
        assert_eq!((letters()[usize::from(b' ')], letters()[usize::from(b'\n')]), ('Ġ', 'Ċ'));
    }
}
