//! `comparison.csv`: one line a variant; and `runs.csv`: one line a run.

use anyhow::Result;

use super::change::Metric;
use super::figure::FIGURES;
use super::method::{Method, Repeated};
use pipe_ml::judge::repeated::{Spread, detectable, smallest_p};

type Column<T> = (&'static str, fn(&T) -> Option<f64>);

/// The columns of each figure.
const SPREAD: [Column<Spread>; 6] = [
    ("mean", |s| Some(s.mean)),
    ("sd", |s| s.sd),
    ("min", |s| Some(s.min)),
    ("max", |s| Some(s.max)),
    ("low", |s| Some(s.interval?.low)),
    ("high", |s| Some(s.interval?.high)),
];

/// The columns of each metric's change.
const CHANGE: [Column<Metric>; 10] = [
    ("change", |m| Some(m.differences.spread.mean)),
    ("change_sd", |m| m.differences.spread.sd),
    ("change_t_low", |m| Some(m.differences.spread.interval?.low)),
    ("change_t_high", |m| Some(m.differences.spread.interval?.high)),
    ("t_p", |m| m.differences.t_p),
    ("sign_flip_p", |m| m.differences.sign_flip_p),
    ("change_low", |m| Some(m.two_level.interval.low)),
    ("change_high", |m| Some(m.two_level.interval.high)),
    ("better", |m| Some(m.two_level.better)),
    ("order_epsilon", |m| m.order),
];

/// All values, unrounded; what does not exist is empty.
pub(in super::super) fn table(all: &Repeated) -> Result<Vec<u8>> {
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    let of_figures =
        FIGURES.iter().flat_map(|figure| SPREAD.iter().map(move |(name, _)| format!("{}_{name}", figure.key)));
    let of_changes = ["accuracy", "macro_f1"]
        .into_iter()
        .flat_map(|metric| CHANGE.iter().map(move |(name, _)| format!("{metric}_{name}")));
    let own = ["variant", "runs"].into_iter().map(String::from).chain(of_figures);
    let shared = ["pairs", "sign_flip_floor", "detectable_sd"].into_iter().map(String::from);
    writer.write_record(own.chain(shared).chain(of_changes))?;
    for method in &all.methods {
        writer.write_record(line(method))?;
    }
    Ok(writer.into_inner().map_err(|e| e.into_error())?)
}

fn line(method: &Method) -> Vec<String> {
    let mut cells = vec![method.variant.clone(), method.runs.len().to_string()];
    for spread in &method.spreads {
        cells.extend(SPREAD.iter().map(|(_, of)| cell(spread.as_ref().and_then(of))));
    }
    let paired = method.change.as_ref().and_then(|change| change.paired.as_ref());
    let pairs = paired.map(|paired| paired.accuracy.differences.spread.runs);
    cells.push(pairs.map_or_else(String::new, |pairs| pairs.to_string()));
    cells.push(cell(pairs.map(smallest_p)));
    cells.push(cell(pairs.and_then(detectable)));
    for metric in [paired.map(|paired| &paired.accuracy), paired.map(|paired| &paired.macro_f1)] {
        cells.extend(CHANGE.iter().map(|(_, of)| cell(metric.and_then(of))));
    }
    cells
}

/// The values of each run.
pub(in super::super) fn runs(all: &Repeated) -> Result<Vec<u8>> {
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    writer.write_record(["variant", all.over.as_str()].into_iter().chain(FIGURES.iter().map(|figure| figure.key)))?;
    for (method, run) in all.methods.iter().flat_map(|method| method.runs.iter().map(move |run| (method, run))) {
        let values = run.values.iter().map(|value| cell(*value));
        writer.write_record([method.variant.clone(), run.run.clone()].into_iter().chain(values))?;
    }
    Ok(writer.into_inner().map_err(|e| e.into_error())?)
}

fn cell(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}
