//! `compare` through the binary: the tables, the gate and its exit code.

use std::fs;
use std::path::Path;

use super::project::{Project, scored, trained};

/// A model, two smaller ones, and the comparison.
fn pipeline() -> String {
    let smaller = "[stage.pruned]\nuse = \"prune@0.9\"\nin.model = \"teacher\"\n[stage.int8]\nuse = \"quantize@int8\"\nin.model = \"teacher\"\n";
    let comparison = "[stage.comparison]\nuse = \"compare\"\nin.metrics = \"scores\"\nexport = \"out\"\n";
    [&trained(2), smaller, &scored(&["teacher", "pruned", "int8"]), comparison].concat()
}

fn project(more: &str) -> Project {
    let project = Project::new();
    project.write("p.toml", &format!("{}{more}", pipeline()));
    project
}

#[test]
fn a_gate_that_is_broken_fails_the_run_with_figure_limit_and_tables() {
    let p = project("gate = { size-ratio = 0.5, accuracy-drop = 1 }\n");
    let (code, _, err) = p.pipe(&["run", "p.toml"]);
    assert_eq!(code, 1, "{err}");
    let message = &err[err.find("fail comparison").expect("a failed stage")..];
    assert!(message.contains("1 of 2 variants fails the gate, compared with `teacher`:\n"), "{message}");
    assert!(message.contains("  pruned: size-ratio 1.0000, at most 0.5\n"), "{message}");
    assert!(!message.contains("int8: "), "{message}");
    assert!(message.contains("40 rows; changes, sizes and speed-ups are against `teacher`.\n"), "{message}");
    assert_eq!(message.matches("| teacher ").count(), 2, "both tables: {message}");
    assert!(!p.path("out").exists(), "a failed stage gives nothing away");
    // A gate that passes changes nothing, and the scores are cached.
    p.write("p.toml", &format!("{}gate = {{ size-ratio = 0.5, variants = [\"int8\"] }}\n", pipeline()));
    assert_eq!(p.run(&[]), ["comparison"]);
    let text = fs::read_to_string(p.path("out/comparison.md")).unwrap();
    assert!(text.contains("| teacher ") && text.contains(" – |"), "no speed was asked for: {text}");
    let svg = fs::read_to_string(p.path("out/comparison.svg")).unwrap();
    assert!(svg.starts_with("<svg ") && svg.contains(">int8</text>"), "{svg}");
}

#[test]
fn a_comparison_has_the_memory_and_the_time_that_each_variant_took() {
    let p = project("");
    // One at a time: the memory of stages that run side by side is counted too.
    assert_eq!(p.pipe(&["run", "p.toml", "--jobs", "1"]).0, 0);
    let mut reader = csv::Reader::from_path(p.path("out/comparison.csv")).unwrap();
    let columns = reader.headers().unwrap().clone();
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let cell = |row: usize, name: &str| rows[row][columns.iter().position(|c| c == name).unwrap()].to_owned();
    let number = |row: usize, name: &str| cell(row, name).parse::<f64>().unwrap();
    assert_eq!(
        (cell(0, "variant"), cell(1, "variant"), cell(2, "variant")),
        ("teacher".into(), "pruned".into(), "int8".into())
    );
    // Scoring holds the model: it needs more memory than the weights, but less than a hundred times as much.
    assert!((1.0..100.0).contains(&(number(0, "peak_memory_bytes") / number(0, "bytes"))), "{:?}", rows[0]);
    // Each variant has the time of the stage that made it.
    assert!(number(0, "made_seconds") > number(1, "made_seconds") && number(1, "made_seconds") > 0.0);
    assert!((number(1, "sparsity") - 0.5).abs() < 0.1 && number(0, "sparsity") < 0.01, "{:?}", rows[1]);
    assert_eq!(number(2, "f32_bytes"), 4.0 * number(2, "parameters"));
    assert_eq!((cell(0, "mcnemar_p"), cell(0, "latency_p50_ms")), (String::new(), String::new()));
    assert!((0.0..=1.0).contains(&number(1, "mcnemar_p")));
    let change = number(1, "accuracy_change");
    assert!(number(1, "accuracy_change_low") <= change && change <= number(1, "accuracy_change_high"));
    assert_eq!(change, (number(1, "gained") - number(1, "lost")) / 40.0);
    // The duration is not part of the model: if it is forced to run again, nothing downstream runs.
    assert_eq!(p.run(&["--force", "teacher"]), ["teacher"]);
    p.write("p.toml", &(pipeline() + "baseline = \"int8\"\n"));
    assert_eq!(p.run(&[]), ["comparison"]);
    let folder = p.pipe(&["cache", "path", "p.toml", "scores[int8].metrics"]).1;
    assert!(Path::new(folder.trim()).join("outcomes.parquet").is_file());
}

