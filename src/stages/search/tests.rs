//! Tests of what a search varies, and of its rungs.

use serde_json::json;

use super::objective::Objective;
use super::over::{Over, Varied};
use super::rungs::RungParameters;
use super::trials::{Attempt, Plan};
use pipe_ml::search::{Method, Outcome, Sampler, Value};

fn over(json: serde_json::Value) -> Over {
    serde_json::from_value(json).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn a_range_is_written_as_it_was_read() {
    let all = json!({ "t": {
        "a": [1, 2.5, "x", true],
        "b": { "low": 1e-5, "high": 5e-5, "log": true },
        "c": { "low": 1, "high": 9, "step": 2 },
        "d": { "values": [1, 2], "when": { "t": { "a": "x" } } }
    } });
    assert_eq!(serde_json::to_value(over(all.clone())).unwrap(), all);
    for wrong in
        [json!({ "low": 1 }), json!({ "values": [1], "low": 1, "high": 2 }), json!({ "lo": 1, "high": 2 }), json!(3)]
    {
        assert!(serde_json::from_value::<Over>(json!({ "t": { "a": wrong } })).is_err(), "{wrong}");
    }
}

#[test]
fn a_parameter_comes_after_the_one_it_depends_on() {
    let varied = Varied::of(&over(json!({ "t": {
        "a": { "low": 1, "high": 3, "when": { "t": { "z": ["cosine", "sine"] } } },
        "z": ["linear", "cosine", "sine"]
    } })))
    .unwrap();
    let names: Vec<&str> = varied.space.parameters.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["t.z", "t.a"]);
    assert_eq!(varied.space.parameters[1].when.as_ref().unwrap().categories, [1, 2]);
    assert_eq!(varied.space.size(), Some(1 + 2 * 3));
    let sets = |point: &[Option<Value>]| -> Vec<String> {
        varied.overrides(&point.to_vec()).iter().map(|set| format!("{}={}", set.key, set.value)).collect()
    };
    assert_eq!(sets(&[Some(Value::Category(1)), Some(Value::Integer(2))]), ["z=\"cosine\"", "a=2"]);
    assert_eq!(sets(&[Some(Value::Category(0)), None]), ["z=\"linear\""]);
    // The file's values: one that is not in the list has no place in the space.
    let of = |z: &str| varied.point(|_, key| Some(if key == "z" { json!(z) } else { json!(2) }));
    assert_eq!(of("sine"), [Some(Value::Category(2)), Some(Value::Integer(2))]);
    assert_eq!(of("linear"), [Some(Value::Category(0)), None]);
    assert_eq!(of("constant"), [None, None]);
}

#[test]
fn parameters_that_depend_on_each_other_are_refused() {
    let says = |json| Varied::of(&over(json)).unwrap_err().message;
    assert_eq!(
        says(json!({ "t": {
            "a": { "values": [1], "when": { "t": { "b": 1 } } }, "b": { "values": [1], "when": { "t": { "a": 1 } } }
        } })),
        "the `when` of t.a and t.b depend on each other"
    );
    assert_eq!(
        says(json!({ "t": { "a": { "low": 0.0, "high": 1.0, "step": 1 } } })),
        "over.t.a: `step` is for whole numbers; list the values instead"
    );
}

#[test]
fn brackets_leave_one_trial() {
    let rungs = |epochs: &[u32], keep: f64| {
        let parameters: RungParameters = serde_json::from_value(json!({ "epochs": epochs, "keep": keep })).unwrap();
        parameters.of(&over(json!({ "t": { "a": [1] } }))).unwrap()
    };
    for (epochs, keep) in [(&[1, 3][..], 0.5), (&[1], 0.34), (&[1, 2, 4], 0.3), (&[2], 0.9)] {
        let rungs = rungs(epochs, keep);
        let bracket = rungs.bracket();
        let left = epochs.iter().fold(bracket, |trials, _| rungs.kept(trials));
        assert!((1..=2).contains(&left), "{epochs:?} {keep}: {bracket} → {left}");
    }
    assert_eq!((rungs(&[1, 3], 0.5).bracket(), rungs(&[1, 3], 0.5).kept(3)), (4, 2));
}

#[test]
fn patience_and_budget_end_a_search() {
    let plan = |patience, budget, maximize| Plan {
        objective: Objective::of("scores.macro-f1").unwrap(),
        varied: Varied::of(&over(json!({ "t": { "a": [1] } }))).unwrap(),
        sampler: Sampler { method: Method::Random, startup: 5, seed: 0, maximize },
        trials: 9,
        parallel: 1,
        patience,
        budget,
        rungs: None,
        first: vec![None],
    };
    let attempts = |outcomes: &[Outcome]| -> Vec<Attempt> {
        let attempt = |outcome: &Outcome| Attempt { outcome: *outcome, seconds: 40.0, ..Attempt::new(vec![None]) };
        outcomes.iter().map(attempt).collect()
    };
    let values = |all: &[f64]| attempts(&all.iter().map(|x| Outcome::Value(*x)).collect::<Vec<_>>());
    let patient = plan(Some(2), None, true);
    assert_eq!(patient.end(&values(&[0.5, 0.4])), None);
    // An equal value is no better one.
    assert_eq!(
        patient.end(&values(&[0.5, 0.4, 0.5])).as_deref(),
        Some("the search ends: 2 trials without a better macro-f1")
    );
    assert_eq!(patient.end(&values(&[0.5, 0.4, 0.6])), None);
    assert_eq!(plan(Some(2), None, false).end(&values(&[0.5, 0.4, 0.5])), None);
    // A trial without a value, or one that was cut, is not a better one; if none has a value, there is nothing to wait for.
    let cut = Outcome::Cut { rung: 0, value: 0.9 };
    assert!(patient.end(&attempts(&[Outcome::Value(0.5), cut, Outcome::Failed])).is_some());
    assert_eq!(patient.end(&attempts(&[Outcome::Failed; 5])), None);
    let thrifty = plan(None, Some(100), true);
    assert_eq!(thrifty.end(&values(&[0.5, 0.4])), None);
    assert_eq!(
        thrifty.end(&values(&[0.5, 0.4, 0.3])).as_deref(),
        Some("the search ends: its trials took 120 s of the budget of 100 s")
    );
}
