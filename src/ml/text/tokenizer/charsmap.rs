//! Sentencepiece's normalisation of a text: the longest matching replacement at each place, then spaces.
//!
//! `Precompiled` in tokenizers reads the same rules but applies them per grapheme, and uses the shortest match: it
//! loses an accent after `…`. To get sentencepiece's ids, this module applies the rules as sentencepiece does.

use anyhow::{Context, Result, ensure};

use super::spm::{Piece, PieceKind, Rules};

/// The normaliser of a sentencepiece model.
///
/// Source: `Normalizer::Normalize` in sentencepiece `normalizer.cc`. The format of the rules is
/// `[u32 bytes of the trie][trie][replacements, each ended by a null]`; the trie is a double array of Darts-clone.
pub(super) struct Normaliser {
    trie: Vec<u32>,
    replacements: String,
    /// ASCII characters that stay unchanged before another ASCII character or the end.
    plain: [bool; 128],
    dummy_prefix: bool,
    single_spaces: bool,
    /// Pieces that users defined, which are never normalised.
    pub(super) verbatim: Vec<String>,
}

impl Normaliser {
    pub(super) fn new(rules: &Rules, pieces: &[Piece]) -> Result<Self> {
        let (trie, replacements) = split(&rules.charsmap)?;
        let verbatim: Vec<String> = pieces
            .iter()
            .filter(|piece| piece.kind == PieceKind::UserDefined)
            .map(|piece| piece.text.clone())
            .collect();
        let mut normaliser = Normaliser {
            trie,
            replacements,
            plain: [false; 128],
            dummy_prefix: rules.dummy_prefix,
            single_spaces: rules.single_spaces,
            verbatim,
        };
        normaliser.plain = std::array::from_fn(|byte| normaliser.is_plain(byte as u8));
        Ok(normaliser)
    }

    /// `text` in the spelling of the pieces, with spaces as `▁`; empty if only spaces are left.
    pub(super) fn normalise(&self, text: &str) -> String {
        let mut rest = text;
        while self.single_spaces && !rest.is_empty() {
            let (replaced, after) = self.first(rest);
            if replaced != " " {
                break;
            }
            rest = after;
        }
        let mut out = String::with_capacity(text.len() * 3 / 2 + 3);
        if rest.is_empty() {
            return out;
        }
        if self.dummy_prefix {
            out.push('▁');
        }
        let mut after_space = self.single_spaces;
        while !rest.is_empty() {
            let (mut replaced, after) = self.first(rest);
            rest = after;
            if after_space {
                replaced = replaced.trim_start_matches(' ');
            }
            replaced.split_inclusive(' ').for_each(|part| match part.strip_suffix(' ') {
                Some(word) => out.extend([word, "▁"]),
                None => out.push_str(part),
            });
            if !replaced.is_empty() {
                after_space = self.single_spaces && replaced.ends_with(' ');
            }
        }
        if self.single_spaces {
            out.truncate(out.trim_end_matches('▁').len());
        }
        out
    }

    /// The replacement for the beginning of a non-empty text, and the rest of the text.
    fn first<'a>(&'a self, text: &'a str) -> (&'a str, &'a str) {
        let bytes = text.as_bytes();
        let (first, second) = (usize::from(bytes[0]), bytes.get(1).map_or(0, |byte| usize::from(*byte)));
        if first < 128 && second < 128 && self.plain[first] {
            return text.split_at(1);
        }
        let verbatim = self.verbatim.iter().filter(|piece| text.starts_with(piece.as_str())).map(String::len).max();
        if let Some(length) = verbatim {
            return text.split_at(length);
        }
        if let Some((length, replacement)) = self.longest(bytes)
            && let Some(after) = text.get(length..)
        {
            return (replacement, after);
        }
        text.split_at(text.chars().next().map_or(1, char::len_utf8))
    }

    /// The longest rule that matches the beginning: its length in bytes, and the replacement.
    fn longest(&self, bytes: &[u8]) -> Option<(usize, &str)> {
        let mut found = None;
        let mut at = self.trie.first().map(|unit| offset(*unit))?;
        for (length, byte) in bytes.iter().enumerate() {
            at ^= usize::from(*byte);
            let Some(unit) = self.trie.get(at).copied().filter(|unit| label(*unit) == u32::from(*byte)) else { break };
            at ^= offset(unit);
            if has_leaf(unit) {
                found = Some((length + 1, value(*self.trie.get(at)?)));
            }
        }
        let (length, start) = found?;
        let replacement = self.replacements.get(start..)?;
        Some((length, &replacement[..replacement.find('\0')?]))
    }

    fn is_plain(&self, byte: u8) -> bool {
        let begins = |piece: &String| piece.as_bytes().first() == Some(&byte);
        let is_replaced = |next: u8| self.longest(&[byte, next]).is_some();
        !self.verbatim.iter().any(begins) && !(0..128).any(is_replaced) && !self.goes_on(byte)
    }

    /// True if a rule begins with this byte followed by another ASCII byte.
    fn goes_on(&self, byte: u8) -> bool {
        let Some(root) = self.trie.first() else { return false };
        let step = |from: usize, byte: u8| {
            let at = from ^ usize::from(byte);
            let unit = *self.trie.get(at)?;
            (label(unit) == u32::from(byte)).then(|| at ^ offset(unit))
        };
        let Some(after) = step(offset(*root), byte) else { return false };
        // Label 0 belongs to the leaf.
        (1..128).any(|next| step(after, next).is_some())
    }
}

