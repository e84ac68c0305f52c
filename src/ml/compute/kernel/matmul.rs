//! Multiplies matrices stored in slices.

use std::mem::MaybeUninit;

use gemm::Parallelism;

/// A matrix in a slice: element `(i, j)` is at `i · strides.0 + j · strides.1`.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    strides: (usize, usize),
}

impl<'a> Matrix<'a> {
    /// `[rows, columns]` in row-major order.
    pub(crate) fn new(values: &'a [f32], rows: usize, columns: usize) -> Self {
        Self::strided(values, rows, columns, columns)
    }

    /// `[rows, columns]` with a row every `stride` elements.
    pub(crate) fn strided(values: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        assert!(rows == 0 || columns == 0 || (rows - 1) * stride + columns <= values.len());
        Self { values, rows, columns, strides: (stride, 1) }
    }

    pub(crate) fn rows(self) -> usize {
        self.rows
    }

    pub(crate) fn columns(self) -> usize {
        self.columns
    }

    /// The transposed matrix, without copying.
    pub(crate) fn transposed(self) -> Self {
        Self { rows: self.columns, columns: self.rows, strides: (self.strides.1, self.strides.0), ..self }
    }
}

/// The destination of a product: rows of `columns` elements, one every `stride`.
pub(crate) struct Target {
    pointer: *mut f32,
    rows: usize,
    columns: usize,
    stride: usize,
    read: bool,
}

impl Target {
    /// Adds the product to the existing values.
    pub(crate) fn add(values: &mut [f32], rows: usize, columns: usize) -> Self {
        assert!(rows * columns <= values.len());
        Self { pointer: values.as_mut_ptr(), rows, columns, stride: columns, read: true }
    }

    /// Writes the product to uninitialized memory.
    pub(crate) fn write(values: &mut [MaybeUninit<f32>], rows: usize, columns: usize) -> Self {
        assert!(rows * columns <= values.len());
        Self { pointer: values.as_mut_ptr().cast(), rows, columns, stride: columns, read: false }
    }

    /// Replaces the existing values with the product.
    pub(crate) fn overwrite(values: &mut [f32], rows: usize, columns: usize) -> Self {
        Self { read: false, ..Self::add(values, rows, columns) }
    }

    /// Writes the product to rows that start every `stride` elements from `pointer`.
    ///
    /// # Safety
    /// While the target lives, all its elements must be writable through `pointer`, and no other code may access them.
    pub(crate) unsafe fn strided(pointer: *mut f32, rows: usize, columns: usize, stride: usize) -> Self {
        Self { pointer, rows, columns, stride, read: false }
    }
}

/// Below this many multiplications, a second thread costs more than it saves.
const ALONE: usize = 192 * 192 * 192;

/// Writes `scale · a·b` to `target`, on all threads if the product is large.
pub(crate) fn matmul(a: Matrix, b: Matrix, target: Target, scale: f32) {
    let large = a.rows * a.columns * b.columns >= ALONE;
    product(a, b, target, scale, if large { Parallelism::Rayon(0) } else { Parallelism::None });
}

/// Like [`matmul`], on the current thread.
pub(crate) fn matmul_here(a: Matrix, b: Matrix, target: Target, scale: f32) {
    product(a, b, target, scale, Parallelism::None);
}

fn product(a: Matrix, b: Matrix, target: Target, scale: f32, parallelism: Parallelism) {
    assert!(a.columns == b.rows && a.rows == target.rows && b.columns == target.columns);
    let kept = if target.read { 1.0 } else { 0.0 };
    // SAFETY: a `Matrix` and a `Target` are within their slices, and the assert above checks that the sizes match.
    unsafe {
        gemm::gemm(
            target.rows,
            target.columns,
            a.columns,
            target.pointer,
            1,
            target.stride as isize,
            target.read,
            a.values.as_ptr(),
            a.strides.1 as isize,
            a.strides.0 as isize,
            b.values.as_ptr(),
            b.strides.1 as isize,
            b.strides.0 as isize,
            kept,
            scale,
            false,
            false,
            false,
            parallelism,
        );
    }
}
