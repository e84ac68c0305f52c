//! A text as words, and which of them must stay as they are.

use crate::text::words::{folded, is_negator};

/// How many words after a negator belong to it, unless a clause ends before.
const SCOPE: usize = 3;

/// What may stand before and after a word. Other characters make the whole a thing of its own, such as `:D` or `#home`.
const BEFORE: &[char] = &['"', '\'', '“', '‘', '(', '*', '¿', '¡'];
const AFTER: &[char] = &['"', '\'', '”', '’', ')', '*', '.', ',', '!', '?', ';', ':', '…'];
/// What ends a clause.
const ENDS: &[char] = &['.', ',', '!', '?', ';', ':', '…', ')'];

/// A piece of a text that has no white space in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    /// The white space before it.
    pub space: String,
    pub before: String,
    pub core: String,
    pub after: String,
    /// It may not be changed, moved or removed: a negator, a name, a link, a number, an emoji.
    pub is_protected: bool,
    /// It follows a negator: it may be replaced by a synonym, but nothing may come between the two.
    pub is_negated: bool,
}

impl Word {
    /// A new word after a space.
    pub(super) fn new(core: &str) -> Self {
        let none = String::new;
        let (space, core) = (" ".to_owned(), core.to_owned());
        Self { space, before: none(), core, after: none(), is_protected: false, is_negated: false }
    }

    /// Whether it may be moved or removed.
    pub(super) fn is_movable(&self) -> bool {
        !self.is_protected && !self.is_negated
    }
}

/// The words of a text. Joined again they are the text.
pub(super) fn split(text: &str) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let mut rest = text;
    loop {
        let start = rest.find(|letter: char| !letter.is_whitespace()).unwrap_or(rest.len());
        let (space, tail) = rest.split_at(start);
        let end = tail.find(char::is_whitespace).unwrap_or(tail.len());
        let (piece, tail) = tail.split_at(end);
        if piece.is_empty() {
            // White space at the end has no word; the last word keeps it.
            if let Some(last) = words.last_mut() {
                last.after.push_str(space);
            }
            break;
        }
        words.push(word(space, piece));
        rest = tail;
    }
    mark_negated(&mut words);
    words
}

fn word(space: &str, piece: &str) -> Word {
    let tail = piece.trim_start_matches(BEFORE);
    let core = tail.trim_end_matches(AFTER);
    let (before, after) = (&piece[..piece.len() - tail.len()], &tail[core.len()..]);
    let lower = folded(core);
    let is_plain = |letter: char| letter.is_alphabetic() || matches!(letter, '\'' | '’' | '-');
    // Single letters are parts of emoticons (`D:`) or function words; `xd` is laughter; `http` stands for a link.
    let is_protected = !core.chars().all(is_plain)
        || core.chars().filter(|letter| letter.is_alphabetic()).count() < 2
        || ["xd", "http", "https", "rt"].contains(&lower.as_str())
        || is_negator(&lower);
    Word {
        space: space.to_owned(),
        before: before.to_owned(),
        core: core.to_owned(),
        after: after.to_owned(),
        is_protected,
        is_negated: false,
    }
}

/// Mark the words that follow a negator in its clause.
fn mark_negated(words: &mut [Word]) {
    let mut left = 0;
    for word in words {
        word.is_negated = left > 0;
        left = match is_negator(&folded(&word.core)) {
            true => SCOPE,
            false => left.saturating_sub(1),
        };
        if word.after.contains(ENDS) {
            left = 0;
        }
    }
}

/// The text of words.
pub(super) fn join(words: &[Word]) -> String {
    words.iter().flat_map(|word| [&word.space, &word.before, &word.core, &word.after]).map(String::as_str).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn with(text: &str, holds: fn(&Word) -> bool) -> Vec<String> {
        split(text).into_iter().filter(holds).map(|word| word.core).collect()
    }

    #[test]
    fn what_carries_meaning_by_its_form_is_protected() {
        let text = "Can’t say @user, see https://t.co/x (or www.a.b) #StayHome 😷 :D D: xD 3 a.m. covid19 don't NEVER A <b>good</b> RT";
        assert_eq!(with(text, |word| !word.is_protected), ["say", "see", "or"]);
        assert_eq!(with("\"Good\" day!! (really) it’s well-made…", |word| !word.is_protected).len(), 5);
    }

    #[test]
    fn three_words_after_a_negator_or_the_rest_of_its_clause_belong_to_it() {
        assert_eq!(with("it is not a very good movie at all", |word| word.is_negated), ["a", "very", "good"]);
        assert_eq!(with("No, this is fine", |word| word.is_negated), [""; 0]);
        assert_eq!(with("I don’t like it. Really bad", |word| word.is_negated), ["like", "it"]);
    }

    proptest! {
        #[test]
        fn words_joined_are_the_text(text in "[ \\t\\n]{0,2}([a-z@#.,'’😷:)( ]|n't| not ){0,40}") {
            let words = split(&text);
            if words.is_empty() {
                prop_assert!(text.trim().is_empty());
            } else {
                prop_assert_eq!(join(&words), text);
            }
        }
    }
}
