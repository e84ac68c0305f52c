//! Fuzzes `pytorch_model.bin`: the zip and the pickle in it, changed and generated.

use std::fs;
use std::path::Path;

use pipe_ml::files::weights;
use pipe_ml::model::HostTensors;
use proptest::prelude::*;

use super::changes::{bounded, changed, changes, config};

fn fixture(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pickle").join(name)).unwrap()
}

fn read(bytes: &[u8]) -> anyhow::Result<HostTensors> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pytorch_model.bin");
    fs::write(&path, bytes).unwrap();
    bounded(bytes.len(), || weights::read(std::slice::from_ref(&path)))
}

fn refused(bytes: &[u8]) -> String {
    format!("{:#}", read(bytes).unwrap_err()).split_once("pytorch_model.bin: ").unwrap().1.to_owned()
}

/// An uncompressed zip as PyTorch writes it; `size` replaces the true size of every entry in the directory.
fn zip(entries: &[(&str, &[u8])], size: Option<u32>) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in entries {
        let at = out.len() as u32;
        let size = size.unwrap_or(data.len() as u32).to_le_bytes();
        let length = (name.len() as u16).to_le_bytes();
        out.extend(
            [b"PK\x03\x04".as_slice(), &[0; 14], &size, &size, &length, &[0; 2], name.as_bytes(), data].concat(),
        );
        let fixed =
            [b"PK\x01\x02".as_slice(), &[0; 16], &size, &size, &length, &[0; 12], &at.to_le_bytes(), name.as_bytes()];
        directory.extend(fixed.concat());
    }
    let (count, at) = ((entries.len() as u16).to_le_bytes(), (out.len() as u32).to_le_bytes());
    let length = (directory.len() as u32).to_le_bytes();
    [&out[..], &directory, b"PK\x05\x06", &[0; 4], &count, &count, &length, &at, &[0; 2]].concat()
}

/// A file with this pickle and a storage `0` of sixteen numbers.
fn model(pickle: &[u8]) -> Vec<u8> {
    zip(&[("m/data.pkl", pickle), ("m/data/0", &[0; 64])], None)
}

/// `torch._utils._rebuild_tensor_v2` and its first argument, the storage.
const TENSOR: &[u8] =
    b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x10tQ";

/// The beginning of a file in the format before PyTorch 1.6.
const MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

/// Pickle instructions of such files, and some invalid ones.
const PIECES: &[&[u8]] = &[
    b"\x80\x02",
    b".",
    b"(",
    b"N",
    b"\x89",
    b"\x88",
    b"}",
    b")",
    b"]",
    b"K\x10",
    b"K\0",
    b"M\xff\xff",
    b"J\xff\xff\xff\xff",
    b"\x8a\x07\xff\xff\xff\xff\xff\xff\x7f",
    b"\x8a\x09\0",
    b"G\0\0\0\0\0\0\0\0",
    b"X\x01\0\0\0a",
    b"X\xff\xff\xff\xff",
    b"ccollections\nOrderedDict\n",
    b"cposix\nsystem\n",
    b"c\n\n",
    b"q\0",
    b"q\x01",
    b"r\0\0\0\0",
    b"h\0",
    b"h\x01",
    b"j\0\0\0\0",
    b"t",
    b"\x85",
    b"\x86",
    b"\x87",
    b"a",
    b"e",
    b"s",
    b"u",
    b"b",
    b"Q",
    b"R",
    TENSOR,
    b"K\0(K\x04K\x04t(K\x04K\x01t\x89)RtR",
    b"\x95",
    b"\0",
];

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn a_good_file_changed(changes in changes()) {
        let _ = read(&changed(&fixture("state.bin"), &changes));
    }

    #[test]
    fn a_good_file_of_the_format_before_1_6_changed(changes in changes()) {
        let _ = read(&changed(&fixture("legacy.bin"), &changes));
    }

    #[test]
    fn any_instructions_in_the_format_before_1_6(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..60)) {
        let _ = read(&[MAGIC, b"\x80\x02M\xe9\x03.\x80\x02}.", &pieces.concat(), b"."].concat());
    }

    #[test]
    fn any_instructions(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..60)) {
        let _ = read(&model(&pieces.concat()));
    }

    #[test]
    fn any_shape_and_strides(offset in any::<i32>(), small in any::<bool>(), shape in prop::collection::vec(any::<i32>(), 0..4), strides in prop::collection::vec(any::<i32>(), 0..4)) {
        let number = |n: &i32| [b"J".as_slice(), &(if small { n % 8 } else { *n }).to_le_bytes()].concat();
        let tuple = |all: &[i32]| [b"(".to_vec(), all.iter().flat_map(number).collect(), b"t".to_vec()].concat();
        let pickle = [b"}X\x01\0\0\0a".as_slice(), TENSOR, &number(&offset), &tuple(&shape), &tuple(&strides), b"\x89)tRs."].concat();
        if let Ok(tensors) = read(&model(&pickle)) {
            let size: usize = tensors["a"].shape.iter().product();
            prop_assert!(tensors["a"].data.len() == size && size <= 16);
        }
    }
}

