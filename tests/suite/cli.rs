//! The commands with toy kinds: their output and exit codes.

use std::path::Path;

use pipe::cli::{Build, execute};
use pipe::report::Color;
use pipe_engine::contract::context::Context;
use pipe_engine::contract::kind::{Kind, Port, Stage, Type};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::toys::{self, Dir};

const CHAIN: &str = r#"
name = "chain"
seed = 1
[stage.a]
use = "write@hello"
[stage.b]
use = "shout@2"
in.text = ["a", "other"]
[stage.other]
use = "write@x"
[stage.all]
use = "join"
in.texts = "b"
export = "out"
[profile.loud.stage.b]
times = 3
"#;

fn build() -> Build {
    let gpus = |device: &str| {
        if device == "auto" || device == "cpu" { Ok(0) } else { anyhow::bail!("unknown device `{device}`") }
    };
    Build { kinds: toys::KINDS, origins: &[], gpus }
}

/// The standard output of a command, and its error as text with the exit code.
fn pipe(build: Build, words: &[&str]) -> (String, Result<(), (u8, String)>) {
    let mut out = Vec::new();
    let result = execute(std::iter::once("pipe").chain(words.iter().copied()), build, &mut out);
    (String::from_utf8(out).unwrap(), result.map_err(|e| (e.exit_code(), e.render(Color::Never))))
}

/// The output of a command that succeeds on the pipeline of `dir`, without the path of `dir`.
pub fn on(dir: &Dir, words: &str) -> String {
    let file = dir.path("p.toml");
    let words: Vec<&str> = words.split(' ').map(|w| if w == "p.toml" { file.to_str().unwrap() } else { w }).collect();
    let (out, result) = pipe(build(), &words);
    assert_eq!(result, Ok(()), "{words:?}");
    hide(dir, &out)
}

pub fn fails(dir: &Dir, words: &str) -> (u8, String) {
    let file = dir.path("p.toml");
    let words: Vec<&str> = words.split(' ').map(|w| if w == "p.toml" { file.to_str().unwrap() } else { w }).collect();
    let (code, text) = pipe(build(), &words).1.unwrap_err();
    (code, hide(dir, &text))
}

fn hide(dir: &Dir, text: &str) -> String {
    text.replace(&format!("{}/", dir.temp.path().display()), "")
}

#[test]
fn plan_before_and_after_a_run() {
    let dir = Dir::new(CHAIN);
    let before = "\
plan chain: 5 stages, 0 cached, 5 to run
  run  a         no result yet
  run  other     no result yet
  run  b[a]      in.text: a will change
  run  b[other]  in.text: other will change
  run  all       in.texts: b[a] and 1 more will change
";
    assert_eq!(on(&dir, "plan p.toml"), before);
    assert_eq!(fails(&dir, "plan p.toml --exit-code"), (3, String::new()));
    assert_eq!(on(&dir, "run p.toml --dry-run"), before);
    assert_eq!(on(&dir, "run p.toml"), "");
    let after = "\
plan chain: 5 stages, 5 cached, 0 to run
  hit  a
  hit  other
  hit  b[a]
  hit  b[other]
  hit  all
";
    assert_eq!(on(&dir, "plan p.toml --exit-code"), after);
    assert_eq!(dir.read("out/text"), "a=HELLOHELLO;other=XX;");
    let changed = on(&dir, "plan p.toml --profile loud b[a]");
    let lines: Vec<&str> = changed.lines().collect();
    assert!(lines[0].starts_with("plan chain (profile loud): 2 stages, 1 cached, 1 to run, about "), "{changed}");
    assert_eq!(lines[1], "  hit  a");
    // The last duration follows.
    assert!(lines[2].starts_with("  run  b[a]  times 2 → 3  "), "{changed}");
    let json: serde_json::Value = serde_json::from_str(&on(&dir, "plan p.toml --json --force a")).unwrap();
    assert_eq!(json["stages"][0]["action"], "run");
    assert_eq!(json["stages"][0]["why"][0], "forced");
    assert_eq!(json["stages"][2]["action"], "may-stop");
}

