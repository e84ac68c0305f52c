//! What is in a text that may make it harder: links, mentions, hashtags, emoji, negation, capitals.

use crate::text::words::{folded, is_link, is_negator, words};

/// A property of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mark {
    /// `http://…`, `https://…`, `www.…`, or the word `http`, which cleaned tweets have in place of links.
    Url,
    /// A word `@name`.
    Mention,
    /// A word `#name`.
    Hashtag,
    /// A pictograph, a symbol of the blocks for them, or a flag.
    Emoji,
    /// A word such as `not`, `never`, `don't`, `without`.
    Negation,
    /// Two or more words of at least three letters, all of them capitals; not those of links, mentions and hashtags.
    Capitals,
}

impl Mark {
    pub const ALL: [Mark; 6] = [Mark::Url, Mark::Mention, Mark::Hashtag, Mark::Emoji, Mark::Negation, Mark::Capitals];

    /// As columns of tables are called.
    pub fn name(self) -> &'static str {
        match self {
            Mark::Url => "url",
            Mark::Mention => "mention",
            Mark::Hashtag => "hashtag",
            Mark::Emoji => "emoji",
            Mark::Negation => "negation",
            Mark::Capitals => "capitals",
        }
    }

    pub fn is_in(self, text: &str) -> bool {
        match self {
            Mark::Url => text.split_whitespace().any(is_url),
            Mark::Mention => names(text, '@'),
            Mark::Hashtag => names(text, '#'),
            Mark::Emoji => text.chars().any(is_emoji),
            Mark::Negation => words(text).any(|word| is_negator(&folded(word))),
            Mark::Capitals => {
                let plain = words(text).filter(|word| !word.starts_with(['@', '#']));
                plain.filter(|word| is_shouted(word)).count() >= 2
            }
        }
    }
}

/// Number of words, split at white space.
pub fn length(text: &str) -> usize {
    text.split_whitespace().count()
}

fn is_url(chunk: &str) -> bool {
    is_link(chunk) || chunk.eq_ignore_ascii_case("http")
}

/// Whether a word of the text is this sign and a name. The sign within a word, as in an e-mail address, is none.
fn names(text: &str, sign: char) -> bool {
    let mut before = ' ';
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let begins = !before.is_alphanumeric() && before != '_' && before != sign;
        if letter == sign && begins && letters.peek().is_some_and(|next| next.is_alphanumeric() || *next == '_') {
            return true;
        }
        before = letter;
    }
    false
}

fn is_emoji(letter: char) -> bool {
    matches!(u32::from(letter), 0x1F1E6..=0x1F1FF | 0x1F300..=0x1FAFF | 0x2600..=0x27BF | 0x2B50 | 0x2B55 | 0x231A | 0x231B)
}

fn is_shouted(word: &str) -> bool {
    word.chars().filter(|c| c.is_alphabetic()).count() >= 3 && !word.chars().any(char::is_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(text: &str) -> Vec<&'static str> {
        Mark::ALL.into_iter().filter(|mark| mark.is_in(text)).map(Mark::name).collect()
    }

    #[test]
    fn a_text_has_the_marks_that_a_reader_sees() {
        assert_eq!(marks("Toilet paper is back"), [""; 0]);
        assert_eq!(marks("see https://t.co/x"), ["url"]);
        assert_eq!(marks("see WWW.shop.com and http"), ["url"]);
        assert_eq!(marks("(@user) thanks"), ["mention"]);
        assert_eq!(marks("write to me@mail.com, @ home, a#b, # 1"), [""; 0]);
        assert_eq!(marks("#COVID #STAYHOME #SAFE"), ["hashtag"]);
        assert_eq!(marks("great 😀"), ["emoji"]);
        assert_eq!(marks("I don’t know"), ["negation"]);
        assert_eq!(marks("NOTHING left"), ["negation"]);
        assert_eq!(marks("nothingness, knot, notable"), [""; 0]);
        assert_eq!(marks("STAY HOME"), ["capitals"]);
        assert_eq!(marks("the USA and COVID-19"), ["capitals"]);
        assert_eq!(marks("the USA, OK, UK and @ALLCAPS"), ["mention"]);
    }

    #[test]
    fn every_text_can_be_looked_at() {
        for text in ["", " ", "@", "#", "@@", "'", "\u{0}", "’’", "😀", "https://"] {
            let _ = marks(text);
        }
        assert_eq!((length(""), length(" a  b\nc ")), (0, 3));
    }
}
