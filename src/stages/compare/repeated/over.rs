//! Which inputs are runs of the same variant: those whose labels differ only in the value of one axis.

use std::collections::BTreeMap;

use pipe_engine::contract::kind::Invalid;

/// The axis of `repeat`.
const SEED: &str = "seed";
/// The variant if the inputs differ in nothing but the axis.
const ALL: &str = "all";

/// The label of an input: the variant, and which run of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Point {
    pub variant: String,
    /// The value of the axis; None if the variant does not have the axis.
    pub run: Option<String>,
}

impl Point {
    /// Split `full, seed=42` or `scores[full, seed=42]`. The error is the number of axes of that name.
    pub(in super::super) fn of(label: &str, axis: &str) -> Result<Self, usize> {
        let (stage, inner) = split(label);
        let mut runs = Vec::new();
        let mut rest = Vec::new();
        for part in inner.split(", ") {
            match part.split_once('=') {
                Some((name, value)) if name == axis => runs.push(value.to_owned()),
                _ => rest.push(part),
            }
        }
        if runs.len() > 1 {
            return Err(runs.len());
        }
        let rest = if rest == [""] { String::new() } else { rest.join(", ") };
        let variant = match (stage, rest.is_empty()) {
            (Some(stage), true) => stage.to_owned(),
            (Some(stage), false) => format!("{stage}[{rest}]"),
            (None, true) => ALL.to_owned(),
            (None, false) => rest,
        };
        Ok(Self { variant, run: runs.pop() })
    }
}

/// The stage of `scores[full, seed=42]`, and what tells its instances apart; other labels have the latter only.
fn split(label: &str) -> (Option<&str>, &str) {
    match label.strip_suffix(']').and_then(|label| label.split_once('[')) {
        Some((stage, inner)) => (Some(stage), inner),
        None => (None, label),
    }
}

/// The names of the variants, in the order of their first runs.
pub(in super::super) fn variants(labels: &[&str], axis: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for point in labels.iter().filter_map(|label| Point::of(label, axis).ok()) {
        if !all.contains(&point.variant) {
            all.push(point.variant);
        }
    }
    all
}

/// What is wrong with comparing over an axis, before anything runs.
pub(in super::super) fn check(labels: &[&str], axis: &str) -> Vec<Invalid> {
    let mut wrong = Vec::new();
    let mut has_axis = false;
    for label in labels {
        match Point::of(label, axis) {
            Ok(point) => has_axis |= point.run.is_some(),
            Err(count) => {
                let message = format!("`{label}` has {count} axes `{axis}`; `over` needs variants with one");
                wrong.push(Invalid::new("over", message).help("repeat one stage only, the one that is to be judged"));
            }
        }
    }
    if wrong.is_empty() && !has_axis && !labels.is_empty() {
        let missing = Invalid::new("over", format!("no variant has an axis `{axis}`"));
        let known = axes(labels);
        wrong.push(missing.help(match known.is_empty() {
            true if axis == SEED => "write `repeat = 5` in the stages that train the models".to_owned(),
            true => format!("write `matrix = {{ {axis} = […] }}` in the stages that make the models"),
            false => format!("axes: {}", known.join(", ")),
        }));
    }
    wrong
}

fn axes(labels: &[&str]) -> Vec<String> {
    let parts = labels.iter().flat_map(|label| split(label).1.split(", "));
    let mut all: Vec<String> = parts.filter_map(|part| Some(part.split_once('=')?.0.to_owned())).collect();
    all.sort();
    all.dedup();
    all
}

/// A warning if runs with several seeds stand side by side as if they were different methods.
pub(in super::super) fn seeds_as_methods(labels: &[&str]) -> Option<String> {
    let mut runs: BTreeMap<String, usize> = BTreeMap::new();
    for point in labels.iter().filter_map(|label| Point::of(label, SEED).ok()).filter(|point| point.run.is_some()) {
        *runs.entry(point.variant).or_default() += 1;
    }
    let (variant, count) = runs.into_iter().find(|(_, count)| *count > 1)?;
    let of = if variant == ALL { String::new() } else { format!(" of `{variant}`") };
    Some(format!(
        "{count} runs{of} that differ only in the seed are compared as if they were different methods; `over = \"seed\"` makes \
         one row of them, with mean, spread and tests"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(label: &str) -> (String, Option<String>) {
        let Point { variant, run } = Point::of(label, "seed").unwrap();
        (variant, run)
    }

    #[test]
    fn a_label_is_a_variant_and_a_run() {
        let some = |variant: &str, run: &str| (variant.to_owned(), Some(run.to_owned()));
        assert_eq!(point("full, seed=42"), some("full", "42"));
        assert_eq!(point("seed=42"), some("all", "42"));
        assert_eq!(point("learning-rate=1e-3, seed=7, full"), some("learning-rate=1e-3, full", "7"));
        assert_eq!(point("scores[full, seed=42]"), some("scores[full]", "42"));
        assert_eq!(point("scores[seed=42]"), some("scores", "42"));
        assert_eq!(point("teacher"), ("teacher".into(), None));
        assert_eq!(point("lora-seed=1"), ("lora-seed=1".into(), None));
        assert_eq!(Point::of("full, seed=1, seed=2", "seed"), Err(2));
    }

    #[test]
    fn an_axis_that_is_not_there_is_one_error() {
        let says = |labels: &[&str], axis: &str| -> Vec<String> {
            check(labels, axis).into_iter().map(|i| format!("{}; {}", i.message, i.help.unwrap_or_default())).collect()
        };
        assert_eq!(
            says(&["full", "adapted"], "seed"),
            ["no variant has an axis `seed`; write `repeat = 5` in the stages that train the models"]
        );
        assert_eq!(
            says(&["full"], "sparsity"),
            [
                "no variant has an axis `sparsity`; write `matrix = { sparsity = […] }` in the stages that make the models"
            ]
        );
        assert_eq!(
            says(&["full, seed=1", "scores[alpha=2, seed=1]"], "sed"),
            ["no variant has an axis `sed`; axes: alpha, seed"]
        );
        assert_eq!(
            says(&["a, seed=1, seed=2", "b, seed=1"], "seed"),
            [
                "`a, seed=1, seed=2` has 2 axes `seed`; `over` needs variants with one; repeat one stage only, the one that is to \
                 be judged"
            ]
        );
        assert_eq!(says(&["teacher", "student, seed=1"], "seed"), [""; 0]);
        assert_eq!(variants(&["b, seed=1", "a", "b, seed=2"], "seed"), ["b", "a"]);
    }

    #[test]
    fn seeds_that_stand_side_by_side_are_warned_of() {
        assert_eq!(seeds_as_methods(&["teacher", "student, seed=1"]), None);
        assert_eq!(seeds_as_methods(&["a, alpha=1", "a, alpha=2"]), None);
        let warning = seeds_as_methods(&["full, seed=1", "full, seed=2", "adapted, seed=1"]).unwrap();
        assert!(warning.starts_with("2 runs of `full` that differ only in the seed are compared as if"), "{warning}");
        assert!(
            seeds_as_methods(&["seed=1", "seed=2"]).unwrap().starts_with("2 runs that differ only in the seed are")
        );
    }
}
