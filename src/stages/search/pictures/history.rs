//! The history of a search: each trial's value, and the best one so far.

use std::fmt::Write as _;

use pipe_ml::search::Outcome;
use unicode_width::UnicodeWidthStr;

use super::picture::{Picture, WIDTH};
use crate::draw::axis::Axis;
use crate::draw::number::short;
use crate::draw::style::CHARACTER;
use crate::draw::svg::Svg;

const HEIGHT: f64 = 340.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = WIDTH - 16.0;
const TOP: f64 = 66.0;
const BOTTOM: f64 = HEIGHT - 46.0;
/// Classes of a complete trial, of one that was cut, and of the line of the best.
const DOT: &str = "c0";
const RING: &str = "hollow s0";
const SO_FAR: &str = "curve thin s1";

/// Each trial as a dot at its value, and the best value so far as a line. A trial that was cut is a ring, a failed one a cross at
/// the bottom, and one that is far worse than the others a triangle there.
pub(in crate::stages::search) fn history(picture: &Picture) -> String {
    let mut svg = picture.begin(&format!("{} of each trial", picture.objective), HEIGHT);
    let cut = |outcome: Outcome| if let Outcome::Cut { value, .. } = outcome { Some(value) } else { None };
    let (low, high) = picture.range(picture.observed.iter().filter_map(|observed| cut(observed.outcome)));
    let room = 0.12 * (high - low);
    let up = Axis { low: low - room, high: high + room, is_log: false, from: BOTTOM, to: TOP };
    let trials = picture.observed.len().max(1) as f64;
    let across = Axis { low: -0.5, high: trials - 0.5, is_log: false, from: LEFT, to: RIGHT };
    axes(&mut svg, &across, &up);
    best_so_far(&mut svg, picture, (&across, &up));
    let best = picture.ranked().first().copied();
    let radius = if picture.observed.len() > 60 { 2.5 } else { 4.0 };
    let (mut drawn, mut far) = ([false; 3], 0);
    for (trial, observed) in picture.observed.iter().enumerate() {
        let x = across.place(trial as f64);
        let (class, value) = match (observed.outcome, picture.value(trial)) {
            (Outcome::Pending, _) => continue,
            (_, Some(value)) => (DOT, value),
            (Outcome::Cut { value, .. }, _) if value.is_finite() => (RING, value),
            _ => {
                drawn[2] = true;
                cross(&mut svg, (x, BOTTOM - 7.0), Some(trial));
                continue;
            }
        };
        drawn[usize::from(class == RING)] = true;
        let label = format!("trial {trial}: {}", short(value));
        if value < up.low || value > up.high {
            far += 1;
            let y = if value < up.low { BOTTOM - 2.0 } else { TOP + 2.0 };
            let tip = if value < up.low { y - 8.0 } else { y + 8.0 };
            svg.path("c7", &format!("M{:.1} {tip:.1}H{:.1}L{x:.1} {y:.1}Z", x - 4.5, x + 4.5), &label);
            continue;
        }
        let (class, radius) = if best == Some(trial) { ("c1 halo", radius + 1.5) } else { (class, radius) };
        svg.circle(class, (x, up.place(value)), radius, &label);
    }
    if let Some(best) = best {
        label(&mut svg, picture, (best, across.place(best as f64)));
    }
    legend(&mut svg, drawn, far);
    svg.finish()
}

fn axes(svg: &mut Svg, across: &Axis, up: &Axis) {
    for (at, tick) in up.ticks() {
        let y = up.place(at);
        svg.line("grid", (LEFT, y), (RIGHT, y));
        svg.text("faint", (LEFT - 6.0, y + 4.0), ("end", &tick));
    }
    for (at, _) in across.ticks().into_iter().filter(|(at, _)| at.fract() == 0.0) {
        let x = across.place(at);
        svg.line("frame", (x, BOTTOM), (x, BOTTOM + 4.0));
        svg.text("faint", (x, BOTTOM + 18.0), ("middle", &short(at)));
    }
    svg.line("frame", (LEFT, BOTTOM), (RIGHT, BOTTOM));
    svg.text("faint", ((LEFT + RIGHT) / 2.0, BOTTOM + 36.0), ("middle", "trial"));
}

fn best_so_far(svg: &mut Svg, picture: &Picture, (across, up): (&Axis, &Axis)) {
    let mut path = String::new();
    let mut best: Option<f64> = None;
    for trial in 0..picture.observed.len() {
        let Some(value) = picture.value(trial) else { continue };
        if best.is_some_and(|best| if picture.maximize { value <= best } else { value >= best }) {
            continue;
        }
        let (x, y) = (across.place(trial as f64), up.place(value).clamp(TOP, BOTTOM));
        let _ = if best.is_none() { write!(path, "M{x:.1} {y:.1}") } else { write!(path, "H{x:.1}V{y:.1}") };
        best = Some(value);
    }
    if best.is_some() {
        svg.path(SO_FAR, &format!("{path}H{RIGHT:.1}"), "");
    }
}

fn cross(svg: &mut Svg, (x, y): (f64, f64), trial: Option<usize>) {
    let said = trial.map_or(String::new(), |trial| format!("trial {trial}: failed"));
    svg.path("curve s7", &format!("M{:.1} {:.1}l8 8m0 -8l-8 8", x - 4.0, y - 4.0), &said);
}

/// The value of the best trial, above the field, so that no dot hides it.
fn label(svg: &mut Svg, picture: &Picture, (best, x): (usize, f64)) {
    let said = picture.named(best);
    let half = said.width() as f64 * CHARACTER / 2.0;
    let y = if picture.maximize { TOP + 4.0 } else { BOTTOM - 6.0 };
    svg.text("", (x.clamp(LEFT + half, RIGHT - half), y), ("middle", &said));
}

/// What the marks mean; only those that are there.
fn legend(svg: &mut Svg, drawn: [bool; 3], far: usize) {
    let y = 46.0;
    let mut x = 20.0;
    let mut entry = |svg: &mut Svg, said: &str, mark: &dyn Fn(&mut Svg, f64)| {
        mark(svg, x);
        svg.text("faint", (x + 9.0, y), ("start", said));
        x += 9.0 + said.width() as f64 * CHARACTER + 20.0;
    };
    if drawn[0] {
        entry(svg, "complete", &|svg, x| svg.circle(DOT, (x, y - 4.0), 4.0, ""));
    }
    entry(svg, "best so far", &|svg, x| svg.path(SO_FAR, &format!("M{:.1} {:.1}h10", x - 5.0, y - 4.0), ""));
    if drawn[1] {
        entry(svg, "stopped early", &|svg, x| svg.circle(RING, (x, y - 4.0), 4.0, ""));
    }
    if drawn[2] {
        entry(svg, "failed", &|svg, x| cross(svg, (x, y - 4.0), None));
    }
    if far > 0 {
        entry(svg, "beyond", &|svg, x| svg.path("c7", &format!("M{:.1} {:.1}h9l-4.5 8Z", x - 4.5, y - 8.0), ""));
    }
}
