//! Writes SVG: shapes and texts, escaped.
//!
//! The pictures are written by hand: plotting libraries have neither a style sheet that follows the reader's light or dark
//! setting nor labels that avoid each other.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthStr;

use super::area::{Area, At};
use super::style::{CHARACTER, style};

/// The distance of the title and the first column from the left edge.
pub(crate) const MARGIN: f64 = 14.0;

/// A picture that is being drawn.
pub(crate) struct Svg(String);

impl Svg {
    /// A page of this size with its title in the upper left corner. `own` are the picture's own classes, light and dark.
    pub(crate) fn new(title: &str, (width, height): (f64, f64), own: (&str, &str)) -> Self {
        let title = escaped(title);
        Self(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
             font-family=\"system-ui,sans-serif\" font-size=\"12\" role=\"img\">\n<title>{title}</title>\n\
             <style>{}</style>\n<rect class=\"page\" width=\"{width}\" height=\"{height}\"/>\n\
             <text x=\"{MARGIN}\" y=\"24\" font-size=\"15\" font-weight=\"600\">{title}</text>\n",
            style(own.0, own.1)
        ))
    }

    /// A line below the title that explains the picture.
    pub(crate) fn subtitle(&mut self, text: &str) {
        self.text("faint", (MARGIN, 43.0), ("start", text));
    }

    pub(crate) fn line(&mut self, class: &str, (x1, y1): At, (x2, y2): At) {
        let _ =
            writeln!(self.0, "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>");
    }

    /// A rectangle; `said` is what a pointer over it shows, if not empty.
    pub(crate) fn rect(&mut self, class: &str, area: Area, said: &str) {
        let Area { left, top, .. } = area;
        let (wide, tall) = (area.wide().max(0.0), area.tall().max(0.0));
        let shape =
            format!("rect class=\"{class}\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{wide:.1}\" height=\"{tall:.1}\"");
        self.shape("rect", &shape, said);
    }

    pub(crate) fn circle(&mut self, class: &str, (x, y): At, radius: f64, said: &str) {
        let shape = format!("circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\"");
        self.shape("circle", &shape, said);
    }

    /// A path; `along` is the attribute `d`.
    pub(crate) fn path(&mut self, class: &str, along: &str, said: &str) {
        self.shape("path", &format!("path class=\"{class}\" d=\"{along}\""), said);
    }

    /// A line through points.
    pub(crate) fn curve(&mut self, class: &str, points: impl Iterator<Item = At>, said: &str) {
        let mut along = String::new();
        for (x, y) in points {
            let _ = write!(along, "{}{x:.1} {y:.1}", if along.is_empty() { 'M' } else { 'L' });
        }
        if !along.is_empty() {
            self.path(&format!("curve {class}"), &along, said);
        }
    }

    /// A text at its base line; the anchor is `start`, `middle` or `end`.
    pub(crate) fn text(&mut self, class: &str, (x, y): At, (anchor, text): (&str, &str)) {
        self.text_with(class, (x, y), (anchor, text), "");
    }

    /// A text with further attributes, such as ` font-size="10"`.
    pub(crate) fn text_with(&mut self, class: &str, (x, y): At, (anchor, text): (&str, &str), more: &str) {
        let text = escaped(text);
        let _ = writeln!(
            self.0,
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\"{more}>{text}</text>"
        );
    }

    fn shape(&mut self, element: &str, start: &str, said: &str) {
        let _ = match said {
            "" => writeln!(self.0, "<{start}/>"),
            _ => writeln!(self.0, "<{start}><title>{}</title></{element}>", escaped(said)),
        };
    }

    pub(crate) fn finish(self) -> String {
        self.0 + "</svg>\n"
    }
}

pub(crate) fn line(out: &mut String, class: &str, (x1, y1): At, (x2, y2): At) {
    let _ = writeln!(out, "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>");
}

/// Pixels that a text takes.
pub(crate) fn width(text: &str) -> f64 {
    text.width() as f64 * CHARACTER
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

    #[test]
    fn names_of_users_cannot_leave_their_text() {
        let mut svg = Svg::new("<script>", (100.0, 50.0), ("", ""));
        let area = Area { left: 0.0, top: 0.0, right: 5.0, bottom: -1.0 };
        svg.rect("c0", area, "a\"b");
        svg.text("", (1.0, 2.0), ("start", "</svg>"));
        let svg = svg.finish();
        assert!(
            svg.contains("&lt;script&gt;") && svg.contains("<title>a&quot;b</title>") && svg.contains("&lt;/svg&gt;")
        );
        assert!(svg.contains("height=\"0.0\""), "{svg}");
    }
}
