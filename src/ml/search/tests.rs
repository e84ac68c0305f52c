//! Behaviour of the search that its user sees.

use proptest::prelude::*;

use super::domain::{DIGITS, rounded};
use super::*;

fn parameter(name: &str, domain: Domain) -> Parameter {
    Parameter { name: name.into(), domain, when: None }
}

/// A learning rate, and either layers or a rank.
fn space() -> Space {
    let mut space = Space {
        parameters: vec![
            parameter("teacher.learning-rate", Domain::Float { low: 1e-5, high: 5e-5, log: true }),
            parameter("teacher.method", Domain::Categories(2)),
            parameter("teacher.layers", Domain::Categories(4)),
            parameter("teacher.rank", Domain::Integer { low: 4, high: 64, step: 4, log: false }),
        ],
    };
    space.parameters[2].when = Some(When { parameter: 1, categories: vec![0] });
    space.parameters[3].when = Some(When { parameter: 1, categories: vec![1] });
    space
}

fn sampler(method: Method) -> Sampler {
    Sampler { method, startup: 5, seed: 3, maximize: true }
}

/// Run a search of so many trials; `outcome` is asked after each.
fn search(
    space: &Space,
    sampler: Sampler,
    trials: usize,
    mut outcome: impl FnMut(usize, &Point) -> Outcome,
) -> Vec<Observed> {
    let mut history: Vec<Observed> = Vec::new();
    for trial in 0..trials {
        let Some(point) = sampler.suggest(space, &history) else { break };
        let outcome = outcome(trial, &point);
        history.push(Observed { point, outcome });
    }
    history
}

fn points(history: &[Observed]) -> Vec<Point> {
    history.iter().map(|observed| observed.point.clone()).collect()
}

/// Something to maximize: a high learning rate.
fn rate(_: usize, point: &Point) -> Outcome {
    match point[0] {
        Some(Value::Float(rate)) => Outcome::Value(rate),
        _ => Outcome::Failed,
    }
}

fn domains() -> impl Strategy<Value = Domain> {
    let float =
        (-50.0..50.0f64, 0.0..10.0f64).prop_map(|(low, wide)| Domain::Float { low, high: low + wide, log: false });
    let log = (1e-8..1.0f64, 1.0..1e6f64).prop_map(|(low, times)| Domain::Float { low, high: low * times, log: true });
    let integer = (-9..9i64, 0..12i64, 1..4i64).prop_map(|(low, wide, step)| Domain::Integer {
        low,
        high: low + wide,
        step,
        log: false,
    });
    let log_integer =
        (1..9i64, 0..30i64).prop_map(|(low, wide)| Domain::Integer { low, high: low + wide, step: 1, log: true });
    prop_oneof![float, log, integer, log_integer, (1..5usize).prop_map(Domain::Categories)]
}

/// Spaces of up to four parameters, some of which depend on an earlier list of choices.
fn spaces() -> impl Strategy<Value = Space> {
    let dependent = proptest::option::of((0..4usize, proptest::collection::btree_set(0..5usize, 1..3)));
    proptest::collection::vec((domains(), dependent), 1..5).prop_map(|rows| {
        let mut parameters: Vec<Parameter> = Vec::new();
        for (index, (domain, dependent)) in rows.into_iter().enumerate() {
            let when = dependent.and_then(|(parameter, categories)| {
                let Domain::Categories(choices) = parameters.get(parameter)?.domain else { return None };
                let mut categories: Vec<usize> = categories.iter().map(|category| category % choices).collect();
                categories.dedup();
                Some(When { parameter, categories })
            });
            parameters.push(Parameter { name: format!("p{index}"), domain, when });
        }
        Space { parameters }
    })
}

