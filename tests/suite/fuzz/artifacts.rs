//! Fuzzes artifact folders: Parquet and Arrow files, their JSON descriptions, and checkpoints.

use std::fs;
use std::path::Path;

use pipe_ml::text::data::predictions::{self, Predictions};
use pipe_ml::text::data::{Corpus, Example, Report, Split, TokenRow, Tokens};
use pipe_ml::train::checkpoint::{Checkpoints, Tensors};
use proptest::prelude::*;

use super::changes::{bounded, changed, changes, config};

fn corpus(dir: &Path) {
    write_corpus(dir, None);
}

fn corpus_of_pairs(dir: &Path) {
    write_corpus(dir, Some("second".into()));
}

fn write_corpus(dir: &Path, pair: Option<String>) {
    let row = |i: usize| Example {
        id: format!("train:{i}"),
        text: format!("text {}", "é".repeat(i)),
        pair: pair.clone(),
        label: (i % 2) as u32,
        source: "train".into(),
        day: None,
        made: None,
    };
    let rows: Vec<Example> = (0..20).map(row).collect();
    let labels = vec!["no".into(), "yes".into()];
    Corpus {
        labels,
        train: rows.clone(),
        validation: rows[..2].to_vec(),
        test: Vec::new(),
        report: Report::default(),
        cleaning: None,
    }
    .write(dir)
    .unwrap();
}

fn tokens(dir: &Path) {
    let mut train = Split::default();
    (0..20u32).for_each(|i| train.push(&(0..i).collect::<Vec<_>>(), i % 2, format!("train:{i}")));
    let labels = vec!["no".into(), "yes".into()];
    Tokens { labels, pad_id: 1, max_length: 20, test: train.clone(), validation: Split::default(), train }
        .write(dir)
        .unwrap();
}

/// Tokens of pairs, whose second halves have type 1.
fn typed_tokens(dir: &Path) {
    let mut train = Split::default();
    for i in 0..20u32 {
        let (ids, types): (Vec<u32>, Vec<u8>) = (0..i).map(|at| (at, u8::from(at * 2 > i))).unzip();
        train.push_row(TokenRow { ids: &ids, types: &types, label: i % 2, row_id: format!("train:{i}") });
    }
    let labels = vec!["no".into(), "yes".into()];
    Tokens { labels, pad_id: 1, max_length: 20, test: train.clone(), validation: Split::default(), train }
        .write(dir)
        .unwrap();
}

fn some_predictions(dir: &Path) {
    let mut split = Split::default();
    (0..20u32).for_each(|i| split.push(&[i], i % 2, format!("train:{i}")));
    let logits: Vec<f32> = (0..40).map(|i| i as f32 / 7.0).collect();
    predictions::write(&dir.join("predictions.parquet"), &split, &logits, 2).unwrap();
}

fn checkpoint(dir: &Path) {
    let tensors = Tensors::from([("a".to_owned(), vec![1.0; 40]), ("b".to_owned(), vec![])]);
    Checkpoints::open(dir).unwrap().write(&7u64, &tensors).unwrap();
}

/// A folder with a changed file `name`, and the size of that file.
fn damaged(make: fn(&Path), name: &str, change: impl FnOnce(&[u8]) -> Vec<u8>) -> (tempfile::TempDir, usize) {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path());
    let path = dir.path().join(name);
    let bytes = change(&fs::read(&path).unwrap());
    fs::write(path, &bytes).unwrap();
    (dir, bytes.len())
}

