//! Which files of a data set's repository belong to which split: what its README says, or else what their names say.

use anyhow::{Context, Result, bail, ensure};
use saphyr_parser::{Event, Parser};
use serde_json::{Map, Value};

use super::error::ReadError;
use super::features::Classes;
use super::format;
use super::glob::compiled;
use super::listed::{listed, short};
use crate::text::data::declare::spec::{Format, Purpose};

/// The longest front matter of a README that is read, and its deepest nesting.
const LONGEST: usize = 1 << 20;
const DEEPEST: usize = 32;

/// The files of a data set.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Chosen {
    /// Names in the repository, with their split if they have one.
    pub files: Vec<(String, Option<String>)>,
    /// Columns with their class names.
    pub classes: Classes,
    pub notes: Vec<String>,
}

/// Choose among the files of a repository. `config` is the configuration to use, if there are several.
pub(crate) fn choose(names: &[String], readme: Option<&str>, config: Option<&str>) -> Result<Chosen> {
    let card = readme.and_then(front_matter).map(yaml).transpose()?.unwrap_or(Value::Null);
    let configs = card.get("configs").and_then(Value::as_array).cloned().unwrap_or_default();
    let with_files: Vec<&Value> = configs.iter().filter(|config| config.get("data_files").is_some()).collect();
    let mut chosen = Chosen::default();
    let name_of = |config: &Value| config.get("config_name").and_then(Value::as_str).unwrap_or("default").to_owned();
    let all: Vec<String> = with_files.iter().map(|config| name_of(config)).collect();
    if let Some(wanted) = config.filter(|_| all.is_empty()) {
        // Without a README that says it, configurations are folders.
        let inside: Vec<String> =
            names.iter().filter(|name| name.starts_with(&format!("{wanted}/"))).cloned().collect();
        ensure!(!inside.is_empty(), "the data set has no configuration `{wanted}`");
        chosen.files = by_names(&inside, &mut chosen.notes)?;
    } else if all.is_empty() {
        chosen.files = by_names(names, &mut chosen.notes)?;
    } else {
        let is_default = |config: &&&Value| name_of(config) == "default" || is_true(config.get("default"));
        let entry = match config {
            Some(wanted) => with_files.iter().find(|config| name_of(config) == wanted),
            None if with_files.len() == 1 => with_files.first(),
            None => with_files.iter().find(is_default),
        };
        let Some(entry) = entry else {
            match config {
                Some(wanted) => bail!("the data set has no configuration `{wanted}`; it has {}", listed(&all)),
                None => return Err(ReadError::Configurations { names: all }.into()),
            }
        };
        let base = entry.get("data_dir").and_then(Value::as_str);
        for (split, pattern) in patterns(&entry["data_files"]) {
            let pattern =
                base.map_or_else(|| pattern.clone(), |base| format!("{}/{pattern}", base.trim_end_matches('/')));
            let found = matching(names, &pattern)?;
            ensure!(!found.is_empty(), "README.md names the files `{pattern}`, but there are none");
            chosen.files.extend(found.into_iter().map(|name| (name, split.clone())));
        }
    }
    ensure!(
        !chosen.files.is_empty(),
        "there is no file of a known format (.parquet, .csv, .tsv, .jsonl, .json, .txt, .arrow)"
    );
    chosen.classes = classes(&card, config);
    Ok(chosen)
}

fn is_true(value: Option<&Value>) -> bool {
    value.and_then(Value::as_str) == Some("true")
}

/// Splits and patterns of `data_files`: a pattern, a list of them, a list of splits with theirs, or a table by split.
fn patterns(files: &Value) -> Vec<(Option<String>, String)> {
    let paths = |value: &Value| -> Vec<String> {
        match value {
            Value::String(path) => vec![path.clone()],
            Value::Array(all) => all.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        }
    };
    match files {
        Value::Array(all) => all
            .iter()
            .flat_map(|entry| match entry {
                Value::Object(entry) => {
                    let split = entry.get("split").and_then(Value::as_str).map(str::to_owned);
                    let paths = entry.get("path").map(paths).unwrap_or_default();
                    paths.into_iter().map(|path| (split.clone(), path)).collect()
                }
                other => paths(other).into_iter().map(|path| (None, path)).collect::<Vec<_>>(),
            })
            .collect(),
        Value::Object(all) => all
            .iter()
            .flat_map(|(split, entry)| paths(entry).into_iter().map(move |path| (Some(split.clone()), path)))
            .collect(),
        other => paths(other).into_iter().map(|path| (None, path)).collect(),
    }
}

