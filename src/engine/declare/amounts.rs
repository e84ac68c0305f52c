//! Reads what a stage is to occupy: `cpus`, `memory`, `gpus` and `time` of its table.

use crate::contract::needs::{Asked, parse_size, parse_span};
use crate::text::diagnostic::{Diagnostic, Place};
use crate::text::value::{Item, Node, Table};

/// What the file sets, and where.
#[derive(Debug, Clone, Default)]
pub struct Amounts {
    pub asked: Asked,
    places: Vec<(&'static str, Place)>,
}

impl Amounts {
    /// The place of a key's value, if the file sets it.
    pub fn place(&self, key: &str) -> Option<&Place> {
        self.places.iter().find(|(known, _)| *known == key).map(|(_, place)| place)
    }
}

/// Take the amounts out of a stage's table; report invalid values.
pub(crate) fn take_amounts(table: &mut Table, problems: &mut Vec<Diagnostic>) -> Amounts {
    let places = ["cpus", "memory", "gpus", "time"];
    let places = places.into_iter().filter_map(|key| Some((key, table.get(key)?.value.place.clone()))).collect();
    let mut invalid = |item: &Item, wanted: &str, label: &str| {
        let found = item.value.describe();
        let d = Diagnostic::new(format!("`{}` must be {wanted}, found {found}", item.key));
        problems.push(d.at(&item.value.place).label(label));
    };
    let mut count = |key: &str, least: i64| -> Option<usize> {
        let item = table.take(key)?;
        match item.value.node {
            Node::Integer(i) if i >= least => return usize::try_from(i).ok(),
            _ => invalid(&item, &format!("a whole number, {least} or more"), "expected a whole number"),
        }
        None
    };
    let (cpus, gpus) = (count("cpus", 1), count("gpus", 0));
    let mut text = |key: &str, parse: fn(&str) -> Option<u64>, wanted: &str, label: &str| -> Option<u64> {
        let item = table.take(key)?;
        let found = item.value.as_str().and_then(parse);
        if found.is_none() {
            invalid(&item, wanted, label);
        }
        found
    };
    let memory = text("memory", parse_size, "a size with its unit", "expected e.g. \"8 GiB\" or \"500 MB\"");
    let time = text("time", parse_span, "a duration with its units", "expected e.g. \"2h\" or \"1h 30m\"");
    Amounts { asked: Asked { cpus, memory, gpus, time }, places }
}
