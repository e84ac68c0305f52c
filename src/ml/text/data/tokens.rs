//! The tokens artifact: the token ids of every row, as Arrow IPC files without padding.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail, ensure};
use arrow_array::builder::{ListBuilder, UInt8Builder, UInt32Builder};
use arrow_array::cast::AsArray;
use arrow_array::types::{UInt8Type, UInt32Type};
use arrow_array::{Array, ArrayRef, RecordBatch, StringArray, UInt32Array};
use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::reader::{FileDecoder, read_footer_length};
use arrow_ipc::writer::FileWriter;
use arrow_ipc::{Block, root_as_footer, root_as_message};
use arrow_schema::{DataType, Field, Schema};
use serde::{Deserialize, Serialize};

use crate::compute::foreign::catch_panics;

/// Rows per record batch, so that the 32-bit offsets of the list columns cannot overflow.
const BATCH_ROWS: usize = 65_536;

/// Token ids of a corpus, truncated to `max_length`, special tokens included.
#[derive(Debug, Clone, PartialEq)]
pub struct Tokens {
    pub labels: Vec<String>,
    pub pad_id: u32,
    pub max_length: usize,
    pub train: Split,
    pub validation: Split,
    pub test: Split,
}

/// Rows of different lengths, stored one after another; clones share them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Split(Arc<Rows>);

#[derive(Debug, Clone, Default, PartialEq)]
struct Rows {
    /// Row `i` is `ids[offsets[i]..offsets[i + 1]]`; empty, or one entry more than there are rows.
    offsets: Vec<u64>,
    ids: Vec<u32>,
    /// The type of each token, the second text of a pair having 1; empty if all are 0.
    types: Vec<u8>,
    labels: Vec<u32>,
    row_ids: Vec<String>,
    /// The names of the sources, and the place of each row's among them; empty if the rows do not say it.
    source_names: Vec<String>,
    sources: Vec<u16>,
}

/// One row to add to a [`Split`].
#[derive(Debug, Clone)]
pub struct TokenRow<'a> {
    pub ids: &'a [u32],
    /// As many as there are ids; or none, which means that all are 0.
    pub types: &'a [u8],
    pub label: u32,
    pub row_id: String,
}

impl Split {
    /// Add a row whose tokens all have type 0.
    pub fn push(&mut self, ids: &[u32], label: u32, row_id: String) {
        self.push_row(TokenRow { ids, types: &[], label, row_id });
    }

    pub fn push_row(&mut self, TokenRow { ids, types, label, row_id }: TokenRow) {
        let rows = Arc::make_mut(&mut self.0);
        if rows.offsets.is_empty() {
            rows.offsets.push(0);
        }
        if !rows.types.is_empty() || types.iter().any(|kind| *kind > 0) {
            rows.types.resize(rows.ids.len(), 0);
            rows.types.extend_from_slice(types);
            rows.types.resize(rows.ids.len() + ids.len(), 0);
        }
        rows.ids.extend_from_slice(ids);
        rows.offsets.push(rows.ids.len() as u64);
        rows.labels.push(label);
        rows.row_ids.push(row_id);
    }

    pub fn len(&self) -> usize {
        self.0.labels.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.labels.is_empty()
    }

    /// Token ids of row `i`.
    pub fn row(&self, i: usize) -> &[u32] {
        &self.0.ids[self.0.offsets[i] as usize..self.0.offsets[i + 1] as usize]
    }

    /// The types of the tokens of row `i`; empty if no token of the split has another type than 0.
    pub fn types(&self, i: usize) -> &[u8] {
        match self.0.types.as_slice() {
            [] => &[],
            types => &types[self.0.offsets[i] as usize..self.0.offsets[i + 1] as usize],
        }
    }

    /// The highest type of a token.
    pub fn highest_type(&self) -> u8 {
        self.0.types.iter().max().copied().unwrap_or(0)
    }

    pub fn label(&self, i: usize) -> u32 {
        self.0.labels[i]
    }

    /// The corpus' id of row `i`.
    pub fn id(&self, i: usize) -> &str {
        &self.0.row_ids[i]
    }

    /// The corpus' ids of all rows.
    pub fn ids(&self) -> &[String] {
        &self.0.row_ids
    }

    pub fn labels(&self) -> &[u32] {
        &self.0.labels
    }

    /// The names of the sources of the rows; empty if all rows have one source, or if the artifact is of a version that did
    /// not keep it.
    pub fn source_names(&self) -> &[String] {
        &self.0.source_names
    }

    /// The place of each row's source in [`Split::source_names`]; empty if that is.
    pub fn sources(&self) -> &[u16] {
        &self.0.sources
    }

