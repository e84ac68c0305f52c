//! Folders of weights: types, shards, damage.

use safetensors::Dtype;

use super::*;

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
    assert!(text.ends_with("names the shard two.safetensors, which is not there"), "{text}");
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
    assert!(text.contains("not a file that PyTorch writes"), "{text}");
}
