//! `pipe schema`: a JSON Schema of pipeline files, for completion and documentation in editors.

use serde_json::{Map, Value, json};

use crate::cli::context::Context;
use crate::cli::words::parameter::description;
use crate::error::Error;
use pipe_engine::contract::kind::{Arity, Kind, MorePorts, Port};

/// Print the JSON Schema of a pipeline file.
#[derive(Debug, clap::Args)]
pub struct Schema {}

impl Schema {
    pub fn run(self, cx: &mut Context<'_>) -> Result<(), Error> {
        let schema = pipeline(cx.build.kinds);
        cx.print_json(&schema)
    }
}

/// The schema of a whole file, JSON Schema 2020-12.
pub fn pipeline(kinds: &[Kind]) -> Value {
    let mut definitions = Map::new();
    for kind in kinds {
        hoist(kind, &mut definitions);
    }
    definitions.insert("stage".into(), stage(kinds));
    definitions.insert(
        "seed".into(),
        json!({ "type": "integer", "minimum": 0, "default": 0, "description": "The seed of the random numbers." }),
    );
    let text = |about: &str| json!({ "type": "string", "description": about });
    let stages = |of: Value, about: &str| json!({ "type": "object", "description": about, "propertyNames": { "pattern": r"^[^\s!-,./:-@\[-\^`{-~]+$" }, "additionalProperties": of });
    let layer = json!({
        "type": "object",
        "description": "Overrides that `--profile` applies to the file, value by value.",
        "additionalProperties": false,
        "properties": {
            "description": text("What the profile is for."),
            "seed": { "$ref": "#/$defs/seed" },
            "stage": stages(json!({ "type": "object", "properties": common(kinds, &all_ports(kinds)) }), "Only the values that differ."),
        },
    });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A pipeline of pipe",
        "type": "object",
        "additionalProperties": false,
        "required": ["stage"],
        "properties": {
            "name": text("The pipeline's name, by default the file's. Runs are recorded under it."),
            "description": text("What the pipeline is for."),
            "seed": { "$ref": "#/$defs/seed" },
            "stage": stages(json!({ "$ref": "#/$defs/stage" }), "The stages, by name."),
            "profile": { "type": "object", "description": "Variants of the file, by name.", "additionalProperties": layer },
        },
        "$defs": definitions,
    })
}

/// Any stage: `use` decides which kind's schema applies.
fn stage(kinds: &[Kind]) -> Value {
    let choice = |kind: &Kind| {
        json!({
            "if": { "required": ["use"], "properties": { "use": { "pattern": format!("^{}(@.*)?$", kind.name) } } },
            "then": { "$ref": format!("#/$defs/{}", kind.name) },
        })
    };
    json!({
        "type": "object",
        "required": ["use"],
        "properties": { "use": use_of(kinds) },
        "allOf": kinds.iter().map(choice).collect::<Vec<_>>(),
    })
}

fn use_of(kinds: &[Kind]) -> Value {
    let names: Vec<&str> = kinds.iter().map(|k| k.name).collect();
    let list: Vec<String> = kinds
        .iter()
        .map(|k| format!("`{}`: {}", k.name, description(k).first().cloned().unwrap_or_default()))
        .collect();
    json!({
        "type": "string",
        "pattern": format!("^({})(@.*)?$", names.join("|")),
        "examples": names,
        "description": format!("The kind, or KIND@VALUE with the value of its main parameter.\n\n{}", list.join("\n\n")),
    })
}

