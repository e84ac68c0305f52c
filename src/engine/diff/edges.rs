//! Compares the inputs of stages as the file writes them, and of instances as their manifests have them.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::Value;

use super::change::{Change, Touched, What};
use super::closure::Cause;
use super::pairing::Pairing;
use crate::contract::kind::{Arity, Port};
use crate::declare::instance::{Instance, Wire};

/// Both sides and the pairing of their stages.
#[derive(Clone, Copy)]
pub(super) struct Sides<'a> {
    pub(super) base: &'a [Instance],
    pub(super) head: &'a [Instance],
    pub(super) pairing: &'a Pairing,
    pub(super) touched: &'a Touched,
}

/// The source of an edge: an instance of the head, or an instance of the base that the head no longer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Here(usize, &'static str),
    Gone(usize),
}

impl Sides<'_> {
    /// The ports whose sources differ, named as in the file: `teacher`, or `adapted.adapter` if a stage has several
    /// outputs.
    pub(super) fn of_stage(&self, mine: Range<usize>, theirs: Range<usize>) -> Vec<Change> {
        let (before, after) = (self.references(self.base, mine), self.references(self.head, theirs));
        let mut ports: Vec<&str> = before.keys().chain(after.keys()).copied().collect();
        ports.sort_unstable();
        ports.dedup();
        let none = Vec::new();
        let changed = ports.into_iter().filter_map(|port| {
            let (old, new) = (before.get(port).unwrap_or(&none), after.get(port).unwrap_or(&none));
            let is_same = old.len() == new.len() && old.iter().all(|name| new.contains(name));
            (!is_same).then(|| Change::new(What::Edge, format!("in.{port}"), names(old), names(new)))
        });
        changed.collect()
    }

    /// The sources of each port, each once.
    pub(super) fn references<'s>(
        &'s self,
        side: &'s [Instance],
        range: Range<usize>,
    ) -> BTreeMap<&'static str, Vec<String>> {
        let is_base = std::ptr::eq(side, self.base);
        let mut all: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
        for wire in side[range].iter().flat_map(|i| &i.inputs) {
            let source = &side[wire.from];
            let stage = if is_base { self.pairing.name(&source.stage) } else { &source.stage };
            let name =
                if source.ports.outputs.len() > 1 { format!("{stage}.{}", wire.output) } else { stage.to_string() };
            let mine = all.entry(wire.port).or_default();
            if !mine.contains(&name) {
                mine.push(name);
            }
        }
        all
    }

    /// Why the input lines of paired instances differ, and which of these changes the stage's own `edges` do not
    /// contain.
    pub(super) fn of_instance(&self, b: usize, h: usize, edges: &[Change]) -> (Vec<Change>, Vec<Cause>) {
        let (mut changes, mut causes) = (Vec::new(), Vec::new());
        for port in self.head[h].ports.inputs.iter() {
            let label = format!("in.{}", port.name);
            let before = self.links(&self.base[b], port, &|from, output| match self.pairing.to_head[from] {
                Some(twin) => Link::Here(twin, output),
                None => Link::Gone(from),
            });
            let after = self.links(&self.head[h], port, &Link::Here);
            if before == after {
                continue;
            }
            let (old, new): (Vec<Link>, Vec<Link>) =
                (before.iter().map(|(l, _)| *l).collect(), after.iter().map(|(l, _)| *l).collect());
            if old != new && edges.iter().any(|c| c.label == label) {
                causes.push(Cause::Line(label));
                continue;
            }
            causes.extend(old.iter().filter_map(|link| match link {
                Link::Gone(from) => Some(Cause::Gone(self.base[*from].name.clone())),
                Link::Here(..) => None,
            }));
            // New instances of the head are invalid themselves and traced upstream; compare only those that both sides
            // have.
            let known = |l: &&(Link, &str)| matches!(l.0, Link::Here(at, _) if self.pairing.to_base[at].is_some());
            let (old, new): (Vec<_>, Vec<_>) =
                (before.iter().filter(known).collect(), after.iter().filter(known).collect());
            if old.iter().map(|l| l.0).ne(new.iter().map(|l| l.0)) {
                changes.push(Change::new(What::Edge, &label, self.sources(&old), self.sources(&new)));
                causes.push(Cause::Line(label));
            } else if let Some((_, (Link::Here(at, _), _))) = old.iter().zip(&new).find(|(a, b)| a.1 != b.1) {
                causes.push(Cause::Renamed(self.head[*at].name.clone()));
            }
        }
        (changes, causes)
    }

    /// The edges of one port, with labels only if they are part of the manifest.
    fn links<'s>(
        &self,
        instance: &'s Instance,
        port: &Port,
        link: &dyn Fn(usize, &'static str) -> Link,
    ) -> Vec<(Link, &'s str)> {
        let label = |w: &'s Wire| if port.arity == Arity::Many { w.label.as_str() } else { "" };
        instance.inputs.iter().filter(|w| w.port == port.name).map(|w| (link(w.from, w.output), label(w))).collect()
    }

    /// Names of instances that both sides have; if an instance has several outputs, the name includes the output.
    fn sources(&self, links: &[&(Link, &str)]) -> Value {
        let name = |(link, _): &&(Link, &str)| match *link {
            Link::Here(at, output) if self.head[at].ports.outputs.len() > 1 => {
                format!("{}.{output}", self.head[at].name)
            }
            Link::Here(at, _) => self.head[at].name.clone(),
            Link::Gone(at) => self.base[at].name.clone(),
        };
        names(&links.iter().map(name).collect::<Vec<_>>())
    }
}

fn names(all: &[String]) -> Value {
    Value::Array(all.iter().map(|n| Value::String(n.clone())).collect())
}
