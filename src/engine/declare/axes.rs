//! The axes of a stage's own: those of its `matrix`, and the seeds of its `repeat`.

use super::fan_out::MOST_INSTANCES;
use crate::contract::kind::Kind;
use crate::text::diagnostic::Diagnostic;
use crate::text::value::{Item, Node, Table, Value};

/// A parameter and the values that a stage takes for it, one instance each.
type Axis = (String, Vec<Value>);

/// The axis that `repeat` adds.
const SEED: &str = "seed";

/// The axes of `matrix`, each with its values.
pub(crate) fn take_matrix(table: &mut Table, problems: &mut Vec<Diagnostic>) -> Vec<Axis> {
    let Some(item) = table.take("matrix") else { return Vec::new() };
    let Node::Table(axes) = item.value.node else {
        problems.push(
            Diagnostic::new("`matrix` must be a table of lists")
                .at(&item.value.place)
                .label("expected e.g. `{ seed = [1, 2, 3] }`"),
        );
        return Vec::new();
    };
    let mut out = Vec::new();
    for axis in axes.0 {
        match axis.value.node {
            Node::Array(values) if !values.is_empty() && values.iter().all(|v| v.scalar().is_some()) => {
                let mut labels: Vec<String> = values.iter().filter_map(Value::scalar).collect();
                labels.sort();
                labels.dedup();
                if labels.len() < values.len() {
                    problems.push(
                        Diagnostic::new(format!("matrix axis `{}` contains a value twice", axis.key))
                            .at(&axis.value.place),
                    );
                }
                if let Some(both) = table.take(&axis.key) {
                    problems.push(
                        Diagnostic::new(format!("`{}` is set twice: by `matrix` and by its own line", axis.key))
                            .at(&both.key_place)
                            .help("keep one of the two"),
                    );
                }
                out.push((axis.key, values));
            }
            _ => problems.push(
                Diagnostic::new(format!(
                    "matrix axis `{}` must be a list of one or more numbers, strings or booleans",
                    axis.key
                ))
                .at(&axis.value.place),
            ),
        }
    }
    out
}

/// Which seeds a stage takes if it is repeated.
pub(crate) struct Seeds<'a> {
    pub(crate) kind: &'a Kind,
    /// The stage's own seed, or the pipeline's.
    pub(crate) first: u64,
}

/// The axis of `repeat = N`: the stage's seed and the N − 1 numbers after it, as `matrix = { seed = […] }` would have them.
pub(crate) fn take_repeat(
    table: &mut Table,
    axes: &[Axis],
    seeds: Seeds,
    problems: &mut Vec<Diagnostic>,
) -> Option<Axis> {
    let item = table.take("repeat")?;
    let place = item.value.place.clone();
    match seeds.of(&item, axes) {
        Ok(all) => {
            let value = |seed| Value { node: Node::Integer(seed), place: place.clone() };
            Some((SEED.into(), all.map(value).collect()))
        }
        Err(problem) => {
            problems.push(problem.at(&place));
            None
        }
    }
}

impl Seeds<'_> {
    fn of(&self, item: &Item, axes: &[Axis]) -> Result<std::ops::RangeInclusive<i64>, Diagnostic> {
        let count = match item.value.node {
            Node::Integer(count) if count >= 1 => count,
            Node::Integer(count) => {
                let none = Diagnostic::new(format!("`repeat` is {count}; it must be 1 or more"));
                return Err(none.label("how many instances, each with another seed"));
            }
            _ => {
                let other = format!("`repeat` must be a whole number, 1 or more, found {}", item.value.describe());
                return Err(Diagnostic::new(other).label("expected a whole number"));
            }
        };
        if axes.iter().any(|(axis, _)| axis == SEED) {
            let both = Diagnostic::new("the seeds are set twice: by `repeat` and by the axis `seed` of `matrix`");
            return Err(both.help("keep one of the two"));
        }
        if count > MOST_INSTANCES as i64 {
            let many = format!("`repeat` is {count}; a pipeline has at most {MOST_INSTANCES} instances");
            return Err(Diagnostic::new(many));
        }
        if count > 1 && !self.kind.seeded {
            let same =
                format!("`repeat` would give {count} times the same: no `{}` depends on the seed", self.kind.name);
            return Err(Diagnostic::new(same).help("repeat the stages before it whose results depend on the seed"));
        }
        let last = i64::try_from(self.first).ok().and_then(|first| Some(first..=first.checked_add(count - 1)?));
        last.ok_or_else(|| {
            let first = self.first;
            Diagnostic::new(format!("`repeat` counts up from the seed {first}, beyond the largest seed, {}", i64::MAX))
        })
    }
}
