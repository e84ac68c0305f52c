//! One axis of a plot: its scale and its ticks.

/// Maps values to pixels.
pub(crate) struct Axis {
    pub low: f64,
    pub high: f64,
    pub is_log: bool,
    /// Pixel positions of the ends.
    pub from: f64,
    pub to: f64,
}

impl Axis {
    /// The pixel of a value.
    pub(crate) fn place(&self, value: f64) -> f64 {
        let scale = |v: f64| if self.is_log { v.ln() } else { v };
        let share = (scale(value) - scale(self.low)) / (scale(self.high) - scale(self.low));
        self.from + share * (self.to - self.from)
    }

    /// Round values within the axis, with their labels.
    pub(crate) fn ticks(&self) -> Vec<(f64, String)> {
        let within = |v: &f64| (self.low..=self.high).contains(v);
        if self.is_log {
            let tens = (self.low.log10().floor() as i32..=self.high.log10().ceil() as i32).map(|e| (10f64.powi(e), e));
            // Use all digits if there is room.
            let digits: &[f64] = if self.high > 20.0 * self.low {
                &[1.0, 2.0, 5.0]
            } else {
                &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]
            };
            let all = tens.flat_map(|(ten, e)| digits.iter().map(move |digit| (digit * ten, e)));
            let text = |v: f64, e: i32| format!("{v:.*}", (-e).max(0) as usize);
            return all.filter(|(v, _)| within(v)).map(|(v, e)| (v, text(v, e))).collect();
        }
        // The smallest round step that gives at most about nine ticks.
        let rough = (self.high - self.low) / 9.0;
        let ten = rough.log10().floor();
        let step =
            [1.0, 2.0, 5.0, 10.0].map(|m| m * 10f64.powf(ten)).into_iter().find(|s| *s >= rough).unwrap_or(rough);
        let decimals = (-step.log10().floor()).max(0.0) as usize;
        let (first, last) = ((self.low / step).ceil() as i64, (self.high / step).floor() as i64);
        (first..=last).map(|i| i as f64 * step).map(|v| (v, format!("{v:.decimals$}"))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_labels_are_short() {
        let ticks = |low, high, is_log| -> Vec<String> {
            let axis = Axis { low, high, is_log, from: 0.0, to: 1.0 };
            axis.ticks().into_iter().map(|(_, text)| text).collect()
        };
        assert_eq!(
            ticks(0.808, 0.941, false),
            ["0.82", "0.84", "0.86", "0.88", "0.90", "0.92", "0.94"].map(String::from)[..]
        );
        assert_eq!(
            ticks(0.13, 1.06, true),
            ["0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9", "1"].map(String::from)[..]
        );
        assert_eq!(ticks(9.0, 750.0, true), ["10", "20", "50", "100", "200", "500"].map(String::from)[..]);
        assert_eq!(ticks(200.0, 460.0, false), ["200", "250", "300", "350", "400", "450"].map(String::from)[..]);
    }
}
