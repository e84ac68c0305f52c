//! The files of a source: one, those of a pattern, of a folder or of a data set, each with what its place says.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::card::{self, split_of};
use super::features::{Classes, class_names, classes};
use super::glob::compiled;
use super::table::Want;
use super::unpack::shown;
use crate::text::data::declare::spec::{Column, Format, Purpose, Source, Splitting};

/// Limits for a folder: more files than the largest sets of single texts have, and deeper than people nest folders.
const MOST_FILES: usize = 2_000_000;
const DEEPEST: usize = 16;
/// The folder of texts without labels in the IMDB reviews.
const UNLABELLED: &str = "unsup";

/// A file to read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Place {
    pub path: PathBuf,
    /// For messages: without the folders that differ between machines.
    pub name: String,
    pub format: Option<Format>,
    /// The split that its place says.
    pub split: Option<String>,
    /// The label that its place says.
    pub label: Option<String>,
}

/// The files of a source.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    pub files: Vec<Place>,
    /// The names of the classes, if a description beside the files has them, by column.
    pub classes: Classes,
    pub notes: Vec<String>,
}

impl Layout {
    /// The names of the label's classes.
    pub(crate) fn names(&self, source: &Source) -> Option<Vec<String>> {
        match source.label_column() {
            Column::Name(label) => class_names(&self.classes, &label),
            Column::Number(_) => None,
        }
    }
}

/// Find the files of a source; `path` is its path on this machine.
pub(crate) fn layout(source: &Source, path: &Path, want: Want) -> Result<Layout> {
    let mut layout = if path.is_dir() {
        folder(source, path)?
    } else if !path.exists() && is_pattern(&source.path) {
        pattern(source, path)?
    } else {
        let place = Place { path: path.to_owned(), name: shown(path), format: source.format, split: None, label: None };
        Layout { files: vec![place], ..Layout::default() }
    };
    // Of texts without labels all are wanted.
    if want == Want::Rows {
        choose(source, &mut layout)?;
    }
    Ok(layout)
}

/// Whether a path stands for several files.
pub(crate) fn is_pattern(path: &Path) -> bool {
    path.to_string_lossy().contains(['*', '?', '[', '{'])
}

/// All files below a folder by their names from it, sorted; not those whose name or folder begins with a dot.
pub(crate) fn below(dir: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut open = vec![(dir.to_owned(), String::new(), 0)];
    while let Some((dir, prefix, depth)) = open.pop() {
        let entries = std::fs::read_dir(&dir).with_context(|| format!("cannot read the folder {}", dir.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("cannot read the folder {}", dir.display()))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') {
                continue;
            }
            let path = entry.path();
            if path.is_dir() {
                ensure!(depth < DEEPEST, "{} is nested too deeply", path.display());
                open.push((path, format!("{prefix}{name}/"), depth + 1));
            } else {
                found.push(format!("{prefix}{name}"));
            }
        }
        ensure!(found.len() <= MOST_FILES, "{} holds more than {MOST_FILES} files", dir.display());
    }
    found.sort();
    Ok(found)
}

/// The files that match the end of the path, where its pattern begins.
fn pattern(source: &Source, path: &Path) -> Result<Layout> {
    let parts: Vec<_> = source.path.iter().collect();
    let first = parts.iter().position(|part| is_pattern(Path::new(part))).unwrap_or(0);
    let base = path.ancestors().nth(parts.len() - first).unwrap_or(path);
    let wanted: PathBuf = parts[first..].iter().collect();
    let wanted = wanted.to_string_lossy();
    let glob = compiled(&wanted).with_context(|| format!("`{}` is not a pattern", source.path.display()))?;
    let names = if base.is_dir() { below(base)? } else { Vec::new() };
    let names: Vec<String> = names.into_iter().filter(|name| glob.is_match(name)).collect();
    if names.is_empty() {
        bail!("no file matches `{}`", source.path.display());
    }
    let mut layout = match source.format {
        Some(Format::Folders) => single_texts(base, &names)?,
        _ => plain(source, base, names.into_iter().map(|name| (name, None))),
    };
    for place in &mut layout.files {
        // A split is what the pattern leaves open, not what a folder before it happens to be called.
        if place.split.is_none() && source.split == Splitting::AsNamed {
            place.split = split_of(&place.name);
        }
    }
    if source.split != Splitting::AsNamed {
        layout.files.iter_mut().for_each(|place| place.split = None);
    }
    Ok(layout)
}

fn plain(source: &Source, base: &Path, names: impl Iterator<Item = (String, Option<String>)>) -> Layout {
    let format = source.format.filter(|format| *format != Format::Dataset);
    let place = |(name, split): (String, _)| Place { path: base.join(&name), name, format, split, label: None };
    Layout { files: names.map(place).collect(), ..Layout::default() }
}

