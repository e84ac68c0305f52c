//! The documentation says what the program does: tables, defaults and transcripts are held against it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use pipe::stages::KINDS;
use pipe_engine::contract::kind::{Arity, Kind, Port};
use pipe_engine::text::diagnostic::{Place, Source};
use serde_json::{Map, Value};

fn read(below: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(below)).unwrap()
}

/// The README and the pages of `docs/`, with their texts.
fn pages() -> Vec<(String, String)> {
    let docs = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")).unwrap();
    let names = docs.map(|entry| format!("docs/{}", entry.unwrap().file_name().to_string_lossy()));
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".md")).chain(["README.md".into()]).collect();
    names.sort();
    names.into_iter().map(|name| (name.clone(), read(&name))).collect()
}

fn kind(name: &str) -> &'static Kind {
    KINDS.iter().find(|kind| kind.name == name).unwrap_or_else(|| panic!("no kind {name}"))
}

/// The parameters of a kind by name, as its JSON Schema describes them.
fn parameters(kind: &Kind) -> Map<String, Value> {
    let schema = (kind.schema)();
    schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default()
}

/// The table of a page whose header begins with these words: its lines.
fn table<'a>(page: &'a str, header: &str) -> Vec<&'a str> {
    let lines = page.lines().skip_while(|line| !line.starts_with(header));
    lines.take_while(|line| line.starts_with('|')).collect()
}

/// The cells of a row. No documented text has a `|`.
fn cells(row: &str) -> Vec<&str> {
    row.trim().trim_matches('|').split('|').map(str::trim).collect()
}

