//! Resolves a definition with a profile and overrides into stages, wired and fanned out into instances.

use std::sync::Arc;

use super::drawn::Drawn;
use super::fan_out::fan_out;
use super::graph;
use super::instance::Instance;
use super::layers::{Definition, take_seed, take_string};
use super::wiring::draw;
use crate::contract::kind::Kind;
use crate::text::diagnostic::{Diagnostic, Diagnostics, Place, Source};
use crate::text::value::{Item, Node, Table, Value};

/// A pipeline that can be planned and run.
pub struct Pipeline {
    pub name: String,
    pub description: Option<String>,
    pub profile: Option<String>,
    /// All profiles that the file declares.
    pub profiles: Vec<String>,
    pub source: Arc<Source>,
    /// In topological order.
    pub instances: Vec<Instance>,
    /// What trials are built from, if a stage runs any.
    pub(crate) origin: Option<Arc<Origin>>,
}

/// What instances are built from; kept only for pipelines with a stage that runs trials.
pub(crate) struct Origin {
    /// The stages with the profile and the overrides applied.
    pub(crate) stages: Table,
    pub(crate) kinds: Vec<Kind>,
    pub(crate) seed: u64,
}

/// Read, check and wire a pipeline. The error holds all problems in every profile.
pub fn resolve(
    source: &Arc<Source>,
    profile: Option<&str>,
    sets: &[String],
    kinds: &[Kind],
) -> Result<Pipeline, Diagnostics> {
    let mut problems = Vec::new();
    let Some(definition) = Definition::parse(source, kinds, &mut problems) else {
        return Err(Diagnostics::new(problems));
    };
    let pipeline = resolve_one(&definition, profile, sets, kinds, &mut problems);
    for other in &definition.profiles {
        if Some(other.key.as_str()) != profile {
            let mut found = Vec::new();
            resolve_one(&definition, Some(&other.key), &[], kinds, &mut found);
            // Problems outside the profile were reported above, or an override fixed them.
            problems.extend(found.into_iter().filter(|d| d.place.as_ref().is_some_and(|p| inside(other, p))));
        }
    }
    match pipeline {
        Some(pipeline) if problems.is_empty() => Ok(pipeline),
        _ => Err(Diagnostics::new(problems)),
    }
}

/// Whether a place lies in one of a profile's values. Dotted headers can scatter a profile over the file.
fn inside(item: &Item, place: &Place) -> bool {
    match &item.value.node {
        Node::Table(t) => t.0.iter().any(|i| i.key_place == *place || inside(i, place)),
        Node::Array(all) => item.value.place == *place || all.iter().any(|v| v.place == *place),
        _ => item.value.place == *place,
    }
}

fn resolve_one(
    definition: &Definition,
    profile: Option<&str>,
    sets: &[String],
    kinds: &[Kind],
    problems: &mut Vec<Diagnostic>,
) -> Option<Pipeline> {
    let mut table = definition.with(profile, sets, kinds, problems);
    let stem = || {
        // The part before a colon is a revision: `HEAD:x.toml`.
        std::path::Path::new(definition.source.name.rsplit(':').next().unwrap_or_default())
            .file_stem()
            .map_or("pipeline".into(), |s| s.to_string_lossy().into_owned())
    };
    let name = take_string(&mut table, "name", problems).map_or_else(stem, |(s, _)| s);
    let description = take_string(&mut table, "description", problems).map(|(s, _)| s);
    let seed = take_seed(&mut table, problems).unwrap_or(0);
    let stages = match table.take("stage").map(|i| i.value) {
        Some(Value { node: Node::Table(t), .. }) if !t.0.is_empty() => t,
        _ => {
            problems.push(
                Diagnostic::new(format!("{} declares no stage", definition.source.name))
                    .help("a stage is `[stage.NAME]` with `use = \"KIND\"`; `pipe stages` lists the kinds"),
            );
            return None;
        }
    };
    let before = problems.len();
    let origin = origin_of(&stages, kinds, seed);
    let drawn = draw(stages, (kinds, seed), problems);
    let order = match graph::stage_order(drawn.len(), drawn.iter().enumerate().flat_map(|(to, d)| d.edges(to))) {
        Ok(order) => order,
        Err(cycles) => {
            problems.extend(cycles.iter().map(|c| describe_cycle(c, &drawn)));
            return None;
        }
    };
    let instances = fan_out(&drawn, &order, seed, problems);
    if problems.len() > before {
        return None;
    }
    let pipeline = Pipeline {
        name,
        description,
        profile: profile.map(str::to_string),
        profiles: definition.profiles.iter().map(|p| p.key.clone()).collect(),
        source: definition.source.clone(),
        instances,
        origin,
    };
    problems.extend(drawn.iter().flat_map(|stage| pipeline.problems_of_trials(stage)));
    (problems.len() == before).then_some(pipeline)
}

/// What a pipeline's variants are built from, if one of its stages runs trials.
fn origin_of(stages: &Table, kinds: &[Kind], seed: u64) -> Option<Arc<Origin>> {
    let runs_trials = |item: &Item| {
        let name = item.value.as_table().and_then(|table| table.get("use")).and_then(|kind| kind.value.as_str());
        kinds.iter().any(|kind| kind.runs_trials && Some(kind.name) == name)
    };
    let has_any = stages.0.iter().any(runs_trials);
    has_any.then(|| Arc::new(Origin { stages: stages.clone(), kinds: kinds.to_vec(), seed }))
}

fn describe_cycle(cycle: &[usize], drawn: &[Drawn]) -> Diagnostic {
    let mut names: Vec<&str> = cycle.iter().map(|&i| drawn[i].name.as_str()).collect();
    names.push(names[0]);
    let last = cycle[cycle.len() - 1];
    let place = drawn[cycle[0]]
        .plugs
        .iter()
        .flat_map(|p| &p.sources)
        .find(|r| r.stage == last)
        .map_or(&drawn[cycle[0]].place, |r| &r.place);
    Diagnostic::new(format!("the stages form a cycle: {}", names.join(" → ")))
        .at(place)
        .label(format!("`{}` needs `{}`", drawn[cycle[0]].name, drawn[last].name))
        .help("remove one of these inputs")
}
