//! Slots: what running stages occupy, and which queued stages may start.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashMap, HashSet};

/// What a stage occupies in this run: without GPUs, every stage is `Cpu`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    Cpu,
    Gpu,
}

/// A queued instance.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ticket {
    pub(crate) at: usize,
    pub(crate) lane: Lane,
    /// Stages of one group never run at the same time.
    pub(crate) group: Option<String>,
    /// Seconds to the end of the longest chain that starts here.
    pub(crate) urgency: f64,
}

impl Eq for Ticket {}

impl Ord for Ticket {
    /// The most urgent ticket is the greatest; ties go to the first in the file.
    fn cmp(&self, other: &Self) -> Ordering {
        self.urgency.total_cmp(&other.urgency).then_with(|| Reverse(self.at).cmp(&Reverse(other.at)))
    }
}

impl PartialOrd for Ticket {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[derive(Debug)]
struct Queue {
    free: usize,
    waiting: BinaryHeap<Ticket>,
}

/// One queue per lane: GPU stages never wait behind CPU stages, nor CPU stages behind GPU stages.
#[derive(Debug)]
pub(crate) struct Slots {
    cpu: Queue,
    gpu: Queue,
    held: HashSet<String>,
    /// Tickets whose group was held by a running stage.
    parked: HashMap<String, Vec<Ticket>>,
    running: HashMap<usize, Ticket>,
}

impl Slots {
    pub(crate) fn new(cpu: usize, gpu: usize) -> Self {
        let queue = |free| Queue { free, waiting: BinaryHeap::new() };
        Self { cpu: queue(cpu), gpu: queue(gpu), held: HashSet::new(), parked: HashMap::new(), running: HashMap::new() }
    }

    fn queue(&mut self, lane: Lane) -> &mut Queue {
        match lane {
            Lane::Cpu => &mut self.cpu,
            Lane::Gpu => &mut self.gpu,
        }
    }

    pub(crate) fn push(&mut self, ticket: Ticket) {
        self.queue(ticket.lane).waiting.push(ticket);
    }

    /// The most urgent instance that gets a slot and whose group is free; tickets that `holds` rejects are dropped.
    pub(crate) fn take(&mut self, holds: impl Fn(usize) -> bool) -> Option<usize> {
        for lane in [Lane::Gpu, Lane::Cpu] {
            while self.queue(lane).free > 0 {
                let Some(ticket) = self.queue(lane).waiting.pop() else { break };
                if !holds(ticket.at) {
                    continue;
                }
                if let Some(group) = &ticket.group
                    && !self.held.insert(group.clone())
                {
                    self.parked.entry(group.clone()).or_default().push(ticket);
                    continue;
                }
                self.queue(lane).free -= 1;
                let at = ticket.at;
                self.running.insert(at, ticket);
                return Some(at);
            }
        }
        None
    }

    /// Free what an instance occupied.
    pub(crate) fn give_back(&mut self, at: usize) {
        let Some(Ticket { lane, group, .. }) = self.running.remove(&at) else { return };
        self.queue(lane).free += 1;
        if let Some(group) = group {
            self.held.remove(&group);
            self.parked.remove(&group).into_iter().flatten().for_each(|ticket| self.push(ticket));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(at: usize, lane: Lane, urgency: f64) -> Ticket {
        Ticket { at, lane, group: None, urgency }
    }

    #[test]
    fn the_most_urgent_goes_first_and_of_equals_the_first() {
        let mut slots = Slots::new(1, 0);
        [(3, 1.0), (1, 1.0), (2, 5.0)].into_iter().for_each(|(at, u)| slots.push(ticket(at, Lane::Cpu, u)));
        let order: Vec<usize> = std::iter::from_fn(|| {
            let at = slots.take(|_| true)?;
            assert_eq!(slots.take(|_| true), None, "there is one slot");
            slots.give_back(at);
            Some(at)
        })
        .collect();
        assert_eq!(order, [2, 1, 3]);
    }

    #[test]
    fn a_gpu_stage_never_waits_behind_cpu_stages_nor_the_reverse() {
        let mut slots = Slots::new(1, 1);
        slots.push(ticket(0, Lane::Cpu, 9.0));
        slots.push(ticket(1, Lane::Cpu, 8.0));
        slots.push(ticket(2, Lane::Gpu, 1.0));
        slots.push(ticket(3, Lane::Gpu, 0.5));
        assert_eq!((slots.take(|_| true), slots.take(|_| true), slots.take(|_| true)), (Some(2), Some(0), None));
        slots.give_back(2);
        assert_eq!((slots.take(|_| true), slots.take(|_| true)), (Some(3), None));
        slots.give_back(0);
        assert_eq!(slots.take(|_| true), Some(1));
    }

    #[test]
    fn a_group_runs_one_at_a_time_and_leaves_the_slots_to_others() {
        let mut slots = Slots::new(3, 0);
        let grouped = |at, urgency| Ticket { group: Some("disk".into()), ..ticket(at, Lane::Cpu, urgency) };
        slots.push(grouped(0, 9.0));
        slots.push(grouped(1, 8.0));
        slots.push(grouped(2, 7.0));
        slots.push(ticket(3, Lane::Cpu, 1.0));
        assert_eq!((slots.take(|_| true), slots.take(|_| true), slots.take(|_| true)), (Some(0), Some(3), None));
        slots.give_back(0);
        assert_eq!((slots.take(|_| true), slots.take(|_| true)), (Some(1), None));
        // A ticket whose instance went back to waiting is dropped.
        slots.give_back(1);
        assert_eq!(slots.take(|at| at != 2), None);
    }
}
