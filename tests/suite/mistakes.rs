//! Mistakes in a pipeline file, compared with the complete error message.

use pipe::cli::{Build, execute};
use pipe::report::Color;
use pipe::stages::{self, KINDS};

/// The error of `pipe plan` for an invalid file.
fn refused(text: &str, words: &[&str]) -> String {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("cache")).unwrap();
    let file = dir.path().join("p.toml");
    std::fs::write(&file, text).unwrap();
    let words = ["pipe", "plan", file.to_str().unwrap()].into_iter().chain(words.iter().copied());
    let mut out = Vec::new();
    let build = Build { kinds: KINDS, origins: &[], gpus: stages::gpus };
    let error = execute(words, build, &mut out).expect_err("the file is wrong");
    assert_eq!(error.exit_code(), 2);
    let place = format!("{}/", dir.path().display());
    error.render(Color::Never).replace(&place, "").replace(&dir.path().display().to_string(), "ROOT")
}

const GOOD: &str = r#"[stage.corpus]
use = "preprocess"
sources = [{ path = "a.csv", format = "csv" }]
[stage.tokens]
use = "tokenize@64"
in.corpus = "corpus"
tokenizer = "m"
[stage.teacher]
use = "train"
in.tokens = "tokens"
base = "m"
[stage.int8]
use = "quantize@int8"
in.model = "teacher"
"#;

#[track_caller]
fn says(text: &str, words: &[&str], expected: &str) {
    let found = refused(text, words);
    assert_eq!(found.trim_end(), expected.trim(), "\n{found}");
}

#[test]
fn a_folder_where_a_stage_belongs() {
    for path in ["models/mine", "hf:a/b@v2"] {
        let carets = "^".repeat(path.len() + 2);
        says(
            &GOOD.replace("in.model = \"teacher\"", &format!("in.model = \"{path}\"")),
            &[],
            &format!(
                r#"
error: unknown stage `{path}`
  --> p.toml:14:12
   |
14 | in.model = "{path}"
   |            {carets} unknown stage
   |
help: a model that no stage makes enters by a stage of its own: `use = "model@{path}"`
help: stages: `corpus`, `tokens`, `teacher`, `int8`
"#
            ),
        );
    }
}

#[test]
fn a_wrong_type() {
    says(
        &GOOD.replace("in.model = \"teacher\"", "in.model = \"corpus\""),
        &[],
        r#"
error: stage `int8` gets a corpus where it needs a model
  --> p.toml:14:12
   |
14 | in.model = "corpus"
   |            ^^^^^^^^ `corpus` (preprocess) gives a corpus
   |
help: stages that give a model: teacher
"#,
    );
}

#[test]
fn an_unknown_kind() {
    says(
        &GOOD.replace("\"train\"", "\"trian\""),
        &[],
        r#"
error: unknown kind `trian`
 --> p.toml:9:7
  |
9 | use = "trian"
  |       ^^^^^^^ unknown kind
  |
help: did you mean `train`?
help: kinds: `preprocess`, `augment`, `explore`, `tokenize`, `train`, `lora`, `merge`, `model`, `prune`, `quantize`, `convert`, `distill`, `evaluate`, `decide`, `errors`, `compare`, `search`
"#,
    );
}

#[test]
fn names_of_other_programs_are_answered_with_ours() {
    says(
        &GOOD.replace(
            "base = \"m\"",
            "model_name_or_path = \"m\"\nnum_train_epochs = 3\nper_device_train_batch_size = 8\nfp16 = true",
        ),
        &[],
        r#"
error: `train` has no parameter `model_name_or_path`
  --> p.toml:11:1
   |
11 | model_name_or_path = "m"
   | ^^^^^^^^^^^^^^^^^^ another program's name
   |
help: write `base`

error: `train` has no parameter `num_train_epochs`
  --> p.toml:12:1
   |
12 | num_train_epochs = 3
   | ^^^^^^^^^^^^^^^^ another program's name
   |
help: write `epochs`

error: `train` has no parameter `per_device_train_batch_size`
  --> p.toml:13:1
   |
13 | per_device_train_batch_size = 8
   | ^^^^^^^^^^^^^^^^^^^^^^^^^^^ another program's name
   |
help: write `batch-size`

error: `train` has no parameter `fp16`
  --> p.toml:14:1
   |
14 | fp16 = true
   | ^^^^ another program's name
   |
help: write `precision = "bf16"`; float16 is not offered

error: 4 problems in p.toml
"#,
    );
}

#[test]
fn an_unknown_key_a_string_for_a_number_and_a_missing_input_all_at_once() {
    says(
        &GOOD
            .replace("base = \"m\"", "base = \"m\"\nlearnig-rate = 1e-3\nepochs = \"three\"")
            .replace("in.model = \"teacher\"", ""),
        &[],
        r#"
error: `train` has no parameter `learnig-rate`
  --> p.toml:12:1
   |
12 | learnig-rate = 1e-3
   | ^^^^^^^^^^^^ unknown key
   |
help: did you mean `learning-rate`?

error: expected a whole number, 0 or more, found the string "three"
  --> p.toml:13:10
   |
13 | epochs = "three"
   |          ^^^^^^^ expected a whole number, 0 or more

error: stage `int8` has no input on port `model`
  --> p.toml:14:8
   |
14 | [stage.int8]
   |        ^^^^ `quantize` needs a model
   |
help: add `in.model = "STAGE"`; stages that give a model: teacher

error: 3 problems in p.toml
"#,
    );
}

