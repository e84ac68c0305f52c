//! How a kind's parameters are read, documented and serialized: one serde type, or two that share one flat table.

use schemars::{JsonSchema, Schema};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::diagnostic::{Diagnostic, Place, closest, listed};
use super::value;
use super::value::Table;

/// The parameters of a kind. Every serde type with a JSON Schema implements it.
pub trait Parameters: Sized + Send + Sync + 'static {
    /// Read them from a stage's table. The error holds all problems, not only the first.
    fn read(table: &Table, owner: &str, place: &Place) -> Result<Self, Vec<Diagnostic>>;

    /// The descriptions are the doc comments.
    fn schema() -> Schema;

    /// Serialize them, with defaults filled in.
    fn to_json(&self) -> anyhow::Result<serde_json::Value>;
}

impl<T: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static> Parameters for T {
    fn read(table: &Table, owner: &str, place: &Place) -> Result<Self, Vec<Diagnostic>> {
        value::read(table, owner, place)
    }

    fn schema() -> Schema {
        schemars::schema_for!(T)
    }

    fn to_json(&self) -> anyhow::Result<serde_json::Value> {
        Ok(serde_json::to_value(self)?)
    }
}

/// Read two sets of parameters that share a table, such as a kind's own and those of training.
///
/// serde's `flatten` would lose the places of values; so each part reads its own keys.
pub fn read_both<A: Parameters, B: Parameters>(
    table: &Table,
    owner: &str,
    place: &Place,
) -> Result<(A, B), Vec<Diagnostic>> {
    let (ours, theirs) = (keys(&A::schema()), keys(&B::schema()));
    let known = || ours.iter().chain(&theirs).map(String::as_str);
    let (mut a, mut b, mut problems) = (Table::default(), Table::default(), Vec::new());
    for item in &table.0 {
        if ours.contains(&item.key) {
            a.0.push(item.clone());
        } else if theirs.contains(&item.key) {
            b.0.push(item.clone());
        } else {
            let d = Diagnostic::new(format!("{owner} has no parameter `{}`", item.key))
                .at(&item.key_place)
                .label("unknown key");
            problems.push(match closest(&item.key, known()) {
                Some(near) => d.help(format!("did you mean `{near}`?")),
                None => d.help(format!("known: {}", listed(known()))),
            });
        }
    }
    match (A::read(&a, owner, place), B::read(&b, owner, place)) {
        (Ok(a), Ok(b)) if problems.is_empty() => Ok((a, b)),
        (a, b) => {
            problems.extend(a.err().into_iter().chain(b.err()).flatten());
            Err(problems)
        }
    }
}

/// The schema of `A` with the properties of `B` added.
pub fn schema_of_both<A: Parameters, B: Parameters>() -> Schema {
    let mut schema = A::schema();
    let other = B::schema();
    for part in ["properties", "$defs"] {
        let added = other.get(part).and_then(|v| v.as_object()).cloned().unwrap_or_default();
        let mine = schema.ensure_object().entry(part).or_insert_with(|| serde_json::json!({}));
        if let Some(mine) = mine.as_object_mut() {
            mine.extend(added);
        }
    }
    schema
}

/// Both parts as one object.
pub fn json_of_both<A: Parameters, B: Parameters>(a: &A, b: &B) -> anyhow::Result<serde_json::Value> {
    let mut all = a.to_json()?;
    if let (Some(all), serde_json::Value::Object(more)) = (all.as_object_mut(), b.to_json()?) {
        all.extend(more);
    }
    Ok(all)
}

fn keys(schema: &Schema) -> Vec<String> {
    schema.get("properties").and_then(|p| p.as_object()).map(|p| p.keys().cloned().collect()).unwrap_or_default()
}
