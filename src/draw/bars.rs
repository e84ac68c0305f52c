//! Horizontal bars with names and values: stacked parts, shares, and ranges.

use super::area::Area;
use super::axis::Axis;
use super::number::short;
use super::style::{COLORS, WIDTH};
use super::svg::{MARGIN, Svg, cut, width};

/// Height of a row, and of the bar in it.
const ROW: f64 = 24.0;
const BAR: f64 = 15.0;
/// The most characters of a name.
const LONGEST: usize = 22;

/// A bar.
#[derive(Debug, Clone)]
pub(crate) struct Bar {
    pub name: String,
    /// One value a series; they are drawn one after the other.
    pub parts: Vec<f64>,
    /// What is written behind the bar.
    pub text: String,
}

/// The title, the line below it, and the names of the series (none needs no legend).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head<'a> {
    pub title: &'a str,
    pub subtitle: &'a str,
    pub series: &'a [String],
}

/// Bars from a common start; the longest takes the width. A group's name stands above its first bar.
pub(crate) fn bars(head: &Head, groups: &[(String, Vec<Bar>)]) -> String {
    let all = || groups.iter().flat_map(|(_, bars)| bars);
    let longest = all().map(|bar| bar.parts.iter().sum::<f64>()).fold(0.0, f64::max);
    draw(head, groups, |_| longest)
}

/// Bars of the same length, whose parts are shares.
pub(crate) fn shares(head: &Head, bars: Vec<Bar>) -> String {
    draw(head, &[(String::new(), bars)], |bar| bar.parts.iter().sum())
}

fn draw(head: &Head, groups: &[(String, Vec<Bar>)], whole: impl Fn(&Bar) -> f64) -> String {
    let all = || groups.iter().flat_map(|(_, bars)| bars);
    let left = MARGIN + all().map(|bar| width(&cut(&bar.name, LONGEST))).fold(0.0, f64::max) + 8.0;
    let right = WIDTH - MARGIN - all().map(|bar| width(&bar.text)).fold(0.0, f64::max) - 8.0;
    let top = top_of(head);
    let titles = groups.iter().filter(|(name, _)| !name.is_empty()).count() as f64;
    let height = top + titles * ROW + all().count() as f64 * ROW + 12.0;
    let mut svg = start(head, height);
    let mut y = top;
    for (name, bars) in groups {
        if !name.is_empty() {
            svg.text("strong", (MARGIN, y + 16.0), ("start", &cut(name, 2 * LONGEST)));
            y += ROW;
        }
        for bar in bars {
            svg.text("", (left - 8.0, y + 15.5), ("end", &cut(&bar.name, LONGEST)));
            let whole = whole(bar);
            let scale = if whole > 0.0 { (right - left) / whole } else { 0.0 };
            let mut x = left;
            for (series, part) in bar.parts.iter().enumerate().filter(|(_, part)| **part > 0.0) {
                let area = Area { left: x, top: y + 4.0, right: x + part * scale, bottom: y + 4.0 + BAR };
                let of = head.series.get(series).map(|name| format!(", {name}")).unwrap_or_default();
                svg.rect(&format!("c{}", series % COLORS), area, &format!("{}{of}: {}", bar.name, short(*part)));
                x += part * scale;
            }
            let end = if x > left { x } else { left };
            let at = if head.series.len() > 1 && titles == 0.0 { right.max(end) } else { end };
            svg.text("faint", (at + 6.0, y + 15.5), ("start", &bar.text));
            y += ROW;
        }
    }
    svg.finish()
}

/// The values between which most of a group lie.
#[derive(Debug, Clone)]
pub(crate) struct Range {
    pub name: String,
    /// 5th, 25th, 50th, 75th and 95th percentile.
    pub at: [f64; 5],
}

