//! Fuzzes packed files, UTF-16, and texts whose labels and label names are in files of their own.

use std::fs;
use std::io::{Cursor, Write};

use pipe_ml::text::data::declare::spec::Source;
use proptest::prelude::*;

use super::changes::{changed, changes, config};
use super::source::{read, rows};

fn table() -> impl Strategy<Value = (usize, String)> {
    let text = prop_oneof!["[a-zé😀 ]{1,12}", "[\"',]{1,4}", Just("<br />".to_owned())];
    let row = (text, "[ab]");
    prop::collection::vec(row, 1..40).prop_map(|rows| {
        let lines: String =
            rows.iter().map(|(text, label)| format!("\"{}\",{label}\n", text.replace('"', "\"\""))).collect();
        (rows.len(), format!("text,label\n{lines}"))
    })
}

/// The bytes as the usual programs pack them.
fn packed(bytes: &[u8], how: usize) -> (Vec<u8>, &'static str) {
    let zip = |method| {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let options = zip::write::SimpleFileOptions::default().compression_method(method);
        writer.start_file("folder/x.csv", options).unwrap();
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap().into_inner()
    };
    match how {
        0 => {
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), Default::default());
            writer.write_all(bytes).unwrap();
            (writer.finish().unwrap(), "x.csv.gz")
        }
        1 => (zstd::stream::encode_all(bytes, 0).unwrap(), "x.csv.zst"),
        2 => (zip(zip::CompressionMethod::Deflated), "x.csv.zip"),
        _ => (zip(zip::CompressionMethod::Stored), "x.zip"),
    }
}

fn utf16(text: &str, little: bool, mark: bool) -> Vec<u8> {
    let mark = if mark { "\u{FEFF}" } else { "" };
    let units = format!("{mark}{text}").encode_utf16().collect::<Vec<u16>>();
    units.into_iter().flat_map(|unit| if little { unit.to_le_bytes() } else { unit.to_be_bytes() }).collect()
}

proptest! {
    #![proptest_config(config(100))]

    #[test]
    fn packed_tables((count, text) in table(), how in 0usize..4, changes in prop::collection::vec(changes(), 1..6)) {
        let dir = tempfile::tempdir().unwrap();
        let (good, name) = packed(text.as_bytes(), how);
        let source = Source::at(name);
        fs::write(dir.path().join(name), &good).unwrap();
        prop_assert_eq!(rows(&read(dir.path(), &source, text.len()).unwrap()), count as u64);
        for changes in changes {
            // The packed bytes changed, and changed bytes packed.
            for bytes in [changed(&good, &changes), packed(&changed(text.as_bytes(), &changes), how).0] {
                fs::write(dir.path().join(name), &bytes).unwrap();
                // A small file may unpack to 16 MiB.
                let _ = read(dir.path(), &source, bytes.len().max(16 << 20));
            }
        }
    }

    #[test]
    fn tables_in_utf16((count, text) in table(), little in any::<bool>(), mark in any::<bool>(), changes in prop::collection::vec(changes(), 1..6)) {
        let dir = tempfile::tempdir().unwrap();
        // Without a mark, NULs on one side tell UTF-16. This emoji has one on the other side, which is rare in longer texts.
        let text = if mark { text } else { text.replace('😀', "😁") };
        let good = utf16(&text, little, mark);
        let source = Source::at("x.csv");
        fs::write(dir.path().join("x.csv"), &good).unwrap();
        prop_assert_eq!(rows(&read(dir.path(), &source, good.len()).unwrap()), count as u64);
        for changes in changes {
            let bytes = changed(&good, &changes);
            fs::write(dir.path().join("x.csv"), &bytes).unwrap();
            let _ = read(dir.path(), &source, bytes.len());
        }
    }

    #[test]
    fn labels_and_their_names(texts in prop::collection::vec("[^\r\n\0]{0,10}", 1..30), labels in prop::collection::vec("[0-3]{0,1}|-1|x", 30), which in 0usize..3, changes in changes()) {
        let dir = tempfile::tempdir().unwrap();
        let count = texts.len();
        let mut files = [
            ("x_text.txt", texts.join("\n").into_bytes()),
            ("x_labels.txt", labels[..count].join("\n").into_bytes()),
            ("mapping.txt", b"0\tnone\n1\tsome more\n2\tall\n".to_vec()),
        ];
        // An empty text at the end is a line only if a line end follows it.
        files[0].1.push(b'\n');
        let write = |files: &[(&str, Vec<u8>)]| files.iter().for_each(|(name, bytes)| fs::write(dir.path().join(name), bytes).unwrap());
        write(&files);
        let mut source = Source::at("x_text.txt");
        (source.labels_file, source.mapping) = (Some("x_labels.txt".into()), Some("mapping.txt".into()));
        let size = |files: &[(&str, Vec<u8>)]| files.iter().map(|(_, bytes)| bytes.len()).sum();
        if let Ok(table) = read(dir.path(), &source, size(&files)) {
            prop_assert_eq!(rows(&table), count as u64);
        }
        files[which].1 = changed(&files[which].1, &changes);
        write(&files);
        let _ = read(dir.path(), &source, size(&files));
    }
}
