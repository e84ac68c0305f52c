//! Reads a file into rows of text and label: gzip, byte order marks, encodings, and the four formats.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail};
use flate2::read::MultiGzDecoder;

use super::raw::{Cut, Decoder, Encoding, LONGEST, Raw};
use super::report::Unusable;
use super::spec::{Format, Source};
use super::table;

/// Limit for unpacked gzip: this many bytes for any file, and for larger files a multiple of their size. Text shrinks
/// to a fifth; a file that shrinks to a thousandth was made to exhaust memory.
const UNPACKED: usize = 16 << 20;
const RATIO: usize = 50;
/// Bytes read at a time.
const PIECE: usize = 1 << 16;

/// The content of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    pub encoding: Encoding,
    pub rows: Vec<Raw>,
    /// Rows without a usable text or label. Together with `rows` these are all rows of the file.
    pub unusable: Vec<Unusable>,
}

/// Read all rows of a source's file.
pub fn read(source: &Source, path: &Path, cut: Cut) -> Result<Table> {
    let bytes = load(path)?;
    parse(source, &bytes, &shown(path), cut).with_context(|| format!("cannot use {}", path.display()))
}

/// As [`read`], but from bytes; `file` is their name in messages.
pub fn parse(source: &Source, bytes: &[u8], file: &str, cut: Cut) -> Result<Table> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    if bytes.starts_with(b"\xFF\xFE") || bytes.starts_with(b"\xFE\xFF") {
        bail!("the file is UTF-16; save it as UTF-8");
    }
    let decoder = Decoder { encoding: detect(bytes), cut };
    let (rows, unusable) = match source.format {
        Format::Covid19 | Format::Csv | Format::Tsv => table::delimited(source, bytes, file, decoder)?,
        Format::Jsonl => table::json_lines(source, bytes, file, decoder)?,
    };
    Ok(Table { encoding: decoder.encoding, rows, unusable })
}

/// The file's bytes, unpacked if they are gzip. This checks the content, not the file name.
pub(super) fn load(path: &Path) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => anyhow::anyhow!("no such file: {}", path.display()),
        _ => anyhow::Error::new(error).context(format!("cannot read {}", path.display())),
    })?;
    let bytes = gather(file, usize::MAX, path).with_context(|| format!("cannot read {}", path.display()))?;
    if !bytes.starts_with(&[0x1F, 0x8B]) {
        return Ok(bytes);
    }
    let most = bytes.len().saturating_mul(RATIO).max(UNPACKED);
    gather(MultiGzDecoder::new(bytes.as_slice()), most, path)
        .with_context(|| format!("{} is damaged gzip", path.display()))
}

/// Read all bytes, but fail if a line is endless or there are more than `most` bytes. This is checked while reading,
/// before they fill the memory.
fn gather(mut from: impl Read, most: usize, path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // The unfinished line at the end of what was read: its number and its start.
    let (mut line, mut start) = (1, 0);
    loop {
        let before = bytes.len();
        from.by_ref().take(PIECE as u64).read_to_end(&mut bytes)?;
        if bytes.len() == before {
            return Ok(bytes);
        }
        for (at, _) in bytes[before..].iter().enumerate().filter(|(_, byte)| b"\n\r".contains(byte)) {
            line += u64::from(bytes[before + at] == b'\n');
            start = before + at + 1;
        }
        if bytes.len() - start > LONGEST {
            bail!("{}:{line}: the line is longer than {}, the limit for a row", shown(path), mib(LONGEST));
        }
        if bytes.len() > most {
            bail!("it unpacks to more than {}, over {RATIO} times its size, so it is not gzipped text", mib(most));
        }
    }
}

fn mib(bytes: usize) -> String {
    format!("{} MiB", bytes >> 20)
}

