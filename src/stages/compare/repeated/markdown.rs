//! `comparison.md` for repeated runs: means side by side, spreads, changes and what they can show.

use super::change::{Metric, Paired};
use super::figure::{
    ACCURACY, BYTES, FIGURES, Figure, LATENCY, MACRO_F1, MADE_MEMORY, MADE_SECONDS, PARAMETERS, RATE, TRAINED,
};
use super::method::{Method, Repeated};
use super::words::sentences;
use crate::stages::compare::markdown::{NONE, aligned, name, or_none, probability};
use pipe_ml::judge::repeated::Spread;
use pipe_ml::judge::significance::Interval;

/// The figures of the first table.
const SIDE_BY_SIDE: [usize; 11] =
    [ACCURACY, MACRO_F1, 2, 3, PARAMETERS, TRAINED, MADE_SECONDS, MADE_MEMORY, BYTES, LATENCY, RATE];

pub(in super::super) fn document(all: &Repeated) -> String {
    let Repeated { over, baseline, scored, methods } = all;
    let mut text = format!(
        "{scored} rows. Each variant is one row with all its runs, which differ only in `{over}`: mean ± standard deviation \
         (n − 1).\nChanges are against `{baseline}`, paired by `{over}`.\n\n{}\n{}\n",
        side_by_side(methods),
        spreads(methods)
    );
    if methods.iter().any(|method| method.change.is_some()) {
        text += &format!("{}\n{}\n", changes(methods), sentences(all));
    }
    text + "95 % interval: of the mean, by Student's t; it is for other runs on these rows. change: mean difference of the pairs.\n\
            two-level interval: 95 %, for other runs on other rows (bootstrap of runs and rows); P(better): its share of draws.\n\
            p (t), p (signs): paired t test, exact sign-flip test. ε: almost stochastic order; below 0.2 the variant is better.\n\
            can show: the difference, in standard deviations of the differences, that a paired t test at the 5 % level finds with\n\
            80 % power. made in: time and memory of the stage that made the model; trained: the parameters that it trained.\n"
}

/// One line a variant.
fn side_by_side(methods: &[Method]) -> String {
    let shown: Vec<&usize> =
        SIDE_BY_SIDE.iter().filter(|figure| methods.iter().any(|method| method.spreads[**figure].is_some())).collect();
    let titles = ["variant", "runs"].into_iter().chain(shown.iter().map(|figure| FIGURES[**figure].title));
    let mut lines = vec![titles.map(str::to_owned).collect()];
    for method in methods {
        let means = shown.iter().map(|figure| or_none(method.spreads[**figure], |s| mean(&FIGURES[**figure], s)));
        lines.push([name(&method.variant), method.runs.len().to_string()].into_iter().chain(means).collect());
    }
    aligned(&lines, 1)
}

/// `0.8833 ± 0.0102`; without a spread only the mean.
fn mean(figure: &Figure, spread: Spread) -> String {
    let mean = figure.unit.write(spread.mean);
    match spread.sd {
        Some(sd) if sd > 0.0 => format!("{mean} ± {}", figure.unit.write(sd)),
        _ => mean,
    }
}

/// One line for each figure and variant.
fn spreads(methods: &[Method]) -> String {
    let titles = ["figure", "variant", "mean", "sd", "min … max", "95 % interval"];
    let mut lines = vec![titles.map(str::to_owned).to_vec()];
    for (at, figure) in FIGURES.iter().enumerate() {
        for (method, spread) in methods.iter().filter_map(|method| Some((method, method.spreads[at]?))) {
            let write = |value: f64| figure.unit.write(value);
            lines.push(vec![
                figure.title.to_owned(),
                name(&method.variant),
                write(spread.mean),
                or_none(spread.sd, write),
                format!("{} … {}", write(spread.min), write(spread.max)),
                or_none(spread.interval, |i| format!("{} … {}", write(i.low), write(i.high))),
            ]);
        }
    }
    aligned(&lines, 2)
}

/// One line for each variant and metric.
fn changes(methods: &[Method]) -> String {
    let titles = [
        "variant",
        "change of",
        "pairs",
        "change",
        "95 % interval",
        "p (t)",
        "p (signs)",
        "two-level interval",
        "P(better)",
        "ε",
    ];
    let mut lines = vec![titles.map(str::to_owned).to_vec()];
    for (method, change) in methods.iter().filter_map(|method| Some((method, method.change.as_ref()?))) {
        let of = |pick: fn(&Paired) -> &Metric| change.paired.as_ref().map(pick);
        for (title, total, metric) in [
            ("accuracy", change.accuracy, of(|paired| &paired.accuracy)),
            ("macro F1", change.macro_f1, of(|paired| &paired.macro_f1)),
        ] {
            let mut line = vec![name(&method.variant), title.to_owned()];
            line.extend(metric.map_or_else(
                || ["0".to_owned(), format!("{total:+.4}")].into_iter().chain(vec![NONE.to_owned(); 6]).collect(),
                cells,
            ));
            lines.push(line);
        }
    }
    aligned(&lines, 2)
}

fn cells(metric: &Metric) -> Vec<String> {
    let Metric { differences, two_level, order } = metric;
    let range = |Interval { low, high }: Interval| format!("{low:+.4} … {high:+.4}");
    vec![
        differences.spread.runs.to_string(),
        format!("{:+.4}", differences.spread.mean),
        or_none(differences.spread.interval, range),
        or_none(differences.t_p, probability),
        or_none(differences.sign_flip_p.filter(|_| differences.spread.runs > 1), probability),
        range(two_level.interval),
        format!("{:.3}", two_level.better),
        or_none(*order, |epsilon| format!("{epsilon:.3}")),
    ]
}
