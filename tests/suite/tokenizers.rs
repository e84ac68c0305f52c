//! Tokenizers, adapters and checkpoints as they come from elsewhere: taken as transformers takes them, or refused.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::families::{BERT, base_in};
use crate::project::Project;

const HEAD: &str = r#"
name = "t"
seed = 7
[stage.corpus]
use = "preprocess"
sources = [{ path = "train.csv", format = "csv" }]
validation = 0.2
"#;

const TEACHER: &str = r#"
[stage.tokens]
use = "tokenize@9"
in.corpus = "corpus"
tokenizer = "base"
[stage.teacher]
use = "train"
in.tokens = "tokens"
base = "tiny"
epochs = 1
"#;

fn project(stages: &str) -> Project {
    let p = Project::new();
    p.write("p.toml", &format!("{HEAD}{stages}"));
    p
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        // Not `fs::copy`, which would copy the cache's read-only mode.
        fs::write(to.join(file.file_name()), fs::read(file.path()).unwrap()).unwrap();
    }
}

/// What is printed on standard error by a command that fails.
fn refused(p: &Project, words: &[&str]) -> String {
    let (code, _, err) = p.pipe(words);
    assert_ne!(code, 0, "{err}");
    assert!(!err.contains("panicked"), "{err}");
    err
}

#[test]
fn one_set_of_the_base_moves_the_tokenizer_with_it() {
    let p = project(TEACHER);
    let shown = |sets: &[&str]| {
        let (code, out, err) = p.pipe(&[&["show", "p.toml"], sets].concat());
        assert_eq!(code, 0, "{err}");
        out
    };
    assert!(shown(&[]).contains("tokenizer = \"tiny\""), "{}", shown(&[]));
    let other = shown(&["--set", "stage.teacher.base=other"]);
    assert!(other.contains("tokenizer = \"other\"") && other.contains("base = \"other\""), "{other}");
    // The manifest has the folder and not the word: the same as if it were written out.
    assert_eq!(p.run(&["tokens"]), ["corpus", "tokens"]);
    p.write("p.toml", &format!("{HEAD}{}", TEACHER.replace("tokenizer = \"base\"", "tokenizer = \"tiny\"")));
    assert_eq!(p.run(&["tokens"]), [""; 0]);
}

#[test]
fn readers_that_disagree_or_have_no_base_are_named() {
    let p = project(&format!("{TEACHER}[stage.second]\nuse = \"lora@4\"\nin.tokens = \"tokens\"\nbase = \"other\"\n"));
    let err = refused(&p, &["plan", "p.toml"]);
    let expected = r#"error: `tokenizer` of stage `tokens` is "base", but the stages that read `tokens` disagree
  --> p.toml:12:13
   |
12 | tokenizer = "base"
   |             ^^^^^^ `teacher.base` is "tiny", `second.base` is "other"
   |
help: use one stage for each, such as a second one like `tokens`, or write the value of `tokenizer` itself
"#;
    assert!(err.contains(expected), "{err}");
    let tokens = &TEACHER[..TEACHER.find("[stage.teacher]").unwrap()];
    p.write("p.toml", &format!("{HEAD}{tokens}"));
    let err = refused(&p, &["plan", "p.toml"]);
    let expected = "error: `tokenizer` of stage `tokens` is \"base\", but no stage that reads `tokens` has a parameter `base` or `student`\n";
    assert!(err.contains(expected), "{err}");
}

