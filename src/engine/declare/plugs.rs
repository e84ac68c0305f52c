//! The `in` lines of the stages: which output feeds which port.

use std::collections::HashMap;

use super::drawn::{Drawn, Plug, Reference, reference};
use super::ports::declared_input;
use crate::contract::kind::{Arity, Kind, MorePorts, Port};
use crate::text::diagnostic::{Diagnostic, Place, closest, listed};
use crate::text::value::{Item, Node, Value};

/// All stages of a file, to which the names in an `in` table refer.
pub(crate) struct Stages<'a> {
    pub(crate) drawn: &'a [Drawn],
    /// The index in `drawn` by name.
    pub(crate) index: &'a HashMap<String, usize>,
    /// The names in the file, also of stages that could not be read.
    pub(crate) names: &'a [String],
    pub(crate) kinds: &'a [Kind],
}

impl Stages<'_> {
    /// Check one stage's `in` table: ports, stages, outputs and types.
    pub(crate) fn plug(&self, at: usize, wire: Option<Item>, problems: &mut Vec<Diagnostic>) -> Vec<Plug> {
        let me = &self.drawn[at];
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
                (None, MorePorts::InFile(_)) => match declared_input(&item, self.drawn) {
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
                sources.extend(self.refer((me, &port), text, &entry.place, problems));
            }
            plugs.push(Plug { port, sources, is_list });
        }
        for port in me.ports.inputs.iter().filter(|p| p.arity != Arity::Optional && !given.iter().any(|g| g == p.name))
        {
            problems.push(unplugged(self.drawn, me, port).at(&me.place).label(format!(
                "`{}` needs {}",
                me.kind.name,
                port.with_article()
            )));
        }
        plugs
    }

    /// Resolve `stage`, `stage.port` or `stage[instance]`, and check that its type fits the port.
    fn refer(
        &self,
        (me, port): (&Drawn, &Port),
        text: &str,
        place: &Place,
        problems: &mut Vec<Diagnostic>,
    ) -> Option<Reference> {
        let (stage, instance, output) = reference(text);
        let Some(&at) = self.index.get(stage) else {
            // A stage that exists but could not be read has been reported already.
            if !self.names.iter().any(|n| n == stage) {
                problems.push(self.no_stage(stage, text, port).at(place).label("unknown stage"));
            }
            return None;
        };
        let them = &self.drawn[at];
        let wrong_type = |given: &Port| {
            Diagnostic::new(format!(
                "stage `{}` gets {} where it needs {}",
                me.name,
                given.with_article(),
                port.with_article()
            ))
            .at(place)
            .label(format!("`{text}` ({}) gives {}", them.kind.name, given.with_article()))
            .help(format!("stages that give {}: {}", port.with_article(), giving(self.drawn, port, me)))
        };
        let found = match output {
            Some(name) => match them.ports.output(name) {
                Some(found) if port.takes(found.ty) => found,
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
                let fitting: Vec<&Port> = them.ports.outputs.iter().filter(|o| port.takes(o.ty)).collect();
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

/// The error for a required port without an input.
pub(crate) fn unplugged(drawn: &[Drawn], me: &Drawn, port: &Port) -> Diagnostic {
    Diagnostic::new(format!("stage `{}` has no input on port `{}`", me.name, port.name)).help(format!(
        "add `in.{} = \"STAGE\"`; stages that give {}: {}",
        port.name,
        port.with_article(),
        giving(drawn, port, me)
    ))
}

fn giving(drawn: &[Drawn], port: &Port, but: &Drawn) -> String {
    let names: Vec<&str> = drawn
        .iter()
        .filter(|d| d.name != but.name && d.ports.outputs.iter().any(|o| port.takes(o.ty)))
        .map(|d| d.name.as_str())
        .collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}