/// A value as the pages write it: numbers as short as possible, words in backticks.
fn written(value: &Value) -> String {
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(x) if x != 0.0 && x.abs() < 1e-3 => format!("{x:e}"),
            Some(x) => format!("{x}"),
            None => number.to_string(),
        },
        Value::String(word) => format!("`{word}`"),
        Value::Array(all) => format!("[{}]", all.iter().map(written).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

/// A parameter's description without the sentence about its default, and that default: of the schema, or as the
/// sentence `Default: …` says it.
fn description(property: &Value) -> (String, String) {
    let text = property["description"].as_str().unwrap_or_default();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (what, said) = match text.split_once(" Default: ") {
        Some((what, said)) => (what.to_owned(), said.trim_end_matches('.').to_owned()),
        None => (text, String::new()),
    };
    match property.get("default") {
        Some(default) if !default.is_null() => (what, written(default)),
        _ => (what, said),
    }
}

/// Fails with the whole table as it should be, ready to be copied into the page.
#[track_caller]
fn assert_table(page: &str, found: &[&str], right: &[String]) {
    assert!(found == right, "{page} should have this table:\n\n{}\n", right.join("\n"));
}

#[test]
fn the_table_of_training_parameters_is_that_of_the_struct() {
    const HEADER: &str = "| parameter | default | what it does | in the Trainer |";
    let page = read("docs/training.md");
    let found = table(&page, HEADER);
    let kinds = ["train", "lora", "distill"];
    let mut rows = BTreeMap::new();
    for (name, property) in kinds.iter().flat_map(|name| parameters(kind(name))) {
        let has = |owner: &&str| parameters(kind(owner)).contains_key(&name);
        let owners: Vec<String> = kinds.iter().filter(|owner| has(owner)).map(|owner| format!("`{owner}`")).collect();
        // The others are of one kind alone, or are another thing in each.
        if owners.len() > 1 && !["base", "head", "alpha"].contains(&name.as_str()) {
            let (what, default) = description(&property);
            let only = if owners.len() == kinds.len() { String::new() } else { format!(" ({})", owners.join(", ")) };
            rows.entry(name).or_insert(format!("{default} | {what}{only}"));
        }
    }
    assert!(rows.len() > 20, "{rows:?}");
    // The page decides the order, and what the Trainer calls it.
    let mut right = vec![HEADER.to_owned(), "| --- | --- | --- | --- |".to_owned()];
    for row in found.iter().skip(2).map(|row| cells(row)) {
        let name = row[0].trim_matches('`');
        if let Some(text) = rows.remove(name) {
            right.push(format!("| `{name}` | {text} | {} |", row[row.len() - 1]));
        }
    }
    right.extend(rows.iter().map(|(name, text)| format!("| `{name}` | {text} | none |")));
    assert_table("docs/training.md", &found, &right);
}

#[test]
fn a_file_with_the_names_of_the_trainer_is_answered() {
    let page = read("docs/training.md");
    let mut checked = 0;
    for row in table(&page, "| parameter | default | what it does | in the Trainer |").iter().skip(2) {
        let cells = cells(row);
        let theirs = cells[cells.len() - 1].split('`').skip(1).step_by(2);
        for name in theirs.filter(|name| name.contains('_') && !name.contains('.')) {
            let answers = |kind: &str| {
                let source = Source::new("x", format!("{name} = 1"));
                let table = pipe_engine::text::value::parse(&source).unwrap_or_default();
                let problems =
                    (self::kind(kind).read)(&table, kind, &Place::new(&source, 0..0)).err().unwrap_or_default();
                problems.iter().any(|problem| problem.label == "another program's name")
            };
            assert!(answers("train"), "{name}");
            checked += 1;
        }
    }
    assert!(checked > 20, "{checked}");
}

#[test]
fn the_table_of_distill_has_the_right_defaults() {
    const HEADER: &str = "| parameter | default | what it does |";
    let page = read("docs/distill.md");
    let found = table(&page, HEADER);
    let parameters = parameters(kind("distill"));
    let row = |row: &&str| match cells(row)[..] {
        [name, _, what] if name.starts_with('`') => {
            let property = parameters.get(name.trim_matches('`')).unwrap_or_else(|| panic!("no parameter {name}"));
            let default = description(property).1;
            let default = if default.is_empty() { " ".into() } else { format!(" {default} ") };
            format!("| {name} |{default}| {what} |")
        }
        _ => (*row).to_owned(),
    };
    assert_table("docs/distill.md", &found, &found.iter().map(row).collect::<Vec<_>>());
}

/// Every default that a sentence of a page names: the page, the sentence with `{}` for the default, kind and parameter.
const NAMED: [(&str, &str, &str, &str); 9] = [
    ("docs/augment.md", "the number after `augment@`; default: {}", "augment", "copies"),
    ("docs/compare.md", "baseline = \"teacher\"                  # default: {}", "compare", "baseline"),
    ("docs/models.md", "The default is {}.", "lora", "targets"),
    ("docs/onnx.md", "or \"{}\" (the default)", "convert", "precision"),
    ("docs/prune.md", "`scope` | `{}` (the default)", "prune", "scope"),
    ("docs/prune.md", "see below; default: {}", "prune", "targets"),
    ("docs/prune.md", "`calibration` | {}: maximum number of rows", "prune", "calibration"),
    ("docs/quantize.md", "inputs that share a scale; {} by default", "quantize", "group-size"),
    ("docs/quantize.md", "measure layers on {} rows of the validation split", "quantize", "calibration"),
];

/// Lines that have the word, but name no value that a parameter of a kind has by default. Some are about options of
/// commands.
const OTHER: [(&str, &str); 19] = [
    ("docs/augment.md", "the labels whose rows are copied; all by default"),
    ("docs/data.md", "By default all its rows are taken"),
    ("docs/augment.md", "classes = [\"Neutral\"]                 # default: all"),
    ("docs/data.md", "is cut as transformers does by default"),
    ("README.md", "by default one slot of `--jobs`"),
    ("docs/architecture.md", "`Device::default()`"),
    ("docs/archive.md", "--archive-mode"),
    ("docs/archive.md", "--archive-wait"),
    ("docs/compare.md", "Default: all except the baseline"),
    (
        "docs/errors.md",
        "baseline = \"teacher\"                    # default: the first; the others are compared with it",
    ),
    ("docs/data.md", "`split` is `\"train\"` (the default)"),
    ("docs/data.md", "Defaults are `text` and `label`"),
    ("docs/diff.md", "with defaults filled in"),
    ("docs/distill.md", "`evaluate`'s default `batch-size`"),
    ("docs/executors.md", "`pipe run --executor threads` (the default)"),
    ("docs/extending.md", "defaults (`#[serde(default)]`)"),
    ("docs/prune.md", "`learning-rate` has the default of `train`"),
    ("docs/statistics.md", "NumPy's default divides by n"),
    ("docs/training.md", "defaults follow the Hugging Face"),
];

#[test]
fn every_default_that_a_page_names_is_the_right_one() {
    let sentences = NAMED.map(|(page, words, owner, parameter)| {
        let property = parameters(kind(owner)).remove(parameter).unwrap_or_else(|| panic!("{owner}: {parameter}"));
        let default = description(&property).1;
        assert!(!default.is_empty(), "{owner}: {parameter} has no default");
        (page, words.replace("{}", default.trim_matches('`')))
    });
    for (page, sentence) in &sentences {
        assert!(read(page).contains(sentence), "{page} should say `{sentence}`");
    }
    let known = |page: &str, line: &str| {
        let is_header = line.starts_with("| parameter | default |");
        let named =
            sentences.iter().any(|(name, sentence)| *name == page && line.contains(sentence.trim_end_matches('.')));
        is_header || named || OTHER.iter().any(|(name, words)| *name == page && line.contains(words))
    };
    for (page, text) in pages() {
        for line in text.lines().filter(|line| line.to_lowercase().contains("default")) {
            assert!(known(&page, line), "{page}: add this default to NAMED, or the line to OTHER: {line}");
        }
    }
}

/// Defaults that a description can only say in words are those of the constants.
#[test]
fn the_descriptions_say_the_defaults_of_the_code() {
    use pipe_ml::compress::quantize::GROUP;
    use pipe_ml::train::fit::Hyperparameters;
    let said = |owner: &str, parameter: &str| description(&parameters(kind(owner))[parameter]).1;
    assert_eq!(said("quantize", "group-size"), GROUP.to_string());
    assert!(said("train", "learning-rate").starts_with(&format!("{:e}, ", Hyperparameters::LEARNING_RATE)));
}

/// `tokens, teacher?, metrics…`, as the README has what a kind takes.
fn taken(ports: &[Port]) -> String {
    let mark = |port: &Port| match port.arity {
        Arity::One => "",
        Arity::Optional => "?",
        Arity::Many => "…",
    };
    let all: Vec<String> = ports.iter().map(|port| format!("{}{}", port.name, mark(port))).collect();
    all.join(", ")
}

#[test]
fn the_readmes_table_of_kinds_is_that_of_the_program() {
    const HEADER: &str = "| kind | takes | gives | what it does |";
    let page = read("README.md");
    let found = table(&page, HEADER);
    let mut right = vec![HEADER.to_owned(), "| --- | --- | --- | --- |".to_owned()];
    for kind in KINDS {
        let named = |row: &&&str| {
            let name = cells(row)[0].trim_matches('`').split('@').next();
            name == Some(kind.name)
        };
        let row = found.iter().find(named).map(|row| cells(row)).unwrap_or_default();
        // A value after `@` if the kind has a main parameter; the example is the page's.
        let example = row.first().and_then(|name| name.trim_matches('`').split_once('@')).map(|(_, value)| value);
        let name = match (kind.main, example) {
            (Some(_), example) => format!("{}@{}", kind.name, example.unwrap_or("VALUE")),
            (None, _) => kind.name.to_owned(),
        };
        let takes = if kind.inputs.is_empty() { " ".into() } else { format!(" {} ", taken(kind.inputs)) };
        let gives: Vec<&str> = kind.outputs.iter().map(|port| port.ty.0).collect();
        let what = row.get(3).copied().unwrap_or("WHAT IT DOES");
        right.push(format!("| `{name}` |{takes}| {} | {what} |", gives.join(", ")));
    }
    assert_table("README.md", &found, &right);
}

#[test]
fn one_run_has_one_time() {
    let results = read("docs/results.md");
    let (_, rest) = results.split_once("pipe run pipelines/roberta_full.toml --jobs 1").unwrap();
    let time = rest.lines().next().unwrap().trim().trim_start_matches('#').trim();
    let measured = read("benches/RESULTS.md");
    let row = measured.lines().find(|line| line.starts_with("| first run of `roberta_full.toml`")).unwrap();
    assert_eq!(cells(row)[1], time, "benches/RESULTS.md and docs/results.md");
    // Transcripts leave out how long a run took.
    for (page, text) in pages() {
        for line in text.lines().filter(|line| line.starts_with("done: 0 cached, 13 run in")) {
            assert!(line.ends_with(" in …"), "{page}: {line}");
        }
    }
}
