//! Masks secrets in everything that is printed: tokens and passwords from the environment, and credentials in URLs.
//!
//! Everything that `report` and `cli` write goes through [`write()`]. Only data is written unchanged ([`write_as_is`]):
//! the output of `predict`, which must contain each text as it was read, and the folders of `cache path`, which scripts
//! use.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::OnceLock;

/// Suffixes of the names of variables whose values are secret.
const NAMES: [&str; 7] = ["TOKEN", "SECRET", "PASSWORD", "PASSWD", "API_KEY", "ACCESS_KEY", "CREDENTIALS"];

/// Substrings of the names of query parameters whose values are secret, including those of signed links to object
/// stores.
const PARAMETERS: [&str; 6] = ["token", "secret", "passw", "key", "sig", "cred"];

/// Shorter values occur as ordinary words, and would be weak secrets anyway.
const SHORTEST: usize = 8;

/// The most bytes read from a token file, which holds one line.
const LONGEST_FILE: u64 = 4096;

const MASK: &str = "***";

/// Write a text with its secrets masked, and flush.
pub fn write(out: &mut impl Write, text: &str) -> io::Result<()> {
    out.write_all(masked(text).as_bytes())?;
    out.flush()
}

/// Write a text unchanged, and flush: for data that must come out as it went in.
pub fn write_as_is(out: &mut impl Write, text: &str) -> io::Result<()> {
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// The text with `***` in place of every secret.
pub fn masked(text: &str) -> Cow<'_, str> {
    Secrets::of_process().masked(text)
}

/// Like [`masked`], but with one `*` per byte, so that positions in the text stay the same.
pub fn starred(text: &str) -> Cow<'_, str> {
    Secrets::of_process().starred(text)
}

/// The values to mask.
struct Secrets(Vec<String>);

impl Secrets {
    fn of_process() -> &'static Self {
        static SECRETS: OnceLock<Secrets> = OnceLock::new();
        SECRETS.get_or_init(|| {
            let text = |value: std::ffi::OsString| value.to_string_lossy().into_owned();
            let variables: Vec<(String, String)> = std::env::vars_os().map(|(n, v)| (text(n), text(v))).collect();
            let files = token_files(&variables);
            Self::of(variables, files.into_iter().filter_map(start_of))
        })
    }

    /// The secrets in variables and in the texts of token files.
    fn of(variables: impl IntoIterator<Item = (String, String)>, files: impl IntoIterator<Item = String>) -> Self {
        let mut all: Vec<String> = files.into_iter().collect();
        for (name, value) in variables {
            let name = name.to_uppercase();
            if NAMES.iter().any(|end| name.ends_with(end)) {
                all.push(value);
            } else if name.ends_with("_PROXY") || name.ends_with("_ENDPOINT") {
                // `user:password@host`, with or without a scheme; `in_urls` only finds URLs with one.
                let rest = value.split_once("://").map_or(value.as_str(), |(_, rest)| rest);
                let user = rest.rsplit_once('@').map(|(user, _)| user);
                all.extend(user.map(str::to_owned));
                all.extend(user.and_then(|user| user.split_once(':')).map(|(_, password)| password.to_owned()));
            }
        }
        // A key of several lines is masked line by line; JSON escapes some characters.
        let lines = all.iter().flat_map(|value| value.lines().map(|line| line.trim().to_owned()));
        let mut secrets: Vec<String> = lines.filter(|line| line.chars().count() >= SHORTEST).collect();
        let escaped = secrets.iter().filter_map(|s| Some(serde_json::to_string(s).ok()?.trim_matches('"').to_owned()));
        secrets.extend(escaped.collect::<Vec<_>>());
        secrets.sort();
        secrets.dedup();
        Self(secrets)
    }

    fn masked<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.replaced(text, |_| MASK.to_owned())
    }

    fn starred<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.replaced(text, |length| "*".repeat(length))
    }

    fn replaced<'a>(&self, text: &'a str, by: impl Fn(usize) -> String) -> Cow<'a, str> {
        let mut found: Vec<Range<usize>> = self.0.iter().flat_map(|secret| occurrences(text, secret)).collect();
        found.extend(in_urls(text));
        if found.is_empty() {
            return text.into();
        }
        found.sort_by_key(|range| (range.start, range.end));
        let (mut out, mut done) = (String::with_capacity(text.len()), 0);
        for range in found.into_iter().filter(|range| !range.is_empty()) {
            if range.start >= done {
                out.push_str(&text[done..range.start]);
                out.push_str(&by(range.len()));
            } else if range.end > done {
                // Overlapping secrets are masked as one.
                out.push_str(&by(range.end - done));
            }
            done = done.max(range.end);
        }
        out.push_str(&text[done..]);
        out.into()
    }
}

