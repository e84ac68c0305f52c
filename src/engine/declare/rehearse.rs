//! Mistakes in what a stage runs in trials: found when the file is read, by declaring the trials' stages.

use super::drawn::Drawn;
use super::resolve::Pipeline;
use super::variant::NoVariant;
use crate::contract::kind::Invalid;
use crate::contract::trial::{Sample, Target, Template};
use crate::text::diagnostic::{Diagnostic, Place};
use crate::text::value::{Item, Node, Table};

impl Pipeline {
    /// Try each sample of a stage's templates on its own, and let its kind look at the targets.
    pub(crate) fn problems_of_trials(&self, stage: &Drawn) -> Vec<Diagnostic> {
        let mut problems = Vec::new();
        for runs in &stage.runs {
            let template = &runs.template;
            problems.extend(template.samples.iter().flat_map(|sample| refused(stage, template, sample, self)));
            problems.extend(wrong_target(stage, template, self).into_iter().map(|wrong| {
                let place = stage.parameters.get(wrong.key).map_or(&stage.place, |item| &item.value.place);
                wrong.help.into_iter().fold(Diagnostic::new(wrong.message).at(place), Diagnostic::help)
            }));
        }
        problems
    }
}

fn refused(stage: &Drawn, template: &Template, sample: &Sample, pipeline: &Pipeline) -> Vec<Diagnostic> {
    let place = place_of(&stage.parameters, &sample.path).unwrap_or(&stage.place);
    match pipeline.variant(&template.target, std::slice::from_ref(&sample.set)) {
        Ok(_) => Vec::new(),
        Err(NoVariant::Unknown(why)) => vec![Diagnostic::new(why).at(place)],
        // The other stage's own places would point at a value that is right.
        Err(NoVariant::Invalid(found)) => {
            found.0.into_iter().map(|d| Diagnostic { place: Some(place.clone()), ..d }).collect()
        }
    }
}

fn wrong_target(stage: &Drawn, template: &Template, pipeline: &Pipeline) -> Vec<Invalid> {
    let Some(target) = pipeline.instances.iter().find(|i| i.name == template.target || i.stage == template.target)
    else {
        return Vec::new();
    };
    let ports = |all: &[crate::contract::kind::Port]| all.iter().map(|port| (port.name, port.ty.0)).collect::<Vec<_>>();
    let me = pipeline.instances.iter().find(|i| i.stage == stage.name);
    me.map_or_else(Vec::new, |me| {
        me.work.check_target(&Target {
            template,
            kind: target.kind.name,
            parameters: &target.parameters,
            inputs: &ports(&target.ports.inputs),
            outputs: &ports(&target.ports.outputs),
        })
    })
}

/// The place of a value in nested tables, or of the innermost part of the way that the file has.
fn place_of<'a>(table: &'a Table, path: &[String]) -> Option<&'a Place> {
    let (first, rest) = path.split_first()?;
    let item: &Item = table.get(first)?;
    let inner = match &item.value.node {
        Node::Table(table) => place_of(table, rest),
        Node::Array(all) => rest.first().and_then(|at| all.get(at.parse::<usize>().ok()?)).map(|value| &value.place),
        _ => None,
    };
    Some(inner.unwrap_or(&item.value.place))
}
