//! What users see of the labels: after `preprocess`, in `show`, as errors before and after the first stage; and `init`.

use std::fs;
use std::path::Path;

use crate::project::Project;

const CORPUS: &str = r#"
[stage.corpus]
use = "preprocess"
sources = [{ path = "train.csv", format = "csv" }, { path = "more.csv", format = "csv" }]
validation = 0
"#;

fn project(train: &str, more: &str) -> Project {
    let p = Project::new();
    p.write("p.toml", CORPUS);
    p.write("train.csv", train);
    p.write("more.csv", more);
    p
}

/// The lines of a run about the corpus, without its first word's column.
fn said(p: &Project) -> (i32, Vec<String>) {
    let (code, _, err) = p.pipe(&["run", "p.toml"]);
    let about = |line: &str| ["note ", "warn ", "fail "].iter().any(|word| line.starts_with(word));
    (code, err.lines().filter(|line| about(line) || line.starts_with("   ")).map(str::to_owned).collect())
}

#[test]
fn labels_are_shown_after_the_stage_and_by_show() {
    let train: String = (0..1500).map(|n| format!("a {n},{}\n", ["down", "up"][n % 2])).collect();
    let p = project(&format!("text,label\n{train}"), "text,label\nb 1,up\nb 2,sideways\n");
    let (code, lines) = said(&p);
    assert_eq!(code, 0);
    let warning = "label `sideways` comes from source `more` alone (1 row): a model can learn to tell the sources apart instead \
                   of the classes; `evaluate` and `compare` show the quality for each source";
    let other = "the sources have different labels: `more` lacks `down`";
    assert!(lines.contains(&"note corpus  1,502 rows: 1,502 train, 0 validation, 0 test".to_owned()), "{lines:#?}");
    let labels = "train  down 750  sideways 1  up 751";
    assert!(lines.contains(&format!("note corpus  labels  {labels}")), "{lines:#?}");
    assert!(lines.contains(&format!("warn corpus  {warning}")), "{lines:#?}");
    let (_, shown, _) = p.pipe(&["show", "p.toml", "corpus"]);
    assert!(shown.contains(&format!("\n  labels  {labels}\n")), "{shown}");
    assert!(shown.contains(&format!("\n  warning: {warning}\n")), "{shown}");
    assert!(!shown.contains(other) && !lines.concat().contains(other), "{shown}");
    let (_, events, _) = p.pipe(&["run", "p.toml", "--json", "--force", "corpus"]);
    assert!(events.contains(&format!("\"text\":\"labels  {labels}\"")), "{events}");
}

#[test]
fn sources_that_do_not_belong_together_fail_the_stage() {
    let p = project("text,label\na,positive\nb,negative\n", "text,label\nc,0\nd,1\n");
    let (code, lines) = said(&p);
    assert_eq!(code, 1);
    let text = lines.join("\n");
    assert!(text.contains("the sources have no labels in common:"), "{text}");
    assert!(text.contains("train: `negative`, `positive`") && text.contains("more: `0`, `1`"), "{text}");
}

#[test]
fn what_a_file_contradicts_itself_in_is_told_before_anything_runs() {
    let p = Project::new();
    p.write("p.toml", &CORPUS.replace("format = \"csv\" }]", "format = \"csv\", label = \"text\" }]"));
    p.write("more.csv", "text,label\n");
    let (code, _, err) = p.pipe(&["plan", "p.toml"]);
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("more.csv: text and label are both column `text`"), "{err}");
    assert!(err.contains("p.toml:4:"), "{err}");
}

