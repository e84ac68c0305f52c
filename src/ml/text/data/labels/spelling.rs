//! How labels are spelt: what is trimmed from them, and which two probably mean one class.

/// Number of labels that a message names; it only counts the rest.
pub(crate) const LISTED: usize = 10;

/// Letters of a label that a message shows.
const SHOWN: usize = 60;

/// A typing error changes this many letters of a name of this length; in shorter names, other letters are other names.
const TYPO: [(usize, usize); 2] = [(4, 1), (9, 2)];

/// A label without white space and invisible characters at its ends.
pub(crate) fn tidy(label: &str) -> &str {
    label.trim_matches(|letter: char| letter.is_whitespace() || letter.is_control() || is_invisible(letter))
}

/// Characters without a width of their own. Variation selectors are not among them: they end emoji.
fn is_invisible(letter: char) -> bool {
    matches!(letter,
        '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180B}'..='\u{180F}'
        | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FEFF}'
        | '\u{FFA0}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}')
}

/// A label as messages show it, in backquotes.
pub(crate) fn quoted(label: &str) -> String {
    format!("`{}`", shown(label))
}

/// A label short enough for a line, and with invisible characters as `\u{200b}`.
pub(crate) fn shown(label: &str) -> String {
    let mut out = String::new();
    for letter in label.chars().take(SHOWN) {
        if letter.is_control() || is_invisible(letter) || (letter.is_whitespace() && letter != ' ') {
            out.extend(letter.escape_unicode());
        } else {
            out.push(letter);
        }
    }
    if label.chars().nth(SHOWN).is_some() {
        out.push('…');
    }
    out
}

/// A label as a pipeline file has it; a key may be in quotes as well.
pub(crate) fn toml(label: &str) -> String {
    let mut out = String::from("\"");
    for letter in label.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            _ if letter.is_control() || is_invisible(letter) => out.push_str(&format!("\\U{:08X}", letter as u32)),
            _ => out.push(letter),
        }
    }
    out.push('"');
    out
}

/// Labels as messages list them; the rest is counted.
pub(crate) fn listed<'a>(labels: impl ExactSizeIterator<Item = &'a str>, most: usize) -> String {
    let more = labels.len().saturating_sub(most);
    let mut out = labels.take(most).map(quoted).collect::<Vec<_>>().join(", ");
    if more > 0 {
        out.push_str(&format!(" and {more} more"));
    }
    out
}

/// The value of a label that is a number in decimal notation: `0`, `-1`, `2.50`. Codes such as `007` are not numbers.
pub(crate) fn number(label: &str) -> Option<f64> {
    let digits = label.strip_prefix('-').unwrap_or(label);
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    let all = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_code = whole.len() > 1 && whole.starts_with('0');
    // -0 is 0.
    (all(whole) && all(part) && !is_code).then(|| label.parse().ok()).flatten().map(|value: f64| value + 0.0)
}

/// Why two different labels may mean one class; `rare` says that one of them has few rows.
pub(crate) fn alike(one: &str, two: &str, rare: bool) -> Option<&'static str> {
    if one.to_lowercase() == two.to_lowercase() {
        return Some("differ only in upper and lower case");
    }
    if one.parse::<f64>().is_ok_and(|value| two.parse() == Ok(value)) {
        return Some("are the same number");
    }
    if bare(one) == bare(two) && !bare(one).is_empty() {
        return Some("differ only in white space, punctuation or invisible characters");
    }
    (rare && is_typo(one, two)).then_some("are spelt almost alike")
}

/// The letters and digits of a label.
fn bare(label: &str) -> String {
    label.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn is_typo(one: &str, two: &str) -> bool {
    let (one, two) = (one.to_lowercase(), two.to_lowercase());
    let letters = |text: &str| text.chars().filter(|letter| !letter.is_numeric()).collect::<String>();
    // `class 1` and `class 2` are two classes.
    if letters(&one) == letters(&two) {
        return false;
    }
    let (short, long) = (one.chars().count().min(two.chars().count()), one.len().max(two.len()));
    let allowed = TYPO.iter().rev().find(|(length, _)| short >= *length).map_or(0, |(_, changes)| *changes);
    // Comparing very long names takes long, and they are no typing errors.
    allowed > 0 && long <= 200 && strsim::osa_distance(&one, &two) <= allowed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_a_label_are_trimmed_of_what_nobody_sees() {
        for label in ["yes", " yes\r", "\u{FEFF}yes", "yes\u{200B}", "\0yes\0", "\u{A0}yes\u{2060} \u{200B}"] {
            assert_eq!(tidy(label), "yes", "{label:?}");
        }
        for label in ["❤\u{FE0F}", "a\u{200B}b", "très bien"] {
            assert_eq!(tidy(label), label);
        }
        assert_eq!(quoted("a\u{200B}b\tc d"), "`a\\u{200b}b\\u{9}c d`");
        assert_eq!(toml("a\u{200B}\"b"), r#""a\U0000200B\"b""#);
    }

    #[test]
    fn decimal_numbers_have_a_value_and_codes_have_none() {
        for (label, value) in [("0", 0.0), ("0.0", 0.0), ("-0", 0.0), ("-1.50", -1.5), ("11", 11.0)] {
            assert_eq!(number(label), Some(value), "{label}");
        }
        assert!(number("-0").is_some_and(f64::is_sign_positive));
        for label in ["", "-", "007", "1e3", "inf", "nan", "1.", ".5", "1.2.3", "+1", "1,5", "½"] {
            assert_eq!(number(label), None, "{label}");
        }
    }

    #[test]
    fn what_is_alike_is_told_and_what_is_not_is_left_alone() {
        assert_eq!(alike("Positive", "positive", false), Some("differ only in upper and lower case"));
        assert_eq!(alike("01", "1", false), Some("are the same number"));
        let spaces = Some("differ only in white space, punctuation or invisible characters");
        assert_eq!(alike("very good", "very-good", false), spaces);
        assert_eq!(alike("neg\u{200B}ative", "negative", false), spaces);
        assert_eq!(alike("postive", "positive", true), Some("are spelt almost alike"));
        assert_eq!(alike("Extremly Negatve", "Extremely Negative", true), Some("are spelt almost alike"));
        assert_eq!(alike("postive", "positive", false), None);
        for (one, two) in [("class 1", "class 2"), ("no", "yes"), ("pos", "neg"), ("joy", "toy"), (":)", ":(")] {
            assert_eq!(alike(one, two, true), None, "{one} {two}");
        }
        assert_eq!(alike("Extremely Negative", "Extremely Positive", true), None);
        assert_eq!(alike("positive", "negative", true), None);
    }
}
