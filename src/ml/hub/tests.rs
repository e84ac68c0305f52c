//! Downloads, cache layout, offline use and progress, tested against a local server.

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::*;
use crate::hub::server::{FIRST, Files, Request, SECOND, Server};
use crate::watch::{Interrupted, Measured, Progress, Silent};

#[path = "python_tests.rs"]
mod python;

pub const TOKEN: &str = "hf_theTokenOfAnn";
/// Bytes of the weights: more than one chunk of a download.
pub const SIZE: usize = 700_000;

pub fn bytes(seed: usize) -> Vec<u8> {
    (0..SIZE).map(|i| (i * 31 + i / 251 + seed) as u8).collect()
}

pub fn files(all: &[(&str, &[u8])]) -> Files {
    all.iter().map(|(name, bytes)| (name.to_string(), bytes.to_vec())).collect()
}

/// A typical repository: `pipe` does not need some of its files.
pub fn repository() -> Files {
    files(&[
        ("README.md", b"# A model"),
        ("added_tokens.json", b"{}"),
        ("config.json", b"{\"model_type\": \"roberta\"}"),
        ("merges.txt", b"#version: 0.2\n"),
        ("model.safetensors", &bytes(0)),
        ("pytorch_model.bin", b"the same again"),
        ("tf_model.h5", b"the same for others"),
        ("tokenizer.json", b"{\"version\": \"1.0\"}"),
        ("tokenizer_config.json", b"{}"),
        ("training_args.bin", b"x"),
        ("vocab.json", b"{}"),
    ])
}

/// A user's machine: cache folder and Hub settings.
pub struct Machine {
    pub cache: tempfile::TempDir,
    pub endpoint: String,
    pub token: Option<String>,
    pub offline: Option<&'static str>,
    pub patience: Duration,
}

impl Machine {
    pub fn at(endpoint: &str) -> Self {
        let cache = tempfile::tempdir().unwrap();
        Self { cache, endpoint: endpoint.into(), token: None, offline: None, patience: Duration::from_secs(60) }
    }

    pub fn hub(&self) -> Hub {
        Hub::new(Settings {
            endpoint: self.endpoint.clone(),
            cache: self.cache.path().join("hub"),
            token: self.token.clone(),
            offline: self.offline,
            patience: self.patience,
            pause: Duration::ZERO,
        })
    }

    pub fn get(&self, reference: &str) -> Resolved {
        self.hub().resolve(reference, Need::Model, &Silent).unwrap()
    }

    pub fn error(&self, reference: &str) -> String {
        let error = self.hub().resolve(reference, Need::Model, &Silent).map(|_| ()).unwrap_err();
        let text = format!("{error:#}").replace(&self.endpoint, "http://hub");
        assert!(!text.contains(TOKEN) && !format!("{error:?}").contains(TOKEN), "{text}");
        text
    }

    pub fn repository(&self) -> PathBuf {
        self.cache.path().join("hub/models--some--model")
    }

    pub fn dir(&self, of: &str) -> String {
        self.repository().join("snapshots").join(of).display().to_string()
    }

    /// Creates the partial weights file that an earlier download left.
    pub fn leave(&self, bytes: &[u8]) -> PathBuf {
        let path = self.repository().join("blobs").join(format!("{}.incomplete", sha256(&self::bytes(0))));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }
}

pub fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The byte ranges of the weights requested from the port for large files.
pub fn ranges(requests: &[Request]) -> Vec<&str> {
    let big = requests.iter().filter(|r| r.what == "GET cdn" && r.path.contains("/model.safetensors"));
    big.map(|r| r.range.as_deref().unwrap_or("all")).collect()
}

#[test]
fn references_are_told_from_folders() {
    assert!(is_reference("hf:a/b") && !is_reference("models/hf"));
}

#[test]
fn a_model_comes_with_its_tokenizer_and_nothing_else_and_is_then_found_offline() {
    let server = Server::start(repository());
    let mut machine = Machine::at(&server.endpoint);
    let resolved = machine.get("hf:some/model");
    assert_eq!(resolved.commit.as_deref(), Some(FIRST));
    assert_eq!(
        names(&resolved.dir),
        [
            "added_tokens.json",
            "config.json",
            "merges.txt",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json",
            "vocab.json"
        ]
    );
    assert!(fs::read(resolved.dir.join("model.safetensors")).unwrap() == bytes(0));
    assert!(server.requests().iter().all(|r| r.authorization.is_none()));

    (machine.offline, machine.endpoint) = (Some("HF_HUB_OFFLINE"), "http://127.0.0.1:9".into());
    for reference in ["hf:some/model", "hf:some/model@main", &format!("hf:some/model@{FIRST}")] {
        assert_eq!(machine.get(reference), resolved, "{reference}");
    }
    assert_eq!(server.requests(), []);
}

