//! Products of matrices in slices.

use std::mem::MaybeUninit;

use gemm::Parallelism;

/// A matrix in a slice: element `(i, j)` is at `i · strides.0 + j · strides.1`.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    strides: (usize, usize),
}

impl<'a> Matrix<'a> {
    /// `[rows, columns]` in row-major order.
    pub fn new(values: &'a [f32], rows: usize, columns: usize) -> Self {
        Self::strided(values, rows, columns, columns)
    }

    /// The same, where a row begins every `stride` elements.
    pub fn strided(values: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        assert!(rows == 0 || columns == 0 || (rows - 1) * stride + columns <= values.len());
        Self { values, rows, columns, strides: (stride, 1) }
    }

    pub fn rows(self) -> usize {
        self.rows
    }

    pub fn columns(self) -> usize {
        self.columns
    }

    /// Rows for columns.
    pub fn transposed(self) -> Self {
        Self { rows: self.columns, columns: self.rows, strides: (self.strides.1, self.strides.0), ..self }
    }
}

/// Where a product goes: rows of `columns` elements, one every `stride`.
pub struct Target {
    pointer: *mut f32,
    rows: usize,
    columns: usize,
    stride: usize,
    read: bool,
}

impl Target {
    /// The product is added to what is there.
    pub fn add(values: &mut [f32], rows: usize, columns: usize) -> Self {
        assert!(rows * columns <= values.len());
        Self { pointer: values.as_mut_ptr(), rows, columns, stride: columns, read: true }
    }

    /// What is there is not read.
    pub fn write(values: &mut [MaybeUninit<f32>], rows: usize, columns: usize) -> Self {
        assert!(rows * columns <= values.len());
        Self { pointer: values.as_mut_ptr().cast(), rows, columns, stride: columns, read: false }
    }

    /// What is there is not read, and replaced.
    pub fn overwrite(values: &mut [f32], rows: usize, columns: usize) -> Self {
        Self { read: false, ..Self::add(values, rows, columns) }
    }

    /// The same, where a row begins every `stride` elements behind `pointer`.
    ///
    /// # Safety
    /// All those elements must be writable through `pointer` for as long as the target lives, and nobody else may touch them.
    pub unsafe fn strided(pointer: *mut f32, rows: usize, columns: usize, stride: usize) -> Self {
        Self { pointer, rows, columns, stride, read: false }
    }
}

/// Below this many multiplications a second thread costs more than it brings.
const ALONE: usize = 192 * 192 * 192;

/// `target = scale · a·b`, on all threads where it is large.
pub fn matmul(a: Matrix, b: Matrix, target: Target, scale: f32) {
    let large = a.rows * a.columns * b.columns >= ALONE;
    product(a, b, target, scale, if large { Parallelism::Rayon(0) } else { Parallelism::None });
}

/// The same on this thread.
pub fn matmul_here(a: Matrix, b: Matrix, target: Target, scale: f32) {
    product(a, b, target, scale, Parallelism::None);
}

fn product(a: Matrix, b: Matrix, target: Target, scale: f32, parallelism: Parallelism) {
    assert!(a.columns == b.rows && a.rows == target.rows && b.columns == target.columns);
    let kept = if target.read { 1.0 } else { 0.0 };
    // SAFETY: a `Matrix` and a `Target` lie within their slices, and their sizes fit each other.
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
