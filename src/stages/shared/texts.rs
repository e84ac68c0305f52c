//! Reads the texts of `pipe predict` as `preprocess` reads its sources: the same formats, dialects and encodings.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use pipe_ml::text::data::declare::spec::{Column, Delimiter, Format, Source};
pub use pipe_ml::text::data::read::error::ReadError;
pub use pipe_ml::text::data::read::missing::{Hint, MissingColumn};
use pipe_ml::text::data::read::raw::Cut;
use pipe_ml::text::data::read::reader::{self, Want};

/// How many rows without a text a message lists.
const LISTED: usize = 3;

/// A file of texts, or several, and how to read them.
#[derive(Debug, Clone)]
pub struct File<'a> {
    pub path: &'a Path,
    /// The column with the text, by name or, if there is no header, by number.
    pub column: &'a str,
    /// The column with the second text of each row, if they are pairs.
    pub pair: Option<&'a str>,
    /// The name of a format, as in a pipeline file.
    pub format: Option<&'a str>,
    pub delimiter: Option<&'a str>,
    pub header: bool,
}

/// The texts, one for each row, and what to say about the files.
#[derive(Debug)]
pub struct Read {
    /// With the second texts, if a column of them was named.
    pub texts: Vec<(String, Option<String>)>,
    pub warnings: Vec<String>,
}

impl File<'_> {
    /// Read all texts. Fails if a row has none: the number of predictions must be that of the rows.
    pub fn read(&self) -> Result<Read> {
        let mut source = Source::at(self.path);
        source.header = self.header;
        source.format = self.format.map(format).transpose()?;
        source.delimiter =
            self.delimiter.map(|text| Delimiter::try_from(text.to_owned())).transpose().map_err(anyhow::Error::msg)?;
        let column = |name: &str| match name.parse::<usize>() {
            Ok(number) if !self.header => Column::Number(number),
            _ => name.into(),
        };
        source.text = Some(match self.column {
            "text" if source.is_covid19() => source.text_column(),
            name => column(name),
        });
        source.text_pair = self.pair.map(column);
        ensure!(
            source.text_pair != source.text,
            "--column and --pair-column are both {}; name the column of the second text",
            self.column
        );
        let table = reader::read_as(&source, &|path: &Path| -> PathBuf { path.to_owned() }, Cut::Remove, Want::Texts)?;
        if !table.unusable.is_empty() {
            let rows: u64 = table.unusable.iter().map(|row| row.rows).sum();
            let listed: Vec<String> = table
                .unusable
                .iter()
                .take(LISTED)
                .map(|row| match row.detail.as_str() {
                    "" => format!("{}: {}", row.place, row.reason),
                    detail => format!("{}: {} ({detail})", row.place, row.reason),
                })
                .collect();
            let noun = if rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") };
            bail!("nothing was predicted, because {noun} cannot be used:\n{}", listed.join("\n"));
        }
        let texts = table.rows.into_iter().map(|row| (row.text, row.pair)).collect();
        Ok(Read { texts, warnings: table.warnings })
    }
}

/// A format by its name in a pipeline file.
fn format(name: &str) -> Result<Format> {
    serde_json::from_value(serde_json::Value::String(name.to_owned())).with_context(|| {
        format!(
            "`{name}` is not a format; formats are csv, tsv, jsonl, json, lines, parquet, arrow, folders, dataset, covid19"
        )
    })
}
