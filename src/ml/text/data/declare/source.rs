//! The parts of a source: its columns, its delimiter, and what its rows are used for.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::purpose::Purpose;

/// A column, by its name in the header or by its number, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Column {
    Name(String),
    Number(usize),
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Column::Name(name) => write!(f, "`{name}`"),
            Column::Number(number) => write!(f, "number {number}"),
        }
    }
}

impl From<&str> for Column {
    fn from(name: &str) -> Self {
        Column::Name(name.to_owned())
    }
}

impl Serialize for Column {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Column::Name(name) => serializer.serialize_str(name),
            Column::Number(number) => serializer.serialize_u64(*number as u64),
        }
    }
}

impl<'de> Deserialize<'de> for Column {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ColumnVisitor)
    }
}

struct ColumnVisitor;

impl Visitor<'_> for ColumnVisitor {
    type Value = Column;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("the name of a column, or its number counted from 1")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Column, E> {
        Ok(Column::Name(name.to_owned()))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Column, E> {
        match usize::try_from(number) {
            Ok(number) if number > 0 => Ok(Column::Number(number)),
            _ => Err(E::custom(format!("columns are counted from 1, so there is no column {number}"))),
        }
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Column, E> {
        let wrong = || E::custom(format!("columns are counted from 1, so there is no column {number}"));
        u64::try_from(number).map_err(|_| wrong()).and_then(|number| self.visit_u64(number))
    }
}

impl JsonSchema for Column {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Column".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "string" }, { "type": "integer", "minimum": 1 }] })
    }
}

/// What divides the fields of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Delimiter {
    /// The one of `,`, `;`, tab and `|` that divides the lines most evenly.
    Auto,
    Byte(u8),
}

impl TryFrom<String> for Delimiter {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match (text.as_str(), text.as_bytes()) {
            ("auto", _) => Ok(Delimiter::Auto),
            ("tab", _) => Ok(Delimiter::Byte(b'\t')),
            (_, &[byte]) if byte.is_ascii() && !byte.is_ascii_alphanumeric() && !b"\"\r\n\0".contains(&byte) => {
                Ok(Delimiter::Byte(byte))
            }
            _ => Err(format!(
                "`{text}` is not a delimiter; write one character such as \";\" or \"|\", or \"tab\" or \"auto\""
            )),
        }
    }
}

impl From<Delimiter> for String {
    fn from(delimiter: Delimiter) -> String {
        match delimiter {
            Delimiter::Auto => "auto".to_owned(),
            Delimiter::Byte(b'\t') => "tab".to_owned(),
            Delimiter::Byte(byte) => char::from(byte).to_string(),
        }
    }
}

impl JsonSchema for Delimiter {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Delimiter".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        String::json_schema(generator)
    }
}

/// What the rows of a source are used for. Of a data set that has splits of its own, `"train"`, `"validation"` and
/// `"test"` also choose the split that is read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Splitting {
    /// Training (and the share set aside for validation).
    #[default]
    Train,
    /// Choosing the best epoch.
    Validation,
    /// The final scores.
    Test,
    /// Every split of the data set, each for what its name says.
    AsNamed,
    /// What the value of this column says: `{ column = "split" }`.
    Column(Column),
}

impl From<Purpose> for Splitting {
    fn from(purpose: Purpose) -> Self {
        match purpose {
            Purpose::Train => Splitting::Train,
            Purpose::Validation => Splitting::Validation,
            Purpose::Test => Splitting::Test,
        }
    }
}

impl Splitting {
    /// What all rows are used for; `None` if that is different from row to row.
    pub fn purpose(&self) -> Option<Purpose> {
        match self {
            Splitting::Train => Some(Purpose::Train),
            Splitting::Validation => Some(Purpose::Validation),
            Splitting::Test => Some(Purpose::Test),
            Splitting::AsNamed | Splitting::Column(_) => None,
        }
    }

    /// Whether rows of this purpose may come out.
    pub fn may_be(&self, purpose: Purpose) -> bool {
        self.purpose().is_none_or(|certain| certain == purpose)
    }

    pub fn name(&self) -> String {
        match self {
            Splitting::AsNamed => "as named".to_owned(),
            Splitting::Column(column) => format!("by column {column}"),
            other => other.purpose().map_or("", Purpose::name).to_owned(),
        }
    }
}
