//! Pairs of texts through every kind: premise and hypothesis, question and answer.

use std::fs;

use pipe_ml::text::data::{Corpus, Tokens};
use serde_json::Value;

use super::families::{BERT, DISTILBERT, base};
use super::project::Project;

const ROWS: &str = r#"
name = "pairs"
seed = 7
[stage.corpus]
use = "preprocess"
sources = [
  { path = "pairs.csv", text = "premise", text-pair = "hypothesis" },
  { path = "held.jsonl", text = "a.first", text-pair = "a.second", split = "test" },
]
validation = 0.2
[stage.tokens]
use = "tokenize@24"
in.corpus = "corpus"
tokenizer = "tiny"
"#;

const STAGES: &str = r#"
[stage.teacher]
use = "train"
in.tokens = "tokens"
base = "tiny"
epochs = 1
learning-rate = 2e-3
[stage.adapted]
use = "lora@4"
in.tokens = "tokens"
base = "tiny"
epochs = 1
[stage.pruned]
use = "prune"
in.model = "teacher"
in.tokens = "tokens"
sparsity = 0.5
structure = ["ffn"]
recover-epochs = 1
[stage.int8]
use = "quantize@int8"
in.model = "teacher"
in.tokens = "tokens"
[stage.student]
use = "distill"
in.teacher = "teacher"
in.tokens = "tokens"
epochs = 1
hidden = { loss = "mse" }
[stage.served]
use = "convert@onnx"
in.model = "teacher"
[stage.scores]
use = "evaluate"
in.model = ["teacher", "adapted", "pruned", "int8", "student"]
in.tokens = "tokens"
speed-seconds = 0
"#;

fn row(i: usize) -> (String, String, &'static str) {
    let things = ["store", "queue", "bread", "driver", "price", "mask", "market"];
    let (one, other) = (things[i % 7], things[i * 3 % 5]);
    (format!("the {one} was good on day {i}"), format!("a {other} was there"), ["no", "yes"][i % 2])
}

/// A project with pairs for training and for the test, and a small BERT.
fn project() -> Project {
    let p = Project::new();
    base(&p, BERT, "bert");
    let train: String = (0..120).map(row).map(|(a, b, label)| format!("{a},{b},{label}\n")).collect();
    p.write("pairs.csv", &format!("premise,hypothesis,label\n{train}"));
    let test: String = (500..520)
        .map(row)
        .map(|(a, b, label)| {
            format!("{{\"a\": {{\"first\": \"{a}\", \"second\": \"{b}\"}}, \"label\": \"{label}\"}}\n")
        })
        .collect();
    p.write("held.jsonl", &test);
    p.write("p.toml", &format!("{ROWS}{STAGES}"));
    p
}

