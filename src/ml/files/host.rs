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

/// The layout of a parameter in its module, relative to the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    AsInFiles,
    /// A matrix `[out, in]` in the files is `[in, out]` in the module.
    Transposed,
}

impl HostTensor {
    /// Selects rows of a matrix, or elements of a vector, in the given order.
    pub fn rows(&self, rows: &[usize]) -> HostTensor {
        let width: usize = self.shape[1..].iter().product();
        let data = rows.iter().flat_map(|row| &self.data[row * width..][..width]).copied().collect();
        HostTensor { shape: [&[rows.len()], &self.shape[1..]].concat(), data }
    }

    /// Selects columns of a matrix, in the given order.
    pub fn columns(&self, columns: &[usize]) -> HostTensor {
        let width: usize = self.shape[1..].iter().product();
        let data = self.data.chunks(width.max(1)).flat_map(|row| columns.iter().map(|column| row[*column])).collect();
        HostTensor { shape: vec![self.shape[0], columns.len()], data }
    }

    /// Converts the values to the layout of the module, or back.
    pub fn into_layout(self, layout: Layout) -> Vec<f32> {
        match (layout, &self.shape[..]) {
            (Layout::Transposed, [rows, columns]) => {
                let mut out = vec![0f32; self.data.len()];
                transpose_rows(&self.data, *columns, &mut out, *rows);
                out
            }
            _ => self.data,
        }
    }
}

/// Writes some rows of a matrix `[rows, columns]` as columns of its transpose `[columns, rows]`; `out` starts at the
/// position of the first of them.
///
/// It works in square tiles: a walk along whole columns of a wide matrix would miss the cache at each step.
pub(crate) fn transpose_rows(some: &[f32], columns: usize, out: &mut [f32], rows: usize) {
    /// Two cache lines; 16 and 8 were slower in measurements on matrices of 768 × 3072.
    const TILE: usize = 32;
    let count = some.len().checked_div(columns).unwrap_or(0);
    for top in (0..count).step_by(TILE) {
        for left in (0..columns).step_by(TILE) {
            if top + TILE > count || left + TILE > columns {
                for row in top..(top + TILE).min(count) {
                    for column in left..(left + TILE).min(columns) {
                        out[column * rows + row] = some[row * columns + column];
                    }
                }
                continue;
            }
            let mut tile = [[0f32; TILE]; TILE];
            for row in 0..TILE {
                let values = &some[(top + row) * columns + left..][..TILE];
                for (column, value) in values.iter().enumerate() {
                    tile[column][row] = *value;
                }
            }
            for (column, values) in tile.iter().enumerate() {
                out[(left + column) * rows + top..][..TILE].copy_from_slice(values);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transposing_twice_gives_the_matrix_back() {
        for (rows, columns) in [(37, 65), (1, 7), (64, 32), (33, 100), (0, 4), (4, 0)] {
            let data: Vec<f32> = (0..rows * columns).map(|i| i as f32).collect();
            let matrix = HostTensor { shape: vec![rows, columns], data };
            let turned =
                HostTensor { shape: vec![columns, rows], data: matrix.clone().into_layout(Layout::Transposed) };
            for (i, value) in matrix.data.iter().enumerate() {
                assert_eq!(turned.data[i % columns * rows + i / columns], *value);
            }
            assert_eq!(turned.into_layout(Layout::Transposed), matrix.data);
        }
    }

    #[test]
    fn rows_and_columns_come_in_the_order_asked_for() {
        let matrix = HostTensor { shape: vec![2, 3], data: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0] };
        assert_eq!(matrix.rows(&[1]), HostTensor { shape: vec![1, 3], data: vec![4.0, 5.0, 6.0] });
        assert_eq!(matrix.columns(&[0, 2]), HostTensor { shape: vec![2, 2], data: vec![1.0, 3.0, 4.0, 6.0] });
        let vector = HostTensor { shape: vec![3], data: vec![1.0, 2.0, 3.0] };
        assert_eq!(vector.rows(&[0, 2]), HostTensor { shape: vec![2], data: vec![1.0, 3.0] });
    }

    #[test]
    fn only_matrices_are_transposed() {
        let cube = HostTensor { shape: vec![2, 1, 2], data: vec![1.0, 2.0, 3.0, 4.0] };
        assert_eq!(cube.clone().into_layout(Layout::Transposed), cube.data);
    }
}
