//! Reads any source as `preprocess`, `predict` and `init` do, and checks that every row is accounted for.

use std::path::Path;

use pipe_ml::text::data::declare::spec::{OnUnusable, Source, Spec};
use pipe_ml::text::data::read::raw::Cut;
use pipe_ml::text::data::read::reader::{self, Table, Want};
use pipe_ml::text::data::{look, preprocess};
use pipe_ml::watch::Silent;

use super::changes::bounded;

/// Read a source in a folder with memory in proportion to `size`, the bytes of its files.
#[track_caller]
pub fn read(dir: &Path, source: &Source, size: usize) -> anyhow::Result<Table> {
    bounded(size, || {
        let locate = |path: &Path| dir.join(path);
        let table = reader::read(source, &locate, Cut::Remove);
        if let Ok(table) = &table {
            accounted(table);
        }
        if let Ok(texts) = reader::read_as(source, &locate, Cut::Mark, Want::Texts) {
            accounted(&texts);
        }
        let mut spec = Spec::new(vec![source.clone()]);
        spec.unusable = Some(OnUnusable::Drop);
        if let Ok(corpus) = preprocess(&spec, 1, dir, &Silent) {
            let report = corpus.report;
            assert_eq!(report.rows, report.kept + report.dropped.total());
            assert_eq!(report.rows, table.as_ref().map(rows).unwrap_or_default());
        }
        // What is found must be read, or refused.
        if let Ok(found) = look(&dir.join(&source.path)) {
            let _ = reader::read(&found.source, &locate, Cut::Remove);
        }
        table
    })
}

/// Rows read and rows dropped.
pub fn rows(table: &Table) -> u64 {
    table.rows.len() as u64 + table.unusable.iter().map(|row| row.rows).sum::<u64>()
}

/// Rows are numbered over all rows of a source, so what is not among the rows must have been dropped.
fn accounted(table: &Table) {
    let total = rows(table);
    let mut last = 0;
    for row in &table.rows {
        assert!(row.number > last && row.number <= total, "row {} of {total} after {last}", row.number);
        last = row.number;
    }
    assert!(table.unusable.iter().all(|row| !row.reason.is_empty() && !row.place.is_empty() && row.rows > 0));
}
