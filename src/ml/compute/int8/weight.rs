//! A weight matrix as integers, packed in the order in which the kernels read it.

use super::tile::{GROUP, PANEL, Panel};

/// With more inputs, a 32-bit sum of products of 255 and 127 could overflow.
pub(crate) const MOST_INPUTS: usize = 1 << 16;

/// `W` `[out, in]` ≈ `scale[o] · q[o, i]`, symmetric per output channel.
///
/// The layout: panels of [`PANEL`] outputs, each from its first input to its last in steps of [`GROUP`]. A step holds the four
/// bytes of the first output, then those of the second, and so on. Zeros pad the last panel and the last step.
#[derive(Debug, Clone)]
pub struct Weight {
    outputs: usize,
    inputs: usize,
    panels: Vec<i8>,
    /// `[out]`, padded with zeros to whole panels.
    scales: Vec<f32>,
    /// `Σᵢ q[o, i]`, the factor of the activations' zero point; padded like `scales`.
    sums: Vec<i32>,
}

impl Weight {
    /// Packs integers `[out, in]` within ±127, with one scale for each output.
    pub fn pack(integers: &[i8], scales: &[f32], inputs: usize) -> Self {
        let outputs = scales.len();
        assert!(integers.len() == outputs * inputs && inputs <= MOST_INPUTS, "{outputs} × {inputs}");
        let steps = inputs.div_ceil(GROUP);
        let width = outputs.next_multiple_of(PANEL);
        let mut panels = vec![0i8; width * steps * GROUP];
        let mut sums = vec![0i32; width];
        for (output, row) in integers.chunks_exact(inputs.max(1)).enumerate() {
            let panel = output / PANEL * (PANEL * steps * GROUP);
            for (step, group) in row.chunks(GROUP).enumerate() {
                let at = panel + step * PANEL * GROUP + output % PANEL * GROUP;
                panels[at..at + group.len()].copy_from_slice(group);
            }
            sums[output] = row.iter().map(|q| i32::from(*q)).sum();
        }
        let mut filled = scales.to_vec();
        filled.resize(width, 0.0);
        Weight { outputs, inputs, panels, scales: filled, sums }
    }

    /// The dequantized weights `[in, out]`.
    pub fn to_floats(&self) -> Vec<f32> {
        let mut floats = vec![0f32; self.inputs * self.outputs];
        for (panel, bytes) in self.panels.chunks_exact((self.steps() * PANEL * GROUP).max(1)).enumerate() {
            for (at, q) in bytes.iter().enumerate() {
                let (input, output) = (at / (PANEL * GROUP) * GROUP + at % GROUP, panel * PANEL + at / GROUP % PANEL);
                if input < self.inputs && output < self.outputs {
                    floats[input * self.outputs + output] = f32::from(*q) * self.scales[output];
                }
            }
        }
        floats
    }

    /// How many of the weights are not zero.
    pub fn non_zero(&self) -> usize {
        // The padding is zero, so it does not count.
        self.panels.iter().filter(|q| **q != 0).count()
    }

    pub fn outputs(&self) -> usize {
        self.outputs
    }

    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// The number of steps of [`GROUP`] inputs.
    pub fn steps(&self) -> usize {
        self.inputs.div_ceil(GROUP)
    }

    /// The number of panels.
    pub(super) fn panels(&self) -> usize {
        self.scales.len() / PANEL
    }

    /// A panel with `bias`, which the caller has padded like the scales.
    pub(super) fn panel<'a>(&'a self, panel: usize, bias: &'a [f32]) -> Panel<'a> {
        let size = self.steps() * PANEL * GROUP;
        Panel {
            bytes: &self.panels[panel * size..][..size],
            scales: &self.scales.as_chunks().0[panel],
            sums: &self.sums.as_chunks().0[panel],
            bias: &bias.as_chunks().0[panel],
        }
    }
}