#[test]
fn tokens_of_another_tokenizer_than_the_bases_are_refused() {
    let p = project(TEACHER);
    p.run(&[]);
    // A trained base, and tokens of a tokenizer of the same size whose vocabulary is another.
    copy(&p.folders("p.toml", "teacher")[0], &p.path("trained"));
    copy(&p.path("trained"), &p.path("swapped"));
    let path = p.path("swapped/tokenizer.json");
    let mut whole = json(&path);
    let vocabulary = whole["model"]["vocab"].as_object_mut().unwrap();
    let of = |id: u64, vocabulary: &serde_json::Map<String, Value>| {
        vocabulary.iter().find(|(_, value)| **value == id).unwrap().0.clone()
    };
    let (one, two) = (of(40, vocabulary), of(41, vocabulary));
    vocabulary.insert(one.clone(), 41.into());
    vocabulary.insert(two.clone(), 40.into());
    fs::write(&path, whole.to_string()).unwrap();
    let stages = TEACHER.replace("\"base\"", "\"swapped\"").replace("base = \"tiny\"", "base = \"trained\"");
    p.write("p.toml", &format!("{HEAD}{stages}"));
    // Before the first stage, with both places.
    let expected = format!(
        "error: stage `tokens` gives tokens of another tokenizer (`swapped`, p.toml:12) than that of the base of stage \
         `teacher` (`trained`, p.toml:16); they differ in the vocabulary: id 40 is `{two}` instead of `{one}`\n  --> p.toml:16:8\n"
    );
    let help = "help: set `tokenizer = \"base\"` in stage `tokens`\n";
    for words in [&["plan", "p.toml"][..], &["run", "p.toml"], &["run", "p.toml", "--dry-run"]] {
        let (code, _, err) = p.pipe(words);
        assert!(code == 2 && err.contains(&expected) && err.contains(help), "{code} {err}\n{expected}");
        assert!(!err.contains("corpus"), "{err}");
    }
    // The stage itself refuses them too.
    let err = refused(&p, &["run", "p.toml", "--keep-going"]);
    let expected = format!(
        "the tokens were made with another tokenizer than the base's; they differ in the vocabulary: id 40 is `{two}` instead \
         of `{one}`; set `tokenizer = \"base\"` in the stage that makes the tokens"
    );
    assert!(err.contains(&expected), "{err}\n{expected}");
    // Where tokens meet a model from upstream, it is the model's tokenizer that counts.
    let met = format!(
        "{HEAD}{stages}[stage.other]\nuse = \"tokenize@9\"\nin.corpus = \"corpus\"\ntokenizer = \"trained\"\n[stage.known]\nuse = \
         \"model@trained\"\n[stage.int8]\nuse = \"quantize@int8\"\nin.model = \"known\"\n[stage.scores]\nuse = \"evaluate\"\nin.model \
         = \"int8\"\nin.tokens = \"tokens\"\n"
    );
    p.write("met.toml", &met.replace("in.tokens = \"tokens\"\nbase", "in.tokens = \"other\"\nbase"));
    let err = refused(&p, &["plan", "met.toml"]);
    let expected = format!(
        "error: stage `scores` gets tokens of stage `tokens` and the model of stage `int8`, which have different tokenizers \
         (`swapped`, met.toml:12; `trained`, met.toml:23); they differ in the vocabulary: id 40 is `{two}` instead of `{one}`\n"
    );
    assert!(err.contains(&expected), "{err}\n{expected}");
    let (code, _, err) = p.pipe(&["run", "p.toml", "--set", "stage.tokens.tokenizer=base"]);
    assert_eq!(code, 0, "{err}");
    // A base without weights learns the words of the tokens.
    let (code, _, err) = p.pipe(&["run", "p.toml", "--set", "stage.teacher.base=tiny"]);
    assert_eq!(code, 0, "{err}");
}

