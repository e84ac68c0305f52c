//! Turns stages into instances, one for each combination of the values of their lists and matrices.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::drawn::{Drawn, Reference, Told};
use super::exports::settle;
use super::instance::{Coordinate, Instance, Wire};
use super::layers::take_seed;
use super::plugs::unplugged;
use super::templates::inherit;
use crate::contract::kind::{Arity, Invalid, Labels};
use crate::text::diagnostic::{Diagnostic, listed};
use crate::text::value::{Item, Value};

/// The most instances of one pipeline. A slip in a matrix asks for a billion, and nobody reads a plan of 100,000 lines.
pub(crate) const MOST_INSTANCES: usize = 100_000;

/// The most wires of one pipeline: `many` ports over long axes need the product of both lengths.
const MOST_WIRES: usize = 1_000_000;

/// One possible set of inputs for an instance, with its coordinates.
#[derive(Clone, Default)]
struct Combination {
    coordinates: Vec<Coordinate>,
    wires: Vec<Wire>,
}

pub(crate) fn fan_out(drawn: &[Drawn], order: &[usize], seed: u64, problems: &mut Vec<Diagnostic>) -> Vec<Instance> {
    let mut instances: Vec<Instance> = Vec::new();
    let mut of_stage: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut wires = 0usize;
    for &at in order {
        let stage = &drawn[at];
        let Some(combinations) = combine(stage, &instances, &of_stage, problems) else { return instances };
        let points: usize = stage.axes.iter().map(|(_, values)| values.len()).fold(1, usize::saturating_mul);
        let asked = combinations.len().saturating_mul(points);
        wires = wires.saturating_add(combinations.iter().map(|c| c.wires.len()).sum::<usize>().saturating_mul(points));
        if let Some(problem) = too_many(stage, instances.len().saturating_add(asked), wires) {
            problems.push(problem);
            return instances;
        }
        let points = self::points(stage);
        for combination in combinations {
            for point in &points {
                let mut coordinates = combination.coordinates.clone();
                coordinates.extend(point.coordinates.iter().cloned());
                let Some(mut instance) =
                    build(stage, coordinates, combination.wires.clone(), &point.overrides, seed, problems)
                else {
                    continue;
                };
                if !stage.runs.is_empty() {
                    let (wires, inherited) = inherit(&stage.runs, &instances, &of_stage, problems);
                    instance.inputs.extend(wires);
                    instance.inherited = Some(Arc::new(inherited));
                }
                problems.extend(unmet(drawn, stage, &instance));
                of_stage.entry(at).or_default().push(instances.len());
                instances.push(instance);
            }
        }
    }
    settle(&mut instances, problems);
    instances
}

/// Errors for optional ports that a parameter's value requires and the file leaves out.
fn unmet(drawn: &[Drawn], stage: &Drawn, instance: &Instance) -> Vec<Diagnostic> {
    let is_wired = |port: &str| instance.inputs.iter().any(|wire| wire.port == port);
    let unmet = instance.work.needs().into_iter().filter(|need| !is_wired(need.port));
    let problems = unmet.filter_map(|need| {
        let port = instance.ports.input(need.port)?;
        let place = instance.table.get(need.key).map_or(&stage.place, |item| &item.value.place);
        let why = format!("`{}` needs {}", need.key, port.with_article());
        Some(unplugged(drawn, stage, &port).at(place).label(why))
    });
    problems.collect()
}

/// An error for a stage that fans out too far, before any instance is built.
fn too_many(stage: &Drawn, instances: usize, wires: usize) -> Option<Diagnostic> {
    let (count, most, what) = if instances > MOST_INSTANCES {
        (instances, MOST_INSTANCES, "instances")
    } else if wires > MOST_WIRES {
        (wires, MOST_WIRES, "edges")
    } else {
        return None;
    };
    Some(
        Diagnostic::new(format!(
            "stage `{}` brings the pipeline to {} {what}; the limit is {most}",
            stage.name,
            if count == usize::MAX { "countless".into() } else { count.to_string() }
        ))
        .at(&stage.place)
        .label("fans out too far")
        .help("shorten the lists of its `matrix`, its `repeat` and those of the stages upstream"),
    )
}

