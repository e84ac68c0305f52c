//! Tests of what a search varies, and of its rungs.

use serde_json::json;

use super::over::{Over, Varied};
use super::rungs::RungParameters;
use pipe_ml::search::Value;

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
