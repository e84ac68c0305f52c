//! Formats an inspected model as text.

use std::ops::RangeInclusive;

use crate::report::color::{Color, WARNING};
use crate::report::format;
use crate::report::table::Table;
use crate::stages::shared::inspector::{Inspection, Tensor, What};

/// How much to show of the tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// By part; equal layers share lines.
    Parts,
    /// Each tensor on its own line.
    Tensors,
}

/// The whole report, with `name` as the user wrote it.
pub fn render(name: &str, found: &Inspection, detail: Detail, color: Color) -> String {
    let mut text = format!("{name}: {}\n{}", title(found), facts(found));
    if !found.tensors.is_empty() {
        text.push('\n');
        text.push_str(&match detail {
            Detail::Parts => by_part(&found.tensors),
            Detail::Tensors => one_by_one(&found.tensors),
        });
    }
    if !found.notes.is_empty() {
        text.push('\n');
    }
    for note in &found.notes {
        text.push_str(&format!("{} {note}\n", color.paint(WARNING, "warning:")));
    }
    text
}

fn title(found: &Inspection) -> String {
    let family = found.family.as_deref().unwrap_or("unknown");
    match found.what {
        What::Model | What::Config => {
            let architecture = found.architecture.iter().map(|name| format!(", {name}"));
            format!("{family} model{}", architecture.collect::<String>())
        }
        What::Adapter => "LoRA adapter".into(),
        What::Weights => "weights".into(),
        What::Tokenizer => "tokenizer".into(),
    }
}

/// One fact per line.
fn facts(found: &Inspection) -> String {
    let mut table = Table::new(["", ""]).indent(2);
    if let Some(adapter) = &found.adapter {
        table.row(["base", adapter.base.as_deref().unwrap_or("unnamed")]);
        table.row(["rank", &adapter.rank.to_string()]);
        let scale = format!("{}, scale {}", adapter.alpha, format::number(adapter.scale));
        table.row(["alpha", &scale]);
        table.row(["dropout", &adapter.dropout.to_string()]);
        table.row(["targets", &adapter.targets.join(", ")]);
        if !adapter.modules_to_save.is_empty() {
            table.row(["fully trained", &adapter.modules_to_save.join(", ")]);
        }
    }
    if let Some(sizes) = &found.sizes {
        table.row(["layers", &format!("{}, hidden size {}", sizes.layers, sizes.hidden)]);
        table.row(["vocabulary", &format!("{} ids", format::count(sizes.vocabulary as u64))]);
        table.row(["length", &format!("at most {} tokens", sizes.max_length)]);
    }
    if !found.labels.is_empty() {
        table.row(["labels", &labels(&found.labels)]);
    }
    match &found.tokenizer {
        Some(tokenizer) => {
            let ids = format::count(tokenizer.ids as u64);
            table.row(["tokenizer", &format!("{ids} ids, padding {}", tokenizer.pad_id)]);
            table.row(["", &tokenizer.files.join(", ")]);
        }
        None if found.what == What::Model => table.row(["tokenizer", "none"]),
        None => {}
    }
    let counts = found.parameters;
    if !found.tensors.is_empty() {
        table.row(["parameters", &format::count(counts.total)]);
    }
    if let Some(trainable) = counts.trainable {
        table.row(["trainable", &format::count(trainable)]);
    }
    if let Some(non_zero) = counts.non_zero {
        let share = format::share(non_zero, counts.total);
        table.row(["non-zero", &format!("{} ({share})", format::count(non_zero))]);
    }
    for (i, file) in found.files.iter().enumerate() {
        table.row([if i == 0 { "files" } else { "" }, &format!("{}, {}", file.name, format::bytes(file.bytes))]);
    }
    table.render()
}

/// The number of labels and the first of them.
fn labels(labels: &[String]) -> String {
    const SHOWN: usize = 12;
    let shown = labels.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = labels.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {} more", format::count(more as u64)) } else { String::new() };
    format!("{}: {shown}{more}", format::count(labels.len() as u64))
}

fn one_by_one(tensors: &[Tensor]) -> String {
    table(tensors.iter().map(|tensor| row(&tensor.name, &[tensor], 1)).collect())
}

