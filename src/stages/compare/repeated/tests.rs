//! Tests with fixed scores: whole files and messages.

use std::path::Path;

use super::{Repeated, document, runs, svg, table};
use crate::stages::compare::gate::Gate;
use crate::stages::compare::kind::Compare;
use crate::stages::evaluate::{Cost, Quality, Scores};
use pipe_engine::contract::kind::{Labels, Stage};
use pipe_ml::judge::classifier::Size;
use pipe_ml::judge::metrics::{Metrics, Speed};
use pipe_ml::text::data::outcomes::Outcomes;
use pipe_ml::watch::Silent;

const ROWS: u32 = 200;

/// Scores of a model that predicts wrongly the rows whose number, times 7, falls below `wrong` within 200, from `from` on.
fn scores((wrong, from): (u32, u32), seconds: f64, trained: Option<u64>) -> Scores {
    let labels: Vec<u32> = (0..ROWS).map(|row| row % 2).collect();
    let is_wrong = |row: u32| ((row + from) * 7) % ROWS < wrong;
    let predicted: Vec<u32> = (0..ROWS).map(|row| if is_wrong(row) { 1 - row % 2 } else { row % 2 }).collect();
    let logits: Vec<f32> = predicted.iter().flat_map(|&class| [1.0 - class as f32, class as f32]).collect();
    Scores {
        metrics: Metrics::of(&logits, &labels, &["no".into(), "yes".into()]).unwrap(),
        size: Size { parameters: 175_301, non_zero: 175_000, bytes: 705_724 },
        speed: trained.map(|_| Speed {
            latency_p50_ms: 0.25,
            latency_p95_ms: 0.5,
            samples_per_second: 4000.0,
            batch_size: 32,
        }),
        cost: Cost {
            peak_memory_bytes: Some(3_000_000),
            made_seconds: seconds,
            made_peak_memory_bytes: trained.map(|trained| 20_000_000 + trained),
            trained_parameters: trained,
        },
        quality: Quality::default(),
        outcomes: Outcomes { ids: (0..ROWS).map(|row| format!("test:{row}")).collect(), labels, predicted },
        sources: Vec::new(),
    }
}

/// Five runs each of two variants, and one run of a third, which was not timed.
fn inputs() -> Vec<(String, Scores)> {
    let full = [(30, 0), (26, 3), (33, 5), (28, 9), (31, 12)];
    let adapted = [(22, 1), (23, 3), (25, 6), (20, 9), (26, 14)];
    let mut all = Vec::new();
    for (seed, wrong) in (42..).zip(full) {
        all.push((format!("full, seed={seed}"), scores(wrong, 10.0 + f64::from(seed % 5), Some(175_301))));
    }
    for (seed, wrong) in (42..).zip(adapted) {
        all.push((format!("adapted, seed={seed}"), scores(wrong, 12.0 + f64::from(seed % 3), Some(38_405))));
    }
    all.push(("a|b <&>".to_owned(), scores((40, 2), 0.5, None)));
    all
}

fn compared(all: Vec<(String, Scores)>, baseline: Option<&str>) -> anyhow::Result<Repeated> {
    Repeated::of(all.into_iter().map(Ok), ("seed", baseline), &Silent)
}

#[test]
fn the_files_of_fixed_scores() {
    let all = compared(inputs(), None).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/compare/repeated");
    let files = [
        ("comparison.md", document(&all)),
        ("comparison.csv", String::from_utf8(table(&all).unwrap()).unwrap()),
        ("runs.csv", String::from_utf8(runs(&all).unwrap()).unwrap()),
        ("comparison.svg", svg(&all)),
    ];
    if std::env::var_os("PIPE_WRITE_FIXTURES").is_some() {
        std::fs::create_dir_all(&folder).unwrap();
        files.iter().for_each(|(name, text)| std::fs::write(folder.join(name), text).unwrap());
    }
    let differs = |(name, found): &&(&str, String)| std::fs::read_to_string(folder.join(name)).unwrap() != *found;
    let different: Vec<String> =
        files.iter().filter(differs).map(|(name, found)| format!("{name} is\n{found}")).collect();
    assert!(different.is_empty(), "{}", different.join("\n\n"));
}

#[test]
fn the_change_is_paired_by_seed_whatever_the_order_of_the_inputs() {
    let straight = compared(inputs(), None).unwrap();
    let mut turned = inputs();
    turned[5..10].reverse();
    let turned = compared(turned, None).unwrap();
    let change = |all: &Repeated| {
        let paired = all.methods[1].change.as_ref().unwrap().paired.as_ref().unwrap();
        (paired.accuracy.differences.spread.sd.unwrap(), paired.accuracy.differences.t_p.unwrap())
    };
    let close = |a: f64, b: f64| (a - b).abs() < 1e-12;
    let ((sd, p), (other_sd, other_p)) = (change(&straight), change(&turned));
    assert!(close(sd, other_sd) && close(p, other_p), "{sd} {other_sd} {p} {other_p}");
    // Against another baseline, the change is the other way round.
    let back = compared(inputs(), Some("adapted")).unwrap();
    assert_eq!(
        back.methods[0].change.as_ref().unwrap().accuracy,
        -straight.methods[1].change.as_ref().unwrap().accuracy
    );
    assert!(back.methods[1].change.is_none());
}

