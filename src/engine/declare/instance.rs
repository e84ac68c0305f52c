//! One stage at one point of its axes, and what is wired into it.

use std::sync::Arc;

use super::amounts::Amounts;
use crate::contract::kind::{Arity, Erased, Kind};
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
    pub work: Arc<dyn Erased>,
    /// The stage's table as written, for the places of its values.
    pub table: Arc<Table>,
    /// The parameters with defaults filled in.
    pub parameters: serde_json::Value,
    pub seed: u64,
    pub inputs: Vec<Wire>,
    /// The folder below the project root that the outputs are copied to.
    pub export: Option<String>,
    /// Instances of one group never run at the same time.
    pub exclusive: Option<String>,
    /// What it occupies while it runs.
    pub needs: Needs,
    /// What the file sets of it.
    pub amounts: Amounts,
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
        lines
    }

    /// The manifest label of an input; on a `many` port it includes the input's own label.
    pub fn input_label(&self, wire: &Wire) -> String {
        match self.kind.input(wire.port).map(|p| p.arity) {
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