/// The ranges of a secret in a text, complete or cut short by `…`.
fn occurrences<'a>(text: &'a str, secret: &'a str) -> impl Iterator<Item = Range<usize>> + 'a {
    let head = secret.char_indices().nth(SHORTEST).map_or(secret, |(end, _)| &secret[..end]);
    text.match_indices(head).filter_map(|(at, _)| {
        let same = text[at..].bytes().zip(secret.bytes()).take_while(|(a, b)| a == b).count();
        let is_cut = || text.get(at + same..).is_some_and(|rest| rest.starts_with('…'));
        (same == secret.len() || is_cut()).then_some(at..at + same)
    })
}

/// The ranges of users with passwords, and of the values of secret parameters, in every URL of a text.
fn in_urls(text: &str) -> Vec<Range<usize>> {
    let ends = |c: char| c.is_whitespace() || "\"'`<>|\\^{}".contains(c);
    let mut found = Vec::new();
    for (at, scheme) in text.match_indices("://") {
        let start = at + scheme.len();
        let url = &text[start..];
        let url = url[..url.find(ends).unwrap_or(url.len())].trim_end_matches([':', ',', '.', ')', ']']);
        let host = url.find(['/', '?', '#']).unwrap_or(url.len());
        if let Some(user) = url[..host].rfind('@') {
            found.push(start..start + user);
        }
        let Some(query) = url.find('?') else { continue };
        let mut place = start + query + 1;
        for pair in url[query + 1..].split(['&', ';']) {
            if let Some((name, value)) = pair.split_once('=') {
                let name = name.to_lowercase();
                if PARAMETERS.iter().any(|part| name.contains(part)) {
                    found.push(place + pair.len() - value.len()..place + pair.len());
                }
            }
            place += pair.len() + 1;
        }
    }
    found
}

/// The files that may hold the token of the Hugging Face Hub.
fn token_files(variables: &[(String, String)]) -> Vec<PathBuf> {
    let set = |name: &str| variables.iter().find(|(n, v)| n == name && !v.is_empty()).map(|(_, v)| PathBuf::from(v));
    let beside = set("HF_HUB_CACHE").and_then(|cache| Some(cache.parent()?.join("token")));
    let home = set("HF_HOME").map(|home| home.join("token"));
    let usual = std::env::home_dir().map(|home| home.join(".cache/huggingface/token"));
    let moved = set("XDG_CACHE_HOME").map(|caches| caches.join("huggingface/token"));
    [set("HF_TOKEN_PATH"), beside, home, moved, usual].into_iter().flatten().collect()
}

