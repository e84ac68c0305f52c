//! What a user of the Hub meets, against a server of this machine.

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::server::{FIRST, Fault, Files, Request, SECOND, Server};
use super::*;
use crate::ml::watch::{Interrupted, Progress, Silent};

const TOKEN: &str = "hf_theTokenOfAnn";
/// Bytes of the weights: more than one chunk of a download.
const SIZE: usize = 700_000;

fn bytes(seed: usize) -> Vec<u8> {
    (0..SIZE).map(|i| (i * 31 + i / 251 + seed) as u8).collect()
}

fn files(all: &[(&str, &[u8])]) -> Files {
    all.iter().map(|(name, bytes)| (name.to_string(), bytes.to_vec())).collect()
}

/// A repository as people upload them: some of its files are not for us.
fn repository() -> Files {
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

/// Somebody's machine.
struct Machine {
    cache: tempfile::TempDir,
    endpoint: String,
    token: Option<String>,
    offline: Option<&'static str>,
    patience: Duration,
}

impl Machine {
    fn at(endpoint: &str) -> Self {
        let cache = tempfile::tempdir().unwrap();
        Self { cache, endpoint: endpoint.into(), token: None, offline: None, patience: Duration::from_secs(60) }
    }

    fn hub(&self) -> Hub {
        Hub::new(Settings {
            endpoint: self.endpoint.clone(),
            cache: self.cache.path().join("hub"),
            token: self.token.clone(),
            offline: self.offline,
            patience: self.patience,
            pause: Duration::ZERO,
        })
    }

    fn get(&self, reference: &str) -> Resolved {
        self.hub().resolve(reference, Need::Model, &Silent).unwrap()
    }

    fn error(&self, reference: &str) -> String {
        let error = self.hub().resolve(reference, Need::Model, &Silent).map(|_| ()).unwrap_err();
        let text = format!("{error:#}").replace(&self.endpoint, "http://hub");
        assert!(!text.contains(TOKEN) && !format!("{error:?}").contains(TOKEN), "{text}");
        text
    }

    fn repository(&self) -> PathBuf {
        self.cache.path().join("hub/models--some--model")
    }

    fn dir(&self, of: &str) -> String {
        self.repository().join("snapshots").join(of).display().to_string()
    }

    /// What a try before this one left of the weights.
    fn leave(&self, bytes: &[u8]) -> PathBuf {
        let path = self.repository().join("blobs").join(format!("{}.incomplete", sha256(&super::tests::bytes(0))));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The parts of the weights that were asked for where big files are.
fn ranges(requests: &[Request]) -> Vec<&str> {
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
    // Equal files are one; nothing unfinished is left.
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
    // The model is then completed at the same commit, wherever the branch is by now.
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
fn a_commit_that_the_hub_no_longer_has_is_told_from_a_branch_that_never_was() {
    let server = Server::start(repository());
    let machine = Machine::at(&server.endpoint);
    machine.hub().resolve("hf:some/model", Need::Tokenizer, &Silent).unwrap();
    server.push(SECOND, repository());
    server.forget(FIRST);
    let pin = machine.repository().join("refs/main");
    assert_eq!(
        machine.error("hf:some/model"),
        format!(
            "downloading hf:some/model failed: some/model no longer has the commit that main was held at; delete {} to \
             take what main is now",
            pin.display()
        )
    );
    fs::remove_file(pin).unwrap();
    assert_eq!(machine.get("hf:some/model").commit.as_deref(), Some(SECOND));
}

#[test]
fn a_broken_download_continues_where_it_ended() {
    let server = Server::start(repository());
    let machine = Machine::at(&server.endpoint);
    server.fail("model.safetensors", &[Fault::Cut(300_000), Fault::Cut(100_000), Fault::Short(50_000)]);
    let dir = machine.get("hf:some/model").dir;
    assert_eq!(ranges(&server.requests()), ["all", "bytes=300000-", "bytes=400000-", "bytes=450000-"]);
    assert!(fs::read(dir.join("model.safetensors")).unwrap() == bytes(0));
}

#[test]
fn what_an_earlier_process_left_is_continued_too() {
    let server = Server::start(repository());
    let machine = Machine::at(&server.endpoint);
    machine.leave(&bytes(0)[..600_000]);
    machine.get("hf:some/model");
    assert_eq!(ranges(&server.requests()), ["bytes=600000-"]);
    // All of it, and only the name was missing.
    let machine = Machine::at(&server.endpoint);
    machine.leave(&bytes(0));
    machine.get("hf:some/model");
    assert_eq!(ranges(&server.requests()), [""; 0]);
}

#[test]
fn a_server_that_cannot_continue_sends_all_of_it() {
    let server = Server::start(repository());
    let machine = Machine::at(&server.endpoint);
    machine.leave(&bytes(0)[..600_000]);
    server.fail("model.safetensors", &[Fault::Whole]);
    let dir = machine.get("hf:some/model").dir;
    assert!(fs::read(dir.join("model.safetensors")).unwrap() == bytes(0));
}

#[test]
fn a_damaged_start_is_found_by_its_checksum_and_fetched_again_from_nothing() {
    let server = Server::start(repository());
    for left in [&bytes(1)[..600_000], &bytes(1)[..], &[bytes(0), vec![0; 9]].concat()[..]] {
        let machine = Machine::at(&server.endpoint);
        let partial = machine.leave(left);
        let dir = machine.get("hf:some/model").dir;
        assert!(fs::read(dir.join("model.safetensors")).unwrap() == bytes(0));
        assert_eq!(ranges(&server.requests()).last(), Some(&"all"));
        assert!(!partial.exists());
    }
}

#[test]
fn a_content_that_is_wrong_twice_is_an_error_and_leaves_nothing() {
    let server = Server::start(repository());
    let machine = Machine::at(&server.endpoint);
    for name in ["model.safetensors", "merges.txt"] {
        server.fail(name, &[Fault::Corrupt, Fault::Corrupt]);
    }
    let text = machine.error("hf:some/model");
    // `printf '#version: 0.2\n' | git hash-object --stdin`
    let promised = "downloading hf:some/model failed: merges.txt came twice with a content that does not have the git hash \
                    5e7f1fd94996c8e2b65adea828af1b398eace61f that the hub promises; something between here and the hub may \
                    change files: try another network, or put its files into";
    assert!(text.starts_with(promised), "{text}");
    let text = machine.error("hf:some/model");
    assert!(
        text.contains(&format!(
            "model.safetensors came twice with a content that does not have the SHA-256 {}",
            sha256(&bytes(0))
        )),
        "{text}"
    );
    assert_eq!(machine.hub().cached(&Reference::parse("hf:some/model").unwrap(), Need::Model), None);
    assert!(names(&machine.repository().join("blobs")).iter().all(|name| !name.ends_with(".incomplete")));
    // Once is bad luck.
    server.fail("model.safetensors", &[Fault::Corrupt]);
    machine.get("hf:some/model");
}

#[test]
fn a_busy_hub_is_asked_again() {
    let server = Server::start(repository());
    let machine = Machine::at(&server.endpoint);
    let busy = [Fault::Status(503, ""), Fault::Status(429, "")];
    for path in ["/revision/main", "config.json", "model.safetensors"] {
        server.fail(path, &busy);
    }
    machine.get("hf:some/model");
    server.fail("/revision/main", &[Fault::Status(503, ""); 4]);
    let text = Machine::at(&server.endpoint).error("hf:some/model");
    let start = "downloading hf:some/model failed: http://hub answers /api/models/some/model/revision/main with status 503; \
                 try again later, or put its files into";
    assert!(text.starts_with(start), "{text}");
}

#[test]
fn a_server_that_falls_silent_is_not_waited_for_forever() {
    let server = Server::start(repository());
    let mut machine = Machine::at(&server.endpoint);
    machine.patience = Duration::from_millis(300);
    server.fail("model.safetensors", &[Fault::Stall(100_000), Fault::Silence]);
    machine.get("hf:some/model");
    assert_eq!(ranges(&server.requests()).last(), Some(&"bytes=100000-"));
    fs::remove_dir_all(machine.repository()).unwrap();
    server.fail("/revision/main", &[Fault::Silence; 4]);
    let text = machine.error("hf:some/model@main");
    assert!(
        text.starts_with("downloading hf:some/model@main failed: http://hub broke off: it is silent; try again"),
        "{text}"
    );
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
fn a_gated_model_says_where_to_accept_and_a_private_one_what_to_set() {
    let server = Server::start(repository());
    server.require(TOKEN);
    let mut machine = Machine::at(&server.endpoint);
    let failed = |text: &str| format!("downloading {text}");
    assert_eq!(
        machine.error("hf:some/model"),
        failed(
            "hf:some/model failed: some/model is gated; accept its conditions at http://hub/some/model with your account, \
             then set HF_TOKEN to its token"
        )
    );
    assert_eq!(
        machine.error("hf:some/other"),
        failed(
            "hf:some/other failed: there is no some/other, or it is private; correct the name, or set HF_TOKEN to a token \
             that may read http://hub/some/other"
        )
    );
    machine.token = Some("hf_another".into());
    assert_eq!(
        machine.error("hf:some/model"),
        failed(
            "hf:some/model failed: some/model is gated; accept its conditions at http://hub/some/model with the account of \
             your token"
        )
    );
    assert_eq!(
        machine.error("hf:some/other"),
        failed(
            "hf:some/other failed: there is no some/other, or your token may not read it; see http://hub/some/other"
        )
    );
    server.fail("/revision/main", &[Fault::Status(401, "")]);
    let text = machine.error("hf:some/model");
    assert!(text.contains("refuses the token for some/model; set HF_TOKEN to one that is valid"), "{text}");
}

#[test]
fn a_revision_that_is_not_there_is_told_from_a_repository() {
    let server = Server::start(repository());
    assert_eq!(
        Machine::at(&server.endpoint).error("hf:some/model@v2"),
        "downloading hf:some/model@v2 failed: some/model has no revision v2; its branches and tags are at \
         http://hub/some/model/tree/main"
    );
}

#[test]
fn a_repository_of_something_else_says_what_it_holds() {
    let error = |all: &[&str]| {
        let all: Vec<(&str, &[u8])> = all.iter().map(|name| (*name, &b"{}"[..])).collect();
        let text = Machine::at(&Server::start(files(&all)).endpoint).error("hf:some/model");
        text.strip_prefix("downloading hf:some/model failed: some/model has no ").unwrap().to_owned()
    };
    assert_eq!(
        error(&["adapter_config.json", "adapter_model.safetensors"]),
        "config.json; it holds adapter_config.json, adapter_model.safetensors; that is an adapter: name the model that it \
         adapts"
    );
    assert_eq!(
        error(&["tokenizer.json", "tokenizer_config.json"]),
        "config.json; it holds tokenizer.json, tokenizer_config.json; that is a tokenizer: name a model here, and this one \
         as `tokenizer`"
    );
    assert_eq!(
        error(&["config.json", "model.gguf"]),
        "model.safetensors and no pytorch_model.bin; it holds config.json, model.gguf; name another repository, or a \
         revision that has it"
    );
    assert_eq!(error(&[]), "config.json; it is empty; name another repository, or a revision that has it");
    let many: Vec<String> = (10..30).map(|i| format!("{i}.txt")).collect();
    let text = error(&many.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(text.contains("20.txt, 21.txt and 8 more; "), "{text}");

    let server = Server::start(files(&[("config.json", b"{}"), ("vocab.json", b"{}")]));
    let machine = Machine::at(&server.endpoint);
    let text = machine.hub().resolve("hf:some/model", Need::Tokenizer, &Silent).map(|_| ()).unwrap_err().to_string();
    let layouts =
        "no tokenizer.json, no vocab.json with merges.txt, no vocab.txt, no spm.model, no sentencepiece.bpe.model; it";
    assert!(text.contains(layouts), "{text}");
}

#[test]
fn offline_and_absent_says_which_files_go_where_and_they_are_then_found() {
    let mut machine = Machine::at("http://hub");
    machine.offline = Some("TRANSFORMERS_OFFLINE");
    let folder = machine.dir("main");
    assert_eq!(
        machine.error("hf:some/model"),
        format!(
            "hf:some/model is not in the cache and TRANSFORMERS_OFFLINE forbids to download it; unset it, or put its files \
             into {folder}: config.json, model.safetensors or pytorch_model.bin, and tokenizer.json or vocab.json with \
             merges.txt or vocab.txt or spm.model or sentencepiece.bpe.model, and of tokenizer_config.json, \
             special_tokens_map.json, added_tokens.json those that there are (from http://hub/some/model/tree/main)"
        )
    );
    let text = machine.hub().held("hf:some/model", Need::Tokenizer).map(|_| ()).unwrap_err().to_string();
    assert!(text.contains(&format!("{folder}: tokenizer.json or vocab.json")), "{text}");
    fs::create_dir_all(&folder).unwrap();
    for (name, bytes) in repository() {
        fs::write(Path::new(&folder).join(name), bytes).unwrap();
    }
    // No commit is known: what is there is what counts.
    let found = Resolved { dir: folder.into(), commit: None };
    assert_eq!(machine.get("hf:some/model"), found);
    assert_eq!(machine.hub().held("hf:some/model", Need::Tokenizer).unwrap(), Some(found));
    // Under a commit's name they are that commit.
    let commit = machine.dir(SECOND);
    fs::rename(machine.dir("main"), commit).unwrap();
    assert_eq!(machine.get(&format!("hf:some/model@{SECOND}")).commit.as_deref(), Some(SECOND));
}

#[test]
fn nobody_there_is_said_with_the_address_and_the_files_that_do_without() {
    for (endpoint, why) in [("http://127.0.0.1:9", "Connection refused"), ("http://hub.invalid", "lookup")] {
        let machine = Machine::at(endpoint);
        let text = machine.error("hf:some/model");
        let start = "downloading hf:some/model failed: http://hub cannot be reached: ";
        assert!(text.starts_with(start) && text.contains(why), "{text}");
        assert!(text.contains("; try again, which continues where this ended, or put its files into "), "{text}");
        assert!(text.contains(&machine.dir("main")), "{text}");
    }
}

#[test]
fn passwords_in_the_endpoint_are_not_shown() {
    let text = Machine::at("http://ann:hunter2@127.0.0.1:9").hub().resolve("hf:some/model", Need::Model, &Silent);
    let text = text.map(|_| ()).unwrap_err().to_string();
    assert!(text.contains("http://127.0.0.1:9") && !text.contains("hunter2"), "{text}");
}

#[test]
fn a_cache_that_cannot_be_written_is_named_with_what_to_do() {
    let server = Server::start(repository());
    let machine = Machine::at(&server.endpoint);
    let hub = machine.cache.path().join("hub");
    fs::write(&hub, "a file where the folder should be").unwrap();
    let text = machine.error("hf:some/model");
    let wanted = format!("downloading hf:some/model failed: cannot create {}", hub.display());
    assert!(text.starts_with(&wanted), "{text}");
    assert!(text.ends_with("; make it writable, or set HF_HUB_CACHE to a folder that is"), "{text}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_says_so_and_keeps_the_cache_whole() {
    let server = Server::start(repository());
    let machine = Machine::at(&server.endpoint);
    let partial = machine.leave(b"");
    fs::remove_file(&partial).unwrap();
    std::os::unix::fs::symlink("/dev/full", &partial).unwrap();
    let text = machine.error("hf:some/model");
    let said = format!("cannot write {}: No space left on device", partial.display());
    assert!(text.contains(&said) && text.contains("; free some space, or set HF_HUB_CACHE to "), "{text}");
    fs::remove_file(partial).unwrap();
    machine.get("hf:some/model");
}

#[test]
fn a_content_that_was_deleted_or_cut_is_fetched_again() {
    let server = Server::start(repository());
    let machine = Machine::at(&server.endpoint);
    machine.get("hf:some/model");
    let blob = machine.repository().join("blobs").join(sha256(&bytes(0)));
    fs::remove_file(&blob).unwrap();
    assert_eq!(machine.hub().held("hf:some/model", Need::Model).unwrap(), None);
    machine.get("hf:some/model");
    assert!(fs::read(&blob).unwrap() == bytes(0));
    // Cut, and another file of the snapshot is gone too: it does not count as there.
    fs::write(&blob, &bytes(0)[..10]).unwrap();
    fs::remove_file(machine.repository().join("snapshots").join(FIRST).join("config.json")).unwrap();
    machine.get("hf:some/model");
    assert!(fs::read(&blob).unwrap() == bytes(0));
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

/// Remembers progress, and asks to stop once so many bytes are here.
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
    fn note(&self, _: String) {}
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
