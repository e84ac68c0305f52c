//! Tests of [`super::read`]: small files in every format, dialect, encoding and layout.

use std::io::Write;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::text::data::declare::spec::{Column, Delimiter, Splitting};

/// A folder with these files.
pub(super) fn project(files: &[(&str, &[u8])]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    dir
}

pub(super) fn open(dir: &TempDir, source: &Source) -> Result<Table> {
    read(source, &|path| dir.path().join(path), Cut::Remove)
}

fn parse(source: &Source, bytes: &[u8], cut: Cut) -> Result<Table> {
    let dir = project(&[("x.csv", bytes)]);
    read(source, &|_| dir.path().join("x.csv"), cut)
}

pub(super) fn source(format: Format) -> Source {
    Source::new("x.csv", format, Purpose::Train)
}

fn table(format: Format, bytes: &[u8]) -> Table {
    parse(&source(format), bytes, Cut::Remove).unwrap()
}

fn csv(bytes: &[u8]) -> Table {
    table(Format::Csv, bytes)
}

pub(super) fn why(result: Result<Table>) -> String {
    result.unwrap_err().root_cause().to_string()
}

fn error(format: Format, bytes: &[u8]) -> String {
    why(parse(&source(format), bytes, Cut::Remove))
}

fn numbered(format: Format, text: usize, label: usize) -> Source {
    let (text, label) = (Some(Column::Number(text)), Some(Column::Number(label)));
    Source { header: false, text, label, ..source(format) }
}

pub(super) fn texts(table: &Table) -> Vec<&str> {
    table.rows.iter().map(|row| row.text.as_str()).collect()
}

pub(super) fn labels(table: &Table) -> Vec<&str> {
    table.rows.iter().map(|row| row.label.as_str()).collect()
}