/// A file's name in messages and reports: without its folders, which differ between machines.
pub fn shown(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// UTF-8 with a few truncated characters is still UTF-8. If most of the non-ASCII bytes are invalid, the file is not
/// UTF-8.
pub(super) fn detect(bytes: &[u8]) -> Encoding {
    if std::str::from_utf8(bytes).is_ok() {
        return Encoding::Utf8;
    }
    let (mut right, mut wrong) = (0, 0);
    for chunk in bytes.utf8_chunks() {
        right += chunk.valid().chars().filter(|letter| !letter.is_ascii()).count();
        wrong += usize::from(!chunk.invalid().is_empty());
    }
    if wrong > right { Encoding::Windows1252 } else { Encoding::Utf8 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::text::data::spec::Purpose;

    fn source(format: Format) -> Source {
        Source::new("x", format, Purpose::Train)
    }

    fn csv(bytes: &[u8]) -> Table {
        parse(&source(Format::Csv), bytes, "x.csv", Cut::Remove).unwrap()
    }

    fn texts(table: &Table) -> Vec<&str> {
        table.rows.iter().map(|row| row.text.as_str()).collect()
    }

    #[test]
    fn gzip_is_known_by_its_content() {
        use std::io::Write;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plain.csv");
        let mut gzip = flate2::write::GzEncoder::new(std::fs::File::create(&path).unwrap(), Default::default());
        gzip.write_all(b"text,label\nhi,a\n").unwrap();
        gzip.finish().unwrap();
        assert_eq!(texts(&read(&source(Format::Csv), &path, Cut::Remove).unwrap()), ["hi"]);
        std::fs::write(&path, [0x1F, 0x8B, 0, 0]).unwrap();
        let message = format!("{:#}", read(&source(Format::Csv), &path, Cut::Remove).unwrap_err());
        assert!(message.contains("plain.csv is damaged gzip"), "{message}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let message = read(&source(Format::Csv), Path::new("data/none.csv"), Cut::Remove).unwrap_err().to_string();
        assert_eq!(message, "no such file: data/none.csv");
    }

    #[test]
    fn a_cut_character_before_a_comma_or_quote_is_removed_and_counted() {
        let bytes = b"text,label\r\nabc\xC2,a\r\n\"d\xC3\xA9f, \xC2\xA3 g\xC2\",a\r\n";
        let table = csv(bytes);
        assert_eq!(texts(&table), ["abc", "déf, £ g"]);
        assert_eq!(table.rows.iter().map(|row| row.cut).collect::<Vec<_>>(), [1, 1]);
        let marked = parse(&source(Format::Csv), bytes, "x", Cut::Mark).unwrap();
        assert_eq!(texts(&marked), ["abc\u{FFFD}", "déf, £ g\u{FFFD}"]);
    }

    #[test]
    fn a_windows_1252_file_is_recognised() {
        let table = csv(b"text,label\ndon\x92t caf\xE9 \x80 5,a\n");
        assert_eq!((table.encoding, texts(&table)), (Encoding::Windows1252, vec!["don’t café € 5"]));
    }

    #[test]
    fn utf16_says_what_to_do() {
        let message = parse(&source(Format::Csv), b"\xFF\xFEt\0", "x", Cut::Remove).unwrap_err().to_string();
        assert_eq!(message, "the file is UTF-16; save it as UTF-8");
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            for format in [Format::Covid19, Format::Csv, Format::Tsv, Format::Jsonl] {
                // With and without a matching header, so that rows are reached too.
                let mut whole = b"text,label\tOriginalTweet,Sentiment\n".to_vec();
                whole.extend(&bytes);
                let _ = parse(&source(format), &bytes, "x", Cut::Remove);
                let _ = parse(&source(format), &whole, "x", Cut::Mark);
                whole.splice(..0, *b"text,label\n");
                let _ = parse(&source(format), &whole, "x", Cut::Remove);
            }
        }

        #[test]
        fn every_row_is_either_usable_or_listed(rows in proptest::collection::vec("[ab\",\r]{1,6}", 0..20)) {
            // Without quotes, each line is a row, except for blank lines.
            let lines: Vec<String> = rows.iter().map(|row| row.replace('"', "")).collect();
            let text = format!("text,label\n{}\n", lines.join("\n"));
            let table = csv(text.as_bytes());
            let expected = lines.iter().filter(|line| !line.trim_end_matches('\r').is_empty()).count();
            prop_assert_eq!(table.rows.len() + table.unusable.len(), expected);
        }
    }
}
