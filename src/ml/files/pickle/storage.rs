//! The number types of PyTorch's storages, by the names of their classes.

use anyhow::{Result, bail};
use safetensors::Dtype;

/// The number type of a storage.
pub(super) fn numbers(class: &str) -> Result<Dtype> {
    Ok(match class {
        "torch FloatStorage" => Dtype::F32,
        "torch HalfStorage" => Dtype::F16,
        "torch BFloat16Storage" => Dtype::BF16,
        "torch DoubleStorage" => Dtype::F64,
        // Old checkpoints contain index tables and masks.
        "torch LongStorage" => Dtype::I64,
        "torch IntStorage" => Dtype::I32,
        "torch ByteStorage" => Dtype::U8,
        "torch BoolStorage" => Dtype::BOOL,
        other => bail!("values of type {} are not supported", other.replace(' ', ".")),
    })
}
