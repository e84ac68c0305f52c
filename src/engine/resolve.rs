//! A definition with a profile and overrides → typed stages, wired and fanned out into instances.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::diagnostic::{Diagnostic, Diagnostics, Place, Source, listed};
use super::graph;
use super::kind::{Arity, Erased, Kind, Port};
use super::pipeline::{Definition, take_seed, take_string};
use super::value::{Item, Node, Table, Value};

/// A pipeline that can be planned and run.
pub struct Pipeline {
    pub name: String,
    pub description: Option<String>,
    pub profile: Option<String>,
    pub source: Arc<Source>,
    /// In topological order.
    pub instances: Vec<Instance>,
}

/// One stage at one point of its axes: `teacher`, `scores[pruned]`, `full[seed=1]`.
#[derive(Clone)]
pub struct Instance {
    pub name: String,
    /// The stage it belongs to.
    pub stage: String,
    pub coordinates: Vec<Coordinate>,
    pub kind: Kind,
    pub work: Arc<dyn Erased>,
    /// The stage's table as written, for the places of its values.
    pub table: Arc<Table>,
    /// The parameters with defaults filled in.
    pub parameters: serde_json::Value,
    pub seed: u64,
    pub inputs: Vec<Wire>,
    /// Folder below the project root that the outputs are copied to.
    pub export: Option<String>,
    pub place: Place,
}

/// Where an instance stands on one axis. `axis` tells axes apart; `label` is what people read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coordinate {
    pub axis: String,
    pub label: String,
}

/// One artifact flowing into a port.
#[derive(Debug, Clone)]
pub struct Wire {
    pub port: &'static str,
    /// Index of the instance it comes from.
    pub from: usize,
    pub output: &'static str,
    pub label: String,
}

/// A stage as the file has it, typed but not fanned out.
struct Drawn {
    name: String,
    place: Place,
    kind: Kind,
    parameters: Table,
    seed: Option<u64>,
    ports: Vec<Plug>,
    axes: Vec<(String, Vec<Value>)>,
    export: Option<String>,
}

/// What the file wires into one port.
struct Plug {
    port: &'static Port,
    sources: Vec<Reference>,
    /// Written as a list: a single port then fans out, even over one element.
    is_list: bool,
}

struct Reference {
    stage: usize,
    /// Only this instance of the stage, if the text named one.
    instance: Option<String>,
    output: &'static str,
    place: Place,
}

/// Read, check and wire a pipeline; on failure everything that is wrong, in every profile.
pub fn resolve(
    source: &Arc<Source>,
    profile: Option<&str>,
    sets: &[String],
    kinds: &[Kind],
) -> Result<Pipeline, Diagnostics> {
    let mut problems = Vec::new();
    let Some(definition) = Definition::parse(source, kinds, &mut problems) else {
        return Err(Diagnostics::new(problems));
    };
    let pipeline = resolve_one(&definition, profile, sets, kinds, &mut problems);
    for other in &definition.profiles {
        if Some(other.key.as_str()) != profile {
            let mut found = Vec::new();
            resolve_one(&definition, Some(&other.key), &[], kinds, &mut found);
            // What is wrong without the profile too has been said, or was mended by an override.
            problems.extend(found.into_iter().filter(|d| d.place.as_ref().is_some_and(|p| inside(other, p))));
        }
    }
    match pipeline {
        Some(pipeline) if problems.is_empty() => Ok(pipeline),
        _ => Err(Diagnostics::new(problems)),
    }
}

/// Whether a place lies in one of a profile's leaves. Dotted headers scatter a profile over the file.
fn inside(item: &Item, place: &Place) -> bool {
    match &item.value.node {
        Node::Table(t) => t.0.iter().any(|i| i.key_place == *place || inside(i, place)),
        Node::Array(all) => item.value.place == *place || all.iter().any(|v| v.place == *place),
        _ => item.value.place == *place,
    }
}