fn outcomes() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        4 => (-10..10i32).prop_map(|value| Outcome::Value(f64::from(value))),
        1 => (0..3usize, 0.0..1.0f64).prop_map(|(rung, value)| Outcome::Cut { rung, value }),
        1 => Just(Outcome::Failed),
        1 => Just(Outcome::Pending),
        1 => Just(Outcome::Value(f64::NAN)),
    ]
}

fn methods() -> impl Strategy<Value = Method> {
    prop_oneof![Just(Method::Tpe), Just(Method::Random), Just(Method::Grid)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn suggestions_are_new_points_of_the_space_until_none_is_left(
        space in spaces(),
        method in methods(),
        outcomes in proptest::collection::vec(outcomes(), 40),
        seed: u64,
    ) {
        prop_assume!(space.problem(method).is_none());
        let sampler = Sampler { method, startup: 5, seed, maximize: seed % 2 == 0 };
        let history = search(&space, sampler, 40, |trial, _| outcomes[trial]);
        for (trial, observed) in history.iter().enumerate() {
            prop_assert!(space.contains(&observed.point), "{:?}", observed.point);
            prop_assert!(history[..trial].iter().all(|other| other.point != observed.point), "{:?}", observed.point);
        }
        let expected = space.size().map_or(40, |size| size.min(40)) as usize;
        prop_assert_eq!(history.len(), expected);
    }

    #[test]
    fn a_finite_space_has_as_many_points_as_it_says(space in spaces()) {
        if let Some(size) = space.size() {
            prop_assume!(size < 5000);
            prop_assert_eq!(space.points().count() as u64, size);
            prop_assert!(space.points().all(|point| space.contains(&point)));
        }
    }

    #[test]
    fn only_the_order_of_the_values_counts(
        space in spaces(),
        outcomes in proptest::collection::vec(outcomes(), 12),
        seed: u64,
    ) {
        let maximizing = Sampler { method: Method::Tpe, startup: 5, seed, maximize: true };
        let minimizing = Sampler { maximize: false, ..maximizing };
        let other = |outcome: Outcome, change: fn(f64) -> f64| match outcome {
            Outcome::Value(value) => Outcome::Value(change(value)),
            Outcome::Cut { rung, value } => Outcome::Cut { rung, value: change(value) },
            same => same,
        };
        let expected = points(&search(&space, maximizing, 12, |trial, _| outcomes[trial]));
        let cubed = search(&space, maximizing, 12, |trial, _| other(outcomes[trial], |x| x * x * x + 2.0 * x));
        let negated = search(&space, minimizing, 12, |trial, _| other(outcomes[trial], |x| -x));
        prop_assert_eq!(&points(&cubed), &expected);
        prop_assert_eq!(&points(&negated), &expected);
    }

    #[test]
    fn another_parameter_leaves_the_random_draws_of_the_others(space in spaces(), domain in domains(), seed: u64) {
        let mut more = space.clone();
        more.parameters.push(parameter("new", domain));
        for method in [Method::Random, Method::Tpe] {
            let sampler = Sampler { method, startup: 8, seed, maximize: true };
            // Points that differ in the new parameter only are no repetition, so the first one is compared.
            let (point, with_more) = (sampler.suggest(&space, &[]).unwrap(), sampler.suggest(&more, &[]).unwrap());
            prop_assert_eq!(&with_more[..point.len()], &point[..]);
        }
    }

    #[test]
    fn rounded_floats_are_short_and_inside(low in -1e3..1e3f64, wide in 1e-9..1e3f64, u in 0.0..1.0f64) {
        let (high, x) = (low + wide, low + u * wide);
        let short = rounded(x, (low, high), DIGITS);
        prop_assert!(low <= short && short <= high);
        prop_assert_eq!(rounded(short, (low, high), DIGITS), short);
        prop_assert!((short - x).abs() <= wide.max(x.abs()) * 0.005 + 1e-12);
        if short != low && short != high && x.abs() < wide {
            let digits = format!("{short:e}");
            let mantissa = digits.split('e').next().unwrap();
            prop_assert!(mantissa.chars().filter(char::is_ascii_digit).count() <= 3, "{}", digits);
        }
    }
}

#[test]
fn the_first_fifteen_of_thirty_trials_are_those_of_fifteen() {
    for method in [Method::Tpe, Method::Random] {
        let (short, long) = (search(&space(), sampler(method), 15, rate), search(&space(), sampler(method), 30, rate));
        assert_eq!(points(&short), points(&long)[..15]);
    }
}

#[test]
fn a_rounded_float_is_the_one_that_is_written_by_hand() {
    assert_eq!(rounded(2.344999e-5, (1e-5, 5e-5), 3), 2.34e-5);
    assert_eq!(rounded(0.0123456, (0.0, 0.3), 3), 0.0123);
    assert_eq!(rounded(0.0, (0.0, 0.3), 3), 0.0);
    // Three digits would leave two values.
    assert_eq!(rounded(0.99923, (0.999, 0.9999), 3), 0.99923);
    assert_eq!(rounded(1000.4, (1000.0, 1001.0), 3), 1000.4);
    // The nearest float of three digits is outside.
    assert_eq!(rounded(1.2344, (0.0, 1.2344), 3), 1.23);
    assert_eq!(rounded(1.2355, (0.0, 1.2355), 3), 1.2355);
}

#[test]
fn a_search_finds_what_is_better() {
    let last = |method| {
        let history = search(&space(), sampler(method), 40, rate);
        history[20..]
            .iter()
            .filter(|observed| matches!(observed.point[0], Some(Value::Float(rate)) if rate > 4e-5))
            .count()
    };
    let (guided, random) = (last(Method::Tpe), last(Method::Random));
    assert!(guided > random + 4, "{guided} of 20, {random} at random");
}

/// A failed trial, and one that was cut early, do not lead the search, whatever their value was.
#[test]
fn trials_without_a_final_value_are_worse() {
    let share = |bad: Outcome| {
        let history = search(&space(), sampler(Method::Tpe), 30, |_, point| match point[1] {
            Some(Value::Category(1)) => bad,
            _ => Outcome::Value(0.1),
        });
        history.iter().filter(|observed| observed.outcome == bad).count()
    };
    let (better, failed, cut) =
        (share(Outcome::Value(0.2)), share(Outcome::Failed), share(Outcome::Cut { rung: 2, value: 0.9 }));
    assert!(better > 17 && failed < 13 && cut < 13, "{better}, {failed}, {cut} of 30; about 15 at random");
}

#[test]
fn a_search_goes_on_if_every_trial_fails() {
    assert_eq!(search(&space(), sampler(Method::Tpe), 30, |_, _| Outcome::Failed).len(), 30);
}

/// Trials that run at the same time differ, because each knows the pending ones before it.
#[test]
fn pending_trials_keep_others_away() {
    let history = search(&space(), sampler(Method::Tpe), 12, rate);
    let mut pending = history.clone();
    pending
        .push(Observed { point: sampler(Method::Tpe).suggest(&space(), &history).unwrap(), outcome: Outcome::Pending });
    let next = sampler(Method::Tpe).suggest(&space(), &pending).unwrap();
    assert!(pending.iter().all(|observed| observed.point != next));
}

#[test]
fn a_grid_is_walked_in_order() {
    let mut space = space();
    space.parameters.remove(0);
    space.parameters.iter_mut().for_each(|parameter| {
        parameter.when.iter_mut().for_each(|when| when.parameter = 0);
    });
    let history = search(&space, sampler(Method::Grid), 100, |_, _| Outcome::Pending);
    assert_eq!(history.len(), 4 + 16);
    assert_eq!(space.size(), Some(20));
    assert_eq!(history[1].point, [Some(Value::Category(0)), Some(Value::Category(1)), None]);
    assert_eq!(history[4].point, [Some(Value::Category(1)), None, Some(Value::Integer(4))]);
    assert_eq!(history[19].point, [Some(Value::Category(1)), None, Some(Value::Integer(64))]);
}

#[test]
fn sizes_do_not_overflow() {
    let seeds = || parameter("seed", Domain::Integer { low: i64::MIN, high: i64::MAX, step: 1, log: false });
    let space = Space { parameters: vec![seeds(), parameter("other", Domain::Categories(3))] };
    assert_eq!(space.size(), Some(u64::MAX));
    let history = search(&space, sampler(Method::Tpe), 20, |trial, _| Outcome::Value(trial as f64));
    assert!(history.iter().all(|observed| space.contains(&observed.point)));
}

/// A range of floats never runs out, even if three digits allow only few of them.
#[test]
fn a_narrow_range_gets_more_digits() {
    let space = Space { parameters: vec![parameter("p", Domain::Float { low: 1.0, high: 1.5, log: false })] };
    for method in [Method::Tpe, Method::Random] {
        let history = search(&space, sampler(method), 200, |trial, _| Outcome::Value(trial as f64));
        assert_eq!(history.len(), 200);
        assert!(history.iter().enumerate().all(|(k, o)| history[..k].iter().all(|other| other.point != o.point)));
    }
}

#[test]
fn what_is_wrong_with_a_space_is_said() {
    let said = |method, parameters: Vec<Parameter>| {
        let space = Space { parameters };
        space.problem(method).map(|problem| format!("{}: {}", problem.parameter, problem.fault))
    };
    let one = |domain| said(Method::Tpe, vec![parameter("p", domain)]);
    let float = |low, high, log| Domain::Float { low, high, log };
    let integer = |low, high, step, log| Domain::Integer { low, high, step, log };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(said(Method::Tpe, vec![]), some("0: the search has no parameters"));
    assert_eq!(one(float(5e-5, 1e-5, false)), some("0: `low` (0.00005) is above `high` (0.00001)"));
    assert_eq!(one(float(0.0, 1.0, true)), some("0: `log` needs a `low` above 0, not 0"));
    assert_eq!(one(float(0.0, f64::NAN, false)), some("0: `low` and `high` must be finite"));
    assert_eq!(one(integer(4, 3, 1, false)), some("0: `low` (4) is above `high` (3)"));
    assert_eq!(one(integer(0, 3, 1, true)), some("0: `log` needs a `low` above 0, not 0"));
    assert_eq!(one(integer(1, 3, 0, false)), some("0: `step` must be 1 or more, not 0"));
    assert_eq!(one(integer(1, 9, 2, true)), some("0: `log` and a `step` of 2 exclude each other"));
    assert_eq!(one(Domain::Categories(0)), some("0: the list of choices is empty"));
    assert_eq!(one(float(1.0, 1.0, true)), None);
    let grid = said(Method::Grid, vec![parameter("p", float(0.0, 1.0, false))]);
    assert_eq!(grid, some("0: a grid cannot enumerate a range of floats; list the values to try"));
    let twice = || parameter("p", Domain::Categories(2));
    assert_eq!(said(Method::Tpe, vec![twice(), twice()]), some("1: the parameter is given twice"));
    let when = |parent: Domain, parameter, categories| {
        let child =
            Parameter { name: "q".into(), domain: Domain::Categories(2), when: Some(When { parameter, categories }) };
        said(Method::Tpe, vec![self::parameter("p", parent), child])
    };
    assert_eq!(
        when(Domain::Categories(2), 1, vec![0]),
        some("1: `when` must name a parameter that is listed before this one")
    );
    assert_eq!(
        when(integer(1, 2, 1, false), 0, vec![0]),
        some("1: `when` needs a list of choices, and `p` is a range")
    );
    assert_eq!(when(Domain::Categories(2), 0, vec![2]), some("1: `when` names no choice of `p`"));
    assert_eq!(when(Domain::Categories(2), 0, vec![1]), None);
}
