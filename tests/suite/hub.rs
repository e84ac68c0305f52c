//! Models by name through the binary, from a local Hub server.

use std::fs;
use std::process::Output;
use std::time::Duration;

use super::project::{PIPELINE, Project};

#[expect(dead_code, reason = "the tests of its module use the rest")]
#[path = "../../src/ml/hub/server.rs"]
mod server;

use server::{FIRST, Fault, Files, SECOND, Server};

/// The pipeline with its tokenizer and its base model taken from the Hub.
fn named(base: &str) -> String {
    let local = "tokenizer = \"tiny\"";
    let text = PIPELINE.replace(local, &format!("tokenizer = \"{base}\""));
    text.replacen("base = \"tiny\"", &format!("base = \"{base}\""), 1)
}

/// The files of a trained model, as users upload them.
fn trained(p: &Project) -> Files {
    p.run(&["teacher"]);
    let (code, out, err) = p.pipe(&["cache", "path", "p.toml", "teacher"]);
    assert_eq!(code, 0, "{err}");
    let dir = fs::read_dir(out.trim()).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &std::path::Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    dir.map(|path| (name(&path), fs::read(&path).unwrap())).collect()
}

/// Run `pipe` with network access to this Hub only.
fn online(p: &Project, server: &Server, words: &[&str]) -> (i32, String) {
    let mut command = p.command(words);
    command.env_remove("HF_HUB_OFFLINE").env_remove("HF_TOKEN").env("HF_ENDPOINT", &server.endpoint);
    let Output { status, stdout, stderr } = command.env("NO_PROXY", "127.0.0.1").output().unwrap();
    (status.code().unwrap_or(-1), String::from_utf8([stderr, stdout].concat()).unwrap())
}

#[test]
fn a_model_is_fetched_before_the_first_stage_pinned_by_its_commit_and_then_not_asked_for_again() {
    let p = Project::new();
    let files = trained(&p);
    let server = Server::start(files.clone());
    p.write("p.toml", &named("hf:some/model"));
    let (code, said) = online(&p, &server, &["plan", "p.toml", "teacher"]);
    assert!(code == 0 && said.contains("base \"tiny\" → \"hf:some/model\""), "{said}");
    assert_eq!(server.requests(), []);

    // A tokenizer does not need the weights.
    let (code, said) = online(&p, &server, &["run", "p.toml", "tokens"]);
    assert_eq!(code, 0, "{said}");
    assert!(server.requests().iter().all(|r| !r.path.contains("safetensors")));
    let (code, said) = online(&p, &server, &["run", "p.toml", "teacher"]);
    assert_eq!(code, 0, "{said}");
    let lines: Vec<&str> = said.lines().map(str::trim_end).collect();
    assert_eq!(lines[..2], ["get  hf:some/model", &format!("got  hf:some/model  {FIRST}")], "{said}");
    assert!(lines[2].starts_with("run small: ") && lines.contains(&"hit  tokens"), "{said}");

    // No further requests, even if the branch has moved: everything is cached.
    let mut moved = files;
    moved.insert("README.md".into(), b"better".to_vec());
    server.push(SECOND, moved);
    server.requests();
    let (code, said) = online(&p, &server, &["run", "p.toml", "teacher"]);
    assert!(code == 0 && !said.contains("get "), "{said}");
    assert_eq!(p.run(&["teacher"]), [""; 0]);
    assert_eq!(server.requests(), []);

    // The result depends on the commit.
    p.write("p.toml", &named(&format!("hf:some/model@{SECOND}")));
    let (code, said) = online(&p, &server, &["run", "p.toml", "teacher"]);
    assert!(code == 0 && said.contains(&format!("got  hf:some/model@{SECOND}  {SECOND}")), "{said}");
    assert!(said.contains(&format!("base content {FIRST} → {SECOND}")), "{said}");
}

