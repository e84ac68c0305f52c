//! Facts about Python's clients (huggingface_hub 2.4, datasets 5.2), as `scripts/check_hub.py` found them: what they ask
//! the Hub, what they expect of its answers, and what their cache looks like.

use serde_json::{Value, json};
use ureq::Agent;

use super::*;
use crate::hub::server::DATA;

fn agent() -> Agent {
    let config = Agent::config_builder().http_status_as_error(false).max_redirects(0).max_redirects_will_error(false);
    config.build().into()
}

/// A data set as `datasets` reads it, with files in a folder.
fn data() -> Files {
    files(&[
        ("README.md", b"# Data"),
        ("data/test-00000-of-00001.parquet", b"two"),
        ("data/train-00000-of-00001.parquet", b"one"),
    ])
}

/// The status of an answer, and some of its headers.
fn head(server: &Server, path: &str, headers: &[&str]) -> (u16, Vec<String>) {
    let response = agent().head(format!("{}{path}", server.endpoint)).call().unwrap();
    let value = |name: &&str| response.headers().get(*name).map_or("", |value| value.to_str().unwrap()).to_owned();
    (response.status().as_u16(), headers.iter().map(value).collect())
}

fn get(server: &Server, path: &str) -> Value {
    let mut response = agent().get(format!("{}{path}", server.endpoint)).call().unwrap();
    assert_eq!(response.status(), 200, "{path}");
    serde_json::from_str(&response.body_mut().read_to_string().unwrap()).unwrap()
}

#[test]
fn a_file_is_described_in_the_headers_that_python_reads() {
    let server = Server::start(repository());
    let named = ["x-repo-commit", "etag", "content-length"];
    // `printf '{}' | git hash-object --stdin`
    let small = "\"9e26dfeeb6e641a33dae4961196235bdb965b21b\"";
    let path = "/some/model/resolve/main/vocab.json";
    assert_eq!(head(&server, path, &named), (200, vec![FIRST.into(), small.into(), "2".into()]));
    // A large file redirects to another host, and has its etag and size in headers of their own.
    let named = ["x-repo-commit", "x-linked-etag", "x-linked-size"];
    let large = format!("\"{}\"", sha256(&bytes(0)));
    let path = format!("/some/model/resolve/{FIRST}/model.safetensors");
    assert_eq!(head(&server, &path, &named), (302, vec![FIRST.into(), large, SIZE.to_string()]));
    // Python names its errors by these codes. It remembers an absent file by the commit.
    for (path, status, code, commit) in [
        ("/some/model/resolve/main/absent.json", 404, "EntryNotFound", FIRST),
        ("/some/model/resolve/v9/config.json", 404, "RevisionNotFound", ""),
        ("/some/other/resolve/main/config.json", 401, "RepoNotFound", ""),
        ("/api/models/some/model/revision/v9", 404, "RevisionNotFound", ""),
    ] {
        let found = head(&server, path, &["x-error-code", "x-repo-commit"]);
        assert_eq!(found, (status, vec![code.into(), commit.into()]), "{path}");
    }
    // A renamed repository redirects within the Hub, by a path alone.
    let (status, location) = head(&server, "/old/model/resolve/main/vocab.json", &["location"]);
    assert_eq!((status, location), (307, vec!["/some/model/resolve/main/vocab.json".into()]));
}

#[test]
fn folders_are_listed_as_python_asks_for_them() {
    let server = Server::start(repository());
    server.push_data(SECOND, data());
    let folder = json!({"type": "directory", "path": "data", "size": 0});
    let file = |name: &str, content: &[u8]| {
        let oid = sha256(content);
        json!({
            "type": "file", "path": name, "size": content.len(),
            "lfs": {"oid": oid, "size": content.len(), "pointerSize": 134}
        })
    };
    let bare = |mut all: Value| {
        all.as_array_mut().unwrap().iter_mut().for_each(|entry| drop(entry.as_object_mut().unwrap().remove("oid")));
        all
    };
    let (test, train) =
        (file("data/test-00000-of-00001.parquet", b"two"), file("data/train-00000-of-00001.parquet", b"one"));
    let card = json!({"type": "file", "path": "README.md", "size": 6});
    let tree = format!("/api/datasets/{DATA}/tree/{SECOND}");
    assert_eq!(bare(get(&server, &format!("{tree}?recursive=false&expand=false"))), json!([folder, card]));
    assert_eq!(bare(get(&server, &format!("{tree}/data?recursive=false&expand=false"))), json!([test, train]));
    let whole = bare(get(&server, &format!("{tree}?recursive=true&expand=false")));
    assert_eq!(whole, json!([folder, card, test, train]));
    let info = get(&server, &format!("/api/datasets/{DATA}/revision/main"));
    assert_eq!(
        (&info["sha"], &info["id"], info["siblings"].as_array().unwrap().len()),
        (&json!(SECOND), &json!(DATA), 3)
    );
    // The files that exist among some, as form fields.
    let url = format!("{}/api/datasets/{DATA}/paths-info/main", server.endpoint);
    let request = agent().post(url).content_type("application/x-www-form-urlencoded");
    let text =
        request.send("paths=README.md&paths=data&paths=nothing&expand=False").unwrap().body_mut().read_to_string();
    assert_eq!(bare(serde_json::from_str(&text.unwrap()).unwrap()), json!([card, folder]));
    // Its files are below `datasets/`, and the large ones on the other port too.
    let path = format!("/datasets/{DATA}/resolve/main/data/train-00000-of-00001.parquet");
    let (status, location) = head(&server, &path, &["location"]);
    assert_eq!(status, 302);
    let content = agent().get(&location[0]).call().unwrap().body_mut().read_to_string().unwrap();
    assert_eq!(content, "one");
}

