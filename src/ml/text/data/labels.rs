//! The labels of a corpus, declared or found in the rows, and the error about undeclared ones.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Result, bail};

use super::raw::Raw;
use super::spec::{Purpose, Spec};
use super::table::{closest, short};

/// Number of undeclared labels that a message names; it only counts the rest.
const LISTED: usize = 10;

/// The labels in the order of their ids.
pub(crate) struct Labels {
    names: Vec<String>,
    ids: BTreeMap<String, u32>,
}

impl Labels {
    /// The declared labels, or those of the training sources. Fails if a row has another label.
    ///
    /// `declared` are the class names of each source's files, if they have any: their order is that of the ids.
    pub(crate) fn settle(spec: &Spec, tables: &[Vec<Raw>], declared: &[Option<Vec<String>>]) -> Result<Self> {
        let names = spec.known_labels().or_else(|| agreed(declared)).unwrap_or_else(|| found(tables));
        let ids = names.iter().enumerate().map(|(id, name)| (name.clone(), id as u32)).collect();
        let labels = Labels { names, ids };
        labels.check(spec, tables)?;
        Ok(labels)
    }

    pub(crate) fn id(&self, name: &str) -> Option<u32> {
        self.ids.get(name).copied()
    }

    pub(crate) fn into_names(self) -> Vec<String> {
        self.names
    }

    fn check(&self, spec: &Spec, tables: &[Vec<Raw>]) -> Result<()> {
        // Each undeclared label with the place of its first row and its number of rows.
        let mut strange: Vec<(&str, String, u64)> = Vec::new();
        let mut known: HashMap<&str, usize> = HashMap::new();
        for table in tables {
            for row in table.iter().filter(|row| self.id(&row.label).is_none()) {
                let at = *known.entry(&row.label).or_insert_with(|| {
                    strange.push((&row.label, row.place(), 0));
                    strange.len() - 1
                });
                strange[at].2 += 1;
            }
        }
        if strange.is_empty() {
            return Ok(());
        }
        let mut lines: Vec<String> = strange.iter().take(LISTED).map(|found| self.complaint(found)).collect();
        if strange.len() > LISTED {
            lines.push(format!("and {} more labels", strange.len() - LISTED));
        }
        let declared: Vec<String> = self.names.iter().take(LISTED).map(|name| format!("`{}`", short(name))).collect();
        let more = self.names.len().saturating_sub(LISTED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let known =
            if spec.known_labels().is_some() { "the declared labels" } else { "the labels of the training rows" };
        lines.push(format!("{known} are {}{more}; correct the rows, or set `labels`", declared.join(", ")));
        bail!(lines.join("\n"))
    }

    fn complaint(&self, (label, place, count): &(&str, String, u64)) -> String {
        let hint = closest(label, self.names.iter().map(String::as_str))
            .map_or_else(String::new, |name| format!("; did you mean `{}`?", short(name)));
        let rows = if *count == 1 { "1 row".to_owned() } else { format!("{count} rows, the first") };
        format!("label `{}` is not declared: {rows} at {place}{hint}", short(label))
    }
}

/// The class names, if all files have the same.
fn agreed(declared: &[Option<Vec<String>>]) -> Option<Vec<String>> {
    let first = declared.first()?.as_ref()?;
    declared.iter().all(|names| names.as_ref() == Some(first)).then(|| first.clone())
}

/// Distinct labels of the training rows, sorted as numbers if all are numbers, otherwise as text.
fn found(tables: &[Vec<Raw>]) -> Vec<String> {
    let training = tables.iter().flatten().filter(|row| row.purpose == Purpose::Train);
    let distinct: BTreeSet<&str> = training.map(|row| row.label.as_str()).collect();
    let mut names: Vec<String> = distinct.into_iter().map(str::to_owned).collect();
    if names.iter().all(|name| name.parse::<i64>().is_ok()) {
        names.sort_by_key(|name| name.parse::<i64>().unwrap_or(i64::MAX));
    }
    names
}
