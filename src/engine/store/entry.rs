//! The record of a result and its form on disk, with a checksum that detects a single changed bit.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::artifact::Artifact;
use super::manifest::Manifest;

/// A committed result: its dependencies, its outputs, and how it was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub kind: String,
    pub manifest: Manifest,
    pub outputs: BTreeMap<String, Artifact>,
    pub made: Made,
}

/// How a result was made; none of this is part of the fingerprint.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Made {
    /// Seconds since 1970.
    pub at: u64,
    pub seconds: f64,
    pub device: String,
    pub version: String,
    pub facts: BTreeMap<String, f64>,
    #[serde(default, skip_serializing_if = "Curve::is_empty")]
    pub curve: Curve,
    /// Lines that say what is in the result, such as the rows of each label.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The results of the trials that the stage ran.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subs: Vec<Sub>,
}

/// A result that a stage refers to because it ran the trial that made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sub {
    /// `teacher[trial=3]`.
    pub stage: String,
    pub fingerprint: String,
}

/// Values measured while the stage ran, such as the speed of training at some of its steps.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    pub columns: Vec<String>,
    /// One value per column; None if it could not be measured.
    pub rows: Vec<Vec<Option<f64>>>,
}

impl Curve {
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// An entry with its checksum, as written to disk.
#[derive(Serialize, Deserialize)]
struct Sealed<E> {
    entry: E,
    /// blake3 of the entry as compact JSON.
    check: String,
}

impl Entry {
    pub fn to_bytes(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec_pretty(&Sealed { entry: self, check: self.check()? })
    }

    /// None if the bytes are not an intact entry, or if a path would leave its artifact's folder.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let Sealed { entry, check } = serde_json::from_slice::<Sealed<Self>>(bytes).ok()?;
        let is_sound = entry.check().ok()? == check && entry.outputs.values().all(Artifact::is_sound);
        is_sound.then_some(entry)
    }

    fn check(&self) -> serde_json::Result<String> {
        Ok(blake3::hash(&serde_json::to_vec(self)?).to_hex().to_string())
    }
}
