//! Limits that variants must not exceed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    /// The least accepted low end of the interval of the accuracy's change: `-0.01` demands that the accuracy is with 95 %
    /// confidence at most one point lower, `0` that it is not lower.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    accuracy_low_end: Option<f64>,
    /// The same for the macro F1; only with `over`, because its change has an interval only there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    macro_f1_low_end: Option<f64>,
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

/// The values of one variant that limits apply to; None if it was not measured.
#[derive(Debug)]
pub(super) struct Figures {
    pub variant: String,
    pub accuracy_drop: Option<f64>,
    pub macro_f1_drop: Option<f64>,
    pub accuracy_low_end: Option<f64>,
    pub macro_f1_low_end: Option<f64>,
    pub size_ratio: Option<f64>,
    pub latency_ratio: Option<f64>,
    pub speed_up: Option<f64>,
}

/// The value that a limit applies to.
type Figure = fn(&Figures) -> Option<f64>;

/// One limit and the value it applies to.
struct Limit {
    key: &'static str,
    bound: Bound,
    figure: Figure,
}

enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

/// Tolerance: in binary, 0.89 − 0.88 is slightly more than 0.01.
const ROUNDING: f64 = 1e-9;

impl Gate {
    /// `is_repeated` says whether variants are compared over repeated runs.
    pub(super) fn check(&self, is_repeated: bool) -> Vec<Invalid> {
        let mut wrong = Vec::new();
        if self.macro_f1_low_end.is_some() && !is_repeated {
            let message = "macro-f1-low-end of the gate needs `over`: without repeated runs, the change of the macro F1 has no \
                           interval";
            wrong.push(Invalid::new("gate", message).help("write `over = \"seed\"`, or limit accuracy-low-end"));
        }
        let drops = [
            ("accuracy-drop", self.accuracy_drop),
            ("macro-f1-drop", self.macro_f1_drop),
            ("accuracy-low-end", self.accuracy_low_end),
            ("macro-f1-low-end", self.macro_f1_low_end),
        ];
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
            wrong.push(Invalid::new("gate", "the gate has no limit").help(
                "limits: accuracy-drop, macro-f1-drop, accuracy-low-end, macro-f1-low-end, size-ratio, latency-ratio, \
                     speed-up",
            ));
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
    pub(super) fn shortfall(&self, baseline: &str, all: &[Figures]) -> Option<String> {
        let limits = self.limits();
        let guarded: Vec<&Figures> = all.iter().filter(|figures| self.guards(figures, baseline)).collect();
        let broken: Vec<String> = guarded
            .iter()
            .filter_map(|figures| {
                let words: Vec<String> = limits.iter().filter_map(|limit| limit.broken(figures)).collect();
                (!words.is_empty()).then(|| format!("\n  {}: {}", figures.variant, words.join("; ")))
            })
            .collect();
        let (count, of) = (broken.len(), guarded.len());
        let verb = if count == 1 { "fails" } else { "fail" };
        let all = broken.concat();
        (count > 0).then(|| format!("{count} of {of} variants {verb} the gate, compared with `{baseline}`:{all}"))
    }

    fn guards(&self, figures: &Figures, baseline: &str) -> bool {
        match &self.variants {
            Some(named) => named.contains(&figures.variant),
            None => figures.variant != baseline,
        }
    }

    fn limits(&self) -> Vec<Limit> {
        let (most, least) =
            (|value: Option<f64>| value.map(Bound::AtMost), |value: Option<f64>| value.map(Bound::AtLeast));
        let all: [(_, _, Figure); 7] = [
            ("accuracy-drop", most(self.accuracy_drop), |f| f.accuracy_drop),
            ("macro-f1-drop", most(self.macro_f1_drop), |f| f.macro_f1_drop),
            ("accuracy-low-end", least(self.accuracy_low_end), |f| f.accuracy_low_end),
            ("macro-f1-low-end", least(self.macro_f1_low_end), |f| f.macro_f1_low_end),
            ("size-ratio", most(self.size_ratio), |f| f.size_ratio),
            ("latency-ratio", most(self.latency_ratio), |f| f.latency_ratio),
            ("speed-up", least(self.speed_up), |f| f.speed_up),
        ];
        all.into_iter().filter_map(|(key, bound, figure)| Some(Limit { key, bound: bound?, figure })).collect()
    }
}

impl Limit {
    /// `size-ratio 0.6200, at most 0.5` if a variant exceeds the limit. A value that was not measured counts as exceeding
    /// it.
    fn broken(&self, figures: &Figures) -> Option<String> {
        let figure = (self.figure)(figures);
        let (holds, bound) = match self.bound {
            Bound::AtMost(most) => (figure.is_some_and(|f| f <= most + ROUNDING), format!("at most {most}")),
            Bound::AtLeast(least) => (figure.is_some_and(|f| f >= least - ROUNDING), format!("at least {least}")),
        };
        let why = if self.key.ends_with("-ratio") || self.key == "speed-up" { "speed-seconds = 0" } else { "no pairs" };
        let found = figure.map_or(format!("not measured ({why})"), |f| format!("{f:.4}"));
        (!holds).then(|| format!("{} {found}, {bound}", self.key))
    }
}
