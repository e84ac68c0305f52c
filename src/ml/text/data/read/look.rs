//! Looks at data without a description: finds its format, its splits, and which columns are text and label.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::columns::{self, Columns};
use super::error::ReadError;
use super::format;
use super::layout::{Layout, Place, layout};
use super::table::Want;
use super::unpack::shown;
use crate::text::data::declare::spec::{Column, Format, Purpose, Source, Splitting};

/// What a file of texts is called, and what that of its labels is called beside it: `train_text.txt`, `train_labels.txt`.
const BESIDE: [(&str, &str); 4] = [("text", "labels"), ("text", "label"), ("texts", "labels"), ("sentences", "labels")];
/// The file with the names of labels that are numbers.
const MAPPING: &str = "mapping.txt";

/// What was found.
#[derive(Debug)]
pub struct Looked {
    pub source: Source,
    /// What was chosen where the data leaves a choice, one sentence each.
    pub notes: Vec<String>,
}

/// A source for a file, a folder, a data set or a pattern, with the columns that look like text and label.
pub fn look(path: &Path) -> Result<Looked> {
    let mut source = Source { split: Splitting::AsNamed, ..Source::at(path) };
    let mut notes = Vec::new();
    let found = match layout(&source, path, Want::Texts) {
        Err(error) => match error.downcast_ref::<ReadError>() {
            Some(several @ ReadError::Configurations { names }) => {
                source.config = names.first().cloned();
                notes.push(format!("{several}; the first is used"));
                layout(&source, path, Want::Texts)?
            }
            _ => return Err(error),
        },
        found => found?,
    };
    let of = |place: &Place| place.split.as_deref().and_then(Purpose::named);
    if !found.files.iter().any(|place| of(place).is_some()) {
        source.split = Splitting::Train;
    }
    let training = found.files.iter().find(|place| of(place) == Some(Purpose::Train));
    let Some(place) = training.or(found.files.first()) else { bail!("{} holds no files", path.display()) };
    if place.label.is_some() {
        // The folders of single texts say their labels.
        source.format = Some(Format::Folders);
    } else {
        fill(&mut source, place, &found).with_context(|| match found.files.len() {
            1 => format!("cannot use {}", path.display()),
            _ => format!("cannot use {} of {}", place.name, path.display()),
        })?;
    }
    Ok(Looked { source, notes })
}

/// Describe the columns that a file of the source has.
fn fill(source: &mut Source, place: &Place, found: &Layout) -> Result<()> {
    let Some(columns) = columns::columns(place)? else { return labels_beside(source, place) };
    let has = |name: &str| columns.names().contains(&name);
    let is_csv = matches!(format::by_name(&place.name), Ok(Some(Format::Csv))) && columns.delimiter.is_none();
    if is_csv && place.path == source.path && has("OriginalTweet") && has("Sentiment") {
        source.format = Some(Format::Covid19);
        return Ok(());
    }
    let chosen = columns.choose(&found.classes)?;
    let Columns { format, delimiter, header, all, .. } = columns;
    (source.format, source.delimiter, source.header) = (format, delimiter, header);
    let column = |at: usize| match header {
        true => Column::Name(all[at].name.clone()),
        false => Column::Number(at + 1),
    };
    let (text, label) = (column(chosen.text), column(chosen.label));
    source.text_pair = chosen.pair.map(column);
    source.text = Some(text).filter(|text| *text != source.text_column());
    source.label = Some(label).filter(|label| *label != source.label_column());
    if let (Splitting::Train, Some(split)) = (&source.split, chosen.split) {
        source.split = Splitting::Column(column(split));
    }
    Ok(())
}

/// Find the labels of a file with one text per line beside it.
fn labels_beside(source: &mut Source, place: &Place) -> Result<()> {
    let name = shown(&place.path);
    let (stem, ending) = name.split_once('.').unwrap_or((&name, ""));
    let beside = |(text, labels): &(&str, &str)| -> Option<PathBuf> {
        let stem = stem.strip_suffix(text)?;
        Some(place.path.with_file_name(format!("{stem}{labels}.{ending}"))).filter(|path| path.is_file())
    };
    let Some(labels) = BESIDE.iter().find_map(beside) else {
        bail!(
            "it has one text per line, and there is no file of its labels beside it: such a pair is called \
             `train_text.txt` and `train_labels.txt`"
        )
    };
    if source.path != place.path {
        bail!("it has one text per line: name the files themselves, such as {}", place.path.display());
    }
    source.labels_file = Some(labels);
    source.mapping = Some(place.path.with_file_name(MAPPING)).filter(|path| path.is_file());
    Ok(())
}

#[cfg(test)]
#[path = "look_tests.rs"]
mod tests;
