//! Stages → instances: one for each point of the axes that lists and matrices span.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::diagnostic::{Diagnostic, listed};
use super::draw::{Drawn, Reference};
use super::kind::Arity;
use super::pipeline::take_seed;
use super::resolve::{Coordinate, Instance, Wire};
use super::value::{Item, Value};

/// One candidate for the inputs of an instance: where it stands and what is plugged in.
#[derive(Clone, Default)]
struct Combination {
    coordinates: Vec<Coordinate>,
    wires: Vec<Wire>,
}

pub(super) fn fan_out(drawn: &[Drawn], order: &[usize], seed: u64, problems: &mut Vec<Diagnostic>) -> Vec<Instance> {
    let mut instances: Vec<Instance> = Vec::new();
    let mut of_stage: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for &at in order {
        let stage = &drawn[at];
        for combination in combine(stage, &instances, &of_stage, problems) {
            for point in points(stage) {
                let mut coordinates = combination.coordinates.clone();
                coordinates.extend(point.coordinates);
                let Some(instance) =
                    build(stage, coordinates, combination.wires.clone(), &point.overrides, seed, problems)
                else {
                    continue;
                };
                of_stage.entry(at).or_default().push(instances.len());
                instances.push(instance);
            }
        }
    }
    instances
}

/// All ways to plug the single ports, joined over the axes they share; `many` ports take everything.
fn combine(
    stage: &Drawn,
    instances: &[Instance],
    of_stage: &BTreeMap<usize, Vec<usize>>,
    problems: &mut Vec<Diagnostic>,
) -> Vec<Combination> {
    let mut combinations = vec![Combination::default()];
    for plug in &stage.ports {
        let mut candidates: Vec<(usize, &Reference)> = Vec::new();
        for reference in &plug.sources {
            let all = of_stage.get(&reference.stage).map_or(&[][..], Vec::as_slice);
            let picked: Vec<usize> = all
                .iter()
                .copied()
                .filter(|&i| reference.instance.as_ref().is_none_or(|name| instances[i].name == *name))
                .collect();
            if let (true, false, Some(name)) = (picked.is_empty(), all.is_empty(), &reference.instance) {
                let known = || all.iter().map(|&i| instances[i].name.as_str());
                problems.push(
                    Diagnostic::new(format!("there is no `{name}`"))
                        .at(&reference.place)
                        .label("unknown instance")
                        .suggest(name, known())
                        .help(format!("instances: {}", listed(known()))),
                );
            }
            candidates.extend(picked.into_iter().map(|i| (i, reference)));
        }
        if plug.port.arity == Arity::Many {
            let one_stage = plug.sources.len() == 1;
            let wires = candidates.iter().map(|&(from, r)| {
                let source = &instances[from];
                let label = if one_stage && !source.coordinates.is_empty() {
                    label(&source.coordinates)
                } else {
                    source.name.clone()
                };
                Wire { port: plug.port.name, from, output: r.output, label }
            });
            let wires: Vec<Wire> = wires.collect();
            combinations.iter_mut().for_each(|c| c.wires.extend(wires.iter().cloned()));
            continue;
        }
        let mut next = Vec::new();
        for combination in &combinations {
            for &(from, reference) in &candidates {
                let source = &instances[from];
                let mut joined = combination.clone();
                let list_axis = plug.is_list.then(|| Coordinate {
                    axis: format!("{}.{}", stage.name, plug.port.name),
                    label: source.stage.clone(),
                });
                let fits = list_axis.iter().chain(&source.coordinates).all(|c| {
                    match joined.coordinates.iter().find(|k| k.axis == c.axis) {
                        Some(known) => known.label == c.label,
                        None => {
                            joined.coordinates.push(c.clone());
                            true
                        }
                    }
                });
                if fits {
                    joined.wires.push(Wire {
                        port: plug.port.name,
                        from,
                        output: reference.output,
                        label: source.name.clone(),
                    });
                    next.push(joined);
                }
            }
        }
        combinations = next;
    }
    combinations
}

/// A point of a stage's own matrix: where it stands, and the parameters it sets.
#[derive(Clone, Default)]
struct Point {
    coordinates: Vec<Coordinate>,
    overrides: Vec<(String, Value)>,
}

/// The points of a stage's own matrix: one empty point where it has none.
fn points(stage: &Drawn) -> Vec<Point> {
    let mut all = vec![Point::default()];
    for (axis, values) in &stage.axes {
        let at = |point: &Point, value: &Value| {
            let mut next = point.clone();
            let label = format!("{axis}={}", value.scalar().unwrap_or_default());
            next.coordinates.push(Coordinate { axis: format!("{}@{axis}", stage.name), label });
            next.overrides.push((axis.clone(), value.clone()));
            next
        };
        all = all.iter().flat_map(|point| values.iter().map(|value| at(point, value)).collect::<Vec<_>>()).collect();
    }
    all
}

fn build(
    stage: &Drawn,
    coordinates: Vec<Coordinate>,
    inputs: Vec<Wire>,
    overrides: &[(String, Value)],
    seed: u64,
    problems: &mut Vec<Diagnostic>,
) -> Option<Instance> {
    let mut table = stage.parameters.clone();
    for (key, value) in overrides {
        table.0.push(Item { key: key.clone(), key_place: value.place.clone(), value: value.clone() });
    }
    let seed = match overrides.iter().any(|(k, _)| k == "seed") {
        true => take_seed(&mut table, problems)?,
        false => stage.seed.unwrap_or(seed),
    };
    let owner = format!("`{}`", stage.kind.name);
    let work = match (stage.kind.read)(&table, &owner, &stage.place) {
        Ok(work) => work,
        Err(found) => {
            problems.extend(found);
            return None;
        }
    };
    let wrong = work.check();
    if !wrong.is_empty() {
        problems.extend(wrong.into_iter().map(|w| {
            let d = Diagnostic::new(w.message).at(table.get(w.key).map_or(&stage.place, |i| &i.value.place));
            w.help.into_iter().fold(d, Diagnostic::help)
        }));
        return None;
    }
    let parameters = match work.parameters() {
        Ok(p) => p,
        Err(e) => {
            problems.push(
                Diagnostic::new(format!("the parameters of stage `{}` cannot be written down: {e}", stage.name))
                    .at(&stage.place),
            );
            return None;
        }
    };
    let name =
        if coordinates.is_empty() { stage.name.clone() } else { format!("{}[{}]", stage.name, label(&coordinates)) };
    Some(Instance {
        name,
        stage: stage.name.clone(),
        coordinates,
        kind: stage.kind,
        work: Arc::from(work),
        table: Arc::new(table),
        parameters,
        seed,
        inputs,
        export: stage.export.clone(),
        exclusive: stage.exclusive.clone(),
        place: stage.place.clone(),
    })
}

fn label(coordinates: &[Coordinate]) -> String {
    coordinates.iter().map(|c| c.label.as_str()).collect::<Vec<_>>().join(", ")
}
