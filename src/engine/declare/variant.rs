//! A part of a pipeline with other values for some parameters, declared as if its file had them.

use super::fan_out::fan_out;
use super::graph;
use super::instance::Instance;
use super::resolve::{Origin, Pipeline};
use super::templates::affected;
use super::wiring::draw;
use crate::contract::trial::Override;
use crate::text::diagnostic::{Diagnostics, Place, listed};
use crate::text::value::{Item, Node, Table, Value};

/// Keys of a stage that are not parameters.
const NO_PARAMETERS: [&str; 7] = ["use", "in", "out", "matrix", "repeat", "export", "exclusive"];

/// A target with everything upstream of it.
pub(crate) struct Variant {
    /// In topological order.
    pub(crate) instances: Vec<Instance>,
    pub(crate) target: usize,
    /// Indices of the instances that the overrides affect, and of the target.
    pub(crate) affected: Vec<usize>,
}

/// Why there is no variant.
pub(crate) enum NoVariant {
    /// The stage asked for what the pipeline does not have.
    Unknown(String),
    /// The values are not valid.
    Invalid(Diagnostics),
}

impl Pipeline {
    pub(crate) fn variant(&self, target: &str, overrides: &[Override]) -> Result<Variant, NoVariant> {
        let unknown = |text: String| Err(NoVariant::Unknown(text));
        let Some(origin) = &self.origin else {
            return unknown("its kind does not declare that it runs trials".into());
        };
        let picked: Vec<usize> = (0..self.instances.len())
            .filter(|&at| self.instances[at].name == target || self.instances[at].stage == target)
            .collect();
        let &[at] = picked.as_slice() else {
            let names = picked.iter().map(|&at| self.instances[at].name.as_str());
            return unknown(match picked.is_empty() {
                true => format!("the pipeline has no stage `{target}`"),
                false => format!("`{target}` has several instances: {}", listed(names)),
            });
        };
        let name = &self.instances[at].name;
        let mut stages = self.upstream_of(at, &origin.stages);
        for change in overrides {
            if NO_PARAMETERS.contains(&change.key.as_str()) {
                return unknown(format!("`{}` is not a parameter", change.key));
            }
            let Some(stage) = stages.0.iter_mut().find(|item| item.key == change.stage) else {
                return unknown(format!("`{target}` does not depend on a stage `{}`", change.stage));
            };
            set(stage, change);
        }
        let instances = declare(stages, origin).map_err(NoVariant::Invalid)?;
        let Some(target) = instances.iter().position(|i| i.name == *name) else {
            return unknown(format!("the overrides leave no instance `{name}`"));
        };
        let is_varied = |at: usize| overrides.iter().any(|change| change.stage == instances[at].stage);
        let affected = affected(target, &instances, &is_varied);
        Ok(Variant { instances, target, affected })
    }

    /// A pipeline of these instances, which run under the name of this one.
    pub(crate) fn of_trials(&self, instances: Vec<Instance>) -> Self {
        Self {
            name: self.name.clone(),
            description: None,
            profile: self.profile.clone(),
            profiles: Vec::new(),
            source: self.source.clone(),
            instances,
            origin: None,
        }
    }

    /// The tables of the stages that an instance depends on, without exports.
    fn upstream_of(&self, at: usize, stages: &Table) -> Table {
        let mut needed = vec![false; self.instances.len()];
        needed[at] = true;
        for at in (0..=at).rev() {
            if needed[at] {
                let instance = &self.instances[at];
                let members = instance.inherited.iter().flat_map(|inherited| &inherited.members);
                instance.inputs.iter().map(|w| w.from).chain(members.copied()).for_each(|from| needed[from] = true);
            }
        }
        let names: std::collections::HashSet<&str> =
            (0..=at).filter(|&at| needed[at]).map(|at| self.instances[at].stage.as_str()).collect();
        let mut kept: Vec<Item> = stages.0.iter().filter(|item| names.contains(item.key.as_str())).cloned().collect();
        for item in &mut kept {
            if let Node::Table(table) = &mut item.value.node {
                table.take("export");
            }
        }
        Table(kept)
    }
}

fn declare(stages: Table, origin: &Origin) -> Result<Vec<Instance>, Diagnostics> {
    let mut problems = Vec::new();
    let drawn = draw(stages, (&origin.kinds, origin.seed), &mut problems);
    // The whole pipeline has no cycle, so its part has none.
    let order = graph::stage_order(drawn.len(), drawn.iter().enumerate().flat_map(|(to, d)| d.edges(to)));
    let instances = fan_out(&drawn, &order.unwrap_or_default(), origin.seed, &mut problems);
    if problems.is_empty() { Ok(instances) } else { Err(Diagnostics::new(problems)) }
}

/// Put a value into a stage's table, at the place of the one that it replaces.
fn set(stage: &mut Item, change: &Override) {
    let Node::Table(table) = &mut stage.value.node else { return };
    match table.0.iter_mut().find(|item| item.key == change.key) {
        Some(item) => item.value = value(&change.value, &item.value.place),
        None => {
            let place = stage.key_place.clone();
            let value = value(&change.value, &place);
            table.0.push(Item { key: change.key.clone(), key_place: place, value });
        }
    }
}

fn value(json: &serde_json::Value, place: &Place) -> Value {
    use serde_json::Value as Json;
    let node = match json {
        Json::Null => Node::String(String::new()),
        Json::Bool(b) => Node::Bool(*b),
        Json::Number(n) => match n.as_i64() {
            Some(i) => Node::Integer(i),
            None => Node::Float(n.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Node::String(text.clone()),
        Json::Array(all) => Node::Array(all.iter().map(|one| value(one, place)).collect()),
        Json::Object(map) => Node::Table(Table(
            map.iter()
                .map(|(key, one)| Item { key: key.clone(), key_place: place.clone(), value: value(one, place) })
                .collect(),
        )),
    };
    Value { node, place: place.clone() }
}
