//! The format of a file, as its name says it.

use anyhow::Result;

use super::error::ReadError;
use crate::text::data::declare::spec::Format;

/// Endings of packed files; the ending of the format stands before them.
const PACKED: [&str; 5] = ["gz", "gzip", "zst", "zstd", "zip"];

/// What to do with files that are something else.
const OTHERS: [(&[&str], &str); 4] = [
    (&["xlsx", "xls", "xlsm", "ods", "numbers"], "it is a spreadsheet: save it as CSV"),
    (&["docx", "doc", "odt", "rtf", "pdf"], "it is a document: save its texts as CSV, or one text per line as .txt"),
    (&["tar", "tgz", "7z", "rar", "bz2", "xz"], "unpack it first"),
    (&["pkl", "pickle", "pt", "bin", "npy", "npz", "h5", "sqlite", "db"], "export it as CSV, JSON lines or parquet"),
];

/// The format that a file's name says, in capitals too; `None` if it has no ending.
pub(crate) fn by_name(name: &str) -> Result<Option<Format>> {
    let lower = name.to_ascii_lowercase();
    let mut parts: Vec<&str> = lower.split('.').skip(1).collect();
    while parts.last().is_some_and(|ending| PACKED.contains(ending)) {
        parts.pop();
    }
    let Some(ending) = parts.last() else { return Ok(None) };
    if let Some(format) = by_ending(ending) {
        return Ok(Some(format));
    }
    let name = name.to_owned();
    Err(match OTHERS.iter().find(|(endings, _)| endings.contains(ending)) {
        Some((_, advice)) => ReadError::OtherFormat { name, advice },
        None => ReadError::UnknownEnding { name, ending: (*ending).to_owned() },
    }
    .into())
}

/// The format of an ending.
pub(crate) fn by_ending(ending: &str) -> Option<Format> {
    Some(match ending {
        "csv" => Format::Csv,
        "tsv" | "tab" => Format::Tsv,
        "jsonl" | "ndjson" | "jsonlines" => Format::Jsonl,
        "json" => Format::Json,
        "txt" | "text" => Format::Lines,
        "parquet" | "pq" => Format::Parquet,
        "arrow" | "feather" | "ipc" | "arrows" => Format::Arrow,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_mean_the_same_in_capitals_and_when_packed() {
        for (name, format) in [
            ("a.csv", Format::Csv),
            ("TWEETS.CSV", Format::Csv),
            ("v1.2.csv.gz", Format::Csv),
            ("A.JSONL.GZ", Format::Jsonl),
            ("a.tsv.zip", Format::Tsv),
            ("a.txt.zst", Format::Lines),
            ("a.Parquet", Format::Parquet),
        ] {
            assert_eq!(by_name(name).unwrap(), Some(format), "{name}");
        }
        assert_eq!(by_name("tweets").unwrap(), None);
        assert_eq!(by_name("tweets.zip").unwrap(), None);
    }

    #[test]
    fn what_is_not_known_is_refused_with_what_to_do() {
        let said = |name| by_name(name).unwrap_err().to_string();
        assert_eq!(
            said("a.xlsx"),
            "a.xlsx cannot be read: it is a spreadsheet: save it as CSV; known endings are .csv, .tsv, .jsonl, .json, \
             .txt, .parquet and .arrow, also packed (.gz, .zip, .zst)"
        );
        assert!(said("a.log").starts_with("a.log has the ending `.log`, which says no format; give the format"));
    }
}
