//! Plots size, accuracy and latency of the variants.
//!
//! The SVG is written by hand: plotting libraries have neither a style sheet that follows the reader's light or dark
//! setting nor labels that avoid each other.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthStr;

use super::row::{Comparison, Row};
use crate::draw::area::Area;
use crate::draw::axis::Axis;
use crate::draw::label::{Label, Layout};
use crate::draw::number::ends;
use crate::draw::style::style;
use crate::draw::svg::{cut, escaped, line};

/// Sizes of the picture and of the field in it, in pixels.
const WIDTH: f64 = 880.0;
const HEIGHT: f64 = 540.0;
const FIELD: Area = Area { left: 74.0, top: 72.0, right: WIDTH - 28.0, bottom: HEIGHT - 62.0 };
/// Bubble radius of the slowest variant, the smallest radius, and the radius of a variant without measured latency.
const LARGEST: f64 = 24.0;
const SMALLEST: f64 = 4.0;
const PLAIN: f64 = 7.0;
/// Horizontal distance between variants of about the same size.
const ASIDE: f64 = 22.0;
/// The most characters shown of a name.
const LONGEST: usize = 28;

const LIGHT: &str = "\
.level{stroke:#5d6b7e;stroke-dasharray:5 4}.bubble{fill:#2f6fde;fill-opacity:.55;stroke:#1d54b4}
.base{fill:#8a94a6;fill-opacity:.6;stroke:#5d6b7e}.whisker{stroke:#1d54b4;stroke-width:1.5}.leader{stroke:#9aa6b6}";
const DARK: &str = "\
.level{stroke:#a3afbf}.bubble{fill:#5b93f5;stroke:#9dc0ff}.base{fill:#8a94a6;stroke:#c3ccd8}
.whisker{stroke:#9dc0ff}.leader{stroke:#5d6b7e}";

/// The position of a variant in the plot.
struct Point<'a> {
    row: &'a Row,
    x: f64,
    y: f64,
    radius: f64,
    /// The ends of its interval, low and high.
    whisker: Option<(f64, f64)>,
}

pub(super) fn svg(comparison: &Comparison) -> String {
    let Comparison { baseline, rows, .. } = comparison;
    let level = rows.iter().find(|row| row.variant == *baseline).map_or(0.0, |row| row.accuracy);
    let (across, up) = (size_axis(rows), accuracy_axis(rows, level));
    let points = points(rows, level, &across, &up);
    let mut out = String::new();
    head(&mut out, baseline);
    axes(&mut out, &across, &up);
    let y = up.place(level);
    line(&mut out, "level", (FIELD.left, y), (FIELD.right, y));
    // Draw small bubbles last, so that large ones do not hide them.
    let mut order: Vec<&Point> = points.iter().collect();
    order.sort_by(|a, b| b.radius.total_cmp(&a.radius));
    for Point { row, x, y, radius, .. } in order {
        let class = if row.variant == *baseline { "base" } else { "bubble" };
        let _ = writeln!(out, "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\"/>");
    }
    for point in &points {
        whisker(&mut out, point);
    }
    labels(&mut out, &points, y);
    out + "</svg>\n"
}

fn head(out: &mut String, baseline: &str) {
    let explained = "bubble: median latency at batch 1 · whisker: 95 % interval of the change against";
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         font-family=\"system-ui,sans-serif\" font-size=\"12\" role=\"img\">\n<title>Size, accuracy and latency</title>\n\
         <style>{2}</style>\n<rect class=\"page\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\n\
         <text x=\"{0}\" y=\"28\" font-size=\"16\" font-weight=\"600\">Size, accuracy and latency</text>\n\
         <text class=\"faint\" x=\"{0}\" y=\"50\">{explained} {1} (grey)</text>\n",
        FIELD.left,
        escaped(&cut(baseline, LONGEST)),
        style(LIGHT, DARK)
    );
}

fn axes(out: &mut String, across: &Axis, up: &Axis) {
    for (at, text) in across.ticks() {
        let x = across.place(at);
        line(out, "grid", (x, FIELD.top), (x, FIELD.bottom));
        let y = FIELD.bottom + 18.0;
        let _ = writeln!(out, "<text class=\"faint\" x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{text}</text>");
    }
    for (at, text) in up.ticks() {
        let y = up.place(at);
        line(out, "grid", (FIELD.left, y), (FIELD.right, y));
        let (x, y) = (FIELD.left - 8.0, y + 4.0);
        let _ = writeln!(out, "<text class=\"faint\" x=\"{x}\" y=\"{y:.1}\" text-anchor=\"end\">{text}</text>");
    }
    let (wide, tall) = (FIELD.right - FIELD.left, FIELD.bottom - FIELD.top);
    let (middle, centre) = (FIELD.left + wide / 2.0, FIELD.top + tall / 2.0);
    let scale = if across.is_log { ", logarithmic" } else { "" };
    let _ = write!(
        out,
        "<rect class=\"frame\" x=\"{}\" y=\"{}\" width=\"{wide}\" height=\"{tall}\"/>\n\
         <text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">size on disk, MB{scale}</text>\n\
         <text x=\"20\" y=\"{centre}\" text-anchor=\"middle\" transform=\"rotate(-90 20 {centre})\">accuracy</text>\n",
        FIELD.left,
        FIELD.top,
        HEIGHT - 18.0
    );
}

