//! The small changes of a text: synonyms, swaps, deletions, insertions, punctuation, typing errors.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::draws::Draws;
use super::keyboard::neighbours;
use super::synonyms::synonyms;
use super::words::{Word, join, split};

/// Letters that a word needs for a typing error: in shorter words it often makes another word.
const LONG: usize = 4;
/// The marks of AEDA.
const MARKS: [&str; 6] = [".", ";", "?", ":", "!", ","];

/// A way to change a text. The first four are those of EDA (Wei and Zou 2019), `punctuation` is AEDA (Karimi et al. 2021).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// Replace words by synonyms. The bundled table is English.
    Synonym,
    /// Exchange pairs of words.
    Swap,
    /// Remove words.
    Delete,
    /// Insert synonyms of words of the text.
    Insert,
    /// Insert punctuation marks.
    Punctuation,
    /// Replace letters by their neighbours on a keyboard.
    Typo,
}

impl Operation {
    pub const ALL: [Self; 6] = [Self::Synonym, Self::Swap, Self::Delete, Self::Insert, Self::Punctuation, Self::Typo];
    /// Those that leave every word in its place, so that what two texts say of each other stays.
    pub const IN_PLACE: [Self; 3] = [Self::Synonym, Self::Punctuation, Self::Typo];

    pub fn name(self) -> &'static str {
        match self {
            Self::Synonym => "synonym",
            Self::Swap => "swap",
            Self::Delete => "delete",
            Self::Insert => "insert",
            Self::Punctuation => "punctuation",
            Self::Typo => "typo",
        }
    }

    /// The changed text; None if there is nothing to change. `rate` of the words are changed, at least one.
    pub(super) fn apply(self, text: &str, rate: f64, draws: &mut Draws) -> Option<String> {
        let mut words = split(text);
        if words.is_empty() {
            return None;
        }
        let count = ((words.len() as f64 * rate) as usize).max(1);
        match self {
            Self::Synonym => synonym(&mut words, count, draws),
            Self::Swap => swap(&mut words, count, draws),
            Self::Delete => delete(&mut words, count, draws),
            Self::Insert => insert(&mut words, count, draws),
            Self::Punctuation => punctuation(&mut words, count, draws),
            Self::Typo => typo(&mut words, count, draws),
        }
        Some(join(&words)).filter(|changed| changed != text)
    }
}

/// The positions of the words that `may` accepts.
fn places(words: &[Word], may: impl Fn(&Word) -> bool) -> Vec<usize> {
    (0..words.len()).filter(|&at| may(&words[at])).collect()
}

fn of_core(word: &Word) -> &'static [&'static str] {
    if word.is_protected { &[] } else { synonyms(&word.core.to_lowercase()) }
}

fn synonym(words: &mut [Word], count: usize, draws: &mut Draws) {
    let known = places(words, |word| !of_core(word).is_empty());
    for at in draws.some(&known, count) {
        if let Some(other) = draws.one(of_core(&words[at])) {
            words[at].core = in_case_of(&words[at].core, other);
        }
    }
}

/// `word` in the case of another one: `HUGE`, `Huge`, `huge`.
fn in_case_of(model: &str, word: &str) -> String {
    let mut letters = model.chars().filter(|letter| letter.is_alphabetic());
    let (first, second) = (letters.next(), letters.next());
    let is_upper = |letter: Option<char>| letter.is_some_and(char::is_uppercase);
    match (is_upper(first), is_upper(second)) {
        (true, true) => word.to_uppercase(),
        (true, false) => {
            let mut rest = word.chars();
            rest.next().into_iter().flat_map(char::to_uppercase).chain(rest).collect()
        }
        _ => word.to_owned(),
    }
}

/// Punctuation stays where it is.
fn swap(words: &mut [Word], count: usize, draws: &mut Draws) {
    let movable = places(words, Word::is_movable);
    for _ in 0..count {
        if let [one, two] = draws.some(&movable, 2)[..] {
            let core = std::mem::take(&mut words[one].core);
            words[one].core = std::mem::replace(&mut words[two].core, core);
        }
    }
}

/// One movable word stays, so that no text is emptied.
fn delete(words: &mut Vec<Word>, count: usize, draws: &mut Draws) {
    let movable = places(words, Word::is_movable);
    let mut gone = draws.some(&movable, count.min(movable.len().saturating_sub(1)));
    gone.sort_unstable();
    for at in gone.into_iter().rev() {
        let word = words.remove(at);
        if let Some(next) = words.get_mut(at) {
            if at == 0 {
                next.space = word.space;
            }
            if !next.is_protected {
                next.before.insert_str(0, &word.before);
            }
        }
        // What follows a word ends its clause or closes a bracket, so it stays; but not as a part of a link or a name.
        match at.checked_sub(1).and_then(|before| words.get_mut(before)) {
            Some(before) if !before.is_protected => before.after.push_str(&word.after),
            Some(_) if !word.after.trim().is_empty() => {
                words.insert(at, Word { is_protected: true, ..Word::new(&word.after) });
            }
            _ => {}
        }
    }
}

fn insert(words: &mut Vec<Word>, count: usize, draws: &mut Draws) {
    let known = places(words, |word| !of_core(word).is_empty());
    let of: Vec<&'static [&'static str]> =
        draws.some(&known, count).into_iter().map(|at| of_core(&words[at])).collect();
    for synonyms in of {
        if let Some(other) = draws.one(synonyms) {
            place(words, Word::new(other), draws);
        }
    }
}

fn punctuation(words: &mut Vec<Word>, count: usize, draws: &mut Draws) {
    for _ in 0..count {
        if let Some(mark) = draws.one(&MARKS) {
            place(words, Word { is_protected: true, ..Word::new(mark) }, draws);
        }
    }
}

/// Put a word before another one, but not between a negator and what it negates.
fn place(words: &mut Vec<Word>, mut word: Word, draws: &mut Draws) {
    let free = places(words, |word| !word.is_negated);
    let Some(&at) = draws.one(&free) else { return };
    if at == 0 {
        word.space = std::mem::replace(&mut words[0].space, " ".to_owned());
    }
    words.insert(at, word);
}

fn typo(words: &mut [Word], count: usize, draws: &mut Draws) {
    let long = |word: &Word| !word.is_protected && word.core.chars().count() >= LONG;
    let known = places(words, long);
    for at in draws.some(&known, count) {
        let letters: Vec<char> = words[at].core.chars().collect();
        let hit: Vec<usize> =
            (1..letters.len()).filter(|&at| !neighbours(letters[at].to_ascii_lowercase()).is_empty()).collect();
        let Some(&place) = draws.one(&hit) else { continue };
        let Some(&other) = draws.one(neighbours(letters[place].to_ascii_lowercase())) else { continue };
        let other = char::from(other);
        let other = if letters[place].is_uppercase() { other.to_ascii_uppercase() } else { other };
        words[at].core = letters.iter().enumerate().map(|(i, l)| if i == place { other } else { *l }).collect();
    }
}