/// All combinations of inputs for the single ports, joined over shared axes; `many` ports take all sources.
fn combine(
    stage: &Drawn,
    instances: &[Instance],
    of_stage: &BTreeMap<usize, Vec<usize>>,
    problems: &mut Vec<Diagnostic>,
) -> Option<Vec<Combination>> {
    let mut combinations = vec![Combination::default()];
    for plug in &stage.plugs {
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
                    Diagnostic::new(format!("unknown instance `{name}`"))
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
            let all = wires.len().saturating_mul(combinations.len());
            if let Some(problem) = too_many(stage, combinations.len(), all) {
                problems.push(problem);
                return None;
            }
            combinations.iter_mut().for_each(|c| c.wires.extend(wires.iter().cloned()));
            continue;
        }
        let mut next = Vec::new();
        for combination in &combinations {
            if let Some(problem) = too_many(stage, next.len(), next.len()) {
                problems.push(problem);
                return None;
            }
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
    Some(combinations)
}

/// A point of a stage's own matrix: its coordinates and the parameters it sets.
#[derive(Clone, Default)]
struct Point {
    coordinates: Vec<Coordinate>,
    overrides: Vec<(String, Value)>,
}

/// The points of a stage's own matrix; one empty point if it has none.
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
    let mut labels = Labels::new();
    for wire in &inputs {
        labels.entry(wire.port).or_default().push(&wire.label);
    }
    let wrong: Vec<Invalid> = work.check().into_iter().chain(work.check_inputs(&labels)).collect();
    if !wrong.is_empty() {
        problems.extend(wrong.into_iter().map(|w| {
            let of_parameter = table.get(w.key).map(|item| &item.value.place);
            let of_port = || stage.plugs.iter().find(|plug| plug.port.name == w.key)?.sources.first().map(|s| &s.place);
            let d = Diagnostic::new(w.message).at(of_parameter.or_else(of_port).unwrap_or(&stage.place));
            w.help.into_iter().fold(d, Diagnostic::help)
        }));
        return None;
    }
    if Told::is_asked(&stage.kind) && Told::by(work.as_ref()) != stage.told {
        problems.push(
            Diagnostic::new(format!("the instances of stage `{}` have different ports or trials", stage.name))
                .at(&stage.place)
                .help("an axis of `matrix` cannot change them; write one stage for each"),
        );
        return None;
    }
    let parameters = match work.parameters() {
        Ok(p) => p,
        Err(e) => {
            problems.push(
                Diagnostic::new(format!("cannot serialize the parameters of stage `{}`: {e}", stage.name))
                    .at(&stage.place),
            );
            return None;
        }
    };
    let name =
        if coordinates.is_empty() { stage.name.clone() } else { format!("{}[{}]", stage.name, label(&coordinates)) };
    let needs = stage.amounts.asked.over(work.resources());
    Some(Instance {
        name,
        stage: stage.name.clone(),
        coordinates,
        kind: stage.kind,
        ports: stage.ports.clone(),
        work: Arc::from(work),
        table: Arc::new(table),
        parameters,
        seed,
        inputs,
        plugged: stage
            .plugs
            .iter()
            .filter_map(|plug| Some((plug.port.name, plug.sources.first()?.place.clone())))
            .collect(),
        export: stage.export.clone(),
        exclusive: stage.exclusive.clone(),
        needs,
        amounts: stage.amounts.clone(),
        inherited: None,
        place: stage.place.clone(),
    })
}

fn label(coordinates: &[Coordinate]) -> String {
    coordinates.iter().map(|c| c.label.as_str()).collect::<Vec<_>>().join(", ")
}