/// For each name a line from the 5th to the 95th percentile, a bar over the middle half, and the median.
pub(crate) fn ranges(head: &Head, ranges: &[Range]) -> String {
    let left = MARGIN + ranges.iter().map(|range| width(&cut(&range.name, LONGEST))).fold(0.0, f64::max) + 10.0;
    let most = ranges.iter().map(|range| range.at[4]).fold(1.0, f64::max);
    let axis = Axis { low: 0.0, high: most, is_log: false, from: left, to: WIDTH - MARGIN - 10.0 };
    let top = top_of(head);
    let bottom = top + ranges.len() as f64 * ROW;
    let mut svg = start(head, bottom + 28.0);
    for (value, text) in axis.ticks() {
        let x = axis.place(value);
        svg.line("grid", (x, top), (x, bottom));
        svg.text("faint", (x, bottom + 16.0), ("middle", &text));
    }
    for (at, range) in ranges.iter().enumerate() {
        let y = top + (at as f64 + 0.5) * ROW;
        let [p5, p25, median, p75, p95] = range.at.map(|value| axis.place(value));
        svg.text("", (left - 8.0, y + 4.0), ("end", &cut(&range.name, LONGEST)));
        svg.line("whisker", (p5, y), (p95, y));
        let area = Area { left: p25, top: y - BAR / 2.0, right: p75.max(p25 + 2.0), bottom: y + BAR / 2.0 };
        let [a, b, c, d, e] = range.at.map(short);
        svg.rect("c0", area, &format!("{}: {a}, {b}, median {c}, {d}, {e}", range.name));
        svg.line("median", (median, y - BAR / 2.0), (median, y + BAR / 2.0));
    }
    svg.finish()
}

fn start(head: &Head, height: f64) -> Svg {
    let own = (".median{stroke:#ffffff;stroke-width:2}", ".median{stroke:#12171f}");
    let mut svg = Svg::new(head.title, (WIDTH, height), own);
    if !head.subtitle.is_empty() {
        svg.subtitle(head.subtitle);
    }
    legend(&mut svg, head.series, 52.0);
    svg
}

/// Where the first row begins.
fn top_of(head: &Head) -> f64 {
    54.0 + rows(head.series).last().map_or(0.0, |(row, _)| 20.0 * (*row as f64 + 1.0))
}

/// The line and the place of each series' name in a legend; none for one series.
pub(super) fn rows(series: &[String]) -> Vec<(usize, f64)> {
    let mut all = Vec::new();
    let (mut row, mut x) = (0, MARGIN);
    for name in series.iter().filter(|_| series.len() > 1) {
        let wide = 16.0 + width(&cut(name, LONGEST)) + 14.0;
        if x + wide > WIDTH - MARGIN + 14.0 && x > MARGIN {
            (row, x) = (row + 1, MARGIN);
        }
        all.push((row, x));
        x += wide;
    }
    all
}

/// A square and a name for each series, if there are several.
pub(super) fn legend(svg: &mut Svg, series: &[String], top: f64) {
    for (at, (row, x)) in rows(series).into_iter().enumerate() {
        let y = top + 20.0 * row as f64;
        svg.rect(&format!("c{}", at % COLORS), Area { left: x, top: y, right: x + 11.0, bottom: y + 11.0 }, "");
        svg.text("", (x + 16.0, y + 10.0), ("start", &cut(&series[at], LONGEST)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(name: &str, parts: &[f64]) -> Bar {
        Bar { name: name.to_owned(), parts: parts.to_vec(), text: "t".to_owned() }
    }

    #[test]
    fn bars_are_as_long_as_their_values_and_empty_ones_do_no_harm() {
        let head = Head { title: "Rows", subtitle: "", series: &[] };
        let svg = bars(&head, &[(String::new(), vec![bar("a", &[2.0]), bar("b", &[1.0]), bar("c", &[0.0])])]);
        let wide: Vec<f64> = svg
            .match_indices("class=\"c0\"")
            .map(|(at, _)| svg[at..].split("width=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap())
            .collect();
        assert!(wide.len() == 2 && (wide[0] - 2.0 * wide[1]).abs() < 0.2, "{wide:?}");
        assert!(!bars(&head, &[]).contains("NaN"));
        assert!(!shares(&head, vec![bar("none", &[0.0, 0.0])]).contains("NaN"));
        assert!(!ranges(&head, &[Range { name: "r".into(), at: [0.0; 5] }]).contains("NaN"));
    }

    #[test]
    fn a_legend_of_many_names_wraps() {
        let names: Vec<String> = (0..8).map(|at| format!("a rather long name {at}")).collect();
        let rows = rows(&names);
        assert!(rows.last().unwrap().0 > 1 && rows.iter().all(|(_, x)| *x < WIDTH));
        assert!(super::rows(&names[..1]).is_empty());
    }
}
