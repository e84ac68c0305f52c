//! The numbers of the pictures as tables.

use anyhow::Result;

use pipe_ml::text::data::{Corpus, Example};
use pipe_ml::text::explore::{Lengths, Look};

/// Names and contents of the CSV files.
pub(super) fn all(seen: &Look, corpus: &Corpus) -> Result<Vec<(&'static str, String)>> {
    let mut all = vec![
        ("labels.csv", labels(seen)?),
        ("lengths.csv", lengths(seen)?),
        ("typical-words.csv", typical(seen)?),
        ("word-cloud.csv", cloud(seen)?),
        ("duplicates.csv", duplicates(seen, corpus)?),
    ];
    if let Some(days) = &seen.days {
        let day = |(day, rows): &(i32, u64)| vec![pipe_ml::text::data::read::date::iso(*day), rows.to_string()];
        all.push(("days.csv", table(&["day", "rows"], days.days.iter().map(day))?));
        let header: Vec<&str> = ["from"].into_iter().chain(seen.labels.iter().map(String::as_str)).collect();
        let period = |period: &pipe_ml::text::explore::Period| {
            [period.from.clone()].into_iter().chain(period.labels.iter().map(u64::to_string)).collect()
        };
        all.push(("labels-over-time.csv", table(&header, days.periods.iter().map(period))?));
    }
    Ok(all)
}

fn table(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(header)?;
    for row in rows {
        writer.write_record(row)?;
    }
    Ok(String::from_utf8(writer.into_inner().map_err(|error| error.into_error())?)?)
}

/// Rows by label: of each split, and of each source.
fn labels(seen: &Look) -> Result<String> {
    let splits = seen.splits.iter().map(|split| ("split", &split.name, &split.labels));
    let sources = seen.sources.iter().map(|source| ("source", &source.name, &source.labels));
    let rows = splits.chain(sources).flat_map(|(of, name, counts)| {
        let row =
            move |(label, count): (&String, &u64)| vec![of.into(), name.clone(), label.clone(), count.to_string()];
        seen.labels.iter().zip(counts).map(row)
    });
    table(&["of", "name", "label", "rows"], rows)
}

fn lengths(seen: &Look) -> Result<String> {
    let limits: Vec<usize> = seen.lengths.iter().flat_map(|measured| &measured.all.cut).map(|cut| cut.at).collect();
    let limits: std::collections::BTreeSet<usize> = limits.into_iter().collect();
    let fixed = ["unit", "of", "name", "rows", "mean", "p5", "p25", "median", "p75", "p95", "p99", "max"];
    let cut: Vec<String> = limits.iter().map(|limit| format!("share-cut-at-{limit}")).collect();
    let header: Vec<&str> = fixed.into_iter().chain(cut.iter().map(String::as_str)).collect();
    let mut rows = Vec::new();
    for measured in &seen.lengths {
        let row = |of: &str, name: &str, all: &Lengths| -> Vec<String> {
            let numbers = [all.p5, all.p25, all.median, all.p75, all.p95, all.p99, all.max].map(|n| n.to_string());
            [measured.unit.clone(), of.to_owned(), name.to_owned(), all.rows.to_string(), format!("{:.4}", all.mean)]
                .into_iter()
                .chain(numbers)
                .chain(all.cut.iter().map(|cut| format!("{:.6}", cut.share)))
                .collect()
        };
        rows.push(row("all", "", &measured.all));
        rows.extend(seen.labels.iter().zip(&measured.by_label).map(|(label, all)| row("label", label, all)));
        rows.extend(seen.sources.iter().zip(&measured.by_source).map(|(source, all)| row("source", &source.name, all)));
    }
    table(&header, rows.into_iter())
}

fn typical(seen: &Look) -> Result<String> {
    let rows = seen.typical.iter().flat_map(|typical| {
        typical.words.iter().map(|word| {
            let (count, elsewhere) = (word.count.to_string(), word.elsewhere.to_string());
            let (log_odds, z) = (format!("{:.6}", word.log_odds), format!("{:.4}", word.z));
            vec![typical.label.clone(), word.word.clone(), count, elsewhere, log_odds, z]
        })
    });
    table(&["label", "word", "count", "elsewhere", "log-odds", "z"], rows)
}

fn cloud(seen: &Look) -> Result<String> {
    let rows = seen.cloud.iter().map(|word| {
        let label = word.label.map(|label| seen.labels[label].clone()).unwrap_or_default();
        vec![word.word.clone(), word.count.to_string(), label]
    });
    table(&["word", "count", "typical-of"], rows)
}

/// The pairs of rows that are the same or near, those across splits first, then the most similar.
fn duplicates(seen: &Look, corpus: &Corpus) -> Result<String> {
    let rows: Vec<(&str, &Example)> =
        [("train", &corpus.train), ("validation", &corpus.validation), ("test", &corpus.test)]
            .into_iter()
            .flat_map(|(split, rows)| rows.iter().map(move |row| (split, row)))
            .collect();
    let mut links = seen.duplicates.links.clone();
    let is_within = |link: &pipe_ml::text::explore::Link| rows[link.one].0 == rows[link.other].0;
    links.sort_by(|one, other| is_within(one).cmp(&is_within(other)).then(other.similarity.total_cmp(&one.similarity)));
    let row = |link: &pipe_ml::text::explore::Link| {
        let ((split, one), (other_split, other)) = (rows[link.one], rows[link.other]);
        let label = |row: &Example| seen.labels[row.label as usize].clone();
        vec![
            format!("{:.4}", link.similarity),
            split.to_owned(),
            one.id.clone(),
            label(one),
            other_split.to_owned(),
            other.id.clone(),
            label(other),
            one.text.clone(),
            other.text.clone(),
        ]
    };
    let header = ["similarity", "split", "id", "label", "other-split", "other-id", "other-label", "text", "other-text"];
    table(&header, links.iter().map(row))
}
