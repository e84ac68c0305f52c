//! Forwards the reports of `ml` to a stage's context.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::Result;

use pipe_engine::contract::context::{Context, Interrupted};
use pipe_engine::contract::{measured, progress};
use pipe_ml::watch;
use pipe_ml::watch::{Measured, Progress, Watch};

/// The shortest time between two progress events: faster updates are unreadable.
const INTERVAL: Duration = Duration::from_millis(100);

pub struct Watched<'a, 'b> {
    context: &'a Context<'b>,
    last: Mutex<Option<Instant>>,
}

impl<'a, 'b> Watched<'a, 'b> {
    pub fn new(context: &'a Context<'b>) -> Self {
        Self { context, last: Mutex::new(None) }
    }
}

impl Watch for Watched<'_, '_> {
    fn progress(&self, p: Progress) {
        // Contended only if another thread is reporting newer progress.
        let Ok(mut last) = self.last.try_lock() else { return };
        if last.is_some_and(|last| last.elapsed() < INTERVAL) && p.done != p.total {
            return;
        }
        *last = Some(Instant::now());
        let unit = p.unit.to_string();
        self.context.progress(progress::Progress {
            done: p.done,
            total: p.total,
            unit,
            epoch: p.epoch,
            loss: p.loss,
            learning_rate: p.lr,
            rate: p.rate,
            padding: p.padding,
        });
    }

    fn measured(&self, m: Measured) {
        self.context.measured(measured::Measured {
            step: m.step,
            total: m.total,
            epoch: Some(m.epoch),
            epochs: Some(m.epochs),
            every: m.every,
            values: m.values.into_iter().collect(),
            metric: Some(m.metric.into()),
            best: m.best,
            kept: m.kept.map(|kept| measured::Kept { step: kept.step, epoch: kept.epoch, value: kept.value }),
            stale: m.stale,
            patience: m.patience,
        });
    }

    fn note(&self, text: String) {
        self.context.note(text);
    }

    fn warn(&self, text: String) {
        self.context.warn(text);
    }

    fn stopped(&self) -> bool {
        self.context.stopped()
    }
}

/// Translate `ml`'s interruption into the engine's.
pub fn finished<T>(result: Result<T>) -> Result<T> {
    result.map_err(|e| if e.is::<watch::Interrupted>() { Interrupted.into() } else { e })
}
