//! What changed between two pipelines, stage by stage.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::change::{Change, Quiet, Touched, What};
use super::closure::{Cause, Invalid, closure};
use super::edges::Sides;
use super::pairing::{Pairing, stages};
use crate::declare::instance::Instance;
use crate::declare::resolve::Pipeline;
use crate::judge::external::reads;

/// All differences, ignoring formatting and the order of keys.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Comparison {
    /// Changes that affect results: the stages of the head in its order, then the removed stages.
    pub stages: Vec<StageDiff>,
    /// Changes that affect no result.
    pub quiet: Vec<Quiet>,
    /// In topological order.
    pub invalid: Vec<Invalid>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct StageDiff {
    pub stage: String,
    pub kind: String,
    pub status: Status,
    /// The old name of a renamed stage.
    pub from: Option<String>,
    /// The sources of an added stage, each once.
    pub inputs: Vec<String>,
    pub changes: Vec<Change>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    Added,
    Removed,
    Renamed,
    Changed,
}

impl Comparison {
    /// Compare two sides; an absent side has no stages.
    pub fn of(base: Option<&Pipeline>, head: Option<&Pipeline>, touched: &Touched) -> Self {
        let (old, new) = (instances(base), instances(head));
        let pairing = Pairing::of(old, new);
        let sides = Sides { base: old, head: new, pairing: &pairing, touched };
        let mut all = Self::default();
        if let (Some(base), Some(head)) = (base, head) {
            all.quiet.extend(about_pipeline(base, head));
        }
        let in_base: BTreeMap<&str, _> = stages(old).into_iter().map(|(n, r)| (pairing.name(n), (n, r))).collect();
        let mut direct: Vec<Vec<Cause>> = vec![vec![Cause::New]; new.len()];
        for (name, theirs) in stages(new) {
            let twin = in_base.get(name).filter(|(old_name, _)| pairing.stages.contains_key(*old_name));
            let Some((old_name, mine)) = twin else {
                let inputs = sides.references(new, theirs.clone()).into_values().flatten();
                let diff = StageDiff::new(&new[theirs.start], Status::Added);
                all.stages.push(StageDiff { inputs: inputs.collect(), ..diff });
                continue;
            };
            let edges = sides.of_stage(mine.clone(), theirs.clone());
            let mut merged = Merged::default();
            let mut quiet = Merged::default();
            for h in theirs.clone() {
                let Some(b) = pairing.to_base[h] else { continue };
                let (found, causes) = compared(&sides, b, h, &edges);
                merged.add(&new[h].name, found);
                quiet.add(&new[h].name, Change::quiet(&old[b], &new[h]));
                direct[h] = causes;
            }
            all.quiet.extend(quiet.changes().map(|change| Quiet { stage: Some(name.into()), change }));
            let matrices = matrices(&old[mine.clone()], &new[theirs.clone()]);
            let changes: Vec<Change> = merged.changes().chain(edges).chain(matrices).collect();
            let renamed = *old_name != name;
            if renamed || !changes.is_empty() {
                let status = if renamed { Status::Renamed } else { Status::Changed };
                let from = renamed.then(|| old_name.to_string());
                all.stages.push(StageDiff { from, changes, ..StageDiff::new(&new[theirs.start], status) });
            }
        }
        let gone = stages(old).into_iter().filter(|(name, _)| !pairing.stages.contains_key(*name));
        all.stages.extend(gone.map(|(_, range)| StageDiff::new(&old[range.start], Status::Removed)));
        all.invalid = closure(new, &direct);
        all
    }

    /// Remove what `other` contains too.
    pub(super) fn without(mut self, other: &Self) -> Self {
        self.quiet.retain(|q| !other.quiet.contains(q));
        self.stages.retain_mut(|diff| {
            let Some(same) = other.stages.iter().find(|d| d.stage == diff.stage && d.status == diff.status) else {
                return true;
            };
            diff.changes.retain(|c| !same.changes.contains(c));
            !diff.changes.is_empty()
        });
        self
    }
}