#[test]
fn runs_without_a_partner_are_told_and_do_not_count() {
    let mut some = inputs();
    some.remove(9); // adapted, seed=46
    let text = document(&compared(some, None).unwrap());
    assert!(text.contains("4 pairs cannot go below 0.125 in the sign-flip test. One run has no partner"), "{text}");
    assert!(
        text.contains("- `a|b <&>`: no run has the `seed` of a run of `full`, so there are no pairs to test"),
        "{text}"
    );
    let one = vec![inputs().remove(0), inputs().remove(5)];
    let all = compared(one, None).unwrap();
    assert!(document(&all).contains("- `adapted`: one pair says nothing about other runs"), "{}", document(&all));
    assert!(!svg(&all).contains("NaN") && !svg(&all).contains("inf"));
}

#[test]
fn a_gate_can_demand_the_low_end_of_the_two_level_interval() {
    let all = compared(inputs(), None).unwrap();
    let says = |text: &str| serde_json::from_str::<Gate>(text).unwrap().shortfall(&all.baseline, &all.figures());
    assert_eq!(says(r#"{"accuracy-low-end": -0.01, "macro-f1-low-end": -0.01, "variants": ["adapted"]}"#), None);
    let low = all.figures()[1].accuracy_low_end.unwrap();
    assert_eq!(
        says(r#"{"accuracy-low-end": 0.5, "accuracy-drop": 0.01, "size-ratio": 1, "latency-ratio": 2}"#).unwrap(),
        format!(
            "2 of 2 variants fail the gate, compared with `full`:\
             \n  adapted: accuracy-low-end {low:.4}, at least 0.5\
             \n  a|b <&>: accuracy-drop 0.0520, at most 0.01; accuracy-low-end not measured (no pairs), at least 0.5; \
             latency-ratio not measured (speed-seconds = 0), at most 2"
        )
    );
}

#[test]
fn facts_have_the_names_of_the_variants() {
    let facts = compared(inputs(), None).unwrap().facts();
    let value = |name: &str| facts.iter().find(|(known, _)| known == name).map(|(_, value)| *value);
    assert_eq!(value("full.runs"), Some(5.0));
    assert!((value("adapted.accuracy").unwrap() - 0.884).abs() < 1e-12);
    assert!((value("adapted.accuracy-change").unwrap() - 0.032).abs() < 1e-12);
    assert_eq!((value("full.accuracy-change"), value("adapted.trained-parameters")), (None, Some(38_405.0)));
}

#[test]
fn inputs_that_cannot_be_compared_are_refused() {
    let says = |all, baseline| compared(all, baseline).unwrap_err().to_string();
    assert_eq!(
        says(inputs(), Some("full, seed=42")),
        "the baseline `full, seed=42` is not among the variants: full, adapted, a|b <&>"
    );
    assert_eq!(says(Vec::new(), None), "there are no models to compare");
    let mut other = inputs();
    other[6].1.outcomes.ids[3] = "validation:3".into();
    assert!(says(other, None).starts_with(
        "`adapted, seed=43` was not scored on the same rows as the baseline `full, seed=42` (only one of them has row `test:3`)"
    ));
}

#[test]
fn names_are_checked_before_anything_runs() {
    let labels = Labels::from([("metrics", vec!["full, seed=1", "full, seed=2", "adapted, seed=1"])]);
    let says = |text: &str| -> Vec<String> {
        let compare: Compare = serde_json::from_str(text).unwrap();
        let wrong = compare.check().into_iter().chain(compare.check_inputs(&labels));
        wrong.map(|i| format!("{}: {}; {}", i.key, i.message, i.help.unwrap_or_default())).collect()
    };
    assert_eq!(says(r#"{"over": "seed", "baseline": "adapted"}"#), [""; 0]);
    assert_eq!(
        says(r#"{"over": "seed", "baseline": "full, seed=1"}"#),
        ["baseline: the baseline `full, seed=1` is not among the variants; variants: full, adapted"]
    );
    assert_eq!(says(r#"{"over": "sed"}"#), ["over: no variant has an axis `sed`; axes: seed"]);
    assert_eq!(
        says(r#"{"over": "seed", "gate": {"macro-f1-low-end": 0, "variants": ["adaptd"]}}"#),
        ["gate: the gate names an unknown variant `adaptd`; variants: full, adapted"]
    );
}
