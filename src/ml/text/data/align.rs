//! Matches the rows of two artifacts that come from one corpus by their ids.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};

/// Rows with the facts that identify them.
#[derive(Debug, Clone, Copy)]
pub struct NamedRows<'a> {
    /// What messages call these rows: `tokens`, `the teacher's predictions`.
    pub name: &'a str,
    pub ids: &'a [String],
    pub labels: &'a [u32],
}

impl<'a> NamedRows<'a> {
    /// The position of each id.
    fn places(self) -> Result<HashMap<&'a str, usize>> {
        let mut places = HashMap::with_capacity(self.ids.len());
        for (place, id) in self.ids.iter().enumerate() {
            ensure!(places.insert(id.as_str(), place).is_none(), "{} hold the id `{id}` more than once", self.name);
        }
        Ok(places)
    }

    /// The ids that `others` lack: how many, and one of them.
    fn beyond(self, others: &HashMap<&str, usize>) -> Option<(usize, &'a str)> {
        let mut beyond = self.ids.iter().filter(|id| !others.contains_key(id.as_str()));
        let first = beyond.next()?;
        Some((1 + beyond.count(), first))
    }
}

/// For each of `ours`, its position among `theirs`. Both must hold the same rows with the same labels, in any order.
pub fn align(ours: NamedRows, theirs: NamedRows) -> Result<Vec<usize>> {
    let (known, found) = (ours.places()?, theirs.places()?);
    let lacking = |lacks: NamedRows, (count, id): (usize, &str), has: NamedRows| {
        format!("{} lack {count} of the {} train rows of {}, such as `{id}`", lacks.name, has.ids.len(), has.name)
    };
    let parts: Vec<String> = [
        ours.beyond(&found).map(|missing| lacking(theirs, missing, ours)),
        theirs.beyond(&known).map(|missing| lacking(ours, missing, theirs)),
    ]
    .into_iter()
    .flatten()
    .collect();
    ensure!(parts.is_empty(), "{}; both must come from the train rows of one corpus", parts.join(", and "));

    let places: Vec<usize> = ours.ids.iter().map(|id| found.get(id.as_str()).copied()).collect::<Option<_>>().context(
        "a row has no counterpart", // Reported above, with its id.
    )?;
    let differs = |&row: &usize| ours.labels[row] != theirs.labels[places[row]];
    let mut different = (0..places.len()).filter(differs);
    if let Some(row) = different.next() {
        anyhow::bail!(
            "{} of {} rows have different labels in {} and {}, such as `{}` with {} and {}; both must come from one corpus",
            1 + different.count(),
            places.len(),
            ours.name,
            theirs.name,
            ours.ids[row],
            ours.labels[row],
            theirs.labels[places[row]]
        );
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[&str]) -> Vec<String> {
        ids.iter().map(|id| id.to_string()).collect()
    }

    fn aligned(ours: (&[&str], &[u32]), theirs: (&[&str], &[u32])) -> Result<Vec<usize>> {
        let (a, b) = (ids(ours.0), ids(theirs.0));
        let ours = NamedRows { name: "tokens", ids: &a, labels: ours.1 };
        align(ours, NamedRows { name: "teacher-tokens", ids: &b, labels: theirs.1 })
    }

    #[test]
    fn rows_meet_by_id_in_any_order() {
        assert_eq!(aligned((&["a", "b", "c"], &[0, 1, 2]), (&["c", "a", "b"], &[2, 0, 1])).unwrap(), [1, 2, 0]);
        assert_eq!(aligned((&[], &[]), (&[], &[])).unwrap(), [0; 0]);
    }

    #[test]
    fn what_one_side_lacks_is_counted_and_named() {
        let said = |ours, theirs| aligned(ours, theirs).unwrap_err().to_string();
        assert_eq!(
            said((&["a", "b", "c"], &[0; 3]), (&["c"], &[0])),
            "teacher-tokens lack 2 of the 3 train rows of tokens, such as `a`; both must come from the train rows of one corpus"
        );
        assert_eq!(
            said((&["a"], &[0]), (&["x", "y"], &[0; 2])),
            "teacher-tokens lack 1 of the 1 train rows of tokens, such as `a`, and tokens lack 2 of the 2 train rows of \
             teacher-tokens, such as `x`; both must come from the train rows of one corpus"
        );
        assert_eq!(said((&["a"], &[0]), (&["a", "a"], &[0; 2])), "teacher-tokens hold the id `a` more than once");
        assert_eq!(said((&["a", "a"], &[0; 2]), (&["a"], &[0])), "tokens hold the id `a` more than once");
    }

    #[test]
    fn labels_must_agree() {
        assert_eq!(
            aligned((&["a", "b", "c"], &[0, 1, 1]), (&["c", "b", "a"], &[2, 1, 2])).unwrap_err().to_string(),
            "2 of 3 rows have different labels in tokens and teacher-tokens, such as `a` with 0 and 2; both must come \
             from one corpus"
        );
    }
}
