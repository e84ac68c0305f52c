//! What goes in through the binary: `preprocess` and `predict` read the same files in the same way.

use std::fs;
use std::process::Output;

use super::project::Project;

/// A project with a small trained model.
fn trained() -> Project {
    let p = Project::new();
    p.write("p.toml", &super::project::PIPELINE.replace("epochs = 2\n", "epochs = 1\n"));
    p.run(&["teacher"]);
    p
}

fn said(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

fn predict(p: &Project, words: &[&str]) -> (i32, String, String) {
    said(&p.command(&[&["predict", "p.toml:teacher"], words].concat()).output().unwrap())
}

/// The texts of the predictions of a file.
fn texts(p: &Project, words: &[&str]) -> Vec<String> {
    let (code, out, err) = predict(p, words);
    assert_eq!(code, 0, "{err}");
    let text =
        |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["text"].as_str().unwrap().to_owned();
    out.lines().map(text).collect()
}

fn gzip(text: &str) -> Vec<u8> {
    use std::io::Write;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), Default::default());
    packed.write_all(text.as_bytes()).unwrap();
    packed.finish().unwrap()
}

#[test]
fn predict_gives_one_prediction_for_each_row_of_a_file() {
    let p = trained();
    let write = |name: &str, bytes: &[u8]| fs::write(p.path(name), bytes).unwrap();
    write("tweets.tsv", b"text\tlabel\n\"He said\tgood\nshop is closed\tbad\n\"quoted\" word\tgood\n");
    assert_eq!(texts(&p, &["--input", "tweets.tsv"]), ["\"He said", "shop is closed", "\"quoted\" word"]);
    write("cp1252.csv", b"text,label\nprice is \x805,bad\ndon\x92t panic,bad\n");
    assert_eq!(texts(&p, &["--input", "cp1252.csv"]), ["price is €5", "don’t panic"]);
    write("cut.csv", b"text,label\ncaf\xC3\xA9 ok,good\ncut here \xC2,bad\nlast row,good\n");
    assert_eq!(texts(&p, &["--input", "cut.csv"]), ["café ok", "cut here ", "last row"]);
    write("bom.jsonl", b"\xEF\xBB\xBF{\"text\": \"hello shop\"}\n\n{\"text\": \"x\"}\n");
    assert_eq!(texts(&p, &["--input", "bom.jsonl"]), ["hello shop", "x"]);
    write("spaces.csv", b"\xEF\xBB\xBFtext , label\nhello shop,good\n");
    assert_eq!(texts(&p, &["--input", "spaces.csv"]), ["hello shop"]);
    write("packed.csv.gz", &gzip("text,label\nhello shop,good\n"));
    assert_eq!(texts(&p, &["--input", "packed.csv.gz"]), ["hello shop"]);
    write("TWEETS.CSV", b"text,label\nhello shop,good\nbye shop,bad\n");
    assert_eq!(texts(&p, &["--input", "TWEETS.CSV"]), ["hello shop", "bye shop"]);
    write("TWEETS.JSONL", b"{\"text\": \"hello shop\"}\n");
    assert_eq!(texts(&p, &["--input", "TWEETS.JSONL"]), ["hello shop"]);
    write("plain", b"one\r\n\r\ntwo\r\n");
    assert_eq!(texts(&p, &["--input", "plain"]), ["one", "", "two"]);
    write("semi.csv", b"id;words\n1;hello, shop\n");
    assert_eq!(texts(&p, &["--input", "semi.csv", "--delimiter", ";", "--column", "words"]), ["hello, shop"]);
    write("bare.tsv", b"17\tneutral\thello shop\n18\tneutral\tbye\n");
    assert_eq!(texts(&p, &["--input", "bare.tsv", "--no-header", "--column", "3"]), ["hello shop", "bye"]);
}