    /// Say which source each row is of. One source alone, or more than a 16-bit number counts, is not kept.
    pub fn set_sources<'a>(&mut self, of: impl Iterator<Item = &'a str>) {
        let mut names: Vec<String> = Vec::new();
        let mut known: HashMap<&str, u16> = HashMap::new();
        let mut sources = Vec::with_capacity(self.len());
        for name in of {
            let at = match known.get(name) {
                Some(at) => *at,
                None => {
                    let Ok(at) = u16::try_from(names.len()) else { return };
                    names.push(name.to_owned());
                    known.insert(name, at);
                    at
                }
            };
            sources.push(at);
        }
        if names.len() > 1 && sources.len() == self.len() {
            let rows = Arc::make_mut(&mut self.0);
            (rows.source_names, rows.sources) = (names, sources);
        }
    }

    /// Number of token ids in all rows.
    pub fn tokens(&self) -> usize {
        self.0.ids.len()
    }
}

/// The content of `tokens.json`.
#[derive(Serialize, Deserialize)]
struct Description {
    labels: Vec<String>,
    pad_id: u32,
    max_length: usize,
}

impl Tokens {
    /// Read a folder that [`Tokens::write`] wrote.
    pub fn open(dir: &Path) -> Result<Self> {
        let path = dir.join("tokens.json");
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let Description { labels, pad_id, max_length } =
            serde_json::from_slice(&bytes).with_context(|| format!("{} is not a token description", path.display()))?;
        let read = |name: &str| read_split(&dir.join(name), labels.len());
        let (train, validation, test) = (read("train.arrow")?, read("validation.arrow")?, read("test.arrow")?);
        Ok(Tokens { labels, pad_id, max_length, train, validation, test })
    }

