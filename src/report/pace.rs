//! Estimates how long a running stage still takes.

use std::time::{Duration, Instant};

use pipe_engine::contract::progress::Progress;

/// The speed of one phase of a stage: a new unit, a new total or a step back starts a new phase.
#[derive(Debug)]
pub struct Pace {
    unit: String,
    total: u64,
    first: (Instant, u64),
    last: (Instant, u64),
}

impl Pace {
    pub fn new(progress: &Progress, now: Instant) -> Self {
        let here = (now, progress.done);
        Self { unit: progress.unit.clone(), total: progress.total, first: here, last: here }
    }

    pub fn update(&mut self, progress: &Progress, now: Instant) {
        if progress.unit != self.unit || progress.total != self.total || progress.done < self.last.1 {
            *self = Self::new(progress, now);
        } else {
            self.last = (now, progress.done);
        }
    }

    /// Seconds left, once they can be estimated. The estimate is the mean since the phase began, so that an evaluation
    /// between two epochs does not make it jump.
    pub fn left(&self, now: Instant) -> Option<f64> {
        let spent = self.last.0 - self.first.0;
        let did = self.last.1 - self.first.1;
        // An estimate from less than a second would be a guess.
        if self.total == 0 || did == 0 || spent < Duration::from_secs(1) {
            return None;
        }
        let rest = self.total.saturating_sub(self.last.1) as f64 * spent.as_secs_f64() / did as f64;
        Some((rest - (now - self.last.0).as_secs_f64()).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(done: u64, total: u64) -> Progress {
        Progress { done, total, unit: "step".into(), ..Progress::default() }
    }

    #[test]
    fn a_resumed_stage_is_timed_from_where_it_resumed() {
        let start = Instant::now();
        let at = |s: u64| start + Duration::from_secs(s);
        let mut pace = Pace::new(&steps(500, 1000), at(0));
        assert_eq!(pace.left(at(0)), None);
        pace.update(&steps(600, 1000), at(10));
        assert_eq!(pace.left(at(10)), Some(40.0));
        assert_eq!(pace.left(at(15)), Some(35.0));
        assert_eq!(pace.left(at(99)), Some(0.0));
    }

    #[test]
    fn another_phase_starts_over() {
        let start = Instant::now();
        let at = |s: u64| start + Duration::from_secs(s);
        let mut pace = Pace::new(&steps(0, 100), at(0));
        pace.update(&steps(50, 100), at(10));
        pace.update(&steps(0, 40), at(12));
        assert_eq!(pace.left(at(12)), None);
        pace.update(&steps(20, 40), at(16));
        assert_eq!(pace.left(at(16)), Some(4.0));
        pace.update(&steps(20, 0), at(20));
        assert_eq!(pace.left(at(30)), None);
    }
}