/// The keys that every stage has.
fn common(kinds: &[Kind], ports: &[Port]) -> Map<String, Value> {
    let source = json!({ "type": "string", "description": "`stage`, `stage.port` or `stage[instance]`" });
    let wires: Map<String, Value> = ports
        .iter()
        .map(|p| {
            let about = match p.arity {
                Arity::One => "a list makes one instance per element",
                Arity::Optional => "optional; a list makes one instance per element",
                Arity::Many => "one or more, taken together",
            };
            let port = json!({ "description": format!("{}: {about}", p.with_article()), "oneOf": [source, { "type": "array", "items": source, "minItems": 1, "uniqueItems": true }] });
            (p.name.to_string(), port)
        })
        .collect();
    let scalars = json!({ "type": "array", "minItems": 1, "uniqueItems": true, "items": { "type": ["string", "number", "boolean"] } });
    let keys = json!({
        "use": use_of(kinds),
        "in": { "type": "object", "description": "The sources of the inputs.", "additionalProperties": false, "properties": wires },
        "matrix": { "type": "object", "description": "One instance for each value, as in `{ seed = [1, 2, 3] }`.", "additionalProperties": scalars },
        "repeat": { "type": "integer", "minimum": 1, "description": "How many instances, each with another seed: the stage's seed (by default the pipeline's) and the numbers after it. The short form of `matrix = { seed = [42, 43, …] }`." },
        "exclusive": { "type": "string", "description": "The name of a group; stages of one group never run at the same time in a run." },
        "cpus": {"type": "integer", "minimum": 1, "description": "How many slots of `--jobs` it takes; 1 by default, none for a stage on a GPU."},
        "gpus": {"type": "integer", "minimum": 0, "description": "How many GPUs it takes; 1 by default for a stage that computes on the device, if the device is a GPU."},
        "memory": {"type": "string", "description": "How much memory it takes, as in `\"8 GiB\"`; stages run together only if the machine has it for all of them."},
        "time": {"type": "string", "description": "How long it takes at most, as in `\"2h\"` or `\"1h 30m\"`; for executors, and for the order in which stages start."},
        "export": { "type": "string", "description": "A folder below the project root that the results are copied to." },
        "seed": { "$ref": "#/$defs/seed" },
    });
    match keys {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn all_ports(kinds: &[Kind]) -> Vec<Port> {
    let mut all: Vec<Port> = Vec::new();
    for port in kinds.iter().flat_map(|k| k.inputs) {
        if !all.iter().any(|p| p.name == port.name) {
            all.push(*port);
        }
    }
    all
}

/// Add a kind's own schema to the definitions, its keys beside those that every stage has.
fn hoist(kind: &Kind, definitions: &mut Map<String, Value>) {
    let mut schema = (kind.schema)().to_value();
    rename(&mut schema, kind.name);
    let Value::Object(mut map) = schema else { return };
    let mut inner = map.remove("$defs").and_then(|d| d.as_object().cloned()).unwrap_or_default();
    // If a kind wraps another type, its schema refers to that type's: inline it.
    let wrapped =
        map.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix(&format!("#/$defs/{}.", kind.name)));
    if let Some(Value::Object(target)) = wrapped.map(str::to_string).and_then(|name| inner.remove(&name)) {
        map.remove("$ref");
        for (key, value) in target {
            map.entry(key).or_insert(value);
        }
    }
    for (name, definition) in inner {
        definitions.insert(format!("{}.{name}", kind.name), definition);
    }
    map.remove("$schema");
    map.remove("title");
    let required: Vec<Value> = map.remove("required").and_then(|r| r.as_array().cloned()).unwrap_or_default();
    let mut properties = common(std::slice::from_ref(kind), kind.inputs);
    properties.extend(map.remove("properties").and_then(|p| p.as_object().cloned()).unwrap_or_default());
    if let MorePorts::InFile(_) = kind.more_ports {
        if let Some(Value::Object(inputs)) = properties.get_mut("in") {
            inputs.insert("additionalProperties".into(), json!({ "type": ["string", "array"] }));
        }
        let about = "The outputs, each with its type, as in `out.model = \"model\"`.";
        let outputs = json!({ "type": "object", "description": about, "additionalProperties": { "type": "string" } });
        properties.insert("out".into(), outputs);
    }
    map.insert("properties".into(), properties.into());
    map.insert("additionalProperties".into(), false.into());
    let wired: Vec<&str> = kind.inputs.iter().filter(|p| p.arity != Arity::Optional).map(|p| p.name).collect();
    let mut conditions = Vec::new();
    if !wired.is_empty() {
        conditions.push(json!({ "required": ["in"], "properties": { "in": { "required": wired } } }));
    }
    // A matrix can set any parameter, and `@` the main one.
    let (main, others): (Vec<Value>, Vec<Value>) = required.into_iter().partition(|r| r.as_str() == kind.main);
    if !others.is_empty() {
        conditions.push(json!({ "if": { "not": { "required": ["matrix"] } }, "then": { "required": others } }));
    }
    if !main.is_empty() {
        conditions.push(json!({ "if": { "not": { "required": ["matrix"] }, "properties": { "use": { "const": kind.name } } }, "then": { "required": main } }));
    }
    if !conditions.is_empty() {
        map.insert("allOf".into(), conditions.into());
    }
    definitions.insert(kind.name.into(), map.into());
}

/// Put the kind in front of definition names, because different kinds may use the same name.
fn rename(schema: &mut Value, kind: &str) {
    match schema {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(target) if key == "$ref" => {
                        if let Some(name) = target.strip_prefix("#/$defs/") {
                            *target = format!("#/$defs/{kind}.{name}");
                        }
                    }
                    other => rename(other, kind),
                }
            }
        }
        Value::Array(all) => all.iter_mut().for_each(|v| rename(v, kind)),
        _ => {}
    }
}
