//! Tests of ONNX files as something to score with: their size, the order of their labels, damaged files.

use std::fs;
use std::path::Path;

use burn::tensor::Device;
use tempfile::TempDir;

use super::convert::convert_within;
use super::{MODEL, Precision, Session, convert};
use crate::judge::classifier::Classifier;
use crate::model::fixture::Fixture;
use crate::watch::Silent;

fn converted(precision: Precision) -> TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    convert(&Fixture::open("roberta-tiny").dir, dir.path(), precision, None, &Silent).expect("converted");
    dir
}

#[test]
fn a_file_has_as_many_parameters_as_its_model() {
    for fixture in Fixture::classifiers() {
        let size = Classifier::open(&fixture.dir, &Device::flex()).expect("opens").size();
        for precision in [Precision::F32, Precision::F16, Precision::Int8] {
            let dir = tempfile::tempdir().expect("a folder");
            let files = convert(&fixture.dir, dir.path(), precision, None, &Silent).expect("converted");
            let found = Session::open(dir.path()).expect("opens").size();
            let name = format!("{} {precision}", fixture.name());
            assert_eq!((found.parameters, found.bytes), (size.parameters, files.bytes_after), "{name}");
            // Rounding makes small weights 0, and nothing else.
            let lost = size.non_zero - found.non_zero;
            let most = if precision == Precision::F32 { 0 } else { size.non_zero / 20 };
            assert!(found.non_zero <= size.non_zero && lost <= most, "{name}: {size:?} {found:?}");
        }
    }
}

#[test]
fn weights_in_a_second_file_count_too() {
    let (one, two) = (converted(Precision::F32), tempfile::tempdir().expect("a folder"));
    let base = Fixture::open("roberta-tiny").dir;
    let apart = convert_within(&base, two.path(), Precision::F32, Vec::new(), 1000).expect("converted");
    let [whole, beside] = [one.path(), two.path()].map(|dir| Session::open(dir).expect("opens").size());
    assert_eq!((beside.parameters, beside.non_zero), (whole.parameters, whole.non_zero));
    assert_eq!(beside.bytes, apart.bytes_after);
}

#[test]
fn logits_can_have_another_order() {
    let dir = converted(Precision::F32);
    let fixture = Fixture::open("roberta-tiny");
    let (ids, mask) = fixture.batch(&Device::flex());
    let plain = Session::open(dir.path()).expect("opens");
    let expected = plain.logits(ids.clone(), mask.clone()).expect("scored");
    let order = vec![4, 2, 0, 1, 3];
    let found = plain.with_label_order(order.clone()).logits(ids, mask).expect("scored");
    for (expected, found) in expected.chunks(5).zip(found.chunks(5)) {
        assert_eq!(order.iter().map(|at| expected[*at]).collect::<Vec<_>>(), found);
    }
}

fn refused(dir: &Path) -> String {
    format!("{:#}", Session::open(dir).map(|_| ()).expect_err("refused"))
}

#[test]
fn damaged_files_are_named() {
    let dir = converted(Precision::F32);
    let path = dir.path().join(MODEL);
    let whole = fs::read(&path).expect("read");
    fs::write(&path, &whole[..whole.len() / 2]).expect("written");
    let message = refused(dir.path());
    assert!(message.starts_with(&format!("reading {}: it is ", path.display())), "{message}");
    for rubbish in [&b"rubbish"[..], b"", b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"] {
        fs::write(&path, rubbish).expect("written");
        let message = refused(dir.path());
        assert!(message.contains(MODEL), "{message}");
    }
    // Every cut and many flipped bits: an error or a session, never a panic.
    for cut in (0..whole.len()).step_by(whole.len() / 40) {
        fs::write(&path, &whole[..cut]).expect("written");
        refused(dir.path());
    }
    for at in (0..2000).step_by(37) {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        fs::write(&path, damaged).expect("written");
        let _ = Session::open(dir.path());
    }
}