#[test]
fn the_made_up_file_is_read() {
    let pickle = [b"\x80\x02}X\x01\0\0\0a".as_slice(), TENSOR, b"K\0(K\x04K\x04t(K\x04K\x01t\x89)tRs."].concat();
    assert_eq!(read(&model(&pickle)).unwrap()["a"].shape, [4, 4]);
}

#[test]
fn names_of_files_lead_nowhere() {
    // Keys are looked up among the zip entries, never on disk.
    let key = "../../../../../../etc/passwd";
    let mut tensor = TENSOR.to_vec();
    let at = tensor.windows(6).position(|w| w == b"X\x01\0\0\x000").unwrap();
    tensor.splice(at..at + 6, [b"X".as_slice(), &(key.len() as u32).to_le_bytes(), key.as_bytes()].concat());
    let pickle = [b"}X\x01\0\0\0a".as_slice(), &tensor, b"K\0(K\x04t(K\x01t\x89)tRs."].concat();
    assert_eq!(
        refused(&zip(&[("m/data.pkl", &pickle), ("../../etc/passwd", &[0; 64])], None)),
        "the data of tensor a is missing"
    );
}

#[test]
fn sizes_that_a_zip_declares_are_held_against_the_file() {
    let pickle = b"}.".as_slice();
    for size in [1 << 20, u32::MAX - 1, u32::MAX] {
        assert_eq!(refused(&zip(&[("m/data.pkl", pickle)], Some(size))), "the file is damaged or was cut short");
    }
}

#[test]
fn a_memo_that_doubles_costs_nothing() {
    // x = (x, x), sixty times: 2^60 of them, if each were a copy.
    let pickle = [b"K\x01q\0".as_slice(), &b"h\0h\0\x86q\0".repeat(60), b"."].concat();
    assert_eq!(refused(&model(&pickle)), "the file does not contain a dict of tensors");
    let long = 1u32 << 20;
    let pickle =
        [b"X".as_slice(), &long.to_le_bytes(), &vec![b'a'; long as usize], b"q\0", &b"h\0".repeat(100_000), b"."]
            .concat();
    assert_eq!(refused(&model(&pickle)), "the file does not contain a dict of tensors");
}

#[test]
fn tuples_in_tuples_do_not_overflow_the_stack() {
    let pickle = [b")".as_slice(), &b"\x85".repeat(1_000_000), b"."].concat();
    assert_eq!(refused(&model(&pickle)), "the pickle nests tuples more than 64 levels deep");
    // Dicts hold tensors here, not one another.
    let pickle = [b"}".repeat(100_000), b"X\x01\0\0\0a}s".repeat(100_000), b".".to_vec()].concat();
    assert_eq!(refused(&model(&pickle)), "the file contains no tensors");
}

#[test]
fn few_bytes_shared_by_very_many_tensors_are_not_a_model() {
    let tensor = [TENSOR, b"K\0(K\x10t(K\x01t\x89)tRq\0"].concat();
    let names = (0..50_000u32).flat_map(|i| [b"X\x04\0\0\0".as_slice(), &(i | 1 << 30).to_le_bytes(), b"h\0"].concat());
    let pickle = [b"}(X\x01\0\0\0a".as_slice(), &tensor, &names.collect::<Vec<_>>(), b"u."].concat();
    let large = vec![0u8; 1 << 20];
    let bytes = zip(&[("m/data.pkl", &pickle), ("m/data/0", &large)], None);
    // Sixteen numbers per tensor are in proportion to the file; a quarter of a million are not.
    assert!(read(&bytes).is_ok());
    let pickle: Vec<u8> = {
        let at = pickle.windows(4).position(|w| w == b"(K\x10t").unwrap();
        [&pickle[..at], b"(J\0\0\x04\0t", &pickle[at + 4..]].concat()
    };
    assert_eq!(
        refused(&zip(&[("m/data.pkl", &pickle), ("m/data/0", &large)], None)),
        "too many tensors share the same data"
    );
}

#[test]
fn a_shape_of_a_million_axes_is_refused() {
    let ones = b"K\x01".repeat(1_000_000);
    let pickle = [b"}X\x01\0\0\0a".as_slice(), TENSOR, b"K\0(", &ones, b"t(", &ones, b"t\x89)tRs."].concat();
    assert!(refused(&model(&pickle)).contains("has 1000000 axes"));
}

#[test]
fn code_is_named_and_not_run() {
    assert_eq!(
        refused(&fixture("hostile.bin")),
        "the pickle calls `posix.system`, which is not allowed in a state dict"
    );
    for name in ["builtins\neval", "os\nsystem", "torch.hub\nload", "torch._utils\n_rebuild_tensor"] {
        let message = refused(&model(format!("c{name}\n(X\x01\0\0\0atR.").as_bytes()));
        assert_eq!(
            message,
            format!("the pickle calls `{}`, which is not allowed in a state dict", name.replace('\n', "."))
        );
    }
}
