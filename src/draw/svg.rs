//! Writes SVG: shapes and texts, escaped.
//!
//! The pictures are written by hand: plotting libraries have neither a style sheet that follows the reader's light or dark
//! setting nor labels that avoid each other.

use std::fmt::Write as _;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

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

    /// A text that is turned by so many degrees around its anchor.
    pub(crate) fn turned(&mut self, class: &str, (x, y): At, (anchor, text): (&str, &str), degrees: f64) {
        let turn = format!(" transform=\"rotate({degrees} {x:.1} {y:.1})\"");
        self.text_with(class, (x, y), (anchor, text), &turn);
    }

    /// A rectangle with round corners.
    pub(crate) fn round(&mut self, class: &str, area: Area, said: &str) {
        let Area { left, top, .. } = area;
        let (wide, tall) = (area.wide().max(0.0), area.tall().max(0.0));
        let shape = format!(
            "rect class=\"{class}\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{wide:.1}\" height=\"{tall:.1}\" rx=\"4\""
        );
        self.shape("rect", &shape, said);
    }

    /// A vertical line through low and high, with caps: an interval. `is_flat` turns it.
    pub(crate) fn whisker(&mut self, (x, y): At, (low, high): (f64, f64), is_flat: bool) {
        const CAP: f64 = 4.0;
        let at = |along: f64, aside: f64| if is_flat { (along, y + aside) } else { (x + aside, along) };
        self.line("whisker", at(low, 0.0), at(high, 0.0));
        for end in [low, high] {
            self.line("whisker", at(end, -CAP), at(end, CAP));
        }
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

/// Pixels that a text takes.
pub(crate) fn width(text: &str) -> f64 {
    text.width() as f64 * CHARACTER
}

/// A name in at most so many columns, shortened in the middle: names that stages get by fanning out differ at their ends.
pub(crate) fn cut(name: &str, longest: usize) -> String {
    if name.width() <= longest {
        return name.into();
    }
    let room = longest.saturating_sub(1);
    let head = taken(name.chars(), room.div_ceil(2));
    let tail: String = taken(name.chars().rev(), room / 2).chars().rev().collect();
    format!("{head}…{tail}")
}

/// Names in at most about so many columns, which differ if the names do: those that would be cut to the same get numbers.
pub(crate) fn cut_apart<'a>(names: impl IntoIterator<Item = &'a str>, longest: usize) -> Vec<String> {
    let names: Vec<&str> = names.into_iter().collect();
    let mut cuts: Vec<String> = names.iter().map(|name| cut(name, longest)).collect();
    let is_shared = |at: usize, cuts: &[String]| (0..names.len()).any(|i| cuts[i] == cuts[at] && names[i] != names[at]);
    let shared: Vec<bool> = (0..names.len()).map(|at| is_shared(at, &cuts)).collect();
    let mut numbered: Vec<(String, &str)> = Vec::new();
    for at in (0..names.len()).filter(|at| shared[*at]) {
        let alike = |(cut, _): &&(String, &str)| *cut == cuts[at];
        let number = match numbered.iter().filter(alike).position(|(_, name)| *name == names[at]) {
            Some(known) => known + 1,
            None => {
                numbered.push((cuts[at].clone(), names[at]));
                numbered.iter().filter(alike).count()
            }
        };
        cuts[at] = format!("{} #{number}", cut(names[at], longest.saturating_sub(3)));
    }
    cuts
}

/// The letters that fit into so many columns.
fn taken(letters: impl Iterator<Item = char>, columns: usize) -> String {
    let mut wide = 0;
    letters
        .take_while(|letter| {
            wide += letter.width().unwrap_or(0);
            wide <= columns
        })
        .collect()
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
        assert_eq!(cut(&"ä".repeat(29), 28), "ä".repeat(14) + "…" + &"ä".repeat(13));
        assert_eq!((cut("scores[learning-rate=1e-5]", 12), cut("short", 5)), ("scores…1e-5]".into(), "short".into()));
    }

    #[test]
    fn names_that_differ_are_cut_to_names_that_differ() {
        let long = |middle: &str| format!("scores[teacher, {middle}, and more of the same]");
        let names = [long("rank=8"), long("rank=16"), long("rank=8"), "x".into()];
        let cuts = cut_apart(names.iter().map(String::as_str), 16);
        assert_eq!(cuts, ["scores… same] #1", "scores… same] #2", "scores… same] #1", "x"]);
        let seeds: Vec<String> = (0..12).map(|seed| format!("distilled-student-of-the-teacher[seed={seed}]")).collect();
        let mut cuts = cut_apart(seeds.iter().map(String::as_str), 20);
        assert!(cuts.iter().all(|cut| cut.width() <= 20 && cut.ends_with(']')), "{cuts:?}");
        cuts.dedup();
        assert_eq!(cuts.len(), 12);
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
