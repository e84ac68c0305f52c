//! Tests of what `preprocess` says about labels: what it understands, what it warns of and what it refuses.

use std::collections::BTreeMap;

use tempfile::TempDir;

use crate::text::data::declare::spec::{Format, OnUnusable, Purpose, Source, Spec, Wanted};
use crate::text::data::preprocess;
use crate::text::data::{Corpus, Report};
use crate::watch::Silent;

/// Sources for training with these names and contents; nothing is set aside for validation.
fn project(files: &[(&str, &str)]) -> (TempDir, Spec) {
    let dir = tempfile::tempdir().unwrap();
    let source = |(name, text): &(&str, &str)| {
        std::fs::write(dir.path().join(name), text).unwrap();
        Source::new(*name, Format::Csv, Purpose::Train)
    };
    let mut spec = Spec::new(files.iter().map(source).collect());
    spec.validation = Some(0.0);
    (dir, spec)
}

fn run(files: &[(&str, &str)], change: impl FnOnce(&mut Spec)) -> anyhow::Result<Corpus> {
    let (dir, mut spec) = project(files);
    change(&mut spec);
    preprocess(&spec, 42, dir.path(), &Silent)
}

fn report(files: &[(&str, &str)]) -> (Vec<String>, Report) {
    let corpus = run(files, |_| ()).unwrap();
    (corpus.labels, corpus.report)
}

fn error(files: &[(&str, &str)], change: impl FnOnce(&mut Spec)) -> String {
    format!("{:#}", run(files, change).unwrap_err())
}

fn map(pairs: &[(&str, &str)]) -> Option<BTreeMap<String, String>> {
    Some(pairs.iter().map(|(from, to)| (from.to_string(), to.to_string())).collect())
}

fn names(names: &[&str]) -> Option<Vec<String>> {
    Some(names.iter().map(|name| name.to_string()).collect())
}

/// A CSV file with rows of these labels, no text twice.
fn rows(prefix: &str, counts: &[(&str, usize)]) -> String {
    let mut text = "text,label\n".to_owned();
    for (label, count) in counts {
        (0..*count).for_each(|row| text.push_str(&format!("{prefix} {label} {row},{label}\n")));
    }
    text
}

#[test]
fn labels_that_are_the_same_number_are_one_and_numbers_sort_as_numbers() {
    let ints = "text,label\na one,0\nb one,1\na two,0\nb two,1\n";
    let floats = "text,label\nc one,0.0\nd one,1.0\nc two,0.0\nd two,1.0\n";
    let (labels, report) = report(&[("ints.csv", ints), ("floats.csv", floats)]);
    assert_eq!(labels, ["0", "1"]);
    assert_eq!(report.splits.train.labels, [4, 4]);
    assert_eq!(
        report.warnings,
        ["labels that are the same number are one label: `0.0` became `0`, 2 rows, the first at floats.csv:2; `1.0` \
             became `1`, 2 rows, the first at floats.csv:3"]
    );
}

#[test]
fn floats_are_in_the_order_of_their_values() {
    let text: String = (0..19).map(|row| format!("word{row} shop,{}.0\n", row % 12)).collect();
    let (labels, report) = report(&[("twelve.csv", &format!("text,label\n{text}"))]);
    assert_eq!(labels, (0..12).map(|n| format!("{n}.0")).collect::<Vec<_>>());
    assert_eq!(report.warnings, [""; 0]);
}

#[test]
fn case_is_told_and_invisible_ends_are_trimmed() {
    let spelt = "text,label\ne one,Positive\nf one,Negative\ne two,positive\nf two,Negative\u{200B}\ne three,Positive\nf three,Negative\0\n";
    let (labels, report) = report(&[("spelt.csv", spelt)]);
    assert_eq!(labels, ["Negative", "Positive", "positive"]);
    assert_eq!(
        report.warnings,
        [
            "labels `positive` (1 row) and `Positive` (2 rows) differ only in upper and lower case; if they are one class, \
             write `label-map = { \"positive\" = \"Positive\" }` in the source, otherwise list all in `labels`"
        ]
    );
}

