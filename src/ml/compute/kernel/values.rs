//! The numbers of a tensor on the CPU, as a slice.

use std::mem::MaybeUninit;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::TensorData;

/// A tensor's numbers in row-major order, with its shape. Cloning shares them.
#[derive(Debug, Clone)]
pub struct Values(FloatTensor<Flex>);

impl Values {
    /// Those of a CPU tensor of `f32`; copied only where they do not lie in order.
    pub fn of(tensor: FloatTensor<Flex>) -> Self {
        Values(if tensor.is_contiguous() { tensor } else { tensor.to_contiguous() })
    }

    /// New ones.
    pub fn new(values: Vec<f32>, shape: &[usize]) -> Self {
        Values(FloatTensor::<Flex>::from_data(TensorData::new(values, shape)))
    }

    pub fn into_tensor(self) -> FloatTensor<Flex> {
        self.0
    }

    pub fn shape(&self) -> Vec<usize> {
        self.0.shape().to_vec()
    }

    /// All numbers of the tensor.
    pub fn slice(&self) -> &[f32] {
        let (start, end) = self.0.layout().contiguous_offsets().unwrap_or_default();
        &self.0.storage::<f32>()[start..end]
    }

    /// The same to be changed: in place where nobody else holds them, else a copy of them.
    pub fn slice_mut(&mut self) -> &mut [f32] {
        let (start, end) = self.0.layout().contiguous_offsets().unwrap_or_default();
        &mut self.0.storage_mut::<f32>()[start..end]
    }

    /// Size of the last axis, and how many rows of it there are.
    pub fn rows(&self) -> (usize, usize) {
        let width = self.shape().last().copied().unwrap_or(1);
        (self.slice().len() / width.max(1), width)
    }
}

/// A vector of `len` numbers, all of which `write` writes. Zeroing it first would cost a pass over memory.
///
/// # Safety
/// `write` must write every element.
pub unsafe fn written(len: usize, write: impl FnOnce(&mut [MaybeUninit<f32>])) -> Vec<f32> {
    let mut values = Vec::with_capacity(len);
    write(&mut values.spare_capacity_mut()[..len]);
    // SAFETY: the capacity is at least `len`, and the caller promises that all elements up to there are written.
    unsafe { values.set_len(len) };
    values
}
