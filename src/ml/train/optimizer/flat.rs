//! A parameter's values as one row, on the host or on the device.

use anyhow::{Result, anyhow};
use burn::tensor::{Device, Tensor, TensorData};

/// Elements that one thread updates at a time: four arrays of 64 KiB fit into a core's second-level cache.
pub(super) const CHUNK: usize = 16 * 1024;

/// A parameter's values as one row: on the host for CPU devices, whose tensors can be taken without a copy, otherwise
/// on the model's device.
pub(super) enum Flat {
    Host(TensorData),
    Device(Tensor<1>),
}

impl Flat {
    pub(super) fn of<const D: usize>(tensor: Tensor<D>, on_host: bool) -> Result<Self> {
        let len = tensor.shape().num_elements();
        let flat = tensor.reshape([len]);
        if on_host { Ok(Self::Host(flat.try_into_data()?)) } else { Ok(Self::Device(flat)) }
    }

    pub(super) fn zeros(len: usize, on_host: bool, device: &Device) -> Self {
        if on_host {
            Self::Host(TensorData::new(vec![0f32; len], [len]))
        } else {
            Self::Device(Tensor::zeros([len], device))
        }
    }

    pub(super) fn to_vec(&self) -> Result<Vec<f32>> {
        let data = match self {
            Self::Host(data) => return Ok(data.as_slice::<f32>().map_err(unreadable)?.to_vec()),
            Self::Device(tensor) => tensor.try_to_data()?,
        };
        data.try_into_vec::<f32>().map_err(unreadable)
    }
}

pub(super) fn unreadable(error: impl std::fmt::Debug) -> anyhow::Error {
    anyhow!("cannot read a parameter as f32: {error:?}")
}
