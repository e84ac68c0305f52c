//! Checks that the embedded sample equals the output of its generator.

#[path = "../examples/make_sample/deberta.rs"]
mod deberta;
#[path = "../examples/make_sample/generate.rs"]
mod generate;
#[path = "../examples/make_sample/vocabulary.rs"]
mod vocabulary;

use std::path::Path;

fn committed(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

#[test]
fn the_files_are_as_generated() {
    let (train, test) = generate::sample();
    assert!(committed("data/sample/train.csv") == train, "run `cargo run --release --example make_sample`");
    assert!(committed("data/sample/test.csv") == test, "run `cargo run --release --example make_sample`");
}

#[test]
fn the_tokenizers_are_as_trained() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (folder, files) in [("tiny-roberta", vocabulary::files(root)), ("tiny-deberta", deberta::files(root))] {
        for (name, bytes) in files.unwrap() {
            assert!(committed(&format!("models/{folder}/{name}")) == bytes, "{folder}/{name}: run make_sample");
        }
    }
}