fn resolve_one(
    definition: &Definition,
    profile: Option<&str>,
    sets: &[String],
    kinds: &[Kind],
    problems: &mut Vec<Diagnostic>,
) -> Option<Pipeline> {
    let mut table = definition.with(profile, sets, kinds, problems);
    let stem = || {
        std::path::Path::new(&definition.source.name)
            .file_stem()
            .map_or("pipeline".into(), |s| s.to_string_lossy().into_owned())
    };
    let name = take_string(&mut table, "name", problems).map_or_else(stem, |(s, _)| s);
    let description = take_string(&mut table, "description", problems).map(|(s, _)| s);
    let seed = take_seed(&mut table, problems).unwrap_or(0);
    let stages = match table.take("stage").map(|i| i.value) {
        Some(Value { node: Node::Table(t), .. }) if !t.0.is_empty() => t,
        _ => {
            problems.push(
                Diagnostic::new(format!("{} declares no stage", definition.source.name))
                    .help("a stage is `[stage.NAME]` with `use = \"KIND\"`; `pipe stages` lists the kinds"),
            );
            return None;
        }
    };
    let before = problems.len();
    let drawn = draw(stages, kinds, problems);
    let order = match graph::stage_order(
        drawn.len(),
        drawn
            .iter()
            .enumerate()
            .flat_map(|(to, d)| d.ports.iter().flat_map(move |p| p.sources.iter().map(move |r| (r.stage, to)))),
    ) {
        Ok(order) => order,
        Err(cycles) => {
            problems.extend(cycles.iter().map(|c| describe_cycle(c, &drawn)));
            return None;
        }
    };
    let instances = fan_out(&drawn, &order, seed, problems);
    (problems.len() == before).then(|| Pipeline {
        name,
        description,
        profile: profile.map(str::to_string),
        source: definition.source.clone(),
        instances,
    })
}

fn describe_cycle(cycle: &[usize], drawn: &[Drawn]) -> Diagnostic {
    let mut names: Vec<&str> = cycle.iter().map(|&i| drawn[i].name.as_str()).collect();
    names.push(names[0]);
    let last = cycle[cycle.len() - 1];
    let place = drawn[cycle[0]]
        .ports
        .iter()
        .flat_map(|p| &p.sources)
        .find(|r| r.stage == last)
        .map_or(&drawn[cycle[0]].place, |r| &r.place);
    Diagnostic::new(format!("the stages form a cycle: {}", names.join(" → ")))
        .at(place)
        .label(format!("`{}` needs `{}`", drawn[cycle[0]].name, drawn[last].name))
        .help("take one of these edges out")
}

/// Type each stage and its wires.
fn draw(stages: Table, kinds: &[Kind], problems: &mut Vec<Diagnostic>) -> Vec<Drawn> {
    let mut drawn = Vec::new();
    let mut wires = Vec::new();
    let names: Vec<String> = stages.0.iter().map(|s| s.key.clone()).collect();
    for item in stages.0 {
        let place = item.key_place;
        let Node::Table(mut table) = item.value.node else {
            problems.push(
                Diagnostic::new(format!("stage `{}` is {} where a table belongs", item.key, item.value.describe()))
                    .at(&item.value.place),
            );
            continue;
        };
        if !item.key.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_') {
            problems.push(
                Diagnostic::new(format!("`{}` cannot name a stage", item.key))
                    .at(&place)
                    .help("use letters, digits, `-` and `_`"),
            );
            continue;
        }
        let Some(kind) = take_kind(&item.key, &place, &mut table, kinds, &names, problems) else { continue };
        let axes = take_matrix(&mut table, problems);
        let export =
            take_string(&mut table, "export", problems).and_then(|(text, at)| check_export(text, &at, problems));
        let seed = take_seed(&mut table, problems);
        wires.push(table.take("in"));
        drawn.push(Drawn { name: item.key, place, kind, parameters: table, seed, ports: Vec::new(), axes, export });
    }
    let index: HashMap<String, usize> = drawn.iter().enumerate().map(|(i, d)| (d.name.clone(), i)).collect();
    for (at, wire) in wires.into_iter().enumerate() {
        let plugs = plug(&drawn, at, wire, &index, &names, problems);
        drawn[at].ports = plugs;
    }
    drawn
}

