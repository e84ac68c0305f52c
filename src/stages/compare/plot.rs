//! Plots size, accuracy and latency of the variants.

use super::row::{Comparison, Row};
use crate::draw::area::Area;
use crate::draw::axis::Axis;
use crate::draw::label::{Label, Layout};
use crate::draw::number::ends;
use crate::draw::style::WIDTH;
use crate::draw::svg::{Svg, cut, cut_apart, width};

/// Sizes of the picture and of the field in it, in pixels.
const HEIGHT: f64 = 420.0;
const FIELD: Area = Area { left: 62.0, top: 76.0, right: WIDTH - 16.0, bottom: HEIGHT - 50.0 };
/// Bubble radius of the slowest variant, the smallest radius, and the radius of a variant without measured latency.
const LARGEST: f64 = 20.0;
const SMALLEST: f64 = 4.0;
const PLAIN: f64 = 6.0;
/// More variants than this have numbers in the plot, and their names below it, in lines of this height.
const NAMED: usize = 6;
const KEY: f64 = 18.0;
/// The most columns shown of a name.
const LONGEST: usize = 24;

/// The position of a variant in the plot: its true size and accuracy.
struct Point<'a> {
    row: &'a Row,
    /// In the order of the table, from 1.
    number: usize,
    name: String,
    x: f64,
    y: f64,
    radius: f64,
}

/// Variants of one size are drawn over each other; [`quality`](super::quality) has a row with an interval for each.
pub(super) fn svg(comparison: &Comparison) -> String {
    let Comparison { baseline, rows, .. } = comparison;
    let level = rows.iter().find(|row| row.variant == *baseline).map_or(0.0, |row| row.accuracy);
    let (across, up) = (size_axis(rows), accuracy_axis(rows));
    let points = points(rows, &across, &up);
    let is_timed = rows.iter().any(|row| row.latency_p50_ms.is_some());
    let title = if is_timed { "Size, accuracy and latency" } else { "Size and accuracy" };
    let is_numbered = rows.len() > NAMED;
    let key = if is_numbered { KEY * rows.len() as f64 } else { 0.0 };
    let mut svg = Svg::new(title, (WIDTH, HEIGHT + key), ("", ""));
    svg.subtitle(&format!("dashed: the accuracy of {} (orange)", cut(baseline, LONGEST)));
    if is_timed {
        svg.text("faint", (14.0, 60.0), ("start", timed(rows)));
    }
    axes(&mut svg, &across, &up);
    let y = up.place(level);
    svg.line("level", (FIELD.left, y), (FIELD.right, y));
    // Draw small bubbles last, so that large ones do not hide them.
    let mut order: Vec<&Point> = points.iter().collect();
    order.sort_by(|a, b| b.radius.total_cmp(&a.radius));
    for Point { row, x, y, radius, .. } in order {
        let class = if row.variant == *baseline { "c1 soft halo" } else { "c0 soft halo" };
        svg.circle(class, (*x, *y), *radius, &format!("{}: {}", row.variant, detail(row)));
    }
    labels(&mut svg, &points, (y, is_numbered));
    if is_numbered {
        for point in &points {
            let y = HEIGHT + 8.0 + KEY * (point.number - 1) as f64;
            svg.text("strong", (36.0, y), ("end", &point.number.to_string()));
            svg.text("", (44.0, y), ("start", &point.name));
            svg.text("faint", (WIDTH - 14.0, y), ("end", &detail(point.row)));
        }
    }
    svg.finish()
}

/// What the area of a bubble means, and whether it means it for all.
fn timed(rows: &[Row]) -> &'static str {
    match rows.iter().all(|row| row.latency_p50_ms.is_some()) {
        true => "area of a bubble: median latency at batch 1",
        false => "area of a bubble: median latency at batch 1, where it was measured",
    }
}

