//! The history of a search: each trial's value, and the best one so far.

use std::fmt::Write as _;

use pipe_ml::search::Outcome;
use unicode_width::UnicodeWidthStr;

use super::picture::{Picture, WIDTH, text};
use crate::draw::axis::Axis;
use crate::draw::number::short;
use crate::draw::svg::line;

const HEIGHT: f64 = 340.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = WIDTH - 16.0;
const TOP: f64 = 66.0;
const BOTTOM: f64 = HEIGHT - 46.0;
/// Pixels that a character of the small texts takes.
const CHARACTER: f64 = 6.4;

/// Each trial as a dot at its value, and the best value so far as a line. A trial that was cut is a ring, a failed one a cross at
/// the bottom, and one that is far worse than the others a triangle there.
pub(in crate::stages::search) fn history(picture: &Picture) -> String {
    let mut out = picture.head(&format!("{} of each trial", picture.objective), HEIGHT);
    let cut = |outcome: Outcome| if let Outcome::Cut { value, .. } = outcome { Some(value) } else { None };
    let (low, high) = picture.range(picture.observed.iter().filter_map(|observed| cut(observed.outcome)));
    let room = 0.12 * (high - low);
    let up = Axis { low: low - room, high: high + room, is_log: false, from: BOTTOM, to: TOP };
    let trials = picture.observed.len().max(1) as f64;
    let across = Axis { low: -0.5, high: trials - 0.5, is_log: false, from: LEFT, to: RIGHT };
    axes(&mut out, &across, &up);
    best_so_far(&mut out, picture, (&across, &up));
    let best = picture.ranked().first().copied();
    let radius = if picture.observed.len() > 60 { 2.5 } else { 4.0 };
    let (mut drawn, mut far) = ([false; 3], 0);
    for (trial, observed) in picture.observed.iter().enumerate() {
        let x = across.place(trial as f64);
        let (class, value) = match (observed.outcome, picture.value(trial)) {
            (Outcome::Pending, _) => continue,
            (_, Some(value)) => ("dot", value),
            (Outcome::Cut { value, .. }, _) if value.is_finite() => ("hollow", value),
            _ => {
                drawn[2] = true;
                cross(&mut out, (x, BOTTOM - 7.0), trial);
                continue;
            }
        };
        drawn[usize::from(class == "hollow")] = true;
        let label = format!("trial {trial}: {}", short(value));
        if value < up.low || value > up.high {
            far += 1;
            let y = if value < up.low { BOTTOM - 2.0 } else { TOP + 2.0 };
            let tip = if value < up.low { y - 8.0 } else { y + 8.0 };
            let _ = writeln!(
                out,
                "<path class=\"far\" d=\"M{:.1} {tip:.1}H{:.1}L{x:.1} {y:.1}Z\"><title>{label}</title></path>",
                x - 4.5,
                x + 4.5
            );
            continue;
        }
        let (class, radius) = if best == Some(trial) { ("best", radius + 1.5) } else { (class, radius) };
        let y = up.place(value);
        let _ = writeln!(
            out,
            "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\"><title>{label}</title></circle>"
        );
    }
    if let Some(best) = best {
        label(&mut out, picture, (best, across.place(best as f64)));
    }
    legend(&mut out, drawn, far);
    out + "</svg>\n"
}

fn axes(out: &mut String, across: &Axis, up: &Axis) {
    for (at, tick) in up.ticks() {
        let y = up.place(at);
        line(out, "grid", (LEFT, y), (RIGHT, y));
        text(out, "faint", (LEFT - 6.0, y + 4.0), ("end", &tick));
    }
    for (at, _) in across.ticks().into_iter().filter(|(at, _)| at.fract() == 0.0) {
        let x = across.place(at);
        line(out, "frame", (x, BOTTOM), (x, BOTTOM + 4.0));
        text(out, "faint", (x, BOTTOM + 18.0), ("middle", &short(at)));
    }
    line(out, "frame", (LEFT, BOTTOM), (RIGHT, BOTTOM));
    text(out, "faint", ((LEFT + RIGHT) / 2.0, BOTTOM + 36.0), ("middle", "trial"));
}

fn best_so_far(out: &mut String, picture: &Picture, (across, up): (&Axis, &Axis)) {
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
        let _ = writeln!(out, "<path class=\"so-far\" d=\"{path}H{RIGHT:.1}\"/>");
    }
}

fn cross(out: &mut String, (x, y): (f64, f64), trial: usize) {
    let _ = writeln!(
        out,
        "<path class=\"cross\" d=\"M{:.1} {:.1}l8 8m0 -8l-8 8\"><title>trial {trial}: failed</title></path>",
        x - 4.0,
        y - 4.0
    );
}

/// The value of the best trial, above the field, so that no dot hides it.
fn label(out: &mut String, picture: &Picture, (best, x): (usize, f64)) {
    let said = picture.named(best);
    let half = said.width() as f64 * CHARACTER / 2.0;
    let y = if picture.maximize { TOP + 4.0 } else { BOTTOM - 6.0 };
    text(out, "", (x.clamp(LEFT + half, RIGHT - half), y), ("middle", &said));
}

/// What the marks mean; only those that are there.
fn legend(out: &mut String, drawn: [bool; 3], far: usize) {
    let y = 46.0;
    let mut x = 20.0;
    let mut entry = |out: &mut String, mark: String, said: &str| {
        out.push_str(&mark);
        text(out, "faint", (x + 9.0, y), ("start", said));
        x += 9.0 + said.width() as f64 * CHARACTER + 20.0;
        x
    };
    let mut at = 20.0;
    let circle =
        |class: &str, x: f64| format!("<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{:.1}\" r=\"4\"/>\n", y - 4.0);
    if drawn[0] {
        at = entry(out, circle("dot", at), "complete");
    }
    let mark = format!("<path class=\"so-far\" d=\"M{:.1} {:.1}h10\"/>\n", at - 5.0, y - 4.0);
    at = entry(out, mark, "best so far");
    if drawn[1] {
        at = entry(out, circle("hollow", at), "stopped early");
    }
    if drawn[2] {
        let mut mark = String::new();
        cross(&mut mark, (at, y - 4.0), 0);
        at = entry(out, mark.replace("<title>trial 0: failed</title>", ""), "failed");
    }
    if far > 0 {
        let mark = format!("<path class=\"far\" d=\"M{:.1} {:.1}h9l-4.5 8Z\"/>\n", at - 4.5, y - 8.0);
        entry(out, mark, "beyond");
    }
}
