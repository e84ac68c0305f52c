//! Parallel coordinates of a search: each parameter is an axis, each trial a line across them.
//!
//! The axes lie below each other, so that names of any length fit and the picture stays readable on a narrow screen.

use std::fmt::Write as _;

use pipe_ml::search::{Domain, Value};
use unicode_width::UnicodeWidthStr;

use super::picture::{Picture, WIDTH};
use crate::draw::area::Area;
use crate::draw::axis::Axis;
use crate::draw::number::short;
use crate::draw::style::{CHARACTER, STEPS};
use crate::draw::svg::{Svg, cut, cut_apart};

const LEFT: f64 = 20.0;
const RIGHT: f64 = WIDTH - 20.0;
/// Where the first axis lies, and the distance from one to the next.
const TOP: f64 = 92.0;
const APART: f64 = 58.0;
/// Room for trials in which a parameter is not set, left of its axis.
const UNSET: f64 = 46.0;
/// The most characters shown of a name.
const LONGEST: usize = 60;
/// Shades from the worst fifth to the best.
const SHADES: usize = 5;

/// The step of the style's scale for a shade.
fn shade(shade: usize) -> usize {
    STEPS - 1 - (SHADES - 1 - shade) * 3 / 2
}

/// One axis.
struct Row<'a> {
    y: f64,
    name: &'a str,
    scale: Scale<'a>,
    has_unset: bool,
}

enum Scale<'a> {
    Numbers { axis: Axis, is_whole: bool },
    Choices { names: &'a [String], left: f64 },
}

/// One line for each trial with a value, darker if better, the best one in another colour. Trials that were cut or failed are
/// dashed lines that end before the axis of the objective.
pub(in crate::stages::search) fn parallel(picture: &Picture) -> String {
    let count = picture.space.parameters.len();
    let height = TOP + APART * count as f64 + 36.0;
    let mut svg = picture.begin(&format!("{} by parameter", picture.objective), height);
    let rows: Vec<Row> = (0..=count).map(|index| Row::of(picture, index)).collect();
    for row in &rows {
        row.draw_axis(&mut svg);
    }
    let ranked = picture.ranked();
    let without = (0..picture.observed.len()).filter(|trial| picture.value(*trial).is_none());
    // The scale's lightest colours are for areas; lines need the darker ones.
    let shade = |place: usize| shade(SHADES - 1 - place * SHADES / ranked.len());
    let lines = without.map(|trial| (trial, "curve level".to_owned()));
    let lines = lines.chain(
        ranked.iter().enumerate().skip(1).rev().map(|(place, trial)| (*trial, format!("curve thin p{}", shade(place)))),
    );
    for (trial, class) in lines.chain(ranked.first().map(|best| (*best, "curve thick s1".to_owned()))) {
        way(&mut svg, picture, &rows, (trial, &class));
    }
    for row in &rows {
        row.draw_texts(&mut svg);
    }
    legend(&mut svg, picture, &ranked);
    svg.finish()
}

fn way(svg: &mut Svg, picture: &Picture, rows: &[Row], (trial, class): (usize, &str)) {
    let mut path = String::new();
    for (index, row) in rows.iter().enumerate() {
        let value = match picture.observed[trial].point.get(index) {
            Some(value) => *value,
            // The objective.
            None => match picture.value(trial) {
                Some(value) => Some(Value::Float(value)),
                None => continue,
            },
        };
        let x = row.place(value, trial);
        // A curve that leaves and meets each axis at a right angle is easier to follow than a corner.
        let _ = match index {
            0 => write!(path, "M{x:.1} {:.1}", row.y),
            _ => {
                let bend = row.y - APART / 2.0;
                write!(path, "S{x:.1} {bend:.1} {x:.1} {:.1}", row.y)
            }
        };
    }
    let label = picture.named(trial);
    let label = if label.is_empty() { format!("trial {trial}") } else { label };
    svg.path(class, &path, &label);
}

impl<'a> Row<'a> {
    /// The axis of a parameter, or after the last one that of the objective.
    fn of(picture: &'a Picture, index: usize) -> Self {
        let y = TOP + APART * index as f64;
        let Some(parameter) = picture.space.parameters.get(index) else {
            let (low, high) = picture.range(std::iter::empty());
            let axis = Axis { low, high, is_log: false, from: LEFT, to: RIGHT };
            return Self {
                y,
                name: picture.objective,
                scale: Scale::Numbers { axis, is_whole: false },
                has_unset: false,
            };
        };
        let has_unset = picture.observed.iter().any(|observed| observed.point[index].is_none());
        let left = if has_unset { LEFT + UNSET } else { LEFT };
        let numbers = |low: f64, high: f64, is_log, is_whole| {
            // An axis needs two ends.
            let high = if low < high { high } else { low + low.abs().max(1.0) };
            Scale::Numbers { axis: Axis { low, high, is_log, from: left, to: RIGHT }, is_whole }
        };
        let scale = match parameter.domain {
            Domain::Float { low, high, log } => numbers(low, high, log, false),
            Domain::Integer { low, high, log, .. } => numbers(low as f64, high as f64, log, true),
            Domain::Categories(_) => Scale::Choices { names: &picture.choices[index], left },
        };
        Self { y, name: &parameter.name, scale, has_unset }
    }

