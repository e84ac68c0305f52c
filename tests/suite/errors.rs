//! `errors` through the binary: its tables counted once more, its messages, and pictures of training and comparison.

use std::collections::HashMap;
use std::fs;

use super::project::{Project, scored, trained};

/// Two models, scored on the test rows, and their errors.
fn pipeline(more: &str) -> String {
    let int8 = "[stage.int8]\nuse = \"quantize@int8\"\nin.model = \"teacher\"\n";
    let wrong = "[stage.wrong]\nuse = \"errors\"\nin.predictions = \"scores.predictions\"\nin.corpus = \"corpus\"\nexport = \"out\"\n";
    [&trained(2), int8, &scored(&["teacher", "int8"]), wrong, more].concat()
}

fn project(more: &str) -> Project {
    let project = Project::new();
    project.write("p.toml", &pipeline(more));
    project
}

/// The lines of a table, each by column.
fn table(p: &Project, file: &str) -> Vec<HashMap<String, String>> {
    let mut reader = csv::Reader::from_path(p.path(file)).unwrap();
    reader.deserialize().map(Result::unwrap).collect()
}

#[test]
fn errors_are_counted_and_exported() {
    let p = project("");
    let err = p.run_file("p.toml");
    let metrics: serde_json::Value = p.metrics("scores[teacher]");
    let accuracy = metrics["accuracy"].as_f64().unwrap();
    // Count once more: the texts are those of the file, the labels alternate, and the models' metrics say how many are right.
    let wrong = table(&p, "out/errors.csv");
    assert_eq!(wrong.len() as f64, (40.0 * (1.0 - accuracy)).round());
    assert!(err.contains(&format!("{} of 40 rows are wrong", wrong.len())) && err.contains("rows: 40 test"), "{err}");
    for row in &wrong {
        let number: usize = row["text"].rsplit(' ').next().unwrap().parse().unwrap();
        assert_eq!(row["label"], if number.is_multiple_of(2) { "happy" } else { "cross" });
        assert_ne!(row["label"], row["predicted"]);
        assert_eq!(row["words"], row["text"].split(' ').count().to_string());
    }
    let sure: Vec<f64> = wrong.iter().map(|row| row["confidence"].parse().unwrap()).collect();
    assert!(sure.is_sorted_by(|a, b| a >= b), "{sure:?}");
    let slices = table(&p, "out/slices.csv");
    assert_eq!((slices[0]["slice"].as_str(), slices[0]["rows"].as_str()), ("all rows", "40"));
    let lengths = slices.iter().filter(|slice| slice["by"] == "length");
    assert!([0, 40].contains(&lengths.map(|slice| slice["rows"].parse::<usize>().unwrap()).sum::<usize>()));
    assert!(
        err.contains("6 slices have no rows: with url, with mention, with hashtag, with emoji, with negation, "),
        "{err}"
    );
    let confusion = table(&p, "out/confusion.csv");
    let off: usize = confusion
        .iter()
        .filter(|row| row["label"] != row["predicted"])
        .map(|row| row["rows"].parse::<usize>().unwrap())
        .sum();
    assert_eq!(off, wrong.len());
    // What differs between the two models is what `compare` would count.
    let theirs = p.metrics("scores[int8]")["accuracy"].as_f64().unwrap();
    let differ = table(&p, "out/disagreements.csv");
    let count = |outcome: &str| differ.iter().filter(|row| row["outcome"] == outcome).count() as f64;
    assert!((count("gained") - count("lost") - 40.0 * (theirs - accuracy)).abs() < 1e-9);
    for file in
        ["errors.parquet", "errors.md", "errors.json", "slices.svg", "confident.svg", "suspects.svg", "suspects.csv"]
    {
        assert!(p.path("out").join(file).is_file(), "{file}");
    }
    let facts = p.pipe(&["metrics", "p.toml", "--stage", "wrong"]).1;
    assert!(facts.contains("errors ") && facts.contains("suspected-labels "), "{facts}");
    // A hit: nothing runs again.
    assert_eq!(p.run(&[]), [""; 0]);
}

#[test]
fn another_corpus_is_found_before_anything_runs() {
    let other = "[stage.other]\nuse = \"preprocess\"\nsources = [{ path = \"more.csv\", format = \"csv\" }]\n";
    let p = Project::new();
    p.write("more.csv", &Project::csv(30));
    p.write("p.toml", &pipeline(other).replace("in.corpus = \"corpus\"\nexport", "in.corpus = \"other\"\nexport"));
    let (code, _, err) = p.pipe(&["run", "p.toml"]);
    assert_eq!(code, 2, "{err}");
    assert!(
        err.contains(
            "stage `wrong` gets the corpus of stage `other`, but the predictions of stage `scores[teacher]` are of rows of `corpus`"
        ),
        "{err}"
    );
    assert!(err.contains("write `in.corpus = \"corpus\"`"), "{err}");
    assert!(!err.contains("done corpus"), "{err}");
}

#[test]
fn training_rows_are_warned_of() {
    let p = project("");
    let text = pipeline("").replace("speed-seconds = 0\n", "speed-seconds = 0\nsplit = \"train\"\n");
    p.write("p.toml", &text);
    let err = p.run_file("p.toml");
    assert!(err.contains("128 of 128 rows are training rows: a model that was trained on their labels"), "{err}");
}

#[test]
fn scores_and_comparisons_have_curves_and_confusions() {
    let p = project("[stage.comparison]\nuse = \"compare\"\nin.metrics = \"scores\"\nexport = \"compared\"\n");
    p.run(&[]);
    let dir =
        p.folders("p.toml", "scores[teacher]").into_iter().find(|dir| dir.join("metrics.json").is_file()).unwrap();
    let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap();
    // Two epochs of training, with an evaluation at the end of each.
    let curve = read("curve.csv");
    let evaluated = curve.lines().skip(1).filter(|line| !line.contains(",,")).count();
    assert_eq!(evaluated, 2, "{curve}");
    assert_eq!(curve.matches(",true").count(), 1, "{curve}");
    assert!(read("curve.svg").contains(">validation</text>"));
    assert!(read("confusion.svg").contains("happy predicted as cross: "));
    // An int8 model keeps the curve of the one it was made from, and a comparison draws it once.
    let int8 = p.folders("p.toml", "scores[int8]").into_iter().find(|dir| dir.join("metrics.json").is_file()).unwrap();
    assert_eq!(fs::read_to_string(int8.join("curve.csv")).unwrap(), curve);
    assert!(int8.join("confusion.csv").is_file());
    let curves = fs::read_to_string(p.path("compared/curves.csv")).unwrap();
    assert_eq!(curves.lines().count(), curve.lines().count(), "{curves}");
    let files =
        ["quality.svg", "labels.svg", "labels.csv", "confusion.svg", "confusion.csv", "curves.svg", "curves.csv"];
    for file in files {
        assert!(p.path("compared").join(file).is_file(), "{file}");
    }
    let plot = fs::read_to_string(p.path("compared/comparison.svg")).unwrap();
    assert!(plot.contains(">Size and accuracy</text>") && !plot.contains("latency"), "no latency was measured: {plot}");
}
