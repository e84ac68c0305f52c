//! Reads rows of parquet and Arrow files: only the columns that are wanted, some rows at a time.

use std::io::Cursor;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_ipc::reader::StreamReader;
use arrow_schema::{DataType, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::features::class_names;
use super::table::{Part, Roles, Sink, Values, missing, short};
use super::unpack;
use crate::compute::foreign::catch_panics;
use crate::text::data::declare::spec::Column;
use crate::text::data::read::ipc;
use crate::text::data::read::pages;

/// Rows decoded at a time.
const BATCH_ROWS: usize = 1024;
/// The first bytes of an Arrow file; a stream has none.
pub(crate) const ARROW: &[u8] = b"ARROW1";
pub(crate) const PARQUET: &[u8] = b"PAR1";
/// Decoded bytes of a file per byte, beyond a flat amount: texts that repeat are stored once.
const EXPANDED: usize = 100;
const FLAT: usize = 16 << 20;
/// What a page may unpack to beyond a multiple of its size: public files have pages of about 1 MiB.
const PAGE: usize = 8 << 20;
/// The schema's key for the metadata of data sets.
const METADATA: &str = "huggingface";

/// The rows of a parquet file; returns the names of its classes.
pub(crate) fn parquet(part: &Part, path: &Path, sink: &mut Sink) -> Result<Option<Vec<String>>> {
    let read = || -> Result<Option<Vec<String>>> {
        let bytes = std::fs::read(path)?;
        ensure!(bytes.starts_with(PARQUET), "it is not a parquet file");
        let builder = ParquetRecordBatchReaderBuilder::try_new(unpack::open(path)?)?;
        pages::check(&bytes, builder.metadata(), PAGE)?;
        let room = bytes.len();
        drop(bytes);
        let schema = builder.schema().clone();
        let columns = Columns::find(part, &schema)?;
        let roots: Vec<usize> = columns.wanted().filter_map(|path| schema.index_of(&path[0]).ok()).collect();
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
        let batches = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build()?;
        columns.rows(batches.map(|batch| Ok(batch?)), room, sink)
    };
    catch_panics(read).with_context(|| format!("cannot read {}", path.display()))
}

/// The rows of an Arrow IPC file or stream; returns the names of its classes.
///
/// A file is a stream between two marks with an index of its batches at the end, so both are read as streams.
pub(crate) fn arrow(part: &Part, bytes: &[u8], sink: &mut Sink) -> Result<Option<Vec<String>>> {
    catch_panics(|| {
        let stream = ipc::check(stream_of(bytes))?;
        let reader = StreamReader::try_new(Cursor::new(stream), None).context("it is not an Arrow file or stream")?;
        let columns = Columns::find(part, &reader.schema())?;
        columns.rows(reader.map(|batch| Ok(batch?)), bytes.len(), sink)
    })
    .with_context(|| format!("cannot read {}", part.name))
}

/// The stream in a file. Writers fill up the mark with zeros to 8 bytes or to a multiple of them.
fn stream_of(bytes: &[u8]) -> &[u8] {
    let Some(rest) = bytes.strip_prefix(ARROW) else { return bytes };
    let zeros = rest.iter().take_while(|byte| **byte == 0).count();
    let start = (ARROW.len() + zeros) / 8 * 8;
    bytes.get(start.max(8)..).unwrap_or_default()
}

/// The columns that are wanted: the names on the way to each.
struct Columns<'a> {
    part: Part<'a>,
    roles: Roles<Vec<String>>,
    classes: Option<Vec<String>>,
}

