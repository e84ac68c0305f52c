//! Rows about which two models differ.

use std::collections::HashMap;

use anyhow::{Result, bail};

use super::scored::Scored;

/// A row for which a variant predicts something else than the baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disagreement {
    /// The row of the baseline, and that of the variant.
    pub row: usize,
    pub other: usize,
    pub kind: Kind,
}

/// Who is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Only the baseline.
    Lost,
    /// Only the variant.
    Gained,
    /// Neither, in two ways.
    Neither,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Lost => "lost",
            Kind::Gained => "gained",
            Kind::Neither => "neither",
        }
    }
}

/// The rows about which a variant and the baseline differ, `lost` first, then by how sure the variant is. Both must have the
/// same rows, in any order.
pub fn disagreements(base: &Scored, variant: &Scored) -> Result<Vec<Disagreement>> {
    let known: HashMap<&str, usize> = variant.ids.iter().enumerate().map(|(row, id)| (id.as_str(), row)).collect();
    if let Some(id) = base.ids.iter().find(|id| !known.contains_key(id.as_str())) {
        bail!("only one of them has row `{id}`");
    }
    if variant.len() != base.len() {
        bail!("they have {} and {} rows", base.len(), variant.len());
    }
    if base.classes != variant.classes {
        bail!("they have {} and {} classes", base.classes, variant.classes);
    }
    let mut all = Vec::new();
    for (row, id) in base.ids.iter().enumerate() {
        let other = known[id.as_str()];
        if base.labels[row] != variant.labels[other] {
            bail!("row `{id}` has two labels");
        }
        if base.predicted[row] == variant.predicted[other] {
            continue;
        }
        let kind = match (base.is_right(row), variant.is_right(other)) {
            (true, _) => Kind::Lost,
            (_, true) => Kind::Gained,
            _ => Kind::Neither,
        };
        all.push(Disagreement { row, other, kind });
    }
    let sure = |found: &Disagreement| variant.confidence(found.other);
    all.sort_by(|a, b| a.kind.cmp(&b.kind).then(sure(b).total_cmp(&sure(a))));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(rows: &[(&str, u32, [f32; 3])]) -> Scored {
        let largest = |scores: &[f32; 3]| (0..3).max_by(|a, b| scores[*a].total_cmp(&scores[*b])).unwrap() as u32;
        Scored {
            ids: rows.iter().map(|(id, ..)| (*id).to_owned()).collect(),
            labels: rows.iter().map(|(_, label, _)| *label).collect(),
            predicted: rows.iter().map(|(.., scores)| largest(scores)).collect(),
            scores: rows.iter().flat_map(|(.., scores)| *scores).collect(),
            classes: 3,
        }
    }

    #[test]
    fn rows_that_only_the_baseline_has_right_come_first_the_surest_mistake_before_others() {
        let sure = |class: usize, p: f32| {
            let mut scores = [(1.0 - p) / 2.0; 3];
            scores[class] = p;
            scores
        };
        let base = [("a", 0, sure(0, 0.9)), ("b", 1, sure(1, 0.8)), ("c", 2, sure(1, 0.7)), ("d", 0, sure(1, 0.6))];
        let mut other =
            [("a", 0, sure(1, 0.5)), ("b", 1, sure(0, 0.8)), ("c", 2, sure(2, 0.7)), ("d", 0, sure(2, 0.6))];
        other.reverse();
        let found = disagreements(&scored(&base), &scored(&other)).unwrap();
        let shown: Vec<_> = found.iter().map(|found| (base[found.row].0, found.kind.name())).collect();
        assert_eq!(shown, [("b", "lost"), ("a", "lost"), ("c", "gained"), ("d", "neither")]);
        assert_eq!(disagreements(&scored(&base), &scored(&base)).unwrap(), []);
    }

    #[test]
    fn other_rows_or_labels_are_refused() {
        let row = [0.5, 0.3, 0.2];
        let base = scored(&[("a", 0, row), ("b", 1, row)]);
        let says = |rows: &[(&str, u32, [f32; 3])]| disagreements(&base, &scored(rows)).unwrap_err().to_string();
        assert_eq!(says(&[("a", 0, row), ("c", 1, row)]), "only one of them has row `b`");
        assert_eq!(says(&[("a", 0, row), ("b", 1, row), ("c", 1, row)]), "they have 2 and 3 rows");
        assert_eq!(says(&[("a", 1, row), ("b", 1, row)]), "row `a` has two labels");
    }
}