#[test]
fn the_length_of_the_tokens_stays_with_the_model() {
    let p = project(&format!(
        r#"{TEACHER}[stage.pruned]
use = "prune@0.3"
in.model = "teacher"
[stage.int8]
use = "quantize@int8"
in.model = "pruned"
[stage.onnx]
use = "convert@onnx"
in.model = "teacher"
[stage.adapted]
use = "lora@4"
in.tokens = "tokens"
base = "tiny"
epochs = 1
[stage.student]
use = "distill"
in.teacher = "teacher"
in.tokens = "tokens"
epochs = 1
"#
    ));
    // What all-MiniLM has in its tokenizer.json.
    let path = p.path("tiny/tokenizer.json");
    let mut whole = json(&path);
    whole["truncation"] =
        serde_json::json!({"direction": "Right", "max_length": 128, "strategy": "LongestFirst", "stride": 0});
    whole["padding"] = serde_json::json!({"strategy": {"Fixed": 128}, "direction": "Right", "pad_to_multiple_of": null,
        "pad_id": 1, "pad_type_id": 0, "pad_token": "<pad>"});
    fs::write(&path, whole.to_string()).unwrap();
    p.run(&[]);
    for stage in ["tokens", "teacher", "pruned", "int8", "onnx", "adapted", "student"] {
        for dir in p.folders("p.toml", stage) {
            let whole = json(&dir.join("tokenizer.json"));
            assert_eq!((&whole["truncation"], &whole["padding"]), (&Value::Null, &Value::Null), "{stage}");
            assert_eq!(json(&dir.join("tokenizer_config.json"))["model_max_length"], 9, "{stage}");
            let config = dir.join("config.json");
            if config.is_file() {
                assert!(json(&config).get("transformers_version").is_none(), "{stage}");
            }
        }
    }
    // `predict` cuts where training did: 9 tokens, two of them special.
    let text = "the queue was awful ".repeat(10);
    let (code, out, err) = p.pipe(&["predict", "p.toml:teacher", "--text", &text]);
    assert_eq!(code, 0, "{err}");
    let line: Value = serde_json::from_str(&out).unwrap();
    let cut = line["truncated"].as_u64().unwrap();
    let (_, out, _) = p.pipe(&["predict", "p.toml:teacher", "--text", &"the queue was awful ".repeat(20)]);
    let more: Value = serde_json::from_str(&out).unwrap();
    assert!(cut > 20 && more["truncated"].as_u64().unwrap() > 2 * cut, "{out}");
    assert_eq!(line["logits"], more["logits"]);
}

#[test]
fn the_adapter_of_a_stage_is_complete_and_merges_with_its_labels() {
    let p = project(TEACHER);
    p.run(&[]);
    // A base that classified something else.
    copy(&p.folders("p.toml", "teacher")[0], &p.path("trained"));
    let path = p.path("trained/config.json");
    let mut config = json(&path);
    (config["id2label"], config["label2id"]) = (Value::Null, Value::Null);
    fs::write(&path, config.to_string()).unwrap();
    p.write(
        "p.toml",
        &format!(
            "{HEAD}{}",
            TEACHER.replace("base = \"tiny\"", "base = \"trained\"\nrank = 4").replace("\"train\"\n", "\"lora\"\n")
        ),
    );
    p.run(&[]);
    let adapter =
        p.folders("p.toml", "teacher").into_iter().find(|dir| dir.join("adapter_config.json").is_file()).unwrap();
    let mut names: Vec<String> =
        fs::read_dir(&adapter).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "adapter_config.json",
            "adapter_model.safetensors",
            "config.json",
            "merges.txt",
            "preprocessing.json",
            "special_tokens_map.json",
            "tokenizer.json",
            "tokenizer_config.json",
            "vocab.json"
        ]
    );
    copy(&adapter, &p.path("mood"));
    p.write("p.toml", "[stage.merged]\nuse = \"merge\"\nbase = \"trained\"\nadapter = \"mood\"\n");
    let (code, _, err) = p.pipe(&["run", "p.toml"]);
    assert!(code == 0 && !err.contains("LABEL_"), "{err}");
    let merged = &p.folders("p.toml", "merged")[0];
    assert_eq!(json(&merged.join("config.json"))["id2label"], serde_json::json!({"0": "cross", "1": "happy"}));
    assert_eq!(json(&merged.join("tokenizer_config.json"))["model_max_length"], 9);
    // Without them, the names of the labels are unknown.
    fs::remove_file(p.path("mood/config.json")).unwrap();
    let (code, _, err) = p.pipe(&["run", "p.toml"]);
    let expected = "neither the adapter nor the base names the labels, so they are LABEL_0, LABEL_1; set `labels`";
    assert!(code == 0 && err.contains(expected), "{err}");
    // An adapter with a config.json is no base.
    p.write("p.toml", &format!("{HEAD}{}", TEACHER.replace("base = \"tiny\"", "base = \"mood\"")));
    copy(&adapter, &p.path("mood"));
    let err = refused(&p, &["run", "p.toml"]);
    assert!(
        err.contains("mood is an adapter, not a model; merge it into its base with a stage of `use = \"merge\"`"),
        "{err}"
    );
}