    /// The pixel of a value. Lines through the same choice lie beside each other.
    fn place(&self, value: Option<Value>, trial: usize) -> f64 {
        // The golden ratio spreads any number of trials evenly.
        let aside = (trial as f64 * 0.618_033_988_75).fract() - 0.5;
        match (&self.scale, value) {
            (Scale::Numbers { axis, .. }, Some(Value::Float(x))) => axis.place(x.clamp(axis.low, axis.high)),
            (Scale::Numbers { axis, .. }, Some(Value::Integer(x))) => axis.place((x as f64).clamp(axis.low, axis.high)),
            (Scale::Choices { names, left }, Some(Value::Category(choice))) => {
                let wide = (RIGHT - left) / names.len().max(1) as f64;
                left + (choice as f64 + 0.5) * wide + aside * (wide * 0.4).min(24.0)
            }
            _ => LEFT + 8.0 + aside * 14.0,
        }
    }

    fn draw_axis(&self, svg: &mut Svg) {
        let left = match &self.scale {
            Scale::Numbers { axis, .. } => axis.from,
            Scale::Choices { left, .. } => *left,
        };
        svg.line("frame", (left, self.y), (RIGHT, self.y));
        if self.has_unset {
            svg.line("level", (LEFT - 6.0, self.y), (left - 16.0, self.y));
        }
        if let Scale::Choices { .. } = self.scale {
            return;
        }
        for (x, _) in self.labels() {
            svg.line("frame", (x, self.y - 3.0), (x, self.y + 3.0));
        }
    }

    /// The texts below the axis, without those that would overlap.
    fn labels(&self) -> Vec<(f64, String)> {
        let all: Vec<(f64, String)> = match &self.scale {
            Scale::Numbers { axis, is_whole } => {
                let mut at: Vec<f64> = axis.ticks().into_iter().map(|(at, _)| at).collect();
                at.retain(|at| !is_whole || at.fract() == 0.0);
                if at.len() < 2 {
                    at = vec![axis.low, axis.high];
                }
                at.into_iter().map(|at| (axis.place(at), short(at))).collect()
            }
            Scale::Choices { names, left } => {
                let wide = (RIGHT - left) / names.len().max(1) as f64;
                let longest = ((wide / CHARACTER) as usize).saturating_sub(2).max(6);
                let place = |choice: usize| left + (choice as f64 + 0.5) * wide;
                let names = cut_apart(names.iter().map(String::as_str), longest);
                names.into_iter().enumerate().map(|(choice, name)| (place(choice), name)).collect()
            }
        };
        let mut end = f64::NEG_INFINITY;
        let mut kept = Vec::new();
        for (x, label) in all {
            let half = label.width() as f64 * CHARACTER / 2.0;
            if x - half > end + CHARACTER {
                end = x + half;
                kept.push((x, label));
            }
        }
        kept
    }

    fn draw_texts(&self, svg: &mut Svg) {
        let behind = |svg: &mut Svg, (x, y): (f64, f64), wide: f64| {
            svg.round("behind", Area { left: x, top: y - 11.0, right: x + wide, bottom: y + 3.0 }, "");
        };
        let name = cut(self.name, LONGEST);
        let y = self.y - 9.0;
        behind(svg, (LEFT - 8.0, y), name.width() as f64 * 7.0 + 8.0);
        svg.text("strong", (LEFT - 6.0, y), ("start", &name));
        let y = self.y + 17.0;
        let unset = self.has_unset.then(|| (LEFT + 8.0, "not set".to_owned()));
        for (x, label) in unset.into_iter().chain(self.labels()) {
            let half = label.width() as f64 * CHARACTER / 2.0;
            let x = x.clamp(half + 6.0, WIDTH - 6.0 - half);
            behind(svg, (x - half - 2.0, y), 2.0 * half + 4.0);
            svg.text("faint", (x, y), ("middle", &label));
        }
    }
}

fn legend(svg: &mut Svg, picture: &Picture, ranked: &[usize]) {
    let y = 48.0;
    svg.text("faint", (14.0, y), ("start", "worse"));
    for shade in 0..SHADES {
        let x = 54.0 + 18.0 * shade as f64;
        svg.path(&format!("curve thick p{}", self::shade(shade)), &format!("M{x:.1} {:.1}h16", y - 4.0), "");
    }
    svg.text("faint", (148.0, y), ("start", "better"));
    let mut x = 196.0;
    if let Some(best) = ranked.first() {
        svg.path("curve thick s1", &format!("M{x:.1} {:.1}h18", y - 4.0), "");
        let said = format!("best: {}", picture.named(*best));
        svg.text("faint", (x + 22.0, y), ("start", &said));
        x += 22.0 + said.width() as f64 * CHARACTER + 12.0;
    }
    if ranked.len() < picture.observed.len() {
        svg.path("curve level", &format!("M{x:.1} {:.1}h18", y - 4.0), "");
        svg.text("faint", (x + 22.0, y), ("start", "no value"));
    }
}
