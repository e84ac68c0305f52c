//! Tests with fixed scores: whole files and messages.

use std::path::Path;

use super::gate::{Figures, Gate};
use super::kind::{Compare, csv};
use super::row::Comparison;
use super::{markdown, plot};
use crate::stages::evaluate::{Cost, Quality, Scores};
use pipe_engine::contract::kind::{Labels, Stage};
use pipe_ml::judge::classifier::Size;
use pipe_ml::judge::metrics::{ClassMetrics, Metrics, Speed};
use pipe_ml::text::data::outcomes::Outcomes;

/// Scores of a model that predicts the rows of `right` correctly, of 200 rows in two classes.
fn scores(right: impl Fn(u32) -> bool, bytes: u64, speed: Option<(f64, f64)>) -> Scores {
    let labels: Vec<u32> = (0..200).map(|row| row % 2).collect();
    let predicted: Vec<u32> = (0..200).map(|row| if right(row) { row % 2 } else { 1 - row % 2 }).collect();
    let hits = labels.iter().zip(&predicted).filter(|(a, b)| a == b).count();
    let class = |label: &str| ClassMetrics {
        label: label.into(),
        precision: 0.5,
        recall: 0.5,
        f1: 0.5,
        auc: None,
        support: 100,
    };
    let accuracy = hits as f64 / 200.0;
    Scores {
        metrics: Metrics {
            accuracy,
            macro_precision: accuracy + 0.005,
            macro_recall: accuracy - 0.0025,
            macro_f1: accuracy - 0.01,
            macro_auc: Some(0.96875),
            loss: 0.25,
            rows: 200,
            per_class: vec![class("no"), class("yes")],
            confusion: Vec::new(),
        },
        size: Size { parameters: 175_301, non_zero: 140_240, bytes },
        speed: speed.map(|(latency, rate)| Speed {
            latency_p50_ms: latency,
            latency_p95_ms: 2.0 * latency,
            samples_per_second: rate,
            batch_size: 32,
        }),
        cost: Cost { peak_memory_bytes: Some(12_345_678), made_seconds: 35.125, ..Cost::default() },
        quality: Quality::default(),
        outcomes: Outcomes { ids: (0..200).map(|row| format!("test:{row}")).collect(), labels, predicted },
        sources: Vec::new(),
    }
}

/// Five variants: similar, worse and smaller, without speed, and one with special characters in its name.
fn variants() -> Vec<(String, Scores)> {
    let mut untimed = scores(|row| row >= 21, 705_724, None);
    (untimed.metrics.macro_auc, untimed.cost.peak_memory_bytes) = (None, None);
    let all = [
        ("teacher", scores(|row| row >= 20, 705_724, Some((0.4, 3479.0)))),
        ("pruned", untimed),
        ("int8", scores(|row| !(3..24).contains(&row), 200_512, Some((0.74, 5800.0)))),
        ("student", scores(|row| row >= 56, 501_000, Some((0.2, 14241.0)))),
        ("a|b <&>", scores(|row| row % 16 != 0, 353_000, Some((0.3, 3500.0)))),
    ];
    all.map(|(label, scores)| (label.to_owned(), scores)).to_vec()
}

fn gate(text: &str) -> Gate {
    serde_json::from_str(text).unwrap()
}

#[test]
fn the_files_of_fixed_scores() {
    let comparison = Comparison::of(&variants(), None).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/compare");
    let files = [
        ("comparison.md", markdown::document(&comparison)),
        ("comparison.csv", String::from_utf8(csv(&comparison.rows).unwrap()).unwrap()),
        ("comparison.svg", plot::svg(&comparison)),
    ];
    if std::env::var_os("PIPE_WRITE_FIXTURES").is_some() {
        files.iter().for_each(|(name, text)| std::fs::write(folder.join(name), text).unwrap());
    }
    let differs = |(name, found): &&(&str, String)| std::fs::read_to_string(folder.join(name)).unwrap() != *found;
    let different: Vec<String> =
        files.iter().filter(differs).map(|(name, found)| format!("{name} is\n{found}")).collect();
    assert!(different.is_empty(), "{}", different.join("\n\n"));
}