#[test]
fn an_unknown_port_stage_and_profile() {
    says(
        &GOOD.replace("in.tokens = \"tokens\"", "in.token = \"tokens\"\nin.tokens = \"token\""),
        &[],
        r#"
error: `train` has no input port `token`
  --> p.toml:10:4
   |
10 | in.token = "tokens"
   |    ^^^^^ unknown port
   |
help: did you mean `tokens`?
help: ports of `train`: `tokens`

error: unknown stage `token`
  --> p.toml:11:13
   |
11 | in.tokens = "token"
   |             ^^^^^^^ unknown stage
   |
help: did you mean `tokens`?
help: stages: `corpus`, `tokens`, `teacher`, `int8`

error: 2 problems in p.toml
"#,
    );
    says(
        &format!("{GOOD}[profile.full.stage.teacher]\nepochs = 9\n"),
        &["--profile", "ful"],
        "error: p.toml has no profile `ful`\nhelp: profiles: `full`\nhelp: did you mean `full`?",
    );
}

#[test]
fn a_mistake_in_a_profile_is_found_without_choosing_it() {
    says(
        &format!("{GOOD}[profile.full.stage.teacher]\nepoch = 9\n"),
        &[],
        r#"
error: `train` has no parameter `epoch`
  --> p.toml:16:1
   |
16 | epoch = 9
   | ^^^^^ unknown key
   |
help: did you mean `epochs`?
"#,
    );
}

#[test]
fn a_cycle() {
    let text = "[stage.a]\nuse = \"prune@0.1\"\nin.model = \"c\"\n[stage.b]\nuse = \"prune@0.2\"\nin.model = \"a\"\n[stage.c]\nuse = \"quantize@int8\"\nin.model = \"b\"\n";
    says(
        text,
        &[],
        r#"
error: the stages form a cycle: a → b → c → a
 --> p.toml:3:12
  |
3 | in.model = "c"
  |            ^^^ `a` needs `c`
  |
help: remove one of these inputs
"#,
    );
}

#[test]
fn values_out_of_range_and_given_twice() {
    let text = format!(
        "{GOOD}[stage.pruned]\nuse = \"prune@1.5\"\nin.model = \"teacher\"\n[stage.again]\nuse = \"quantize@int8\"\nscheme = \"fp16\"\nin.model = \"teacher\"\n"
    );
    says(
        &text,
        &[],
        r#"
error: sparsity is 1.5; it must be at least 0 and below 1
  --> p.toml:16:7
   |
16 | use = "prune@1.5"
   |       ^^^^^^^^^^^
   |
help: 0.3 sets 30 % of the weights to zero

error: `scheme` is set twice: by `use = "quantize@int8"` and by its own line
  --> p.toml:20:1
   |
20 | scheme = "fp16"
   | ^^^^^^ also set by `@int8`
   |
help: keep one of the two

error: 2 problems in p.toml
"#,
    );
}

#[test]
fn a_baseline_and_a_gate_of_variants_that_are_not_compared() {
    let compared = format!(
        "{GOOD}[stage.scores]\nuse = \"evaluate\"\nin.model = [\"teacher\", \"int8\"]\nin.tokens = \"tokens\"\n\
         [stage.table]\nuse = \"compare\"\nin.metrics = \"scores\"\n"
    );
    says(
        &format!("{compared}baseline = \"techer\"\n"),
        &[],
        r#"
error: the baseline `techer` is not among the variants
  --> p.toml:22:12
   |
22 | baseline = "techer"
   |            ^^^^^^^^
   |
help: variants: teacher, int8
"#,
    );
    says(
        &format!("{compared}gate = {{ accuracy-drop = 2, variants = [\"pruned\"] }}\n"),
        &[],
        r#"
error: accuracy-drop of the gate is 2; it must be from -1 to 1
  --> p.toml:22:8
   |
22 | gate = { accuracy-drop = 2, variants = ["pruned"] }
   |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
   |
help: 0.01 is one point of 100

error: the gate names an unknown variant `pruned`
  --> p.toml:22:8
   |
22 | gate = { accuracy-drop = 2, variants = ["pruned"] }
   |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
   |
help: variants: teacher, int8

error: 2 problems in p.toml
"#,
    );
    says(
        &format!("{compared}gate = {{ acuracy-drop = 0.01 }}\n"),
        &[],
        r#"
error: `compare` has no parameter `acuracy-drop`
  --> p.toml:22:10
   |
22 | gate = { acuracy-drop = 0.01 }
   |          ^^^^^^^^^^^^ unknown key
   |
help: did you mean `accuracy-drop`?
"#,
    );
}

#[test]
fn a_missing_file_and_folder() {
    says(
        GOOD,
        &[],
        r#"
error: stage `corpus` reads `a.csv`, which does not exist
 --> p.toml:3:21
  |
3 | sources = [{ path = "a.csv", format = "csv" }]
  |                     ^^^^^^^ no such file
  |
help: paths are relative to the project root, ROOT

error: stage `tokens` reads `m`, which does not exist
 --> p.toml:7:13
  |
7 | tokenizer = "m"
  |             ^^^ no such folder
  |
help: paths are relative to the project root, ROOT

error: stage `teacher` reads `m`, which does not exist
  --> p.toml:11:8
   |
11 | base = "m"
   |        ^^^ no such folder
   |
help: paths are relative to the project root, ROOT

error: 3 problems in p.toml
"#,
    );
}

#[test]
fn a_path_that_leaves_the_project_and_broken_toml() {
    assert!(
        refused(&GOOD.replace("a.csv", "../a.csv"), &[]).contains("reads `../a.csv`, which is outside the project")
    );
    let said = refused("[stage.a\nuse = \"train\"\nx = = 2\n", &[]);
    assert!(
        said.contains("p.toml:1") && said.contains("p.toml:3") && said.contains("this is not valid TOML"),
        "{said}"
    );
}
