//! Plots every run as a dot, with the mean and its interval.

use super::figure::{ACCURACY, FIGURES, MACRO_F1, MADE_MEMORY, MADE_SECONDS, Unit};
use super::method::{Method, Repeated};
use crate::draw::area::Area;
use crate::draw::axis::Axis;
use crate::draw::number::ends;
use crate::draw::style::WIDTH;
use crate::draw::svg::{MARGIN, Svg, cut, cut_apart, width};
use pipe_ml::judge::repeated::Spread;

/// Sizes in pixels: what lies above the first panel, a variant's band, and above and below the bands of a panel.
const TOP: f64 = 70.0;
const BAND: f64 = 34.0;
const ABOVE: f64 = 22.0;
const BELOW: f64 = 26.0;
const RIGHT: f64 = WIDTH - MARGIN;
/// Distance of the dots above the middle of the band, and of the mean below it.
const ASIDE: f64 = 7.0;

/// The figures, one panel each; those that were not measured are left out.
const PANELS: [usize; 4] = [ACCURACY, MACRO_F1, MADE_SECONDS, MADE_MEMORY];

/// The most columns shown of a name.
const LONGEST: usize = 24;

/// Where a panel lies.
struct Place {
    left: f64,
    top: f64,
    bottom: f64,
}

pub(in super::super) fn svg(all: &Repeated) -> String {
    let methods = &all.methods;
    let is_measured = |panel: &usize| methods.iter().any(|method| method.spreads[*panel].is_some());
    let panels: Vec<usize> = PANELS.into_iter().filter(is_measured).collect();
    let tall = ABOVE + BAND * methods.len() as f64 + BELOW;
    let mut svg =
        Svg::new("Every run, with mean and 95 % interval", (WIDTH, TOP + tall * panels.len() as f64 + 8.0), ("", ""));
    svg.subtitle("dot: one run · bar: mean and its interval");
    svg.text("faint", (MARGIN, 59.0), ("start", &format!("dashed: mean of {} (orange)", cut(&all.baseline, 40))));
    let names = cut_apart(methods.iter().map(|method| method.variant.as_str()), LONGEST);
    let left = MARGIN + names.iter().map(|name| width(name) * 1.08).fold(0.0, f64::max) + 10.0;
    for (at, figure) in panels.into_iter().enumerate() {
        let top = TOP + at as f64 * tall + ABOVE;
        let place = Place { left, top, bottom: top + BAND * methods.len() as f64 };
        for (at, name) in names.iter().enumerate() {
            svg.text("strong", (left - 8.0, middle(&place, at) + 4.0), ("end", name));
        }
        panel(&mut svg, all, figure, &place);
    }
    svg.finish()
}

fn middle(place: &Place, at: usize) -> f64 {
    place.top + BAND * (at as f64 + 0.5)
}

/// One figure of all variants.
fn panel(svg: &mut Svg, all: &Repeated, figure: usize, place: &Place) {
    let &Place { left, top, bottom } = place;
    let unit = FIGURES[figure].unit;
    let axis = axis(&all.methods, figure, (left, RIGHT));
    svg.text("", ((left + RIGHT) / 2.0, top - 7.0), ("middle", FIGURES[figure].title));
    let ticks = axis.ticks();
    let widest = ticks.iter().map(|(_, text)| width(text)).fold(1.0, f64::max) + 10.0;
    let fit = (((RIGHT - left) / widest) as usize).max(1);
    for (value, text) in ticks.iter().step_by(ticks.len().div_ceil(fit).max(1)) {
        let x = axis.place(*value);
        svg.line("grid", (x, top), (x, bottom));
        svg.text("faint", (x, bottom + 16.0), ("middle", text));
    }
    svg.rect("frame", Area { left, top, right: RIGHT, bottom }, "");
    if let Some(mean) = all.base().and_then(|base| base.mean(figure)) {
        let x = axis.place(scaled(unit, mean));
        svg.line("level", (x, top), (x, bottom));
    }
    for (at, method) in all.methods.iter().enumerate() {
        let color = if method.variant == all.baseline { "c1" } else { "c0" };
        for value in method.runs.iter().filter_map(|run| run.values[figure]) {
            let at = (axis.place(scaled(unit, value)), middle(place, at) - ASIDE);
            svg.circle(&format!("{color} soft"), at, 4.5, "");
        }
        if let Some(spread) = &method.spreads[figure] {
            bar(svg, spread, (&axis, unit, middle(place, at) + ASIDE));
        }
    }
}

fn bar(svg: &mut Svg, spread: &Spread, (axis, unit, y): (&Axis, Unit, f64)) {
    let place = |value: f64| axis.place(scaled(unit, value));
    if let Some(interval) = spread.interval {
        svg.whisker((0.0, y), (place(interval.low), place(interval.high)), true);
    }
    svg.circle("whisker", (place(spread.mean), y), 2.5, "");
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
