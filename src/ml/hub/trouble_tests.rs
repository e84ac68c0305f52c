//! Failed downloads: recovery and error messages.

use std::fs;
use std::time::Duration;

use super::tests::{Machine, TOKEN, bytes, files, names, ranges, repository, sha256};
use super::*;
use crate::hub::server::{FIRST, Fault, SECOND, Server};
use crate::watch::Silent;

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
            "downloading hf:some/model failed: some/model no longer has the commit that the cache records for main; \
             delete {} to use the current main",
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
    // The partial file is complete; only the rename was missing.
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
fn a_part_that_the_server_cannot_find_is_asked_for_from_the_start() {
    let server = Server::start(repository());
    let machine = Machine::at(&server.endpoint);
    machine.leave(&bytes(0)[..600_000]);
    server.fail("model.safetensors", &[Fault::Refuse(416)]);
    machine.get("hf:some/model");
    assert_eq!(ranges(&server.requests()), ["bytes=600000-", "all"]);
}

#[test]
fn a_place_that_the_hub_sends_us_to_and_that_is_blocked_is_named() {
    let server = Server::start(repository());
    server.fail("model.safetensors", &[Fault::Refuse(403)]);
    let text = Machine::at(&server.endpoint).error("hf:some/model");
    let path = format!(
        "answered /{FIRST}/model.safetensors with status 403 (the Hub stores the file on this host); a firewall may block"
    );
    assert!(text.contains(&path) && !text.contains("X-Signature"), "{text}");
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
    let promised = "downloading hf:some/model failed: merges.txt was downloaded twice and did not match the git hash \
                    5e7f1fd94996c8e2b65adea828af1b398eace61f announced by the Hub; something between this machine and \
                    the Hub may alter files: try another network, or put its files into";
    assert!(text.starts_with(promised), "{text}");
    let text = machine.error("hf:some/model");
    assert!(
        text.contains(&format!(
            "model.safetensors was downloaded twice and did not match the SHA-256 {}",
            sha256(&bytes(0))
        )),
        "{text}"
    );
    assert_eq!(machine.hub().cached(&Reference::parse("hf:some/model").unwrap(), Need::Model), None);
    assert!(names(&machine.repository().join("blobs")).iter().all(|name| !name.ends_with(".incomplete")));
    // One damaged download is retried.
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
    let start = "downloading hf:some/model failed: http://hub answered /api/models/some/model/revision/main with status 503; \
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
        text.starts_with(
            "downloading hf:some/model@main failed: the transfer from http://hub failed: no data before the timeout \
             (HF_HUB_DOWNLOAD_TIMEOUT); run again"
        ),
        "{text}"
    );
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
             then set HF_TOKEN to a token of that account"
        )
    );
    assert_eq!(
        machine.error("hf:some/other"),
        failed(
            "hf:some/other failed: some/other does not exist or is private; correct the name, or set HF_TOKEN to a token \
             that can read http://hub/some/other"
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
            "hf:some/other failed: some/other does not exist, or your token cannot read it; see http://hub/some/other"
        )
    );
    server.fail("/revision/main", &[Fault::Status(401, "")]);
    let text = machine.error("hf:some/model");
    assert!(text.contains("rejected the token for some/model; set HF_TOKEN to a valid token"), "{text}");
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
        "config.json; it contains adapter_config.json, adapter_model.safetensors; this is an adapter: name its base model \
         instead"
    );
    assert_eq!(
        error(&["tokenizer.json", "tokenizer_config.json"]),
        "config.json; it contains tokenizer.json, tokenizer_config.json; this is a tokenizer: name a model here, and this \
         repository as `tokenizer`"
    );
    assert_eq!(
        error(&["config.json", "model.gguf"]),
        "model.safetensors or pytorch_model.bin; it contains config.json, model.gguf; name another repository, or a \
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
fn nobody_there_is_said_with_the_address_and_the_files_that_do_without() {
    for (endpoint, why) in [("http://127.0.0.1:9", "Connection refused"), ("http://hub.invalid", "lookup")] {
        let machine = Machine::at(endpoint);
        let text = machine.error("hf:some/model");
        let start = "downloading hf:some/model failed: cannot reach http://hub: ";
        assert!(text.starts_with(start) && text.contains(why), "{text}");
        assert!(text.contains("; run again to resume the download, or put its files into "), "{text}");
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
    assert!(text.ends_with("; make it writable, or set HF_HUB_CACHE to a writable folder"), "{text}");
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
    // The blob is truncated and another file of the snapshot is missing, so the snapshot is incomplete.
    fs::write(&blob, &bytes(0)[..10]).unwrap();
    fs::remove_file(machine.repository().join("snapshots").join(FIRST).join("config.json")).unwrap();
    machine.get("hf:some/model");
    assert!(fs::read(&blob).unwrap() == bytes(0));
}
