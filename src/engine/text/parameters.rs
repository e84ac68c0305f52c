//! How a kind's parameters are read, documented and serialized: one serde type, or two that share one flat table.

use std::fmt::Display;

use schemars::{JsonSchema, Schema};
use serde::Serialize;
use serde::de::{self, DeserializeOwned, Visitor};

use super::diagnostic::{Diagnostic, Place, closest, listed};
use super::value;
use super::value::Table;

/// The parameters of a kind. Every serde type with a JSON Schema implements it.
pub trait Parameters: Sized + Send + Sync + 'static {
    /// Read them from a stage's table. The error holds all problems, not only the first.
    fn read(table: &Table, owner: &str, place: &Place) -> Result<Self, Vec<Diagnostic>>;

    /// The names that a table may have.
    fn keys() -> Vec<&'static str>;

    /// The descriptions are the doc comments.
    fn schema() -> Schema;

    /// Serialize them, with defaults filled in.
    fn to_json(&self) -> anyhow::Result<serde_json::Value>;
}

impl<T: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static> Parameters for T {
    fn read(table: &Table, owner: &str, place: &Place) -> Result<Self, Vec<Diagnostic>> {
        value::read(table, owner, place)
    }

    fn keys() -> Vec<&'static str> {
        field_names::<T>().to_vec()
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
    let (ours, theirs) = (A::keys(), B::keys());
    let known = || ours.iter().chain(&theirs).copied();
    let (mut a, mut b, mut problems) = (Table::default(), Table::default(), Vec::new());
    for item in &table.0 {
        if ours.contains(&item.key.as_str()) {
            a.0.push(item.clone());
        } else if theirs.contains(&item.key.as_str()) {
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

/// The names of the fields that serde would read into `T`; none if it is not a struct.
///
/// This asks serde's generated code and reads nothing, so it costs next to nothing for every stage of a pipeline. A JSON
/// Schema lists the same names, but generating it takes longer than everything else that is done to plan a stage.
fn field_names<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut names: &'static [&'static str] = &[];
    // It always ends with `Asked`: nothing is read.
    let _ = T::deserialize(FieldNames(&mut names));
    names
}

/// A deserializer that only takes down which fields it is asked for.
struct FieldNames<'a>(&'a mut &'static [&'static str]);

impl<'de> de::Deserializer<'de> for FieldNames<'_> {
    type Error = Asked;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Asked> {
        Err(Asked)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Asked> {
        *self.0 = fields;
        Err(Asked)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// Ends a reading that only asked for names.
#[derive(Debug, thiserror::Error)]
#[error("nothing is read")]
struct Asked;

impl de::Error for Asked {
    fn custom<T: Display>(_: T) -> Self {
        Self
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Default, Serialize, Deserialize, JsonSchema)]
    #[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
    struct Toy {
        first_value: u32,
        #[serde(rename = "other")]
        second: Option<String>,
    }

    #[test]
    fn the_keys_are_those_of_the_schema() {
        assert_eq!(Toy::keys(), ["first-value", "other"]);
        let schema = Toy::schema();
        let properties = schema.get("properties").and_then(|properties| properties.as_object()).unwrap();
        assert!(Toy::keys().into_iter().eq(properties.keys()));
        assert_eq!(u32::keys(), [""; 0]);
    }
}