fn has_leaf(unit: u32) -> bool {
    unit >> 8 & 1 == 1
}

fn value(unit: u32) -> usize {
    (unit & (u32::MAX >> 1)) as usize
}

fn label(unit: u32) -> u32 {
    unit & (1 << 31 | 0xFF)
}

fn offset(unit: u32) -> usize {
    ((unit >> 10) << ((unit & 1 << 9) >> 6)) as usize
}

/// Split a rules blob into the trie and the replacements.
fn split(blob: &[u8]) -> Result<(Vec<u32>, String)> {
    if blob.is_empty() {
        return Ok((Vec::new(), String::new()));
    }
    let number = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    let whole = blob.split_at_checked(4).and_then(|(size, rest)| rest.split_at_checked(number(size) as usize));
    let Some((trie, replacements)) = whole else { anyhow::bail!("its normalisation rules are cut short") };
    ensure!(!trie.is_empty() && trie.len() % 1024 == 0, "its normalisation rules do not contain a complete trie");
    let trie: Vec<u32> = trie.chunks_exact(4).map(number).collect();
    let replacements = String::from_utf8(replacements.to_vec()).context("its replacements are not UTF-8")?;
    ensure!(replacements.ends_with('\0'), "its replacements are cut short");
    for (at, unit) in trie.iter().enumerate().filter(|(_, unit)| **unit >> 31 == 0) {
        // The trie consists of whole blocks of 256 units, so a step from within bounds stays within them for any byte.
        let next = trie.get(at ^ offset(*unit)).context("its normalisation rules point outside the trie")?;
        let is_whole = !has_leaf(*unit) || replacements.is_char_boundary(value(*next));
        ensure!(is_whole, "its normalisation rules do not point to a replacement");
    }
    Ok((trie, replacements))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::tokenizer::open::tests::fixture;
    use crate::text::tokenizer::spm::Spm;

    fn normaliser(change: impl Fn(&mut Rules)) -> Normaliser {
        let mut spm = Spm::read(&fixture("deberta").join("spm.model")).unwrap();
        change(&mut spm.rules);
        Normaliser::new(&spm.rules, &spm.pieces).unwrap()
    }

    #[test]
    fn the_longest_rule_counts_and_spaces_are_single() {
        let normaliser = normaliser(|_| ());
        assert_eq!(normaliser.normalise("a\u{301} a\u{301}\u{323} a…\u{301}"), "▁á▁ạ́▁a...\u{301}");
        assert_eq!(normaliser.normalise(" \u{a0} so\t\r\n good\u{200b} "), "▁so▁good");
        assert_eq!(normaliser.normalise(" \t\u{3000}"), "");
        assert_eq!(normaliser.normalise("a\u{1}b <url>…"), "▁ab▁<url>...");
    }

    #[test]
    fn spaces_may_stay_and_the_prefix_may_be_left_out() {
        let bare = normaliser(|rules| (rules.dummy_prefix, rules.single_spaces) = (false, false));
        assert_eq!(bare.normalise(" a  b "), "▁a▁▁b▁");
    }

    #[test]
    fn rules_that_lead_astray_are_refused() {
        let rules = Spm::read(&fixture("deberta").join("spm.model")).unwrap().rules;
        let refused = |blob: &[u8]| split(blob).unwrap_err().to_string();
        assert_eq!(refused(&rules.charsmap[..700]), "its normalisation rules are cut short");
        assert_eq!(refused(&[0, 0, 0, 0, 0]), "its normalisation rules do not contain a complete trie");
        let mut astray = rules.charsmap.clone();
        astray[4..8].copy_from_slice(&(0x1F_FFFFu32 << 10).to_le_bytes());
        assert_eq!(refused(&astray), "its normalisation rules point outside the trie");
    }
}
