//! What a picture shows, and what both pictures have in common.

use std::fmt::Write as _;

use pipe_ml::search::{Observed, Outcome, Space};

use crate::draw::number::{ends, short, spread};
pub(super) use crate::draw::style::WIDTH;
use crate::draw::style::style;
use crate::draw::svg::escaped;

/// A finished search.
pub(in crate::stages::search) struct Picture<'a> {
    pub space: &'a Space,
    /// The names of each parameter's choices; empty for a range.
    pub choices: &'a [Vec<String>],
    pub observed: &'a [Observed],
    /// What was optimized: `macro-f1`.
    pub objective: &'a str,
    pub maximize: bool,
}

const LIGHT: &str = "\
.dot{fill:#2f6fde}.hollow{fill:#ffffff;stroke:#2f6fde;stroke-width:1.5}.best{fill:#d9480f;stroke:#ffffff}
.cross{stroke:#8a94a6;stroke-width:1.5}.far{fill:#8a94a6}.so-far{stroke:#d9480f;stroke-width:1.5;fill:none}
.axis{stroke:#5d6b7e;stroke-width:1.5}.behind{fill:#ffffff;fill-opacity:.8}.way{fill:none;stroke-width:1.3;stroke-opacity:.85}
.of-best{stroke:#d9480f;stroke-width:2.6}.w0{stroke:#c8d3e6}.w1{stroke:#a3b9dd}.w2{stroke:#7698d2}.w3{stroke:#4775c4}.w4{stroke:#1d4fa8}
.none{stroke:#b4bcc8;stroke-dasharray:4 3}";
const DARK: &str = "\
.dot{fill:#5b93f5}.hollow{fill:#12171f;stroke:#5b93f5}.best{fill:#ff9f5a;stroke:#12171f}
.cross{stroke:#8a94a6}.far{fill:#8a94a6}.so-far{stroke:#ff9f5a}.axis{stroke:#a3afbf}.behind{fill:#12171f}
.of-best{stroke:#ff9f5a}.w0{stroke:#2e3a50}.w1{stroke:#3a5079}.w2{stroke:#4a6ba8}.w3{stroke:#6a94dd}.w4{stroke:#a9caff}
.none{stroke:#5d6878}";

/// What lies farther below the median than this many times what the best one is above it, is drawn at the edge.
const FAR: f64 = 4.0;

impl Picture<'_> {
    /// The value of a complete trial.
    pub(super) fn value(&self, trial: usize) -> Option<f64> {
        match self.observed[trial].outcome {
            Outcome::Value(value) if value.is_finite() => Some(value),
            _ => None,
        }
    }

    /// Complete trials, best first; of two equal ones the earlier first.
    pub(super) fn ranked(&self) -> Vec<usize> {
        let mut complete: Vec<(f64, usize)> = (0..self.observed.len())
            .filter_map(|trial| Some((self.value(trial)?, trial)))
            .map(|(value, trial)| (if self.maximize { -value } else { value }, trial))
            .collect();
        complete.sort_by(|a, b| a.0.total_cmp(&b.0));
        complete.into_iter().map(|(_, trial)| trial).collect()
    }

    /// The range of values that the picture shows: all but those that are far worse than the others, which would press the
    /// others together.
    pub(super) fn range(&self, others: impl Iterator<Item = f64>) -> (f64, f64) {
        let ranked: Vec<f64> = self.ranked().into_iter().filter_map(|trial| self.value(trial)).collect();
        let (least, most) = ends(ranked.iter().copied().chain(others.filter(|value| value.is_finite())));
        let (Some(best), Some(median)) = (ranked.first(), ranked.get(ranked.len() / 2)) else {
            return if least <= most { spread(least, most) } else { (0.0, 1.0) };
        };
        let limit = median - FAR * (best - median);
        match (self.maximize, best == median) {
            (_, true) => spread(least, most),
            (true, _) => spread(least.max(limit), most),
            (false, _) => spread(least, most.min(limit)),
        }
    }

    /// The beginning of a picture of this height.
    pub(super) fn head(&self, title: &str, height: f64) -> String {
        let mut out = String::new();
        let title = escaped(title);
        let _ = write!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
             font-family=\"system-ui,sans-serif\" font-size=\"12\" role=\"img\">\n<title>{title}</title>\n\
             <style>{}</style>\n<rect class=\"page\" width=\"{WIDTH}\" height=\"{height}\"/>\n\
             <text x=\"14\" y=\"24\" font-size=\"15\" font-weight=\"600\">{title}</text>\n",
            style(LIGHT, DARK)
        );
        out
    }

    /// `0.8714 (trial 11)`
    pub(super) fn named(&self, trial: usize) -> String {
        self.value(trial).map_or(String::new(), |value| format!("{} (trial {trial})", short(value)))
    }
}

pub(super) fn text(out: &mut String, class: &str, (x, y): (f64, f64), (anchor, text): (&str, &str)) {
    let _ = writeln!(
        out,
        "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>",
        escaped(text)
    );
}
