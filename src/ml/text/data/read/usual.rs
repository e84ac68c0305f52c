//! What columns are usually called: the one table for everything that tells columns by their names.

/// Columns with texts, the most telling name first.
pub(crate) const TEXTS: [&str; 17] = [
    "text",
    "tweet",
    "originaltweet",
    "sentence",
    "review",
    "review_text",
    "content",
    "message",
    "comment",
    "body",
    "clean_text",
    "document",
    "headline",
    "title",
    "premise",
    "texts",
    "tweets",
];

/// Columns with labels, the most telling name first.
pub(crate) const LABELS: [&str; 14] = [
    "label",
    "labels",
    "sentiment",
    "class",
    "category",
    "target",
    "polarity",
    "emotion",
    "intent",
    "airline_sentiment",
    "rating",
    "stars",
    "score",
    "label_text",
];

/// The two columns of pairs of texts, the most telling first.
pub(crate) const PAIRS: [(&str, &str); 12] = [
    ("sentence1", "sentence2"),
    ("sentence_1", "sentence_2"),
    ("premise", "hypothesis"),
    ("text1", "text2"),
    ("text_1", "text_2"),
    ("text_a", "text_b"),
    ("question1", "question2"),
    ("text", "text_pair"),
    ("question", "sentence"),
    ("question", "answer"),
    ("query", "passage"),
    ("claim", "evidence"),
];

/// Columns that say what a row is for.
pub(crate) const SPLITS: [&str; 5] = ["split", "partition", "subset", "set", "fold"];

/// Whether this is one of the names, in any case.
pub(crate) fn is_among(name: &str, names: &[&str]) -> bool {
    names.contains(&name.trim().to_lowercase().as_str())
}

/// The position of the column with the most telling of the names.
pub(crate) fn position(columns: &[&str], names: &[&str]) -> Option<usize> {
    names.iter().find_map(|name| columns.iter().position(|column| column.trim().to_lowercase() == *name))
}

/// The positions of two columns with pairs of texts. Both names have to be there: a file with `sentence2` alone has
/// single texts.
pub(crate) fn pair(columns: &[&str]) -> Option<(usize, usize)> {
    PAIRS.iter().find_map(|(first, second)| Some((position(columns, &[first])?, position(columns, &[second])?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_telling_name_wins_in_any_case() {
        assert_eq!(position(&["title", "Tweet", "label"], &TEXTS), Some(1));
        assert_eq!(position(&["label_text", "LABEL"], &LABELS), Some(1));
        assert_eq!(position(&["a", "b"], &TEXTS), None);
        assert!(is_among(" Sentiment ", &LABELS) && !is_among("", &LABELS));
    }
}