/// One line for each part with its sums, followed by its tensors.
fn by_part(tensors: &[Tensor]) -> String {
    let mut rows = Vec::new();
    for run in runs(tensors) {
        let all: Vec<&Tensor> = run.layers.iter().copied().flatten().collect();
        let [_, _, _, parameters, bytes, zeros] = row("", &all, 1);
        rows.push([run.name(), String::new(), String::new(), parameters, bytes, zeros]);
        for (at, tensor) in run.layers[0].iter().enumerate() {
            let same: Vec<&Tensor> = run.layers.iter().map(|layer| &layer[at]).collect();
            rows.push(row(&format!("  {}", tensor.within), &same, run.layers.len()));
        }
    }
    table(rows)
}

/// A table without the columns that are empty.
fn table(rows: Vec<[String; 6]>) -> String {
    let headers = ["tensor", ">shape", "dtype", ">parameters", ">bytes", ">zeros"];
    let known: Vec<usize> = (0..headers.len()).filter(|&at| rows.iter().any(|row| !row[at].is_empty())).collect();
    let mut table = Table::new(known.iter().map(|&at| headers[at]));
    rows.iter().for_each(|row| table.row(known.iter().map(|&at| row[at].clone())));
    table.render()
}

/// A line for `times` tensors of the same shape and type.
fn row(name: &str, tensors: &[&Tensor], times: usize) -> [String; 6] {
    let parameters: u64 = tensors.iter().map(|tensor| tensor.parameters).sum();
    let bytes: Option<u64> = tensors.iter().map(|tensor| tensor.bytes).sum();
    // Index tables beside the parameters have no zeros to count and must not hide those of other tensors.
    let zeros: Option<u64> = tensors.iter().filter(|t| t.parameters > 0).map(|tensor| tensor.zeros).sum();
    let times = if times > 1 { format!("{times} × ") } else { String::new() };
    [
        name.to_owned(),
        tensors.first().map_or(String::new(), |tensor| format!("{times}{:?}", tensor.shape)),
        tensors.first().and_then(|tensor| tensor.dtype.clone()).unwrap_or_default(),
        if parameters > 0 { format::count(parameters) } else { "none".into() },
        bytes.map(format::bytes).unwrap_or_default(),
        zeros.filter(|_| parameters > 0).map(|zeros| format::share(zeros, parameters)).unwrap_or_default(),
    ]
}

/// A part, or consecutive layers with the same tensors.
struct Run<'a> {
    part: &'static str,
    numbers: Option<RangeInclusive<usize>>,
    layers: Vec<&'a [Tensor]>,
}

impl Run<'_> {
    fn name(&self) -> String {
        match &self.numbers {
            None => self.part.to_owned(),
            Some(numbers) if numbers.start() == numbers.end() => format!("encoder.layer.{}", numbers.start()),
            Some(numbers) => format!("encoder.layer.{}–{}", numbers.start(), numbers.end()),
        }
    }
}

/// Group tensors, which are sorted by part and then by name.
fn runs(tensors: &[Tensor]) -> Vec<Run<'_>> {
    let mut runs: Vec<Run<'_>> = Vec::new();
    for group in tensors.chunk_by(|a, b| (a.part, a.layer) == (b.part, b.layer)) {
        let (part, layer) = (group[0].part, group[0].layer);
        let last = runs.last_mut().filter(|run| {
            let follows = |layer: usize| run.numbers.as_ref().is_some_and(|numbers| numbers.end() + 1 == layer);
            layer.is_some_and(follows) && are_alike(run.layers[0], group)
        });
        match (last, layer) {
            (Some(run), Some(layer)) => {
                run.layers.push(group);
                run.numbers = run.numbers.take().map(|numbers| *numbers.start()..=layer);
            }
            _ => runs.push(Run { part, numbers: layer.map(|layer| layer..=layer), layers: vec![group] }),
        }
    }
    runs
}

fn are_alike(a: &[Tensor], b: &[Tensor]) -> bool {
    let same = |a: &Tensor, b: &Tensor| (&a.within, &a.shape, &a.dtype) == (&b.within, &b.shape, &b.dtype);
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
}