fn rejected(table: &Table) -> Vec<(&str, &str, &str, u64)> {
    table.unusable.iter().map(|row| (row.place.as_str(), row.reason.as_str(), row.detail.as_str(), row.rows)).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), Default::default());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in members {
        archive.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

#[test]
fn packed_files_are_known_by_their_content() {
    let rows = b"text,label\nhi,a\n";
    let packed =
        [gzip(rows), zstd::encode_all(rows.as_slice(), 3).unwrap(), zip(&[("a/b.csv", rows), ("__MACOSX/x", b"")])];
    for bytes in &packed {
        let dir = project(&[("plain.csv", bytes)]);
        assert_eq!(texts(&open(&dir, &Source::at("plain.csv")).unwrap()), ["hi"]);
    }
    let dir =
        project(&[("A.TSV.GZ", &gzip(b"text\tlabel\nhi\ta\n")), ("b.zip", &packed[2]), ("c.csv", &[0x1F, 0x8B, 0, 0])]);
    assert_eq!(texts(&open(&dir, &Source::at("A.TSV.GZ")).unwrap()), ["hi"]);
    assert_eq!(texts(&open(&dir, &Source::at("b.zip")).unwrap()), ["hi"]);
    let message = format!("{:#}", open(&dir, &Source::at("c.csv")).unwrap_err());
    assert!(message.contains("c.csv is damaged gzip"), "{message}");
}

#[test]
fn a_zip_with_several_files_asks_for_one() {
    let rows = b"text,label\nhi,a\n".as_slice();
    let dir = project(&[("a.zip", &zip(&[("x/train.csv", rows), ("x/test.csv", b"text,label\nho,b\n")]))]);
    let mut source = Source::at("a.zip");
    let message = why(open(&dir, &source));
    assert!(
        message.ends_with("a.zip holds 2 files: `x/test.csv`, `x/train.csv`; choose one with `member`"),
        "{message}"
    );
    source.member = Some("test.csv".to_owned());
    assert_eq!(texts(&open(&dir, &source).unwrap()), ["ho"]);
    source.member = Some("none.csv".to_owned());
    assert!(why(open(&dir, &source)).contains("has no member `none.csv`"));
}

#[test]
fn a_missing_file_and_an_unknown_ending_are_named() {
    let dir = project(&[("a.xlsx", b"x"), ("b", b"x"), ("c.csv", b"\xD0\xCF\x11\xE0")]);
    assert!(why(open(&dir, &Source::at("none.csv"))).starts_with("no such file: "));
    assert!(why(open(&dir, &Source::at("a.xlsx"))).starts_with("a.xlsx cannot be read: it is a spreadsheet"));
    assert_eq!(why(open(&dir, &Source::at("b"))), "b has no ending that says its format; set `format`");
    assert!(why(open(&dir, &Source::at("c.csv"))).ends_with("c.csv is an old Excel or Word file; save it as CSV"));
}

#[test]
fn a_cut_character_before_a_comma_or_quote_is_removed_and_counted() {
    let bytes = b"text,label\r\nabc\xC2,a\r\n\"d\xC3\xA9f, \xC2\xA3 g\xC2\",a\r\n";
    let table = csv(bytes);
    assert_eq!(texts(&table), ["abc", "déf, £ g"]);
    assert_eq!(table.rows.iter().map(|row| row.cut).collect::<Vec<_>>(), [1, 1]);
    let marked = parse(&source(Format::Csv), bytes, Cut::Mark).unwrap();
    assert_eq!(texts(&marked), ["abc\u{FFFD}", "déf, £ g\u{FFFD}"]);
}

#[test]
fn encodings_are_recognised_and_told() {
    let table = csv(b"text,label\ndon\x92t caf\xE9 \x80 5,a\n");
    assert_eq!((table.encoding().as_str(), texts(&table)), ("windows-1252", vec!["don’t café € 5"]));
    assert_eq!(table.notes, ["read x.csv as windows-1252"]);
    let wide: Vec<u8> = "text,label\ncafé 😀,a\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for bytes in [wide.clone(), [b"\xFF\xFE".as_slice(), &wide].concat()] {
        let table = csv(&bytes);
        assert_eq!((table.encoding().as_str(), texts(&table)), ("utf-16le", vec!["café 😀"]));
        assert_eq!(table.notes, ["read x.csv as utf-16le"]);
    }
    assert_eq!(csv(b"\xEF\xBB\xBF text , label \nhi,a\n").rows.len(), 1);
}

#[test]
fn carriage_returns_inside_quotes_do_not_end_a_record() {
    let bytes = b"UserName,ScreenName,Location,TweetAt,OriginalTweet,Sentiment\r\n\
        1,2,\"a\r\r\nb\",16-03-2020,\"one\r\r\ntwo \"\"x\"\"\r\",Positive\r\n3,4,,17-03-2020,three,Neutral\r\n";
    let table = table(Format::Covid19, bytes);
    assert!(table.unusable.is_empty() && table.warnings.is_empty());
    assert_eq!(texts(&table), ["one\r\r\ntwo \"x\"\r", "three"]);
    assert_eq!(labels(&table), ["Positive", "Neutral"]);
    assert_eq!(table.rows[0].date.as_deref(), Some("16-03-2020"));
    assert_eq!((table.rows[1].number, table.rows[1].place().as_str()), (2, "x.csv:5"));
}

#[test]
fn a_quoted_last_column_loses_the_line_ends_carriage_return() {
    assert_eq!(texts(&csv(b"label,text\r\n\"a\",\"b, c\"\r\nd,e\r\n")), ["b, c", "e"]);
}

#[test]
fn files_of_old_macs_have_rows_too() {
    assert_eq!(csv(b"text,label\rhi,a\rho,b\r").rows.len(), 2);
}

#[test]
fn quotes_mean_nothing_in_tsv() {
    assert_eq!(texts(&table(Format::Tsv, b"text\tlabel\n\"hi\t1\nho\" \"\t0\n")), ["\"hi", "ho\" \""]);
}