#[test]
fn predict_prints_nothing_of_a_file_that_it_cannot_read_whole() {
    let p = trained();
    let rows: String = (0..600).map(|row| format!("text number {row},a\n")).collect();
    p.write("long.csv", &format!("text,label\n{rows}\"never closed,a\n"));
    let (code, out, err) = predict(&p, &["--input", "long.csv"]);
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    assert_eq!(
        err,
        "error: nothing was predicted, because 1 row cannot be used:\nlong.csv:602: a quote opens here and never closes\n"
    );
    fs::write(p.path("a.xlsx"), b"PK").unwrap();
    let (code, out, err) = predict(&p, &["--input", "a.xlsx"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("a.xlsx cannot be read: it is a spreadsheet: save it as CSV"), "{err}");
    // Each kind of error has the options that help against it.
    let column = "choose a column with --column (of second texts with --pair-column); if the file has no header, add --no-header and give its number";
    let format = "if it is text, name its format with --input-format, such as `--input-format lines`";
    for (name, text, help) in [
        ("a.xlsx", "PK", format),
        ("a.log", "one\n", format),
        ("semi.csv", "id;text\n1;hello\n", "options: --delimiter \";\", --input-format tsv"),
        ("other.csv", "id,tweet\n1,hello\n", column),
        ("lines.json", "{\"text\": \"a\"}\n{\"text\": \"b\"}\n", "option: --input-format jsonl"),
    ] {
        p.write(name, text);
        let (code, out, err) = predict(&p, &["--input", name]);
        assert_eq!((code, out.as_str()), (1, ""), "{name}");
        assert!(err.ends_with(&format!("\nhelp: {help}\n")), "{name}: {err}");
    }
    // A message that only sounds like it has none.
    p.write("no column.csv", "text\n\"never closed\n");
    let (_, _, err) = predict(&p, &["--input", "no column.csv"]);
    assert!(err.contains("no column.csv:2: a quote opens here") && !err.contains("help:"), "{err}");
}

/// Run a pipeline of one `preprocess`; its exit code, and what it said.
fn preprocessed(p: &Project, sources: &str) -> (i32, String) {
    let text = format!("name = \"t\"\n[stage.corpus]\nuse = \"preprocess\"\nsources = [{sources}]\nvalidation = 0\n");
    p.write("r.toml", &text);
    let (code, out, err) = said(&p.command(&["run", "r.toml"]).output().unwrap());
    (code, out + &err)
}

#[test]
fn a_quote_that_takes_rows_is_told_with_file_and_line() {
    let p = Project::new();
    p.write(
        "a.csv",
        "text,label\nfirst,good\n\"he said stay home,bad\nthird row,good\nfourth row,bad\n\"quoted words\" she said,good\n\
         last,bad\n",
    );
    let (_, text) = preprocessed(&p, r#"{ path = "a.csv" }"#);
    assert!(
        text.contains(
            "a.csv: 4 rows cannot be used: a quote opens here and is not closed on its line; the first is a.csv:3 (it took 4 \
             lines, to a.csv:6, where text follows the closing quote)"
        ),
        "{text}"
    );
}

#[test]
fn sources_of_the_same_name_are_told_apart() {
    let p = Project::new();
    for year in ["2020", "2021"] {
        fs::create_dir_all(p.path(&format!("{year}/data"))).unwrap();
        p.write(&format!("{year}/data/train.csv"), &format!("text,label\n{year} is good,good\n{year} is bad,bad\n"));
    }
    let (code, text) = preprocessed(&p, r#"{ path = "2020/data/train.csv" }, { path = "2021/data/train.csv" }"#);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("4 rows"), "{text}");
}

#[test]
fn mistakes_of_a_source_are_errors_of_the_pipeline_file() {
    let p = Project::new();
    p.write("semicolon.csv", "text;label\nfood is here;good\n");
    let (code, text) = preprocessed(&p, r#"{ path = "semicolon.csv", text = "text;label", label = "text;label" }"#);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("semicolon.csv: text and label are both column `text;label`"), "{text}");
    assert!(text.contains("r.toml:4:"), "{text}");
    let (code, text) = preprocessed(&p, r#"{ path = "semicolon.csv", header = false, label = 2 }"#);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("`text` is the column `text`, but with `header = false` columns have no names"), "{text}");
    let (code, text) = preprocessed(&p, r#"{ path = "semicolon.csv", text = 0 }"#);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("columns are counted from 1, so there is no column 0"), "{text}");
    let (code, text) = preprocessed(&p, r#"{ path = "semicolon.csv", delimiter = "semicolon" }"#);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("`semicolon` is not a delimiter"), "{text}");
}

#[test]
fn every_file_of_a_folder_and_of_a_pattern_counts() {
    let p = Project::new();
    fs::create_dir_all(p.path("set")).unwrap();
    p.write("set/a.csv", "text,label\none,x\ntwo,y\n");
    for path in ["set", "set/*.csv"] {
        let sources = format!("{{ path = \"{path}\" }}");
        let (code, text) = preprocessed(&p, &sources);
        assert_eq!(code, 0, "{text}");
        let (_, text) = preprocessed(&p, &sources);
        assert!(text.contains("hit"), "{text}");
        p.write("set/b.csv", "text,label\nthree,x\nfour,y\n");
        let (_, text) = preprocessed(&p, &sources);
        assert!(text.contains("4 rows"), "a new file is read: {text}");
        fs::remove_file(p.path("set/b.csv")).unwrap();
    }
    let (code, text) = preprocessed(&p, r#"{ path = "set/*.tsv" }"#);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("`set/*.tsv`, which matches no file"), "{text}");
}
