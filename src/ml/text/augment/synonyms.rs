//! English synonyms: a table in the program, reduced from WordNet by `scripts/make_synonyms.py`.

use std::collections::HashMap;
use std::sync::LazyLock;

/// Lines of a word and its synonyms, after WordNet's licence in lines that start with `#`.
static TEXT: &str = include_str!("synonyms.txt");

static TABLE: LazyLock<HashMap<&str, Vec<&str>>> = LazyLock::new(|| {
    let lines = TEXT.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let mut words = line.split(' ');
            Some((words.next()?, words.collect()))
        })
        .collect()
});

/// The synonyms of a lower-case word; none for most words.
pub(super) fn synonyms(word: &str) -> &'static [&'static str] {
    TABLE.get(word).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::words::is_negator;

    #[test]
    fn the_table_has_the_licence_and_words_of_one_meaning() {
        assert!(TEXT.contains("WordNet 3.0 Copyright 2006 by Princeton University.  All rights reserved."));
        assert!(TEXT.contains("Permission to use, copy, modify and distribute this software"));
        assert_eq!(synonyms("buy"), ["purchase"]);
        // These have several meanings.
        for word in ["good", "bad", "great", "like", "get", "not", "never", ""] {
            assert!(synonyms(word).is_empty(), "{word}");
        }
    }

    #[test]
    fn a_synonym_is_another_lower_case_word_that_negates_nothing() {
        assert!(TABLE.len() > 2000);
        for (word, others) in TABLE.iter() {
            assert!(!others.is_empty(), "{word}");
            for other in others {
                assert!(other != word && other.bytes().all(|byte| byte.is_ascii_lowercase()), "{word}: {other}");
                assert!(!is_negator(other) && !is_negator(word), "{word}: {other}");
            }
        }
    }
}
