//! Limits that variants must keep.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::row::{Comparison, Row};
use pipe_engine::contract::kind::Invalid;

/// How far a variant may fall behind the baseline. Limits that are not given do not count.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Gate {
    /// Accuracy may fall by so much at most: 0.01 is one point. Below 0, it must rise.
    #[serde(default)]
    accuracy_drop: Option<f64>,
    /// Macro F1 may fall by so much at most.
    #[serde(default)]
    macro_f1_drop: Option<f64>,
    /// Bytes on disk may be so large a part of the baseline's at most.
    #[serde(default)]
    size_ratio: Option<f64>,
    /// The median latency at batch 1 may be so many times the baseline's at most.
    #[serde(default)]
    latency_ratio: Option<f64>,
    /// Throughput must be so many times the baseline's at least.
    #[serde(default)]
    speed_up: Option<f64>,
    /// The variants that must keep the limits. Default: all but the baseline.
    #[serde(default)]
    variants: Option<Vec<String>>,
}

/// What a limit is held against; none where it was not measured.
type Figure = fn(&Row) -> Option<f64>;

/// One limit, and the figure that it holds for.
struct Limit {
    key: &'static str,
    bound: Bound,
    /// None where it was not measured.
    figure: Figure,
}

enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

/// A drop of 0.89 to 0.88 is one of 0.01, though not in binary.
const ROUNDING: f64 = 1e-9;

impl Gate {
    pub fn check(&self) -> Vec<Invalid> {
        let mut wrong = Vec::new();
        let drops = [("accuracy-drop", self.accuracy_drop), ("macro-f1-drop", self.macro_f1_drop)];
        for (key, value) in drops.into_iter().filter_map(|(key, value)| Some((key, value?))) {
            if !(-1.0..=1.0).contains(&value) {
                let message = format!("{key} of the gate is {value}; it must be from -1 to 1");
                wrong.push(Invalid::new("gate", message).help("0.01 is one point of 100"));
            }
        }
        let ratios =
            [("size-ratio", self.size_ratio), ("latency-ratio", self.latency_ratio), ("speed-up", self.speed_up)];
        for (key, value) in ratios.into_iter().filter_map(|(key, value)| Some((key, value?))) {
            if !(value > 0.0 && value.is_finite()) {
                wrong.push(Invalid::new("gate", format!("{key} of the gate is {value}; it must be above 0")));
            }
        }
        if self.limits().is_empty() {
            wrong.push(
                Invalid::new("gate", "the gate has no limit")
                    .help("limits: accuracy-drop, macro-f1-drop, size-ratio, latency-ratio, speed-up"),
            );
        }
        if self.variants.as_ref().is_some_and(Vec::is_empty) {
            let wrong_list = Invalid::new("gate", "`variants` of the gate is empty, so that nothing could fail");
            wrong.push(wrong_list.help("leave it out for all but the baseline"));
        }
        wrong
    }

    pub fn check_variants(&self, known: &[&str], baseline: Option<&str>) -> Vec<Invalid> {
        let wrong = |name: &String| {
            if !known.contains(&name.as_str()) {
                let invalid = Invalid::new("gate", format!("there is no variant `{name}` for the gate"));
                return Some(invalid.help(format!("variants: {}", known.join(", "))));
            }
            let message = || format!("`{name}` is the baseline, which the gate compares the others with");
            (Some(name.as_str()) == baseline).then(|| Invalid::new("gate", message()))
        };
        if self.variants.is_none() && known.iter().all(|name| Some(*name) == baseline) {
            let nothing = Invalid::new("gate", "the gate has nothing to hold: the baseline is the only variant");
            return vec![nothing.help("give `in.metrics` more models, or leave `gate` out")];
        }
        self.variants.iter().flatten().filter_map(wrong).collect()
    }

    /// What to say of the variants that break a limit; none where all keep them.
    pub fn shortfall(&self, comparison: &Comparison) -> Option<String> {
        let limits = self.limits();
        let guarded: Vec<&Row> = comparison.rows.iter().filter(|row| self.guards(row, &comparison.baseline)).collect();
        let broken: Vec<String> = guarded
            .iter()
            .filter_map(|row| {
                let words: Vec<String> = limits.iter().filter_map(|limit| limit.broken(row)).collect();
                (!words.is_empty()).then(|| format!("\n  {}: {}", row.variant, words.join("; ")))
            })
            .collect();
        let (count, of) = (broken.len(), guarded.len());
        let verb = if count == 1 { "falls" } else { "fall" };
        let all = broken.concat();
        (count > 0).then(|| {
            format!("{count} of {of} variants {verb} short of the gate, against `{}`:{all}", comparison.baseline)
        })
    }

    fn guards(&self, row: &Row, baseline: &str) -> bool {
        match &self.variants {
            Some(named) => named.contains(&row.variant),
            None => row.variant != baseline,
        }
    }

    fn limits(&self) -> Vec<Limit> {
        let limit = |key, bound, figure| Limit { key, bound, figure };
        let at_most: [(_, _, Figure); 4] = [
            ("accuracy-drop", self.accuracy_drop, |row| row.accuracy_change.map(|change| 0.0 - change)),
            ("macro-f1-drop", self.macro_f1_drop, |row| row.macro_f1_change.map(|change| 0.0 - change)),
            ("size-ratio", self.size_ratio, |row| Some(row.size_ratio)),
            ("latency-ratio", self.latency_ratio, |row| row.latency_ratio),
        ];
        let at_most = at_most.into_iter().filter_map(|(key, most, f)| Some(limit(key, Bound::AtMost(most?), f)));
        let at_least = self.speed_up.map(|least| limit("speed-up", Bound::AtLeast(least), |row| row.speed_up));
        at_most.chain(at_least).collect()
    }
}

impl Limit {
    /// `size-ratio 0.6200, at most 0.5` where a row breaks it. What was not measured is not known to be kept.
    fn broken(&self, row: &Row) -> Option<String> {
        let figure = (self.figure)(row);
        let (holds, bound) = match self.bound {
            Bound::AtMost(most) => (figure.is_some_and(|f| f <= most + ROUNDING), format!("at most {most}")),
            Bound::AtLeast(least) => (figure.is_some_and(|f| f >= least - ROUNDING), format!("at least {least}")),
        };
        let found = figure.map_or("not measured (speed-seconds = 0)".into(), |f| format!("{f:.4}"));
        (!holds).then(|| format!("{} {found}, {bound}", self.key))
    }
}
