//! Parses TOML text into the layers of a pipeline: the file, and what a profile and `--set` override.

use std::sync::Arc;

use crate::contract::kind::Kind;
use crate::text::diagnostic::{Diagnostic, Place, Source, listed};
use crate::text::value;
use crate::text::value::{Item, Node, Table, Value};

const TOP: [&str; 5] = ["name", "description", "seed", "stage", "profile"];

/// A pipeline file after parsing, before it is resolved.
#[derive(Debug, Clone)]
pub struct Definition {
    pub source: Arc<Source>,
    /// The file without its profiles; `use = "kind@value"` is already split.
    pub base: Table,
    pub profiles: Vec<Item>,
}

impl Definition {
    pub fn parse(source: &Arc<Source>, kinds: &[Kind], problems: &mut Vec<Diagnostic>) -> Option<Self> {
        let mut base = match value::parse(source) {
            Ok(table) => table,
            Err(found) => {
                problems.extend(found);
                return None;
            }
        };
        let profiles = match base.take("profile").map(|i| i.value) {
            None => Vec::new(),
            Some(Value { node: Node::Table(table), .. }) => table.0,
            Some(other) => {
                problems.push(
                    Diagnostic::new(format!("expected a table of profiles, found {}", other.describe()))
                        .at(&other.place)
                        .label("expected `[profile.NAME.…]`"),
                );
                Vec::new()
            }
        };
        for item in &base.0 {
            if !TOP.contains(&item.key.as_str()) {
                problems.push(
                    Diagnostic::new(format!("a pipeline file has no key `{}`", item.key))
                        .at(&item.key_place)
                        .label("unknown key")
                        .help(format!("known keys: {}; write stages as `[stage.NAME]`", listed(TOP)))
                        .suggest(&item.key, TOP),
                );
            }
        }
        base.0.retain(|i| TOP.contains(&i.key.as_str()));
        split_uses(&mut base, kinds, problems);
        let profiles = profiles.into_iter().filter_map(|item| layer(item, kinds, problems)).collect();
        Some(Self { source: source.clone(), base, profiles })
    }

    /// The file, overridden by one profile and the `--set` arguments.
    pub fn with(
        &self,
        profile: Option<&str>,
        sets: &[String],
        kinds: &[Kind],
        problems: &mut Vec<Diagnostic>,
    ) -> Table {
        let mut table = self.base.clone();
        if let Some(name) = profile {
            match self.profiles.iter().find(|p| p.key == name) {
                Some(Item { value: Value { node: Node::Table(layer), .. }, .. }) => table.merge(layer.clone()),
                _ => {
                    let known: Vec<&str> = self.profiles.iter().map(|p| p.key.as_str()).collect();
                    problems.push(
                        Diagnostic::new(format!("{} has no profile `{name}`", self.source.name))
                            .help(format!("profiles: {}", listed(known.iter().copied())))
                            .suggest(name, known),
                    );
                }
            }
        }
        for text in sets {
            if let Some(layer) = parse_set(text, problems) {
                let mut layer = layer;
                check_set(&layer, &table, problems);
                split_uses(&mut layer, kinds, problems);
                table.merge(layer);
            }
        }
        table
    }
}

/// One `[profile.NAME]`: the same keys as the file, except `name` and `profile`.
fn layer(mut item: Item, kinds: &[Kind], problems: &mut Vec<Diagnostic>) -> Option<Item> {
    const KNOWN: [&str; 3] = ["description", "seed", "stage"];
    let Node::Table(table) = &mut item.value.node else {
        problems.push(
            Diagnostic::new(format!("profile `{}` must be a table, found {}", item.key, item.value.describe()))
                .at(&item.value.place),
        );
        return None;
    };
    for inner in &table.0 {
        if !KNOWN.contains(&inner.key.as_str()) {
            problems.push(
                Diagnostic::new(format!("a profile has no key `{}`", inner.key))
                    .at(&inner.key_place)
                    .label("unknown key")
                    .help(format!("write `[profile.{}.stage.NAME]`", item.key))
                    .suggest(&inner.key, KNOWN),
            );
        }
    }
    table.0.retain(|i| KNOWN.contains(&i.key.as_str()));
    split_uses(table, kinds, problems);
    Some(item)
}

/// Parse `stage.teacher.epochs=1` as a TOML line; a value that is not valid TOML is taken as a string.
fn parse_set(text: &str, problems: &mut Vec<Diagnostic>) -> Option<Table> {
    let Some((key, raw)) = text.split_once('=') else {
        problems.push(Diagnostic::new(format!("`--set {text}` has no `=`")).help("write `--set stage.NAME.KEY=VALUE`"));
        return None;
    };
    let (key, raw) = (key.trim(), raw.trim());
    let quoted = serde_json::Value::String(raw.to_string()).to_string();
    [raw, quoted.as_str()]
        .iter()
        .find_map(|v| value::parse(&Source::new("--set", format!("{key} = {v}"))).ok())
        .or_else(|| {
            problems.push(
                Diagnostic::new(format!("`--set {text}` is not of the form KEY=VALUE"))
                    .help("write `--set stage.NAME.KEY=VALUE`"),
            );
            None
        })
}