#[test]
fn trials_are_shown_and_explained_by_their_names() {
    let dir = Dir::new(
        "[stage.a]\nuse = \"write@ab\"\n[stage.loud]\nuse = \"shout\"\nin.text = \"a\"\n[stage.best]\nuse = \"grid\"\ntarget = \"loud\"\nkey = \"times\"\nvalues = [1, 3]\n",
    );
    on(&dir, "run p.toml");
    let why = on(&dir, "why p.toml loud[trial=1]");
    assert!(why.starts_with("hit  loud[trial=1]: a trial of loud, made on 2"), "{why}");
    assert!(why.ends_with(" on cpu\n  times 1 → 3\n"), "{why}");
    let trial = on(&dir, "show p.toml loud[trial=1]");
    assert!(trial.starts_with("loud[trial=1] (shout), made on 2"), "{trial}");
    assert!(trial.contains("  text: text, 1 file, 6 B\n"), "{trial}");
    let parent = on(&dir, "show p.toml best");
    assert!(parent.contains("  trial loud[trial=0]  ") && parent.contains("  trial loud[trial=1]  "), "{parent}");
    assert_eq!(fails(&dir, "why p.toml loud[trial=7]").0, 2);
    let plan = on(&dir, "plan p.toml");
    assert!(plan.contains("3 cached, 0 to run"), "{plan}");
}

#[test]
fn what_the_machine_does_not_have_is_an_error_before_anything_runs() {
    let dir =
        Dir::new("[stage.a]\nuse = \"write@x\"\n[stage.b]\nuse = \"shout\"\nin.text = \"a\"\nmemory = \"900 TiB\"\n");
    for command in ["run p.toml", "plan p.toml"] {
        let (code, text) = fails(&dir, command);
        assert_eq!(code, 2, "{command}");
        assert!(text.starts_with("error: stage `b` needs 900 TiB of memory, but this machine has "), "{text}");
        assert!(text.contains("p.toml:6:10\n"), "{text}");
    }
    assert!(on(&dir, "show p.toml").contains("\nmemory = \"900 TiB\"\n"));
    let (code, text) = fails(&dir, "run p.toml --jobs 1 --set stage.b.cpus=2");
    assert!(code == 2 && text.contains("stage `b` needs 2 cpus, but this run has 1"), "{text}");
}

#[test]
fn why_says_what_changed_or_that_nothing_did() {
    let dir = Dir::new(CHAIN);
    on(&dir, "run p.toml");
    assert_eq!(
        on(&dir, "why p.toml b --set stage.b.times=5"),
        "run  b[a]\n  times 2 → 5\nrun  b[other]\n  times 2 → 5\n"
    );
    let hit = on(&dir, "why p.toml a --all");
    assert!(hit.starts_with("hit  a: none of the 5 lines that it depends on has changed since 2"), "{hit}");
    assert!(hit.ends_with("depends on\n  kind             write\n  kind version     1\n  artifact format  1\n  meddle           false\n  text             \"hello\"\n"), "{hit}");
}

#[test]
fn show_fills_in_profile_and_defaults() {
    let dir = Dir::new(CHAIN);
    assert_eq!(
        on(&dir, "show p.toml --profile loud --set stage.a.text=ho"),
        r#"name = "chain"

[stage.a]
use = "write"
meddle = false  # default
text = "ho"

[stage.other]
use = "write"
meddle = false  # default
text = "x"

[stage."b[a]"]
use = "shout"
seed = 1
in.text = "a"
first = false  # default
log-every = 0  # default
times = 3
volume = 1.0  # default

[stage."b[other]"]
use = "shout"
seed = 1
in.text = "other"
first = false  # default
log-every = 0  # default
times = 3
volume = 1.0  # default

[stage.all]
use = "join"
in.texts = ["b[a]", "b[other]"]
export = "out"
"#
    );
    assert_eq!(on(&dir, "show p.toml a"), "a: no result yet\n");
    on(&dir, "run p.toml");
    let shown = on(&dir, "show p.toml b[a]");
    assert!(shown.starts_with("b[a] (shout), made on 2"), "{shown}");
    assert!(shown.ends_with("  text: text, 1 file, 10 B\n    text  10 B\n  letters 5\n"), "{shown}");
}

