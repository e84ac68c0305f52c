//! Reads the parameters of a kind from its JSON Schema: name, type, default, documentation.

use serde_json::{Map, Value};

use super::toml_text::inline;
use pipe_engine::contract::kind::Kind;

/// One key of a kind's table.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    pub name: String,
    /// `number`, `list of tables`, `"local" or "global"`.
    pub ty: String,
    pub required: bool,
    /// In TOML syntax.
    pub default: Option<String>,
    /// Paragraphs, one line each.
    pub doc: Vec<String>,
    /// Values with their own documentation.
    pub choices: Vec<(String, String)>,
    /// The keys of a table, or of the tables in a list.
    pub fields: Vec<Parameter>,
}

/// The documentation of a kind, by paragraphs.
pub fn description(kind: &Kind) -> Vec<String> {
    doc((kind.schema)().as_value())
}

/// All parameters of a kind: the main one, the required ones, the others; each group sorted by name.
pub fn parameters(kind: &Kind) -> Vec<Parameter> {
    let schema = (kind.schema)();
    let root = schema.as_value();
    let reader = Reader { definitions: root.get("$defs").and_then(Value::as_object) };
    let mut all = reader.fields(reader.inner(root), 0);
    all.sort_by_key(|p| (kind.main != Some(p.name.as_str()), !p.required));
    all
}

/// How deep nested tables are documented; a limit for schemas that refer to themselves.
const DEEPEST: usize = 3;

struct Reader<'a> {
    definitions: Option<&'a Map<String, Value>>,
}

impl<'a> Reader<'a> {
    fn fields(&self, schema: &'a Value, depth: usize) -> Vec<Parameter> {
        let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return Vec::new() };
        if depth > DEEPEST {
            return Vec::new();
        }
        let required: Vec<&str> = schema
            .get("required")
            .and_then(Value::as_array)
            .map_or(Vec::new(), |all| all.iter().filter_map(Value::as_str).collect());
        properties
            .iter()
            .map(|(name, property)| {
                let inner = self.inner(property);
                let own = doc(property);
                Parameter {
                    name: name.clone(),
                    ty: self.type_name(property),
                    required: required.contains(&name.as_str()),
                    default: property.get("default").filter(|d| !d.is_null()).map(inline),
                    doc: if own.is_empty() { doc(inner) } else { own },
                    choices: self.choices(inner),
                    fields: self.fields(inner.get("items").map_or(inner, |items| self.inner(items)), depth + 1),
                }
            })
            .collect()
    }

    /// The schema behind references and optional values.
    fn inner(&self, schema: &'a Value) -> &'a Value {
        if let Some(name) = schema.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix("#/$defs/")) {
            return self.definitions.and_then(|d| d.get(name)).map_or(schema, |target| self.inner(target));
        }
        for key in ["anyOf", "oneOf", "allOf"] {
            let options: Vec<&Value> = schema
                .get(key)
                .and_then(Value::as_array)
                .map_or(Vec::new(), |all| all.iter().filter(|o| !is_null(o)).collect());
            if let [one] = options.as_slice()
                && one.get("const").is_none()
            {
                return self.inner(one);
            }
        }
        schema
    }

    /// The values that have their own documentation.
    fn choices(&self, schema: &'a Value) -> Vec<(String, String)> {
        let options = ["oneOf", "anyOf"].iter().find_map(|k| schema.get(*k)).and_then(Value::as_array);
        let described = |option: &'a Value| {
            Some((self.variant(option), doc(option).join(" "))).filter(|(_, text)| !text.is_empty())
        };
        options.map_or(Vec::new(), |all| all.iter().filter_map(described).collect())
    }

    /// One option of several: an enum variant with a value is a table with one key.
    fn variant(&self, schema: &'a Value) -> String {
        match one_key(schema) {
            Some((key, value)) => format!("{{ {key} = {} }}", self.type_name(value)),
            None => self.type_name(schema),
        }
    }

    fn type_name(&self, schema: &'a Value) -> String {
        let schema = self.inner(schema);
        if let Some(all) = schema.get("enum").and_then(Value::as_array) {
            return or(all.iter().map(inline));
        }
        if let Some(value) = schema.get("const") {
            return inline(value);
        }
        for key in ["oneOf", "anyOf"] {
            if let Some(options) = schema.get(key).and_then(Value::as_array) {
                return or(options.iter().filter(|o| !is_null(o)).map(|o| self.variant(o)));
            }
        }
        match types(schema).as_slice() {
            ["array"] => match schema.get("items") {
                Some(items) => format!("list of {}", plural(&self.type_name(items))),
                None => "list".into(),
            },
            names => or(names.iter().map(|n| match *n {
                "integer" => "whole number".into(),
                "boolean" => "true or false".into(),
                "object" => "table".into(),
                other => other.to_string(),
            })),
        }
    }
}

/// The only key of a table that allows no other.
fn one_key(schema: &Value) -> Option<(&String, &Value)> {
    let properties = schema.get("properties")?.as_object()?;
    let is_closed = schema.get("additionalProperties") == Some(&Value::Bool(false));
    properties.iter().next().filter(|_| is_closed && properties.len() == 1)
}

/// `type` is a name or a list of names; "null" only means that the key is optional.
fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).filter(|t| *t != "null").collect(),
        _ => Vec::new(),
    }
}

fn is_null(schema: &Value) -> bool {
    schema.get("type").and_then(Value::as_str) == Some("null")
}

/// The paragraphs of a description; line breaks inside paragraphs come from the source code.
fn doc(schema: &Value) -> Vec<String> {
    let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    text.split("\n\n").map(|p| p.split_whitespace().collect::<Vec<_>>().join(" ")).filter(|p| !p.is_empty()).collect()
}

fn or(names: impl Iterator<Item = String>) -> String {
    let mut all: Vec<String> = Vec::new();
    for name in names.filter(|n| !n.is_empty()) {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    match all.split_last() {
        None => "anything".into(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}

fn plural(name: &str) -> String {
    match name {
        "string" | "number" | "whole number" | "table" => format!("{name}s"),
        other => other.into(),
    }
}