    /// Write `train.arrow`, `validation.arrow`, `test.arrow` and `tokens.json`; the same tokens give the same bytes.
    pub fn write(&self, dir: &Path) -> Result<()> {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        write_split(&dir.join("train.arrow"), &self.train)?;
        write_split(&dir.join("validation.arrow"), &self.validation)?;
        write_split(&dir.join("test.arrow"), &self.test)?;
        let path = dir.join("tokens.json");
        let description = Description { labels: self.labels.clone(), pad_id: self.pad_id, max_length: self.max_length };
        let mut text = serde_json::to_string_pretty(&description)?;
        text.push('\n');
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// The column with the types of the tokens, which is there only if a type is not 0.
const TYPES: &str = "token_type_ids";

/// The column with the source of each row, which is there only if the split has rows of several.
const SOURCE: &str = "source";

fn schema(has_types: bool, has_sources: bool) -> Arc<Schema> {
    let list = |kind| DataType::List(Arc::new(Field::new_list_field(kind, true)));
    let mut fields = vec![
        Field::new("input_ids", list(DataType::UInt32), false),
        Field::new("attention_mask", list(DataType::UInt8), false),
        Field::new("label", DataType::UInt32, false),
        Field::new("id", DataType::Utf8, false),
    ];
    if has_types {
        fields.push(Field::new(TYPES, list(DataType::UInt8), false));
    }
    if has_sources {
        fields.push(Field::new(SOURCE, DataType::Utf8, false));
    }
    Arc::new(Schema::new(fields))
}

fn write_split(path: &Path, split: &Split) -> Result<()> {
    let has_types = split.highest_type() > 0;
    let has_sources = !split.sources().is_empty();
    let schema = schema(has_types, has_sources);
    let write = || -> Result<()> {
        let mut writer = FileWriter::try_new_buffered(File::create(path)?, &schema)?;
        for start in (0..split.len()).step_by(BATCH_ROWS) {
            let rows = start..(start + BATCH_ROWS).min(split.len());
            let mut ids = ListBuilder::new(UInt32Builder::new());
            let mut mask = ListBuilder::new(UInt8Builder::new());
            let ones = vec![1; rows.clone().map(|row| split.row(row).len()).max().unwrap_or(0)];
            for row in rows.clone() {
                ids.values().append_slice(split.row(row));
                ids.append(true);
                // Every stored token is real; the column exists for readers that expect it.
                mask.values().append_slice(&ones[..split.row(row).len()]);
                mask.append(true);
            }
            let mut columns: Vec<ArrayRef> = vec![
                Arc::new(ids.finish()),
                Arc::new(mask.finish()),
                Arc::new(UInt32Array::from_iter_values(split.labels()[rows.clone()].iter().copied())),
                Arc::new(StringArray::from_iter_values(split.0.row_ids[rows.clone()].iter())),
            ];
            if has_types {
                let mut types = ListBuilder::new(UInt8Builder::new());
                for row in rows.clone() {
                    types.values().append_slice(split.types(row));
                    types.append(true);
                }
                columns.push(Arc::new(types.finish()));
            }
            if has_sources {
                let names = split.sources()[rows].iter().map(|at| split.source_names()[usize::from(*at)].as_str());
                columns.push(Arc::new(StringArray::from_iter_values(names)));
            }
            writer.write(&RecordBatch::try_new(schema.clone(), columns)?)?;
        }
        writer.finish()?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

fn read_split(path: &Path, classes: usize) -> Result<Split> {
    let read = || -> Result<Split> {
        let mut split = Split::default();
        let mut sources: Vec<String> = Vec::new();
        for batch in batches(&std::fs::read(path)?)? {
            let column = |name: &str| batch.column_by_name(name).with_context(|| format!("it has no column `{name}`"));
            let lists = column("input_ids")?.as_list_opt::<i32>().context("its `input_ids` are not lists")?;
            let labels = column("label")?.as_primitive_opt::<UInt32Type>().context("its `label` is not a number")?;
            let ids: &StringArray = column("id")?.as_string_opt().context("its `id` is not text")?;
            let types = match batch.column_by_name(TYPES) {
                Some(types) => Some(types.as_list_opt::<i32>().context("its `token_type_ids` are not lists")?),
                None => None,
            };
            if let Some(names) = batch.column_by_name(SOURCE) {
                let names: &StringArray = names.as_string_opt().context("its `source` is not text")?;
                sources.extend((0..names.len()).map(|row| names.value(row).to_owned()));
            }
            for row in 0..batch.num_rows() {
                let types = types.map(|types| types.value(row));
                let types = match &types {
                    Some(types) => {
                        types.as_primitive_opt::<UInt8Type>().context("its `token_type_ids` are not bytes")?.values()
                    }
                    None => &[][..],
                };
                let list = lists.value(row);
                let values = list.as_primitive_opt::<UInt32Type>().context("its `input_ids` are not 32-bit numbers")?;
                let label = labels.value(row);
                if label as usize >= classes {
                    bail!("row {} has label {label}; tokens.json declares {classes} labels", split.len());
                }
                let (ids, row_id) = (values.values(), ids.value(row).to_owned());
                ensure!(
                    types.is_empty() || types.len() == ids.len(),
                    "row {} has {} tokens and {} token types",
                    split.len(),
                    ids.len(),
                    types.len()
                );
                split.push_row(TokenRow { ids, types, label, row_id });
            }
        }
        split.set_sources(sources.iter().map(String::as_str));
        Ok(split)
    };
    catch_panics(read).with_context(|| format!("cannot read {}", path.display()))
}

/// The record batches of an Arrow IPC file with the columns of this artifact.
///
/// The library's own file reader trusts the sizes that a file declares: it allocates them, and panics if they are
/// negative. So this function checks them against the file first.
fn batches(bytes: &[u8]) -> Result<Vec<RecordBatch>> {
    let damaged = || anyhow!("the file is damaged or was cut short");
    let (body, tail) = bytes.split_last_chunk::<10>().ok_or_else(damaged)?;
    let footer = body.len().checked_sub(read_footer_length(*tail)?).ok_or_else(damaged)?;
    let footer = root_as_footer(&body[footer..]).map_err(|_| damaged())?;
    let found = Arc::new(try_fb_to_schema(footer.schema().ok_or_else(damaged)?)?);
    let mut known = [(false, false), (true, false), (false, true), (true, true)].into_iter();
    let known = known.any(|(types, sources)| found.fields() == schema(types, sources).fields());
    ensure!(known, "its columns are not those of tokens");
    // The attention mask (column 1) adds nothing to the offsets.
    let wanted = (0..found.fields().len()).filter(|column| *column != 1).collect();
    let decoder = FileDecoder::new(found, footer.version()).with_projection(wanted);
    let mut batches = Vec::new();
    for block in footer.recordBatches().ok_or_else(damaged)? {
        let bytes = block_of(block, bytes).ok_or_else(damaged)?;
        batches.extend(decoder.read_record_batch(block, &bytes.into())?);
    }
    Ok(batches)
}

/// The bytes of a block, if the block lies in the file and its buffers lie in the block.
fn block_of<'a>(block: &Block, bytes: &'a [u8]) -> Option<&'a [u8]> {
    let size = |number: i64| usize::try_from(number).ok();
    let (start, head, body) = (size(block.offset())?, size(block.metaDataLength().into())?, size(block.bodyLength())?);
    let block = bytes.get(start..start.checked_add(head.checked_add(body)?)?)?;
    let message = match block.get(..head)?.strip_prefix(&[0xFF; 4]) {
        Some(rest) => rest.get(4..)?,
        None => block.get(4..head)?,
    };
    let message = root_as_message(message).ok()?;
    let batch = message.header_as_record_batch()?;
    let inside = |offset: i64, length: i64| Some(size(offset)?.checked_add(size(length)?)? <= body);
    let buffers = batch.buffers()?.iter().all(|b| inside(b.offset(), b.length()) == Some(true));
    let nodes = batch.nodes()?.iter().all(|n| size(n.length()).is_some() && size(n.null_count()).is_some());
    (buffers && nodes && batch.compression().is_none() && size(batch.length()).is_some()).then_some(block)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> Tokens {
        let mut train = Split::default();
        train.push(&[0, 5, 6, 2], 1, "train:1".to_owned());
        train.push(&[0, 2], 0, "train:2".to_owned());
        let mut test = Split::default();
        test.push(&[0, 9, 2], 1, "test:1".to_owned());
        let labels = vec!["no".to_owned(), "yes".to_owned()];
        Tokens { labels, pad_id: 1, max_length: 4, train, validation: Split::default(), test }
    }

    #[test]
    fn rows_keep_their_own_length() {
        let tokens = tokens();
        assert_eq!(tokens.train.len(), 2);
        assert_eq!(tokens.train.row(0), [0, 5, 6, 2]);
        assert_eq!(tokens.train.row(1), [0, 2]);
        assert_eq!((tokens.train.label(1), tokens.train.id(1)), (0, "train:2"));
    }

    #[test]
    fn what_is_written_is_read_back_and_written_alike() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        tokens().write(one.path()).unwrap();
        let back = Tokens::open(one.path()).unwrap();
        assert_eq!(back, tokens());
        back.write(two.path()).unwrap();
        for name in ["train.arrow", "validation.arrow", "test.arrow", "tokens.json"] {
            let (one, two) = (std::fs::read(one.path().join(name)), std::fs::read(two.path().join(name)));
            assert_eq!(one.unwrap(), two.unwrap(), "{name}");
        }
    }

    #[test]
    fn types_are_stored_only_if_one_is_not_0() {
        let dir = tempfile::tempdir().unwrap();
        let mut typed = tokens();
        typed.train.push_row(TokenRow { ids: &[0, 2], types: &[0, 0], label: 0, row_id: "train:3".into() });
        assert_eq!(typed.train.types(2), [0u8; 0]);
        typed.train.push_row(TokenRow { ids: &[0, 7, 2], types: &[0, 1, 1], label: 1, row_id: "train:4".into() });
        typed.train.push(&[0, 8], 1, "train:5".into());
        let types: Vec<&[u8]> = (0..5).map(|row| typed.train.types(row)).collect();
        assert_eq!(types, [&[0, 0, 0, 0][..], &[0, 0], &[0, 0], &[0, 1, 1], &[0, 0]]);
        typed.write(dir.path()).unwrap();
        assert_eq!(Tokens::open(dir.path()).unwrap(), typed);
        let has_column = |name: &str| {
            let bytes = std::fs::read(dir.path().join(name)).unwrap();
            bytes.windows(TYPES.len()).any(|window| window == TYPES.as_bytes())
        };
        assert_eq!((has_column("train.arrow"), has_column("test.arrow")), (true, false));
    }

    #[test]
    fn sources_are_stored_only_if_there_are_several() {
        let dir = tempfile::tempdir().unwrap();
        let mut tokens = tokens();
        tokens.train.set_sources(["imdb", "tweets"].into_iter());
        tokens.test.set_sources(["imdb"].into_iter());
        assert_eq!(
            (tokens.train.source_names(), tokens.train.sources()),
            (&["imdb".into(), "tweets".into()][..], &[0, 1][..])
        );
        assert!(tokens.test.sources().is_empty());
        tokens.write(dir.path()).unwrap();
        assert_eq!(Tokens::open(dir.path()).unwrap(), tokens);
    }

    #[test]
    fn a_file_that_is_not_arrow_is_named() {
        let dir = tempfile::tempdir().unwrap();
        tokens().write(dir.path()).unwrap();
        std::fs::write(dir.path().join("train.arrow"), b"rubbish").unwrap();
        let message = format!("{:#}", Tokens::open(dir.path()).unwrap_err());
        assert!(message.contains("train.arrow"), "{message}");
    }
}
