//! Reading weight files: number types, shards, damaged files.

use safetensors::Dtype;

use super::*;
use crate::files::weights::{Encoded, write, write_f32};

fn tensor(shape: &[usize], data: &[f32]) -> HostTensor {
    HostTensor { shape: shape.to_vec(), data: data.to_vec() }
}

fn error(files: &[PathBuf]) -> String {
    format!("{:#}", read(files).map(|_| ()).expect_err("refused"))
}

#[test]
fn every_float_type_reads_back_as_f32() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join(SINGLE);
    let values = tensor(&[2, 2], &[1.0, -0.5, 0.25, 3.0]);
    let bf16 = values.data.iter().flat_map(|v| half::bf16::from_f32(*v).to_le_bytes()).collect();
    let file = BTreeMap::from([
        ("a".to_owned(), Encoded::f32(&values)),
        ("b".to_owned(), Encoded::f16(&values)),
        ("c".to_owned(), Encoded { dtype: Dtype::BF16, shape: vec![2, 2], bytes: bf16 }),
        ("d".to_owned(), Encoded { dtype: Dtype::I8, shape: vec![2, 2], bytes: vec![1, 255, 127, 129] }),
        ("d_scale".to_owned(), Encoded::f32(&tensor(&[2], &[0.5, 2.0]))),
    ]);
    write(&path, &file).expect("written");
    let back = read(&[path]).expect("read");
    assert_eq!(back.keys().collect::<Vec<_>>(), ["a", "b", "c", "d"]);
    assert!(back["a"] == values && back["b"] == values && back["c"] == values);
    assert_eq!(back["d"].data, [0.5, -0.5, 254.0, -254.0]);
}

#[test]
fn shards_are_found_by_their_index() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for (file, name) in [("one.safetensors", "a"), ("two.safetensors", "b")] {
        let values = HostTensors::from([(name.to_owned(), tensor(&[1], &[1.0]))]);
        write_f32(&dir.path().join(file), &values).expect("written");
    }
    let index = r#"{"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}"#;
    fs::write(dir.path().join(INDEX), index).expect("written");
    let both = read(&files(dir.path()).expect("found")).expect("read");
    assert_eq!(both.keys().collect::<Vec<_>>(), ["a", "b"]);

    fs::remove_file(dir.path().join("two.safetensors")).expect("removed");
    let text = files(dir.path()).map(|_| ()).expect_err("a shard is missing").to_string();
    assert!(text.ends_with("lists the shard two.safetensors, which does not exist"), "{text}");
    fs::write(dir.path().join(INDEX), r#"{"weight_map": {"a": "../one.safetensors"}}"#).expect("written");
    let text = files(dir.path()).map(|_| ()).expect_err("a path outside").to_string();
    assert!(text.ends_with("is not a plain file name"), "{text}");
}

#[test]
fn damaged_files_and_other_formats_are_clear_errors() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join(SINGLE);
    let values = HostTensors::from([("a".to_owned(), tensor(&[100], &[1.0; 100]))]);
    write_f32(&path, &values).expect("written");
    let whole = fs::read(&path).expect("read");
    for length in [0, 7, 60, whole.len() - 1] {
        fs::write(&path, &whole[..length]).expect("written");
        let text = error(std::slice::from_ref(&path));
        assert!(text.contains(SINGLE), "{length}: {text}");
    }
    fs::remove_file(&path).expect("removed");
    fs::write(dir.path().join(PICKLE), b"x").expect("written");
    let text = error(&files(dir.path()).expect("found"));
    assert!(text.contains("not a PyTorch checkpoint"), "{text}");
}

