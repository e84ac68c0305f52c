//! The stages of a file with their kinds and wiring, before they fan out.

use std::collections::HashMap;

use super::amounts::{Amounts, take_amounts};
use super::layers::{take_seed, take_string};
use super::ports::{Told, declared_input, ports_of};
use super::templates::{Runs, find_runs};
use crate::contract::kind::{Arity, Extra, Kind, MorePorts, Port, Ports};
use crate::text::diagnostic::{Diagnostic, Place, closest, listed};
use crate::text::value::{Item, Node, Table, Value};

/// A stage of the file with its kind and wiring, before it fans out.
pub(crate) struct Drawn {
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) kind: Kind,
    pub(crate) parameters: Table,
    pub(crate) seed: Option<u64>,
    pub(crate) ports: Ports,
    /// What the parameters say about ports and trials.
    pub(crate) told: Told,
    pub(crate) plugs: Vec<Plug>,
    /// The stages that it runs in trials.
    pub(crate) runs: Vec<Runs>,
    pub(crate) axes: Vec<(String, Vec<Value>)>,
    pub(crate) export: Option<String>,
    pub(crate) exclusive: Option<String>,
    pub(crate) amounts: Amounts,
}

impl Drawn {
    /// The edges into this stage, which has the index `to`: from its sources and from the stages that it runs in trials.
    pub(crate) fn edges(&self, to: usize) -> impl Iterator<Item = (usize, usize)> + '_ {
        let sources = self.plugs.iter().flat_map(|plug| &plug.sources).map(|reference| reference.stage);
        sources.chain(self.runs.iter().map(|runs| runs.target)).map(move |from| (from, to))
    }
}

/// What the file wires into one port.
pub(crate) struct Plug {
    pub(crate) port: Port,
    pub(crate) sources: Vec<Reference>,
    /// Whether the file has a list: then a single port fans out, even over one element.
    pub(crate) is_list: bool,
}

pub(crate) struct Reference {
    pub(crate) stage: usize,
    /// The instance of the stage, if the text names one.
    pub(crate) instance: Option<String>,
    pub(crate) output: &'static str,
    pub(crate) place: Place,
}

/// Find the kind of each stage and connect its inputs.
pub(crate) fn draw(stages: Table, kinds: &[Kind], problems: &mut Vec<Diagnostic>) -> Vec<Drawn> {
    let mut drawn = Vec::new();
    let mut wires = Vec::new();
    let names: Vec<String> = stages.0.iter().map(|s| s.key.clone()).collect();
    for item in stages.0 {
        let place = item.key_place;
        let Node::Table(mut table) = item.value.node else {
            problems.push(
                Diagnostic::new(format!("stage `{}` must be a table, found {}", item.key, item.value.describe()))
                    .at(&item.value.place),
            );
            continue;
        };
        if !item.key.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_') {
            problems.push(
                Diagnostic::new(format!("`{}` is not a valid stage name", item.key))
                    .at(&place)
                    .help("use letters, digits, `-` and `_`"),
            );
            continue;
        }
        let Some(kind) = take_kind(&item.key, &place, &mut table, kinds, &names, problems) else { continue };
        let axes = take_matrix(&mut table, problems);
        let export =
            take_string(&mut table, "export", problems).and_then(|(text, at)| check_export(text, &at, problems));
        let exclusive = take_string(&mut table, "exclusive", problems).map(|(group, _)| group);
        let amounts = take_amounts(&mut table, problems);
        let seed = take_seed(&mut table, problems);
        wires.push(table.take("in"));
        let (ports, told) = ports_of((kind, kinds), (&mut table, &axes), &place, problems);
        let (name, parameters, plugs, runs) = (item.key, table, Vec::new(), Vec::new());
        drawn.push(Drawn {
            name,
            place,
            kind,
            parameters,
            seed,
            ports,
            told,
            plugs,
            runs,
            axes,
            export,
            exclusive,
            amounts,
        });
    }
    let index: HashMap<String, usize> = drawn.iter().enumerate().map(|(i, d)| (d.name.clone(), i)).collect();
    for (at, wire) in wires.into_iter().enumerate() {
        let known = Known { stages: &index, names: &names, kinds };
        let plugs = plug(&drawn, at, wire, known, problems);
        let known = |plug: &Plug| drawn[at].ports.input(plug.port.name).is_some();
        let inputs = plugs.iter().filter(|plug| !known(plug)).map(|plug| plug.port).collect();
        drawn[at].ports.add(&Extra { inputs, outputs: Vec::new() });
        drawn[at].plugs = plugs;
        drawn[at].runs = find_runs(&drawn[at].told.templates, (&drawn[at], &drawn), &index, problems);
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
        let d = Diagnostic::new(format!("stage `{stage}` has no `use`")).at(place).label("expected `use = \"KIND\"`");
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
            Diagnostic::new(format!("unknown kind `{name}`"))
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
            Diagnostic::new("`matrix` must be a table of lists")
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
                        Diagnostic::new(format!("matrix axis `{}` contains a value twice", axis.key))
                            .at(&axis.value.place),
                    );
                }
                if let Some(both) = table.take(&axis.key) {
                    problems.push(
                        Diagnostic::new(format!("`{}` is set twice: by `matrix` and by its own line", axis.key))
                            .at(&both.key_place)
                            .help("keep one of the two"),
                    );
                }
                out.push((axis.key, values));
            }
            _ => problems.push(
                Diagnostic::new(format!(
                    "matrix axis `{}` must be a list of one or more numbers, strings or booleans",
                    axis.key
                ))
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
            Diagnostic::new(format!("`export = \"{text}\"` is outside the project"))
                .at(at)
                .label("expected a folder below the project root, without `..`"),
        );
    }
    (!bad).then_some(text)
}

