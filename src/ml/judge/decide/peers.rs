//! The same numbers as scikit-learn's, from `scripts/make_decide_fixtures.py`.

use std::path::Path;

use serde::Deserialize;

use super::{Decision, Fit, Labelled, Method, Rule, temperature};
use crate::judge::calibration::Calibration;
use crate::judge::decide::posteriors::posteriors;
use crate::judge::metrics::Metrics;

#[derive(Deserialize)]
struct Case {
    classes: usize,
    logits: Vec<f32>,
    labels: Vec<u32>,
    temperature: f64,
    log_loss: f64,
    brier: f64,
    ece: f64,
    adaptive_ece: f64,
    bin_rows: Vec<usize>,
    thresholds: Vec<f64>,
    macro_f1_threshold: Option<f64>,
    macro_f1: Option<f64>,
    macro_f1_argmax: Option<f64>,
}

impl Case {
    fn read(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../tests/fixtures/decide/{name}.json"));
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    fn rows(&self) -> Labelled<'_> {
        Labelled { logits: &self.logits, labels: &self.labels, classes: self.classes }
    }

    fn names(&self) -> Vec<String> {
        (0..self.classes).map(|class| format!("label-{class}")).collect()
    }

    /// The decision of a method at temperature 1, as scikit-learn fits thresholds.
    fn fit(&self, method: Method) -> Decision {
        let frequencies = Some(vec![1.0 / self.classes as f64; self.classes]);
        let fit = Fit { method, temperature: Some(1.0), thresholds: Vec::new(), frequencies, prior: None, cost: None };
        Decision::fit(&fit, &self.rows(), &self.names()).unwrap()
    }
}

const ALL: [&str; 3] = ["overconfident", "underconfident", "binary"];

#[test]
fn the_temperature_is_scikit_learns() {
    for name in ALL {
        let case = Case::read(name);
        let found = temperature(&case.rows());
        assert!((found - case.temperature).abs() < 1e-6, "{name}: {found} and not {}", case.temperature);
    }
}

#[test]
fn calibration_numbers_are_scikit_learns_and_numpys() {
    for name in ALL {
        let case = Case::read(name);
        let log_p = posteriors(&case.logits, case.classes, (1.0, None));
        let found = Calibration::of(&log_p, &case.labels, case.classes).unwrap();
        for (what, ours, theirs) in [
            ("ece", found.ece, case.ece),
            ("adaptive", found.adaptive_ece, case.adaptive_ece),
            ("brier", found.brier, case.brier),
            ("nll", found.nll, case.log_loss),
        ] {
            assert!((ours - theirs).abs() < 1e-10, "{name} {what}: {ours} and not {theirs}");
        }
        let rows: Vec<usize> = found.bins.iter().map(|bin| bin.rows).collect();
        assert_eq!(rows, case.bin_rows, "{name}");
    }
}

#[test]
fn the_thresholds_of_each_label_are_scikit_learns() {
    for name in ALL {
        let case = Case::read(name);
        let Rule::Thresholds { thresholds, .. } = case.fit(Method::Covid).rule else { panic!("thresholds") };
        for (class, (ours, theirs)) in thresholds.iter().zip(&case.thresholds).enumerate() {
            assert!((ours - theirs).abs() < 1e-12, "{name} {class}: {ours} and not {theirs}");
        }
    }
}

#[test]
fn with_two_labels_the_weights_decide_as_scikit_learns_threshold() {
    let case = Case::read("binary");
    let decision = case.fit(Method::MacroF1);
    let decided = decision.apply(&case.logits);
    let metrics = Metrics::of_decided((&case.logits, Some(&decided.predicted)), &case.labels, &case.names()).unwrap();
    let plain = Metrics::of(&case.logits, &case.labels, &case.names()).unwrap();
    assert!((metrics.macro_f1 - case.macro_f1.unwrap()).abs() < 1e-12, "{}", metrics.macro_f1);
    assert!((plain.macro_f1 - case.macro_f1_argmax.unwrap()).abs() < 1e-12);
    // The same rows get the label.
    let at = case.macro_f1_threshold.unwrap();
    let log_p = posteriors(&case.logits, 2, (1.0, None));
    let theirs: Vec<u32> = log_p.chunks(2).map(|row| u32::from(row[1].exp() >= at)).collect();
    assert_eq!(decided.predicted, theirs);
}
