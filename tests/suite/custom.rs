//! The example of a program with a kind of its own: what the engine and the commands do for that kind, and that
//! `docs/extending.md` quotes the example.

#[path = "../../examples/custom_kind/balance.rs"]
mod balance;

use std::fs;
use std::path::Path;

use balance::Balance;
use pipe::cli::{Build, execute};
use pipe::kind::Kind;
use pipe::report::Color;

fn build() -> Build {
    Build::of(&[pipe::KINDS, &[Kind::of::<Balance>()]].concat()).unwrap()
}

/// The output of a command on the example's pipeline, copied to `dir`.
fn on(dir: &Path, words: &str) -> Result<String, (u8, String)> {
    let file = dir.join("pipeline.toml").display().to_string();
    let words: Vec<String> = words.split(' ').map(|word| word.replace("pipeline.toml", &file)).collect();
    let mut out = Vec::new();
    let done = execute(std::iter::once("pipe".to_owned()).chain(words), build(), &mut out);
    let hide = |text: String| text.replace(&format!("{}/", dir.display()), "");
    done.map(|()| hide(String::from_utf8(out).unwrap())).map_err(|e| (e.exit_code(), hide(e.render(Color::Never))))
}

/// A project with the example's pipeline and its data.
fn project() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::create_dir_all(dir.path().join("data/sample")).unwrap();
    fs::create_dir(dir.path().join("cache")).unwrap();
    for (from, to) in
        [("examples/custom_kind/pipeline.toml", "pipeline.toml"), ("data/sample/train.csv", "data/sample/train.csv")]
    {
        fs::copy(root.join(from), dir.path().join(to)).unwrap();
    }
    dir
}

#[test]
fn a_kind_of_ones_own_runs_beside_the_built_in_ones_and_is_cached_and_explained() {
    let dir = project();
    let dir = dir.path();
    assert_eq!(on(dir, "run pipeline.toml"), Ok(String::new()));
    let table = fs::read_to_string(dir.join("out/custom-kind/balance.csv")).unwrap();
    let expected =
        "label,rows\nExtremely Negative,475\nNegative,857\nNeutral,654\nPositive,1031\nExtremely Positive,572\n";
    assert_eq!(table, expected);
    assert_eq!(
        on(dir, "plan pipeline.toml").unwrap(),
        "plan custom-kind: 2 stages, 2 cached, 0 to run\n  hit  corpus\n  hit  balance\n"
    );
    let changed = on(dir, "plan pipeline.toml --set stage.balance.use=\"balance@4\"").unwrap();
    assert!(changed.contains("run  balance  limit 3.0 → 4"), "{changed}");
    let failed = on(dir, "run pipeline.toml --set stage.balance.use=\"balance@2\"");
    assert_eq!(failed, Err((1, String::new())));
}

#[test]
fn mistakes_in_its_parameters_are_reported_with_their_place() {
    let dir = project();
    let file = dir.path().join("pipeline.toml");
    let text = fs::read_to_string(&file).unwrap().replace("balance@3", "balance@0.5");
    fs::write(&file, text).unwrap();
    let (code, said) = on(dir.path(), "plan pipeline.toml").unwrap_err();
    assert_eq!(code, 2);
    assert!(said.starts_with("error: limit is 0.5; it must be at least 1\n --> pipeline.toml:9:7\n"), "{said}");
}

#[test]
fn it_is_documented_and_in_the_schema() {
    let dir = project();
    let documented = on(dir.path(), "stages balance").unwrap();
    assert!(documented.starts_with("balance: Counts the training rows of each class"), "{documented}");
    assert!(documented.contains("limit  number, required, also `balance@VALUE`"), "{documented}");
    assert!(on(dir.path(), "schema").unwrap().contains("\"#/$defs/balance\""));
}

#[test]
fn two_kinds_of_one_name_are_refused() {
    let error = Build::of(&[Kind::of::<Balance>(), Kind::of::<Balance>()]).err().unwrap();
    assert_eq!(
        error.render(Color::Never),
        "error: this program has two kinds named `balance`\nhelp: rename one of the kinds that are passed to `pipe::main`\n"
    );
}

#[test]
fn the_guide_quotes_the_example() {
    let read = |path: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let folder = "examples/custom_kind";
    let sources = ["main.rs", "balance.rs", "pipeline.toml"].map(|name| read(&format!("{folder}/{name}"))).concat();
    let guide = read("docs/extending.md");
    let quotes: Vec<&str> = guide.split("```").skip(1).step_by(2).filter(|q| !q.starts_with("sh\n")).collect();
    assert!(quotes.len() >= 3);
    for quote in quotes {
        // The first line names the language; `…` stands for what is left out.
        for part in quote.split_once('\n').unwrap().1.split("…\n").map(str::trim).filter(|part| !part.is_empty()) {
            assert!(sources.contains(part), "not in {folder}:\n{part}");
        }
    }
}
