//! One changed copy of a text, or of a pair of texts.

use super::draws::Draws;
use super::operation::Operation;

/// The share of the words that is changed by default; EDA's value.
pub const RATE: f64 = 0.1;

/// Which changes, and how many words.
#[derive(Debug, Clone, PartialEq)]
pub struct Augmentation {
    /// A copy gets one of them; at least one.
    pub operations: Vec<Operation>,
    /// The share of the words that is changed, 0 < rate ≤ 1; at least one word is.
    pub rate: f64,
}

impl Default for Augmentation {
    fn default() -> Self {
        Self { operations: Operation::ALL.to_vec(), rate: RATE }
    }
}

/// A text, or a pair of texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Texts {
    pub first: String,
    pub second: Option<String>,
}

impl Augmentation {
    /// The default for rows of this shape: pairs get only the operations that leave words in their place.
    pub fn usual(is_pair: bool) -> Self {
        let operations = if is_pair { Operation::IN_PLACE.to_vec() } else { Operation::ALL.to_vec() };
        Self { operations, rate: RATE }
    }

    /// Copy `copy` of a row, and how it was made. None if no operation can change the texts.
    ///
    /// It depends on the seed, the id, the copy's number and the texts only. The operations are tried in a random order
    /// until one changes a text.
    pub fn copy(&self, texts: &Texts, (seed, id, copy): (u64, &str, u64)) -> Option<(Texts, Operation)> {
        let mut draws = Draws::of(seed, id, copy);
        let order = draws.some(&self.operations, self.operations.len());
        order.into_iter().find_map(|operation| {
            let first = operation.apply(&texts.first, self.rate, &mut draws);
            let second = texts.second.as_ref().map(|text| (operation.apply(text, self.rate, &mut draws), text));
            if first.is_none() && second.as_ref().is_none_or(|(changed, _)| changed.is_none()) {
                return None;
            }
            let second = second.map(|(changed, text)| changed.unwrap_or_else(|| text.clone()));
            Some((Texts { first: first.unwrap_or_else(|| texts.first.clone()), second }, operation))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const TEXT: &str =
        "I will NOT purchase the Frozen pizza @user, it is horribly tasteless! #food 😷 5 https://t.co/a";

    fn texts(first: &str) -> Texts {
        Texts { first: first.to_owned(), second: None }
    }

    fn copies(text: &str, operation: Operation) -> Vec<String> {
        let how = Augmentation { operations: vec![operation], rate: 0.1 };
        let made = (1..=6).filter_map(|copy| how.copy(&texts(text), (42, "train:1", copy)));
        made.map(|(made, _)| made.first).collect()
    }

    #[test]
    fn each_operation_changes_what_it_says() {
        let first: BTreeMap<&str, String> = Operation::ALL
            .into_iter()
            .filter_map(|operation| Some((operation.name(), copies(TEXT, operation).into_iter().next()?)))
            .collect();
        let expected: [(&str, &str); 6] = [
            ("delete", "I will NOT purchase the Frozen @user, it is horribly tasteless! #food 😷 5 https://t.co/a"),
            (
                "insert",
                "I will NOT purchase the Frozen pizza @user, it is horribly tasteless! #food 😷 dreadfully 5 https://t.co/a",
            ),
            (
                "punctuation",
                "I will NOT purchase the Frozen pizza @user, it is horribly tasteless! ; #food 😷 5 https://t.co/a",
            ),
            ("swap", "I pizza NOT purchase the Frozen will @user, it is horribly tasteless! #food 😷 5 https://t.co/a"),
            (
                "synonym",
                "I will NOT purchase the Frozen pizza @user, it is dreadfully tasteless! #food 😷 5 https://t.co/a",
            ),
            ("typo", "I will NOT purchasr the Frozen pizza @user, it is horribly tasteless! #food 😷 5 https://t.co/a"),
        ];
        assert_eq!(first.iter().map(|(name, text)| (*name, text.as_str())).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_negates_and_what_it_negates_stay_together() {
        for operation in [Operation::Swap, Operation::Delete, Operation::Insert, Operation::Punctuation] {
            for made in copies("this is not a good movie, so buy another one", operation) {
                assert!(made.contains("not a good movie"), "{operation:?}: {made}");
            }
        }
    }

    #[test]
    fn a_text_that_nothing_can_change_has_no_copy() {
        let how = Augmentation { operations: vec![Operation::Swap, Operation::Delete, Operation::Synonym], rate: 0.5 };
        for text in ["", "   ", "@user", "no", "good", "not good at", "😷 :D 42"] {
            assert_eq!(how.copy(&texts(text), (1, "a", 1)), None, "{text}");
        }
    }

    #[test]
    fn a_pair_keeps_the_text_that_cannot_be_changed() {
        let how = Augmentation { operations: vec![Operation::Typo], rate: 0.1 };
        let pair = Texts { first: "A man".into(), second: Some("is in a market".into()) };
        let (made, operation) = how.copy(&pair, (1, "a", 1)).unwrap();
        assert_eq!((made.first.as_str(), operation), ("A man", Operation::Typo));
        assert_ne!(made.second, pair.second);
    }

    proptest! {
        #[test]
        fn protected_words_survive_and_a_copy_is_another_text(
            words in proptest::collection::vec("buy|purchase|Not|never|don't|@user|#tag|https://a.b|😷|42|movie|terribly|,|a|STORE!", 1..30),
            copy in 1_u64..1000,
            rate in 0.01..1.0,
        ) {
            let text = words.join(" ");
            let kept = |text: &str| {
                let mut kept: Vec<String> = text
                    .split(' ')
                    .filter(|word| ["Not", "never", "don't", "@user", "#tag", "https://a.b", "😷", "42"].contains(word))
                    .map(str::to_owned)
                    .collect();
                kept.sort();
                kept
            };
            let how = Augmentation { rate, ..Augmentation::default() };
            if let Some((made, operation)) = how.copy(&texts(&text), (7, "row", copy)) {
                prop_assert_ne!(&made.first, &text);
                prop_assert!(!made.first.trim().is_empty());
                prop_assert_eq!(kept(&made.first), kept(&text), "{:?} {}", operation, made.first);
                let again = how.copy(&texts(&text), (7, "row", copy));
                prop_assert_eq!(again, Some((made, operation)));
            }
        }
    }
}