fn folder(source: &Source, dir: &Path) -> Result<Layout> {
    let has = |name: &str| dir.join(name).is_file();
    if source.format == Some(Format::Folders) {
        return single_texts(dir, &below(dir)?);
    }
    if has("corpus.json") {
        return corpus(dir);
    }
    if has("dataset_dict.json") || has("state.json") {
        return saved(dir);
    }
    let names = below(dir)?;
    let is_text = |name: &&String| name.to_ascii_lowercase().ends_with(".txt") && name.contains('/');
    let texts = names.iter().filter(is_text).count();
    if source.format.is_none() && texts * 2 > names.len() && source.labels_file.is_none() {
        return single_texts(dir, &names);
    }
    let readme = dir.join("README.md");
    let readme = match std::fs::read(&readme) {
        Ok(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        Err(_) => None,
    };
    let chosen = card::choose(&names, readme.as_deref(), source.config.as_deref())
        .with_context(|| format!("cannot use the folder {}", source.path.display()))?;
    let mut layout = plain(source, dir, chosen.files.into_iter());
    layout.classes = chosen.classes;
    layout.notes = chosen.notes;
    Ok(layout)
}

/// A text per file, in folders that are its label: `train/pos/0_9.txt`.
fn single_texts(dir: &Path, names: &[String]) -> Result<Layout> {
    let mut layout = Layout::default();
    let (mut others, mut unlabelled) = (0, 0);
    for name in names {
        let (folders, file) = name.rsplit_once('/').unwrap_or(("", name));
        let inner = folders.rsplit('/').next().unwrap_or_default();
        // A pattern may begin in the folder that is the label.
        let label = match inner {
            "" => dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            inner => inner.to_owned(),
        };
        if !file.to_ascii_lowercase().ends_with(".txt") || Purpose::named(&label).is_some() || inner.is_empty() {
            others += 1;
            continue;
        }
        if label == UNLABELLED {
            unlabelled += 1;
            continue;
        }
        layout.files.push(Place {
            path: dir.join(name),
            name: name.clone(),
            format: Some(Format::Folders),
            split: split_of(folders),
            label: Some(label),
        });
    }
    if unlabelled > 0 {
        layout.notes.push(format!("left out {unlabelled} texts in folders called `{UNLABELLED}`: they have no label"));
    }
    if others > 0 {
        layout.notes.push(format!("left out {others} files that are not .txt files in the folder of a label"));
    }
    ensure!(!layout.files.is_empty(), "{} has no folders of .txt files that name a label", dir.display());
    Ok(layout)
}

/// A corpus that `preprocess` wrote.
fn corpus(dir: &Path) -> Result<Layout> {
    let description = json(&dir.join("corpus.json"))?;
    let names = description.get("labels").and_then(Value::as_array).cloned().unwrap_or_default();
    let names: Option<Vec<String>> = names.iter().map(|name| name.as_str().map(str::to_owned)).collect();
    let place = |split: &str| Place {
        path: dir.join(format!("{split}.parquet")),
        name: format!("{split}.parquet"),
        format: Some(Format::Parquet),
        split: Some(split.to_owned()),
        label: None,
    };
    Ok(Layout {
        files: ["train", "validation", "test"].map(place).to_vec(),
        classes: names.map(|names| ("label".to_owned(), names)).into_iter().collect(),
        notes: Vec::new(),
    })
}

/// A folder that `save_to_disk` of the `datasets` library wrote: one set, or one per split.
fn saved(dir: &Path) -> Result<Layout> {
    let mut layout = Layout::default();
    let splits: Vec<Option<String>> = if dir.join("dataset_dict.json").is_file() {
        let dict = json(&dir.join("dataset_dict.json"))?;
        let splits = dict.get("splits").and_then(Value::as_array).context("dataset_dict.json names no splits")?;
        splits.iter().filter_map(Value::as_str).map(|split| Some(split.to_owned())).collect()
    } else {
        vec![None]
    };
    for split in splits {
        let inner = split.as_ref().map_or_else(String::new, |split| format!("{split}/"));
        ensure!(is_inside(&inner), "dataset_dict.json names the split `{inner}`, which is not a folder here");
        let state = json(&dir.join(format!("{inner}state.json")))?;
        let files = state.get("_data_files").and_then(Value::as_array).context("state.json names no data files")?;
        for file in files.iter().filter_map(|file| file.get("filename")?.as_str()) {
            let name = format!("{inner}{file}");
            ensure!(is_inside(&name), "state.json names the file `{file}`, which is not in its folder");
            let path = dir.join(&name);
            layout.files.push(Place { path, name, format: Some(Format::Arrow), split: split.clone(), label: None });
        }
        if let (true, Ok(info)) =
            (layout.classes.is_empty(), std::fs::read_to_string(dir.join(format!("{inner}dataset_info.json"))))
        {
            layout.classes = classes(&info);
        }
    }
    Ok(layout)
}

/// Whether a name from a file leads nowhere but below the file's folder.
fn is_inside(name: &str) -> bool {
    !name.starts_with('/') && name.split('/').all(|part| part != "..")
}

fn json(path: &Path) -> Result<Value> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&bytes).with_context(|| format!("{} is not JSON", path.display()))
}

/// Keep the files of the splits that the source asks for.
fn choose(source: &Source, layout: &mut Layout) -> Result<()> {
    let mut splits: Vec<&str> = layout.files.iter().filter_map(|place| place.split.as_deref()).collect();
    splits.dedup();
    if splits.is_empty() || matches!(source.split, Splitting::Column(_)) {
        ensure!(
            source.split != Splitting::AsNamed,
            "{} has no splits: set `split` to what its rows are for",
            source.path.display()
        );
        return Ok(());
    }
    let named = |split: &str| format!("`{split}`");
    let listed = |splits: &[&str]| splits.iter().map(|split| named(split)).collect::<Vec<_>>().join(", ");
    let is_wanted = |split: &str| match source.split.purpose() {
        Some(purpose) => Purpose::named(split) == Some(purpose),
        None => Purpose::named(split).is_some(),
    };
    let (used, unused): (Vec<&str>, Vec<&str>) = splits.iter().partition(|split| is_wanted(split));
    if used.is_empty() {
        bail!("{} has no split for {}; its splits are {}", source.path.display(), source.split.name(), listed(&splits));
    }
    if !unused.is_empty() {
        let note = format!("its splits {} are not read by this source", listed(&unused));
        layout.notes.push(note);
    }
    layout.files.retain(|place| place.split.as_deref().is_some_and(&is_wanted));
    Ok(())
}