/// The names that a pattern matches, sorted.
fn matching(names: &[String], pattern: &str) -> Result<Vec<String>> {
    let pattern = pattern.trim_start_matches("./");
    let glob = compiled(pattern).with_context(|| format!("README.md names the files `{}`", short(pattern)))?;
    // A folder stands for all that is in it.
    let folder = format!("{}/", pattern.trim_end_matches('/'));
    let mut found: Vec<String> =
        names.iter().filter(|name| glob.is_match(name) || name.starts_with(&folder)).cloned().collect();
    found.sort();
    Ok(found)
}

/// The files of the format that most files have, each with the split that its name or its folders say.
fn by_names(names: &[String], notes: &mut Vec<String>) -> Result<Vec<(String, Option<String>)>> {
    let ending = |name: &str| -> Option<Format> {
        let file = name.rsplit('/').next().unwrap_or(name);
        let is_about = |about: &str| file.to_ascii_lowercase().starts_with(about);
        if file.starts_with('.') || is_about("readme") || is_about("license") || is_about("requirements") {
            return None;
        }
        // Settings of the libraries are no rows.
        let settings = ["dataset_infos.json", "dataset_info.json", "dataset_dict.json", "state.json", "config.json"];
        (!settings.contains(&file)).then(|| format::by_name(file).ok().flatten()).flatten()
    };
    let mut count: Vec<(Format, usize)> = Vec::new();
    for format in names.iter().filter_map(|name| ending(name)) {
        match count.iter_mut().find(|(known, _)| *known == format) {
            Some((_, files)) => *files += 1,
            None => count.push((format, 1)),
        }
    }
    // Of the formats that as many files have, the one that says most of its columns.
    let rank = |format: Format| match format {
        Format::Parquet | Format::Arrow => 2,
        Format::Lines => 0,
        _ => 1,
    };
    count.sort_by_key(|(format, files)| (*files, rank(*format)));
    let Some((format, files)) = count.last().copied() else { return Ok(Vec::new()) };
    let others: usize = count.iter().map(|(_, files)| files).sum::<usize>() - files;
    if others > 0 {
        notes.push(format!("read {files} of {} data files: those of the format that most have", files + others));
    }
    let mut found: Vec<(String, Option<String>)> =
        names.iter().filter(|name| ending(name) == Some(format)).map(|name| (name.clone(), split_of(name))).collect();
    found.sort();
    // One name that says no split stands for the training rows, as the `datasets` library has it.
    if found.iter().any(|(_, split)| split.is_some()) {
        let strange: Vec<String> =
            found.iter().filter(|(_, split)| split.is_none()).map(|(name, _)| name.clone()).collect();
        if !strange.is_empty() {
            notes.push(format!("left out {}: their names say no split", listed(&strange)));
        }
        found.retain(|(_, split)| split.is_some());
    }
    Ok(found)
}

/// The split that a file's name says, or else the nearest of its folders: `data/train-00000-of-00001.parquet`.
pub(crate) fn split_of(name: &str) -> Option<String> {
    name.rsplit('/').find_map(|part| {
        let words = part.split(|letter: char| !letter.is_ascii_alphabetic());
        let mut known = words.filter(|word| Purpose::named(word).is_some());
        known.next().map(str::to_owned)
    })
}

/// The class names of the columns in `dataset_info`.
fn classes(card: &Value, config: Option<&str>) -> Classes {
    let info = match card.get("dataset_info") {
        Some(Value::Array(all)) => {
            let is_wanted = |info: &&Value| {
                let name = info.get("config_name").and_then(Value::as_str);
                config.is_none_or(|config| name == Some(config))
            };
            all.iter().find(is_wanted).filter(|_| config.is_some() || all.len() == 1).cloned()
        }
        Some(info) => Some(info.clone()),
        None => None,
    };
    let features = info.and_then(|info| info.get("features").and_then(Value::as_array).cloned()).unwrap_or_default();
    let class = |feature: &Value| {
        let names = feature.get("dtype")?.get("class_label")?.get("names")?;
        let names: Option<Vec<String>> = match names {
            Value::Array(all) => all.iter().map(|name| name.as_str().map(str::to_owned)).collect(),
            Value::Object(all) => {
                (0..all.len()).map(|at| Some(all.get(&at.to_string())?.as_str()?.to_owned())).collect()
            }
            _ => None,
        };
        Some((feature.get("name")?.as_str()?.to_owned(), names?))
    };
    features.iter().filter_map(class).collect()
}

/// The YAML between two lines of `---` at the top of a README.
fn front_matter(readme: &str) -> Option<&str> {
    let rest = readme.trim_start_matches('\u{FEFF}').strip_prefix("---")?;
    let rest = rest.strip_prefix('\r').unwrap_or(rest).strip_prefix('\n')?;
    let end = rest.find("\n---")?;
    Some(&rest[..end + 1])
}

