//! Repairs and cleans texts, and computes the key by which two texts count as the same.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

use super::cleaning::Cleaning;
use super::markup::strip;
use crate::text::data::declare::spec::{Normalise, Treatment};
use crate::text::data::report::Changed;

/// Matches everything from a scheme or `www.` to the next white space.
static URL: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"(?i)\bhttps?://\S+|\bwww\.\S+").ok());
/// Matches an `@name` that is not inside an address.
static MENTION: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\B@\w+").ok());
static REFERENCE: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"&(?:#([0-9]{1,7})|#[xX]([0-9a-fA-F]{1,6})|([a-zA-Z]{2,8}));").ok());

/// The characters of bytes 0x80 to 0x9F in Windows-1252; NUL for undefined bytes.
const HIGH: [char; 32] = [
    '€', '\0', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\0', 'Ž', '\0', '\0', '‘', '’', '“', '”', '•',
    '–', '—', '˜', '™', 'š', '›', 'œ', '\0', 'ž', 'Ÿ',
];

/// Named references that occur in tweets; others stay unchanged.
const NAMED: [(&str, char); 22] = [
    ("amp", '&'),
    ("lt", '<'),
    ("gt", '>'),
    ("quot", '"'),
    ("apos", '\''),
    ("nbsp", '\u{A0}'),
    ("hellip", '…'),
    ("lsquo", '‘'),
    ("rsquo", '’'),
    ("ldquo", '“'),
    ("rdquo", '”'),
    ("ndash", '–'),
    ("mdash", '—'),
    ("bull", '•'),
    ("middot", '·'),
    ("pound", '£'),
    ("euro", '€'),
    ("cent", '¢'),
    ("copy", '©'),
    ("reg", '®'),
    ("trade", '™'),
    ("deg", '°'),
];

/// The character of a Windows-1252 byte, or `None` for the five undefined bytes.
pub(crate) fn windows_1252(byte: u8) -> Option<char> {
    match byte {
        0x80..=0x9F => Some(HIGH[usize::from(byte - 0x80)]).filter(|letter| *letter != '\0'),
        _ => Some(char::from(byte)),
    }
}

/// The Windows-1252 byte of a non-ASCII character; C1 controls count as the byte with their number.
fn windows_1252_byte(letter: char) -> Option<u8> {
    match letter as u32 {
        code @ 0x80..=0xFF => Some(code as u8),
        _ => HIGH.iter().position(|high| *high == letter && letter != '\0').map(|at| at as u8 + 0x80),
    }
}

impl Cleaning {
    /// A text as training saw it.
    pub fn apply(&self, text: &str) -> String {
        clean(text, self, &mut Changed::default())
    }
}

/// Clean a text as the specification says, and count the changes.
pub(crate) fn clean(text: &str, spec: &Cleaning, changed: &mut Changed) -> String {
    let mut text = strip(text, spec, changed);
    if spec.repair_encoding && !text.is_ascii() {
        text = Cow::Owned(repair(&text, changed));
    }
    if spec.unescape_html && text.contains('&') {
        text = Cow::Owned(unescape(&text, &mut changed.html_references));
    }
    if spec.urls != Treatment::Keep {
        text = Cow::Owned(treat(&text, URL.as_ref(), &spec.urls, &mut changed.urls));
    }
    if spec.mentions != Treatment::Keep {
        text = Cow::Owned(treat(&text, MENTION.as_ref(), &spec.mentions, &mut changed.mentions));
    }
    if spec.collapse_whitespace {
        let collapsed = collapse(&text);
        changed.collapsed_texts += u64::from(collapsed != text);
        text = Cow::Owned(collapsed);
    }
    match spec.normalise {
        Some(Normalise::TwitterRoberta) => twitter_roberta(&text, changed),
        None => text.into_owned(),
    }
}

