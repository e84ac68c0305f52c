//! Serves a model folder and a folder of data as a Hub on a local port, for `scripts/check_hub.py`:
//!
//!     cargo run --release --example hub_server -- MODEL_DIR DATA_DIR
//!
//! It prints its address, then every request, and ends when standard input does.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;

// The faults are used by the tests.
#[allow(dead_code)]
#[path = "../src/ml/hub/server.rs"]
mod server;

use server::{FIRST, Files, Server};

/// The files below a folder, by their names from there.
fn files(dir: &Path, below: &str, all: &mut Files) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = format!("{below}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            files(&entry.path(), &format!("{name}/"), all)?;
        } else {
            all.insert(name, fs::read(entry.path())?);
        }
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folders: Vec<String> = std::env::args().skip(1).collect();
    let [model, data] = folders.as_slice() else { return Err("give MODEL_DIR and DATA_DIR".into()) };
    let read = |dir: &String| -> std::io::Result<Files> {
        let mut all = BTreeMap::new();
        files(Path::new(dir), "", &mut all)?;
        Ok(all)
    };
    let server = Server::start(read(model)?);
    server.push_data(FIRST, read(data)?);
    println!("{}", server.endpoint);
    std::io::stdin().read_to_end(&mut Vec::new())?;
    for request in server.requests() {
        println!("{} {}", request.what, request.path);
    }
    Ok(())
}
