//! Limits that variants must not exceed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::row::{Comparison, Row};
use pipe_engine::contract::kind::Invalid;

/// How much worse than the baseline a variant may be. A limit that is left out is not checked.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Gate {
    /// The largest accepted drop of the accuracy; 0.01 is one point. If it is negative, the accuracy must rise.
    #[serde(default)]
    accuracy_drop: Option<f64>,
    /// The largest accepted drop of the macro F1.
    #[serde(default)]
    macro_f1_drop: Option<f64>,
    /// The largest accepted size on disk, relative to the baseline.
    #[serde(default)]
    size_ratio: Option<f64>,
    /// The largest accepted median latency at batch size 1, relative to the baseline.
    #[serde(default)]
    latency_ratio: Option<f64>,
    /// The smallest accepted throughput, relative to the baseline.
    #[serde(default)]
    speed_up: Option<f64>,
    /// The variants to check. Default: all except the baseline.
    #[serde(default)]
    variants: Option<Vec<String>>,
}

/// The value that a limit applies to; None if it was not measured.
type Figure = fn(&Row) -> Option<f64>;

/// One limit and the value it applies to.
struct Limit {
    key: &'static str,
    bound: Bound,
    /// None if it was not measured.
    figure: Figure,
}

enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

/// Tolerance: in binary, 0.89 − 0.88 is slightly more than 0.01.
const ROUNDING: f64 = 1e-9;

impl Gate {
    pub(super) fn check(&self) -> Vec<Invalid> {
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
            let wrong_list = Invalid::new("gate", "`variants` of the gate is empty, so the gate checks nothing");
            wrong.push(wrong_list.help("leave it out to check all variants except the baseline"));
        }
        wrong
    }

    pub(super) fn check_variants(&self, known: &[&str], baseline: Option<&str>) -> Vec<Invalid> {
        let wrong = |name: &String| {
            if !known.contains(&name.as_str()) {
                let invalid = Invalid::new("gate", format!("the gate names an unknown variant `{name}`"));
                return Some(invalid.help(format!("variants: {}", known.join(", "))));
            }
            let message = || format!("the gate names the baseline `{name}`, which cannot be compared with itself");
            (Some(name.as_str()) == baseline).then(|| Invalid::new("gate", message()))
        };
        if self.variants.is_none() && known.iter().all(|name| Some(*name) == baseline) {
            let nothing = Invalid::new("gate", "the gate has nothing to check: the baseline is the only variant");
            return vec![nothing.help("add models to `in.metrics`, or leave `gate` out")];
        }
        self.variants.iter().flatten().filter_map(wrong).collect()
    }

    /// Describe the variants that exceed a limit; None if there are none.
    pub(super) fn shortfall(&self, comparison: &Comparison) -> Option<String> {
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
        let verb = if count == 1 { "fails" } else { "fail" };
        let all = broken.concat();
        (count > 0)
            .then(|| format!("{count} of {of} variants {verb} the gate, compared with `{}`:{all}", comparison.baseline))
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
    /// `size-ratio 0.6200, at most 0.5` if a row exceeds the limit. A value that was not measured counts as exceeding
    /// it.
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
