//! The labels of a corpus, declared or found in the rows, and the errors about rows that do not fit them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Result, bail};

use super::merge;
use super::spelling::{LISTED, alike, listed, number, quoted, toml};
use crate::compute::numbers;
use crate::compute::numbers::thousands;
use crate::text::data::declare::spec::{Purpose, Source, Spec};
use crate::text::data::read::listed::closest;
use crate::text::data::read::raw::Raw;
use crate::text::data::read::unpack::shown;

/// Labels that rows as many as these do not fill: with more than `MANY` labels, fewer than `FEW` rows for each.
const MANY: usize = 20;
const FEW: u64 = 5;

/// With more labels than this, pairs are not compared: it would take longer than reading the rows.
const COMPARED: usize = 300;

/// One label is rare beside another if it has at most this share of its rows.
const RARE: f64 = 0.1;

/// The labels in the order of their ids.
pub(crate) struct Labels {
    names: Vec<String>,
    ids: BTreeMap<String, u32>,
}

/// What the labels of the rows are, before they are settled.
#[derive(Default)]
pub(crate) struct Remarks {
    /// What was understood, such as ids that stand for declared labels.
    pub notes: Vec<String>,
    /// What is probably a mistake.
    pub warnings: Vec<String>,
}

impl Labels {
    /// The declared labels, or those of the training sources. Rows get the names that `label-map` and `labels` give
    /// their labels. Fails if a row has a label that is not among them, or if the sources do not belong together.
    ///
    /// `declared` are the class names of each source's files, if they have any: their order is that of the ids.
    pub(crate) fn settle(
        spec: &Spec,
        sources: &[String],
        tables: &mut [Vec<Raw>],
        declared: &[Option<Vec<String>>],
        remarks: &mut Remarks,
    ) -> Result<Self> {
        for (table, source) in tables.iter_mut().zip(&spec.sources) {
            map(source, spec, table, remarks)?;
            by_order(source, spec, table, remarks);
        }
        same_numbers(spec, tables, remarks);
        let is_mapped = spec.sources.iter().any(|source| source.label_map.is_some());
        let known = spec.known_labels().or_else(|| agreed(declared).filter(|_| !is_mapped));
        let is_found = known.is_none();
        let names = known.unwrap_or_else(|| found(tables));
        let ids = names.iter().enumerate().map(|(id, name)| (name.clone(), id as u32)).collect();
        let labels = Labels { names, ids };
        if is_found {
            merge::check(sources, tables)?;
            labels.suspect(tables, remarks);
        }
        labels.check(spec, tables)?;
        Ok(labels)
    }

    pub(crate) fn id(&self, name: &str) -> Option<u32> {
        self.ids.get(name).copied()
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.names
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
        let declared = listed(self.names.iter().map(String::as_str), LISTED);
        let known =
            if spec.known_labels().is_some() { "the declared labels" } else { "the labels of the training rows" };
        lines.push(format!("{known} are {declared}; correct the rows, set `labels`, or give the source a `label-map`"));
        bail!(lines.join("\n"))
    }

    fn complaint(&self, (label, place, count): &(&str, String, u64)) -> String {
        let hint = closest(label, self.names.iter().map(String::as_str))
            .map_or_else(String::new, |name| format!("; did you mean {}?", quoted(name)));
        format!("label {} is not declared: {} {place}{hint}", quoted(label), rows_at(*count))
    }

    /// Warn about found labels that are too many for their rows, and about pairs that probably mean one class.
    fn suspect(&self, tables: &[Vec<Raw>], remarks: &mut Remarks) {
        let mut rows = vec![0_u64; self.names.len()];
        for label in tables.iter().flatten().filter_map(|row| self.id(&row.label)) {
            rows[label as usize] += 1;
        }
        let total: u64 = rows.iter().sum();
        if rows.len() > MANY && total < FEW * rows.len() as u64 {
            remarks.warnings.push(format!(
                "the {} rows have {} different labels, such as {}; is `label` the right column?",
                thousands(total),
                thousands(rows.len() as u64),
                listed(self.names.iter().take(3).map(String::as_str), 3)
            ));
            return;
        }
        if rows.len() > COMPARED {
            return;
        }
        let mut pairs = Vec::new();
        for (one, name) in self.names.iter().enumerate() {
            for (two, other) in self.names.iter().enumerate().skip(one + 1) {
                let (few, many) = if rows[one] <= rows[two] { (one, two) } else { (two, one) };
                let is_rare = rows[few] as f64 <= rows[many] as f64 * RARE || (rows[few] == 1 && rows[many] > 2);
                if let Some(how) = alike(name, other, is_rare) {
                    pairs.push((few, many, how));
                }
            }
        }
        for (few, many, how) in pairs.iter().take(LISTED) {
            let named = |at: &usize| format!("{} ({})", quoted(&self.names[*at]), numbers::rows(rows[*at]));
            let (few_name, many_name) = (toml(&self.names[*few]), toml(&self.names[*many]));
            remarks.warnings.push(format!(
                "labels {} and {} {how}; if they are one class, write `label-map = {{ {few_name} = {many_name} }}` \
                 in the source, otherwise list all in `labels`",
                named(few),
                named(many),
            ));
        }
        if pairs.len() > LISTED {
            remarks.warnings.push(format!("and {} more pairs of labels that are alike", pairs.len() - LISTED));
        }
    }
}

/// `1 row at`, `137 rows, the first at`.
pub(crate) fn rows_at(count: u64) -> String {
    if count == 1 { "1 row at".to_owned() } else { format!("{} rows, the first at", thousands(count)) }
}