fn take_kind(
    stage: &str,
    place: &Place,
    table: &mut Table,
    kinds: &[Kind],
    names: &[String],
    problems: &mut Vec<Diagnostic>,
) -> Option<Kind> {
    let known = || kinds.iter().map(|k| k.name);
    if table.get("use").is_none() {
        let d = Diagnostic::new(format!("stage `{stage}` has no `use`")).at(place).label("which kind is it?");
        problems.push(
            d.suggest(stage, names.iter().map(String::as_str).filter(|n| *n != stage))
                .help(format!("add `use = \"KIND\"`; kinds: {}", listed(known()))),
        );
        return None;
    }
    let (name, at) = take_string(table, "use", problems)?;
    let kind = kinds.iter().find(|k| k.name == name).copied();
    if kind.is_none() {
        problems.push(
            Diagnostic::new(format!("there is no kind `{name}`"))
                .at(&at)
                .label("unknown kind")
                .suggest(&name, known())
                .help(format!("kinds: {}", listed(known()))),
        );
    }
    kind
}

fn take_matrix(table: &mut Table, problems: &mut Vec<Diagnostic>) -> Vec<(String, Vec<Value>)> {
    let Some(item) = table.take("matrix") else { return Vec::new() };
    let Node::Table(axes) = item.value.node else {
        problems.push(
            Diagnostic::new("`matrix` needs a table of lists")
                .at(&item.value.place)
                .label("expected e.g. `{ seed = [1, 2, 3] }`"),
        );
        return Vec::new();
    };
    let mut out = Vec::new();
    for axis in axes.0 {
        match axis.value.node {
            Node::Array(values) if !values.is_empty() && values.iter().all(|v| v.scalar().is_some()) => {
                let mut labels: Vec<String> = values.iter().filter_map(Value::scalar).collect();
                labels.sort();
                labels.dedup();
                if labels.len() < values.len() {
                    problems.push(
                        Diagnostic::new(format!("matrix axis `{}` has a value twice", axis.key)).at(&axis.value.place),
                    );
                }
                if let Some(both) = table.take(&axis.key) {
                    problems.push(
                        Diagnostic::new(format!("`{}` is given twice: by `matrix` and by its own line", axis.key))
                            .at(&both.key_place)
                            .help("keep one of the two"),
                    );
                }
                out.push((axis.key, values));
            }
            _ => problems.push(
                Diagnostic::new(format!("matrix axis `{}` needs a list of numbers or strings, at least one", axis.key))
                    .at(&axis.value.place),
            ),
        }
    }
    out
}

fn check_export(text: String, at: &Place, problems: &mut Vec<Diagnostic>) -> Option<String> {
    use std::path::{Component, Path};
    let bad = text.is_empty()
        || Path::new(&text).components().any(|c| !matches!(c, Component::Normal(_) | Component::CurDir));
    if bad {
        problems.push(
            Diagnostic::new(format!("`export = \"{text}\"` leaves the project"))
                .at(at)
                .label("a folder below the project root, without `..`"),
        );
    }
    (!bad).then_some(text)
}