#[test]
fn init_looks_at_a_file_and_never_writes_over_a_pipeline() {
    let p = Project::new();
    let (code, out, err) = p.pipe(&["init", "mine.toml", "train.csv", "test.tsv"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.starts_with("train.csv: 160 rows for train, text `text`, label `label`\n"), "{out}");
    assert!(out.contains("test.tsv: 40 rows for test, text `words`, label `class`\n"), "{out}");
    assert!(out.contains("labels  train  cross 80  happy 80\n"), "{out}");
    let (code, _, err) = p.pipe(&["run", "mine.toml", "corpus"]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(p.pipe(&["init", "mine.toml", "train.csv"]).0, 2);
    let (code, _, err) = p.pipe(&["init", "other.toml", "none.csv"]);
    assert!(code == 1 && err.contains("no such file: none.csv"), "{err}");
    assert!(!p.path("other.toml").exists());
}

/// What `init` says and writes about a file; the pipeline must plan, and its corpus must be made.
fn initialised(p: &Project, name: &str, data: &[&str]) -> (String, String) {
    let file = format!("{name}.toml");
    let (code, out, err) = p.pipe(&[&["init", &file], data].concat());
    assert_eq!(code, 0, "{name}: {err}");
    let text = fs::read_to_string(p.path(&file)).unwrap();
    for words in
        [&["plan", &file, "corpus"][..], &["plan", &file, "corpus", "--profile", "quick"], &["run", &file, "corpus"]]
    {
        let (code, _, err) = p.pipe(words);
        assert_eq!(code, 0, "{name} {words:?}: {err}\n{text}");
    }
    let sources = text.lines().find(|line| line.starts_with("  { path")).unwrap().trim().to_owned();
    (out, sources)
}

#[test]
fn init_sees_splits_and_columns_of_every_format() {
    let p = Project::new();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/data");
    let absolute = |name: &str| fixtures.join(name).display().to_string();
    for name in ["pandas.zstd.parquet", "pandas.feather"] {
        fs::copy(fixtures.join(name), p.path(name)).unwrap();
        let (_, source) = initialised(&p, name, &[name]);
        assert_eq!(source, format!("{{ path = \"{name}\" }},"));
    }
    for name in ["repository", "saved"] {
        let (out, source) = initialised(&p, name, &[&absolute(name)]);
        assert_eq!(source, format!("{{ path = \"{}\", split = \"as-named\" }},", absolute(name)));
        assert!(out.contains(" rows for the splits that they are in, text `text`, label `label`\n"), "{out}");
        // The names of the schema, not the numbers of the rows.
        assert!(out.contains("negative") && !out.contains("  0 "), "{out}");
    }
    let rows: Vec<String> =
        (0..60).map(|n| format!("{{\"data\": {{\"text\": \"some words {n}\"}}, \"label\": {}}}", n % 2)).collect();
    p.write("array.json", &format!("[{}]", rows.join(",\n")));
    let (_, source) = initialised(&p, "array", &["array.json"]);
    assert_eq!(source, "{ path = \"array.json\", text = \"data.text\" },");
    let split = |n: usize| ["train", "train", "train", "test"][n % 4];
    let rows: String = (0..60).map(|n| format!("\"words {n}\",{},{}\n", n % 2, split(n / 2))).collect();
    p.write("splits.csv", &format!("review,sentiment,split\n{rows}"));
    let (out, source) = initialised(&p, "splits", &["splits.csv"]);
    assert_eq!(
        source,
        "{ path = \"splits.csv\", text = \"review\", label = \"sentiment\", split = { column = \"split\" } },"
    );
    assert!(
        out.starts_with("splits.csv: 60 rows for what column `split` says, text `review`, label `sentiment`\n"),
        "{out}"
    );
    assert!(fs::read_to_string(p.path("splits.toml")).unwrap().contains("validation = 0.1 # of the training rows\n"));
    p.write("a_text.txt", &(0..30).map(|n| format!("words {n}\n")).collect::<String>());
    p.write("a_labels.txt", &(0..30).map(|n| format!("{}\n", n % 2)).collect::<String>());
    p.write("mapping.txt", "0\tdown\n1\tup\n");
    let (out, source) = initialised(&p, "lines", &["a_text.txt"]);
    assert_eq!(source, "{ path = \"a_text.txt\", labels-file = \"a_labels.txt\", mapping = \"mapping.txt\" },");
    assert!(
        out.contains("30 rows for train, one text per line, labels in a_labels.txt\nlabels  train  down 15  up 15\n"),
        "{out}"
    );
}

#[test]
fn the_sample_of_init_runs_without_a_network() {
    let p = Project::new();
    let (code, _, err) = p.pipe(&["init", "--sample", "sample.toml"]);
    assert_eq!(code, 0, "{err}");
    // Written twice, the same files are no mistake.
    assert_eq!(p.pipe(&["init", "--sample", "again.toml"]).0, 0);
    let (code, _, err) = p.pipe(&["run", "sample.toml", "tokens"]);
    assert_eq!(code, 0, "{err}");
    assert!(Path::new(&p.path("data/sample/test.csv")).exists());
}