fn whisker(out: &mut String, point: &Point) {
    let Some((low, high)) = point.whisker else { return };
    line(out, "whisker", (point.x, low), (point.x, high));
    for end in [low, high] {
        line(out, "whisker", (point.x - 5.0, end), (point.x + 5.0, end));
    }
}

fn labels(out: &mut String, points: &[Point], level: f64) {
    let mut layout = Layout::new(FIELD);
    layout.taken(Area { left: FIELD.left, top: level - 1.0, right: FIELD.right, bottom: level + 1.0 });
    for point in points {
        layout.taken(Area::around((point.x, point.y), point.radius, point.radius));
        let (low, high) = point.whisker.unwrap_or((point.y, point.y));
        layout.taken(Area { left: point.x - 5.0, top: high - 1.0, right: point.x + 5.0, bottom: low + 1.0 });
    }
    for point in points {
        let (name, detail) = (cut(&point.row.variant, LONGEST), detail(point.row));
        let wide = (name.width() as f64 * 7.2).max(detail.width() as f64 * 6.2);
        let Label { x, top, anchor, leader } = layout.place((point.x, point.y), point.radius, (wide, 29.0));
        if let Some((from, to)) = leader {
            line(out, "leader", from, to);
        }
        let (first, second) = (top + 12.0, top + 26.0);
        let _ = write!(
            out,
            "<text x=\"{x:.1}\" y=\"{first:.1}\" text-anchor=\"{anchor}\" font-weight=\"600\">{}</text>\n\
             <text class=\"faint\" x=\"{x:.1}\" y=\"{second:.1}\" text-anchor=\"{anchor}\" font-size=\"11\">{}</text>\n",
            escaped(&name),
            escaped(&detail)
        );
    }
}

/// `0.20 MB · 0.74 ms`
fn detail(row: &Row) -> String {
    let size = format!("{:.2} MB", row.bytes as f64 / 1e6);
    row.latency_p50_ms.map_or(size.clone(), |ms| format!("{size} · {ms:.2} ms"))
}

fn points<'a>(rows: &'a [Row], level: f64, across: &Axis, up: &Axis) -> Vec<Point<'a>> {
    let slowest = rows.iter().filter_map(|row| row.latency_p50_ms).fold(f64::MIN_POSITIVE, f64::max);
    let radius = |ms: f64| (LARGEST * (ms / slowest).sqrt()).max(SMALLEST);
    let mut points: Vec<Point> = rows
        .iter()
        .map(|row| Point {
            row,
            x: across.place(megabytes(row)),
            y: up.place(row.accuracy),
            radius: row.latency_p50_ms.map_or(PLAIN, radius),
            whisker: interval(row, level).map(|(low, high)| (up.place(low), up.place(high))),
        })
        .collect();
    points.sort_by(|a, b| a.x.total_cmp(&b.x));
    let mut start = 0;
    while start < points.len() {
        let near = |i: &usize| points[*i].x - points[*i - 1].x < ASIDE / 2.0;
        let end = (start + 1..points.len()).take_while(near).last().map_or(start + 1, |last| last + 1);
        let group = &mut points[start..end];
        let middle = group.iter().map(|p| p.x).sum::<f64>() / group.len() as f64;
        let wide = (group.len() - 1) as f64 * ASIDE;
        let left =
            (middle - wide / 2.0).clamp(FIELD.left + ASIDE, (FIELD.right - ASIDE - wide).max(FIELD.left + ASIDE));
        group.iter_mut().enumerate().for_each(|(i, point)| point.x = left + i as f64 * ASIDE);
        start = end;
    }
    points
}

fn megabytes(row: &Row) -> f64 {
    row.bytes.max(1) as f64 / 1e6
}

/// The interval of the change, converted to accuracies.
fn interval(row: &Row, level: f64) -> Option<(f64, f64)> {
    Some((level + row.accuracy_change_low?, level + row.accuracy_change_high?))
}

fn size_axis(rows: &[Row]) -> Axis {
    let (least, most) = ends(rows.iter().map(megabytes));
    // If the sizes differ by less than a factor of three, a linear scale is easier to read.
    let is_log = most > 3.0 * least;
    let (low, high) = match is_log {
        true => (least / 1.5, most * 1.5),
        false => (least - 0.25 * (most - least).max(0.4 * most), most + 0.25 * (most - least).max(0.4 * most)),
    };
    Axis { low, high, is_log, from: FIELD.left, to: FIELD.right }
}

fn accuracy_axis(rows: &[Row], level: f64) -> Axis {
    let whiskers = rows.iter().filter_map(|row| interval(row, level)).flat_map(|(low, high)| [low, high]);
    let (least, most) = ends(rows.iter().map(|row| row.accuracy).chain(whiskers));
    let room = 0.15 * (most - least).max(0.02);
    Axis { low: least - room, high: most + room, is_log: false, from: FIELD.bottom, to: FIELD.top }
}