#[test]
fn a_download_that_was_killed_continues() {
    let p = Project::new();
    let server = Server::start(trained(&p));
    p.write("p.toml", &named("hf:some/model"));
    server.fail("model.safetensors", &[Fault::Stall(50_000)]);
    let mut command = p.command(&["run", "p.toml", "teacher"]);
    command.env_remove("HF_HUB_OFFLINE").env("HF_ENDPOINT", &server.endpoint).env("NO_PROXY", "127.0.0.1");
    let mut child = command.env("HF_HUB_DOWNLOAD_TIMEOUT", "600").spawn().unwrap();
    let blobs = p.path("hub/hub/models--some--model/blobs");
    let partial = || {
        let path = fs::read_dir(&blobs).ok()?.find_map(|e| e.ok().filter(|e| e.path().extension().is_some()))?;
        Some(path.metadata().ok()?.len())
    };
    while partial().is_none_or(|length| length < 50_000) {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it was killed");
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    server.requests();
    let (code, said) = online(&p, &server, &["run", "p.toml", "teacher"]);
    assert_eq!(code, 0, "{said}");
    // The tokenizer comes with the model: one download for both.
    assert_eq!(said.matches("get  hf:some/model").count(), 1, "{said}");
    let asked = server.requests();
    let parts: Vec<_> = asked.iter().filter(|r| r.what == "GET cdn").map(|r| r.range.as_deref()).collect();
    assert_eq!(parts, [Some("bytes=50000-")]);
}

#[test]
fn what_is_not_there_is_an_error_of_the_line_that_names_it() {
    let p = Project::new();
    let server = Server::start(Files::from([("config.json".into(), b"{}".to_vec())]));
    for (base, why) in [
        ("hf:some/other", "some/other does not exist or is private; correct the name, or set HF_TOKEN"),
        ("hf:some/model@v9", "some/model has no revision v9"),
        ("hf:some/model", "some/model has no model.safetensors or pytorch_model.bin; it contains config.json"),
    ] {
        p.write("p.toml", &PIPELINE.replacen("base = \"tiny\"", &format!("base = \"{base}\""), 1));
        let (code, said) = online(&p, &server, &["run", "p.toml"]);
        assert_eq!(code, 2, "{said}");
        assert!(said.contains(&format!("downloading {base} failed: {why}")) && said.contains("p.toml:18:8"), "{said}");
    }
}

#[test]
fn files_put_where_the_message_says_are_used_and_watched() {
    let p = Project::new();
    let files = trained(&p);
    p.write("p.toml", &named("hf:some/model"));
    let (code, _, err) = p.pipe(&["run", "p.toml", "teacher"]);
    let dir = "hub/hub/models--some--model/snapshots/main";
    assert!(
        code == 2 && err.contains("HF_HUB_OFFLINE forbids") && err.contains(&format!("{dir}: config.json")),
        "{err}"
    );
    fs::create_dir_all(p.path(dir)).unwrap();
    files.iter().for_each(|(name, bytes)| fs::write(p.path(dir).join(name), bytes).unwrap());
    assert_eq!(p.run(&["teacher"]), ["teacher", "tokens"]);
    assert_eq!(p.run(&["teacher"]), [""; 0]);
    // Without a commit, their content is digested.
    let config = String::from_utf8(files["config.json"].clone()).unwrap();
    fs::write(p.path(dir).join("config.json"), config + "\n").unwrap();
    assert_eq!(p.run(&["teacher"]), ["teacher", "tokens"]);
}

#[test]
fn a_trained_model_enters_by_its_name_with_what_belongs_to_it() {
    let p = Project::new();
    let files = trained(&p);
    let server = Server::start(files.clone());
    p.write("m.toml", "[stage.theirs]\nuse = \"model@hf:some/model\"\n");
    let (code, said) = online(&p, &server, &["run", "m.toml"]);
    assert!(code == 0 && said.contains(&format!("got  hf:some/model  {FIRST}")), "{said}");
    let dir = p.pipe(&["cache", "path", "m.toml", "theirs"]).1;
    for name in ["config.json", "model.safetensors", "preprocessing.json", "lineage.json", "README.md"] {
        let found = fs::read(std::path::Path::new(dir.trim()).join(name)).unwrap();
        assert!(found == files[name], "{name}");
    }
    let asked = server.requests();
    assert!(asked.iter().all(|r| !r.path.ends_with("training.parquet") && !r.path.ends_with("README.md")), "{asked:?}");
}
