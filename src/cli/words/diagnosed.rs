//! Formats the differences between two models as text and as CSV.

use crate::error::Error;
use crate::report::format;
use crate::report::table::Table;
use crate::stages::shared::inspector::{Diagnosis, Drift, NotComparable, TensorDrift};

/// How much to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// The parts of the model.
    Parts,
    /// Each tensor as well.
    Tensors,
}

/// Columns of the longest bar.
const BAR: usize = 16;

/// A table of parts, or of tensors below their parts, followed by the tensors that cannot be compared.
pub fn render(found: &Diagnosis, detail: Detail) -> String {
    let drifts = found.parts.iter().map(|part| &part.drift);
    let drifts: Vec<&Drift> = match detail {
        Detail::Parts => drifts.collect(),
        Detail::Tensors => drifts.chain(found.tensors.iter().map(|tensor| &tensor.drift)).collect(),
    };
    let furthest = drifts.iter().filter_map(|drift| drift.relative_l2).fold(0.0, f64::max);
    let mut table = Table::new(["part", ">relative L2", "", ">cosine", ">changed", ">weights"]);
    for part in &found.parts {
        table.row(row(&part.name, &part.drift, furthest));
        let mine = |tensor: &&TensorDrift| (tensor.part, tensor.layer) == (part.part, part.layer);
        let shown = found.tensors.iter().filter(|_| detail == Detail::Tensors).filter(mine);
        shown.for_each(|tensor| table.row(row(&format!("  {}", tensor.within), &tensor.drift, furthest)));
    }
    let [name, moved, _, cosine, changed, weights] = row("all", &found.whole, furthest);
    table.row([name, moved, String::new(), cosine, changed, weights]);
    let mut text = table.render();
    if !found.not_comparable.is_empty() {
        text.push_str("\nnot comparable\n");
        let mut table = Table::new(["", ""]).indent(2);
        found.not_comparable.iter().for_each(|one| table.row([one.name.clone(), shapes(one)]));
        text.push_str(&table.render());
    }
    text
}

fn row(name: &str, drift: &Drift, furthest: f64) -> [String; 6] {
    let share = |moved: f64| if furthest > 0.0 { moved / furthest } else { 0.0 };
    let changed = (drift.changed * drift.weights as f64).round() as u64;
    [
        name.to_owned(),
        relative(drift.relative_l2),
        if drift.frozen { "frozen".into() } else { format::bar(drift.relative_l2.map_or(0.0, share), BAR) },
        drift.cosine.map_or("none".into(), |cosine| format!("{cosine:.6}")),
        format::share(changed, drift.weights),
        format::count(drift.weights),
    ]
}

/// `0`, `3.1e-4`, `0.0214`, `1.41`; `from zero` if the first model's weights are all zero.
fn relative(moved: Option<f64>) -> String {
    match moved {
        None => "from zero".into(),
        Some(0.0) => "0".into(),
        Some(moved) if moved < 1e-3 => format::scientific(moved),
        Some(moved) if moved < 1.0 => format!("{moved:.4}"),
        Some(moved) => format!("{moved:.2}"),
    }
}

fn shapes(one: &NotComparable) -> String {
    match (&one.shape_a, &one.shape_b) {
        (Some(a), Some(b)) => format!("{a:?} → {b:?}"),
        (Some(a), None) => format!("{a:?} → removed"),
        (None, Some(b)) => format!("new, {b:?}"),
        (None, None) => String::new(),
    }
}

/// One line per comparable tensor; a field is empty if it has no value.
pub fn csv(found: &Diagnosis) -> Result<String, Error> {
    let failed = |e: &dyn std::fmt::Display| Error::failed(format!("cannot write CSV: {e}"));
    let mut writer = csv::Writer::from_writer(Vec::new());
    let head = ["tensor", "part", "layer", "within", "weights", "relative_l2", "cosine", "changed"];
    writer.write_record(head).map_err(|e| failed(&e))?;
    let text = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
    for tensor in &found.tensors {
        let drift = &tensor.drift;
        let record = [
            tensor.name.clone(),
            tensor.part.to_owned(),
            tensor.layer.map_or(String::new(), |layer| layer.to_string()),
            tensor.within.clone(),
            drift.weights.to_string(),
            text(drift.relative_l2),
            text(drift.cosine),
            drift.changed.to_string(),
        ];
        writer.write_record(&record).map_err(|e| failed(&e))?;
    }
    let bytes = writer.into_inner().map_err(|e| failed(&e))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
