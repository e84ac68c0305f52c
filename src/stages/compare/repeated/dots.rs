//! Plots every run as a dot, with the mean and its interval.

use std::fmt::Write as _;

use super::figure::{ACCURACY, FIGURES, MACRO_F1, MADE_MEMORY, MADE_SECONDS, Unit};
use super::method::{Method, Repeated};
use crate::draw::axis::Axis;
use crate::draw::number::ends;
use crate::draw::style::style;
use crate::draw::svg::{cut, escaped, line};
use pipe_ml::judge::repeated::Spread;

/// Sizes in pixels: the picture, the column of names, a variant's band, and what lies above the first one.
const WIDTH: f64 = 960.0;
const NAMES: f64 = 200.0;
const BAND: f64 = 44.0;
const TOP: f64 = 96.0;
/// Below the last band: ticks.
const BELOW: f64 = 40.0;
/// Between two panels.
const GAP: f64 = 36.0;
const RIGHT: f64 = 24.0;
/// Distance of the dots above the middle of the band, and of the mean below it.
const ASIDE: f64 = 8.0;

/// The figures, one panel each; those that were not measured are left out.
const PANELS: [usize; 4] = [ACCURACY, MACRO_F1, MADE_SECONDS, MADE_MEMORY];

/// The most characters shown of a name.
const LONGEST: usize = 28;

const LIGHT: &str = "\
.level{stroke:#5d6b7e;stroke-dasharray:5 4}.dot{fill:#2f6fde;fill-opacity:.6;stroke:#1d54b4}
.base{fill:#8a94a6;fill-opacity:.6;stroke:#5d6b7e}.whisker{stroke:#1f2733;stroke-width:1.5}.mean{fill:#1f2733}";
const DARK: &str = "\
.level{stroke:#a3afbf}.dot{fill:#5b93f5;stroke:#9dc0ff}.base{fill:#8a94a6;stroke:#c3ccd8}
.whisker{stroke:#e6ebf2}.mean{fill:#e6ebf2}";

pub(in super::super) fn svg(all: &Repeated) -> String {
    let methods = &all.methods;
    let is_measured = |panel: &&usize| methods.iter().any(|method| method.spreads[**panel].is_some());
    let panels: Vec<&usize> = PANELS.iter().filter(is_measured).collect();
    let bottom = TOP + BAND * methods.len() as f64;
    let mut out = head(all, bottom + BELOW);
    for (at, method) in methods.iter().enumerate() {
        let y = middle(at) + 4.0;
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{y:.1}\" text-anchor=\"end\" font-weight=\"600\">{}</text>",
            NAMES - 12.0,
            escaped(&cut(&method.variant, LONGEST))
        );
    }
    let wide = (WIDTH - NAMES - RIGHT - GAP * (panels.len().max(1) - 1) as f64) / panels.len().max(1) as f64;
    for (at, &&figure) in panels.iter().enumerate() {
        let left = NAMES + at as f64 * (wide + GAP);
        panel(&mut out, all, (figure, left, left + wide, bottom));
    }
    out + "</svg>\n"
}

fn head(all: &Repeated, height: f64) -> String {
    let title = "Every run, with mean and 95 % interval";
    let style = style(LIGHT, DARK);
    let explained =
        format!("dot: one run · bar: mean and its interval · dashed: mean of {}", cut(&all.baseline, LONGEST));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"system-ui,sans-serif\" font-size=\"12\" role=\"img\">\n<title>{title}</title>\n\
         <style>{style}</style>\n<rect class=\"page\" width=\"{WIDTH}\" height=\"{height}\"/>\n\
         <text x=\"24\" y=\"28\" font-size=\"16\" font-weight=\"600\">{title}</text>\n\
         <text class=\"faint\" x=\"24\" y=\"50\">{}</text>\n",
        escaped(&explained)
    )
}

fn middle(at: usize) -> f64 {
    TOP + BAND * (at as f64 + 0.5)
}

/// One figure of all variants, between two edges.
fn panel(out: &mut String, all: &Repeated, (figure, left, right, bottom): (usize, f64, f64, f64)) {
    let unit = FIGURES[figure].unit;
    let axis = axis(&all.methods, figure, (left, right));
    let title = (left + right) / 2.0;
    let _ = writeln!(
        out,
        "<text x=\"{title:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
        TOP - 14.0,
        escaped(FIGURES[figure].title)
    );
    // Half of the ticks: a panel is narrow.
    for (value, text) in axis.ticks().into_iter().step_by(2) {
        let x = axis.place(value);
        line(out, "grid", (x, TOP), (x, bottom));
        let y = bottom + 18.0;
        let _ = writeln!(out, "<text class=\"faint\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{text}</text>");
    }
    let (wide, tall) = (right - left, bottom - TOP);
    let _ = writeln!(
        out,
        "<rect class=\"frame\" x=\"{left:.1}\" y=\"{TOP:.1}\" width=\"{wide:.1}\" height=\"{tall:.1}\"/>"
    );
    if let Some(mean) = all.base().and_then(|base| base.mean(figure)) {
        let x = axis.place(scaled(unit, mean));
        line(out, "level", (x, TOP), (x, bottom));
    }
    for (at, method) in all.methods.iter().enumerate() {
        let class = if method.variant == all.baseline { "base" } else { "dot" };
        for value in method.runs.iter().filter_map(|run| run.values[figure]) {
            let (x, y) = (axis.place(scaled(unit, value)), middle(at) - ASIDE);
            let _ = writeln!(out, "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.5\"/>");
        }
        if let Some(spread) = &method.spreads[figure] {
            bar(out, spread, (&axis, unit, middle(at) + ASIDE));
        }
    }
}

fn bar(out: &mut String, spread: &Spread, (axis, unit, y): (&Axis, Unit, f64)) {
    let place = |value: f64| axis.place(scaled(unit, value));
    if let Some(interval) = spread.interval {
        let ends = [place(interval.low), place(interval.high)];
        line(out, "whisker", (ends[0], y), (ends[1], y));
        for x in ends {
            line(out, "whisker", (x, y - 4.0), (x, y + 4.0));
        }
    }
    let _ = writeln!(out, "<circle class=\"mean\" cx=\"{:.1}\" cy=\"{y:.1}\" r=\"3\"/>", place(spread.mean));
}

/// In the unit of the table.
fn scaled(unit: Unit, value: f64) -> f64 {
    if matches!(unit, Unit::Megabytes) { value / 1e6 } else { value }
}

/// An axis that has all runs and intervals.
fn axis(methods: &[Method], figure: usize, (from, to): (f64, f64)) -> Axis {
    let unit = FIGURES[figure].unit;
    let runs = methods.iter().flat_map(|method| method.runs.iter().filter_map(move |run| run.values[figure]));
    let intervals = methods.iter().filter_map(|method| method.spreads[figure]?.interval);
    let (low, high) = ends(runs.chain(intervals.flat_map(|i| [i.low, i.high])).map(|value| scaled(unit, value)));
    let room = 0.08 * (high - low).max(0.02 * high.abs()).max(1e-6);
    Axis { low: low - room, high: high + room, is_log: false, from, to }
}