fn axes(svg: &mut Svg, across: &Axis, up: &Axis) {
    let ticks = across.ticks();
    let mut end = f64::NEG_INFINITY;
    for (at, text) in ticks {
        let x = across.place(at);
        svg.line("grid", (x, FIELD.top), (x, FIELD.bottom));
        let half = width(&text) / 2.0;
        if x - half > end + 6.0 {
            svg.text("faint", (x, FIELD.bottom + 17.0), ("middle", &text));
            end = x + half;
        }
    }
    for (at, text) in up.ticks() {
        let y = up.place(at);
        svg.line("grid", (FIELD.left, y), (FIELD.right, y));
        svg.text("faint", (FIELD.left - 7.0, y + 4.0), ("end", &text));
    }
    let (middle, centre) = ((FIELD.left + FIELD.right) / 2.0, (FIELD.top + FIELD.bottom) / 2.0);
    let scale = if across.is_log { ", logarithmic" } else { "" };
    svg.rect("frame", FIELD, "");
    svg.text("", (middle, HEIGHT - 14.0), ("middle", &format!("size on disk, MB{scale}")));
    svg.turned("", (18.0, centre), ("middle", "accuracy"), -90.0);
}

/// Names and figures beside the bubbles, or only numbers.
fn labels(svg: &mut Svg, points: &[Point], (level, is_numbered): (f64, bool)) {
    let mut layout = Layout::new(FIELD);
    layout.taken(Area { left: FIELD.left, top: level - 1.0, right: FIELD.right, bottom: level + 1.0 });
    points.iter().for_each(|point| layout.taken(Area::around((point.x, point.y), point.radius, point.radius)));
    for point in points {
        if is_numbered {
            let number = point.number.to_string();
            let Label { x, top, anchor, leader } =
                layout.place((point.x, point.y), point.radius, (width(&number), 13.0));
            if let Some((from, to)) = leader {
                svg.line("frame", from, to);
            }
            svg.text("strong", (x, top + 11.0), (anchor, &number));
            continue;
        }
        let detail = detail(point.row);
        let wide = (width(&point.name) * 1.08).max(width(&detail) * 10.0 / 12.0);
        let Label { x, top, anchor, leader } = layout.place((point.x, point.y), point.radius, (wide, 26.0));
        if let Some((from, to)) = leader {
            svg.line("frame", from, to);
        }
        svg.text("strong", (x, top + 11.0), (anchor, &point.name));
        svg.text_with("faint", (x, top + 23.0), (anchor, &detail), " font-size=\"10\"");
    }
}

/// `0.20 MB · 0.74 ms`
fn detail(row: &Row) -> String {
    let size = format!("{:.2} MB", row.bytes as f64 / 1e6);
    row.latency_p50_ms.map_or(size.clone(), |ms| format!("{size} · {ms:.2} ms"))
}

fn points<'a>(rows: &'a [Row], across: &Axis, up: &Axis) -> Vec<Point<'a>> {
    let slowest = rows.iter().filter_map(|row| row.latency_p50_ms).fold(f64::MIN_POSITIVE, f64::max);
    let radius = |ms: f64| (LARGEST * (ms / slowest).sqrt()).max(SMALLEST);
    let longest = if rows.len() > NAMED { 2 * LONGEST - 4 } else { LONGEST };
    let names = cut_apart(rows.iter().map(|row| row.variant.as_str()), longest);
    let point = |(at, (row, name)): (usize, (&'a Row, String))| Point {
        row,
        number: at + 1,
        name,
        x: across.place(megabytes(row)),
        y: up.place(row.accuracy),
        radius: row.latency_p50_ms.map_or(PLAIN, radius),
    };
    let mut points: Vec<Point> = rows.iter().zip(names).enumerate().map(point).collect();
    points.sort_by(|a, b| a.x.total_cmp(&b.x).then(a.y.total_cmp(&b.y)));
    points
}

fn megabytes(row: &Row) -> f64 {
    row.bytes.max(1) as f64 / 1e6
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

fn accuracy_axis(rows: &[Row]) -> Axis {
    let (least, most) = ends(rows.iter().map(|row| row.accuracy));
    let room = 0.2 * (most - least).max(0.02);
    Axis { low: least - room, high: most + room, is_log: false, from: FIELD.bottom, to: FIELD.top }
}
