//! What a parameter may be: a range of numbers, or a list of values.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Number, Value};

/// By stage and parameter: the values that one of them must have.
pub(super) type When = BTreeMap<String, BTreeMap<String, Value>>;

/// The values that the trials may give a parameter.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Range {
    pub values: Values,
    /// Vary it only in trials in which another parameter has one of these values.
    pub when: When,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Values {
    /// Whole numbers if both ends are, else real numbers; the ends are included.
    Between {
        low: Number,
        high: Number,
        step: Option<i64>,
        log: bool,
    },
    Of(Vec<Value>),
}

/// A range as the file has it, if it is a table.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Written {
    #[serde(skip_serializing_if = "Option::is_none")]
    low: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    high: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<i64>,
    #[serde(skip_serializing_if = "is_no")]
    log: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    values: Option<Vec<Value>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    when: When,
}

fn is_no(value: &bool) -> bool {
    !value
}

impl TryFrom<Written> for Range {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, &'static str> {
        let values = match written {
            Written { low: Some(low), high: Some(high), step, log, values: None, .. } => {
                Values::Between { low, high, step, log }
            }
            Written { low: None, high: None, step: None, log: false, values: Some(values), .. } => Values::Of(values),
            _ => return Err("a range has `low` and `high`, or `values`"),
        };
        Ok(Self { values, when: written.when })
    }
}

impl Serialize for Range {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let when = self.when.clone();
        match &self.values {
            Values::Of(values) if when.is_empty() => values.serialize(serializer),
            Values::Of(values) => {
                Written { values: Some(values.clone()), when, ..Written::default() }.serialize(serializer)
            }
            Values::Between { low, high, step, log } => {
                let (low, high) = (Some(low.clone()), Some(high.clone()));
                Written { low, high, step: *step, log: *log, values: None, when }.serialize(serializer)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Range {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RangeVisitor)
    }
}

struct RangeVisitor;

impl<'de> Visitor<'de> for RangeVisitor {
    type Value = Range;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a list of values, or a range such as `{ low = 1e-5, high = 5e-5, log = true }`")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, values: A) -> Result<Range, A::Error> {
        let values = Vec::deserialize(SeqAccessDeserializer::new(values))?;
        Ok(Range { values: Values::Of(values), when: When::new() })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Range, A::Error> {
        Written::deserialize(MapAccessDeserializer::new(map))?.try_into().map_err(de::Error::custom)
    }
}

impl JsonSchema for Range {
    fn schema_name() -> Cow<'static, str> {
        "Range".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "The values that the trials may give a parameter: a list, or a range of numbers.",
            "anyOf": [
                { "type": "array", "minItems": 1 },
                {
                    "type": "object",
                    "properties": {
                        "low": { "type": "number", "description": "The least value." },
                        "high": { "type": "number", "description": "The greatest value." },
                        "step": { "type": "integer", "minimum": 1, "description": "The distance between whole numbers." },
                        "log": { "type": "boolean", "description": "Draw the logarithm evenly." },
                        "values": { "type": "array", "minItems": 1, "description": "The values, in place of `low` and `high`." },
                        "when": { "type": "object", "description": "Vary it only if another parameter has one of these values." }
                    },
                    "additionalProperties": false
                }
            ]
        })
    }
}
