//! What a change invalidates: everything downstream of it, each with the shortest path back to a cause.

use crate::declare::instance::Instance;

/// A reason why an instance's fingerprint differs, independent of what happens upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// One of its own manifest lines: `learning-rate`, `in.model`.
    Line(String),
    /// The content of a file that the instance reads.
    File(String),
    /// The base has no such instance.
    New,
    /// An input that the head no longer has.
    Gone(String),
    /// An input with another name, on a port where names are part of the result.
    Renamed(String),
}

/// The longest path that is written out in full; longer paths show both ends.
const LONGEST: usize = 8;

/// An instance whose result changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Invalid {
    /// Index into the head's instances.
    pub at: usize,
    /// The indices from this instance to the one that changed.
    pub path: Vec<usize>,
    /// The causes of the last instance on the path.
    pub causes: Vec<Cause>,
}

/// `direct` holds the causes of each instance, by index; the instances are in topological order.
pub(super) fn closure(head: &[Instance], direct: &[Vec<Cause>]) -> Vec<Invalid> {
    // For each instance: the distance to the nearest cause, and the input on the path to it.
    let mut nearest: Vec<Option<(usize, usize)>> = Vec::with_capacity(head.len());
    for (at, instance) in head.iter().enumerate() {
        let above = || {
            let far = |from: usize| nearest[from].map(|(distance, _)| (distance + 1, from));
            // Among equally near inputs, take the first in the file.
            instance.inputs.iter().filter_map(|w| far(w.from)).min_by_key(|(distance, _)| *distance)
        };
        nearest.push(if direct[at].is_empty() { above() } else { Some((0, at)) });
    }
    let invalid = |at: usize| {
        let mut path = vec![at];
        let mut last = at;
        while let Some((1.., above)) = nearest[last] {
            path.push(above);
            last = above;
        }
        Invalid { at, path, causes: direct[last].clone() }
    };
    (0..head.len()).filter(|&at| nearest[at].is_some()).map(invalid).collect()
}

impl Invalid {
    /// `comparison ← scores[teacher] ← teacher.learning-rate`.
    pub fn reason(&self, head: &[Instance]) -> String {
        let mut nodes: Vec<String> = self.path.iter().map(|&at| head[at].name.clone()).collect();
        let Some(last) = nodes.last_mut() else { return String::new() };
        let more = match self.causes.len() {
            0 | 1 => String::new(),
            n => format!(" and {} more", n - 1),
        };
        match self.causes.first() {
            Some(Cause::Line(label)) => last.push_str(&format!(".{label}{more}")),
            Some(Cause::New) => last.push_str(" (new)"),
            Some(Cause::File(path)) => nodes.push(format!("{path}{more}")),
            Some(Cause::Gone(name)) => nodes.push(format!("{name} (removed){more}")),
            Some(Cause::Renamed(name)) => nodes.push(format!("{name} (renamed){more}")),
            None => {}
        }
        if nodes.len() > LONGEST {
            nodes.splice(LONGEST / 2..nodes.len() - LONGEST / 2, ["…".to_string()]);
        }
        nodes.join(" ← ")
    }
}
