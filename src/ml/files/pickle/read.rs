//! Reads `pytorch_model.bin`, which holds tensor data and a pickle that describes it, without running any code.
//!
//! A pickle is a program that Python runs. This reader accepts only the few instructions that `torch.save` writes for a state
//! dict. It treats function names as data and recognises only four of them. Anything else is an error. The reader
//! of burn-store (`pytorch-reader` 0.22) does not run code either, but it skips objects that are not tensors, for which this
//! reader rejects the file; it copies each tensor whole before converting it, and it depends on a zip and a tar library.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::bytes::cut;
use super::machine::{Machine, Value, View};
use super::storage::numbers;
use super::zip::Span;
use super::{legacy, zip};
use crate::files::weights::stored::{Source, Stored};

/// The maximum number of axes of a tensor, as in PyTorch.
const MOST_AXES: usize = 64;
/// Maximum number of values per byte of the file. Tensors may share data, as tied embeddings do, but a small file must not
/// expand to a huge model.
const SHARED: usize = 4;

/// Lists the tensors of a state dict without reading their values.
pub(crate) fn tensors(source: &Arc<Source>) -> Result<BTreeMap<String, Stored>> {
    let head = source.bytes(0, source.length.min(legacy::MAGIC.len() as u64))?;
    let (state, storages) = match &head[..] {
        head if head.starts_with(b"PK") => zipped(source)?,
        head if head == legacy::MAGIC => legacy::read(source)?,
        _ => bail!("not a PyTorch checkpoint; load the model in Python and save it again with `save_pretrained`"),
    };
    let Value::Dict(items) = state else { bail!("the file does not contain a dict of tensors") };
    let mut room = usize::try_from(source.length).unwrap_or(usize::MAX).saturating_mul(SHARED);
    let mut tensors = BTreeMap::new();
    for (name, view) in items {
        let span = storages.get(&*view.storage.key);
        let span = span.ok_or_else(|| anyhow!("the data of tensor {name} is missing"))?;
        room = room.checked_sub(size(&view)?).ok_or_else(|| anyhow!("too many tensors share the same data"))?;
        let stored = stored(source, &view, *span).with_context(|| format!("tensor {name}"))?;
        tensors.insert(name.to_string(), stored);
    }
    ensure!(!tensors.is_empty(), "the file contains no tensors");
    Ok(tensors)
}

/// The state dict of a zip file, and the positions of its storages.
fn zipped(source: &Source) -> Result<(Value, BTreeMap<String, Span>)> {
    let entries = zip::entries(source)?;
    let folder = zip::folder(&entries)?;
    let read = |span: &Span| source.bytes(span.at, span.length);
    if let Some(order) = entries.get(&format!("{folder}byteorder")) {
        ensure!(read(order)? == b"little", "the file was written on a big-endian machine, which is not supported");
    }
    let pickle = entries.get(&format!("{folder}data.pkl")).ok_or_else(cut)?;
    let (state, _) = Machine::run(&read(pickle)?)?;
    let data = format!("{folder}data/");
    let storages = entries.iter().filter_map(|(name, span)| Some((name.strip_prefix(&data)?.to_owned(), *span)));
    Ok((state, storages.collect()))
}

fn size(view: &View) -> Result<usize> {
    ensure!(view.shape.len() <= MOST_AXES, "a tensor has {} axes; at most {MOST_AXES} are supported", view.shape.len());
    view.shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d)).ok_or_else(cut)
}

/// Converts a view of a storage to a tensor, after checking its bounds.
fn stored(source: &Arc<Source>, view: &View, storage: Span) -> Result<Stored> {
    let dtype = numbers(&view.storage.class)?;
    let width = dtype.bitsize() as u64 / 8;
    let size = size(view)?;
    ensure!(view.strides.len() == view.shape.len(), cut());
    // The index after the last value, counted from the start of the storage.
    let end = || {
        let steps = view.shape.iter().zip(&view.strides);
        let last = steps
            .map(|(dim, stride)| (dim - 1).checked_mul(*stride))
            .try_fold(view.offset, |at, step| at.checked_add(step?));
        last?.checked_add(1)
    };
    let limit = storage.length / width;
    let fits = size == 0 || end().is_some_and(|end| end as u64 <= limit) && size as u64 <= limit;
    ensure!(fits, cut());
    Ok(Stored {
        dtype,
        shape: view.shape.clone(),
        bytes: size as u64 * width,
        source: source.clone(),
        at: storage.at.saturating_add((view.offset as u64).saturating_mul(width)),
        strides: Some(view.strides.clone()).filter(|_| !is_row_major(view)),
        packed: false,
        scales: None,
        inputs: None,
    })
}

