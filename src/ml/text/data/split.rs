//! Draws rows by a hash of their ids: the same rows on every machine, whatever their order.

use anyhow::{Result, bail};

/// The sort key of a row in a seeded draw. `purpose` keeps different draws independent.
pub(crate) fn rank(seed: u64, purpose: &str, id: &str) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.update(purpose.as_bytes());
    hasher.update(&[0]);
    hasher.update(id.as_bytes());
    *hasher.finalize().as_bytes()
}

/// Draw `count` of the rows.
pub(crate) fn draw(ids: &[&str], count: usize, seed: u64) -> Vec<bool> {
    let mut order: Vec<usize> = (0..ids.len()).collect();
    order.sort_by_cached_key(|&row| rank(seed, "limit", ids[row]));
    let mut drawn = vec![false; ids.len()];
    order.iter().take(count).for_each(|&row| drawn[row] = true);
    drawn
}

/// Choose the rows to set aside so that each label gives its share, as closely as whole rows allow.
///
/// Every label that occurs gives at least one row and keeps at least one.
pub(crate) fn stratified(ids: &[&str], labels: &[u32], names: &[String], share: f64, seed: u64) -> Result<Vec<bool>> {
    let mut rows_of: Vec<Vec<usize>> = vec![Vec::new(); names.len()];
    for (row, &label) in labels.iter().enumerate() {
        rows_of[label as usize].push(row);
    }
    if let Some((rows, name)) = rows_of.iter().zip(names).find(|(rows, _)| rows.len() == 1) {
        bail!(
            "label `{name}` has {} training row, too few to set one aside for validation; add rows, or set validation = 0",
            rows.len()
        );
    }
    let mut aside = vec![false; ids.len()];
    let sizes: Vec<usize> = rows_of.iter().map(Vec::len).collect();
    for (rows, count) in rows_of.iter_mut().zip(shares(&sizes, share)) {
        rows.sort_by_cached_key(|&row| rank(seed, "validation", ids[row]));
        rows[..count].iter().for_each(|&row| aside[row] = true);
    }
    Ok(aside)
}

/// The number of rows to take from each label, by largest remainder, between 1 and all but one.
fn shares(sizes: &[usize], share: f64) -> Vec<usize> {
    let total = (sizes.iter().sum::<usize>() as f64 * share).round() as usize;
    let mut counts: Vec<usize> = sizes.iter().map(|&size| (size as f64 * share) as usize).collect();
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    let remainder = |label: usize| (sizes[label] as f64 * share).fract();
    order.sort_by(|&one, &two| remainder(two).total_cmp(&remainder(one)).then(one.cmp(&two)));
    let missing = total.saturating_sub(counts.iter().sum());
    order.iter().take(missing).for_each(|&label| counts[label] += 1);
    for (count, &size) in counts.iter_mut().zip(sizes) {
        *count = if size < 2 { 0 } else { (*count).clamp(1, size - 1) };
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|label| format!("label-{label}")).collect()
    }

    #[test]
    fn every_label_gives_its_share() {
        let ids: Vec<String> = (0..1000).map(|row| format!("train:{row}")).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let labels: Vec<u32> = (0..1000).map(|row| u32::from(row % 10 == 0) + u32::from(row % 100 == 0)).collect();
        let aside = stratified(&ids, &labels, &names(3), 0.1, 42).unwrap();
        let count = |label| (0..1000).filter(|&row| aside[row] && labels[row] == label).count();
        assert_eq!((count(0), count(1), count(2)), (90, 9, 1));
        assert_eq!(aside, stratified(&ids, &labels, &names(3), 0.1, 42).unwrap());
        assert_ne!(aside, stratified(&ids, &labels, &names(3), 0.1, 43).unwrap());
    }

    #[test]
    fn the_draw_is_the_same_on_every_machine() {
        let ids = ["train:1", "train:2", "train:3", "train:4", "train:5", "train:6"];
        assert_eq!(draw(&ids, 2, 42), [false, true, true, false, false, false]);
        assert_eq!(draw(&ids, 9, 42), [true; 6]);
    }

    #[test]
    fn a_label_with_one_row_cannot_be_split() {
        let message = stratified(&["a", "b", "c"], &[0, 0, 1], &names(2), 0.1, 1).unwrap_err().to_string();
        assert!(message.contains("label `label-1` has 1 training row"), "{message}");
    }

    #[test]
    fn small_labels_give_one_and_keep_one() {
        assert_eq!(shares(&[2, 100, 0], 0.01), [1, 1, 0]);
        assert_eq!(shares(&[2, 100], 0.99), [1, 99]);
        assert_eq!(shares(&[5, 5, 5], 0.1), [1, 1, 1]);
    }
}
