//! What SVG pictures have in common: colours that follow the reader's light or dark setting, lines, texts.

use std::fmt::Write as _;

const LIGHT: &str =
    ".page{fill:#ffffff}text{fill:#1f2733}.faint{fill:#5d6b7e}.grid{stroke:#e3e8ef}.frame{stroke:#9aa6b6;fill:none}";
const DARK: &str = ".page{fill:#12171f}text{fill:#e6ebf2}.faint{fill:#a3afbf}.grid{stroke:#2a3340}";
const DARK_FRAME: &str = ".frame{stroke:#5d6b7e}";

/// A style sheet with the classes `page`, `faint`, `grid` and `frame`, and a picture's own for light and for dark.
pub(crate) fn style(light: &str, dark: &str) -> String {
    format!("{LIGHT}\n{light}\n@media(prefers-color-scheme:dark){{{DARK}\n{DARK_FRAME}{dark}}}")
}

pub(crate) fn line(out: &mut String, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
    let _ = writeln!(out, "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>");
}

/// The least and the greatest value.
pub(crate) fn ends(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
}

/// A name with at most so many characters.
pub(crate) fn cut(name: &str, longest: usize) -> String {
    match name.char_indices().nth(longest) {
        Some((at, _)) => format!("{}…", &name[..at]),
        None => name.into(),
    }
}

/// Escape text for SVG content and attributes. Characters that XML forbids, such as control characters, become spaces.
pub(crate) fn escaped(text: &str) -> String {
    let plain: String =
        text.chars().map(|c| if c.is_control() || "\u{fffe}\u{ffff}".contains(c) { ' ' } else { c }).collect();
    plain.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_long_names_are_cut() {
        assert_eq!(escaped("a<b & \"c\">\u{1}"), "a&lt;b &amp; &quot;c&quot;&gt; ");
        assert_eq!(cut(&"ä".repeat(29), 28), "ä".repeat(28) + "…");
    }
}