/// `--set` only changes existing stages: an unknown stage is a typing error, not a new stage.
fn check_set(layer: &Table, table: &Table, problems: &mut Vec<Diagnostic>) {
    let stages = |t: &Table| -> Vec<Item> {
        match t.get("stage").map(|i| &i.value.node) {
            Some(Node::Table(t)) => t.0.clone(),
            _ => Vec::new(),
        }
    };
    for item in &layer.0 {
        if !["description", "seed", "stage", "name"].contains(&item.key.as_str()) {
            let d = Diagnostic::new(format!("a pipeline file has no key `{}`", item.key))
                .at(&item.key_place)
                .label("unknown key");
            problems.push(d.help(format!("write `--set stage.{}…`", item.key)));
        }
    }
    let known = stages(table);
    for item in stages(layer) {
        if !known.iter().any(|k| k.key == item.key) {
            problems.push(
                Diagnostic::new(format!("unknown stage `{}`", item.key))
                    .at(&item.key_place)
                    .label("unknown stage")
                    .suggest(&item.key, known.iter().map(|k| k.key.as_str()))
                    .help(format!("stages: {}", listed(known.iter().map(|k| k.key.as_str())))),
            );
        }
    }
}

/// Split `use = "kind@value"` into the kind and its main parameter, in one layer.
///
/// This happens before layers are merged, so that a profile can override the value in either spelling.
fn split_uses(layer: &mut Table, kinds: &[Kind], problems: &mut Vec<Diagnostic>) {
    let Some(Item { value: Value { node: Node::Table(stages), .. }, .. }) =
        layer.0.iter_mut().find(|i| i.key == "stage")
    else {
        return;
    };
    for stage in &mut stages.0 {
        let Node::Table(table) = &mut stage.value.node else { continue };
        let Some(item) = table.0.iter_mut().find(|i| i.key == "use") else { continue };
        let Some(text) = item.value.as_str().map(str::to_string) else { continue };
        let Some((name, shorthand)) = text.split_once('@') else { continue };
        let place = item.value.place.clone();
        item.value.node = Node::String(name.into());
        let Some(kind) = kinds.iter().find(|k| k.name == name) else { continue };
        let Some(main) = kind.main else {
            problems.push(
                Diagnostic::new(format!("`{name}` takes no value after `@`"))
                    .at(&place)
                    .label(format!("write `use = \"{name}\"`")),
            );
            continue;
        };
        if let Some(both) = table.get(main) {
            problems.push(
                Diagnostic::new(format!("`{main}` is set twice: by `use = \"{text}\"` and by its own line"))
                    .at(&both.key_place)
                    .label(format!("also set by `@{shorthand}`"))
                    .help("keep one of the two"),
            );
            continue;
        }
        let node = scalar(shorthand);
        table.0.push(Item { key: main.into(), key_place: place.clone(), value: Value { node, place } });
    }
}

/// The value after `@` has no quotes: it is a number if it parses as one, else a string.
fn scalar(text: &str) -> Node {
    if let Ok(i) = text.parse() {
        Node::Integer(i)
    } else if let Ok(f) = text.parse::<f64>() {
        Node::Float(f)
    } else {
        match text {
            "true" => Node::Bool(true),
            "false" => Node::Bool(false),
            _ => Node::String(text.into()),
        }
    }
}

/// Take a string out of a table; report a value of another type.
pub(crate) fn take_string(table: &mut Table, key: &str, problems: &mut Vec<Diagnostic>) -> Option<(String, Place)> {
    let item = table.take(key)?;
    match item.value.node {
        Node::String(s) => Some((s, item.value.place)),
        _ => {
            problems.push(
                Diagnostic::new(format!("`{key}` must be a string, found {}", item.value.describe()))
                    .at(&item.value.place)
                    .label("expected a string"),
            );
            None
        }
    }
}

/// Take a seed out of a table; report an invalid value.
pub(crate) fn take_seed(table: &mut Table, problems: &mut Vec<Diagnostic>) -> Option<u64> {
    let item = table.take("seed")?;
    match item.value.node {
        Node::Integer(i) if i >= 0 => Some(i as u64),
        _ => {
            problems.push(
                Diagnostic::new(format!("`seed` must be a whole number, 0 or more, found {}", item.value.describe()))
                    .at(&item.value.place)
                    .label("expected a whole number"),
            );
            None
        }
    }
}