#[test]
fn the_cache_is_laid_out_as_python_has_it() {
    let server = Server::start(repository());
    let machine = Machine::at(&server.endpoint);
    machine.get("hf:some/model");
    let at = machine.repository();
    assert_eq!(names(&at), ["blobs", "refs", "snapshots"]);
    assert_eq!(fs::read_to_string(at.join("refs/main")).unwrap(), FIRST);
    assert_eq!(names(&at.join("refs")), ["main"]);
    let link = |name: &str| fs::read_link(at.join("snapshots").join(FIRST).join(name)).unwrap();
    assert_eq!(link("model.safetensors"), Path::new("../../blobs").join(sha256(&bytes(0))));
    // `printf '{}' | git hash-object --stdin`
    assert_eq!(link("vocab.json"), Path::new("../../blobs/9e26dfeeb6e641a33dae4961196235bdb965b21b"));
    // Equal files share one blob, and no partial file is left.
    assert_eq!(names(&at.join("blobs")).len(), 5);
    assert!(names(&machine.cache.path().join("hub")).contains(&".locks".to_string()));
}

#[test]
fn a_tokenizer_comes_without_the_weights() {
    let server = Server::start(repository());
    let machine = Machine::at(&server.endpoint);
    let tokenizer = machine.hub().resolve("hf:some/model", Need::Tokenizer, &Silent).unwrap();
    let asked = server.requests();
    assert!(asked.iter().all(|r| !r.path.contains("safetensors") && !r.path.contains("config.json?")), "{asked:?}");
    assert!(tokenizer.dir.join("tokenizer_config.json").is_file() && !tokenizer.dir.join("config.json").exists());
    // The model is then completed at the same commit, although the branch has moved.
    server.push(SECOND, repository());
    assert_eq!(machine.hub().held("hf:some/model", Need::Model).unwrap(), None);
    assert_eq!(machine.get("hf:some/model"), tokenizer);
    let twice = server.requests().iter().filter(|r| r.path.ends_with("/tokenizer.json") && r.what == "GET").count();
    assert_eq!(twice, 0);
}

#[test]
fn every_layout_of_a_tokenizer_is_fetched() {
    for layout in TOKENIZERS {
        let mut all: Vec<(&str, &[u8])> = layout.iter().map(|name| (*name, &b"content"[..])).collect();
        all.push(("special_tokens_map.json", b"{}"));
        let server = Server::start(files(&all));
        let machine = Machine::at(&server.endpoint);
        let found = machine.hub().resolve("hf:some/model", Need::Tokenizer, &Silent).unwrap();
        assert!(all.iter().all(|(name, _)| found.dir.join(name).is_file()), "{layout:?}");
    }
}

#[test]
fn shards_are_fetched_by_their_index_and_pytorch_files_where_there_is_nothing_else() {
    let index =
        br#"{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors", "c": "model-1.safetensors"}}"#;
    let server = Server::start(files(&[
        ("config.json", b"{}"),
        ("model.safetensors.index.json", index),
        ("model-1.safetensors", b"one"),
        ("model-2.safetensors", b"two"),
        ("pytorch_model.bin", b"the same again"),
    ]));
    let machine = Machine::at(&server.endpoint);
    let dir = machine.get("hf:some/model").dir;
    let all = ["config.json", "model-1.safetensors", "model-2.safetensors", "model.safetensors.index.json"];
    assert_eq!(names(&dir), all);

    let server =
        Server::start(files(&[("config.json", b"{}"), ("pytorch_model.bin", b"one"), ("rust_model.ot", b"x")]));
    let machine = Machine::at(&server.endpoint);
    let dir = machine.get("hf:some/model").dir;
    assert_eq!(names(&dir), ["config.json", "pytorch_model.bin"]);
}

#[test]
fn a_branch_stays_at_the_commit_that_was_fetched_first_until_its_pin_is_deleted() {
    let server = Server::start(repository());
    let machine = Machine::at(&server.endpoint);
    let first = machine.get("hf:some/model");
    let mut moved = repository();
    moved.insert("model.safetensors".into(), bytes(1));
    server.push(SECOND, moved);
    server.requests();
    assert_eq!(machine.get("hf:some/model"), first);
    assert_eq!(server.requests(), []);
    assert_eq!(machine.get(&format!("hf:some/model@{SECOND}")).commit.as_deref(), Some(SECOND));
    assert_eq!(machine.get("hf:some/model"), first);
    fs::remove_file(machine.repository().join("refs/main")).unwrap();
    assert_eq!(machine.get("hf:some/model").commit.as_deref(), Some(SECOND));
}

