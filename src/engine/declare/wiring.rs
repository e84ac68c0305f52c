//! The stages of a file with their kinds and wiring, before they fan out.

use std::collections::HashMap;

use super::amounts::take_amounts;
use super::axes::{Seeds, take_matrix, take_repeat};
use super::drawn::{Drawn, Plug};
use super::export::Export;
use super::layers::{take_seed, take_string};
use super::plugs::Stages;
use super::ports::ports_of;
use super::readers::take_from_readers;
use super::templates::find_runs;
use crate::contract::kind::{Extra, Kind};
use crate::text::diagnostic::{Diagnostic, Place, listed};
use crate::text::value::{Node, Table};

/// Find the kind of each stage and connect its inputs. `default` is the pipeline's seed.
pub(crate) fn draw(stages: Table, (kinds, default): (&[Kind], u64), problems: &mut Vec<Diagnostic>) -> Vec<Drawn> {
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
        let Some(kind) = take_kind((&item.key, &place), &mut table, (kinds, &names), problems) else { continue };
        let mut axes = take_matrix(&mut table, problems);
        let export = take_string(&mut table, "export", problems)
            .and_then(|(text, at)| Export::read(text, at).map_err(|problem| problems.push(problem)).ok());
        let exclusive = take_string(&mut table, "exclusive", problems).map(|(group, _)| group);
        let amounts = take_amounts(&mut table, problems);
        let seed = take_seed(&mut table, problems);
        let seeds = Seeds { kind: &kind, first: seed.unwrap_or(default) };
        axes.extend(take_repeat(&mut table, &axes, seeds, problems));
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
        let plugs = Stages { drawn: &drawn, index: &index, names: &names, kinds }.plug(at, wire, problems);
        let known = |plug: &Plug| drawn[at].ports.input(plug.port.name).is_some();
        let inputs = plugs.iter().filter(|plug| !known(plug)).map(|plug| plug.port).collect();
        drawn[at].ports.add(&Extra { inputs, outputs: Vec::new() });
        drawn[at].plugs = plugs;
        drawn[at].runs = find_runs(&drawn[at].told.templates, (&drawn[at], &drawn), &index, problems);
    }
    take_from_readers(&mut drawn, problems);
    drawn
}

fn take_kind(
    (stage, place): (&str, &Place),
    table: &mut Table,
    (kinds, names): (&[Kind], &[String]),
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
