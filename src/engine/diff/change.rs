//! One difference between two definitions: a parameter, an input, a file.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::declare::instance::Instance;
use crate::store::manifest::{LineChange, Manifest, Subject};

/// Files that differ between the sides, by path from the project root; each side's digest, or None if it lacks the
/// file.
pub type Touched = BTreeMap<String, (Option<String>, Option<String>)>;

/// What differs. A value that exists on one side only is null on the other.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Change {
    pub what: What,
    /// `learning-rate`, `in.model`, `matrix.seed`, `data/train.csv`.
    pub label: String,
    pub before: Value,
    pub after: Value,
    /// The affected instances; empty if the change affects the whole stage.
    pub instances: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    Kind,
    Parameter,
    Seed,
    /// The sources wired into a port, by their names in the head.
    Edge,
    /// The values of a matrix axis.
    Matrix,
    /// The content of an input file, as digests.
    File,
    /// A parameter that changes how a result is made but not the result, the stage's `exclusive` group, or what it
    /// occupies, such as `cpus`.
    Operational,
    Export,
    /// The pipeline's name or description.
    Pipeline,
}

/// A difference that changes no result.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Quiet {
    /// None if it concerns the whole pipeline.
    pub stage: Option<String>,
    #[serde(flatten)]
    pub change: Change,
}

impl Change {
    pub(super) fn new(what: What, label: impl Into<String>, before: Value, after: Value) -> Self {
        Self { what, label: label.into(), before, after, instances: Vec::new() }
    }

    /// The differences in the manifest lines that the definition alone determines. If the kind differs, only that is
    /// reported: the parameters of another kind have another meaning.
    pub(super) fn of_lines(base: &Instance, head: &Instance) -> Vec<Self> {
        if base.kind.name != head.kind.name {
            return vec![Self::new(What::Kind, "use", base.kind.name.into(), head.kind.name.into())];
        }
        let what = |line: Subject| if line == Subject::Seed { What::Seed } else { What::Parameter };
        lines(&base.own_lines(), &head.own_lines(), what)
    }

    /// The differences that do not change the result.
    pub(super) fn quiet(base: &Instance, head: &Instance) -> Vec<Self> {
        let operational = |instance: &Instance| {
            let mut lines = Manifest::default();
            lines.push_object(&instance.parameters, &|key| instance.kind.operational.contains(&key));
            lines
        };
        let mut all = lines(&operational(base), &operational(head), |_| What::Operational);
        let exported = |instance: &Instance| instance.export.as_ref().map(|export| export.text.clone());
        let occupied = |instance: &Instance| instance.amounts.asked.written();
        let (before, after) = (occupied(base), occupied(head));
        for label in ["cpus", "memory", "gpus", "time"] {
            let value = |all: &[(&str, Value)]| all.iter().find(|(key, _)| *key == label).map(|(_, v)| v.clone());
            let (before, after) = (value(&before), value(&after));
            if before != after {
                all.push(Self::new(What::Operational, label, before.into(), after.into()));
            }
        }
        for (what, label, before, after) in [
            (What::Operational, "exclusive", &base.exclusive, &head.exclusive),
            (What::Export, "export", &exported(base), &exported(head)),
        ] {
            if before != after {
                all.push(Self::new(what, label, before.clone().into(), after.clone().into()));
            }
        }
        all
    }
}

fn lines(base: &Manifest, head: &Manifest, what: impl Fn(Subject) -> What) -> Vec<Change> {
    // Manifest values are JSON, except a few that are plain names.
    let value = |text: Option<&str>| {
        text.map_or(Value::Null, |t| serde_json::from_str(t).unwrap_or_else(|_| Value::String(t.into())))
    };
    let change = |c: &LineChange<'_>| Change::new(what(c.what), c.label, value(c.before), value(c.after));
    head.changes(base).iter().map(change).collect()
}
