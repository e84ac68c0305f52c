//! A list of texts with their labels and a figure.

use unicode_width::UnicodeWidthChar;

use super::area::Area;
use super::style::{CHARACTER, WIDTH};
use super::svg::{MARGIN, Svg, cut};

/// Pixels of a line, between two items, and of the bar that shows the figure.
const LINE: f64 = 16.0;
const BETWEEN: f64 = 12.0;
const BAR: f64 = 70.0;
/// The most lines of a text.
const LINES: usize = 3;

/// One text.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    /// `Negative → Positive`
    pub heading: String,
    /// From 0 to 1, drawn as a bar, with its text.
    pub share: f64,
    pub figure: String,
    pub text: String,
}

/// A picture of texts, one below the other.
pub(crate) fn listing(title: &str, subtitle: &str, items: &[Item]) -> String {
    let columns = ((WIDTH - 2.0 * MARGIN) / CHARACTER) as usize;
    let wrapped: Vec<Vec<String>> = items.iter().map(|item| wrap(&item.text, columns)).collect();
    let top = if subtitle.is_empty() { 48.0 } else { 66.0 };
    let tall = |lines: &Vec<String>| LINE * (1 + lines.len()) as f64 + BETWEEN;
    let height = top + wrapped.iter().map(tall).sum::<f64>();
    let mut svg = Svg::new(title, (WIDTH, height), ("", ""));
    if !subtitle.is_empty() {
        svg.subtitle(subtitle);
    }
    let mut y = top;
    for (item, lines) in items.iter().zip(&wrapped) {
        let right = WIDTH - MARGIN;
        let figure = item.figure.chars().count() as f64 * CHARACTER + 8.0;
        let bar = right - figure - BAR;
        let room = ((bar - MARGIN - 10.0) / (CHARACTER * 1.06)) as usize;
        svg.text("strong", (MARGIN, y), ("start", &cut(&item.heading, room)));
        let area = |wide: f64| Area { left: bar, top: y - 9.0, right: bar + wide, bottom: y - 1.0 };
        svg.rect("q1", area(BAR), "");
        let share = if item.share.is_finite() { item.share.clamp(0.0, 1.0) } else { 0.0 };
        svg.rect("c0", area(BAR * share), &item.figure);
        svg.text("faint", (right, y), ("end", &item.figure));
        for line in lines {
            y += LINE;
            svg.text("", (MARGIN, y), ("start", line));
        }
        y += LINE + BETWEEN;
    }
    svg.finish()
}

/// A text in a few lines of so many columns; what does not fit is cut.
fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let (mut line, mut wide) = (String::new(), 0);
    for word in text.split_whitespace() {
        let long: usize = word.chars().filter_map(UnicodeWidthChar::width).sum();
        if wide > 0 && wide + 1 + long > columns {
            lines.push(std::mem::take(&mut line));
            wide = 0;
        }
        if lines.len() == LINES {
            break;
        }
        if wide > 0 {
            line.push(' ');
            wide += 1;
        }
        // A word that is longer than a line, such as a link, is cut.
        line += &cut(word, columns);
        wide += long.min(columns);
    }
    if lines.len() == LINES {
        if let Some(last) = lines.last_mut() {
            *last = format!("{} …", last.chars().take(columns.saturating_sub(2)).collect::<String>());
        }
    } else if !line.is_empty() {
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_wrapped_and_cut() {
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("a b c d e f g h", 3), ["a b", "c d", "e …"]);
        assert_eq!(wrap(&"x".repeat(30), 10), ["xxxxx…xxxx"]);
        assert_eq!(wrap(" ", 10), [""; 0]);
    }

    #[test]
    fn an_item_has_heading_figure_and_text() {
        let item =
            |share: f64| Item { heading: "no → yes".into(), share, figure: "0.98".into(), text: "a <b> text".into() };
        let svg = listing("Errors", "", &[item(0.98), item(f64::NAN)]);
        assert!(svg.contains(">no → yes</text>") && svg.contains(">a &lt;b&gt; text</text>"), "{svg}");
        assert!(!svg.contains("NaN"));
    }
}
