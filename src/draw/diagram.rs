//! A graph as boxes and curves from left to right.

use std::fmt::Write as _;

use super::area::Area;
use super::layers::{Heights, Layers};
use super::svg::{MARGIN, Svg, cut_apart, width};

const TALL: f64 = 42.0;
const ACROSS: f64 = 44.0;
const PADDING: f64 = 12.0;
const TOP: f64 = 44.0;
const HEIGHTS: Heights = Heights { one: TALL, way: 6.0, gap: 14.0 };
/// The most columns of a name in a box.
const LONGEST: usize = 30;

const LIGHT: &str = ".box{fill:#eef3fb;stroke:#76a2df}.edge{fill:none;stroke:#9aa6b6;stroke-width:1.2}";
const DARK: &str = ".box{fill:#1b2432;stroke:#3566b0}.edge{stroke:#5d6b7e}";

/// Boxes with two lines each, and edges from box to box.
#[derive(Debug)]
pub(crate) struct Diagram<'a> {
    pub title: &'a str,
    pub boxes: Vec<(&'a str, &'a str)>,
    pub edges: &'a [(usize, usize)],
}

/// Draw it. Every column is as wide as its widest box.
pub(crate) fn diagram(diagram: &Diagram) -> String {
    let layers = Layers::of(diagram.boxes.len(), diagram.edges, HEIGHTS);
    let names = cut_apart(diagram.boxes.iter().map(|(name, _)| *name), LONGEST);
    let wide = |at: usize| (width(&names[at]) * 1.06).max(width(diagram.boxes[at].1)) + 2.0 * PADDING;
    let mut lefts = vec![MARGIN];
    let mut wides = vec![0.0f64; layers.columns.len()];
    for (at, (column, _)) in layers.boxes.iter().enumerate() {
        wides[*column] = wides[*column].max(wide(at));
    }
    for wide in &wides {
        lefts.push(lefts[lefts.len() - 1] + wide + ACROSS);
    }
    let right = (lefts[lefts.len() - 1] - ACROSS).max(MARGIN) + MARGIN;
    let size = (right.max(MARGIN * 2.0 + width(diagram.title) * 1.3).ceil(), (TOP + layers.height + MARGIN).ceil());
    let mut svg = Svg::new(diagram.title, size, (LIGHT, DARK));
    let middle = |(column, row): (usize, usize)| TOP + layers.middles[column][row];
    for (edge, (from, to)) in diagram.edges.iter().enumerate() {
        let (start, end) = (layers.boxes[*from], layers.boxes[*to]);
        let (mut x, mut y) = (lefts[start.0] + wides[start.0], middle(start));
        let mut along = format!("M{x:.0} {y:.1}");
        for spot in layers.ways[edge].iter().copied().chain([end]) {
            let (left, next) = (lefts[spot.0], middle(spot));
            let bend = (left - x) / 2.0;
            let _ = write!(along, "C{:.0} {y:.1} {:.0} {next:.1} {left:.0} {next:.1}", x + bend, left - bend);
            (x, y) = (left, next);
            if spot != end {
                x += wides[spot.0];
                let _ = write!(along, "H{x:.0}");
            }
        }
        svg.path("edge", &along, &format!("{} → {}", diagram.boxes[*from].0, diagram.boxes[*to].0));
    }
    for (at, (name, kind)) in diagram.boxes.iter().enumerate() {
        let (column, _) = layers.boxes[at];
        let (left, middle) = (lefts[column], middle(layers.boxes[at]));
        let area = Area { left, top: middle - TALL / 2.0, right: left + wides[column], bottom: middle + TALL / 2.0 };
        svg.round("box", area, &format!("{name} ({kind})"));
        let x = (area.left + area.right) / 2.0;
        svg.text("strong", (x, middle - 3.0), ("middle", &names[at]));
        svg.text_with("faint", (x, middle + 13.0), ("middle", kind), " font-size=\"11\"");
    }
    svg.finish()
}
