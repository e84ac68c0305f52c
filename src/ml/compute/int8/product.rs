//! Multiplies rounded activations by rounded weights; the result is f32.

use std::borrow::Cow;
use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::path::Path;
use super::rows::Rows;
use super::tile;
use super::tile::{GROUP, PANEL, ROWS};
use super::weight::Weight;

/// Rows of a task. With 3072 inputs, the rows and one panel fit into an L2 cache of 512 KiB.
const TASK_ROWS: usize = 8 * ROWS;
/// Bytes of the panels that a task applies to all its rows before it takes the next panels; they stay in the L2 cache.
const TOGETHER: usize = 256 << 10;
/// Minimum number of tasks for each thread, so that no thread waits long for the last one.
const TASKS: usize = 4;

/// One of several products with the same activations.
#[derive(Clone, Copy)]
pub(crate) struct Term<'a> {
    pub weight: &'a Weight,
    /// `[out]`
    pub bias: &'a [f32],
}

/// Multiplies `x` `[N, in]` by each weight `[in, out]` and adds its bias `[out]` → `[terms · N, out]`, one term below the other.
///
/// Several `x` are parts of the same activations (high and low bytes); their products are added. All terms have the same shape.
pub(crate) fn multiply(path: Path, x: &[Rows], terms: &[Term]) -> Vec<f32> {
    let Some((first, Term { weight: shape, .. })) = x.first().zip(terms.first()) else { return Vec::new() };
    let (rows, outputs, panels) = (first.len(), shape.outputs(), shape.panels());
    for Term { weight, bias } in terms {
        let same = (weight.inputs(), weight.outputs()) == (shape.inputs(), outputs) && bias.len() == outputs;
        assert!(
            same && x.iter().all(|x| (x.len(), x.inputs()) == (rows, shape.inputs())),
            "shapes of the activations, weights or biases differ"
        );
    }
    let filled = |bias: &mut Cow<[f32]>| {
        if bias.len() < panels * PANEL {
            bias.to_mut().resize(panels * PANEL, 0.0);
        }
    };
    let mut biases: Vec<Cow<[f32]>> = terms.iter().map(|term| Cow::Borrowed(term.bias)).collect();
    biases.iter_mut().for_each(filled);
    let mut y = Vec::with_capacity(terms.len() * rows * outputs);
    // If there are few rows, divide the columns among the threads too.
    let bands = rows.div_ceil(TASK_ROWS).max(1);
    let parts = (TASKS * rayon::current_num_threads()).div_ceil(bands * terms.len()).clamp(1, panels.max(1));
    let share = panels.div_ceil(parts);
    let together = (TOGETHER / (shape.steps() * GROUP * PANEL).max(1)).max(1);
    let out = Output { start: y.spare_capacity_mut().as_mut_ptr(), width: outputs };
    (0..bands * terms.len() * parts).into_par_iter().for_each(|task| {
        // The parts of a band are consecutive tasks, so that its rows stay in one thread's cache.
        let (band, term, part) = (task / (terms.len() * parts), task / parts % terms.len(), task % parts);
        let (top, bottom, left) = (band * TASK_ROWS, rows.min((band + 1) * TASK_ROWS), part * share);
        let end = panels.min(left + share);
        for left in (left..end).step_by(together) {
            for first in (top..bottom).step_by(ROWS) {
                let count = ROWS.min(bottom - first);
                for panel in left..end.min(left + together) {
                    // SAFETY: only this task writes these rows of this panel, and they are within the result.
                    let mut tile: [_; ROWS] = std::array::from_fn(|row| match row < count {
                        true => unsafe { out.part(term * rows + first + row, panel) },
                        false => Default::default(),
                    });
                    let w = terms[term].weight.panel(panel, &biases[term]);
                    sum_of_tiles(path, x.iter().map(|x| x.some(first, ROWS)), w, &mut tile[..count]);
                }
            }
        }
    });
    // SAFETY: the tasks wrote every row of every panel.
    unsafe { y.set_len(terms.len() * rows * outputs) };
    y
}

/// The sum of the tiles of all parts of the activations.
fn sum_of_tiles<'a>(
    path: Path,
    mut parts: impl Iterator<Item = tile::Bytes<'a>>,
    w: tile::Panel,
    y: &mut [&mut [MaybeUninit<f32>]],
) {
    if let Some(part) = parts.next() {
        tile::multiply(path, part, w, y);
    }
    for part in parts {
        let mut more = [[MaybeUninit::uninit(); PANEL]; ROWS];
        let mut rows = more.each_mut().map(|row| &mut row[..]);
        tile::multiply(path, part, tile::Panel { bias: &[0.0; PANEL], ..w }, &mut rows[..y.len()]);
        for (y, more) in y.iter_mut().zip(&more) {
            for (y, more) in y.iter_mut().zip(more) {
                // SAFETY: `tile::multiply` wrote both tiles.
                unsafe { y.write(y.assume_init() + more.assume_init()) };
            }
        }
    }
}

/// The result, which tasks write concurrently in disjoint parts.
struct Output {
    start: *mut MaybeUninit<f32>,
    width: usize,
}

// SAFETY: the parts that tasks write do not overlap.
unsafe impl Sync for Output {}

impl Output {
    /// The columns of a panel in a row.
    ///
    /// # Safety
    /// The row must be within the result, and no other reference to this part of it may exist.
    #[allow(clippy::mut_from_ref, reason = "the caller holds the only reference to the part")]
    unsafe fn part(&self, row: usize, panel: usize) -> &mut [MaybeUninit<f32>] {
        let column = panel * PANEL;
        // SAFETY: the row and the columns are within the result.
        unsafe {
            std::slice::from_raw_parts_mut(self.start.add(row * self.width + column), PANEL.min(self.width - column))
        }
    }
}
