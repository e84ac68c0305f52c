//! Names in messages: shortened, listed, and the one that was probably meant.

/// Number of letters of a name or label that a message shows.
const SHOWN: usize = 60;

/// Number of names that a message lists; it only counts the rest.
const LISTED: usize = 20;

/// The first names.
pub(crate) fn listed(names: &[String]) -> String {
    let listed: Vec<String> = names.iter().take(LISTED).map(|name| format!("`{}`", short(name))).collect();
    let listed = listed.join(", ");
    match names.len().saturating_sub(LISTED) {
        0 => listed,
        more => format!("{listed} and {more} more"),
    }
}

/// The beginning of a name, fit for a terminal. A name as long as a text would hide the message.
pub(crate) fn short(name: &str) -> String {
    let clean = |part: &str| part.replace(|letter: char| letter.is_control(), "\u{FFFD}");
    match name.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", clean(&name[..at])),
        None => clean(name),
    }
}

/// The name that a misspelt one probably means.
pub(crate) fn closest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let lower = wanted.to_lowercase();
    // A much longer name is not what the user meant, and comparing it takes long.
    names
        .filter(|name| name.len() <= wanted.len() + SHOWN)
        .map(|name| (strsim::jaro_winkler(&lower, &name.to_lowercase()), name))
        .filter(|(score, _)| *score > 0.8)
        .max_by(|one, two| one.0.total_cmp(&two.0))
        .map(|(_, name)| name)
}