fn instances(side: Option<&Pipeline>) -> &[Instance] {
    side.map_or(&[], |p| p.instances.as_slice())
}

impl StageDiff {
    fn new(instance: &Instance, status: Status) -> Self {
        Self {
            stage: instance.stage.clone(),
            kind: instance.kind.name.into(),
            status,
            from: None,
            inputs: Vec::new(),
            changes: Vec::new(),
        }
    }
}

/// The differences between paired instances, and which of them change the fingerprint.
fn compared(sides: &Sides<'_>, b: usize, h: usize, edges: &[Change]) -> (Vec<Change>, Vec<Cause>) {
    let (base, head) = (&sides.base[b], &sides.head[h]);
    let mut changes = Change::of_lines(base, head);
    let mut causes: Vec<Cause> = changes.iter().map(|c| Cause::Line(c.label.clone())).collect();
    let (more, because) = sides.of_instance(b, h, edges);
    changes.extend(more);
    causes.extend(because);
    let before = base.externals();
    // A new path is already reported as a changed parameter; its content is not a second change.
    for external in head.externals().iter().filter(|e| before.contains(e)) {
        for (path, (old, new)) in sides.touched.iter().filter(|(path, _)| reads(external, path)) {
            changes.push(Change::new(What::File, path, old.clone().into(), new.clone().into()));
            causes.push(Cause::File(path.clone()));
        }
    }
    (changes, causes)
}

/// Merges the same change of several instances.
#[derive(Default)]
struct Merged {
    of: usize,
    found: Vec<(Change, Vec<String>)>,
}

impl Merged {
    fn add(&mut self, instance: &str, changes: Vec<Change>) {
        self.of += 1;
        for change in changes {
            match self.found.iter_mut().find(|(known, _)| *known == change) {
                Some((_, names)) => names.push(instance.into()),
                None => self.found.push((change, vec![instance.into()])),
            }
        }
    }

    fn changes(self) -> impl Iterator<Item = Change> {
        self.found.into_iter().map(move |(change, names)| {
            let instances = if names.len() == self.of { Vec::new() } else { names };
            Change { instances, ..change }
        })
    }
}

/// The changed values on a stage's own matrix axes.
fn matrices(mine: &[Instance], theirs: &[Instance]) -> Vec<Change> {
    let values = |side: &[Instance]| {
        let mut axes: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for instance in side {
            let own = format!("{}@", instance.stage);
            for c in &instance.coordinates {
                let Some(axis) = c.axis.strip_prefix(&own) else { continue };
                let text = c.label.split_once('=').map_or("", |(_, value)| value);
                let value = serde_json::from_str(text).unwrap_or_else(|_| text.into());
                let known = axes.entry(axis.into()).or_default();
                if !known.contains(&value) {
                    known.push(value);
                }
            }
        }
        axes
    };
    let (before, after) = (values(mine), values(theirs));
    let mut axes: Vec<&String> = before.keys().chain(after.keys()).collect();
    axes.sort();
    axes.dedup();
    let list = |side: &BTreeMap<String, Vec<Value>>, axis| side.get(axis).map_or(Value::Null, |v| v.clone().into());
    // The order of a matrix matters only to a stage that collects the instances, which reports it.
    let is_same = |axis: &String| match (before.get(axis), after.get(axis)) {
        (Some(old), Some(new)) => old.len() == new.len() && old.iter().all(|v| new.contains(v)),
        _ => false,
    };
    let changed = axes.into_iter().filter(|axis| !is_same(axis));
    changed
        .map(|axis| Change::new(What::Matrix, format!("matrix.{axis}"), list(&before, axis), list(&after, axis)))
        .collect()
}

fn about_pipeline(base: &Pipeline, head: &Pipeline) -> Vec<Quiet> {
    let name = (base.name != head.name)
        .then(|| Change::new(What::Pipeline, "name", base.name.clone().into(), head.name.clone().into()));
    let about = (base.description != head.description).then(|| {
        Change::new(What::Pipeline, "description", base.description.clone().into(), head.description.clone().into())
    });
    name.into_iter().chain(about).map(|change| Quiet { stage: None, change }).collect()
}