#[test]
fn graph_in_every_format() {
    let dir = Dir::new(CHAIN);
    assert_eq!(
        on(&dir, "graph p.toml"),
        "\
a (write)
└─ b[a] (shout)
other (write)
└─ b[other] (shout)
   └─ all (join)  + b[a]
"
    );
    assert!(on(&dir, "graph p.toml --format mermaid").starts_with("flowchart LR\n  n0[\"a<br><i>write</i>\"]\n"));
    assert!(on(&dir, "graph p.toml --format dot").starts_with("digraph \"chain\" {\n"));
    assert!(on(&dir, "graph p.toml --format svg").starts_with("<svg "));
}

#[test]
fn history_and_metrics() {
    let dir = Dir::new(CHAIN);
    assert_eq!(on(&dir, "history p.toml"), "no runs yet\n");
    assert_eq!(fails(&dir, "metrics p.toml"), (2, "error: no runs yet\nhelp: `pipe history` lists the runs\n".into()));
    on(&dir, "run p.toml");
    on(&dir, "run p.toml");
    let rows: Vec<String> =
        on(&dir, "history p.toml").lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(rows[0], "run started (UTC) pipeline profile ended cached run failed took id");
    assert!(rows[1].starts_with("2 ") && rows[1].contains(" chain done 5 0 0 "), "{rows:?}");
    assert!(rows[2].starts_with("1 ") && rows[2].contains(" chain done 0 5 0 "), "{rows:?}");
    let metrics = on(&dir, "metrics p.toml");
    assert!(metrics.starts_with("run 2 of chain, 2"), "{metrics}");
    assert!(metrics.ends_with(" UTC\n\nmetric   b[a]  b[other]\nletters     5         1\n"), "{metrics}");
    assert!(on(&dir, "metrics p.toml --run 1 --stage a").ends_with("no metrics\n"));
    assert_eq!(
        fails(&dir, "metrics p.toml --run 9").1,
        "error: there is no run 9\nhelp: `pipe history` lists the runs\n"
    );
    let json: serde_json::Value = serde_json::from_str(&on(&dir, "metrics p.toml --json")).unwrap();
    assert_eq!(json["metrics"][0], serde_json::json!({ "stage": "b[a]", "name": "letters", "value": 5.0 }));
}

#[test]
fn cache_paths_and_checks() {
    let dir = Dir::new(CHAIN);
    assert_eq!(
        fails(&dir, "cache path p.toml a"),
        (1, "error: `a` has no result yet\nhelp: `pipe run` makes its result\n".into())
    );
    on(&dir, "run p.toml");
    let cache = dir.path("cache");
    let global = format!("--cache-dir {} cache", cache.display());
    for word in ["a", "a.text"] {
        let folder = on(&dir, &format!("cache path p.toml {word}"));
        assert_eq!(dir.read(Path::new(folder.trim_end()).join("text").to_str().unwrap()), "hello");
    }
    assert_eq!(
        fails(&dir, "cache path p.toml a.nothing"),
        (2, "error: `a` has no output `nothing`\nhelp: outputs: text\n".into())
    );
    assert_eq!(on(&dir, &format!("{global} ls")).lines().count(), 6);
    let sound = on(&dir, &format!("{global} verify"));
    assert!(sound.starts_with("5 files, 40 B: all intact (") && sound.ends_with("/s)\n"), "{sound}");
    let object = std::fs::read_dir(dir.path("cache/objects")).unwrap().next().unwrap().unwrap().path();
    let object = std::fs::read_dir(object).unwrap().next().unwrap().unwrap().path();
    let damage = "?".repeat(std::fs::read(&object).unwrap().len());
    std::fs::remove_file(&object).unwrap();
    std::fs::write(&object, damage).unwrap();
    assert_eq!(
        fails(&dir, &format!("{global} verify")),
        (1, "error: 1 damaged result in the cache\nhelp: the next run makes these results again\n".into())
    );
}

