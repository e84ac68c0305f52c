//! Reads the header of a safetensors file, which gives the name, type, shape and position of each tensor.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Result, anyhow, ensure};
use safetensors::Dtype;
use safetensors::tensor::Metadata;

use super::stored::{Source, Stored};

/// Appended to the name of an int8 weight to name its scales.
pub const SCALE: &str = "_scale";
/// The fixed scale and zero point of the activations of an int8 layer, stored beside its weight.
pub(crate) const INPUT_SCALE: &str = "input_scale";
pub(crate) const INPUT_ZERO: &str = "input_zero_point";
/// Suffixes of an int4 weight: its packed integers, which replace the weight, and its shape.
pub(crate) const PACKED: &str = "_packed";
pub(crate) const SHAPE: &str = "_shape";
/// 4-bit integers packed into one 32-bit integer.
const EACH: usize = 8;
/// The maximum length of a header, as in the safetensors library.
const LONGEST: u64 = 100_000_000;

/// Lists the tensors of a safetensors file without reading their values.
pub(crate) fn tensors(source: &Arc<Source>) -> Result<BTreeMap<String, Stored>> {
    let damaged = |what: &str| anyhow!("not a valid safetensors file ({what}); was it cut short?");
    ensure!(source.length >= 8, damaged("it has fewer than 8 bytes"));
    let length = u64::from_le_bytes(source.bytes(0, 8)?.try_into().unwrap_or_default());
    ensure!(length <= LONGEST, damaged("its header is too long"));
    ensure!(length <= source.length - 8, damaged("it ends within its header"));
    let header: Metadata =
        serde_json::from_slice(&source.bytes(8, length)?).map_err(|error| damaged(&error.to_string()))?;
    let begin = 8 + length;
    ensure!(
        source.length - begin == header.data_len() as u64,
        damaged(&format!("it has {} bytes of data; its header says {}", source.length - begin, header.data_len()))
    );
    let stored = |(name, info): (String, &safetensors::tensor::TensorInfo)| {
        let (from, to) = info.data_offsets;
        let stored = Stored {
            dtype: info.dtype,
            shape: info.shape.clone(),
            bytes: (to - from) as u64,
            source: source.clone(),
            at: begin + from as u64,
            strides: None,
            packed: false,
            scales: None,
            inputs: None,
        };
        (name, stored)
    };
    let mut tensors: BTreeMap<String, Stored> = header.tensors().into_iter().map(stored).collect();
    unpack(&mut tensors)?;
    let weights: Vec<String> = tensors.iter().filter(|(_, t)| t.dtype == Dtype::I8).map(|(n, _)| n.clone()).collect();
    for name in weights {
        let Some(scales) = tensors.remove(&format!("{name}{SCALE}")) else { continue };
        let mut input = |field: &str| tensors.remove(&format!("{}{field}", name.strip_suffix("weight")?));
        let inputs = input(INPUT_SCALE).zip(input(INPUT_ZERO)).map(|(scale, zero)| Box::new([scale, zero]));
        if let Some(weight) = tensors.get_mut(&name) {
            weight.scales = Some(Box::new(scales));
            weight.inputs = inputs;
        }
    }
    Ok(tensors)
}

/// Gives int4 weights their name and shape; a row has [`EACH`] columns for every 32-bit integer.
fn unpack(tensors: &mut BTreeMap<String, Stored>) -> Result<()> {
    let weights: Vec<String> = tensors.keys().filter_map(|name| Some(name.strip_suffix(PACKED)?.to_owned())).collect();
    for name in weights {
        let scales = tensors.remove(&format!("{name}{SCALE}"));
        let shape = tensors.remove(&format!("{name}{SHAPE}"));
        let Some(mut weight) = tensors.remove(&format!("{name}{PACKED}")) else { continue };
        let scales = scales.ok_or_else(|| anyhow!("tensor {name}{PACKED} has no scales; {name}{SCALE} is missing"))?;
        let words = Some(&weight.shape[..]).filter(|shape| weight.dtype == Dtype::I32 && shape.len() == 2);
        let words = words.ok_or_else(|| anyhow!("tensor {name}{PACKED} is not a matrix of i32"))?;
        let columns = words[1].checked_mul(EACH).ok_or_else(|| anyhow!("tensor {name}{PACKED} is too large"))?;
        weight.shape = vec![words[0], columns];
        if let Some(shape) = shape {
            let own = shape.read_sizes()?;
            ensure!(
                own == weight.shape,
                "tensor {name} has shape {own:?}, but {name}{PACKED} holds integers for shape {:?}",
                weight.shape
            );
        }
        (weight.packed, weight.scales) = (true, Some(Box::new(scales)));
        tensors.insert(name, weight);
    }
    Ok(())
}