#[test]
fn a_rare_label_that_is_almost_another_is_told_and_a_declared_one_is_not() {
    let file = rows("a", &[("positive", 30), ("postive", 2), ("negative", 30)]);
    let (_, found) = report(&[("train.csv", &file)]);
    assert_eq!(found.warnings.len(), 1);
    let start = "labels `postive` (2 rows) and `positive` (30 rows) are spelt almost alike; if they are one class";
    assert!(found.warnings[0].starts_with(start), "{}", found.warnings[0]);
    let declared = run(&[("train.csv", &file)], |spec| spec.labels = names(&["negative", "postive", "positive"]));
    assert_eq!(declared.unwrap().report.warnings, [""; 0]);
}

#[test]
fn sources_without_a_common_label_are_refused_by_name() {
    let files = [
        ("imdb.csv", "text,label\na,positive\nb,negative\n"),
        ("sst2.csv", "text,label\nc,0\nd,1\n"),
        ("tweets.csv", "text,label\ne,0\nf,1\ng,2\n"),
    ];
    assert_eq!(
        error(&files, |_| ()),
        "the sources have no labels in common:\n\
         \x20 imdb: `negative`, `positive`\n\
         \x20 sst2: `0`, `1`\n\
         \x20 tweets: `0`, `1`, `2`\n\
         together they would be 5 classes; give a source `label-map = { \"0\" = \"NAME\", \"1\" = \"NAME\" }` so that equal \
         classes have equal names, or, if all are different classes, write \
         `labels = [\"0\", \"1\", \"2\", \"negative\", \"positive\"]`"
    );
    let corpus = run(&files, |spec| spec.labels = names(&["0", "1", "2", "negative", "positive"])).unwrap();
    assert_eq!(corpus.labels.len(), 5);
    let corpus = run(&files, |spec| {
        spec.sources[1].label_map = map(&[("0", "negative"), ("1", "positive")]);
        spec.sources[2].label_map = map(&[("0", "negative"), ("1", "neutral"), ("2", "positive")]);
    })
    .unwrap();
    assert_eq!(corpus.labels, ["negative", "neutral", "positive"]);
    assert_eq!(corpus.report.splits.train.labels, [3, 1, 3]);
    assert_eq!(
        corpus.report.warnings,
        [
            "label `neutral` comes from source `tweets` alone (1 row): a model can learn to tell the sources apart instead of \
             the classes; `evaluate` and `compare` show the quality for each source"
        ]
    );
}

#[test]
fn a_label_map_must_cover_the_labels_and_tells_what_it_does_not_need() {
    let file = [("train.csv", "text,label\na,0\nb,1.0\nc,2\nd,2\ne,pos\n")];
    assert_eq!(
        error(&file, |spec| spec.sources[0].label_map = map(&[("0", "neg"), ("1", "pos")])),
        "label `2` is not in the label-map: 2 rows, the first at train.csv:4\nthe label-map of train.csv names `0`, `1`"
    );
    let corpus = run(&file, |spec| {
        spec.sources[0].label_map = map(&[("0", "neg"), ("1", "pos"), ("2", "neg"), ("3", "neg")]);
    })
    .unwrap();
    assert_eq!((corpus.labels, corpus.report.splits.train.labels), (names(&["neg", "pos"]).unwrap(), vec![3, 2]));
    assert_eq!(corpus.report.warnings, ["the label-map of train.csv names `3`, which none of its rows has"]);
}

#[test]
fn declared_labels_name_ids_by_order() {
    let file = [("train.csv", "text,label\na,0\nb,1\nc,2.0\n")];
    let corpus = run(&file, |spec| spec.labels = names(&["negative", "neutral", "positive"])).unwrap();
    assert_eq!(corpus.report.splits.train.labels, [1, 1, 1]);
    assert_eq!(
        corpus.report.notes,
        ["the labels of train.csv are numbers in the order of `labels`: 0 = negative, 1 = neutral, 2.0 = positive"]
    );
    // An id beyond the labels says that they are not ids.
    let message = error(&file, |spec| spec.labels = names(&["negative", "positive"]));
    assert!(message.starts_with("label `0` is not declared: 1 row at train.csv:2"), "{message}");
}

