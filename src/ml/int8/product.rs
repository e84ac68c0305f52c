//! The product of rounded activations and a rounded weight, as f32.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::path::Path;
use super::rows::Rows;
use super::tile::{self, ROWS};
use super::weight::{GROUP, PANEL, Weight};

/// Rows of a task: with 3072 inputs they and a panel stay in a second-level cache of half a megabyte.
const TASK_ROWS: usize = 8 * ROWS;
/// Bytes of the panels that are taken together: they stay in that cache while the rows pass by.
const TOGETHER: usize = 256 << 10;
/// Tasks for each thread at least, so that none waits long for the last.
const TASKS: usize = 4;

/// `x` `[N, in]` times `w` `[in, out]` plus `bias` `[out]` → `[N, out]`.
pub fn multiply(path: Path, x: &Rows, w: &Weight, bias: &[f32]) -> Vec<f32> {
    let outputs = w.outputs();
    assert!(bias.len() == outputs && x.inputs() == w.inputs(), "{} × {} with {}", w.inputs(), outputs, x.inputs());
    let mut bias = bias.to_vec();
    bias.resize(w.panels() * PANEL, 0.0);
    let mut y = Vec::with_capacity(x.len() * outputs);
    // Few rows are no work for several threads unless the columns are shared out too.
    let bands = x.len().div_ceil(TASK_ROWS).max(1);
    let parts = (TASKS * rayon::current_num_threads()).div_ceil(bands).clamp(1, w.panels().max(1));
    let share = w.panels().div_ceil(parts);
    let together = (TOGETHER / (w.steps() * GROUP * PANEL).max(1)).max(1);
    let out = Output { start: y.spare_capacity_mut().as_mut_ptr(), rows: x.len(), width: outputs };
    (0..bands * parts).into_par_iter().for_each(|task| {
        let (rows, panels) = (task / parts * TASK_ROWS, task % parts * share);
        let end = w.panels().min(panels + share);
        for panels in (panels..end).step_by(together) {
            for first in (rows..x.len().min(rows + TASK_ROWS)).step_by(ROWS) {
                let a = x.some(first, ROWS);
                for panel in panels..end.min(panels + together) {
                    // SAFETY: the rows from `first` on of this panel are this task's alone.
                    let mut tile: [_; ROWS] = std::array::from_fn(|row| unsafe { out.part(first + row, panel) });
                    tile::multiply(path, a, w.panel(panel, &bias), &mut tile[..a.scales.len()]);
                }
            }
        }
    });
    // SAFETY: the tasks wrote every row of every panel.
    unsafe { y.set_len(x.len() * outputs) };
    y
}

/// The result, which tasks write in parts.
struct Output {
    start: *mut MaybeUninit<f32>,
    rows: usize,
    width: usize,
}

// SAFETY: the parts that tasks write do not overlap.
unsafe impl Sync for Output {}

impl Output {
    /// The columns of a panel in a row; empty beyond the last row.
    ///
    /// # Safety
    /// Nobody else has this part.
    #[allow(clippy::mut_from_ref, reason = "the caller has the part to itself")]
    unsafe fn part(&self, row: usize, panel: usize) -> &mut [MaybeUninit<f32>] {
        if row >= self.rows {
            return &mut [];
        }
        let column = panel * PANEL;
        // SAFETY: the row and the columns are within the result.
        unsafe {
            std::slice::from_raw_parts_mut(self.start.add(row * self.width + column), PANEL.min(self.width - column))
        }
    }
}
