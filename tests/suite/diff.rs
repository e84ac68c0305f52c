//! `pipe diff` on toy kinds: what it says of each kind of change, between files and between revisions.

use std::process::Command;

use pipe::cli::{Stock, execute};
use pipe::engine::kind::{Fetched, Remote};
use pipe::report::Color;

use super::toys::{self, Dir};

const BASE: &str = r#"
name = "small"
seed = 1
[stage.a]
use = "write@hello"
[stage.file]
use = "write"
path = "in.txt"
[stage.b]
use = "shout@2"
in.text = "a"
[stage.scores]
use = "shout"
in.text = ["a", "file", "b"]
[stage.all]
use = "join"
in.texts = "scores"
[profile.loud.stage.b]
times = 3
"#;

fn stock() -> Stock {
    const REMOTES: &[Remote] = &[Remote {
        prefix: "far:",
        held: |name| (name == "far:here").then(|| Fetched { dir: "/".into(), identity: "c0ffee".into() }),
        fetch: |_, _| panic!("a diff fetches nothing"),
    }];
    Stock { kinds: toys::KINDS, remotes: REMOTES, gpus: |_| Ok(0) }
}

/// Standard output and the exit code with the message; words that end in `.toml` are files of the project.
fn pipe(dir: &Dir, words: &[&str]) -> (String, u8, String) {
    let root = dir.temp.path().canonicalize().unwrap();
    let whole = |word: &&str| match word.split_once(':') {
        _ if !word.ends_with(".toml") || word.contains("set=") => word.to_string(),
        Some((revision, path)) => format!("{revision}:{}", root.join(path).display()),
        None => root.join(word).display().to_string(),
    };
    let mut out = Vec::new();
    let all = std::iter::once("pipe".to_string()).chain(words.iter().map(whole));
    let result = execute(all, stock(), &mut out);
    let hide = |text: &str| text.replace(&format!("{}/", root.display()), "");
    let (code, message) = result.err().map_or((0, String::new()), |e| (e.exit_code(), e.render(Color::Never)));
    (hide(&String::from_utf8(out).unwrap()), code, hide(&message))
}

/// What `pipe diff` says of a project whose file was changed by `edit`.
fn diff(dir: &Dir, words: &[&str]) -> String {
    let (out, code, message) = pipe(dir, &[&["diff"], words].concat());
    assert_eq!((code, message.as_str()), (0, ""), "{words:?}");
    // What a stage took is not the same twice.
    let times = |line: &str| line.split("  ").filter(|w| !w.trim().ends_with("ms")).collect::<Vec<_>>().join("  ");
    let about = |line: String| line.split(", about").next().unwrap_or_default().to_string();
    out.lines().map(|l| about(times(l)) + "\n").collect()
}

fn two(old: &str, new: &str) -> Dir {
    let dir = Dir::new(old);
    dir.write("q.toml", new);
    dir.write("in.txt", "one");
    dir
}

/// The lines after the first between two definitions.
fn between(old: &str, new: &str) -> String {
    let text = diff(&two(old, new), &["p.toml", "q.toml"]);
    text.split_once('\n').unwrap().1.to_string()
}

#[test]
fn a_parameter_and_what_hangs_on_it() {
    assert_eq!(diff(&two(BASE, &BASE.replace("shout@2", "shout@4")), &["p.toml", "q.toml"]), "x");
}
#[test]
fn many() {
    let new = BASE
        .replace("shout@2\"\nin.text = \"a\"", "shout@4\"\nin.text = \"file\"\nlog-every = 3")
        .replace("seed = 1", "seed = 2")
        .replace("[\"a\", \"file\", \"b\"]", "[\"file\", \"b\", \"thin\"]")
        .replace("[stage.all]", "[stage.thin]\nuse = \"write@x\"\n[stage.all]\nexport = \"out\"")
        .replace("times = 3", "volume = 0.5")
        .replace("\"small\"", "\"smaller\"");
    println!("{}", diff(&two(BASE, &new), &["p.toml", "q.toml"]));
    println!(
        "{}",
        diff(&two(BASE, &BASE.replace("stage.b]", "stage.bee]").replace("\"b\"]", "\"bee\"]")), &["p.toml", "q.toml"])
    );
    println!("{}", diff(&two(BASE, &new), &["p.toml", "q.toml", "--format", "markdown"]));
    println!("{}", diff(&two(BASE, &new), &["p.toml", "q.toml", "--format", "json"]));
    panic!();
}
