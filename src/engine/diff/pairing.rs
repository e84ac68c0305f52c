//! Pairs the stages and instances of the base with those of the head, even if they were renamed.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;

use crate::declare::instance::{Coordinate, Instance};

/// Pairs of the same stage or instance on both sides.
#[derive(Debug, Default)]
pub(super) struct Pairing {
    /// The name in the head, by the name in the base.
    pub(super) stages: HashMap<String, String>,
    /// The paired instance of the head, by instance of the base.
    pub(super) to_head: Vec<Option<usize>>,
    pub(super) to_base: Vec<Option<usize>>,
}

/// What identifies an instance independent of its name.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Shape {
    /// Fingerprint of the lines that the definition determines.
    own: String,
    /// Port, paired instance of the head, output.
    inputs: Vec<(&'static str, usize, &'static str)>,
}

/// Pairs of axis and label, without the stage's own name.
type Point = Vec<(String, String)>;

/// All instances of a stage.
type Whole = Vec<(Point, Shape)>;

/// The stages of a side, each with the range of its instances, in topological order.
pub(super) fn stages(instances: &[Instance]) -> Vec<(&str, Range<usize>)> {
    let mut all: Vec<(&str, Range<usize>)> = Vec::new();
    for (at, instance) in instances.iter().enumerate() {
        match all.last_mut() {
            Some((name, range)) if *name == instance.stage => range.end = at + 1,
            _ => all.push((&instance.stage, at..at + 1)),
        }
    }
    all
}

impl Pairing {
    /// One pass in topological order: the inputs of a stage are paired before the stage itself.
    pub(super) fn of(base: &[Instance], head: &[Instance]) -> Self {
        let (old, new) = (stages(base), stages(head));
        let in_head: HashMap<&str, Range<usize>> = new.iter().cloned().collect();
        let in_base: HashMap<&str, Range<usize>> = old.iter().cloned().collect();
        let mut pairing =
            Self { to_head: vec![None; base.len()], to_base: vec![None; head.len()], ..Default::default() };
        // Stages that only the head has, by shape: candidates for the new name of a stage that the head lacks.
        let mut added: HashMap<Whole, VecDeque<(&str, Range<usize>)>> = HashMap::new();
        for (name, range) in new.iter().filter(|(name, _)| !in_base.contains_key(name)) {
            let shapes = head[range.clone()].iter().map(|i| (pairing.point(i), shape(i, &Some)));
            if let Some(known) = shapes.map(|(p, s)| Some((p, s?))).collect() {
                added.entry(known).or_default().push_back((name, range.clone()));
            }
        }
        for (name, range) in old {
            let twin = match in_head.get(name) {
                Some(theirs) => Some((name, theirs.clone())),
                None => pairing.shapes(&base[range.clone()]).and_then(|s| added.get_mut(&s)?.pop_front()),
            };
            if let Some((new_name, theirs)) = twin {
                pairing.stages.insert(name.into(), new_name.into());
                pairing.join(base, range, head, theirs);
            }
        }
        pairing
    }

    fn shapes(&self, mine: &[Instance]) -> Option<Whole> {
        mine.iter().map(|i| Some((self.point(i), shape(i, &|from| self.to_head[from])?))).collect()
    }

    /// Pair the instances of one stage: first by coordinates, then by shape, then the last unpaired instance of each
    /// side.
    fn join(&mut self, base: &[Instance], mine: Range<usize>, head: &[Instance], theirs: Range<usize>) {
        let mut at_point: HashMap<Point, usize> = theirs.clone().map(|h| (self.point(&head[h]), h)).collect();
        for b in mine.clone() {
            if let Some(h) = at_point.remove(&self.point(&base[b])) {
                self.pair(b, h);
            }
        }
        let mut of_shape: HashMap<Shape, usize> = theirs
            .clone()
            .filter(|h| self.to_base[*h].is_none())
            .filter_map(|h| Some((shape(&head[h], &Some)?, h)))
            .collect();
        for b in mine.clone().filter(|b| self.to_head[*b].is_none()).collect::<Vec<_>>() {
            if let Some(h) = shape(&base[b], &|from| self.to_head[from]).and_then(|s| of_shape.remove(&s)) {
                self.pair(b, h);
            }
        }
        let left: Vec<usize> = mine.filter(|b| self.to_head[*b].is_none()).collect();
        let right: Vec<usize> = theirs.filter(|h| self.to_base[*h].is_none()).collect();
        if let (&[b], &[h]) = (left.as_slice(), right.as_slice())
            && self.own_point(&base[b]) == self.own_point(&head[h])
            && base[b].inputs.iter().all(|w| self.to_head[w.from].is_some())
            && head[h].inputs.iter().all(|w| self.to_base[w.from].is_some())
        {
            self.pair(b, h);
        }
    }

    fn pair(&mut self, b: usize, h: usize) {
        self.to_head[b] = Some(h);
        self.to_base[h] = Some(b);
    }

    /// The head's name for a stage of the base; its own name if it has no pair.
    pub(super) fn name<'a>(&'a self, stage: &'a str) -> &'a str {
        self.stages.get(stage).map_or(stage, String::as_str)
    }

    /// The coordinates of an instance, with the head's names.
    fn point(&self, instance: &Instance) -> Point {
        instance.coordinates.iter().map(|c| self.coordinate(c, &instance.stage)).collect()
    }

    /// The coordinates on the axes of the instance's own stage.
    fn own_point(&self, instance: &Instance) -> Point {
        self.point(instance).into_iter().filter(|(axis, _)| axis.starts_with(['.', '@'])).collect()
    }

    /// An axis is `stage.port` for a list and `stage@parameter` for a matrix; the labels of a list are stages.
    fn coordinate(&self, c: &Coordinate, me: &str) -> (String, String) {
        let (owner, rest) = c.axis.split_at(c.axis.find(['.', '@']).unwrap_or(c.axis.len()));
        let owner = if owner == me { "" } else { self.name(owner) };
        let label = if rest.starts_with('.') { self.name(&c.label) } else { &c.label };
        (format!("{owner}{rest}"), label.to_string())
    }
}

/// None if an input has no pair.
fn shape(instance: &Instance, twin: &dyn Fn(usize) -> Option<usize>) -> Option<Shape> {
    let inputs = instance.inputs.iter().map(|w| Some((w.port, twin(w.from)?, w.output))).collect::<Option<_>>()?;
    Some(Shape { own: instance.own_lines().fingerprint(), inputs })
}
