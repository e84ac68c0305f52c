//! Data sets of the Hub, tested against a local server.

use super::tests::{Machine, files};
use super::*;
use crate::hub::server::{FIRST, Files, Server};
use crate::watch::Silent;

const SET: &str = "hf:datasets/some/data";
const README: &[u8] = b"---\nconfigs:\n- config_name: small\n  data_files:\n  - split: train\n    path: small/train-*\n- config_name: large\n  data_files: large/*\n---\n";

fn serve(files: Files) -> Server {
    let server = Server::start(Files::new());
    server.push_data(FIRST, files);
    server
}

fn server() -> Server {
    serve(files(&[
        (".gitattributes", b"x"),
        ("README.md", README),
        ("large/a.parquet", b"PAR1 large"),
        ("small/train-0.parquet", b"PAR1 small"),
        ("small/test 1.csv", b"text,label\n"),
        ("script.py", b"print()"),
    ]))
}

fn names(dir: &std::path::Path) -> Vec<String> {
    crate::text::data::read::layout::below(dir).unwrap()
}

#[test]
fn the_files_of_a_configuration_are_downloaded_once() {
    let server = server();
    let machine = Machine::at(&server.endpoint);
    let reference = format!("{SET}#small");
    let get = || machine.hub().resolve(&reference, Need::Dataset, &Silent).unwrap();
    let first = get();
    assert_eq!(first.commit.as_deref(), Some(FIRST));
    assert!(first.dir.ends_with(format!("datasets--some--data/snapshots/{FIRST}")), "{}", first.dir.display());
    assert_eq!(names(&first.dir), ["README.md", "small/train-0.parquet"]);
    assert_eq!(std::fs::read(first.dir.join("small/train-0.parquet")).unwrap(), b"PAR1 small");
    server.requests();
    assert_eq!(get(), first);
    assert_eq!(server.requests(), [], "a second time asks nothing");
    // Another configuration of the same commit adds its files.
    machine.hub().resolve(&format!("{SET}#large"), Need::Dataset, &Silent).unwrap();
    assert_eq!(names(&first.dir), ["README.md", "large/a.parquet", "small/train-0.parquet"]);
    std::fs::remove_file(first.dir.join("small/train-0.parquet")).unwrap();
    assert_eq!(names(&get().dir).len(), 3, "what is missing is fetched again");
}

#[test]
fn what_does_not_fit_is_told() {
    let server = server();
    let mut machine = Machine::at(&server.endpoint);
    let why = |machine: &Machine, reference: &str, need| {
        machine.hub().resolve(reference, need, &Silent).unwrap_err().to_string()
    };
    assert_eq!(
        why(&machine, SET, Need::Dataset),
        format!(
            "downloading {SET} failed: some/data: the data set has the configurations `small`, `large`; choose one with \
             `config`"
        )
    );
    assert_eq!(why(&machine, SET, Need::Model), format!("{SET} names a data set, but a model is needed here"));
    machine.offline = Some("HF_HUB_OFFLINE");
    let text = why(&machine, SET, Need::Dataset);
    assert!(
        text.starts_with(&format!("{SET} is not in the local cache, and HF_HUB_OFFLINE forbids downloads")),
        "{text}"
    );
    assert!(text.contains("/datasets/some/data/tree/main"), "{text}");
}

#[test]
fn names_that_lead_out_of_the_folder_are_refused() {
    let server = serve(files(&[("a/../../train.csv", b"text,label\n")]));
    let text = Machine::at(&server.endpoint).hub().resolve(SET, Need::Dataset, &Silent).unwrap_err().to_string();
    assert!(text.contains("the Hub listed an invalid file name: `a/../../train.csv`"), "{text}");
}
