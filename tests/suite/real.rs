//! The real kinds through the binary, with a corpus that trains in seconds.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::project::{PIPELINE, Project};

#[test]
fn a_pipeline_of_every_kind_runs_once_and_then_only_what_changes() {
    let p = Project::new();
    let all = [
        "adapted",
        "comparison",
        "corpus",
        "int8",
        "pruned",
        "scores[adapted]",
        "scores[int8]",
        "scores[pruned]",
        "scores[student]",
        "scores[teacher]",
        "student",
        "teacher",
        "tokens",
    ];
    assert_eq!(p.run(&[]), all);
    assert_eq!(p.run(&[]), [""; 0]);
    let csv = fs::read_to_string(p.path("out/comparison.csv")).unwrap();
    let variants: Vec<&str> = csv.lines().skip(1).map(|l| l.split(',').next().unwrap()).collect();
    assert_eq!(variants, ["teacher", "adapted", "pruned", "int8", "student"]);
    assert!(fs::read_to_string(p.path("out/comparison.md")).unwrap().contains("\n| variant | accuracy |"));

    // After a change of one line, only the stages that depend on it run.
    p.write("p.toml", &PIPELINE.replace("prune@0.3", "prune@0.4"));
    assert_eq!(p.run(&[]), ["comparison", "pruned", "scores[pruned]"]);
    // The same rows in another spelling give the same corpus, so nothing else runs.
    p.write("p.toml", PIPELINE);
    p.write("train.csv", &Project::csv(160).replace('"', ""));
    assert_eq!(p.run(&["tokens"]), ["corpus"]);

    // The artifacts have the files that other tools expect.
    let model = p.pipe(&["cache", "path", "p.toml", "teacher"]).1;
    let mut names: Vec<String> =
        fs::read_dir(model.trim()).unwrap().map(|f| f.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "README.md",
            "config.json",
            "lineage.json",
            "merges.txt",
            "model.safetensors",
            "preprocessing.json",
            "special_tokens_map.json",
            "tokenizer.json",
            "tokenizer_config.json",
            "training.json",
            "training.parquet",
            "vocab.json"
        ]
    );
    let adapter = p.pipe(&["cache", "path", "p.toml", "adapted.adapter"]).1;
    assert!(
        Path::new(adapter.trim()).join("adapter_config.json").is_file()
            && Path::new(adapter.trim()).join("adapter_model.safetensors").is_file()
    );
    let metrics: serde_json::Value = serde_json::from_slice(
        &fs::read(
            Path::new(p.pipe(&["cache", "path", "p.toml", "scores[int8].metrics"]).1.trim()).join("metrics.json"),
        )
        .unwrap(),
    )
    .unwrap();
    for key in [
        "accuracy",
        "macro_precision",
        "macro_recall",
        "macro_f1",
        "macro_auc",
        "loss",
        "parameters",
        "non_zero",
        "bytes",
        "peak_memory_bytes",
        "made_seconds",
    ] {
        assert!(metrics[key].is_number(), "{key}: {metrics}");
    }
    assert!(metrics.get("latency_p50_ms").is_none(), "speed-seconds = 0: {metrics}");
    assert_eq!(metrics["confusion"].as_array().unwrap().len(), 2);
}

#[test]
fn predict_labels_texts_from_a_folder_a_stage_and_a_file() {
    let p = Project::new();
    p.run(&["teacher", "int8"]);
    let dir = p.pipe(&["cache", "path", "p.toml", "teacher"]).1.trim().to_string();
    let (code, out, err) = p.pipe(&["predict", &dir, "--text", "the store was great", "--text", ""]);
    assert_eq!(code, 0, "{err}");
    let lines: Vec<serde_json::Value> = out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["text"], "the store was great");
    let total: f64 = lines[0]["scores"].as_object().unwrap().values().map(|v| v.as_f64().unwrap()).sum();
    assert!((total - 1.0).abs() < 1e-5 && lines[0]["logits"].as_array().unwrap().len() == 2);
    p.write("some.csv", "id,tweet\n1,\"the store, it was great\"\n2,awful\n");
    let (code, out, err) =
        p.pipe(&["predict", "p.toml:int8", "--input", "some.csv", "--column", "tweet", "--format", "csv"]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(out.lines().next().unwrap(), "text,label,score:cross,score:happy,logit:cross,logit:happy");
    assert!(out.lines().nth(1).unwrap().starts_with("\"the store, it was great\","), "{out}");
    assert_eq!(out.lines().count(), 3);
    let (code, _, err) = p.pipe(&["predict", "p.toml:int8", "--input", "some.csv"]);
    assert_eq!(
        (code, err.as_str()),
        (
            1,
            "error: cannot use some.csv: the file has no column `text` for the text; its columns are `id`, `tweet`; did you \
             mean text = \"tweet\"?\n\
             help: choose a column with --column (of second texts with --pair-column); if the file has no header, add --no-header and give its number\n"
        )
    );
    let (code, _, err) = p.pipe(&["predict", "p.toml:techer", "--text", "x"]);
    assert_eq!(code, 2);
    assert!(err.contains("did you mean `teacher`?"), "{err}");
}