#[test]
fn mistakes_are_exit_code_2_and_failures_1() {
    let dir = Dir::new("[stage.a]\nuse = \"wriet@x\"\n[stage.b]\nuse = \"shout\"\nin.text = 3\n");
    assert_eq!(
        fails(&dir, "plan p.toml"),
        (
            2,
            r#"error: unknown kind `wriet`
 --> p.toml:2:7
  |
2 | use = "wriet@x"
  |       ^^^^^^^^^ unknown kind
  |
help: did you mean `write`?
help: kinds: `write`, `shout`, `join`, `count`, `fail`, `wait`, `gather`, `heap`, `steps`, `odd`, `cut`, `program`, `grid`, `fussy`, `hunt`

error: expected the name of a stage, found the number 3
 --> p.toml:5:11
  |
5 | in.text = 3
  |           ^ expected a string

error: 2 problems in p.toml
"#
            .into()
        )
    );
    assert_eq!(fails(&dir, "run p.toml --device tpu"), (2, "error: unknown device `tpu`\n".into()));
    assert_eq!(fails(&dir, "stages shuot"), (2, "error: unknown kind `shuot`\nhelp: did you mean `shout`?\n".into()));
    assert_eq!(fails(&dir, "run p.toml --set").0, 2);
    let dir = Dir::new("[stage.a]\nuse = \"fail@error\"\n");
    assert_eq!(fails(&dir, "run p.toml"), (1, String::new()));
}

/// Pretend to train.
///
/// A paragraph that goes
/// over two lines.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Rich {
    /// How many steps.
    steps: u64,
    /// How the learning rate falls.
    #[serde(default)]
    schedule: Fall,
    /// What to read.
    sources: Vec<Item>,
    /// Where the weights come from.
    #[serde(default)]
    weights: Weights,
    /// Give up after this many epochs.
    #[serde(default)]
    patience: Option<u32>,
    /// Lines in the log.
    #[serde(default)]
    log_every: u32,
}

#[derive(Serialize, Deserialize, JsonSchema, Default)]
#[serde(rename_all = "kebab-case")]
enum Fall {
    /// Down to zero.
    #[default]
    Linear,
    /// A half wave.
    Cosine,
}

#[derive(Serialize, Deserialize, JsonSchema, Default)]
#[serde(rename_all = "kebab-case")]
enum Weights {
    #[default]
    Random,
    /// These very numbers.
    Given(Vec<f64>),
}

/// Another type's parameters.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
struct Wrapped(Item);

impl Stage for Wrapped {
    const KIND: &'static str = "wrapped";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] = &[];
    const OUTPUTS: &'static [Port] = &[Port::one("model", Type("model"))];

