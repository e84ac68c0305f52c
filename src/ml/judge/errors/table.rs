//! A table that is written as parquet and as CSV.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use arrow_array::{ArrayRef, BooleanArray, Date32Array, Float64Array, StringArray, UInt64Array};
use arrow_schema::{Field, Schema};

use crate::text::data::corpus::write_parquet;
use crate::text::day::date;

/// The values of a column.
#[derive(Debug, Clone, PartialEq)]
pub enum Column {
    Text(Vec<String>),
    /// Empty cells are null.
    Texts(Vec<Option<String>>),
    Number(Vec<f64>),
    Whole(Vec<u64>),
    Flag(Vec<bool>),
    /// Days since 1970-01-01.
    Day(Vec<Option<i32>>),
}

impl Column {
    fn len(&self) -> usize {
        match self {
            Column::Text(values) => values.len(),
            Column::Texts(values) => values.len(),
            Column::Number(values) => values.len(),
            Column::Whole(values) => values.len(),
            Column::Flag(values) => values.len(),
            Column::Day(values) => values.len(),
        }
    }

    fn array(&self) -> ArrayRef {
        match self {
            Column::Text(values) => Arc::new(StringArray::from_iter_values(values)),
            Column::Texts(values) => Arc::new(values.iter().map(Option::as_deref).collect::<StringArray>()),
            Column::Number(values) => Arc::new(Float64Array::from(values.clone())),
            Column::Whole(values) => Arc::new(UInt64Array::from(values.clone())),
            Column::Flag(values) => Arc::new(BooleanArray::from(values.clone())),
            Column::Day(values) => Arc::new(values.iter().copied().collect::<Date32Array>()),
        }
    }

    /// As CSV has it: dates as `2020-03-16`, nothing for an empty cell.
    fn cell(&self, row: usize) -> String {
        match self {
            Column::Text(values) => values[row].clone(),
            Column::Texts(values) => values[row].clone().unwrap_or_default(),
            Column::Number(values) => values[row].to_string(),
            Column::Whole(values) => values[row].to_string(),
            Column::Flag(values) => values[row].to_string(),
            Column::Day(values) => values[row].map_or(String::new(), date),
        }
    }
}

/// Named columns of the same length.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table(Vec<(&'static str, Column)>);

impl Table {
    pub fn add(&mut self, name: &'static str, column: Column) {
        self.0.push((name, column));
    }

    /// Write `NAME.parquet` and `NAME.csv`; the same table gives the same bytes.
    pub fn write(&self, dir: &Path, name: &str) -> Result<()> {
        let rows = self.0.first().map_or(0, |(_, column)| column.len());
        ensure!(self.0.iter().all(|(_, column)| column.len() == rows), "columns of {name} have different lengths");
        let arrays: Vec<ArrayRef> = self.0.iter().map(|(_, column)| column.array()).collect();
        let is_open = |column: &Column| matches!(column, Column::Texts(_) | Column::Day(_));
        let fields = self.0.iter().zip(&arrays);
        let fields =
            fields.map(|((name, column), array)| Field::new(*name, array.data_type().clone(), is_open(column)));
        write_parquet(&dir.join(format!("{name}.parquet")), Arc::new(Schema::new(fields.collect::<Vec<_>>())), arrays)?;
        let path = dir.join(format!("{name}.csv"));
        let write = || -> Result<()> {
            let mut writer = csv::Writer::from_path(&path)?;
            writer.write_record(self.0.iter().map(|(name, _)| *name))?;
            for row in 0..rows {
                writer.write_record(self.0.iter().map(|(_, column)| column.cell(row)))?;
            }
            Ok(writer.flush()?)
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_written_in_both_formats() {
        let dir = tempfile::tempdir().unwrap();
        let mut table = Table::default();
        table.add("id", Column::Text(vec!["a".into(), "b".into()]));
        table.add("origin", Column::Texts(vec![None, Some("x, \"y\"".into())]));
        table.add("confidence", Column::Number(vec![0.5, 0.25]));
        table.add("words", Column::Whole(vec![1, 2]));
        table.add("url", Column::Flag(vec![true, false]));
        table.add("date", Column::Day(vec![Some(18_337), None]));
        table.write(dir.path(), "errors").unwrap();
        assert_eq!(
            std::fs::read_to_string(dir.path().join("errors.csv")).unwrap(),
            "id,origin,confidence,words,url,date\na,,0.5,1,true,2020-03-16\nb,\"x, \"\"y\"\"\",0.25,2,false,\n"
        );
        let rows = crate::text::data::corpus::read_parquet(&dir.path().join("errors.parquet"), |batch| {
            assert_eq!((batch.num_rows(), batch.num_columns()), (2, 6));
            Ok(0)
        });
        rows.unwrap();
        // No rows are a table too.
        let mut empty = Table::default();
        empty.add("id", Column::Text(Vec::new()));
        empty.write(dir.path(), "errors").unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join("errors.csv")).unwrap(), "id\n");
    }
}