/// Every path below a folder, links with what they point to.
fn listed(dir: &Path, below: &str, all: &mut Vec<String>) {
    for name in names(&dir.join(below)) {
        let (path, shown) = (dir.join(below).join(&name), format!("{below}{name}"));
        if let Ok(target) = fs::read_link(&path) {
            all.push(format!("{shown} -> {}", target.display()));
        } else if path.is_dir() {
            listed(dir, &format!("{shown}/"), all);
        } else {
            all.push(shown);
        }
    }
}

#[test]
fn what_python_downloaded_is_read_offline() {
    // What `snapshot_download` leaves of a config, weights and a vocabulary, after somebody asked for a file that does not exist.
    let machine = Machine { offline: Some("HF_HUB_OFFLINE"), ..Machine::at("http://127.0.0.1:9") };
    let hub = machine.cache.path().join("hub");
    let put = |name: &str, content: &[u8]| {
        fs::create_dir_all(hub.join(name).parent().unwrap()).unwrap();
        fs::write(hub.join(name), content).unwrap();
    };
    let model = "models--some--model";
    put("CACHEDIR.TAG", b"Signature: 8a477f597d28d172789f06886806bc55\n");
    put(&format!("{model}/refs/main"), FIRST.as_bytes());
    put(&format!("{model}/trees/{FIRST}.json"), b"[]");
    put(&format!("{model}/.no_exist/{FIRST}/absent.json"), b"");
    let snapshot = hub.join(format!("{model}/snapshots/{FIRST}"));
    fs::create_dir_all(&snapshot).unwrap();
    for (name, content) in [("config.json", &b"{}"[..]), ("model.safetensors", &bytes(0)), ("vocab.json", b"{}")] {
        let etag = if name == "model.safetensors" {
            sha256(content)
        } else {
            "9e26dfeeb6e641a33dae4961196235bdb965b21b".into()
        };
        put(&format!("{model}/blobs/{etag}"), content);
        put(&format!(".locks/{model}/{etag}.lock"), b"");
        std::os::unix::fs::symlink(format!("../../blobs/{etag}"), snapshot.join(name)).unwrap();
    }
    let found = Resolved { dir: snapshot, commit: Some(FIRST.into()) };
    for reference in ["hf:some/model", "hf:some/model@main", &format!("hf:some/model@{FIRST}")] {
        assert_eq!(machine.get(reference), found, "{reference}");
    }
}

#[test]
fn what_is_downloaded_lies_where_python_looks() {
    let server = Server::start(files(&[("config.json", b"{}"), ("model.safetensors", &bytes(0)), ("vocab.txt", b"a")]));
    let machine = Machine::at(&server.endpoint);
    machine.get("hf:some/model");
    let (small, word, large) = (
        "9e26dfeeb6e641a33dae4961196235bdb965b21b",
        // `printf a | git hash-object --stdin`
        "2e65efe2a145dda7ee51d1741299f848e5bf752e",
        sha256(&bytes(0)),
    );
    let mut found = Vec::new();
    listed(&machine.cache.path().join("hub"), "", &mut found);
    found.sort();
    let snapshot = format!("models--some--model/snapshots/{FIRST}");
    let mut expected = vec![
        format!("models--some--model/refs/main"),
        format!("{snapshot}/config.json -> ../../blobs/{small}"),
        format!("{snapshot}/model.safetensors -> ../../blobs/{large}"),
        format!("{snapshot}/vocab.txt -> ../../blobs/{word}"),
    ];
    for etag in [small, word, &large] {
        expected.push(format!("models--some--model/blobs/{etag}"));
        expected.push(format!(".locks/models--some--model/{etag}.lock"));
    }
    expected.sort();
    assert_eq!(found, expected);
    // Without a line break: Python takes the whole text for the commit.
    assert_eq!(fs::read(machine.repository().join("refs/main")).unwrap(), FIRST.as_bytes());
}