#[test]
fn a_plot_of_one_variant_or_of_equal_ones_has_no_nan_or_infinity() {
    for variants in [variants()[..1].to_vec(), vec![variants()[1].clone(); 3], vec![variants()[0].clone(); 40]] {
        let svg = plot::svg(&Comparison::of(&variants, None).unwrap());
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}

#[test]
fn another_baseline_reverses_the_changes() {
    let all = variants();
    let (first, last) = (Comparison::of(&all, None).unwrap(), Comparison::of(&all, Some("student")).unwrap());
    assert_eq!(first.rows[3].accuracy_change, last.rows[0].accuracy_change.map(|change| -change));
    assert_eq!(first.rows[3].mcnemar_p, last.rows[0].mcnemar_p);
    assert_eq!((first.rows[3].lost, last.rows[0].lost, last.rows[0].gained), (Some(36), Some(0), Some(36)));
    assert_eq!((last.rows[3].accuracy_change, last.rows[3].speed_up), (None, Some(1.0)));
    let error = Comparison::of(&all, Some("techer")).unwrap_err().to_string();
    assert_eq!(error, "the baseline `techer` is not among the variants: teacher, pruned, int8, student, a|b <&>");
    assert_eq!(Comparison::of(&[], None).unwrap_err().to_string(), "there are no models to compare");
}

#[test]
fn variants_that_scored_other_rows_cannot_be_compared() {
    let mut all = variants();
    all[2].1.outcomes.ids[7] = "validation:7".into();
    assert_eq!(
        Comparison::of(&all, None).unwrap_err().to_string(),
        "`int8` was not scored on the same rows as the baseline `teacher` (only one of them has row `test:7`), so their \
         accuracies cannot be compared; let `evaluate` score both on one split of one corpus"
    );
    all[1].1.metrics.per_class[0].label = "maybe".into();
    assert_eq!(
        Comparison::of(&all, None).unwrap_err().to_string(),
        "`pruned` was scored with other labels than the baseline `teacher`: maybe, yes and no, yes"
    );
}

#[test]
fn a_gate_names_each_variant_that_fails_with_value_and_limit() {
    let comparison = Comparison::of(&variants(), None).unwrap();
    let figures: Vec<Figures> = comparison.rows.iter().map(Figures::from).collect();
    let says = |text| gate(text).shortfall(&comparison.baseline, &figures);
    assert_eq!(
        says(r#"{"accuracy-drop": 0.01, "size-ratio": 0.5, "speed-up": 1.2}"#).unwrap(),
        "3 of 4 variants fail the gate, compared with `teacher`:\
         \n  pruned: size-ratio 1.0000, at most 0.5; speed-up not measured (speed-seconds = 0), at least 1.2\
         \n  student: accuracy-drop 0.1800, at most 0.01; size-ratio 0.7099, at most 0.5\
         \n  a|b <&>: size-ratio 0.5002, at most 0.5; speed-up 1.0060, at least 1.2"
    );
    assert_eq!(
        says(r#"{"macro-f1-drop": 0, "latency-ratio": 1.5, "variants": ["int8", "student"]}"#).unwrap(),
        "2 of 2 variants fail the gate, compared with `teacher`:\
         \n  int8: macro-f1-drop 0.0050, at most 0; latency-ratio 1.8500, at most 1.5\
         \n  student: macro-f1-drop 0.1800, at most 0"
    );
    // A drop of exactly the limit passes: in binary, 0.89 − 0.885 is slightly more than 0.005.
    assert_eq!(says(r#"{"accuracy-drop": 0.005, "macro-f1-drop": 0.005, "variants": ["pruned"]}"#), None);
    // The accuracy is 0.005 lower, and with 95 % confidence not more than 0.015 lower.
    assert_eq!(says(r#"{"accuracy-low-end": -0.02, "variants": ["pruned"]}"#), None);
    assert_eq!(
        says(r#"{"accuracy-low-end": -0.01, "variants": ["pruned"]}"#).unwrap(),
        "1 of 1 variants fails the gate, compared with `teacher`:\n  pruned: accuracy-low-end -0.0150, at least -0.01"
    );
    assert_eq!(
        says(r#"{"accuracy-drop": -0.02, "variants": ["pruned"]}"#).unwrap(),
        "1 of 1 variants fails the gate, compared with `teacher`:\n  pruned: accuracy-drop 0.0050, at most -0.02"
    );
}

#[test]
fn invalid_limits_are_reported_before_anything_runs() {
    let says =
        |text: &str| -> Vec<String> { gate(text).check(false).into_iter().map(|invalid| invalid.message).collect() };
    assert_eq!(says(r#"{"accuracy-low-end": -2}"#), ["accuracy-low-end of the gate is -2; it must be from -1 to 1"]);
    assert_eq!(
        says(r#"{"macro-f1-low-end": -0.01}"#),
        [
            "macro-f1-low-end of the gate needs `over`: without repeated runs, the change of the macro F1 has no interval"
        ]
    );
    assert_eq!(says(r#"{"accuracy-drop": 1.5}"#), ["accuracy-drop of the gate is 1.5; it must be from -1 to 1"]);
    assert_eq!(
        says(r#"{"size-ratio": 0, "speed-up": -2}"#),
        ["size-ratio of the gate is 0; it must be above 0", "speed-up of the gate is -2; it must be above 0"]
    );
    assert_eq!(says("{}"), ["the gate has no limit"]);
    let empty = says(r#"{"size-ratio": 1, "variants": []}"#);
    assert_eq!(empty, ["`variants` of the gate is empty, so the gate checks nothing"]);
    assert!(serde_json::from_str::<Gate>(r#"{"accuracy": 1}"#).is_err());
    let labels = Labels::from([("metrics", vec!["teacher", "int8"])]);
    let says = |text: &str| -> Vec<String> {
        let compare: Compare = serde_json::from_str(text).unwrap();
        compare
            .check_inputs(&labels)
            .into_iter()
            .map(|i| format!("{}; {}", i.message, i.help.unwrap_or_default()))
            .collect()
    };
    assert_eq!(
        says(r#"{"baseline": "techer"}"#),
        ["the baseline `techer` is not among the variants; variants: teacher, int8"]
    );
    assert_eq!(
        says(r#"{"gate": {"size-ratio": 1, "variants": ["teacher", "pruned"]}}"#),
        [
            "the gate names the baseline `teacher`, which cannot be compared with itself; ",
            "the gate names an unknown variant `pruned`; variants: teacher, int8"
        ]
    );
    assert_eq!(says(r#"{"baseline": "int8", "gate": {"size-ratio": 1, "variants": ["teacher"]}}"#), [""; 0]);
}