#[test]
fn scores_of_other_rows_are_refused() {
    let p = project("");
    let two = pipeline().replace("in.metrics = \"scores\"", "in.metrics = [\"scores[teacher]\", \"others\"]")
        + "[stage.others]\nuse = \"evaluate\"\nin.model = \"teacher\"\nin.tokens = \"tokens\"\nsplit = \"validation\"\nspeed-seconds = 0\n";
    p.write("p.toml", &two);
    let (code, _, err) = p.pipe(&["run", "p.toml"]);
    assert_eq!(code, 1, "{err}");
    assert!(
        err.contains(
            "`others` was not scored on the same rows as the baseline `scores[teacher]` (one has 40 rows, the other 32), so their"
        ),
        "{err}"
    );
}

/// The pipeline with several seeds of its model.
fn repeated(times: usize, lines: &str) -> String {
    let one = pipeline().replace("learning-rate = 2e-3\n", &format!("learning-rate = 2e-3\nrepeat = {times}\n"));
    format!("{one}{lines}")
}

#[test]
fn runs_that_differ_only_in_the_seed_are_one_row() {
    let p = project("");
    p.write("p.toml", &repeated(3, "over = \"seed\"\nbaseline = \"teacher\"\n"));
    let (code, _, err) = p.pipe(&["run", "p.toml"]);
    assert_eq!(code, 0, "{err}");
    let text = fs::read_to_string(p.path("out/comparison.md")).unwrap();
    assert!(
        text.starts_with("40 rows. Each variant is one row with all its runs, which differ only in `seed`"),
        "{text}"
    );
    assert!(text.contains("3 pairs cannot go below 0.25 in the sign-flip test."), "{text}");
    let mut runs = csv::Reader::from_path(p.path("out/runs.csv")).unwrap();
    let rows: Vec<csv::StringRecord> = runs.records().map(Result::unwrap).collect();
    let of = |variant: &str, column: usize| -> Vec<String> {
        rows.iter().filter(|row| &row[0] == variant).map(|row| row[column].to_owned()).collect()
    };
    assert_eq!((of("teacher", 1), of("int8", 1).len(), rows.len()), (["7", "8", "9"].map(String::from).to_vec(), 3, 9));
    let accuracies: Vec<f64> = of("teacher", 2).iter().map(|cell| cell.parse().unwrap()).collect();
    let mut reader = csv::Reader::from_path(p.path("out/comparison.csv")).unwrap();
    let columns = reader.headers().unwrap().clone();
    let teacher = reader.records().next().unwrap().unwrap();
    let number = |name: &str| teacher[columns.iter().position(|c| c == name).unwrap()].parse::<f64>().unwrap();
    let mean = accuracies.iter().sum::<f64>() / 3.0;
    let sd = (accuracies.iter().map(|a| (a - mean) * (a - mean)).sum::<f64>() / 2.0).sqrt();
    assert!((number("accuracy_mean") - mean).abs() < 1e-12 && (number("accuracy_sd") - sd).abs() < 1e-12);
    // All parameters of the teacher were trained, and training needs more memory than scoring.
    assert_eq!(number("trained_parameters_mean"), number("parameters_mean"));
    assert!(number("made_peak_memory_bytes_mean") > number("peak_memory_bytes_mean"), "{teacher:?}");
    let metrics = p.pipe(&["metrics", "p.toml", "--stage", "comparison"]).1;
    assert!(metrics.contains("teacher.accuracy ") && metrics.contains("pruned.accuracy-change-low "), "{metrics}");
    assert!(fs::read_to_string(p.path("out/comparison.svg")).unwrap().matches("class=\"c0 soft\"").count() >= 12);

    // The written-out matrix has the same results; one seed is allowed, and told.
    let matrix =
        repeated(3, "over = \"seed\"\nbaseline = \"teacher\"\n").replace("repeat = 3", "matrix = { seed = [7, 8, 9] }");
    p.write("p.toml", &matrix);
    assert_eq!(p.run(&[]), [""; 0]);
    p.write("p.toml", &repeated(1, "over = \"seed\"\n"));
    let (code, _, err) = p.pipe(&["run", "p.toml"]);
    assert_eq!(code, 0, "{err}");
    assert!(
        err.contains("each variant has one run over `seed`, which shows no spread; `repeat = 5` gives five"),
        "{err}"
    );

    // Side by side as if they were methods.
    p.write("p.toml", &repeated(3, ""));
    let (code, _, err) = p.pipe(&["run", "p.toml"]);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("3 runs of `int8` that differ only in the seed are compared as if they were"), "{err}");
}

#[test]
fn an_axis_that_is_not_there_is_an_error_before_anything_runs() {
    let p = project("over = \"seed\"\n");
    let (code, _, err) = p.pipe(&["run", "p.toml"]);
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("error: no variant has an axis `seed`\n"), "{err}");
    assert!(err.contains("over = \"seed\"") && err.contains("write `repeat = 5` in the stages that train"), "{err}");
    assert!(!err.contains("run  corpus"), "{err}");
}