/// A YAML document whose values are strings, lists and tables. It may not refer to its own parts, of which a few lines
/// could make gigabytes.
fn yaml(text: &str) -> Result<Value> {
    ensure!(text.len() <= LONGEST, "the front matter of README.md is longer than {} MiB", LONGEST >> 20);
    // Lists and tables that are not closed yet, each with the key that it waits for.
    let mut open: Vec<(Value, Option<String>)> = Vec::new();
    let mut whole = Value::Null;
    for event in Parser::new_from_str(text) {
        let event = event.map_err(|error| anyhow::anyhow!("the front matter of README.md is not YAML: {error}"))?.0;
        let value = match event {
            Event::Scalar(text, ..) => Value::String(text.into_owned()),
            Event::SequenceStart(..) | Event::MappingStart(..) => {
                ensure!(open.len() < DEEPEST, "the front matter of README.md is nested too deeply");
                let empty = if matches!(event, Event::SequenceStart(..)) {
                    Value::Array(Vec::new())
                } else {
                    Value::Object(Map::new())
                };
                open.push((empty, None));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => open.pop().map_or(Value::Null, |(value, _)| value),
            Event::Alias(_) => bail!("the front matter of README.md has YAML aliases, which are not read"),
            _ => continue,
        };
        match open.last_mut() {
            None => whole = value,
            Some((Value::Array(all), _)) => all.push(value),
            Some((Value::Object(all), key)) => match (key.take(), value) {
                (Some(key), value) => drop(all.insert(key, value)),
                (None, Value::String(name)) => *key = Some(name),
                (None, _) => bail!("the front matter of README.md has a key that is not text"),
            },
            Some(_) => {}
        }
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    const README: &str = "---\nlanguage: en\nconfigs:\n- config_name: sentiment\n  data_files:\n  - split: train\n    path: sentiment/train-*\n  - split: test\n    path: sentiment/test-*\n- config_name: irony\n  data_files: irony/*.parquet\ndataset_info:\n- config_name: sentiment\n  features:\n  - name: text\n    dtype: string\n  - name: label\n    dtype:\n      class_label:\n        names:\n          '0': negative\n          '1': neutral\n- config_name: irony\n  features: []\n---\n# Data\n";

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn files(chosen: &Chosen) -> Vec<(&str, &str)> {
        chosen.files.iter().map(|(name, split)| (name.as_str(), split.as_deref().unwrap_or(""))).collect()
    }

    #[test]
    fn a_readme_says_which_files_are_a_split() {
        let all = names(&["README.md", "irony/a.parquet", "sentiment/test-0.parquet", "sentiment/train-0.parquet"]);
        let chosen = choose(&all, Some(README), Some("sentiment")).unwrap();
        assert_eq!(files(&chosen), [("sentiment/train-0.parquet", "train"), ("sentiment/test-0.parquet", "test")]);
        assert_eq!(chosen.classes, [("label".to_owned(), names(&["negative", "neutral"]))]);
        assert_eq!(files(&choose(&all, Some(README), Some("irony")).unwrap()), [("irony/a.parquet", "")]);
        let said = |config| choose(&all, Some(README), config).unwrap_err().to_string();
        assert_eq!(said(None), "the data set has the configurations `sentiment`, `irony`; choose one with `config`");
        assert_eq!(said(Some("x")), "the data set has no configuration `x`; it has `sentiment`, `irony`");
    }

    #[test]
    fn without_a_readme_names_say_it() {
        let all = names(&[
            "README.md",
            "data/train-00000-of-00002.parquet",
            "data/train-00001-of-00002.parquet",
            "data/validation-00000-of-00001.parquet",
            "extra.csv",
        ]);
        let chosen = choose(&all, None, None).unwrap();
        let splits: Vec<&str> = files(&chosen).iter().map(|(_, split)| *split).collect();
        assert_eq!(splits, ["train", "train", "validation"]);
        assert_eq!(chosen.notes, ["read 3 of 4 data files: those of the format that most have"]);
        assert_eq!(split_of("test/my_dev_file.csv").as_deref(), Some("dev"));
        assert_eq!(split_of("train/part.csv").as_deref(), Some("train"));
        assert_eq!(split_of("contest/latest.csv"), None);
    }

    #[test]
    fn yaml_that_grows_is_refused() {
        let bomb = "---\na: &a [x, x]\nb: [*a, *a]\n---\n";
        let message = choose(&names(&["a.csv"]), Some(bomb), None).unwrap_err().to_string();
        assert_eq!(message, "the front matter of README.md has YAML aliases, which are not read");
        let deep = format!("---\n{}\n---\n", "[".repeat(100_000));
        assert!(choose(&names(&["a.csv"]), Some(&deep), None).is_err());
    }
}
