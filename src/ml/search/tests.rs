//! Behaviour of the search that its user sees.

use super::*;

fn space() -> Space {
    let parameter = |name: &str, domain| Parameter { name: name.into(), domain, when: None };
    let mut space = Space {
        parameters: vec![
            parameter("lr", Domain::Float { low: 1e-5, high: 5e-5, log: true }),
            parameter("method", Domain::Categories(2)),
            parameter("rank", Domain::Integer { low: 4, high: 64, step: 4, log: false }),
        ],
    };
    space.parameters[2].when = Some(When { parameter: 1, categories: vec![1] });
    space
}

#[test]
fn a_search_stays_in_its_space_and_repeats_nothing() {
    for method in [Method::Tpe, Method::Random] {
        let sampler = Sampler { method, startup: 5, seed: 3, maximize: true };
        let mut history: Vec<Observed> = Vec::new();
        for k in 0..60 {
            let point = sampler.suggest(&space(), &history).unwrap();
            assert!(space().contains(&point), "{point:?}");
            assert!(history.iter().all(|observed| observed.point != point), "{point:?}");
            history.push(Observed { point, outcome: Outcome::Value(f64::from(k % 7)) });
        }
    }
}
