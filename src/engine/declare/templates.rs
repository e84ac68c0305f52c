//! What a stage that runs trials depends on: the definitions and the inputs of the stages that it runs.

use std::collections::{BTreeMap, HashMap};

use super::drawn::{Drawn, Runs, reference};
use super::instance::{Inherited, Instance, Wire};
use crate::contract::kind::External;
use crate::contract::port::interned;
use crate::contract::trial::Template;
use crate::text::diagnostic::{Diagnostic, listed};

/// Find the stages of a stage's templates.
pub(crate) fn find_runs(
    templates: &[Template],
    (me, drawn): (&Drawn, &[Drawn]),
    index: &HashMap<String, usize>,
    problems: &mut Vec<Diagnostic>,
) -> Vec<Runs> {
    let names = || drawn.iter().map(|d| d.name.as_str());
    let mut all = Vec::new();
    for template in templates {
        let place = me.parameters.get(template.key).map_or(&me.place, |item| &item.value.place);
        let wanted = std::iter::once(reference(&template.target).0).chain(template.varied.iter().map(String::as_str));
        let unknown: Vec<&str> = wanted.filter(|name| !index.contains_key(*name)).collect();
        problems.extend(unknown.iter().map(|name| {
            Diagnostic::new(format!("unknown stage `{name}`"))
                .at(place)
                .label("unknown stage")
                .suggest(name, names())
                .help(format!("stages: {}", listed(names())))
        }));
        if let (true, Some(&target)) = (unknown.is_empty(), index.get(reference(&template.target).0)) {
            all.push(Runs { template: template.clone(), target, place: place.clone() });
        }
    }
    all
}

/// The inputs that an instance has through its templates, and the rest of what it inherits.
pub(crate) fn inherit(
    runs: &[Runs],
    instances: &[Instance],
    of_stage: &BTreeMap<usize, Vec<usize>>,
    problems: &mut Vec<Diagnostic>,
) -> (Vec<Wire>, Inherited) {
    let (mut wires, mut all) = (Vec::new(), Inherited::default());
    for Runs { template, target, place } in runs {
        let candidates = of_stage.get(target).map_or(&[][..], Vec::as_slice);
        let (_, name, _) = reference(&template.target);
        let picked: Vec<usize> =
            candidates.iter().copied().filter(|&i| name.is_none_or(|name| instances[i].name == name)).collect();
        let &[target] = picked.as_slice() else {
            // Without candidates, what is wrong with the stage has been reported.
            if !candidates.is_empty() {
                let names = candidates.iter().map(|&i| instances[i].name.as_str());
                problems.push(
                    Diagnostic::new(format!("`{}` is not one instance of a stage", template.target))
                        .at(place)
                        .help(format!("name one of {}", listed(names))),
                );
            }
            continue;
        };
        let is_varied = |i: usize| template.varied.contains(&instances[i].stage);
        let affected = affected(target, instances, &is_varied);
        for stage in template.varied.iter().filter(|s| !affected.iter().any(|&i| instances[i].stage == **s)) {
            let target = &template.target;
            problems.push(Diagnostic::new(format!("`{target}` does not depend on stage `{stage}`")).at(place));
        }
        let new: Vec<usize> = affected.iter().copied().filter(|i| !all.members.contains(i)).collect();
        for member in new {
            let instance = &instances[member];
            let own = instance.own_lines().0;
            own.into_iter().for_each(|l| all.lines.push(format!("{}.{}", instance.name, l.label), l.value));
            for wire in instance.inputs.iter().filter(|w| !affected.contains(&w.from)) {
                let label = instance.input_label(wire);
                let port = format!("{}.{}", instance.name, label.strip_prefix("in.").unwrap_or(&label));
                wires.push(Wire { port: interned(&port), ..wire.clone() });
            }
            for external in instance.externals() {
                if !all.externals.iter().any(|e| (&e.path, e.what) == (&external.path, external.what)) {
                    let name = format!("{}.{}", instance.name, external.name);
                    all.externals.push(External { name, key: template.key, ..external });
                }
            }
        }
        all.members.extend(affected);
    }
    all.members.sort_unstable();
    all.members.dedup();
    (wires, all)
}

/// The target and everything between it and the varied instances, in topological order.
pub(crate) fn affected(target: usize, instances: &[Instance], is_varied: &dyn Fn(usize) -> bool) -> Vec<usize> {
    let mut needed = vec![false; target + 1];
    needed[target] = true;
    for at in (0..=target).rev() {
        if needed[at] {
            instances[at].inputs.iter().for_each(|wire| needed[wire.from] = true);
        }
    }
    let mut is_affected = vec![false; target + 1];
    for at in 0..=target {
        is_affected[at] = needed[at]
            && (at == target || is_varied(at) || instances[at].inputs.iter().any(|wire| is_affected[wire.from]));
    }
    (0..=target).filter(|&at| is_affected[at]).collect()
}
