//! Reads rows of parquet and Arrow files: only the columns that are wanted, some rows at a time.

use std::fs::File;
use std::io::Cursor;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Date64Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_ipc::reader::StreamReader;
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use chrono::NaiveDateTime;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::error::ReadError;
use super::features::{Classes, class_names, classes};
use super::listed::short;
use super::missing::MissingColumn;
use super::seen::Seen;
use super::table::{Part, Roles, Sink, Values};
use super::unpack;
use crate::compute::foreign::catch_panics;
use crate::text::data::declare::spec::Column;
use crate::text::data::read::ipc;
use crate::text::data::read::pages;

/// Rows decoded at a time.
const BATCH_ROWS: usize = 1024;
/// The same to see what columns hold.
const FIRST_BATCH: usize = 64;
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
        let (builder, size) = open_parquet(path)?;
        let schema = builder.schema().clone();
        let columns = Columns::find(part, &schema)?;
        let roots: Vec<usize> = columns.wanted().filter_map(|path| schema.index_of(&path[0]).ok()).collect();
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
        let batches = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build()?;
        columns.rows(batches.map(|batch| Ok(batch?)), size, sink)
    };
    catch_panics(read).with_context(|| format!("cannot read {}", path.display()))
}

/// A parquet file whose pages claim no more than they can hold, and its size.
fn open_parquet(path: &Path) -> Result<(ParquetRecordBatchReaderBuilder<File>, usize)> {
    let bytes = std::fs::read(path)?;
    ensure!(bytes.starts_with(PARQUET), "it is not a parquet file");
    let builder = ParquetRecordBatchReaderBuilder::try_new(unpack::open(path)?)?;
    pages::check(&bytes, builder.metadata(), PAGE)?;
    Ok((builder, bytes.len()))
}

/// The rows of an Arrow IPC file or stream; returns the names of its classes.
pub(crate) fn arrow(part: &Part, bytes: &[u8], sink: &mut Sink) -> Result<Option<Vec<String>>> {
    catch_panics(|| {
        let reader = open_arrow(bytes)?;
        let columns = Columns::find(part, &reader.schema())?;
        columns.rows(reader.map(|batch| Ok(batch?)), bytes.len(), sink)
    })
    .with_context(|| format!("cannot read {}", part.name))
}

/// A file is a stream between two marks with an index of its batches at the end, so both are read as streams.
fn open_arrow(bytes: &[u8]) -> Result<StreamReader<Cursor<&[u8]>>> {
    let stream = ipc::check(stream_of(bytes))?;
    StreamReader::try_new(Cursor::new(stream), None).context("it is not an Arrow file or stream")
}

/// The first rows of a parquet file, or of an Arrow file or stream if its bytes are given.
pub(crate) fn first_rows(path: &Path, arrow: Option<&[u8]>, rows: usize) -> Result<FirstRows> {
    let read = || -> Result<FirstRows> {
        match arrow {
            Some(bytes) => {
                let reader = open_arrow(bytes)?;
                let schema = reader.schema();
                FirstRows::gather(&schema, reader.map(|batch| Ok(batch?)), rows)
            }
            None => {
                let (builder, _) = open_parquet(path)?;
                let schema = builder.schema().clone();
                let batches = builder.with_batch_size(FIRST_BATCH).build()?;
                FirstRows::gather(&schema, batches.map(|batch| Ok(batch?)), rows)
            }
        }
    };
    catch_panics(read).with_context(|| format!("cannot read {}", path.display()))
}

/// The columns of a file that can be texts or labels, with the values of its first rows.
#[derive(Debug, Default)]
pub(crate) struct FirstRows {
    pub columns: Vec<Seen>,
    pub classes: Classes,
}

impl FirstRows {
    fn gather(schema: &Schema, batches: impl Iterator<Item = Result<RecordBatch>>, rows: usize) -> Result<Self> {
        let classes = schema.metadata().get(METADATA).map(|metadata| classes(metadata)).unwrap_or_default();
        let mut paths = Vec::new();
        schema.fields().iter().for_each(|field| leaves(field, &mut Vec::new(), &mut paths));
        let seen = |(path, has_texts): &(Vec<String>, bool)| Seen::new(path.join("."), *has_texts);
        let mut columns: Vec<Seen> = paths.iter().map(seen).collect();
        let (mut read, mut bytes) = (0, 0);
        for batch in batches {
            let batch = batch?;
            let arrays: Vec<ArrayRef> = paths.iter().map(|(path, _)| column(&batch, path)).collect::<Result<_>>()?;
            for row in 0..batch.num_rows() {
                if read == rows || bytes > FLAT {
                    return Ok(Self { columns, classes });
                }
                read += 1;
                for (seen, array) in columns.iter_mut().zip(&arrays) {
                    let value = value(array, row).unwrap_or_default();
                    bytes += size_of::<String>() + value.len();
                    seen.values.push(value.trim().to_owned());
                }
            }
        }
        Ok(Self { columns, classes })
    }
}

/// The fields with single values, in other fields too: the names on the way to each, and whether it has texts.
fn leaves(field: &Field, way: &mut Vec<String>, found: &mut Vec<(Vec<String>, bool)>) {
    way.push(field.name().clone());
    match field.data_type() {
        DataType::Struct(fields) => fields.iter().for_each(|field| leaves(field, way, found)),
        data if is_text(data) => found.push((way.clone(), true)),
        data if data.is_numeric() || *data == DataType::Boolean => found.push((way.clone(), false)),
        DataType::Dictionary(..) => found.push((way.clone(), false)),
        _ => {}
    }
    way.pop();
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
            Err(ReadError::from(MissingColumn::new(&names, column, role)).into())
        };
        let roles = Roles::find(part, find)?;
        let known = schema.metadata().get(METADATA).map(|metadata| classes(metadata)).unwrap_or_default();
        let classes = roles.label.as_ref().and_then(|path| class_names(&known, path.last()?));
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
        let longest = part.names.into_iter().flatten().map(String::len).max().unwrap_or(0);
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
                // A value that is stored once may be in every row.
                let taken = size_of::<super::raw::Raw>() + values.bytes() + longest;
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

/// A time stamp, in UTC.
fn moment(array: &ArrayRef, unit: TimeUnit, row: usize) -> Option<NaiveDateTime> {
    match unit {
        TimeUnit::Second => array.as_primitive::<TimestampSecondType>().value_as_datetime(row),
        TimeUnit::Millisecond => array.as_primitive::<TimestampMillisecondType>().value_as_datetime(row),
        TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().value_as_datetime(row),
        TimeUnit::Nanosecond => array.as_primitive::<TimestampNanosecondType>().value_as_datetime(row),
    }
}

/// A value as text, of a moment its day; `None` for null and for lists and the like.
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
        DataType::Date32 => Some(array.as_primitive::<Date32Type>().value_as_date(row)?.to_string()),
        DataType::Date64 => Some(array.as_primitive::<Date64Type>().value_as_date(row)?.to_string()),
        DataType::Timestamp(unit, _) => moment(array, *unit, row).map(|time| time.date().to_string()),
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary_opt()?;
            let key = value(&dictionary.keys().slice(row, 1), 0)?.parse().ok()?;
            (key < dictionary.values().len()).then(|| value(dictionary.values(), key)).flatten()
        }
        _ => None,
    }
}