impl<'a> Columns<'a> {
    fn find(part: &Part<'a>, schema: &Schema) -> Result<Self> {
        let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
        let find = |column: &Column, role: &'static str| -> Result<Vec<String>> {
            match column {
                Column::Name(name) if names.contains(name) => return Ok(vec![name.clone()]),
                Column::Name(name) => {
                    let path: Vec<String> = name.split('.').map(str::to_owned).collect();
                    if path.len() > 1 && holds(schema, &path) {
                        return Ok(path);
                    }
                }
                Column::Number(number) => {
                    if let Some(name) = number.checked_sub(1).and_then(|at| names.get(at)) {
                        return Ok(vec![name.clone()]);
                    }
                }
            }
            bail!(missing(&names, column, role))
        };
        let roles = Roles::find(part, find)?;
        let classes = roles.label.as_ref().and_then(|path| class_names(schema.metadata().get(METADATA)?, path.last()?));
        Ok(Self { part: part.clone(), roles, classes })
    }

    fn wanted(&self) -> impl Iterator<Item = &Vec<String>> {
        let Roles { text, pair, label, id, date, split, others } = &self.roles;
        [Some(text), pair.as_ref(), label.as_ref(), id.as_ref(), date.as_ref(), split.as_ref()]
            .into_iter()
            .flatten()
            .chain(others)
    }

    /// All rows; `size` is that of the file, which bounds what they may take.
    fn rows(
        self,
        batches: impl Iterator<Item = Result<RecordBatch>>,
        size: usize,
        sink: &mut Sink,
    ) -> Result<Option<Vec<String>>> {
        let mut room = size.saturating_mul(EXPANDED).saturating_add(FLAT);
        let classes = self.classes.clone();
        let mut part = self.part.clone();
        part.names = classes.as_deref().or(part.names);
        let mut number = 0;
        for batch in batches {
            let batch = batch?;
            let column = |path: &Vec<String>| column(&batch, path);
            let roles = &self.roles;
            let text = column(&roles.text)?;
            ensure!(
                is_text(text.data_type()),
                "its column `{}` has no texts but values of type {}",
                short(&roles.text.join(".")),
                text.data_type()
            );
            let optional = |role: &Option<Vec<String>>| role.as_ref().map(column).transpose();
            let (pair, label, id) = (optional(&roles.pair)?, optional(&roles.label)?, optional(&roles.id)?);
            let (date, split) = (optional(&roles.date)?, optional(&roles.split)?);
            let others: Vec<ArrayRef> = roles.others.iter().map(column).collect::<Result<_>>()?;
            for row in 0..batch.num_rows() {
                number += 1;
                let of = |array: &Option<ArrayRef>| array.as_ref().and_then(|array| value(array, row));
                let trimmed = |array: &Option<ArrayRef>| of(array).map(|value| value.trim().to_owned());
                let values = Values {
                    text: value(&text, row),
                    pair: of(&pair),
                    label: trimmed(&label),
                    id: trimmed(&id),
                    date: trimmed(&date),
                    split: trimmed(&split),
                    others: others.iter().map(|array| value(array, row).unwrap_or_default()).collect(),
                    cut: 0,
                };
                let taken = size_of::<super::raw::Raw>() + values.text.as_ref().map_or(0, String::len);
                room = room.checked_sub(taken).context("it unpacks to more than a file of its size can hold")?;
                sink.take(&part, roles, number, values);
            }
        }
        Ok(classes)
    }
}

/// Whether a schema has a field under these names, one in another.
fn holds(schema: &Schema, path: &[String]) -> bool {
    let Ok(first) = schema.field_with_name(&path[0]) else { return false };
    let mut data = first.data_type();
    path[1..].iter().all(|name| match data {
        DataType::Struct(fields) => match fields.find(name) {
            Some((_, field)) => {
                data = field.data_type();
                true
            }
            None => false,
        },
        _ => false,
    })
}

fn column(batch: &RecordBatch, path: &[String]) -> Result<ArrayRef> {
    let lacks = || format!("it has no column `{}`", short(&path.join(".")));
    let mut array = batch.column_by_name(&path[0]).with_context(lacks)?.clone();
    for name in &path[1..] {
        let inner = array.as_struct_opt().and_then(|inner| inner.column_by_name(name)).cloned();
        array = inner.with_context(lacks)?;
    }
    Ok(array)
}

fn is_text(data: &DataType) -> bool {
    match data {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

/// A value as text; `None` for null and for lists and the like.
fn value(array: &ArrayRef, row: usize) -> Option<String> {
    if array.is_null(row) {
        return None;
    }
    macro_rules! number {
        ($kind:ty) => {
            Some(array.as_primitive::<$kind>().value(row).to_string())
        };
    }
    match array.data_type() {
        DataType::Utf8 => Some(array.as_string::<i32>().value(row).to_owned()),
        DataType::LargeUtf8 => Some(array.as_string::<i64>().value(row).to_owned()),
        DataType::Utf8View => Some(array.as_string_view().value(row).to_owned()),
        DataType::Boolean => Some(array.as_boolean().value(row).to_string()),
        DataType::Int8 => number!(Int8Type),
        DataType::Int16 => number!(Int16Type),
        DataType::Int32 => number!(Int32Type),
        DataType::Int64 => number!(Int64Type),
        DataType::UInt8 => number!(UInt8Type),
        DataType::UInt16 => number!(UInt16Type),
        DataType::UInt32 => number!(UInt32Type),
        DataType::UInt64 => number!(UInt64Type),
        DataType::Float32 => number!(Float32Type),
        DataType::Float64 => number!(Float64Type),
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary_opt()?;
            let key = value(&dictionary.keys().slice(row, 1), 0)?.parse().ok()?;
            (key < dictionary.values().len()).then(|| value(dictionary.values(), key)).flatten()
        }
        _ => None,
    }
}