#[test]
fn ctrl_c_checkpoints_and_exits_130() {
    let p = Project::new();
    p.write("p.toml", &PIPELINE.replace("epochs = 2\n", "epochs = 4000\n"));
    let child = p.command(&["run", "p.toml", "teacher"]).stderr(Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    let training =
        || fs::read_dir(p.path("cache/partial")).is_ok_and(|all| all.flatten().any(|e| e.path().join("work").is_dir()));
    while !training() {
        assert!(started.elapsed() < Duration::from_secs(30), "training did not start");
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_millis(300));
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    let plan = p.pipe(&["plan", "p.toml"]).1;
    assert!(plan.contains("continues where it was interrupted"), "{plan}");
}

#[test]
fn a_full_disk_fails_the_stage_says_so_and_keeps_what_was_there() {
    // Mounts a file system of 200 kB; skipped without root and user namespaces.
    let p = Project::new();
    let script = format!(
        "mount -t tmpfs -o size=200k none cache && '{}' run p.toml; echo code $?; ls cache/entries | wc -l; mount -o remount,size=50m cache && '{}' run p.toml corpus tokens; echo code $?",
        env!("CARGO_BIN_EXE_pipe"),
        env!("CARGO_BIN_EXE_pipe")
    );
    let output = Command::new("unshare")
        .args(["-rm", "sh", "-c", &script])
        .current_dir(p.temp.path())
        .env("NO_COLOR", "1")
        .env_remove("PIPE_CACHE")
        .output();
    let Some(output) = output.ok().filter(|o| String::from_utf8_lossy(&o.stdout).contains("code")) else {
        println!("skipped: no file system can be mounted here");
        return;
    };
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(out.starts_with("code 1\n"), "{out}{err}");
    assert!(err.contains("No space left on device"), "{err}");
    assert!(out.trim_end().ends_with("code 0"), "once there is room the run goes on: {out}{err}");
}

#[test]
fn a_cache_that_cannot_be_written_is_said_before_anything_runs() {
    let p = Project::new();
    p.write("occupied", "a file where the folder should be");
    let (code, _, err) = p.pipe(&["run", "p.toml", "--cache-dir", "occupied/cache"]);
    assert_eq!(code, 1);
    assert!(err.starts_with("error: cannot create the cache folder occupied/cache/objects: "), "{err}");
    let script = format!(
        "mount --bind cache cache && mount -o remount,ro,bind cache && '{}' run p.toml; echo code $?",
        env!("CARGO_BIN_EXE_pipe")
    );
    let output = Command::new("unshare")
        .args(["-rm", "sh", "-c", &script])
        .current_dir(p.temp.path())
        .env("NO_COLOR", "1")
        .env_remove("PIPE_CACHE")
        .output();
    let Some(output) = output.ok().filter(|o| String::from_utf8_lossy(&o.stdout).contains("code")) else {
        println!("skipped: nothing can be mounted here");
        return;
    };
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(err.contains("Read-only file system") && err.contains("--cache-dir or $PIPE_CACHE"), "{err}");
}

/// A mistake, a function that makes it, and parts of the expected message.
type Case<'a> = (&'a str, &'a dyn Fn(&Project), &'a [&'a str]);

#[test]
fn what_is_wrong_with_data_and_models_is_said_with_its_place() {
    let cases: &[Case] = &[
        (
            "an undeclared label",
            &|p| p.write("p.toml", &PIPELINE.replace("validation = 0.2", "labels = [\"happy\", \"crass\"]")),
            &["`cross`", "train.csv:3", "did you mean `crass`?"],
        ),
        (
            "a missing column",
            &|p| p.write("train.csv", "txt,label\na,happy\n"),
            &["train.csv", "`text`", "`txt`, `label`", "did you mean text = \"txt\"?"],
        ),
        ("zero rows", &|p| p.write("train.csv", "text,label\n"), &["train.csv", "no usable rows"]),
        (
            "one class only",
            &|p| {
                p.write("train.csv", "text,label\na,happy\nb,happy\nc,happy\n");
                p.write("test.tsv", "words\tclass\nd\thappy\n");
            },
            &["have the label `happy`", "at least two"],
        ),
        ("a model without config", &|p| fs::remove_file(p.path("tiny/config.json")).unwrap(), &["tiny", "config.json"]),
        (
            "an unknown family",
            &|p| p.write("tiny/config.json", "{\"model_type\": \"mamba\"}"),
            &["model_type", "mamba", "roberta"],
        ),
        (
            "a missing tokenizer",
            &|p| ["tokenizer.json", "vocab.json"].iter().for_each(|f| fs::remove_file(p.path("tiny").join(f)).unwrap()),
            &["no tokenizer", "tokenizer.json", "merges.txt"],
        ),
        (
            "rows longer than the model",
            &|p| {
                p.write(
                    "tiny/config.json",
                    &fs::read_to_string(p.path("tiny/config.json")).unwrap().replace("258", "8"),
                )
            },
            &["tokens, but the model takes at most 6; set max-length to 6"],
        ),
    ];
    for (name, spoil, said) in cases {
        let p = Project::new();
        spoil(&p);
        let (code, _, err) = p.pipe(&["run", "p.toml", "teacher"]);
        assert_eq!(code, 1, "{name}: {err}");
        for words in *said {
            assert!(err.contains(words), "{name}: `{words}` is not in\n{err}");
        }
        assert!(!err.contains("panicked"), "{name}: {err}");
    }
}

#[test]
fn a_hub_model_without_a_network_says_which_folder_the_files_go_to() {
    let p = Project::new();
    p.write("p.toml", &PIPELINE.replace("base = \"tiny\"", "base = \"hf:someone/something\""));
    let (code, _, err) = p.pipe(&["run", "p.toml"]);
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("p.toml:18:8") && err.contains("someone/something") && err.contains("hub"), "{err}");
}

/// Run `pipe` with an unreachable Hub, and with secrets in all the usual places.
fn with_secrets(p: &Project, words: &[&str]) -> (Option<i32>, String) {
    fs::create_dir_all(p.path("hub")).unwrap();
    p.write("hub/token", "hf_fromTheTokenFile\n");
    let mut command = p.command(words);
    command
        .env_remove("HF_HUB_OFFLINE")
        .env("HF_TOKEN", "hf_secretOfTheEnvironment")
        .env("HF_ENDPOINT", "http://user:hunter2hunter2@127.0.0.1:9")
        .env("HTTPS_PROXY", "http://joe:proxypassword@127.0.0.1:9")
        .env("NO_PROXY", "127.0.0.1");
    let output = command.output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    for secret in ["hf_secret", "hf_fromTheTokenFile", "hunter2", "proxypassword"] {
        assert!(!text.contains(secret), "{secret} is in\n{text}");
    }
    (output.status.code(), text)
}

#[test]
fn no_secret_reaches_the_terminal() {
    let p = Project::new();
    p.write("p.toml", &PIPELINE.replace("base = \"tiny\"", "base = \"hf:someone/something\""));
    for words in [&["run", "p.toml"][..], &["run", "p.toml", "--json"]] {
        let (code, text) = with_secrets(&p, words);
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains("downloading hf:someone/something failed"), "{text}");
    }
    let (code, text) = with_secrets(&p, &["plan", "p.toml"]);
    assert!(code == Some(0) && text.contains("needs download: hf:someone/something"), "{text}");
    // Secrets in the file, on the command line, and in messages that quote them.
    p.write("p.toml", &PIPELINE.replace("base = \"tiny\"", "base = \"hf:someone/hf_secretOfTheEnvironment/x\""));
    let (code, text) = with_secrets(&p, &["run", "p.toml"]);
    assert!(code == Some(2) && text.contains("hf:someone/***/x") && text.contains("is not a model name"), "{text}");
    assert!(text.contains("base = \"hf:someone/*************************/x\""), "{text}");
    p.write("p.toml", PIPELINE);
    let (code, text) = with_secrets(&p, &["run", "p.toml", "--set", "stage.teacher.base=hf_secretOfTheEnvironment"]);
    assert!(code == Some(2) && text.contains("reads `***`"), "{text}");
    let (code, text) = with_secrets(&p, &["run", "p.toml", "--device", "hf_secretOfTheEnvironment"]);
    assert!(code == Some(2) && text.contains("***"), "{text}");
    let (code, text) = with_secrets(&p, &["hf_secretOfTheEnvironment"]);
    assert!(code == Some(2) && text.contains("'***'"), "{text}");
    let (code, text) = with_secrets(&p, &["show", "p.toml", "--set", "stage.teacher.base=hf_secretOfTheEnvironment"]);
    assert!(code == Some(0) && text.contains("base = \"***\""), "{text}");
}
