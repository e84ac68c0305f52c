//! Fuzzes corpus files: CSV, TSV, JSON lines and the COVID-19 tweets, plain and gzipped.

use std::fs;
use std::io::Write;

use pipe_ml::text::data::declare::spec::{Format, Purpose, Source};
use pipe_ml::text::data::read::raw::Cut;
use pipe_ml::text::data::read::reader::{self, Table};
use pipe_ml::text::data::{Spec, preprocess};
use pipe_ml::watch::Silent;
use proptest::prelude::*;

use super::changes::{bounded, changed, changes, config};

const FORMATS: [Format; 4] = [Format::Csv, Format::Tsv, Format::Jsonl, Format::Covid19];

/// A valid file of each format, in the order of `FORMATS`.
const GOOD: [&[u8]; 4] = [
    b"\xEF\xBB\xBFtext,label,id\r\n\"one, \"\"two\"\"\",a,1\r\nd\xC3\xA9j\xC3\xA0 vu,b,2\r\n\"over\r\r\nlines\",a,3\r\nx,b,4\r\n",
    b"text\tlabel\none \"two\ta\nthree\tb\ndon\x92t\ta\n\tb\n",
    b"{\"text\": \"one \\u00e9\", \"label\": 1}\n{\"label\": 0, \"text\": \"two\", \"more\": [[{}], null]}\n\n{\"text\": \"x\", \"label\": true}\n",
    b"UserName,ScreenName,Location,TweetAt,OriginalTweet,Sentiment\r\n1,2,\"a\r\r\nb\",16-03-2020,\"x https://t.co/a\r\r\n&amp; y\",Positive\r\n3,4,,17-03-2020,z\xC2,Neutral\r\n",
];

const PIECES: &[&[u8]] = &[
    b"text,label\n",
    b"text\tlabel\n",
    b"label,text,id\r\n",
    b"{\"text\": \"a\", \"label\": 1}\n",
    b"OriginalTweet,Sentiment,TweetAt\n",
    b"a,b\n",
    b"a\tb\n",
    b"\"",
    b"\"\"",
    b",",
    b"\t",
    b"\n",
    b"\r",
    b"\r\n",
    b"\0",
    b"\xEF\xBB\xBF",
    b"\xFF\xFE",
    b"\xE9",
    b"\xC2",
    b"\xF0\x9F",
    b"\xF0\x9F\x98\x80",
    b"&#x110000;",
    b"&amp",
    b"@",
    b"https://",
    b"[",
    b"{",
    b"}",
    b"\\u",
    b"1e999",
    b"{\"text\":",
    b"[[[[[[[[",
    b"16-03-2020",
    b"99-99-99999999999",
];

fn read(format: Format, bytes: &[u8]) -> anyhow::Result<Table> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.csv");
    fs::write(&path, bytes).unwrap();
    bounded(bytes.len(), || {
        // Preprocess the file to a corpus, if it has the required columns.
        let spec = Spec::new(vec![Source::new("x.csv", format, Purpose::Train)]);
        let corpus = preprocess(&spec, 1, dir.path(), &Silent);
        if let Ok(corpus) = &corpus {
            assert_eq!(corpus.report.rows, corpus.report.kept + corpus.report.dropped.total());
        }
        let source = Source::new("x.csv", format, Purpose::Train);
        let _ = reader::read(&source, &|_| path.clone(), Cut::Mark);
        let table = reader::read(&source, &|_| path.clone(), Cut::Remove);
        assert!(corpus.is_err() || table.is_ok());
        table
    })
}