/// Check one stage's `in` table: ports, stages, outputs, types.
fn plug(
    drawn: &[Drawn],
    at: usize,
    wire: Option<Item>,
    index: &HashMap<String, usize>,
    names: &[String],
    problems: &mut Vec<Diagnostic>,
) -> Vec<Plug> {
    let me = &drawn[at];
    let mut plugs = Vec::new();
    let items = match wire.map(|i| i.value) {
        None => Vec::new(),
        Some(Value { node: Node::Table(t), .. }) => t.0,
        Some(other) => {
            problems.push(
                Diagnostic::new(format!("`in` is {} where edges belong", other.describe()))
                    .at(&other.place)
                    .label("write `in.PORT = \"STAGE\"`"),
            );
            return plugs;
        }
    };
    let mut given: Vec<String> = Vec::new();
    for item in items {
        given.push(item.key.clone());
        let Some(port) = me.kind.input(&item.key) else {
            let known = || me.kind.inputs.iter().map(|p| p.name);
            problems.push(
                Diagnostic::new(format!("`{}` has no input port `{}`", me.kind.name, item.key))
                    .at(&item.key_place)
                    .label("unknown port")
                    .suggest(&item.key, known())
                    .help(format!("ports of `{}`: {}", me.kind.name, listed(known()))),
            );
            continue;
        };
        let is_list = matches!(item.value.node, Node::Array(_));
        let entries = match item.value.node {
            Node::Array(all) => all,
            node => vec![Value { node, place: item.value.place.clone() }],
        };
        if entries.is_empty() {
            problems.push(
                Diagnostic::new(format!("port `{}` of stage `{}` is given an empty list", port.name, me.name))
                    .at(&item.value.place),
            );
        }
        let mut seen: Vec<String> = Vec::new();
        let mut sources = Vec::new();
        for entry in entries {
            let Some(text) = entry.as_str() else {
                problems.push(
                    Diagnostic::new(format!("{} stands where a stage's name belongs", entry.describe()))
                        .at(&entry.place)
                        .label("expected a string"),
                );
                continue;
            };
            if seen.iter().any(|s| s == text) {
                problems.push(Diagnostic::new(format!("`{text}` is listed twice")).at(&entry.place));
                continue;
            }
            seen.push(text.to_string());
            sources.extend(refer(drawn, me, port, text, &entry.place, index, names, problems));
        }
        plugs.push(Plug { port, sources, is_list });
    }
    for port in me.kind.inputs.iter().filter(|p| p.arity != Arity::Optional && !given.iter().any(|g| g == p.name)) {
        let givers = giving(drawn, port, at);
        problems.push(
            Diagnostic::new(format!("stage `{}` has nothing on its port `{}`", me.name, port.name))
                .at(&me.place)
                .label(format!("`{}` needs {}", me.kind.name, port.ty.with_article()))
                .help(format!(
                    "add `in.{} = \"STAGE\"`; stages that give {}: {}",
                    port.name,
                    port.ty.with_article(),
                    givers
                )),
        );
    }
    plugs
}

