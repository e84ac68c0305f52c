//! `pipe stages`: the kinds with their ports and parameters, from the doc comments.

use crate::cli::context::Context;
use crate::cli::words::parameter::{Parameter, description, parameters};
use crate::error::Error;
use crate::report::table::Table;
use pipe_engine::contract::kind::{Arity, Kind, Port};
use pipe_engine::text::diagnostic::{closest, listed};

/// List the kinds of stages, or document one.
#[derive(Debug, clap::Args)]
pub struct Stages {
    /// Document this kind.
    kind: Option<String>,
}

impl Stages {
    pub fn run(self, cx: &mut Context<'_>) -> Result<(), Error> {
        let kinds = cx.build.kinds;
        let Some(name) = self.kind else { return cx.print(&overview(kinds)) };
        // Accept `tokenize@200` as well.
        let name = name.split_once('@').map_or(name.as_str(), |(kind, _)| kind);
        match kinds.iter().find(|k| k.name == name) {
            Some(kind) => cx.print(&document(kind)),
            None => {
                let names = || kinds.iter().map(|k| k.name);
                let error = Error::usage(format!("unknown kind `{name}`"));
                Err(match closest(name, names()) {
                    Some(near) => error.help(format!("did you mean `{near}`?")),
                    None => error.help(format!("kinds: {}", listed(names()))),
                })
            }
        }
    }
}

fn overview(kinds: &[Kind]) -> String {
    let mut table = Table::new(["kind", "takes", "gives", "what it does"]);
    for kind in kinds {
        let use_as = kind.main.map_or(kind.name.to_string(), |main| format!("{}@{}", kind.name, main.to_uppercase()));
        table.row([
            use_as,
            ports(kind.inputs),
            ports(kind.outputs),
            description(kind).into_iter().next().unwrap_or_default(),
        ]);
    }
    table.render()
}

/// `model, tokens`; `teacher: model` if the name is not the type; `?` marks optional ports, `…` those that take
/// several.
fn ports(ports: &[Port]) -> String {
    let one = |p: &Port| {
        let mark = match p.arity {
            Arity::One => "",
            Arity::Optional => "?",
            Arity::Many => "…",
        };
        let ty = match p.also {
            [] if p.name == p.ty.0 => String::new(),
            also => format!(": {}", std::iter::once(&p.ty).chain(also).map(|ty| ty.0).collect::<Vec<_>>().join(" or ")),
        };
        format!("{}{mark}{ty}", p.name)
    };
    if ports.is_empty() { "-".into() } else { ports.iter().map(one).collect::<Vec<_>>().join(", ") }
}

fn document(kind: &Kind) -> String {
    let mut out = format!("{} ", kind.name).trim_end().to_string();
    let about = description(kind);
    if let Some((first, rest)) = about.split_first() {
        out.push_str(&format!(": {first}\n"));
        rest.iter().for_each(|p| out.push_str(&format!("\n{p}\n")));
    } else {
        out.push('\n');
    }
    out.push_str("\nuse\n");
    let main = kind.main.map(|m| format!(" or \"{}@{}\"", kind.name, m.to_uppercase())).unwrap_or_default();
    out.push_str(&format!("  use = \"{}\"{main}\n", kind.name));
    let mut table = Table::new(["", "", ""]).indent(2);
    for port in kind.inputs {
        let note = match port.arity {
            Arity::One => "",
            Arity::Optional => "optional",
            Arity::Many => "one or more, taken together",
        };
        table.row([format!("in.{}", port.name), port.with_article(), note.to_string()]);
    }
    for port in kind.outputs {
        table.row([format!("gives {}", port.name), port.with_article(), String::new()]);
    }
    out.push_str(&table.render());
    let parameters = parameters(kind);
    if !parameters.is_empty() {
        out.push_str("\nparameters\n");
        parameters.iter().for_each(|p| parameter(p, kind, 2, &mut out));
    }
    if kind.seeded {
        out.push_str("\nThe result depends on the seed: `seed` of the stage, or else of the file.\n");
    }
    out
}

fn parameter(p: &Parameter, kind: &Kind, indent: usize, out: &mut String) {
    let pad = " ".repeat(indent);
    let is_top = indent == 2;
    let mut facts = vec![p.ty.clone()];
    facts.extend(match (&p.default, p.required) {
        (Some(default), _) => Some(format!("default {default}")),
        (None, true) => Some("required".into()),
        (None, false) => Some("optional".into()),
    });
    facts.extend((is_top && kind.main == Some(p.name.as_str())).then(|| format!("also `{}@VALUE`", kind.name)));
    facts.extend(
        (is_top && kind.operational.contains(&p.name.as_str())).then(|| "does not change the result".to_string()),
    );
    out.push_str(&format!("{pad}{}  {}\n", p.name, facts.join(", ")));
    p.doc.iter().for_each(|line| out.push_str(&format!("{pad}    {line}\n")));
    p.choices.iter().for_each(|(value, text)| out.push_str(&format!("{pad}    {value}: {text}\n")));
    p.fields.iter().for_each(|f| parameter(f, kind, indent + 4, out));
}