#[test]
fn the_token_goes_to_the_hub_and_not_to_where_it_sends_us() {
    let server = Server::start(repository());
    server.require(TOKEN);
    let mut machine = Machine::at(&server.endpoint);
    machine.token = Some(TOKEN.into());
    machine.get("hf:old/model");
    let asked = server.requests();
    let bearer = format!("Bearer {TOKEN}");
    assert!(asked.iter().any(|r| r.what == "GET cdn") && asked.iter().any(|r| r.path.contains("old/model")));
    for request in asked {
        let may = !request.what.ends_with("cdn");
        assert_eq!(request.authorization.as_deref(), may.then_some(bearer.as_str()), "{request:?}");
    }
}

#[test]
fn offline_and_absent_says_which_files_go_where_and_they_are_then_found() {
    let mut machine = Machine::at("http://hub");
    machine.offline = Some("TRANSFORMERS_OFFLINE");
    let folder = machine.dir("main");
    assert_eq!(
        machine.error("hf:some/model"),
        format!(
            "hf:some/model is not in the local cache, and TRANSFORMERS_OFFLINE forbids downloads; unset \
             TRANSFORMERS_OFFLINE, or put its files into {folder}: config.json, model.safetensors or pytorch_model.bin, \
             and tokenizer.json or vocab.json with merges.txt or vocab.txt or spm.model or sentencepiece.bpe.model, and \
             those of tokenizer_config.json, special_tokens_map.json, added_tokens.json that exist (from \
             http://hub/some/model/tree/main)"
        )
    );
    let text = machine.hub().held("hf:some/model", Need::Tokenizer).map(|_| ()).unwrap_err().to_string();
    assert!(text.contains(&format!("{folder}: tokenizer.json or vocab.json")), "{text}");
    fs::create_dir_all(&folder).unwrap();
    for (name, bytes) in repository() {
        fs::write(Path::new(&folder).join(name), bytes).unwrap();
    }
    // The commit is unknown: the files in the folder are used as they are.
    let found = Resolved { dir: folder.into(), commit: None };
    assert_eq!(machine.get("hf:some/model"), found);
    assert_eq!(machine.hub().held("hf:some/model", Need::Tokenizer).unwrap(), Some(found));
    // A folder named after a commit counts as that commit.
    let commit = machine.dir(SECOND);
    fs::rename(machine.dir("main"), commit).unwrap();
    assert_eq!(machine.get(&format!("hf:some/model@{SECOND}")).commit.as_deref(), Some(SECOND));
}

#[test]
fn two_at_once_fetch_every_file_once() {
    let server = Server::start(repository());
    let machine = Machine::at(&server.endpoint);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| machine.get("hf:some/model"));
        }
    });
    assert_eq!(ranges(&server.requests()), ["all"]);
}

/// Records progress, and requests a stop after `stop_at` bytes.
#[derive(Default)]
struct Impatient {
    stop_at: Option<u64>,
    is_stopped: AtomicBool,
    seen: Mutex<Vec<(u64, u64)>>,
}

impl Watch for Impatient {
    fn progress(&self, p: Progress) {
        assert_eq!(p.unit, "byte");
        self.seen.lock().unwrap().push((p.done, p.total));
        self.is_stopped.store(self.stop_at.is_some_and(|at| p.done >= at), Ordering::Relaxed);
    }
    fn measured(&self, _: Measured) {}
    fn note(&self, _: String) {}
    fn warn(&self, _: String) {}
    fn stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }
}

#[test]
fn progress_is_of_all_files_and_grows_to_their_size() {
    let server = Server::start(repository());
    let watch = Impatient::default();
    let machine = Machine::at(&server.endpoint);
    let dir = machine.hub().resolve("hf:some/model", Need::Model, &watch).unwrap().dir;
    let size: u64 = names(&dir).iter().map(|name| dir.join(name).metadata().unwrap().len()).sum();
    let seen = watch.seen.into_inner().unwrap();
    assert!(seen.is_sorted() && seen.len() > 3);
    assert!(seen.iter().all(|(_, total)| *total == size) && seen.last() == Some(&(size, size)), "{seen:?}");
}

#[test]
fn an_interrupted_download_is_no_failure_and_continues() {
    let server = Server::start(repository());
    let machine = Machine::at(&server.endpoint);
    let watch = Impatient { stop_at: Some(300_000), ..Impatient::default() };
    let error = machine.hub().resolve("hf:some/model", Need::Model, &watch).map(|_| ()).unwrap_err();
    assert!(error.is::<Interrupted>(), "{error:#}");
    server.requests();
    machine.get("hf:some/model");
    let asked = server.requests();
    assert!(ranges(&asked)[0].starts_with("bytes="), "{asked:?}");
}