#[test]
fn rows_that_cannot_be_used_are_listed_with_their_line() {
    let table = csv(b"text,label\na,x\nb\nc,\nd,x,y\n\nd,x,\n\"e\nf,x\n");
    assert_eq!(texts(&table), ["a", "d"], "an empty field too many is a delimiter at the end of the line");
    assert_eq!(
        rejected(&table),
        [
            ("x.csv:3", "1 field where the header names 2", "", 1),
            ("x.csv:4", "no label", "", 1),
            ("x.csv:5", "3 fields where the header names 2", "", 1),
            ("x.csv:8", "a quote opens here and never closes", "it swallowed the file's last 2 lines", 2),
        ]
    );
}

#[test]
fn a_quote_that_swallows_rows_is_told_with_its_lines() {
    let table = csv(b"text,label\nfirst,good\n\"he said stay home,bad\nthird row,good\nfourth row,bad\n\"quoted words\" she said,good\nlast,bad\n");
    assert_eq!(texts(&table), ["first", "last"]);
    assert_eq!(
        rejected(&table),
        [(
            "x.csv:3",
            "a quote opens here and is not closed on its line",
            "it took 4 lines, to x.csv:6, where text follows the closing quote",
            4
        )]
    );
    assert_eq!(table.rows[1].number, 6, "lines that were taken are counted as rows");
}

#[test]
fn a_quote_that_closes_by_chance_is_told_if_it_took_rows() {
    let table = csv(b"text,label\nfirst,good\n\"he said,bad\nthird row,good\nfourth \",bad\n");
    assert_eq!(texts(&table), ["first", "he said,bad\nthird row,good\nfourth "]);
    assert_eq!(
        table.warnings,
        ["x.csv:3: the quote that opens here took 1 line that looks like a row: is a quote missing?"]
    );
    assert!(csv(b"text,label\nfirst,good\n\"a,b\nc,d\ne\",bad\n").warnings.is_empty());
}

#[test]
fn text_after_a_closing_quote_is_told() {
    let table = csv(b"text,label\n\"quoted\" word,good\n5\" tall,bad\n\"a\" b,bad\n");
    assert_eq!(texts(&table), ["quoted word", "5\" tall", "a b"]);
    assert_eq!(
        table.warnings,
        [
            "x.csv:2: text follows a closing quote in 2 rows, the first here; the quotes were taken away, as other readers \
          do: quotes inside a field are written twice, or the file is TSV"
        ]
    );
}

#[test]
fn a_missing_column_names_those_there_are() {
    assert_eq!(
        error(Format::Covid19, b"UserName,originaltweet,Sentiment\n"),
        "the file has no column `OriginalTweet` for the text; its columns are `UserName`, `originaltweet`, `Sentiment`; \
         did you mean text = \"originaltweet\"?"
    );
    assert_eq!(
        error(Format::Csv, b"text,class\n"),
        "the file has no column `label` for the label; its columns are `text`, `class`"
    );
    assert_eq!(error(Format::Csv, b""), "the file is empty; its first line must name the columns");
}

#[test]
fn another_delimiter_is_named_and_can_be_set() {
    let semicolon = b"text;label\nfood is here;good\npanic, at the shop;bad\n";
    let said = error(Format::Csv, semicolon);
    assert!(said.ends_with(": the header has one column, and `;` seems to divide it: set delimiter = \";\""), "{said}");
    let said = error(Format::Csv, b"text\tlabel\nfood is here\tgood\n");
    assert!(said.ends_with("a tab seems to divide it: set format = \"tsv\""), "{said}");
    let said = error(Format::Tsv, b"text,label\nfood is here,good\n");
    assert!(said.ends_with("a comma seems to divide it: set format = \"csv\""), "{said}");
    for delimiter in [Delimiter::Byte(b';'), Delimiter::Auto] {
        let source = Source { delimiter: Some(delimiter), ..source(Format::Csv) };
        assert_eq!(texts(&parse(&source, semicolon, Cut::Remove).unwrap()), ["food is here", "panic, at the shop"]);
    }
    let wide: Vec<u8> = "a\0b\nfood\n".bytes().collect();
    assert!(!error(Format::Csv, &wide).contains('\0'), "no NUL reaches the terminal");
}

