//! Markup that is no part of a text: HTML tags, `\u2019` escapes, and the quotes that a program put around a field.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::cleaning::Cleaning;
use crate::text::data::report::{Changed, Left};

/// The elements of HTML that texts have; `<user>` and `<3` are not markup.
static TAG: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let names = "a|abbr|article|aside|audio|b|big|blockquote|body|br|button|caption|center|cite|code|dd|del|div|dl|dt|em|\
                 embed|figcaption|figure|font|footer|form|h[1-6]|head|header|hr|html|i|iframe|img|input|ins|label|li|link|\
                 main|mark|meta|nav|object|ol|option|p|param|pre|q|s|script|section|select|small|source|span|strike|\
                 strong|style|sub|sup|svg|table|tbody|td|textarea|tfoot|th|thead|title|tr|tt|u|ul|video|wbr";
    let hidden = r"<!--.*?-->|<script\b[^>]*>.*?</script\s*>|<style\b[^>]*>.*?</style\s*>";
    Regex::new(&format!(r#"(?is){hidden}|</?({names})(?:\s[^<>]*)?/?>"#)).ok()
});
/// Elements within a line: `<b>bold</b>ly` is one word.
const INLINE: [&str; 24] = [
    "a", "abbr", "b", "big", "cite", "code", "del", "em", "font", "i", "ins", "mark", "q", "s", "small", "span",
    "strike", "strong", "sub", "sup", "tt", "u", "wbr", "label",
];
/// Several in a row, because two of them can be the halves of one character.
static ESCAPES: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?:\\u[0-9a-fA-F]{4})+|\\U[0-9a-fA-F]{8}").ok());

/// Remove what the specification says is markup.
pub(crate) fn strip<'a>(text: &'a str, spec: &Cleaning, changed: &mut Changed) -> Cow<'a, str> {
    let mut text = Cow::Borrowed(text);
    if spec.unwrap_quotes
        && let Some(inner) = unwrapped(&text)
    {
        changed.unwrapped_texts += 1;
        text = Cow::Owned(inner);
    }
    if spec.unescape_unicode && text.contains('\\') {
        text = Cow::Owned(unescape(&text, &mut changed.unicode_escapes));
    }
    if spec.strip_html && text.contains('<') {
        text = Cow::Owned(without_tags(&text, &mut changed.html_tags));
    }
    text
}

/// Count what looks like markup and is left because the specification does not mention it.
pub(crate) fn look(text: &str, spec: &Cleaning, left: &mut Left) {
    let has = |pattern: &LazyLock<Option<Regex>>| pattern.as_ref().is_some_and(|pattern| pattern.is_match(text));
    left.html += u64::from(!spec.strip_html && text.contains('<') && has(&TAG));
    left.escapes += u64::from(!spec.unescape_unicode && text.contains("\\u") && has(&ESCAPES));
    left.wrapped += u64::from(!spec.unwrap_quotes && text.ends_with('"') && unwrapped(text).is_some());
}

/// A text without the quotes that a CSV writer put around it because it has quotes, which are doubled. A text that is
/// only in quotes is a quotation, and stays.
fn unwrapped(text: &str) -> Option<String> {
    let inner = text.trim().strip_prefix('"')?.strip_suffix('"')?;
    if !inner.contains("\"\"") {
        return None;
    }
    let single = inner.split("\"\"").any(|part| part.contains('"'));
    (!single).then(|| inner.replace("\"\"", "\""))
}

fn unescape(text: &str, count: &mut u64) -> String {
    let Some(escapes) = ESCAPES.as_ref() else { return text.to_owned() };
    let replaced = escapes.replace_all(text, |found: &Captures| {
        let run = &found[0];
        if let Some(digits) = run.strip_prefix("\\U") {
            let letter = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
            *count += u64::from(letter.is_some());
            return letter.map_or_else(|| run.to_owned(), String::from);
        }
        let units = run.split("\\u").skip(1).filter_map(|digits| u16::from_str_radix(digits, 16).ok());
        let letters = char::decode_utf16(units).map(|letter| match letter {
            Ok(letter) => {
                *count += 1;
                letter.to_string()
            }
            // Half a character stays as it is written.
            Err(half) => format!("\\u{:04x}", half.unpaired_surrogate()),
        });
        letters.collect::<String>()
    });
    replaced.into_owned()
}

fn without_tags(text: &str, count: &mut u64) -> String {
    let Some(tag) = TAG.as_ref() else { return text.to_owned() };
    let replaced = tag.replace_all(text, |found: &Captures| {
        *count += 1;
        let is_inline = found.get(1).is_some_and(|name| INLINE.contains(&name.as_str().to_lowercase().as_str()));
        if is_inline { "" } else { "\n" }
    });
    replaced.into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stripped(text: &str, change: impl Fn(&mut Cleaning)) -> (String, Changed) {
        let mut spec = Cleaning::default();
        change(&mut spec);
        let mut changed = Changed::default();
        (strip(text, &spec, &mut changed).into_owned(), changed)
    }

    #[test]
    fn tags_of_html_go_and_what_only_looks_like_one_stays() {
        let strip = |text: &str| stripped(text, |spec| spec.strip_html = true);
        let (text, changed) = strip("good.<br /><br/>Bad <B>bo</B>ld <a href='x>y'>link</a><!-- no\nte --> &lt;p&gt;");
        assert_eq!(text, "good.\n\nBad bold y'>link\n &lt;p&gt;");
        assert_eq!(changed.html_tags, 7);
        assert_eq!(strip("a<script src=x>if (a < b) {}</script>b<p class=\"c\">d").0, "a\nb\nd");
        for text in ["I <3 you", "<user> said <url>", "a < b > c", "x <- y", "<bravo>", "< br>"] {
            assert_eq!(strip(text).0, text);
        }
        assert_eq!(stripped("a<br />", |_| ()).0, "a<br />");
    }

    #[test]
    fn escapes_become_the_characters_that_they_stand_for() {
        let unescape = |text: &str| stripped(text, |spec| spec.unescape_unicode = true);
        let (text, changed) = unescape(r"don\u2019t\u002c ok \ud83d\ude00 \U0001F600 \u20 \ud83d! C:\users");
        assert_eq!(text, r"don’t, ok 😀 😀 \u20 \ud83d! C:\users");
        assert_eq!(changed.unicode_escapes, 4);
        assert_eq!(stripped(r"\u2019", |_| ()).0, r"\u2019");
    }

    #[test]
    fn a_field_that_a_csv_writer_wrapped_is_unwrapped_and_a_quotation_is_not() {
        let unwrap = |text: &str| stripped(text, |spec| spec.unwrap_quotes = true).0;
        assert_eq!(unwrap(r#""She said ""no"" again""#), r#"She said "no" again"#);
        assert_eq!(unwrap(r#" """Hello""" "#), r#""Hello""#);
        for text in [r#""So it goes""#, r#""a" and "b""#, r#""a ""b"" c" d"#, r#"""#, r#""""#, r#"say ""no"""#] {
            assert_eq!(unwrap(text), text);
        }
    }

    #[test]
    fn what_is_left_is_counted() {
        let mut left = Left::default();
        let mut spec = Cleaning::default();
        for text in ["a<br>b", r"don\u2019t", r#""x ""y"" z""#, "plain", "<3"] {
            look(text, &spec, &mut left);
        }
        assert_eq!(left, Left { html: 1, escapes: 1, wrapped: 1 });
        spec.strip_html = true;
        look("a<br>b", &spec, &mut left);
        assert_eq!(left.html, 1);
    }
}
