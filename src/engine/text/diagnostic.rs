//! Problems in a pipeline file with their places: data only; `report` renders it.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

/// Characters of a value or name that a message shows; a longer one would hide the rest of the message.
const SHOWN: usize = 80;

/// Names that a list shows before "and N more". No build has that many kinds, and no kind that many parameters.
const LISTED: usize = 50;

/// The longest word for which similar words are searched: the cost is the product of both lengths.
const COMPARED: usize = 64;

/// The text that values come from: a pipeline file, or one `--set` argument.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// The name shown to the user: a path, or `--set`.
    pub name: String,
    pub text: String,
}

impl Source {
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Arc<Self> {
        Arc::new(Self { name: name.into(), text: text.into() })
    }
}

/// A range of bytes in a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub source: Arc<Source>,
    pub span: Range<usize>,
}

impl Place {
    pub fn new(source: &Arc<Source>, span: Range<usize>) -> Self {
        Self { source: source.clone(), span }
    }

    /// Line and column, both counted from 1 as in editors.
    pub fn line_column(&self) -> (usize, usize) {
        let before = &self.source.text[..self.span.start.min(self.source.text.len())];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        (line, column)
    }
}

/// One problem: what is wrong, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    pub message: String,
    pub place: Option<Place>,
    /// The text beside the caret.
    pub label: String,
    /// Help lines below the snippet.
    pub help: Vec<String>,
}

impl Diagnostic {
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), place: None, label: String::new(), help: Vec::new() }
    }

    pub fn at(mut self, place: &Place) -> Self {
        self.place = Some(place.clone());
        self
    }

    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// Add "did you mean" if one of `known` is similar to `word`.
    pub fn suggest<'a>(self, word: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        match closest(word, known) {
            Some(near) => self.help(format!("did you mean `{near}`?")),
            None => self,
        }
    }
}

/// All problems of one pipeline file, in the order of the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} problem(s) in the pipeline file: {}", .0.len(), .0.first().map_or("", |d| d.message.as_str()))]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// Sort by place and remove duplicates (profiles are checked one by one and share most of a file).
    pub fn new(mut all: Vec<Diagnostic>) -> Self {
        all.sort_by_key(|d| d.place.as_ref().map_or((1, 0), |p| (0, p.span.start)));
        let mut seen = HashSet::new();
        all.retain(|d| {
            let place = d.place.as_ref().map(|p| (Arc::as_ptr(&p.source), p.span.start, p.span.end));
            seen.insert((place, d.message.clone(), d.label.clone()))
        });
        Self(all)
    }
}

/// The word of `known` that the user may have meant: at most a third of the characters differ.
pub fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > COMPARED {
        return None;
    }
    let limit = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .filter(|k| k.len() <= 2 * COMPARED)
        .map(|k| (strsim::damerau_levenshtein(word, k), k))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, k)| k)
}

/// Format names for a message as `` `a`, `b`, `c` ``, at most `LISTED` of them.
pub fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut names = names.into_iter();
    let mut all: Vec<String> = names.by_ref().take(LISTED).map(|n| format!("`{}`", short(n))).collect();
    match (all.is_empty(), names.count()) {
        (true, _) => return "none".into(),
        (false, 0) => {}
        (false, more) => all.push(format!("and {more} more")),
    }
    all.join(", ")
}

/// A value or name for a message, cut if it is long.
pub fn short(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", &text[..at]).into(),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closest_finds_typos_and_not_strangers() {
        assert_eq!(closest("tran", ["train", "prune"]), Some("train"));
        assert_eq!(closest("quantise", ["quantize", "prune"]), Some("quantize"));
        assert_eq!(closest("frobnicate", ["train", "prune"]), None);
    }

    #[test]
    fn long_words_and_lists_are_cut() {
        let long = "x".repeat(1 << 20);
        assert_eq!(closest(&long, [long.as_str()]), None);
        assert_eq!(short(&long).chars().count(), SHOWN + 1);
        let names: Vec<String> = (0..60).map(|i| format!("s{i}")).collect();
        assert!(listed(names.iter().map(String::as_str)).ends_with("`s48`, `s49`, and 10 more"));
        assert_eq!(listed([]), "none");
    }

    #[test]
    fn a_problem_is_reported_once() {
        let source = Source::new("f.toml", "a = 1\n");
        let at = |span| Diagnostic::new("bad").at(&Place::new(&source, span));
        assert_eq!(Diagnostics::new(vec![at(4..5), at(0..1), at(0..1)]).0, [at(0..1), at(4..5)]);
    }

    #[test]
    fn places_count_lines_and_columns_from_one() {
        let source = Source::new("f.toml", "a = 1\nbé = 2\n");
        assert_eq!(Place::new(&source, 0..1).line_column(), (1, 1));
        assert_eq!(Place::new(&source, 12..13).line_column(), (2, 6));
    }
}