fn start_of(file: PathBuf) -> Option<String> {
    let mut text = String::new();
    File::open(file).ok()?.take(LONGEST_FILE).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(variables: &[(&str, &str)]) -> Secrets {
        Secrets::of(variables.iter().map(|(n, v)| (n.to_string(), v.to_string())), [])
    }

    #[test]
    fn values_of_secret_variables_are_masked_everywhere() {
        let secrets =
            of(&[("HF_TOKEN", "hf_abcdefgh"), ("aws_secret_access_key", "k/k+k=k9"), ("PATH", "/usr/bin:/bin")]);
        assert_eq!(secrets.masked("token hf_abcdefgh, again hf_abcdefgh."), "token ***, again ***.");
        assert_eq!(secrets.masked("base = \"hf:k/k+k=k9/x\""), "base = \"hf:***/x\"");
        assert_eq!(secrets.masked("/usr/bin:/bin"), "/usr/bin:/bin");
        assert_eq!(secrets.starred("é hf_abcdefgh é"), "é *********** é");
    }

    #[test]
    fn short_values_and_other_variables_are_not_masked() {
        let secrets = of(&[("X_TOKEN", "short"), ("MY_TOKENS", "not-a-secret"), ("EMPTY_SECRET", "")]);
        assert_eq!(secrets.masked("short not-a-secret"), "short not-a-secret");
    }

    #[test]
    fn a_secret_cut_short_is_masked_too() {
        let secrets = of(&[("HF_TOKEN", "hf_abcdefghijkl")]);
        assert_eq!(secrets.masked("base hf_abcdefgh… → x"), "base ***… → x");
        assert_eq!(secrets.masked("hf_abcdefgh and more"), "hf_abcdefgh and more");
    }

    #[test]
    fn users_and_parameters_of_urls_are_masked_whatever_the_environment() {
        let masked = |text: &str| of(&[]).masked(text).into_owned();
        assert_eq!(masked("http://user:pw@host:80/x@y failed"), "http://***@host:80/x@y failed");
        assert_eq!(masked("(`https://a@b@c/`)"), "(`https://***@c/`)");
        assert_eq!(
            masked("get https://h/f?X-Amz-Signature=0a1b&x=1&access_token=zz#top: 403"),
            "get https://h/f?X-Amz-Signature=***&x=1&access_token=***: 403"
        );
        assert_eq!(masked("mail me@home.org, see http://h/?q=a@b"), "mail me@home.org, see http://h/?q=a@b");
    }

    #[test]
    fn proxies_without_a_scheme_keys_of_several_lines_and_token_files() {
        let secrets =
            of(&[("HTTPS_PROXY", "joe:hunter2hunter2@proxy:3128"), ("TLS_SECRET", "-----BEGIN\nabcdefghij\n")]);
        assert_eq!(secrets.masked("joe:hunter2hunter2@proxy:3128"), "***@proxy:3128");
        assert_eq!(secrets.masked("the password hunter2hunter2"), "the password ***");
        assert_eq!(secrets.masked("key: abcdefghij"), "key: ***");
        let file = Secrets::of([], ["hf_fromthefile\n".to_owned()]);
        assert_eq!(file.masked("Bearer hf_fromthefile"), "Bearer ***");
        let quoted = of(&[("X_SECRET", "with\"quote\\and")]);
        assert_eq!(quoted.masked(r#"{"error":"with\"quote\\and"}"#), r#"{"error":"***"}"#);
    }

    #[test]
    fn overlapping_secrets_are_masked_completely() {
        let secrets = of(&[("A_TOKEN", "abcdefgh12"), ("B_TOKEN", "gh12345678")]);
        assert_eq!(secrets.masked("x abcdefgh12345678 y"), "x ****** y");
        assert_eq!(secrets.starred("x abcdefgh12345678 y"), "x **************** y");
    }

    proptest! {
        #[test]
        fn no_text_keeps_a_secret(parts in proptest::collection::vec("(hunter2hunter2|http://|[a-z@:/?=&é…token]{0,9})", 0..12)) {
            let secrets = of(&[("X_PASSWORD", "hunter2hunter2")]);
            let text = parts.concat();
            prop_assert!(!secrets.masked(&text).contains("hunter2hunter2"));
            prop_assert_eq!(secrets.starred(&text).len(), text.len());
        }
    }
}
