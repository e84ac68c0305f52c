//! What a file says about a stage, with its kind and wiring, before it fans out.

use super::amounts::Amounts;
use super::export::Export;
use crate::contract::kind::{Erased, Extra, Kind, MorePorts, Port, Ports};
use crate::contract::trial::Template;
use crate::text::diagnostic::Place;
use crate::text::value::{Table, Value};

/// A stage of the file with its kind and wiring, before it fans out.
pub(crate) struct Drawn {
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) kind: Kind,
    pub(crate) parameters: Table,
    pub(crate) seed: Option<u64>,
    pub(crate) ports: Ports,
    /// What the parameters say about ports and trials.
    pub(crate) told: Told,
    pub(crate) plugs: Vec<Plug>,
    /// The stages that it runs in trials.
    pub(crate) runs: Vec<Runs>,
    pub(crate) axes: Vec<(String, Vec<Value>)>,
    pub(crate) export: Option<Export>,
    pub(crate) exclusive: Option<String>,
    pub(crate) amounts: Amounts,
}

impl Drawn {
    /// The edges into this stage, which has the index `to`: from its sources and from the stages that it runs in trials.
    pub(crate) fn edges(&self, to: usize) -> impl Iterator<Item = (usize, usize)> + '_ {
        let sources = self.plugs.iter().flat_map(|plug| &plug.sources).map(|reference| reference.stage);
        sources.chain(self.runs.iter().map(|runs| runs.target)).map(move |from| (from, to))
    }
}

/// What a stage's parameters say about its wiring.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Told {
    pub(crate) ports: Extra,
    pub(crate) templates: Vec<Template>,
}

impl Told {
    pub(crate) fn by(work: &dyn Erased) -> Self {
        Self { ports: work.ports(), templates: work.templates() }
    }

    /// Whether stages of a kind tell anything.
    pub(crate) fn is_asked(kind: &Kind) -> bool {
        kind.more_ports != MorePorts::Never || kind.runs_trials
    }
}

/// A template whose stages were found.
pub(crate) struct Runs {
    pub(crate) template: Template,
    /// Index of the stage that gives the result.
    pub(crate) target: usize,
    pub(crate) place: Place,
}

/// What the file wires into one port.
pub(crate) struct Plug {
    pub(crate) port: Port,
    pub(crate) sources: Vec<Reference>,
    /// Whether the file has a list: then a single port fans out, even over one element.
    pub(crate) is_list: bool,
}

pub(crate) struct Reference {
    pub(crate) stage: usize,
    /// The instance of the stage, if the text names one.
    pub(crate) instance: Option<String>,
    pub(crate) output: &'static str,
    pub(crate) place: Place,
}

/// The stage, the instance and the output that a source names: `scores`, `scores[pruned]`, `adapted.adapter`.
pub(crate) fn reference(text: &str) -> (&str, Option<&str>, Option<&str>) {
    let (whole, output) = match text.rsplit_once('.') {
        Some((stage, output)) if !text.ends_with(']') => (stage, Some(output)),
        _ => (text, None),
    };
    match whole.split_once('[') {
        Some((stage, _)) => (stage, Some(whole), output),
        None => (whole, None, output),
    }
}