fn refused(format: Format, bytes: &[u8]) -> String {
    format!("{:#}", read(format, bytes).unwrap_err())
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

proptest! {
    #![proptest_config(config(150))]

    #[test]
    fn good_files_changed(which in 0usize..4, as_which in 0usize..4, changes in changes()) {
        let bytes = changed(GOOD[which], &changes);
        let _ = read(FORMATS[which], &bytes);
        let _ = read(FORMATS[as_which], &bytes);
        let _ = read(FORMATS[which], &gzip(&bytes));
        let _ = read(FORMATS[which], &changed(&gzip(GOOD[which]), &changes));
    }

    #[test]
    fn pieces_in_any_order(which in 0usize..4, pieces in prop::collection::vec(prop::sample::select(PIECES), 0..60)) {
        let _ = read(FORMATS[which], &pieces.concat());
    }
}

#[test]
fn gzip_that_unpacks_to_a_gigabyte_is_refused_long_before() {
    // A member of 16 MiB, over and over: a gigabyte in a megabyte.
    let zeros = gzip(&vec![0; 16 << 20]).repeat(64);
    assert_eq!(
        refused(Format::Csv, &zeros).split_once("x.csv is damaged gzip: ").unwrap().1,
        "x.csv:1: the line is longer than 16 MiB, the limit for a row"
    );
    let rows = gzip(&b"aaaaaaaaaaaaaaa,b\n".repeat(1 << 20)).repeat(60);
    let message = refused(Format::Csv, &[gzip(b"text,label\n"), rows].concat());
    assert!(message.contains("it unpacks to more than ") && message.contains("over 50 times its size"), "{message}");
}

#[test]
fn an_endless_line_is_named() {
    let line = vec![b'x'; (16 << 20) + 100_000];
    for (format, head) in
        [(Format::Csv, "text,label\na,b\n"), (Format::Tsv, "text\tlabel\na\tb\n"), (Format::Jsonl, "{}\n{}\n")]
    {
        let message = refused(format, &[head.as_bytes(), &line].concat());
        assert!(message.ends_with("x.csv:3: the line is longer than 16 MiB, the limit for a row"), "{message}");
    }
}

#[test]
fn an_endless_record_of_short_lines_is_no_row() {
    let lines = b"xxxxxxxxxxxxxxx\n".repeat((16 << 16) + 1);
    let bytes = [b"text,label\na,b\n\"", &lines[..], b"\",c\nd,e\n"].concat();
    let table = read(Format::Csv, &bytes).unwrap();
    assert_eq!(table.rows.len(), 2);
    assert_eq!(
        (table.unusable[0].place.as_str(), table.unusable[0].reason.as_str()),
        ("x.csv:3", "a row of more than 16 MiB")
    );
}

#[test]
fn very_many_columns_and_very_long_names() {
    let message = refused(Format::Csv, &[b"text,label".as_slice(), &b",x".repeat(1 << 20)].concat());
    assert!(
        message.ends_with("x.csv:1 names 1048578 columns, more than 10000; check the `format` of the source"),
        "{message}"
    );
    let message = refused(Format::Csv, &[b"text,".as_slice(), &b"y".repeat(1 << 20), b"\na,b\n"].concat());
    assert!(message.contains("the file has no column `label`") && message.len() < 1000, "{message}");
    let rows: Vec<u8> = (0..50_000).flat_map(|i| format!("t{i},l{i}\n").into_bytes()).collect();
    assert_eq!(read(Format::Csv, &[b"text,label\n".as_slice(), &rows].concat()).unwrap().rows.len(), 50_000);
}

#[test]
fn very_many_labels_that_nobody_declared() {
    let dir = tempfile::tempdir().unwrap();
    let rows: String = (0..100_000).map(|i| format!("t{i},l{i}\n")).collect();
    fs::write(dir.path().join("x.csv"), format!("text,label\n{rows}")).unwrap();
    let mut spec = Spec::new(vec![Source::new("x.csv", Format::Csv, Purpose::Train)]);
    spec.labels = Some(vec!["a".into(), "b".into()]);
    let message = preprocess(&spec, 1, dir.path(), &Silent).unwrap_err().to_string();
    assert!(message.contains("and 99990 more labels"), "{message}");
}