#[test]
fn files_without_a_header_have_columns_by_number() {
    let rows = b"a stirring , funny\t1\n\"apparently\t0\n";
    let table = parse(&numbered(Format::Tsv, 1, 2), rows, Cut::Remove).unwrap();
    assert_eq!((texts(&table), labels(&table)), (vec!["a stirring , funny", "\"apparently"], vec!["1", "0"]));
    // A tab at the end of every line with a date after some, ids that repeat, and a row with too few fields.
    let rows = b"17\tneutral\tone\t\n17\tpositive\ttwo\tWed\n18\tneutral\n";
    let source = Source { id: Some(Column::Number(1)), ..numbered(Format::Tsv, 3, 2) };
    let table = parse(&source, rows, Cut::Remove).unwrap();
    assert_eq!(texts(&table), ["one", "two"]);
    assert_eq!(rejected(&table), [("x.csv:3", "2 fields where the first row has 3", "", 1)]);
    assert!(
        why(parse(&numbered(Format::Tsv, 5, 2), rows, Cut::Remove))
            .starts_with("the file has no column 5 for the text: it has 4 columns (")
    );
}

#[test]
fn a_header_is_never_a_row_and_a_row_never_a_header() {
    let said = why(parse(&numbered(Format::Csv, 1, 2), b"text,label\nhi,a\nho,b\n", Cut::Remove));
    assert_eq!(said, "x.csv:1 looks like a header (`text`), but `header = false` says that there is none");
    let with = Source { header: true, ..numbered(Format::Csv, 1, 2) };
    let said = why(parse(&with, b"one,a\ntwo,b\nthree,a\n", Cut::Remove));
    assert_eq!(
        said,
        "x.csv:1 looks like a row, not like a header: its label is `a`; set `header = false`, and name the columns by \
         number, counted from 1"
    );
    let said = error(Format::Csv, b"it is a long way to the shop,1\nno,0\n");
    assert!(said.contains("the first line looks like a row, not like a header: set `header = false`"), "{said}");
    let plain = parse(&numbered(Format::Csv, 1, 2), b"text,a\nho,a\n", Cut::Remove).unwrap();
    assert_eq!(texts(&plain), ["text", "ho"], "its label is that of other rows, so it is a row");
}

#[test]
fn a_header_in_the_middle_is_no_row() {
    let table = csv(b"text,label\nhi,a\ntext,label\nho,b\n");
    assert_eq!(texts(&table), ["hi", "ho"]);
    assert_eq!(rejected(&table), [("x.csv:3", "the header again", "", 1)]);
    let table = parse(&numbered(Format::Tsv, 1, 2), b"one\t\ntwo\tb\n", Cut::Remove).unwrap();
    assert_eq!(texts(&table), ["two"], "a first row without a label");
    assert_eq!(rejected(&table), [("x.csv:1", "no label", "", 1)]);
}

#[test]
fn json_lines_take_numbers_as_labels_and_report_the_rest() {
    let table = table(
        Format::Jsonl,
        b"\xEF\xBB\xBF{\"text\": \"don\xE2\x80\x99t\", \"label\": 1}\r\n\n[1]\n{\"text\": 3, \"label\": 1}\n{\"text\": \"x\", \"label\": null}\nno\n",
    );
    assert_eq!((texts(&table), labels(&table)), (vec!["don’t"], vec!["1"]));
    let places: Vec<&str> = table.unusable.iter().map(|row| row.place.as_str()).collect();
    assert_eq!(places, ["x.csv:3", "x.csv:4", "x.csv:5", "x.csv:6"]);
    assert_eq!(
        error(Format::Jsonl, b"{\"txt\": \"x\", \"label\": 1}\n"),
        "the file has no column `text` for the text; its columns are `label`, `txt`; did you mean text = \"txt\"?"
    );
}

