//! Gives access to the values of a CPU tensor as a slice.

use std::mem::MaybeUninit;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::TensorData;

/// A tensor's values in row-major order, with its shape. Clones share the memory.
#[derive(Debug, Clone)]
pub(super) struct Values(FloatTensor<Flex>);

impl Values {
    /// The values of an `f32` CPU tensor; copies them only if they are not contiguous.
    pub(super) fn of(tensor: FloatTensor<Flex>) -> Self {
        Values(if tensor.is_contiguous() { tensor } else { tensor.to_contiguous() })
    }

    /// Creates a tensor from `values` in row-major order.
    pub(super) fn new(values: Vec<f32>, shape: &[usize]) -> Self {
        Values(FloatTensor::<Flex>::from_data(TensorData::new(values, shape)))
    }

    pub(super) fn into_tensor(self) -> FloatTensor<Flex> {
        self.0
    }

    pub(super) fn shape(&self) -> Vec<usize> {
        self.0.shape().to_vec()
    }

    /// All values of the tensor.
    pub(super) fn slice(&self) -> &[f32] {
        let (start, end) = self.0.layout().contiguous_offsets().unwrap_or_default();
        &self.0.storage::<f32>()[start..end]
    }

    /// All values, mutable: in place if no other clone shares the memory, otherwise in a copy.
    pub(super) fn slice_mut(&mut self) -> &mut [f32] {
        let (start, end) = self.0.layout().contiguous_offsets().unwrap_or_default();
        &mut self.0.storage_mut::<f32>()[start..end]
    }

    /// The number of rows and their width, which is the size of the last axis.
    pub(super) fn rows(&self) -> (usize, usize) {
        let width = self.shape().last().copied().unwrap_or(1);
        (self.slice().len() / width.max(1), width)
    }
}

/// Creates a vector of `len` values, which `write` fills. Zeroing it first would cost a pass over memory.
///
/// # Safety
/// `write` must write every element.
pub(super) unsafe fn written(len: usize, write: impl FnOnce(&mut [MaybeUninit<f32>])) -> Vec<f32> {
    let mut values = Vec::with_capacity(len);
    write(&mut values.spare_capacity_mut()[..len]);
    // SAFETY: the capacity is at least `len`, and the caller guarantees that `write` writes every element.
    unsafe { values.set_len(len) };
    values
}