/// Whether the values are contiguous in row-major order; the stride of an axis of size 1 does not matter.
fn is_row_major(view: &View) -> bool {
    let mut step = 1usize;
    for (dim, stride) in view.shape.iter().zip(&view.strides).rev() {
        if *dim != 1 && *stride != step {
            return false;
        }
        step = step.saturating_mul(*dim);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::weights;
    use crate::model::HostTensors;
    use std::fs;

    /// Written by torch 2.15 (`tests/fixtures/pickle/make.py`): a view, halves, buffers, a parameter.
    const STATE: &[u8] = include_bytes!("../../../../tests/fixtures/pickle/state.bin");
    const LEGACY: &[u8] = include_bytes!("../../../../tests/fixtures/pickle/legacy.bin");
    const HOSTILE: &[u8] = include_bytes!("../../../../tests/fixtures/pickle/hostile.bin");

    fn decode(bytes: &[u8]) -> Result<HostTensors> {
        let file = tempfile::Builder::new().suffix(".bin").tempfile()?;
        fs::write(file.path(), bytes)?;
        weights::read(&[file.path().to_owned()])
    }

    fn error(bytes: &[u8]) -> String {
        decode(bytes).map(|_| ()).expect_err("refused").root_cause().to_string()
    }

    #[test]
    fn tensors_of_every_kind_read_as_f32() {
        let tensors = decode(STATE).expect("read");
        let get = |name: &str| (tensors[name].shape.clone(), tensors[name].data.clone());
        let rows: Vec<f32> = (0..12).map(|i| i as f32).collect();
        assert_eq!(get("a.weight"), (vec![3, 4], rows));
        let columns = vec![0.0, 4.0, 8.0, 1.0, 5.0, 9.0, 2.0, 6.0, 10.0, 3.0, 7.0, 11.0];
        assert_eq!(get("view"), (vec![4, 3], columns));
        assert_eq!(get("half"), (vec![2], vec![1.5, -2.0]));
        assert_eq!(get("bf"), (vec![2], vec![1.5, -2.0]));
        assert_eq!(get("ids"), (vec![1, 4], vec![0.0, 1.0, 2.0, 3.0]));
        assert_eq!(get("scalar"), (vec![], vec![3.0]));
        assert_eq!(get("param"), (vec![2, 2], vec![1.0; 4]));
        assert_eq!(tensors.len(), 7);
    }

    #[test]
    fn files_from_before_1_6_read_too() {
        assert!(decode(LEGACY).expect("read") == decode(STATE).expect("read"));
        // Change the first byte of a storage's element count.
        let mut changed = LEGACY.to_vec();
        let count = changed.len() - 4 - 8;
        changed[count] = 200;
        assert_eq!(error(&changed), "the file is damaged or was cut short");
    }

    #[test]
    fn code_in_a_pickle_is_named_and_not_run() {
        assert_eq!(error(HOSTILE), "the pickle calls `posix.system`, which is not allowed in a state dict");
    }

    #[test]
    fn damage_is_a_clear_error() {
        assert!(error(b"").starts_with("not a PyTorch checkpoint"));
        for whole in [STATE, LEGACY] {
            for length in [2, 100, whole.len() / 2, whole.len() - 10] {
                assert!(decode(&whole[..length]).is_err(), "{length}");
            }
            // A changed byte may change values or cause an error, but never a crash.
            for at in 0..whole.len() {
                let mut changed = whole.to_vec();
                changed[at] ^= 0x55;
                drop(decode(&changed));
            }
        }
    }
}
