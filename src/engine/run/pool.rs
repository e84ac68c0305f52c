//! The slots of one process, shared by the schedule of a run and those of its stages' trials.

use std::sync::mpsc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::slots::{Amounts, Key, Slots, Ticket};
use crate::contract::needs::Machine;

/// How often a schedule that waits for others looks whether the run was stopped.
pub(crate) const LOOK: Duration = Duration::from_millis(100);

type Bell = Box<dyn Fn() + Send>;

pub(crate) struct Pool(Mutex<Shared>);

struct Shared {
    slots: Slots,
    /// Wakes each schedule.
    bells: Vec<(usize, Bell)>,
    /// The number of desks so far.
    desks: usize,
}

/// The access of one schedule. Dropping it withdraws its queued tickets.
pub(crate) struct Desk<'a> {
    pool: &'a Pool,
    run: usize,
}

impl Pool {
    pub(crate) fn new(machine: &Machine) -> Self {
        Self(Mutex::new(Shared { slots: Slots::new(machine), bells: Vec::new(), desks: 0 }))
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn desk(&self) -> Desk<'_> {
        let mut shared = self.lock();
        shared.desks += 1;
        Desk { pool: self, run: shared.desks }
    }

    /// Let others use what a running instance occupies while `work` runs, then wait until it gets that again. It is
    /// the next in line; it goes on without if the run is stopped.
    pub(crate) fn lend<T>(&self, key: Key, stopped: &dyn Fn() -> bool, work: impl FnOnce() -> T) -> T {
        let ticket = self.lock().slots.give_back(key);
        // Also the instance's own schedule: it waits for other stages.
        self.lock().ring(None);
        let result = work();
        let Some(Ticket { amounts, group, .. }) = ticket else { return result };
        let desk = self.desk();
        let (send, receive) = mpsc::channel();
        desk.listen(move || {
            let _ = send.send(());
        });
        desk.push(key.at, amounts, group, f64::INFINITY);
        while !stopped() {
            if desk.take(|_| true).is_some() {
                self.lock().slots.rename(Key { run: desk.run, ..key }, key);
                break;
            }
            let _ = receive.recv_timeout(LOOK);
        }
        result
    }
}

impl Shared {
    fn give_back(&mut self, key: Key) -> Option<Ticket> {
        let ticket = self.slots.give_back(key);
        self.ring(Some(key.run));
        ticket
    }

    /// Wake all schedules, except one that is awake.
    fn ring(&self, but: Option<usize>) {
        self.bells.iter().filter(|(run, _)| Some(*run) != but).for_each(|(_, bell)| bell());
    }
}

impl Desk<'_> {
    pub(crate) fn run(&self) -> usize {
        self.run
    }

    /// `bell` is called when what others occupied is free.
    pub(crate) fn listen(&self, bell: impl Fn() + Send + 'static) {
        self.pool.lock().bells.push((self.run, Box::new(bell)));
    }

    pub(crate) fn push(&self, at: usize, amounts: Amounts, group: Option<String>, urgency: f64) {
        self.pool.lock().slots.push(Ticket { key: Key { run: self.run, at }, amounts, group, urgency });
    }

    /// The most urgent queued instance that may start; tickets that `holds` rejects are dropped.
    pub(crate) fn take(&self, holds: impl Fn(usize) -> bool) -> Option<usize> {
        self.pool.lock().slots.take(self.run, holds)
    }

    pub(crate) fn give_back(&self, at: usize) {
        self.pool.lock().give_back(Key { run: self.run, at });
    }

    /// Drop all queued tickets: nothing more will start.
    pub(crate) fn withdraw(&self) {
        let mut shared = self.pool.lock();
        // Two schedules that end would otherwise wake each other for ever.
        if shared.slots.withdraw(self.run) {
            shared.ring(Some(self.run));
        }
    }
}

impl Drop for Desk<'_> {
    fn drop(&mut self) {
        self.withdraw();
        self.pool.lock().bells.retain(|(run, _)| *run != self.run);
    }
}
