//! The labelled lines that a result depends on: their hash is the fingerprint, their differences are the explanation.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Raise it when the files of an artifact change their format.
pub const ARTIFACT_FORMAT: u32 = 1;

/// Lines in a fixed order; labels are unique.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Manifest(pub Vec<Line>);

/// One fact that a result depends on. On disk a line is its label and its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written")]
pub struct Line {
    #[serde(skip)]
    pub what: Subject,
    pub label: String,
    pub value: String,
}

/// What a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    /// The kind's name or version, or the artifact format.
    Kind,
    Seed,
    Parameter,
    /// The content of an artifact on a port.
    Input,
    /// A file outside the cache.
    File,
    /// A folder that its origin pins, for example by a commit.
    Content,
}

impl Subject {
    /// The subject of a label as the engine writes it. Names of parameters and ports have no spaces, so no two subjects
    /// share a label.
    fn of(label: &str) -> Self {
        match label {
            "kind" | "kind version" | "artifact format" => Self::Kind,
            "seed" => Self::Seed,
            _ if label.starts_with("in.") => Self::Input,
            _ if label.starts_with("file ") => Self::File,
            _ if label.ends_with(" content") => Self::Content,
            _ => Self::Parameter,
        }
    }
}

/// A line as it is written.
#[derive(Deserialize)]
struct Written {
    label: String,
    value: String,
}

impl From<Written> for Line {
    fn from(Written { label, value }: Written) -> Self {
        Self { what: Subject::of(&label), label, value }
    }
}

impl Manifest {
    pub fn push(&mut self, label: impl Into<String>, value: impl Into<String>) {
        self.0.push(Written { label: label.into(), value: value.into() }.into());
    }

    /// The lines about other things than `what`.
    pub fn without(&self, what: Subject) -> Self {
        Self(self.0.iter().filter(|l| l.what != what).cloned().collect())
    }

    /// Add one line for each leaf of an object, by sorted key, for the keys that `counts` accepts.
    pub fn push_object(&mut self, object: &serde_json::Value, counts: &dyn Fn(&str) -> bool) {
        let mut items: Vec<_> = object.as_object().into_iter().flatten().filter(|(key, _)| counts(key)).collect();
        items.sort_by_key(|(key, _)| *key);
        items.into_iter().for_each(|(key, value)| self.push_tree(key, value));
    }

    fn push_tree(&mut self, label: &str, value: &serde_json::Value) {
        use serde_json::Value;
        match value {
            Value::Null => {}
            Value::Object(map) => {
                let mut items: Vec<_> = map.iter().collect();
                items.sort_by_key(|(key, _)| *key);
                items.into_iter().for_each(|(key, value)| self.push_tree(&format!("{label}.{key}"), value));
            }
            // A list of plain values fits on one line; a list of tables gets one line per leaf.
            Value::Array(all) if all.iter().any(|v| v.is_object() || v.is_array()) => {
                all.iter().enumerate().for_each(|(i, v)| self.push_tree(&format!("{label}[{i}]"), v));
            }
            other => self.push(label, other.to_string()),
        }
    }

    /// blake3 of the lines, in hexadecimal. Each part is length-prefixed, so no value can pass for two lines.
    pub fn fingerprint(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for Line { label, value, .. } in &self.0 {
            for part in [label, value] {
                hasher.update(&(part.len() as u64).to_le_bytes());
                hasher.update(part.as_bytes());
            }
        }
        hasher.finalize().to_hex().to_string()
    }

    pub fn get(&self, label: &str) -> Option<&str> {
        self.0.iter().find(|l| l.label == label).map(|l| l.value.as_str())
    }

    /// The lines that differ from `old`: those of this manifest in its order, then the removed ones.
    pub fn changes<'a>(&'a self, old: &'a Manifest) -> Vec<LineChange<'a>> {
        let mine = self.0.iter().map(|l| LineChange {
            what: l.what,
            label: &l.label,
            before: old.get(&l.label),
            after: Some(l.value.as_str()),
        });
        let gone = old.0.iter().filter(|l| self.get(&l.label).is_none()).map(|l| LineChange {
            what: l.what,
            label: &l.label,
            before: Some(l.value.as_str()),
            after: None,
        });
        mine.filter(|c| c.before != c.after).chain(gone).collect()
    }

    /// What changed since `old`, one phrase per line: `learning-rate 0.0005 → 0.0003`.
    pub fn explain(&self, old: &Manifest) -> Vec<String> {
        self.changes(old).iter().map(LineChange::to_string).collect()
    }
}

/// A line that differs from an older manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineChange<'a> {
    pub what: Subject,
    pub label: &'a str,
    pub before: Option<&'a str>,
    pub after: Option<&'a str>,
}

impl fmt::Display for LineChange<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.before.map(short), self.after.map(short)) {
            (Some(before), Some(after)) => write!(f, "{} {before} → {after}", self.label),
            (None, Some(after)) => write!(f, "{} {after} was added", self.label),
            (Some(before), None) => write!(f, "{} {before} was removed", self.label),
            (None, None) => f.write_str(self.label),
        }
    }
}

/// Shorten digests and cut long values: an explanation is one line.
pub fn short(value: &str) -> String {
    let is_digest = value.len() == 64 && value.bytes().all(|b| b.is_ascii_hexdigit());
    match value.char_indices().nth(if is_digest { 8 } else { 60 }) {
        Some((at, _)) if is_digest => value[..at].to_string(),
        Some((at, _)) => format!("{}…", &value[..at]),
        None => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(value: serde_json::Value) -> Manifest {
        let mut m = Manifest::default();
        m.push("kind", "train");
        m.push_object(&value, &|_| true);
        m
    }

    #[test]
    fn the_explanation_names_what_the_fingerprint_covers() {
        let old = of(json!({"learning-rate": 5e-4, "epochs": 3, "sources": [{"path": "a"}]}));
        let new = of(json!({"learning-rate": 3e-4, "epochs": 3, "sources": [{"path": "b"}], "clip": 1.0}));
        assert_ne!(old.fingerprint(), new.fingerprint());
        assert_eq!(
            new.explain(&old),
            ["clip 1.0 was added", "learning-rate 0.0005 → 0.0003", "sources[0].path \"a\" → \"b\""]
        );
    }

    #[test]
    fn what_a_line_is_about_survives_the_disk_without_being_written() {
        let mut lines = of(json!({"epochs": 3}));
        for (label, what) in [
            ("kind", Subject::Kind),
            ("kind version", Subject::Kind),
            ("artifact format", Subject::Kind),
            ("seed", Subject::Seed),
            ("in.model", Subject::Input),
            ("in.metrics[scores[a]]", Subject::Input),
            ("file data/my content", Subject::File),
            ("base content", Subject::Content),
            ("sources[0].path", Subject::Parameter),
        ] {
            lines.push(label, "x");
            assert_eq!(lines.0[lines.0.len() - 1].what, what, "{label}");
        }
        let text = serde_json::to_string(&lines).unwrap();
        assert!(!text.contains("what"), "{text}");
        assert_eq!(serde_json::from_str::<Manifest>(&text).unwrap(), lines);
    }

    #[test]
    fn key_order_does_not_matter_and_values_cannot_pose_as_lines() {
        assert_eq!(of(json!({"a": 1, "b": 2})).fingerprint(), of(json!({"b": 2, "a": 1})).fingerprint());
        let mut one = Manifest::default();
        one.push("a", "1b2");
        let mut two = Manifest::default();
        two.push("a", "1");
        two.push("b", "2");
        assert_ne!(one.fingerprint(), two.fingerprint());
    }
}
