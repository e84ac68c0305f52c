//! A table of values that may be missing, written as parquet.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use arrow_array::{ArrayRef, Float64Array, Int64Array, StringArray};
use arrow_schema::{DataType, Field, Schema};
use serde_json::Value;

use crate::text::data::corpus;

/// A column of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    pub name: String,
    values: Values,
}

#[derive(Debug, Clone, PartialEq)]
enum Values {
    Integers(Vec<Option<i64>>),
    Floats(Vec<Option<f64>>),
    Texts(Vec<Option<String>>),
}

impl Column {
    pub fn integers(name: &str, values: Vec<Option<i64>>) -> Self {
        Self { name: name.to_owned(), values: Values::Integers(values) }
    }

    pub fn floats(name: &str, values: Vec<Option<f64>>) -> Self {
        Self { name: name.to_owned(), values: Values::Floats(values) }
    }

    pub fn texts(name: &str, values: Vec<Option<String>>) -> Self {
        Self { name: name.to_owned(), values: Values::Texts(values) }
    }

    /// Whole numbers if all values are, else numbers, else text.
    pub fn of(name: &str, values: &[Option<Value>]) -> Self {
        let given = || values.iter().flatten();
        if given().all(Value::is_i64) {
            Self::integers(name, values.iter().map(|value| value.as_ref()?.as_i64()).collect())
        } else if given().all(Value::is_number) {
            Self::floats(name, values.iter().map(|value| value.as_ref()?.as_f64()).collect())
        } else {
            let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            Self::texts(name, values.iter().map(|value| value.as_ref().map(text)).collect())
        }
    }

    /// A value as text; empty if it is missing.
    pub fn text(&self, row: usize) -> String {
        match &self.values {
            Values::Integers(all) => all[row].map_or_else(String::new, |x| x.to_string()),
            Values::Floats(all) => all[row].map_or_else(String::new, |x| x.to_string()),
            Values::Texts(all) => all[row].clone().unwrap_or_default(),
        }
    }
}

/// Write the columns, which have one value a row, as a parquet file. Equal columns give equal bytes.
pub fn write_parquet(path: &Path, columns: &[Column]) -> Result<()> {
    let field = |column: &Column| {
        let ty = match column.values {
            Values::Integers(_) => DataType::Int64,
            Values::Floats(_) => DataType::Float64,
            Values::Texts(_) => DataType::Utf8,
        };
        Field::new(&column.name, ty, true)
    };
    let array = |column: &Column| -> ArrayRef {
        match &column.values {
            Values::Integers(all) => Arc::new(Int64Array::from(all.clone())),
            Values::Floats(all) => Arc::new(Float64Array::from(all.clone())),
            Values::Texts(all) => Arc::new(StringArray::from(all.clone())),
        }
    };
    let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
    corpus::write_parquet(path, schema, columns.iter().map(array).collect())
}
