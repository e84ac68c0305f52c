//! Pictures of searches that went well and of ones that did not.

use pipe_ml::search::{Domain, Observed, Outcome, Parameter, Space, Value, When};

use super::{Picture, history, parallel};

fn space() -> Space {
    let parameter = |name: &str, domain| Parameter { name: name.into(), domain, when: None };
    let mut space = Space {
        parameters: vec![
            parameter("teacher.learning-rate", Domain::Float { low: 1e-5, high: 5e-5, log: true }),
            parameter("teacher.method", Domain::Categories(2)),
            parameter("teacher.rank", Domain::Integer { low: 4, high: 64, step: 4, log: false }),
        ],
    };
    space.parameters[2].when = Some(When { parameter: 1, categories: vec![1] });
    space
}

fn observed(outcomes: &[Outcome]) -> Vec<Observed> {
    let rank = |trial: usize| (trial % 2 == 1).then_some(Value::Integer(4 + 4 * (trial as i64 % 16)));
    let point = |trial: usize| {
        let rate = 1e-5 * (1.0 + (trial as f64 * 0.7) % 4.0);
        vec![Some(Value::Float(rate)), Some(Value::Category(trial % 2)), rank(trial)]
    };
    outcomes.iter().enumerate().map(|(trial, outcome)| Observed { point: point(trial), outcome: *outcome }).collect()
}

fn both(outcomes: &[Outcome], maximize: bool) -> [String; 2] {
    let (space, observed) = (space(), observed(outcomes));
    let choices = [vec![], vec!["a<b".to_owned(), "lora".to_owned()], vec![]];
    let picture = Picture { space: &space, choices: &choices, observed: &observed, objective: "macro-f1", maximize };
    [history(&picture), parallel(&picture)]
}

#[test]
fn pictures_have_numbers_only_whatever_the_trials_were() {
    let value = Outcome::Value;
    let cut = Outcome::Cut { rung: 1, value: 0.6 };
    let cases: [&[Outcome]; 7] = [
        &[],
        &[value(0.8)],
        &[value(0.8), value(0.8)],
        &[value(0.0), value(0.0), value(f64::NAN), value(f64::INFINITY)],
        &[Outcome::Failed, Outcome::Failed],
        &[cut, Outcome::Pending],
        &[value(0.8), cut, Outcome::Failed, Outcome::Pending, value(0.82), value(-3e9), value(0.81)],
    ];
    for (case, maximize) in cases.iter().flat_map(|case| [(case, true), (case, false)]) {
        for svg in both(case, maximize) {
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{case:?} {svg}");
            assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
            assert!(!svg.contains("a<b"), "{svg}");
        }
    }
}

#[test]
fn the_best_trial_stands_out_and_the_line_never_gets_worse() {
    let outcomes = [0.80, 0.85, 0.82, 0.90, 0.88].map(Outcome::Value);
    let [history, parallel] = both(&outcomes, true);
    assert!(history.contains(">0.9 (trial 3)</text>"), "{history}");
    assert_eq!(history.matches("class=\"c0\"").count(), 4 + 1); // And one in the legend.
    assert_eq!(history.matches("class=\"c1 halo\"").count(), 1);
    // Three steps: trials 0, 1 and 3.
    let path = history.split("class=\"curve thin s1\" d=\"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(path.matches('V').count(), 2, "{path}");
    assert!(parallel.contains(">best: 0.9 (trial 3)</text>"), "{parallel}");
    let [history, _] = both(&outcomes, false);
    assert!(history.contains(">0.8 (trial 0)</text>"), "{history}");
}

#[test]
fn one_diverged_trial_does_not_press_the_others_together() {
    let outcomes = [0.80, 0.85, 0.02, 0.84, 0.86].map(Outcome::Value);
    let [history, _] = both(&outcomes, true);
    let place = |trial: usize| -> f64 {
        let before = history.split(&format!("<title>trial {trial}:")).next().unwrap();
        before.rsplit("cy=\"").next().unwrap().split('"').next().unwrap().parse().unwrap()
    };
    assert!(place(0) - place(4) > 100.0, "{history}");
    assert!(history.contains(">beyond</text>"), "{history}");
}

#[test]
fn trials_without_a_value_end_before_the_objective() {
    let [history, parallel] = both(&[Outcome::Value(0.8), Outcome::Failed, Outcome::Cut { rung: 1, value: 0.7 }], true);
    assert!(history.contains(">failed</text>") && history.contains(">stopped early</text>"), "{history}");
    let bends = |trial: &str| {
        let before = parallel.split(&format!("<title>{trial}</title>")).next().unwrap();
        before.rsplit(" d=\"").next().unwrap().matches('S').count()
    };
    assert_eq!((bends("0.8 (trial 0)"), bends("trial 1"), bends("trial 2")), (3, 2, 2));
    assert!(parallel.contains(">not set</text>") && parallel.contains(">no value</text>"), "{parallel}");
}