fn predicted(p: &Project, words: &[&str]) -> Vec<Value> {
    let (code, out, err) = p.pipe(&[&["predict"], words].concat());
    assert_eq!(code, 0, "{err}");
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn pairs_go_through_every_kind() {
    let p = project();
    p.run(&[]);
    assert_eq!(p.run(&[]), [""; 0]);
    let corpus = Corpus::open(&p.folder("p.toml", "corpus")).unwrap();
    assert_eq!(corpus.test[0].text, "the driver was good on day 500");
    assert_eq!(corpus.test[0].pair.as_deref(), Some("a store was there"));
    let tokens = Tokens::open(&p.folder("p.toml", "tokens")).unwrap();
    assert_eq!((tokens.train.highest_type(), tokens.test.types(0)[0]), (1, 0));
    // Classes of transformers that take a tokenizer.json as it is give token types only if they are asked to.
    let config = fs::read_to_string(p.folder("p.toml", "teacher").join("tokenizer_config.json")).unwrap();
    assert!(config.contains("\"token_type_ids\""), "{config}");
    // What a model read travels with it, and so does how to give it pairs.
    for stage in ["teacher", "adapted.model", "pruned", "int8", "student", "served"] {
        let dir = p.folder("p.toml", stage);
        let said = fs::read_to_string(dir.join("preprocessing.json")).unwrap();
        assert!(said.contains("\"pairs\": true"), "{stage}: {said}");
        assert!(fs::read_to_string(dir.join("README.md")).unwrap().contains("gives a pair of texts one of 2 labels"));
    }
    let card = fs::read_to_string(p.folder("p.toml", "served").join("README.md")).unwrap();
    assert!(card.contains("`input_ids`, `attention_mask` and `token_type_ids`"), "{card}");

    // The order of the two texts counts, and a file gives what arguments give.
    let (a, b) = ("the driver was good on day 500", "a store was there");
    let [one] = &predicted(&p, &["p.toml:teacher", "--text", a, "--pair", b])[..] else { panic!("one prediction") };
    assert_eq!((&one["text"], &one["text_pair"]), (&a.into(), &b.into()));
    let swapped = &predicted(&p, &["p.toml:teacher", "--text", b, "--pair", a])[0];
    assert_ne!(one["logits"], swapped["logits"]);
    let columns = ["--column", "a.first", "--pair-column", "a.second"];
    let words = [&["p.toml:teacher", "--input", "held.jsonl"], &columns[..]].concat();
    let file = predicted(&p, &words);
    let logits = |row: &Value| -> Vec<f64> {
        row["logits"].as_array().unwrap().iter().map(|logit| logit.as_f64().unwrap()).collect()
    };
    assert_eq!(file.len(), 20);
    // Batches of other sizes round differently.
    assert!(logits(&file[0]).iter().zip(logits(one)).all(|(x, y)| (x - y).abs() < 1e-6), "{file:?}");
    let (code, out, _) = p.pipe(&[&["predict", "--format", "csv"], &words[..]].concat());
    assert_eq!(code, 0);
    assert!(out.starts_with("text,text_pair,label,score:no,score:yes,"), "{out}");
    assert!(out.contains(&format!("\n{a},{b},")), "{out}");
}

#[test]
fn models_of_pairs_and_of_single_texts_are_not_mixed_up() {
    let p = project();
    p.run(&["teacher"]);
    let single = r#"
[stage.rows]
use = "preprocess"
sources = [{ path = "pairs.csv", text = "premise" }]
[stage.single]
use = "tokenize@24"
in.corpus = "rows"
tokenizer = "tiny"
[stage.alone]
use = "train"
in.tokens = "single"
base = "tiny"
epochs = 1
[stage.wrong]
use = "evaluate"
in.model = "teacher"
in.tokens = "single"
split = "validation"
[stage.other]
use = "evaluate"
in.model = "alone"
in.tokens = "tokens"
[stage.copied]
use = "distill"
in.teacher = "teacher"
in.tokens = "single"
[stage.small]
use = "quantize@int8"
in.model = "teacher"
in.tokens = "single"
"#;
    p.write("p.toml", &format!("{ROWS}{STAGES}{single}"));
    let pairs =
        " was trained on pairs of texts, but the tokens are of single texts; name the second text with `text-pair`";
    assert!(p.failure("wrong").contains(&format!("the model{pairs}")));
    assert!(p.failure("small").contains(&format!("the model{pairs}")));
    assert!(p.failure("copied").contains(&format!("the teacher{pairs}")));
    assert!(
        p.failure("other").contains("the model was trained on single texts, but the tokens are of pairs; leave out")
    );

    let refused = |words: &[&str]| {
        let (code, out, err) = p.pipe(&[&["predict"], words].concat());
        assert!(code > 0 && out.is_empty(), "{code} {out}");
        err
    };
    assert_eq!(
        refused(&["p.toml:teacher", "--text", "a"]),
        "error: the model was trained on pairs of texts, but it is given single texts\nhelp: give the second text with \
         --pair, or its column with --pair-column\n"
    );
    assert_eq!(
        refused(&["p.toml:alone", "--text", "a", "--pair", "b"]),
        "error: the model was trained on single texts, but it is given pairs\nhelp: leave out --pair and --pair-column\n"
    );
    assert_eq!(
        refused(&["p.toml:teacher", "--text", "a", "--text", "b", "--pair", "c"]),
        "error: --text is given 2 times and --pair 1 times\nhelp: write one --pair for each --text, in the same order\n"
    );
    let both = ["--column", "premise", "--pair-column", "premise"];
    let words = [&["p.toml:teacher", "--input", "pairs.csv"], &both[..]].concat();
    assert!(
        refused(&words).contains("--column and --pair-column are both premise; name the column of the second text")
    );
    // A model that does not say what it read takes both.
    let dir = p.folder("p.toml", "teacher");
    fs::create_dir(p.path("mine")).unwrap();
    for file in fs::read_dir(dir).unwrap().map(|file| file.unwrap().path()) {
        if !file.ends_with("preprocessing.json") {
            fs::write(p.path("mine").join(file.file_name().unwrap()), fs::read(&file).unwrap()).unwrap();
        }
    }
    assert_eq!(predicted(&p, &["mine", "--text", "a", "--pair", "b"]).len(), 1);
    assert_eq!(predicted(&p, &["mine", "--text", "a"]).len(), 1);
}

#[test]
fn families_without_token_types_read_pairs_too() {
    let p = project();
    let roberta = "use = \"tokenize@24\"\nin.corpus = \"corpus\"\nlearn = 300\n";
    base(&p, DISTILBERT, "bert");
    p.run(&["teacher", "served"]);
    assert!(
        !fs::read(p.folder("p.toml", "served").join("model.onnx")).unwrap().windows(14).any(|w| w == b"token_type_ids")
    );
    let tokenize = "use = \"tokenize@24\"\nin.corpus = \"corpus\"\ntokenizer = \"tiny\"\n";
    p.write(
        "p.toml",
        &format!("{}{STAGES}", ROWS.replace(tokenize, roberta)).replace("base = \"tiny\"", "base = \"own\""),
    );
    let config = r#"{"model_type": "roberta", "vocab_size": 300, "hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 48, "max_position_embeddings": 40, "type_vocab_size": 1, "pad_token_id": 1}"#;
    fs::create_dir(p.path("own")).unwrap();
    p.write("own/config.json", config);
    p.run(&["teacher"]);
    let tokens = Tokens::open(&p.folder("p.toml", "tokens")).unwrap();
    assert_eq!(tokens.train.highest_type(), 0);
    assert!(predicted(&p, &["p.toml:teacher", "--text", "a store", "--pair", "a queue"])[0]["label"].is_string());
    // A model with one token type cannot read tokens with two.
    let p = project();
    fs::create_dir(p.path("narrow")).unwrap();
    p.write("narrow/config.json", &BERT.replace("\"hidden_size\"", "\"type_vocab_size\": 1, \"hidden_size\""));
    p.write("p.toml", &format!("{ROWS}{STAGES}").replace("base = \"tiny\"", "base = \"narrow\""));
    assert!(p.failure("teacher").contains(
        "the rows are pairs of texts with token types 0 to 1, but the model has only 1 (`type_vocab_size` of its config.json)"
    ));
}

#[test]
fn mistakes_about_second_texts_are_told() {
    let p = project();
    let says = |sources: &str| {
        p.write("m.toml", &format!("[stage.corpus]\nuse = \"preprocess\"\nsources = [{sources}]\n"));
        let (code, _, err) = p.pipe(&["run", "m.toml"]);
        assert!(code > 0, "{err}");
        err
    };
    let pairs = "{ path = \"pairs.csv\", text = \"premise\", text-pair = \"hypothesis\" }";
    for (sources, message) in [
        (
            "{ path = \"pairs.csv\", text = \"premise\", text-pair = \"premise\" }",
            "text and text-pair are both column `premise`",
        ),
        (
            "{ path = \"pairs.csv\", text = \"premise\", text-pair = \"label\" }",
            "text-pair and label are both column `label`",
        ),
        (
            "{ path = \"pairs.csv\", text = \"premise\", text-pair = \"hypotesis\" }",
            "the file has no column `hypotesis` for the text-pair; its columns are `premise`, `hypothesis`, `label`; did you \
             mean text-pair = \"hypothesis\"?",
        ),
        (
            "{ path = \"pairs.csv\", header = false, text = 1, text-pair = \"hypothesis\", label = 3 }",
            "`text-pair` is the column `hypothesis`, but with `header = false` columns have no names",
        ),
        (&format!("{pairs}, {{ path = \"train.csv\" }}"), "train.csv has no `text-pair`, but another source has"),
        (
            "{ path = \"a.txt\", labels-file = \"b.txt\", text-pair = \"x\", format = \"lines\" }",
            "a file with one text per line, or one text as a whole, has no second text",
        ),
    ] {
        let said = says(sources);
        assert!(said.contains(message), "{sources}: {said}");
    }
    let lines = "{\"text\": \"x\", \"label\": \"a\"}\n{\"text\": \"y\", \"label\": \"b\"}\n";
    p.write("none.jsonl", lines);
    let said = says("{ path = \"none.jsonl\", text-pair = \"second\" }");
    assert!(
        said.contains("the file has no column `second` for the text-pair; its columns are `label`, `text`"),
        "{said}"
    );
}

/// Rows of which the first texts are equal are different pairs; an empty second text is one, a missing one is none.
#[test]
fn both_texts_count_and_an_empty_second_one_is_kept() {
    let p = project();
    let rows = [
        ("one text", "\"a\"", "x"),
        ("one text", "\"b\"", "y"),
        ("One  text", "\"A http://t.co/1\"", "x"), // a repetition of the first
        ("two", "\"a &amp; b\"", "y"),
        ("two", "\"\"", "x"),
        ("three", "\" \"", "y"),
        ("four", "null", "x"),
        ("", "\"a\"", "x"),
        ("five", "\"a\"", "x"),
        ("five", "\"a\"", "y"), // contradicts the row before
    ];
    let line = |(text, pair, label): &(&str, &str, &str)| {
        format!("{{\"text\": \"{text}\", \"second\": {pair}, \"label\": \"{label}\"}}\n")
    };
    p.write("few.jsonl", &rows.iter().map(line).collect::<String>());
    p.write(
        "m.toml",
        "[stage.corpus]\nuse = \"preprocess\"\nsources = [{ path = \"few.jsonl\", text-pair = \"second\" }]\nvalidation = 0\n\
         unusable = \"drop\"\n",
    );
    let said = p.run_file("m.toml");
    assert!(said.contains("2 pairs have an empty second text; they are kept"), "{said}");
    assert!(said.contains("few.jsonl:7: no second text"), "{said}");
    assert!(said.contains("dropped 1 unusable, 1 empty, 2 repeated with another label, 1 repeated"), "{said}");
    let corpus = Corpus::open(&p.folder("m.toml", "corpus")).unwrap();
    let pairs: Vec<(&str, &str)> =
        corpus.train.iter().map(|row| (row.text.as_str(), row.pair.as_deref().unwrap())).collect();
    assert_eq!(pairs, [("one text", "a"), ("one text", "b"), ("two", "a & b"), ("two", ""), ("three", "")]);
    // The corpus is a source like any other.
    let dir = p.folder("m.toml", "corpus");
    let source = format!("{{ path = \"{}/train.parquet\", text-pair = \"text_pair\" }}", dir.display());
    p.write("again.toml", &format!("[stage.corpus]\nuse = \"preprocess\"\nsources = [{source}]\nvalidation = 0\n"));
    p.run_file("again.toml");
    let again = Corpus::open(&p.folder("again.toml", "corpus")).unwrap();
    assert_eq!(
        again.train.iter().map(|row| &row.pair).collect::<Vec<_>>(),
        corpus.train.iter().map(|row| &row.pair).collect::<Vec<_>>()
    );
}

/// The example of docs/data.md: its file and its pipeline, beside the files of `pipe init --sample`.
#[test]
fn the_example_of_the_documentation_runs() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/data.md")).unwrap();
    let part = page.split("\n## Pairs of texts\n").nth(1).unwrap();
    let block = |kind: &str| part.split(&format!("```{kind}\n")).nth(1).unwrap().split("```").next().unwrap();
    let p = Project::new();
    let (code, _, err) = p.pipe(&["init", "--sample", "sample.toml"]);
    assert_eq!(code, 0, "{err}");
    fs::create_dir_all(p.path("data")).unwrap();
    p.write("data/nli.csv", block("csv"));
    p.write("nli.toml", block("toml"));
    p.run_file("nli.toml");
    for line in block("sh").lines() {
        let words: Vec<&str> = line
            .split('"')
            .enumerate()
            .flat_map(|(at, part)| match at % 2 {
                0 => part.split_whitespace().collect::<Vec<_>>(),
                _ => vec![part],
            })
            .collect();
        let (code, out, err) = p.pipe(&words[1..]);
        assert_eq!((words[0], code), ("pipe", 0), "{err}");
        assert!(!out.is_empty(), "{line}");
    }
    // `init` finds the two columns.
    let (code, out, err) = p.pipe(&["init", "data/nli.csv", "found.toml"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("text `premise` and `hypothesis`, label `label`\n"), "{out}");
    let found = fs::read_to_string(p.path("found.toml")).unwrap();
    assert!(found.contains("{ path = \"data/nli.csv\", text = \"premise\", text-pair = \"hypothesis\" }"), "{found}");
}
