//! Names of the series of a chart, in rows below the title.

use super::area::At;
use super::style::WIDTH;
use super::svg::{MARGIN, Svg, width};

/// Height of a row of the legend, and the width of a mark with the gap after it.
const ROW: f64 = 17.0;
const MARK: f64 = 22.0;
const BETWEEN: f64 = 14.0;

/// How an entry is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    Dot,
    Line,
    Ring,
    Bar,
}

/// One name with its mark.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub mark: Mark,
    /// The classes of the mark.
    pub class: String,
    pub name: String,
}

impl Entry {
    pub(crate) fn new(mark: Mark, class: impl Into<String>, name: impl Into<String>) -> Self {
        Self { mark, class: class.into(), name: name.into() }
    }
}

/// Where each entry stands, and the height of all rows.
fn places(entries: &[Entry]) -> (Vec<At>, f64) {
    let (mut x, mut row) = (MARGIN, 0.0);
    let mut places = Vec::new();
    for entry in entries {
        let wide = MARK + width(&entry.name) + BETWEEN;
        if x > MARGIN && x + wide - BETWEEN > WIDTH - MARGIN {
            (x, row) = (MARGIN, row + 1.0);
        }
        places.push((x, row * ROW));
        x += wide;
    }
    (places, if entries.is_empty() { 0.0 } else { (row + 1.0) * ROW })
}

/// The height that a legend takes.
pub(crate) fn height(entries: &[Entry]) -> f64 {
    places(entries).1
}

/// Draw a legend whose first base line is at `top`.
pub(crate) fn draw(svg: &mut Svg, entries: &[Entry], top: f64) {
    for (entry, (x, below)) in entries.iter().zip(places(entries).0) {
        let (y, class) = (top + below, entry.class.as_str());
        let middle = y - 4.0;
        match entry.mark {
            Mark::Dot => svg.circle(class, (x + 8.0, middle), 4.5, ""),
            Mark::Ring => svg.circle(&format!("hollow {class}"), (x + 8.0, middle), 4.0, ""),
            Mark::Line => svg.path(class, &format!("M{x:.1} {middle:.1}h17"), ""),
            Mark::Bar => svg.whisker((x + 8.0, middle), (x, x + 17.0), true),
        }
        svg.text("faint", (x + MARK, y), ("start", &entry.name));
    }
}