#[test]
fn a_tensor_transposed_while_it_is_read_is_the_one_transposed_after() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join(SINGLE);
    // More than one block of rows, and sizes that are not multiples of a tile.
    for shape in
        [vec![301, 517], vec![1, 70_001], vec![70_001, 1], vec![33, 32], vec![5], vec![], vec![3, 5, 7], vec![0, 4]]
    {
        let size: usize = shape.iter().product();
        let values = tensor(&shape, &(0..size).map(|i| (i % 2048) as f32 - 1024.0).collect::<Vec<_>>());
        let int8 = (0..size).map(|i| (i % 251) as u8).collect();
        let rows = shape.first().copied().unwrap_or(1);
        let scales = tensor(&[rows], &(0..rows).map(|i| 1.0 + i as f32).collect::<Vec<_>>());
        let doubles = values.data.iter().flat_map(|v| f64::from(*v).to_le_bytes()).collect();
        let mut file = BTreeMap::from([
            ("f32".to_owned(), Encoded::f32(&values)),
            ("f16".to_owned(), Encoded::f16(&values)),
            ("f64".to_owned(), Encoded { dtype: Dtype::F64, shape: shape.clone(), bytes: doubles }),
        ]);
        if !shape.is_empty() {
            file.insert("int8".into(), Encoded { dtype: Dtype::I8, shape: shape.clone(), bytes: int8 });
            file.insert("int8_scale".into(), Encoded::f32(&scales));
        }
        write(&path, &file).expect("written");
        let weights = Weights::of(std::slice::from_ref(&path)).expect("opened");
        let all = weights.read().expect("read");
        for (name, stored) in &weights.tensors {
            let after = all[name].clone().into_layout(Layout::Transposed);
            assert_eq!(value(name, stored, Layout::Transposed).expect("read"), after, "{name} {shape:?}");
            if name != "int8" {
                assert_eq!(all[name], values, "{name}");
            }
        }
    }
}

#[test]
fn an_index_and_its_shards_have_to_agree() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let shard = |file: &str, names: &[&str]| {
        let tensors = names.iter().map(|name| (name.to_string(), tensor(&[1], &[1.0])));
        write_f32(&dir.path().join(file), &tensors.collect()).expect("written");
    };
    let opened = |index: &str| {
        fs::write(dir.path().join(INDEX), index).expect("written");
        let text = Weights::open(dir.path()).map(|w| w.map_or(0, |w| w.tensors.len())).map_err(|e| format!("{e:#}"));
        text.map_err(|text| text.replace(&format!("{}/", dir.path().display()), ""))
    };
    shard("one.safetensors", &["a", "b"]);
    shard("two.safetensors", &["c"]);
    let whole = r#"{"weight_map": {"a": "one.safetensors", "b": "one.safetensors", "c": "two.safetensors"}}"#;
    assert_eq!(opened(whole), Ok(3));
    shard("two.safetensors", &["d"]);
    let text = opened(whole).unwrap_err();
    assert_eq!(
        text,
        "model.safetensors.index.json lists tensor c in two.safetensors, but that file does not contain it"
    );
    shard("two.safetensors", &["c", "d"]);
    let text = opened(whole).unwrap_err();
    assert_eq!(text, "two.safetensors contains tensor d, which model.safetensors.index.json does not list");
    let text = opened(r#"{"weight_map": {"a": 1}}"#).unwrap_err();
    assert_eq!(text, "model.safetensors.index.json lists no file for tensor a");

    shard("two.safetensors", &["b"]);
    let both = [dir.path().join("one.safetensors"), dir.path().join("two.safetensors")];
    let text = error(&both).replace(&format!("{}/", dir.path().display()), "");
    assert_eq!(
        text,
        "tensor b is in both one.safetensors and two.safetensors; remove the file that does not belong to the model"
    );
}

#[test]
fn a_file_that_changes_after_it_was_opened_is_an_error_and_not_the_end_of_the_process() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join(SINGLE);
    let values = HostTensors::from([("a".to_owned(), tensor(&[1 << 20], &vec![1.0; 1 << 20]))]);
    write_f32(&path, &values).expect("written");
    let weights = Weights::of(std::slice::from_ref(&path)).expect("opened");
    fs::File::options().write(true).open(&path).expect("opened").set_len(4096).expect("cut");
    let text = format!("{:#}", weights.read().map(|_| ()).expect_err("refused"));
    assert_eq!(text, format!("reading {}: tensor a: the file became shorter while it was read", path.display()));
    // An open file that is deleted or replaced stays readable.
    write_f32(&path, &values).expect("written");
    let weights = Weights::of(std::slice::from_ref(&path)).expect("opened");
    fs::remove_file(&path).expect("removed");
    assert!(weights.read().expect("read") == values);
}

#[test]
fn pytorch_shards_read_too() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let state = include_bytes!("../../../../tests/fixtures/pickle/state.bin");
    fs::write(dir.path().join("pytorch_model-00001-of-00001.bin"), state).expect("written");
    let names = ["a.weight", "view", "half", "bf", "ids", "scalar", "param"];
    let map: serde_json::Map<_, _> =
        names.iter().map(|name| (name.to_string(), "pytorch_model-00001-of-00001.bin".into())).collect();
    fs::write(dir.path().join(PICKLE_INDEX), serde_json::json!({ "weight_map": map }).to_string()).expect("written");
    assert_eq!(Weights::open(dir.path()).expect("opened").expect("there").tensors.len(), 7);
}
