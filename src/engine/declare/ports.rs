//! The ports of a stage: its kind's, those of its parameters, and those that the file declares.

use super::drawn::{Drawn, Told, reference};
use crate::contract::kind::{Arity, Kind, MorePorts, Port, Ports, Type};
use crate::text::diagnostic::{Diagnostic, Place, listed};
use crate::text::value::{Item, Node, Table, Value};

/// A stage's ports before its inputs are wired, and what its parameters say about its wiring.
pub(crate) fn ports_of(
    (kind, kinds): (Kind, &[Kind]),
    (table, axes): (&mut Table, &[(String, Vec<Value>)]),
    place: &Place,
    problems: &mut Vec<Diagnostic>,
) -> (Ports, Told) {
    let mut ports = kind.ports();
    if !Told::is_asked(&kind) {
        return (ports, Told::default());
    }
    let out = if let MorePorts::InFile(_) = kind.more_ports { table.take("out") } else { None };
    let told = match with_first(kind, table, axes, place) {
        Ok(told) => told,
        Err(found) => {
            problems.extend(found);
            Told::default()
        }
    };
    ports.add(&told.ports);
    if let (Some(out), MorePorts::InFile(own)) = (out, kind.more_ports) {
        declare((kind, kinds, own), out, &mut ports, problems);
    }
    (ports, told)
}

/// What the parameters say with the first value of each axis.
fn with_first(
    kind: Kind,
    table: &Table,
    axes: &[(String, Vec<Value>)],
    place: &Place,
) -> Result<Told, Vec<Diagnostic>> {
    let mut table = table.clone();
    for (axis, values) in axes.iter().filter(|(axis, _)| axis != "seed") {
        let value = values[0].clone();
        table.0.push(Item { key: axis.clone(), key_place: value.place.clone(), value });
    }
    Ok(Told::by((kind.read)(&table, &format!("`{}`", kind.name), place)?.as_ref()))
}

/// Add the outputs of `out.NAME = "TYPE"` lines.
fn declare(
    (kind, kinds, own): (Kind, &[Kind], &'static [Type]),
    out: Item,
    ports: &mut Ports,
    problems: &mut Vec<Diagnostic>,
) {
    let Node::Table(outputs) = out.value.node else {
        problems.push(
            Diagnostic::new(format!("`out` must be a table of outputs, found {}", out.value.describe()))
                .at(&out.value.place)
                .label("write `out.PORT = \"TYPE\"`"),
        );
        return;
    };
    let ports_of_kinds = kinds.iter().flat_map(|k| k.outputs.iter().chain(k.inputs)).map(|p| p.ty);
    let mut types: Vec<Type> = own.iter().copied().chain(ports_of_kinds).collect();
    types.sort_by_key(|ty| ty.0);
    types.dedup();
    let names = || types.iter().map(|ty| ty.0);
    for item in outputs.0 {
        let ty = item.value.as_str().and_then(|text| types.iter().find(|ty| ty.0 == text));
        if !is_name(&item.key) {
            problems.push(invalid_name(&item));
        } else if ports.output(&item.key).is_some() {
            problems.push(
                Diagnostic::new(format!("`{}` has an output port `{}` already", kind.name, item.key))
                    .at(&item.key_place)
                    .help("give it another name, or leave the line out"),
            );
        } else if let Some(ty) = ty {
            ports.declare(Port::named(&item.key, *ty, Arity::One));
        } else {
            let d = Diagnostic::new(match item.value.as_str() {
                Some(text) => format!("unknown type `{text}`"),
                None => format!("expected the name of a type, found {}", item.value.describe()),
            });
            let d = d.at(&item.value.place).label("unknown type");
            let d = d.suggest(item.value.as_str().unwrap_or_default(), names());
            problems.push(d.help(format!("types: {}", listed(names()))));
        }
    }
}

/// The port for `in.NAME` that the kind does not have, with the type of its first source.
pub(crate) fn declared_input(item: &Item, drawn: &[Drawn]) -> Result<Port, Diagnostic> {
    if !is_name(&item.key) {
        return Err(invalid_name(item));
    }
    let first = match &item.value.node {
        Node::Array(all) => all.first(),
        _ => Some(&item.value),
    };
    // Whatever is wrong with the source itself is reported when it is wired.
    let unknown = Port::named(&item.key, Type(""), Arity::One);
    let Some((text, place)) = first.and_then(|value| Some((value.as_str()?, &value.place))) else {
        return Ok(unknown);
    };
    let (stage, _, output) = reference(text);
    let Some(them) = drawn.iter().find(|d| d.name == stage) else { return Ok(unknown) };
    match (output, them.ports.outputs.as_ref()) {
        (Some(output), _) => Ok(them.ports.output(output).map_or(unknown, |found| Port { ty: found.ty, ..unknown })),
        (None, [one]) => Ok(Port { ty: one.ty, ..unknown }),
        (None, []) => Ok(unknown),
        (None, several) => {
            let options: Vec<String> = several.iter().map(|o| format!("{stage}.{}", o.name)).collect();
            Err(Diagnostic::new(format!("`{stage}` has more than one output"))
                .at(place)
                .label("ambiguous output")
                .help(format!("write one of {}", listed(options.iter().map(String::as_str)))))
        }
    }
}

/// Names of declared ports are names of folders.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_')
}

fn invalid_name(item: &Item) -> Diagnostic {
    Diagnostic::new(format!("`{}` is not a valid name of a port", item.key))
        .at(&item.key_place)
        .help("use letters, digits, `-` and `_`")
}