#[test]
fn fields_of_json_may_be_nested() {
    let nested = Source { text: Some("data.text".into()), label: Some("user.tags.0".into()), ..source(Format::Jsonl) };
    let bytes = b"{\"data\": {\"text\": \"hi\"}, \"user\": {\"tags\": [\"a\"]}}\n{\"data.text\": \"ho\", \"user.tags.0\": \"b\"}\n{\"data\": 1, \"user\": 2}\n";
    let table = parse(&nested, bytes, Cut::Remove).unwrap();
    assert_eq!((texts(&table), labels(&table)), (vec!["hi", "ho"], vec!["a", "b"]));
    assert_eq!(rejected(&table), [("x.csv:3", "no text", "", 1)]);
}

#[test]
fn a_json_array_has_a_row_in_each_object() {
    let table = table(
        Format::Json,
        b"[\n  {\"text\": \"hi\", \"label\": \"a\"},\n  {\n    \"label\": true,\n    \"text\": \"ho\"},\n 3]\n",
    );
    assert_eq!((texts(&table), labels(&table)), (vec!["hi", "ho"], vec!["a", "true"]));
    assert_eq!(table.rows[1].place(), "x.csv:3");
    assert_eq!(rejected(&table), [("x.csv:6", "not a JSON object", "", 1)]);
    assert_eq!(
        error(Format::Json, b"{\"text\": \"a\"}\n{\"text\": \"b\"}\n"),
        "x.csv is not a JSON array, but has an object on each line: set format = \"jsonl\""
    );
    assert_eq!(
        error(Format::Json, b"{\"data\": [], \"version\": 1}"),
        "x.csv is one JSON object with the fields `data`, `version`; the file must be an array of objects"
    );
    assert_eq!(
        error(Format::Json, b"[{\"text\": \"a\", \"label\": 1}\n"),
        "x.csv:1 is not a JSON array of objects: a comma or `]` must follow an element"
    );
    assert!(
        error(Format::Json, b"[{\"text\": \"a\", \"label\": 1},\n{\"text\": oops}]")
            .starts_with("x.csv:2 is not a JSON array")
    );
    assert!(parse(&source(Format::Json), b" [ ] ", Cut::Remove).unwrap().rows.is_empty());
}

#[test]
fn texts_may_have_their_labels_in_another_file() {
    let dir = project(&[
        ("val_text.txt", "one \n“two”\n\nfour\n".as_bytes()),
        ("val_labels.txt", b"0\n1\n2\n0\n"),
        ("short.txt", b"0\n1\n"),
        ("mapping.txt", b"0\tnegative\n1\tneutral\n2\tpositive"),
    ]);
    let mut source = Source { labels_file: Some("val_labels.txt".into()), ..Source::at("val_text.txt") };
    let plain = open(&dir, &source).unwrap();
    assert_eq!((texts(&plain), labels(&plain)), (vec!["one ", "“two”", "", "four"], vec!["0", "1", "2", "0"]));
    assert_eq!(plain.labels, None);
    source.mapping = Some("mapping.txt".into());
    let named = open(&dir, &source).unwrap();
    assert_eq!(labels(&named), ["negative", "neutral", "positive", "negative"]);
    assert_eq!(named.labels.unwrap(), ["negative", "neutral", "positive"]);
    source.labels_file = Some("short.txt".into());
    assert_eq!(why(open(&dir, &source)), "val_text.txt has 4 lines, but the file of labels has 2");
    assert!(why(open(&dir, &Source::at("val_text.txt"))).ends_with("name the file of its labels with `labels-file`"));
}