/// Check that the tokens are consistent.
fn use_tokens(tokens: &Tokens) {
    for split in [&tokens.train, &tokens.validation, &tokens.test] {
        let all: usize = (0..split.len()).map(|i| split.row(i).len()).sum();
        assert_eq!(all, split.tokens());
        let types = (0..split.len()).map(|i| (split.types(i).len(), split.row(i).len()));
        assert!(types.clone().all(|(types, ids)| types == ids) || types.clone().all(|(types, _)| types == 0));
        assert!(split.labels().iter().all(|l| (*l as usize) < tokens.labels.len()));
    }
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn a_changed_corpus(name in prop::sample::select(vec!["train.parquet", "test.parquet", "corpus.json"]), pairs in any::<bool>(), changes in changes()) {
        let make = if pairs { corpus_of_pairs } else { corpus };
        let (dir, size) = damaged(make, name, |good| changed(good, &changes));
        if let Ok(corpus) = bounded(size, || Corpus::open(dir.path())) {
            assert!(corpus.train.iter().all(|row| (row.label as usize) < corpus.labels.len()));
        }
    }

    #[test]
    fn changed_tokens(name in prop::sample::select(vec!["train.arrow", "validation.arrow", "tokens.json"]), typed in any::<bool>(), changes in changes()) {
        let make = if typed { typed_tokens } else { tokens };
        let (dir, size) = damaged(make, name, |good| changed(good, &changes));
        if let Ok(tokens) = bounded(size, || Tokens::open(dir.path())) {
            use_tokens(&tokens);
        }
    }

    #[test]
    fn changed_predictions(changes in changes()) {
        let (dir, size) = damaged(some_predictions, "predictions.parquet", |good| changed(good, &changes));
        if let Ok(all) = bounded(size, || Predictions::read(&dir.path().join("predictions.parquet"))) {
            assert!(all.labels.len() == all.ids.len() && all.logits.len() == all.ids.len() * all.classes);
        }
    }

    #[test]
    fn a_changed_checkpoint_is_never_read(changes in changes()) {
        let (dir, size) = damaged(checkpoint, "fit.checkpoint", |good| changed(good, &changes));
        let (found, _) = bounded(size, || Checkpoints::open(dir.path()).unwrap().read::<u64>());
        // The checksum guarantees that whatever is read was written.
        prop_assert!(found.is_none_or(|(state, tensors)| state == 7 && tensors["a"] == vec![1.0; 40]));
    }

    #[test]
    fn a_checkpoint_with_any_head(head in "\\{\"state\":7,\"tensors\":\\[(\\[\"a\",[0-9]{1,20}\\],?){0,3}\\]\\}", sum in any::<bool>(), length in any::<u64>()) {
        let length = if sum { head.len() as u64 } else { length };
        let mut bytes = [b"pipe-checkpoint\x01".as_slice(), &length.to_le_bytes(), head.as_bytes(), &[0; 40]].concat();
        bytes.extend_from_slice(blake3::hash(&bytes).as_bytes());
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("fit.checkpoint"), &bytes).unwrap();
        bounded(bytes.len(), || Checkpoints::open(dir.path()).unwrap().read::<u64>());
    }
}

#[test]
fn sizes_that_an_arrow_file_declares_are_held_against_the_file() {
    // Put every extreme number at every position, including the metadata of the batches and the footer.
    let dir = tempfile::tempdir().unwrap();
    tokens(dir.path());
    let path = dir.path().join("train.arrow");
    let good = fs::read(&path).unwrap();
    for number in [-1i64, i64::MIN, i64::MAX, 1 << 40] {
        for at in (0..good.len() - 8).step_by(4) {
            let mut bytes = good.clone();
            bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
            fs::write(&path, bytes).unwrap();
            if let Ok(tokens) = bounded(good.len(), || Tokens::open(dir.path())) {
                use_tokens(&tokens);
            }
        }
    }
}

#[test]
fn sizes_that_a_parquet_page_declares_are_held_against_the_file() {
    // The first page follows the magic: its type, unpacked size and size, each as 0x15 and a number.
    let dir = tempfile::tempdir().unwrap();
    corpus(dir.path());
    let path = dir.path().join("train.parquet");
    let good = fs::read(&path).unwrap();
    assert_eq!((good[4], good[6]), (0x15, 0x15));
    let length = good[7..].iter().position(|b| *b < 0x80).unwrap() + 1;
    let two_gigabytes = [0xFE, 0xFF, 0xFF, 0xFF, 0x0F];
    fs::write(&path, [&good[..7], &two_gigabytes, &good[7 + length..]].concat()).unwrap();
    let message = format!("{:#}", bounded(good.len(), || Corpus::open(dir.path())).unwrap_err());
    assert!(
        message.contains("train.parquet: a page of ") && message.ends_with("claims to unpack to 2147483647"),
        "{message}"
    );
}

#[test]
fn a_text_stored_once_and_used_very_often_is_not_a_corpus() {
    let dir = tempfile::tempdir().unwrap();
    let row = Example {
        id: "x".into(),
        text: "y".repeat(1 << 14),
        pair: None,
        label: 0,
        source: "train".into(),
        day: None,
        made: None,
    };
    let labels = vec!["no".into(), "yes".into()];
    Corpus {
        labels,
        train: vec![row; 4000],
        validation: Vec::new(),
        test: Vec::new(),
        report: Report::default(),
        cleaning: None,
    }
    .write(dir.path())
    .unwrap();
    let size = fs::metadata(dir.path().join("train.parquet")).unwrap().len() as usize;
    let message = format!("{:#}", bounded(size, || Corpus::open(dir.path())).unwrap_err());
    assert!(message.ends_with("it unpacks to more than a file of its size can hold"), "{message}");
}
