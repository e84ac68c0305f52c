//! The values of a parameter that stay at zero.

use anyhow::{Result, bail};
use burn::tensor::{Bool, Device, Tensor, TensorData};

use super::flat::{Flat, unreadable};
use crate::compress::prune::Mask;

/// A mask, stored where the gradients are.
pub(super) struct Held {
    mask: Mask,
    /// The same mask on a GPU, one value per value of the parameter.
    on_device: Option<Tensor<1, Bool>>,
}

impl Held {
    pub(super) fn new(mask: Mask, on_host: bool, device: &Device) -> Self {
        let tensor = || Tensor::from_data(TensorData::new(mask.to_bools(), [mask.weights()]), device);
        Self { on_device: (!on_host).then(tensor), mask }
    }

    pub(super) fn mask(&self) -> &Mask {
        &self.mask
    }

    /// Set a gradient or a moment to zero for the held values.
    pub(super) fn clear(&self, values: &mut Flat) -> Result<()> {
        match (values, &self.on_device) {
            (Flat::Device(tensor), Some(mask)) => *tensor = tensor.clone().mask_fill(mask.clone(), 0.0),
            (Flat::Host(data), _) => self.mask.zero(data.as_mut_slice::<f32>().map_err(unreadable)?),
            (Flat::Device(_), None) => bail!("internal error: pruning mask on the host, gradient on the device"),
        }
        Ok(())
    }
}
