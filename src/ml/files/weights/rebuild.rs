//! Computes weights that PyTorch stored in parts: pruned ones with their mask, and normed ones as length and direction.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use super::stored::{Stored, value};
use crate::files::host::Layout;

/// The suffixes of `torch.nn.utils.prune` after the name of the weight: the values before pruning, and zeros and ones.
const ORIGINAL: &str = "_orig";
const MASK: &str = "_mask";
/// The suffixes of `torch.nn.utils.weight_norm`, and the names that `torch.nn.utils.parametrizations` gives them.
const LENGTH: [&str; 2] = ["_g", ".original0"];
const DIRECTION: [&str; 2] = ["_v", ".original1"];
/// What stands before the name of a weight that has a parametrization.
const PARAMETRIZED: &str = "parametrizations.";

/// Replaces `weight_orig` and `weight_mask` by their product.
pub(super) fn masked(tensors: &mut BTreeMap<String, Stored>) -> Result<()> {
    let names: Vec<String> = tensors.keys().filter_map(|name| Some(name.strip_suffix(ORIGINAL)?.to_owned())).collect();
    for name in names {
        let Some((original, mask)) = pair(tensors, &name, ORIGINAL, MASK) else { continue };
        ensure!(
            original.shape == mask.shape,
            "tensor {name}{MASK} has shape {:?}, but {name}{ORIGINAL} has {:?}",
            mask.shape,
            original.shape
        );
        let mut values = value(&format!("{name}{ORIGINAL}"), &original, Layout::AsInFiles)?;
        let mask = value(&format!("{name}{MASK}"), &mask, Layout::AsInFiles)?;
        values.iter_mut().zip(mask).for_each(|(value, mask)| *value *= mask);
        tensors.insert(name, Stored::computed(original.path(), original.shape.clone(), &values));
    }
    Ok(())
}

/// Replaces a length for each row and the direction by the weight, `v · g / |v|`.
pub(super) fn normed(tensors: &mut BTreeMap<String, Stored>) -> Result<()> {
    for (length, direction) in LENGTH.into_iter().zip(DIRECTION) {
        let names: Vec<String> =
            tensors.keys().filter_map(|name| Some(name.strip_suffix(length)?.to_owned())).collect();
        for name in names {
            let Some((g, v)) = pair(tensors, &name, length, direction) else { continue };
            let rows = v.shape.first().copied().unwrap_or(1);
            // The usual case: a length for each row, the first axis. Other axes do not occur in linear layers.
            ensure!(
                g.size() == rows && g.shape.first() == Some(&rows) && v.size() > 0,
                "tensor {name}{length} has shape {:?}; expected one length for each of the {rows} rows of \
                 {name}{direction}",
                g.shape
            );
            let lengths = value(&format!("{name}{length}"), &g, Layout::AsInFiles)?;
            let mut values = value(&format!("{name}{direction}"), &v, Layout::AsInFiles)?;
            for (row, length) in values.chunks_exact_mut(v.size() / rows).zip(lengths) {
                let norm = row.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt() as f32;
                row.iter_mut().for_each(|value| *value *= length / norm);
            }
            let weight = name.replacen(PARAMETRIZED, "", 1);
            tensors.insert(weight, Stored::computed(v.path(), v.shape.clone(), &values));
        }
    }
    Ok(())
}

/// Takes two tensors out if both are there.
fn pair(tensors: &mut BTreeMap<String, Stored>, name: &str, first: &str, second: &str) -> Option<(Stored, Stored)> {
    let second = format!("{name}{second}");
    if !tensors.contains_key(&second) {
        return None;
    }
    Some((tensors.remove(&format!("{name}{first}"))?, tensors.remove(&second)?))
}

#[cfg(test)]
mod tests {
    use crate::files::weights::{read, write_f32};
    use crate::model::{HostTensor, HostTensors};

    fn tensor(shape: &[usize], data: &[f32]) -> HostTensor {
        HostTensor { shape: shape.to_vec(), data: data.to_vec() }
    }

    fn reread(tensors: &[(&str, HostTensor)]) -> anyhow::Result<HostTensors> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        let tensors = tensors.iter().map(|(name, tensor)| ((*name).to_owned(), tensor.clone())).collect();
        write_f32(&path, &tensors).unwrap();
        read(&[path])
    }

    #[test]
    fn a_pruned_weight_is_the_product_with_its_mask() {
        let read = reread(&[
            ("a.weight_orig", tensor(&[2, 2], &[1.0, 2.0, 3.0, 4.0])),
            ("a.weight_mask", tensor(&[2, 2], &[1.0, 0.0, 0.0, 1.0])),
            ("b.weight_orig", tensor(&[1], &[1.0])),
        ]);
        let read = read.unwrap();
        assert_eq!(read.keys().collect::<Vec<_>>(), ["a.weight", "b.weight_orig"]);
        assert_eq!(read["a.weight"], tensor(&[2, 2], &[1.0, 0.0, 0.0, 4.0]));
        let other = reread(&[("a.weight_orig", tensor(&[2], &[1.0, 2.0])), ("a.weight_mask", tensor(&[1], &[1.0]))]);
        assert_eq!(other.unwrap_err().to_string(), "tensor a.weight_mask has shape [1], but a.weight_orig has [2]");
    }

    /// The numbers are those of `torch.nn.utils.parametrizations.weight_norm`: rows of length g.
    #[test]
    fn a_normed_weight_has_rows_of_its_lengths() {
        for [g, v, weight] in [
            ["a.weight_g", "a.weight_v", "a.weight"],
            ["a.parametrizations.weight.original0", "a.parametrizations.weight.original1", "a.weight"],
        ] {
            let read = reread(&[(g, tensor(&[2, 1], &[10.0, 1.0])), (v, tensor(&[2, 2], &[3.0, 4.0, 0.0, 2.0]))]);
            assert_eq!(read.unwrap()[weight], tensor(&[2, 2], &[6.0, 8.0, 0.0, 1.0]));
        }
    }
}