#[test]
fn a_column_says_the_split() {
    let source = Source { split: Splitting::Column("split".into()), ..source(Format::Csv) };
    let table = parse(&source, b"text,label,split\na,x,train\nb,x,test\nc,x,dev\nd,x,extra\n", Cut::Remove).unwrap();
    let purposes: Vec<Purpose> = table.rows.iter().map(|row| row.purpose).collect();
    assert_eq!(purposes, [Purpose::Train, Purpose::Test, Purpose::Validation]);
    assert_eq!(rejected(&table), [("x.csv:5", "its split is none of train, validation and test", "it is `extra`", 1)]);
}

#[test]
fn texts_without_labels_are_one_for_each_row() {
    let dir = project(&[("a.csv", b"id,text\n1,hi\n2,\n"), ("b.txt", b"one\n\ntwo"), ("c", b"x\n")]);
    let read = |name: &str| {
        let table = read_as(&Source::at(name), &|path| dir.path().join(path), Cut::Remove, Want::Texts).unwrap();
        table.rows.into_iter().map(|row| row.text).collect::<Vec<_>>()
    };
    assert_eq!(read("a.csv"), ["hi", ""]);
    assert_eq!(read("b.txt"), ["one", "", "two"]);
    assert_eq!(read("c"), ["x"]);
}

const FORMATS: [Format; 8] = [
    Format::Covid19,
    Format::Csv,
    Format::Tsv,
    Format::Jsonl,
    Format::Json,
    Format::Lines,
    Format::Parquet,
    Format::Arrow,
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), header in any::<bool>()) {
        for format in FORMATS {
            let source = if header { source(format) } else { numbered(format, 1, 2) };
            let start: &[u8] = match format {
                Format::Parquet => b"PAR1",
                Format::Arrow => b"ARROW1\0\0",
                Format::Json => b"[{\"text\": \"a\", \"label\": 1},",
                // A matching header, so that rows are reached too.
                _ => b"text,label\tOriginalTweet,Sentiment\n",
            };
            let _ = parse(&source, &bytes, Cut::Remove);
            let _ = parse(&source, &[start, &bytes].concat(), Cut::Mark);
            let _ = parse(&source, &[b"text,label\n".as_slice(), &bytes].concat(), Cut::Remove);
            let auto = Source { delimiter: Some(Delimiter::Auto), ..source };
            let _ = parse(&auto, &[b"text;label\n".as_slice(), &bytes].concat(), Cut::Remove);
        }
    }

    #[test]
    fn a_changed_arrow_file_is_read_or_refused(stream in any::<bool>(), at in 0usize..2000, byte in any::<u8>(), cut in 0usize..4000) {
        let mut bytes = super::layout_tests::arrow_file(stream);
        let length = bytes.len();
        bytes[at % length] = byte;
        bytes.truncate(cut.max(1));
        let _ = parse(&source(Format::Arrow), &bytes, Cut::Remove);
    }

    #[test]
    fn every_row_is_either_usable_or_listed(rows in proptest::collection::vec("[ab\",\r]{1,6}", 0..20), quoted in any::<bool>()) {
        // Without quotes each line is a row, except for blank lines; with quotes the lines that one takes are counted.
        let clean = |row: &String| if quoted { row.clone() } else { row.replace('"', "") };
        let lines: Vec<String> = rows.iter().map(clean).collect();
        let text = format!("text,label\n{}\n", lines.join("\n"));
        let table = csv(text.as_bytes());
        let unusable: u64 = table.unusable.iter().map(|row| row.rows).sum();
        let read = table.rows.len() as u64 + unusable;
        let expected = lines.iter().filter(|line| !line.trim_end_matches('\r').is_empty()).count() as u64;
        if quoted {
            // A quoted field of several lines is one row.
            prop_assert!(read <= expected + lines.len() as u64);
        } else {
            prop_assert_eq!(read, expected);
        }
    }
}
