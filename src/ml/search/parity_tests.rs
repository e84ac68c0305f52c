//! Densities and importances beside those of Optuna 5 (`scripts/make_search_fixtures.py`).

use serde::Deserialize;

use super::parzen::{Mixture, OPTUNA};
use super::*;

#[derive(Deserialize)]
struct Case {
    space: Vec<Described>,
    points: Vec<Vec<Option<f64>>>,
    #[serde(default)]
    queries: Vec<Vec<Option<f64>>>,
    #[serde(default)]
    log_pdf: Vec<f64>,
    #[serde(default)]
    values: Vec<f64>,
    #[serde(default)]
    maximize: bool,
    #[serde(default)]
    importances: Vec<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Described {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    low: f64,
    #[serde(default)]
    high: f64,
    #[serde(default)]
    log: bool,
    #[serde(default)]
    step: i64,
    #[serde(default)]
    choices: usize,
}

impl Case {
    fn all(name: &str) -> Vec<Self> {
        let path = format!("{}/../../tests/fixtures/search/{name}.json", env!("CARGO_MANIFEST_DIR"));
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    fn space(&self) -> Space {
        let domain = |described: &Described| match described.kind.as_str() {
            "float" => Domain::Float { low: described.low, high: described.high, log: described.log },
            "integer" => Domain::Integer {
                low: described.low as i64,
                high: described.high as i64,
                step: described.step,
                log: described.log,
            },
            _ => Domain::Categories(described.choices),
        };
        let parameter =
            |(index, described)| Parameter { name: format!("p{index}"), domain: domain(described), when: None };
        Space { parameters: self.space.iter().enumerate().map(parameter).collect() }
    }
}

fn points(space: &Space, rows: &[Vec<Option<f64>>]) -> Vec<Point> {
    let value = |x: f64, parameter: &Parameter| match parameter.domain {
        Domain::Float { .. } => Value::Float(x),
        Domain::Integer { .. } => Value::Integer(x as i64),
        Domain::Categories(_) => Value::Category(x as usize),
    };
    let point = |row: &Vec<Option<f64>>| {
        row.iter().zip(&space.parameters).map(|(x, parameter)| Some(value((*x)?, parameter))).collect()
    };
    rows.iter().map(point).collect()
}

#[test]
fn densities_are_those_of_optuna() {
    let cases = Case::all("parzen");
    assert!(cases.len() >= 19);
    for (number, case) in cases.iter().enumerate() {
        let space = case.space();
        let observed = points(&space, &case.points);
        let found = Mixture::of(&space, &observed.iter().collect::<Vec<_>>(), OPTUNA)
            .log_densities(&points(&space, &case.queries));
        assert_eq!(found.len(), case.log_pdf.len());
        for (found, expected) in found.iter().zip(&case.log_pdf) {
            assert!((found - expected).abs() < 1e-9, "case {number}: {found}, Optuna has {expected}");
        }
    }
}

#[test]
fn importances_are_those_of_optuna() {
    let cases = Case::all("importance");
    assert!(cases.len() >= 9);
    for (number, case) in cases.iter().enumerate() {
        let space = case.space();
        let outcomes = case.values.iter().map(|value| Outcome::Value(*value));
        let history: Vec<Observed> = (points(&space, &case.points).into_iter().zip(outcomes))
            .map(|(point, outcome)| Observed { point, outcome })
            .collect();
        let found = importances(&space, &history, case.maximize);
        for (found, expected) in found.iter().zip(&case.importances) {
            assert!((found - expected).abs() < 1e-9, "case {number}: {found}, Optuna has {expected}");
        }
    }
}