#[test]
fn a_label_that_a_split_lacks_is_told() {
    let (dir, mut spec) = project(&[("train.csv", "text,label\na,x\nb,y\nc,z\n"), ("test.csv", "text,label\nd,x\n")]);
    spec.sources[1].split = Purpose::Test.into();
    spec.labels = names(&["x", "y", "z", "w"]);
    let corpus = preprocess(&spec, 42, dir.path(), &Silent).unwrap();
    assert_eq!(corpus.report.warnings, ["label `w` has no training rows", "labels `y`, `z`, `w` have no test rows"]);
    assert_eq!(corpus.report.label_lines(&corpus.labels), ["train  x 1  y 1  z 1  w 0", "test   x 1  y 0  z 0  w 0"]);
}

#[test]
fn labels_that_are_almost_as_many_as_the_rows_are_told() {
    let text: String = (0..60).map(|row| format!("text {row},label {}\n", row % 30)).collect();
    let (_, report) = report(&[("train.csv", &format!("text,label\n{text}"))]);
    assert_eq!(
        report.warnings,
        [
            "the 60 rows have 30 different labels, such as `label 0`, `label 1`, `label 10`; is `label` the right column?"
        ]
    );
}

#[test]
fn many_unusable_rows_are_an_error_and_few_are_one_warning_for_each_reason() {
    let good: String = (0..100).map(|row| format!("text {row},{}\n", if row % 2 == 0 { "x" } else { "y" })).collect();
    let few = format!("text,label\n{good}a,b,c\nd,e,f\ng,\n");
    let (_, found) = report(&[("train.csv", &few)]);
    assert_eq!(
        found.warnings,
        [
            "train.csv: 2 rows cannot be used: 3 fields where the header names 2; the first is train.csv:102",
            "train.csv:104: no label"
        ]
    );
    let many = format!("{few}{}", "a,b,c\n".repeat(4));
    let message = error(&[("train.csv", &many)], |_| ());
    let (start, rest) = message.split_once(" rows of ").unwrap();
    assert_eq!(start, "7 of the 107");
    assert!(
        rest.ends_with(
            "train.csv cannot be used (6.5 %):\n\
             \x20 train.csv: 6 rows cannot be used: 3 fields where the header names 2; the first is train.csv:102\n\
             \x20 train.csv:104: no label\n\
             correct the file or the source, or leave these rows out with `unusable = \"drop\"`"
        ),
        "{message}"
    );
    let dropped = run(&[("train.csv", &many)], |spec| spec.unusable = Some(OnUnusable::Drop)).unwrap();
    assert_eq!((dropped.report.dropped.unusable, dropped.report.kept), (7, 100));
    let message = error(&[("train.csv", &few)], |spec| spec.unusable = Some(OnUnusable::Error));
    assert!(message.starts_with("3 of the 103 rows of "), "{message}");
}

#[test]
fn where_keeps_the_rows_with_these_values_and_counts_the_others() {
    let text = "text,label,lang,year\na,x,en,2020\nb,y,en,2020\nc,x,de,2020\nd,y,en,2021\ne,y,de,2020.0\n";
    let kept = |only: &[(&str, &[&str])]| {
        run(&[("train.csv", text)], |spec| {
            let wanted = |values: &[&str]| Wanted(values.iter().map(|value| value.to_string()).collect());
            spec.sources[0].only = Some(only.iter().map(|(name, values)| (name.to_string(), wanted(values))).collect());
        })
    };
    let corpus = kept(&[("lang", &["en"]), ("year", &["2020"])]).unwrap();
    assert_eq!(corpus.train.iter().map(|row| row.text.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!((corpus.report.dropped.filtered, corpus.report.dropped.total()), (3, 3));
    assert_eq!(kept(&[("lang", &["en", "de"]), ("year", &["2020"])]).unwrap().train.len(), 4);
    let message = format!("{:#}", kept(&[("lang", &["fr"])]).unwrap_err());
    assert_eq!(message, "none of the 5 rows of train.csv has the values that `where` asks for");
    assert!(kept(&[("land", &["en"])]).is_err());
}
