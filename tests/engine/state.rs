//! The files that a run leaves behind, in a form that can be compared between runs.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use pipe_engine::store::cache::Cache;

use super::disks::files;

/// Every object, entry and exported file by path: mode and digest, or the entry without its times.
pub fn end_state(root: &Path) -> BTreeMap<String, String> {
    let mut state = BTreeMap::new();
    for path in ["cache/objects", "cache/entries", "out"].iter().flat_map(|below| files(&root.join(below))) {
        let bytes = fs::read(&path).unwrap();
        let name = path.strip_prefix(root).unwrap().display().to_string();
        let told = match serde_json::from_slice::<serde_json::Value>(&bytes) {
            Ok(mut entry) if name.starts_with("cache/entries/") => {
                entry.as_object_mut().unwrap().remove("check").unwrap();
                let made = entry["entry"]["made"].as_object_mut().unwrap();
                made.remove("at").unwrap();
                made.remove("seconds").unwrap();
                entry.to_string()
            }
            _ => format!("{:o} {}", fs::metadata(&path).unwrap().permissions().mode() & 0o7777, blake3::hash(&bytes)),
        };
        state.insert(name, told);
    }
    state
}

/// Check that every entry is complete and every object intact.
#[track_caller]
pub fn assert_sound(root: &Path) {
    let cache = Cache::open(&root.join("cache")).unwrap();
    for fingerprint in cache.fingerprints().unwrap() {
        let entry = cache.entry(&fingerprint).unwrap().unwrap_or_else(|| panic!("{fingerprint} is not whole"));
        for file in entry.outputs.values().flat_map(|a| &a.files) {
            cache.verify(&file.digest).unwrap();
        }
    }
    assert!(!root.join("cache/damaged").exists(), "something was damaged");
}

/// Check that no partial folder of a stage without a result is left after the last run.
#[track_caller]
pub fn assert_no_leftovers(root: &Path) {
    let cache = Cache::open(&root.join("cache")).unwrap();
    for left in fs::read_dir(root.join("cache/partial")).unwrap() {
        let name = left.unwrap().file_name().into_string().unwrap();
        let of = name.trim_end_matches(".lock");
        assert!(of == "export" || cache.entry(of).unwrap().is_some(), "partial/{name} was left over");
    }
}