/// Source: `preprocess` in the model card of `cardiffnlp/twitter-roberta-base-sentiment`.
fn twitter_roberta(text: &str, changed: &mut Changed) -> String {
    let words = text.split(' ').map(|word| {
        if word.starts_with('@') && word.len() > 1 {
            changed.mentions += 1;
            "@user"
        } else if word.starts_with("http") {
            changed.urls += 1;
            "http"
        } else {
            word
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The key by which texts are compared: no case, no URLs, single spaces. Links differ each time a tweet is shared.
pub(crate) fn key(text: &str) -> String {
    let lower = text.to_lowercase();
    let bare = URL.as_ref().map_or(Cow::Borrowed(lower.as_str()), |url| url.replace_all(&lower, " "));
    let key = collapse(&bare);
    // If a text consists only of links, the links are its key.
    if key.is_empty() { collapse(&lower) } else { key }
}

/// The key of a row: equal only if its text, or both texts of its pair, count as the same.
pub(crate) fn row_key(text: &str, pair: Option<&str>) -> String {
    let first = key(text);
    match pair {
        // With the length of the first, pairs are equal only if both of their texts are.
        Some(pair) => format!("{} {first}{}", first.len(), key(pair)),
        None => first,
    }
}

/// Undo wrong decoding: UTF-8 decoded as Windows-1252 or Latin-1, and Windows-1252 decoded as Latin-1.
fn repair(text: &str, changed: &mut Changed) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(letter) = rest.next() {
        if let Some((decoded, used)) = decoded_again(letter, rest.as_str()) {
            changed.wrongly_decoded += 1;
            out.extend(meant(decoded));
            rest = rest.as_str()[used..].chars();
        } else if matches!(letter, '\u{80}'..='\u{9F}') {
            changed.control_characters += 1;
            out.extend(meant(letter));
        } else {
            out.push(letter);
        }
    }
    out
}

/// The Windows-1252 character with the number of a C1 control character, if there is one.
fn meant(letter: char) -> Option<char> {
    match letter {
        '\u{80}'..='\u{9F}' => windows_1252(letter as u8),
        other => Some(other),
    }
}

/// The character whose UTF-8 bytes, decoded as Windows-1252, are `lead` and the next letters, and the length of those
/// letters in bytes.
///
/// Only the four leads that occur in practice (`Â`, `Ã`, `â`, `ð`) are tried: `É™` may be intended.
fn decoded_again(lead: char, rest: &str) -> Option<(char, usize)> {
    let length = match lead {
        'Â' | 'Ã' => 2,
        'â' => 3,
        'ð' => 4,
        _ => return None,
    };
    let mut bytes = [lead as u8, 0, 0, 0];
    let mut used = 0;
    let mut letters = rest.chars();
    for byte in &mut bytes[1..length] {
        let letter = letters.next()?;
        *byte = windows_1252_byte(letter).filter(|byte| (0x80..=0xBF).contains(byte))?;
        used += letter.len_utf8();
    }
    let decoded = std::str::from_utf8(&bytes[..length]).ok()?.chars().next()?;
    Some((decoded, used))
}

fn unescape(text: &str, count: &mut u64) -> String {
    let Some(reference) = REFERENCE.as_ref() else { return text.to_owned() };
    let replaced = reference.replace_all(text, |found: &regex::Captures| {
        let number =
            |at: usize, radix| found.get(at).and_then(|digits| u32::from_str_radix(digits.as_str(), radix).ok());
        let letter = match number(1, 10).or_else(|| number(2, 16)) {
            // In HTML, 128 to 159 are Windows-1252.
            Some(code @ 0x80..=0x9F) => windows_1252(code as u8),
            Some(code) => char::from_u32(code).filter(|letter| !letter.is_control() || letter.is_whitespace()),
            None => NAMED.iter().find(|(name, _)| found.get(3).is_some_and(|it| it.as_str() == *name)).map(|it| it.1),
        };
        match letter {
            Some(letter) => {
                *count += 1;
                letter.to_string()
            }
            None => found[0].to_owned(),
        }
    });
    replaced.into_owned()
}

fn treat(text: &str, pattern: Option<&Regex>, treatment: &Treatment, count: &mut u64) -> String {
    let token = match treatment {
        Treatment::Keep => return text.to_owned(),
        Treatment::Drop => "",
        Treatment::Token(token) => token,
    };
    let Some(pattern) = pattern else { return text.to_owned() };
    let replaced = pattern.replace_all(text, |_: &regex::Captures| {
        *count += 1;
        token.to_owned()
    });
    replaced.into_owned()
}

fn collapse(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::text::data::Spec;

    fn cleaned(text: &str, change: impl Fn(&mut Cleaning)) -> (String, Changed) {
        let mut spec = Spec::new(Vec::new()).cleaning();
        change(&mut spec);
        let mut changed = Changed::default();
        (clean(text, &spec, &mut changed), changed)
    }

    fn plain(text: &str) -> String {
        cleaned(text, |_| ()).0
    }

    #[test]
    fn control_characters_become_what_they_stood_for() {
        let (text, changed) = cleaned("don\u{92}t \u{93}x\u{94} \u{96} wait\u{85} \u{81}", |_| ());
        assert_eq!(text, "don’t “x” – wait…");
        assert_eq!(changed.control_characters, 6);
    }

    #[test]
    fn wrong_decoding_is_undone() {
        assert_eq!(plain("donÂ’t"), "don’t");
        assert_eq!(plain("donÂ\u{92}t"), "don’t");
        assert_eq!(plain("donâ€™t"), "don’t");
        assert_eq!(plain("cafÃ© Â£5 ðŸ˜€"), "café £5 😀");
        assert_eq!(cleaned("donÂ’t", |_| ()).1.wrongly_decoded, 1);
    }

    #[test]
    fn right_accents_stay() {
        for text in ["São Paulo, Âge, âme, Zürich £5 ’", "CAFÉ™", "naïve Ã la"] {
            assert_eq!(plain(text), text);
        }
    }

    #[test]
    fn repair_can_be_left_out() {
        assert_eq!(cleaned("donÂ’t\u{92}", |spec| spec.repair_encoding = false).0, "donÂ’t\u{92}");
    }

    #[test]
    fn html_references_are_replaced_once() {
        let (text, changed) = cleaned("a &amp; b &lt;3 &#39;x&#x2019; &#146; &amp;lt; &foo; &#0; R&D;", |_| ());
        assert_eq!(text, "a & b <3 'x’ ’ &lt; &foo; &#0; R&D;");
        assert_eq!(changed.html_references, 6);
    }

    #[test]
    fn white_space_becomes_single_spaces() {
        let (text, changed) = cleaned(" one\r\r\n two\u{A0}\t three\r", |_| ());
        assert_eq!((text.as_str(), changed.collapsed_texts), ("one two three", 1));
        assert_eq!(cleaned("a\r\r\nb ", |spec| spec.collapse_whitespace = false).0, "a\r\r\nb ");
    }

    #[test]
    fn urls_and_mentions_are_kept_dropped_or_replaced() {
        let text = "@Jo_1 see https://t.co/x,y me@home.org www.a.b";
        assert_eq!(plain(text), text);
        let (dropped, changed) = cleaned(text, |spec| {
            spec.urls = Treatment::Drop;
            spec.mentions = Treatment::Token("@user".to_owned());
        });
        assert_eq!(dropped, "@user see me@home.org");
        assert_eq!((changed.urls, changed.mentions), (2, 1));
    }

    #[test]
    fn texts_are_rewritten_as_for_twitter_roberta() {
        let rewritten = |text: &str| {
            cleaned(text, |spec| {
                spec.normalise = Some(Normalise::TwitterRoberta);
                (spec.collapse_whitespace, spec.unescape_html, spec.repair_encoding) = (false, false, false);
            })
        };
        // The results of the function in the model card.
        for (text, expected) in [
            ("", ""),
            ("@Jo_1: see https://t.co/x,y now", "@user see http now"),
            ("@ (@me) .@you a@b @@ @é", "@ (@me) .@you a@b @user @user"),
            ("httpful HTTP://x www.a.b (http://c)", "http HTTP://x www.a.b (http://c)"),
            ("  @a  http  ", "  @user  http  "),
            ("@a\nline two\thttp://x", "@user two\thttp://x"),
            ("@user http &amp;", "@user http &amp;"),
        ] {
            assert_eq!(rewritten(text).0, expected, "{text:?}");
        }
        let changed = rewritten("@a @b http://c").1;
        assert_eq!((changed.mentions, changed.urls), (2, 1));
        // It runs after the other cleaning, which has already turned line breaks into spaces.
        let after = cleaned("@a\nhttp://x &#64;b", |spec| spec.normalise = Some(Normalise::TwitterRoberta)).0;
        assert_eq!(after, "@user http @user");
    }

    #[test]
    fn keys_ignore_case_space_and_links() {
        assert_eq!(key("Buy  NOW https://t.co/a"), key("buy now\nhttps://t.co/b"));
        assert_ne!(key("https://t.co/a"), key("https://t.co/b"));
    }

    proptest! {
        #[test]
        fn cleaning_twice_changes_nothing_more(text in "[a-zÂâÃð€™’\u{80}-\u{9F} \r\n@:/.]{0,40}") {
            let spec = |spec: &mut Cleaning| spec.repair_encoding = false;
            let once = cleaned(&text, spec).0;
            prop_assert_eq!(cleaned(&once, spec).0, once);
        }

        #[test]
        fn repair_leaves_no_control_characters(text in "[a-zÂâÃ€™’\u{80}-\u{9F} ]{0,40}") {
            let left = plain(&text).chars().filter(|letter| matches!(letter, '\u{80}'..='\u{9F}')).count();
            prop_assert_eq!(left, 0);
        }
    }
}
