//! Whether sources belong together: what their label sets have in common, and which labels come from one source alone.

use std::collections::BTreeSet;

use anyhow::{Result, bail};

use super::spelling::{LISTED, listed, quoted, toml};
use crate::compute::numbers;
use crate::text::data::declare::spec::Purpose;
use crate::text::data::read::raw::Raw;

/// Fail if the training sources fall into groups that have no label in common: `0, 1` and `negative, positive`.
pub(crate) fn check<'a>(names: &'a [String], tables: &'a [Vec<Raw>]) -> Result<()> {
    let set = |table: &'a [Raw]| -> BTreeSet<&'a str> {
        table.iter().filter(|row| row.purpose == Purpose::Train).map(|row| row.label.as_str()).collect()
    };
    let sets: Vec<(&str, BTreeSet<&str>)> = names
        .iter()
        .zip(tables)
        .map(|(name, table)| (name.as_str(), set(table)))
        .filter(|(_, set)| !set.is_empty())
        .collect();
    // Everything that is connected with the first source by shared labels.
    let mut joined: BTreeSet<&str> = sets.first().map(|(_, set)| set.clone()).unwrap_or_default();
    let mut apart: Vec<&BTreeSet<&str>> = sets.iter().map(|(_, set)| set).collect();
    loop {
        let (near, far): (Vec<_>, Vec<_>) = apart.into_iter().partition(|set| !set.is_disjoint(&joined));
        apart = far;
        if near.is_empty() || apart.is_empty() {
            break;
        }
        joined.extend(near.into_iter().flatten());
    }
    if apart.is_empty() {
        return Ok(());
    }
    let all: BTreeSet<&str> = sets.iter().flat_map(|(_, set)| set.iter().copied()).collect();
    let mut lines = vec!["the sources have no labels in common:".to_owned()];
    lines.extend(sets.iter().map(|(name, set)| format!("  {name}: {}", listed(set.iter().copied(), LISTED))));
    let one = sets.iter().map(|(_, set)| set).min_by_key(|set| set.iter().map(|label| label.len()).sum::<usize>());
    let example: Vec<String> =
        one.into_iter().flatten().take(3).map(|label| format!("{} = \"NAME\"", toml(label))).collect();
    let list: Vec<String> = all.iter().take(LISTED).map(|label| toml(label)).collect();
    let more = if all.len() > LISTED { ", …" } else { "" };
    lines.push(format!(
        "together they would be {} classes; give a source `label-map = {{ {} }}` so that equal classes have equal names, \
         or, if all are different classes, write `labels = [{}{more}]`",
        all.len(),
        example.join(", "),
        list.join(", ")
    ));
    bail!(lines.join("\n"))
}

/// Warnings about training sources whose labels differ: a model can learn the source instead of the label.
/// `rows[source][label]` are the rows that were kept.
pub(crate) fn one_sided(sources: &[&str], labels: &[String], rows: &[Vec<u64>]) -> Vec<String> {
    let filled: Vec<usize> = (0..sources.len()).filter(|&source| rows[source].iter().any(|n| *n > 0)).collect();
    if filled.len() < 2 {
        return Vec::new();
    }
    let mut warnings = Vec::new();
    let mut single = vec![false; sources.len()];
    for &source in &filled {
        let mut has = rows[source].iter().enumerate().filter(|(_, count)| **count > 0);
        if let (Some((label, count)), None) = (has.next(), has.next()) {
            single[source] = true;
            let (label, count) = (quoted(&labels[label]), numbers::rows(*count));
            warnings.push(format!("source {} has label {label} alone ({count}): {LEARNS}", quoted(sources[source])));
        }
    }
    for (label, name) in labels.iter().enumerate() {
        let (has, lacks): (Vec<usize>, Vec<usize>) = filled.iter().partition(|source| rows[**source][label] > 0);
        match has.as_slice() {
            [] => {}
            [only] if single[*only] => {}
            [only] => warnings.push(format!(
                "label {} comes from source {} alone ({}): {LEARNS}",
                quoted(name),
                quoted(sources[*only]),
                numbers::rows(rows[*only][label])
            )),
            // A source with one label was named above.
            _ if lacks.iter().all(|source| single[*source]) => {}
            _ => warnings.push(format!(
                "the sources have different labels: {} lacks {}",
                listed(lacks.iter().map(|source| sources[*source]).collect::<Vec<_>>().into_iter(), LISTED),
                quoted(name)
            )),
        }
    }
    if warnings.len() > LISTED {
        let more = warnings.len() - LISTED;
        warnings.truncate(LISTED);
        warnings.push(format!("and {more} more labels that not every source has"));
    }
    warnings
}

const LEARNS: &str = "a model can learn to tell the sources apart instead of the classes; `evaluate` and `compare` show the quality for \
                      each source";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_one_source_alone_are_told() {
        let labels = ["negative", "neutral", "positive"].map(str::to_owned);
        let told = |rows: &[Vec<u64>]| one_sided(&["imdb", "tweets", "sst"][..rows.len()], &labels, rows);
        assert_eq!(
            told(&[vec![5, 0, 5], vec![5, 9, 5]]),
            [format!("label `neutral` comes from source `tweets` alone (9 rows): {LEARNS}")]
        );
        assert_eq!(
            told(&[vec![5, 1, 5], vec![5, 9, 5], vec![1, 0, 1]]),
            ["the sources have different labels: `sst` lacks `neutral`"]
        );
        assert_eq!(
            told(&[vec![1000, 0, 0], vec![0, 0, 7]]),
            [
                format!("source `imdb` has label `negative` alone (1,000 rows): {LEARNS}"),
                format!("source `tweets` has label `positive` alone (7 rows): {LEARNS}")
            ]
        );
        assert!(told(&[vec![1, 1, 1], vec![1, 1, 1]]).is_empty());
        assert!(told(&[vec![1, 1, 0]]).is_empty());
        assert!(told(&[vec![1, 1, 0], vec![0, 0, 0]]).is_empty());
    }
}
