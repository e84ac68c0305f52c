//! Writes the embedded sample and its tokenizers: `cargo run --release --example make_sample [-- --check]`.
//!
//! `data/sample/{train,test}.csv`, `models/tiny-roberta/` and `models/tiny-deberta/` come out the same on every machine; `--check` only compares.

mod deberta;
mod generate;
mod vocabulary;

use std::path::Path;
use std::process::ExitCode;

fn main() -> anyhow::Result<ExitCode> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (train, test) = generate::sample();
    let mut files = vec![("data/sample/train.csv".to_owned(), train), ("data/sample/test.csv".to_owned(), test)];
    let check = std::env::args().any(|argument| argument == "--check");
    if !check {
        write(root, &files)?;
    }
    // The tokenizers learn from the cleaned texts, which come from the files just written.
    for (folder, model) in
        [("models/tiny-roberta", vocabulary::files(root)?), ("models/tiny-deberta", deberta::files(root)?)]
    {
        files.extend(model.into_iter().map(|(name, bytes)| (format!("{folder}/{name}"), bytes)));
    }
    if !check {
        write(root, &files)?;
    }
    let mut code = ExitCode::SUCCESS;
    for (name, bytes) in &files {
        let same = std::fs::read(root.join(name)).is_ok_and(|found| found == *bytes);
        println!("{name}: {} bytes{}", bytes.len(), if same { "" } else { ", NOT as generated" });
        if !same {
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}

fn write(root: &Path, files: &[(String, Vec<u8>)]) -> anyhow::Result<()> {
    for (name, bytes) in files {
        let path = root.join(name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(path, bytes)?;
    }
    Ok(())
}
