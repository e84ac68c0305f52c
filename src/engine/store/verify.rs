//! Verifies every byte of every result.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::cache::Cache;
use super::error::{CacheError, Damaged};

/// The result of a verification.
#[derive(Debug, Default)]
pub struct Verified {
    pub files: usize,
    pub bytes: u64,
    /// Damaged files, by the fingerprint of the result that they belong to.
    pub damaged: BTreeMap<String, Vec<Damaged>>,
    /// Results that lack a file.
    pub incomplete: Vec<String>,
}

impl Cache {
    /// Verify every byte of every result on all cores; damaged files are moved away.
    pub fn verify_all(&self) -> Result<Verified, CacheError> {
        // Without the lock, files that a collection removes would look damaged.
        let _shared = self.shared()?;
        let mut found = Verified::default();
        // Each object once, with one result that contains it.
        let mut objects: BTreeMap<String, (u64, String)> = BTreeMap::new();
        for fingerprint in self.fingerprints()? {
            match self.entry(&fingerprint)? {
                None => found.incomplete.push(fingerprint),
                Some(entry) => {
                    for file in entry.outputs.into_values().flat_map(|a| a.files) {
                        objects.entry(file.digest).or_insert((file.size, fingerprint.clone()));
                    }
                }
            }
        }
        // Big objects first, so that the last one to start is short.
        let mut objects: Vec<(String, (u64, String))> = objects.into_iter().collect();
        objects.sort_by_key(|(_, (size, _))| std::cmp::Reverse(*size));
        let checked: Vec<Result<(), CacheError>> = objects.par_iter().map(|(digest, _)| self.verify(digest)).collect();
        for ((_, (size, fingerprint)), result) in objects.into_iter().zip(checked) {
            match result {
                Ok(()) => (found.files, found.bytes) = (found.files + 1, found.bytes + size),
                Err(CacheError::Damaged(damaged)) => found.damaged.entry(fingerprint).or_default().push(damaged),
                Err(other) => return Err(other),
            }
        }
        Ok(found)
    }
}