    fn run(&self, _: &mut Context) -> anyhow::Result<()> {
        Ok(())
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Item {
    /// Where it is.
    path: String,
}

impl Stage for Rich {
    const KIND: &'static str = "rich";
    const VERSION: u32 = 1;
    const MAIN: Option<&'static str> = Some("steps");
    const INPUTS: &'static [Port] = &[Port::one("teacher", Type("model")), Port::optional("tokens", Type("tokens"))];
    const OUTPUTS: &'static [Port] = &[Port::one("model", Type("model"))];
    const SEEDED: bool = true;
    const OPERATIONAL: &'static [&'static str] = &["log-every"];

    fn run(&self, _: &mut Context) -> anyhow::Result<()> {
        Ok(())
    }
}

const RICH: Build =
    Build { kinds: &[Kind::of::<Rich>(), toys::KINDS[2], Kind::of::<Wrapped>()], origins: &[], gpus: |_| Ok(0) };

#[test]
fn the_kinds_document_themselves() {
    assert_eq!(
        pipe(RICH, &["stages"]).0,
        "\
kind        takes                    gives  what it does
rich@STEPS  teacher: model, tokens?  model  Pretend to train.
join        texts…: text             text   All texts, by label.
wrapped     -                        model  Another type's parameters.
"
    );
    let documented = r#"rich: Pretend to train.

A paragraph that goes over two lines.

use
  use = "rich" or "rich@STEPS"
  in.teacher   a model
  in.tokens    tokens   optional
  gives model  a model

parameters
  steps  whole number, required, also `rich@VALUE`
      How many steps.
  sources  list of tables, required
      What to read.
      path  string, required
          Where it is.
  log-every  whole number, default 0, does not change the result
      Lines in the log.
  patience  whole number, optional
      Give up after this many epochs.
  schedule  "linear" or "cosine", default "linear"
      How the learning rate falls.
      "linear": Down to zero.
      "cosine": A half wave.
  weights  "random" or { given = list of numbers }, default "random"
      Where the weights come from.
      { given = list of numbers }: These very numbers.

The result depends on the seed: `seed` of the stage, or else of the file.
"#;
    assert_eq!(pipe(RICH, &["stages", "rich"]).0, documented);
    assert_eq!(pipe(RICH, &["stages", "rich@3"]).0, documented);
    assert_eq!(
        pipe(RICH, &["stages", "wrapped"]).0,
        "\
wrapped: Another type's parameters.

use
  use = \"wrapped\"
  gives model  a model

parameters
  path  string, required
      Where it is.
"
    );
}

#[test]
fn the_schema_covers_a_whole_file() {
    let schema: serde_json::Value = serde_json::from_str(&pipe(RICH, &["schema"]).0).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let names = |v: &serde_json::Value| v.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&schema["properties"]), ["description", "name", "profile", "seed", "stage"]);
    let definitions = &schema["$defs"];
    assert_eq!(
        names(definitions),
        ["join", "rich", "rich.Fall", "rich.Item", "rich.Weights", "seed", "stage", "wrapped"]
    );
    assert_eq!(definitions["stage"]["properties"]["use"]["pattern"], "^(rich|join|wrapped)(@.*)?$");
    assert_eq!(definitions["stage"]["allOf"][0]["then"]["$ref"], "#/$defs/rich");
    let rich = &definitions["rich"];
    assert_eq!(
        names(&rich["properties"]),
        [
            "cpus",
            "exclusive",
            "export",
            "gpus",
            "in",
            "log-every",
            "matrix",
            "memory",
            "patience",
            "repeat",
            "schedule",
            "seed",
            "sources",
            "steps",
            "time",
            "use",
            "weights"
        ]
    );
    assert_eq!(names(&rich["properties"]["in"]["properties"]), ["teacher", "tokens"]);
    assert_eq!(rich["properties"]["sources"]["items"]["$ref"], "#/$defs/rich.Item");
    assert_eq!(rich["additionalProperties"], false);
    assert_eq!(
        names(&definitions["wrapped"]["properties"]),
        ["cpus", "exclusive", "export", "gpus", "in", "matrix", "memory", "path", "repeat", "seed", "time", "use"]
    );
    // A parameter that a matrix or `@` may set is not required unconditionally.
    assert_eq!(rich.get("required"), None);
    assert_eq!(rich["allOf"][0]["properties"]["in"]["required"], serde_json::json!(["teacher"]));
    assert_eq!(rich["allOf"][1]["then"]["required"], serde_json::json!(["sources"]));
    assert_eq!(rich["allOf"][2]["then"]["required"], serde_json::json!(["steps"]));
}

#[test]
fn completions_for_the_shells() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(pipe(RICH, &["completions", shell]).0.contains("pipe"), "{shell}");
    }
}
