//! Parameter values in main memory, in the layout of Hugging Face files.

use std::collections::BTreeMap;

/// Values of every parameter by Hugging Face name.
pub type HostTensors = BTreeMap<String, HostTensor>;

/// A parameter's values, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct HostTensor {
    pub shape: Vec<usize>,
    pub data: Vec<f32>,
}

impl HostTensor {
    /// `[rows, columns]` → `[columns, rows]`; anything but a matrix stays as it is.
    pub fn transposed(self) -> Self {
        let [rows, columns] = self.shape[..] else { return self };
        HostTensor { shape: vec![columns, rows], data: transpose(&self.data, rows, columns) }
    }
}

/// Goes by square blocks: walking whole columns of a wide matrix would miss the cache at each step.
fn transpose(data: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    const BLOCK: usize = 32;
    let mut out = vec![0f32; data.len()];
    for top in (0..rows).step_by(BLOCK) {
        for left in (0..columns).step_by(BLOCK) {
            for row in top..(top + BLOCK).min(rows) {
                for column in left..(left + BLOCK).min(columns) {
                    out[column * rows + row] = data[row * columns + column];
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transposing_twice_gives_the_matrix_back() {
        let (rows, columns) = (37, 65);
        let data: Vec<f32> = (0..rows * columns).map(|i| i as f32).collect();
        let matrix = HostTensor { shape: vec![rows, columns], data };
        let turned = matrix.clone().transposed();
        assert_eq!(turned.shape, [columns, rows]);
        assert_eq!(turned.data[3 * rows + 2], matrix.data[2 * columns + 3]);
        assert_eq!(turned.transposed(), matrix);
    }
}
