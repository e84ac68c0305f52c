//! The words of a text, by which near-duplicates are found and typical words are counted.

/// The words of a text, in order.
///
/// Links are left out. `#tag`, `@name`, `don't` and `covid-19` are one word each; a letter of a script without spaces
/// (Chinese, Japanese) is a word of its own. Emoji and other signs are none.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_whitespace().filter(|chunk| !is_link(chunk)).flat_map(|chunk| Pieces { rest: chunk })
}

/// A word as it is compared: lower case, with a straight apostrophe.
pub fn folded(word: &str) -> String {
    word.chars().flat_map(char::to_lowercase).map(straight).collect()
}

/// The same character for both kinds of apostrophe.
pub(crate) fn straight(letter: char) -> char {
    if letter == '’' { '\'' } else { letter }
}

/// Whether a piece of text without white space is a link.
pub(crate) fn is_link(chunk: &str) -> bool {
    let chunk = chunk.trim_start_matches(|letter: char| !letter.is_alphanumeric());
    let starts = |start: &str| chunk.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start));
    starts("http://") || starts("https://") || starts("www.")
}

/// Words that negate. Contractions with `n't` are negators too.
const NEGATORS: [&str; 30] = [
    "no", "not", "nor", "neither", "never", "none", "nobody", "nothing", "nowhere", "cannot", "without", "hardly",
    "barely", "scarcely", "rarely", "seldom", "lack", "lacks", "lacking", "ain't", "aint", "cant", "dont", "doesnt",
    "didnt", "isnt", "wasnt", "wont", "wouldnt", "shouldnt",
];

/// Whether a word negates what follows; the word as [`folded`] gives it.
pub(crate) fn is_negator(word: &str) -> bool {
    NEGATORS.contains(&word) || word.ends_with("n't")
}

/// The words of a piece of text without white space.
struct Pieces<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let start = self.rest.find(is_letter)?;
        // The sign of a hashtag or a mention belongs to its word; both signs are one byte.
        let sign = self.rest[..start].ends_with(['#', '@']);
        let from = if sign { start - 1 } else { start };
        let word = &self.rest[from..from + length(&self.rest[from..], usize::from(sign))];
        self.rest = &self.rest[from + word.len()..];
        Some(word)
    }
}

/// The bytes of the word at the beginning of a text, whose sign takes `sign` bytes.
fn length(text: &str, sign: usize) -> usize {
    let mut letters = text[sign..].char_indices().map(|(at, letter)| (sign + at, letter)).peekable();
    let mut end = sign;
    let mut before = ' ';
    while let Some((at, letter)) = letters.next() {
        if stands_alone(letter) && at > sign {
            break; // The next word.
        }
        let joins = matches!(letter, '\'' | '’' | '-' | '_' | '\u{200C}' | '\u{200D}');
        if is_letter(letter) {
            end = at + letter.len_utf8();
        } else {
            let is_within = joins && is_letter(before) && letters.peek().is_some_and(|(_, next)| is_letter(*next));
            let is_of_name = letter == '_' && sign > 0;
            if !is_within && !is_of_name {
                break;
            }
        }
        if stands_alone(letter) {
            break;
        }
        before = letter;
    }
    end
}

/// A letter or a digit, or a mark that belongs to the letter before it.
fn is_letter(letter: char) -> bool {
    if letter.is_ascii() {
        return letter.is_ascii_alphanumeric();
    }
    letter.is_alphanumeric()
        || matches!(letter,
            '\u{300}'..='\u{36F}' | '\u{483}'..='\u{489}' | '\u{591}'..='\u{5BD}' | '\u{610}'..='\u{61A}'
            | '\u{64B}'..='\u{65F}' | '\u{900}'..='\u{963}' | '\u{966}'..='\u{DF3}' | '\u{E31}'..='\u{E3A}'
            | '\u{E47}'..='\u{E4E}' | '\u{1AB0}'..='\u{1AFF}' | '\u{1DC0}'..='\u{1DFF}' | '\u{20D0}'..='\u{20FF}')
}

/// Whether a letter is of a script that puts no spaces between words.
fn stands_alone(letter: char) -> bool {
    matches!(letter, '\u{3040}'..='\u{30FF}' | '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}'
        | '\u{F900}'..='\u{FAFF}' | '\u{20000}'..='\u{3134F}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<&str> {
        words(text).collect()
    }

    #[test]
    fn words_of_tweets_keep_their_signs_and_lose_links() {
        assert_eq!(
            of("RT @some_one: Don’t panic-buy (COVID-19)!! #stay_home https://t.co/x WWW.a.b \"rock 'n' roll\""),
            ["RT", "@some_one", "Don’t", "panic-buy", "COVID-19", "#stay_home", "rock", "n", "roll"]
        );
        assert_eq!(of("a--b c- -d e_f @ # #_ x@y"), ["a", "b", "c", "d", "e_f", "x", "@y"]);
        assert_eq!(folded("DON’T"), "don't");
    }

    #[test]
    fn other_scripts_have_words_too_and_signs_have_none() {
        assert_eq!(of("我爱你 kaffee日本"), ["我", "爱", "你", "kaffee", "日", "本"]);
        assert_eq!(of("مرحبا بالعالم हिन्दी"), ["مرحبا", "بالعالم", "हिन्दी"]);
        assert!(of("😷😷 … !!! https://t.co/a").is_empty());
    }
}
