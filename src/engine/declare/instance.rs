//! One stage at one point of its axes, and what is wired into it.

use std::sync::Arc;

use super::amounts::Amounts;
use super::export::Export;
use crate::contract::kind::{Arity, Erased, External, Kind, Ports};
use crate::contract::needs::Needs;
use crate::store::manifest::{ARTIFACT_FORMAT, Manifest};
use crate::text::diagnostic::Place;
use crate::text::value::Table;

/// One stage at one point of its axes: `teacher`, `scores[pruned]`, `full[seed=1]`.
#[derive(Clone)]
pub struct Instance {
    pub name: String,
    /// The stage that it is an instance of.
    pub stage: String,
    pub coordinates: Vec<Coordinate>,
    pub kind: Kind,
    /// The kind's ports and those that the parameters and the file add.
    pub ports: Ports,
    pub work: Arc<dyn Erased>,
    /// The stage's table as written, for the places of its values.
    pub table: Arc<Table>,
    /// The parameters with defaults filled in.
    pub parameters: serde_json::Value,
    pub seed: u64,
    pub inputs: Vec<Wire>,
    /// Where the file wires each port.
    pub plugged: Vec<(&'static str, Place)>,
    /// Where the outputs are copied to.
    pub export: Option<Export>,
    /// Instances of one group never run at the same time.
    pub exclusive: Option<String>,
    /// What it occupies while it runs.
    pub needs: Needs,
    /// What the file sets of it.
    pub amounts: Amounts,
    /// What it depends on through the stages that it runs in trials.
    pub inherited: Option<Arc<Inherited>>,
    pub place: Place,
}

impl Instance {
    /// The manifest lines that the definition alone determines: all except those of inputs and files.
    pub fn own_lines(&self) -> Manifest {
        let mut lines = Manifest::default();
        lines.push("kind", self.kind.name);
        lines.push("kind version", self.kind.version.to_string());
        lines.push("artifact format", ARTIFACT_FORMAT.to_string());
        if self.work.is_seeded() {
            lines.push("seed", self.seed.to_string());
        }
        lines.push_object(&self.parameters, &|key| !self.kind.operational.contains(&key));
        for port in &self.ports.declared {
            lines.push(format!("out.{}", port.name), port.ty.0);
        }
        lines.0.extend(self.inherited.iter().flat_map(|inherited| inherited.lines.0.iter().cloned()));
        lines
    }

    /// The files and folders outside the cache that the result depends on.
    pub fn externals(&self) -> Vec<External> {
        let mut all = self.work.externals();
        for external in self.inherited.iter().flat_map(|inherited| &inherited.externals) {
            if !all.iter().any(|known| (&known.path, known.what) == (&external.path, external.what)) {
                all.push(external.clone());
            }
        }
        all
    }

    /// The manifest label of an input; on a `many` port it includes the input's own label.
    pub fn input_label(&self, wire: &Wire) -> String {
        match self.ports.input(wire.port).map(|p| p.arity) {
            Some(Arity::Many) => format!("in.{}[{}]", wire.port, wire.label),
            _ => format!("in.{}", wire.port),
        }
    }
}

/// The position of an instance on one axis. `axis` identifies the axis; `label` is for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coordinate {
    pub axis: String,
    pub label: String,
}

/// One artifact flowing into a port.
#[derive(Debug, Clone)]
pub struct Wire {
    pub port: &'static str,
    /// Index of the instance that makes it.
    pub from: usize,
    pub output: &'static str,
    pub label: String,
}

/// What the stages that an instance runs in trials add to it.
#[derive(Debug, Default)]
pub struct Inherited {
    /// The lines of their definitions: `teacher.epochs`.
    pub(crate) lines: Manifest,
    /// The files that they read.
    pub(crate) externals: Vec<External>,
    /// Indices of the instances that the trials replace.
    pub(crate) members: Vec<usize>,
}