#[test]
fn an_adapter_in_pytorchs_format_gives_pefts_logits() {
    let p = Project::new();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/adapter-bin");
    copy(&fixtures.join("adapter"), &p.path("adapter"));
    copy(&fixtures.join("base"), &p.path("tiny"));
    p.write("p.toml", "[stage.theirs]\nuse = \"merge\"\nbase = \"tiny\"\nadapter = \"adapter\"\n");
    p.run(&[]);
    let (code, out, err) = p.pipe(&["predict", "p.toml:theirs", "--text", "panic at the shop"]);
    assert_eq!(code, 0, "{err}");
    let line: Value = serde_json::from_str(&out).unwrap();
    // PEFT's `merge_and_unload`.
    for (logit, expected) in line["logits"].as_array().unwrap().iter().zip([1.17796, 0.96356]) {
        assert!((logit.as_f64().unwrap() - expected).abs() < 1e-4, "{line}");
    }
    let (code, out, err) = p.pipe(&["inspect", "adapter"]);
    assert!(code == 0 && out.contains("adapter_model.bin"), "{out}{err}");
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 5995\n";
    p.write("adapter/adapter_model.bin", pointer);
    let err = refused(&p, &["run", "p.toml"]);
    let expected = "adapter_model.bin: a Git LFS pointer, not the file itself; download the file with `git lfs pull`";
    assert!(err.contains(expected), "{err}");
    fs::remove_file(p.path("adapter/adapter_model.bin")).unwrap();
    let expected = "has neither adapter_model.safetensors nor adapter_model.bin";
    assert!(refused(&p, &["run", "p.toml"]).contains(expected));
    assert!(refused(&p, &["inspect", "adapter"]).contains(expected));
}

#[test]
fn a_base_that_is_a_name_on_the_hub_is_recognised() {
    let p = project(TEACHER);
    p.write("p.toml", &format!("{HEAD}{}", TEACHER.replace("\"tiny\"", "\"roberta-base\"")));
    let err = refused(&p, &["plan", "p.toml"]);
    let expected = "error: stage `teacher` reads `roberta-base`, which does not exist";
    assert!(err.contains(expected) && err.contains("help: did you mean `hf:roberta-base`?"), "{err}");
    for (path, suggested) in [("google/bert_uncased@main", true), ("tiny/more", false), ("./tiny2", false)] {
        let err = refused(&p, &["plan", "p.toml", "--set", &format!("stage.teacher.base={path}")]);
        assert_eq!(err.contains(&format!("did you mean `hf:{path}`?")), suggested, "{err}");
    }
}

#[test]
fn settings_that_contradict_tokenizer_json_are_applied_and_told() {
    let p = project(&TEACHER.replace("\"tiny\"", "\"bert\""));
    base_in("bert", &p, BERT, "bert");
    p.run(&[]);
    let dir = p.path("model");
    copy(&p.folders("p.toml", "teacher")[0], &dir);
    let path = dir.join("tokenizer_config.json");
    let mut config = json(&path);
    config["do_lower_case"] = false.into();
    fs::write(&path, config.to_string()).unwrap();
    let logits = |text: &str| -> (Value, String) {
        let (code, out, err) = p.pipe(&["predict", "model", "--text", text]);
        assert_eq!(code, 0, "{err}");
        (serde_json::from_str::<Value>(&out).unwrap()["logits"].clone(), err)
    };
    let (loud, told) = logits("THE QUEUE");
    assert_ne!(loud, logits("the queue").0);
    let expected = "warning: `do_lower_case` in tokenizer_config.json is false, but tokenizer.json has `lowercase` true; the \
                    former decides, as in transformers";
    assert!(told.contains(expected), "{told}");
    let (_, out, _) = p.pipe(&["inspect", "model"]);
    assert!(out.contains("`do_lower_case` in tokenizer_config.json is false"), "{out}");
}