fn giving(drawn: &[Drawn], port: &Port, but: usize) -> String {
    let names: Vec<&str> = drawn
        .iter()
        .enumerate()
        .filter(|(i, d)| *i != but && d.kind.outputs.iter().any(|o| o.ty == port.ty))
        .map(|(_, d)| d.name.as_str())
        .collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

/// `stage`, `stage.port` or `stage[instance]` → what it refers to, if its type fits the port.
#[expect(clippy::too_many_arguments, reason = "one lookup with everything it must be able to name in a message")]
fn refer(
    drawn: &[Drawn],
    me: &Drawn,
    port: &Port,
    text: &str,
    place: &Place,
    index: &HashMap<String, usize>,
    names: &[String],
    problems: &mut Vec<Diagnostic>,
) -> Option<Reference> {
    let (whole, output) = match text.rsplit_once('.') {
        Some((stage, output)) if !text.ends_with(']') => (stage, Some(output)),
        _ => (text, None),
    };
    let (stage, instance) = match whole.split_once('[') {
        Some((stage, _)) => (stage, Some(whole.to_string())),
        None => (whole, None),
    };
    let Some(&at) = index.get(stage) else {
        // A stage that is there but could not be read has been complained about already.
        if !names.iter().any(|n| n == stage) {
            let known = || names.iter().map(String::as_str);
            problems.push(
                Diagnostic::new(format!("there is no stage `{stage}`"))
                    .at(place)
                    .label("unknown stage")
                    .suggest(stage, known())
                    .help(format!("stages: {}", listed(known()))),
            );
        }
        return None;
    };
    let them = &drawn[at];
    let wrong_type = |given: &Port| {
        Diagnostic::new(format!(
            "stage `{}` gets {} where it needs {}",
            me.name,
            given.ty.with_article(),
            port.ty.with_article()
        ))
        .at(place)
        .label(format!("`{text}` ({}) gives {}", them.kind.name, given.ty.with_article()))
        .help(format!(
            "stages that give {}: {}",
            port.ty.with_article(),
            giving(drawn, port, index[&me.name])
        ))
    };
    let found = match output {
        Some(name) => match them.kind.output(name) {
            Some(found) if found.ty == port.ty => found,
            Some(found) => {
                problems.push(wrong_type(found));
                return None;
            }
            None => {
                let known = || them.kind.outputs.iter().map(|p| p.name);
                problems.push(
                    Diagnostic::new(format!("`{}` has no output port `{name}`", them.kind.name))
                        .at(place)
                        .label("unknown port")
                        .suggest(name, known())
                        .help(format!("outputs of `{stage}`: {}", listed(known()))),
                );
                return None;
            }
        },
        None => {
            let fitting: Vec<&'static Port> = them.kind.outputs.iter().filter(|o| o.ty == port.ty).collect();
            match (fitting.as_slice(), them.kind.outputs) {
                ([one], _) => *one,
                ([], [first, ..]) => {
                    problems.push(wrong_type(first));
                    return None;
                }
                ([], []) => {
                    problems.push(Diagnostic::new(format!("stage `{stage}` gives nothing")).at(place));
                    return None;
                }
                (several, _) => {
                    let options: Vec<String> = several.iter().map(|o| format!("{stage}.{}", o.name)).collect();
                    problems.push(
                        Diagnostic::new(format!("`{stage}` gives more than one {}", port.ty.0))
                            .at(place)
                            .label("which one?")
                            .help(format!("write one of {}", listed(options.iter().map(String::as_str)))),
                    );
                    return None;
                }
            }
        }
    };
    Some(Reference { stage: at, instance, output: found.name, place: place.clone() })
}

/// One candidate for the inputs of an instance: where it stands and what is plugged in.
#[derive(Clone, Default)]
struct Combination {
    coordinates: Vec<Coordinate>,
    wires: Vec<Wire>,
}

fn fan_out(drawn: &[Drawn], order: &[usize], seed: u64, problems: &mut Vec<Diagnostic>) -> Vec<Instance> {
    let mut instances: Vec<Instance> = Vec::new();
    let mut of_stage: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for &at in order {
        let stage = &drawn[at];
        for combination in combine(stage, &instances, &of_stage, problems) {
            for (extra, overrides) in points(stage) {
                let mut coordinates = combination.coordinates.clone();
                coordinates.extend(extra);
                let Some(instance) = build(stage, coordinates, combination.wires.clone(), &overrides, seed, problems)
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

/// The points of a stage's own matrix: one empty point where it has none.
fn points(stage: &Drawn) -> Vec<(Vec<Coordinate>, Vec<(String, Value)>)> {
    let mut all = vec![(Vec::new(), Vec::new())];
    for (axis, values) in &stage.axes {
        all = all
            .iter()
            .flat_map(|(coordinates, overrides): &(Vec<Coordinate>, Vec<(String, Value)>)| {
                values.iter().map(move |v| {
                    let (mut c, mut o) = (coordinates.clone(), overrides.clone());
                    c.push(Coordinate {
                        axis: format!("{}@{axis}", stage.name),
                        label: format!("{axis}={}", v.scalar().unwrap_or_default()),
                    });
                    o.push((axis.clone(), v.clone()));
                    (c, o)
                })
            })
            .collect();
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
        place: stage.place.clone(),
    })
}

fn label(coordinates: &[Coordinate]) -> String {
    coordinates.iter().map(|c| c.label.as_str()).collect::<Vec<_>>().join(", ")
}