/// Replace labels as the source's `label-map` says. A label that it does not name must be one that it gives.
fn map(source: &Source, spec: &Spec, table: &mut [Raw], remarks: &mut Remarks) -> Result<()> {
    let Some(map) = &source.label_map else { return Ok(()) };
    let numbers: Vec<(f64, &String)> = map.keys().filter_map(|key| Some((number(key)?, key))).collect();
    let key_of = |label: &str| -> Option<&String> {
        let same = |value| numbers.iter().find(|(number, _)| *number == value).map(|(_, key)| *key);
        map.get_key_value(label).map(|(key, _)| key).or_else(|| number(label).and_then(same))
    };
    let declared = spec.labels.as_deref().unwrap_or_default();
    let results: BTreeSet<&String> = map.values().chain(declared).collect();
    let mut used = BTreeSet::new();
    let mut strange: BTreeMap<String, (String, u64)> = BTreeMap::new();
    for row in table {
        match key_of(&row.label) {
            Some(key) => {
                used.insert(key);
                row.label.clone_from(&map[key]);
            }
            None if results.contains(&row.label) => {}
            None => strange.entry(row.label.clone()).or_insert_with(|| (row.place(), 0)).1 += 1,
        }
    }
    let file = shown(&source.path);
    if !strange.is_empty() {
        let mut lines: Vec<String> = strange
            .iter()
            .take(LISTED)
            .map(|(label, (place, count))| {
                format!("label {} is not in the label-map: {} {place}", quoted(label), rows_at(*count))
            })
            .collect();
        if strange.len() > LISTED {
            lines.push(format!("and {} more labels", strange.len() - LISTED));
        }
        lines.push(format!("the label-map of {file} names {}", listed(map.keys().map(String::as_str), LISTED)));
        bail!(lines.join("\n"));
    }
    let unused: Vec<&str> = map.keys().filter(|key| !used.contains(key)).map(String::as_str).collect();
    if !unused.is_empty() {
        let labels = listed(unused.into_iter(), LISTED);
        remarks.warnings.push(format!("the label-map of {file} names {labels}, which none of its rows has"));
    }
    Ok(())
}

/// Replace ids by declared labels: if all labels of a source are whole numbers below the number of the declared
/// labels, and these are names, then 0 is the first of them.
fn by_order(source: &Source, spec: &Spec, table: &mut [Raw], remarks: &mut Remarks) {
    let Some(declared) = &spec.labels else { return };
    if table.is_empty() || declared.iter().any(|name| number(name).is_some()) {
        return;
    }
    let id = |label: &str| {
        let value = number(label).filter(|value| value.fract() == 0.0 && *value >= 0.0)?;
        Some(value as usize).filter(|id| *id < declared.len())
    };
    if !table.iter().all(|row| id(&row.label).is_some()) {
        return;
    }
    let mut used = BTreeMap::new();
    for row in table {
        if let Some(id) = id(&row.label) {
            used.entry(id).or_insert_with(|| row.label.clone());
            row.label.clone_from(&declared[id]);
        }
    }
    let meaning: Vec<String> =
        used.iter().take(LISTED).map(|(id, seen)| format!("{seen} = {}", declared[*id])).collect();
    let more = if used.len() > LISTED { ", …" } else { "" };
    let file = shown(&source.path);
    remarks
        .notes
        .push(format!("the labels of {file} are numbers in the order of `labels`: {}{more}", meaning.join(", ")));
}

/// Make labels that are the same number, such as `0` and `0.0`, one label.
fn same_numbers(spec: &Spec, tables: &mut [Vec<Raw>], remarks: &mut Remarks) {
    let declared: BTreeSet<&str> = spec.labels.iter().flatten().map(String::as_str).collect();
    // Each spelling with its number of rows and the place of the first.
    let mut seen: BTreeMap<String, (u64, String)> = BTreeMap::new();
    for row in tables.iter().flatten() {
        match seen.get_mut(&row.label) {
            Some((count, _)) => *count += 1,
            None => {
                seen.insert(row.label.clone(), (1, row.place()));
            }
        }
    }
    let mut by_value: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    for label in seen.keys().map(String::as_str).chain(declared.iter().copied()) {
        if let Some(value) = number(label) {
            let spellings = by_value.entry(value.to_bits()).or_default();
            if !spellings.contains(&label) {
                spellings.push(label);
            }
        }
    }
    let mut renamed: BTreeMap<String, String> = BTreeMap::new();
    for spellings in by_value.values_mut().filter(|spellings| spellings.len() > 1) {
        spellings.sort_by_key(|label| (!declared.contains(label), label.len(), *label));
        let others = spellings[1..].iter().filter(|label| !declared.contains(*label));
        renamed.extend(others.map(|label| (label.to_string(), spellings[0].to_owned())));
    }
    if renamed.is_empty() {
        return;
    }
    for row in tables.iter_mut().flatten() {
        if let Some(name) = renamed.get(&row.label) {
            row.label.clone_from(name);
        }
    }
    let parts: Vec<String> = renamed
        .iter()
        .take(LISTED)
        .map(|(label, name)| {
            let (count, place) = &seen[label];
            format!("{} became {}, {} {place}", quoted(label), quoted(name), rows_at(*count))
        })
        .collect();
    let more = renamed.len().saturating_sub(LISTED);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    remarks.warnings.push(format!("labels that are the same number are one label: {}{more}", parts.join("; ")));
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
    if names.iter().all(|name| number(name).is_some()) {
        names.sort_by(|one, two| number(one).unwrap_or(0.0).total_cmp(&number(two).unwrap_or(0.0)).then(one.cmp(two)));
    }
    names
}
