//! Patterns of file names, such as `data/train-*.parquet`.

use anyhow::{Result, ensure};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// The longest pattern that is compiled.
const LONGEST: usize = 4096;

/// A pattern, of which `*` and `?` do not match `/`. It may come from a downloaded file: one that is too large to compile
/// is an error, whereas the matcher of a single pattern panics.
pub(super) fn compiled(pattern: &str) -> Result<GlobSet> {
    ensure!(pattern.len() <= LONGEST, "the pattern has {} bytes, more than {LONGEST}", pattern.len());
    Ok(GlobSetBuilder::new().add(GlobBuilder::new(pattern).literal_separator(true).build()?).build()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stay_in_their_folder_and_huge_patterns_are_errors() {
        let glob = compiled("data/train-*.{csv,tsv}").unwrap();
        assert!(glob.is_match("data/train-0.csv") && !glob.is_match("data/train-0/a.csv"));
        assert!(compiled(&"?".repeat(1 << 20)).is_err() && compiled("a{").is_err());
    }
}
