//! Deals rows into folds of the same classes, always the same for a seed and the rows' ids.

use std::collections::BTreeMap;

/// The fold of each row. Rows of one label are dealt out in the order of blake3(seed, id), so the folds have equal shares of
/// each label, and more rows move few.
pub(super) fn stratified(ids: &[String], labels: &[u32], (folds, seed): (usize, u64)) -> Vec<usize> {
    let mut classes: BTreeMap<u32, Vec<(blake3::Hash, usize)>> = BTreeMap::new();
    for (row, (id, &label)) in ids.iter().zip(labels).enumerate() {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_le_bytes()).update(id.as_bytes());
        classes.entry(label).or_default().push((hasher.finalize(), row));
    }
    let mut fold = vec![0; labels.len()];
    let mut next = 0;
    for rows in classes.values_mut() {
        rows.sort_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()).then(a.1.cmp(&b.1)));
        for (_, row) in rows {
            fold[*row] = next % folds;
            next += 1;
        }
    }
    fold
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_have_equal_shares_and_depend_on_seed_and_ids_only() {
        let ids: Vec<String> = (0..103).map(|i| format!("row-{i}")).collect();
        let labels: Vec<u32> = (0..103).map(|i| u32::from(i % 5 == 0)).collect();
        let folds = stratified(&ids, &labels, (5, 7));
        for fold in 0..5 {
            let of = |label: u32| (0..103).filter(|&i| folds[i] == fold && labels[i] == label).count();
            assert!((16..=17).contains(&of(0)) && (4..=5).contains(&of(1)), "{fold}: {} {}", of(0), of(1));
        }
        assert_eq!(stratified(&ids, &labels, (5, 7)), folds);
        assert_ne!(stratified(&ids, &labels, (5, 8)), folds);
        let turned: Vec<String> = ids.iter().rev().cloned().collect();
        let other: Vec<u32> = labels.iter().rev().copied().collect();
        let mut again = stratified(&turned, &other, (5, 7));
        again.reverse();
        assert_eq!(again, folds);
    }
}