/// What a source may name.
#[derive(Clone, Copy)]
struct Known<'a> {
    stages: &'a HashMap<String, usize>,
    /// All stages of the file, also those that could not be read.
    names: &'a [String],
    kinds: &'a [Kind],
}

impl Known<'_> {
    /// The error that no stage has a name. A path or an address in its place is an artifact that no stage makes: if a kind
    /// takes such artifacts in, the help says how.
    fn no_stage(&self, stage: &str, text: &str, port: &Port) -> Diagnostic {
        let names = || self.names.iter().map(String::as_str);
        let error = Diagnostic::new(format!("unknown stage `{stage}`"));
        let takes_in = |kind: &&Kind| kind.name == port.ty.0 && kind.main.is_some() && kind.inputs.is_empty();
        let kind = self.kinds.iter().find(takes_in).filter(|_| closest(stage, names()).is_none());
        let all = format!("stages: {}", listed(names()));
        match kind {
            Some(kind) => error
                .help(format!(
                    "a {} that no stage makes enters by a stage of its own: `use = \"{}@{text}\"`",
                    port.ty.0, kind.name
                ))
                .help(all),
            None => error.suggest(stage, names()).help(all),
        }
    }
}

/// Check one stage's `in` table: ports, stages, outputs and types.
fn plug(drawn: &[Drawn], at: usize, wire: Option<Item>, known: Known, problems: &mut Vec<Diagnostic>) -> Vec<Plug> {
    let me = &drawn[at];
    let mut plugs = Vec::new();
    let items = match wire.map(|i| i.value) {
        None => Vec::new(),
        Some(Value { node: Node::Table(t), .. }) => t.0,
        Some(other) => {
            problems.push(
                Diagnostic::new(format!("`in` must be a table of inputs, found {}", other.describe()))
                    .at(&other.place)
                    .label("write `in.PORT = \"STAGE\"`"),
            );
            return plugs;
        }
    };
    let mut given: Vec<String> = Vec::new();
    for item in items {
        given.push(item.key.clone());
        let declared = match (me.ports.input(&item.key), me.kind.more_ports) {
            (None, MorePorts::InFile(_)) => match declared_input(&item, drawn) {
                Ok(port) => Some(port),
                Err(problem) => {
                    problems.push(problem);
                    continue;
                }
            },
            (known, _) => known,
        };
        let Some(port) = declared else {
            let known = || me.ports.inputs.iter().map(|p| p.name);
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
                Diagnostic::new(format!("port `{}` of stage `{}` has an empty list", port.name, me.name))
                    .at(&item.value.place),
            );
        }
        let mut seen: Vec<String> = Vec::new();
        let mut sources = Vec::new();
        for entry in entries {
            let Some(text) = entry.as_str() else {
                problems.push(
                    Diagnostic::new(format!("expected the name of a stage, found {}", entry.describe()))
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
            sources.extend(refer(drawn, me, &port, text, &entry.place, known, problems));
        }
        plugs.push(Plug { port, sources, is_list });
    }
    for port in me.ports.inputs.iter().filter(|p| p.arity != Arity::Optional && !given.iter().any(|g| g == p.name)) {
        problems.push(unplugged(drawn, me, port).at(&me.place).label(format!(
            "`{}` needs {}",
            me.kind.name,
            port.ty.with_article()
        )));
    }
    plugs
}

/// The error for a required port without an input.
pub(crate) fn unplugged(drawn: &[Drawn], me: &Drawn, port: &Port) -> Diagnostic {
    Diagnostic::new(format!("stage `{}` has no input on port `{}`", me.name, port.name)).help(format!(
        "add `in.{} = \"STAGE\"`; stages that give {}: {}",
        port.name,
        port.ty.with_article(),
        giving(drawn, port, me)
    ))
}

fn giving(drawn: &[Drawn], port: &Port, but: &Drawn) -> String {
    let names: Vec<&str> = drawn
        .iter()
        .filter(|d| d.name != but.name && d.ports.outputs.iter().any(|o| o.ty == port.ty))
        .map(|d| d.name.as_str())
        .collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

/// Resolve `stage`, `stage.port` or `stage[instance]`, and check that its type fits the port.
fn refer(
    drawn: &[Drawn],
    me: &Drawn,
    port: &Port,
    text: &str,
    place: &Place,
    known: Known,
    problems: &mut Vec<Diagnostic>,
) -> Option<Reference> {
    let (stage, instance, output) = reference(text);
    let Some(&at) = known.stages.get(stage) else {
        // A stage that exists but could not be read has been reported already.
        if !known.names.iter().any(|n| n == stage) {
            problems.push(known.no_stage(stage, text, port).at(place).label("unknown stage"));
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
        .help(format!("stages that give {}: {}", port.ty.with_article(), giving(drawn, port, me)))
    };
    let found = match output {
        Some(name) => match them.ports.output(name) {
            Some(found) if found.ty == port.ty => found,
            Some(found) => {
                problems.push(wrong_type(&found));
                return None;
            }
            None => {
                let known = || them.ports.outputs.iter().map(|p| p.name);
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
            let fitting: Vec<&Port> = them.ports.outputs.iter().filter(|o| o.ty == port.ty).collect();
            match (fitting.as_slice(), them.ports.outputs.as_ref()) {
                ([one], _) => **one,
                ([], [first, ..]) => {
                    problems.push(wrong_type(first));
                    return None;
                }
                ([], []) => {
                    problems.push(Diagnostic::new(format!("stage `{stage}` has no outputs")).at(place));
                    return None;
                }
                (several, _) => {
                    let options: Vec<String> = several.iter().map(|o| format!("{stage}.{}", o.name)).collect();
                    problems.push(
                        Diagnostic::new(format!("`{stage}` has more than one output of type {}", port.ty.0))
                            .at(place)
                            .label("ambiguous output")
                            .help(format!("write one of {}", listed(options.iter().map(String::as_str)))),
                    );
                    return None;
                }
            }
        }
    };
    let instance = instance.map(str::to_string);
    Some(Reference { stage: at, instance, output: found.name, place: place.clone() })
}

/// The stage, the instance and the output that a source names: `scores`, `scores[pruned]`, `adapted.adapter`.
pub(crate) fn reference(text: &str) -> (&str, Option<&str>, Option<&str>) {
    let (whole, output) = match text.rsplit_once('.') {
        Some((stage, output)) if !text.ends_with(']') => (stage, Some(output)),
        _ => (text, None),
    };
    match whole.split_once('[') {
        Some((stage, _)) => (stage, Some(whole), output),
        None => (whole, None, output),
    }
}
