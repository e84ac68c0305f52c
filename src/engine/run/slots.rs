//! Slots: what running stages occupy, and which queued stages may start.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};

use crate::contract::needs::{Machine, Needs};

/// An instance of one of the schedules that share the slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) run: usize,
    pub(crate) at: usize,
}

/// What a stage occupies in this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Amounts {
    gpus: usize,
    cpus: usize,
    memory: u64,
}

impl Amounts {
    pub(crate) fn of(needs: Needs, machine: &Machine) -> Self {
        let Needs { cpus, memory, gpus, .. } = machine.taken_by(needs);
        Self { gpus, cpus, memory }
    }

    fn fits(&self, free: &Self) -> bool {
        self.gpus <= free.gpus && self.cpus <= free.cpus && self.memory <= free.memory
    }

    fn without(&self, taken: &Self) -> Self {
        Self {
            gpus: self.gpus.saturating_sub(taken.gpus),
            cpus: self.cpus.saturating_sub(taken.cpus),
            memory: self.memory.saturating_sub(taken.memory),
        }
    }
}

/// A queued instance.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ticket {
    pub(crate) key: Key,
    pub(crate) amounts: Amounts,
    /// Stages of one group never run at the same time.
    pub(crate) group: Option<String>,
    /// Seconds to the end of the longest chain that starts here.
    pub(crate) urgency: f64,
}

impl Eq for Ticket {}

impl Ord for Ticket {
    /// The most urgent ticket is the greatest; ties go to the first in the file.
    fn cmp(&self, other: &Self) -> Ordering {
        self.urgency.total_cmp(&other.urgency).then_with(|| Reverse(self.key).cmp(&Reverse(other.key)))
    }
}

impl PartialOrd for Ticket {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The free amounts and the queued tickets, one queue for each combination of amounts.
///
/// Tickets start in the order of their urgency, those for GPUs first. A ticket that does not fit keeps what it waits
/// for: less urgent ones start only with what is left, so that many small stages cannot overtake a large one for ever.
#[derive(Debug)]
pub(crate) struct Slots {
    free: Amounts,
    waiting: BTreeMap<Amounts, BinaryHeap<Ticket>>,
    held: HashSet<String>,
    /// Tickets whose group was held by a running stage.
    parked: HashMap<String, Vec<Ticket>>,
    running: HashMap<Key, Ticket>,
}

impl Slots {
    pub(crate) fn new(machine: &Machine) -> Self {
        let Machine { cpus, memory, gpus } = *machine;
        Self {
            free: Amounts { gpus, cpus, memory: memory.unwrap_or(u64::MAX) },
            waiting: BTreeMap::new(),
            held: HashSet::new(),
            parked: HashMap::new(),
            running: HashMap::new(),
        }
    }

    pub(crate) fn push(&mut self, ticket: Ticket) {
        self.waiting.entry(ticket.amounts).or_default().push(ticket);
    }

    /// The most urgent instance of a run that gets its amounts and whose group is free. Tickets of the run that `holds`
    /// rejects are dropped; what more urgent tickets of other runs could take stays for them.
    pub(crate) fn take(&mut self, run: usize, holds: impl Fn(usize) -> bool) -> Option<usize> {
        let mut left = self.free;
        let mut closed: HashSet<Key> = HashSet::new();
        let mut others: Vec<Ticket> = Vec::new();
        let mut taken = None;
        while let Some(ticket) = self.most_urgent(&closed) {
            let (key, amounts) = (ticket.key, ticket.amounts);
            if key.run == run && !holds(key.at) {
                continue;
            }
            if let Some(group) = &ticket.group
                && self.held.contains(group)
            {
                self.parked.entry(group.clone()).or_default().push(ticket);
                continue;
            }
            if !amounts.fits(&left) {
                // While it waits for a GPU, others may use the processors.
                let waits_for_gpu = amounts.gpus > left.gpus;
                let kept = if waits_for_gpu { Amounts { gpus: amounts.gpus, cpus: 0, memory: 0 } } else { amounts };
                left = left.without(&kept);
                // The rest of its queue needs the same and does not fit either.
                closed.insert(key);
                self.push(ticket);
                continue;
            }
            if key.run != run {
                left = left.without(&amounts);
                others.push(ticket);
                continue;
            }
            self.free = self.free.without(&amounts);
            self.held.extend(ticket.group.clone());
            self.running.insert(key, ticket);
            taken = Some(key.at);
            break;
        }
        others.into_iter().for_each(|ticket| self.push(ticket));
        taken
    }

    /// Take the most urgent ticket out of the queues whose first ticket is not `closed`.
    fn most_urgent(&mut self, closed: &HashSet<Key>) -> Option<Ticket> {
        let open = self.waiting.values_mut().filter(|queue| queue.peek().is_some_and(|t| !closed.contains(&t.key)));
        let first = open.max_by(|a, b| match (a.peek(), b.peek()) {
            (Some(a), Some(b)) => (a.amounts.gpus > 0).cmp(&(b.amounts.gpus > 0)).then_with(|| a.cmp(b)),
            (a, b) => a.is_some().cmp(&b.is_some()),
        });
        first?.pop()
    }

    /// Free what an instance occupied; its ticket, if it ran.
    pub(crate) fn give_back(&mut self, key: Key) -> Option<Ticket> {
        let ticket = self.running.remove(&key)?;
        let Amounts { gpus, cpus, memory } = ticket.amounts;
        self.free.gpus += gpus;
        self.free.cpus += cpus;
        self.free.memory = self.free.memory.saturating_add(memory);
        if let Some(group) = &ticket.group {
            self.held.remove(group);
            self.parked.remove(group).into_iter().flatten().for_each(|ticket| self.push(ticket));
        }
        Some(ticket)
    }

    /// Let a running ticket belong to another instance.
    pub(crate) fn rename(&mut self, from: Key, to: Key) {
        if let Some(ticket) = self.running.remove(&from) {
            self.running.insert(to, Ticket { key: to, ..ticket });
        }
    }

    /// Drop the queued tickets of a run; whether there were any.
    pub(crate) fn withdraw(&mut self, run: usize) -> bool {
        let count = |slots: &Self| {
            slots.waiting.values().map(BinaryHeap::len).sum::<usize>()
                + slots.parked.values().map(Vec::len).sum::<usize>()
        };
        let before = count(self);
        self.waiting.values_mut().for_each(|queue| queue.retain(|ticket| ticket.key.run != run));
        self.parked.values_mut().for_each(|all| all.retain(|ticket| ticket.key.run != run));
        count(self) < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(cpus: usize, gpus: usize) -> Slots {
        Slots::new(&Machine { cpus, memory: Some(100), gpus })
    }

    fn sized(at: usize, cpus: usize, gpus: usize, urgency: f64) -> Ticket {
        Ticket { key: Key { run: 0, at }, amounts: Amounts { gpus, cpus, memory: 0 }, group: None, urgency }
    }

    fn cpu(at: usize, urgency: f64) -> Ticket {
        sized(at, 1, 0, urgency)
    }

    impl Slots {
        fn next(&mut self) -> Option<usize> {
            self.take(0, |_| true)
        }

        fn end(&mut self, at: usize) {
            self.give_back(Key { run: 0, at });
        }
    }

    #[test]
    fn the_most_urgent_goes_first_and_of_equals_the_first() {
        let mut slots = slots(1, 0);
        [(3, 1.0), (1, 1.0), (2, 5.0)].into_iter().for_each(|(at, u)| slots.push(cpu(at, u)));
        let order: Vec<usize> = std::iter::from_fn(|| {
            let at = slots.next()?;
            assert_eq!(slots.next(), None, "there is one slot");
            slots.end(at);
            Some(at)
        })
        .collect();
        assert_eq!(order, [2, 1, 3]);
    }

    #[test]
    fn a_gpu_stage_never_waits_behind_cpu_stages_nor_the_reverse() {
        let mut slots = slots(1, 1);
        slots.push(cpu(0, 9.0));
        slots.push(cpu(1, 8.0));
        slots.push(sized(2, 0, 1, 1.0));
        slots.push(sized(3, 0, 1, 0.5));
        assert_eq!((slots.next(), slots.next(), slots.next()), (Some(2), Some(0), None));
        slots.end(2);
        assert_eq!((slots.next(), slots.next()), (Some(3), None));
        slots.end(0);
        assert_eq!(slots.next(), Some(1));
    }

    #[test]
    fn a_group_runs_one_at_a_time_and_leaves_the_slots_to_others() {
        let mut slots = slots(3, 0);
        let grouped = |at, urgency| Ticket { group: Some("disk".into()), ..cpu(at, urgency) };
        slots.push(grouped(0, 9.0));
        slots.push(grouped(1, 8.0));
        slots.push(grouped(2, 7.0));
        slots.push(cpu(3, 1.0));
        assert_eq!((slots.next(), slots.next(), slots.next()), (Some(0), Some(3), None));
        slots.end(0);
        assert_eq!((slots.next(), slots.next()), (Some(1), None));
        // A ticket whose instance went back to waiting is dropped.
        slots.end(1);
        assert_eq!(slots.take(0, |at| at != 2), None);
    }

    #[test]
    fn amounts_add_up_to_what_there_is() {
        let mut slots = slots(8, 0);
        let heavy = |at| Ticket { amounts: Amounts { gpus: 0, cpus: 1, memory: 60 }, ..cpu(at, 5.0) };
        slots.push(heavy(0));
        slots.push(heavy(1));
        slots.push(Ticket { amounts: Amounts { gpus: 0, cpus: 1, memory: 40 }, ..cpu(2, 9.0) });
        assert_eq!((slots.next(), slots.next(), slots.next()), (Some(2), Some(0), None), "60 + 40 fill the memory");
        slots.push(cpu(3, 1.0));
        assert_eq!(slots.next(), Some(3), "processors are left");
        slots.end(0);
        assert_eq!(slots.next(), Some(1));
    }

    #[test]
    fn small_stages_do_not_overtake_a_large_one_for_ever() {
        let mut slots = slots(4, 0);
        slots.push(cpu(0, 1.0));
        assert_eq!(slots.next(), Some(0));
        slots.push(sized(1, 4, 0, 3.0));
        // Small ones keep coming; while the large one waits, none starts.
        for at in 10..20 {
            slots.push(cpu(at, 2.0));
            assert_eq!(slots.next(), None);
        }
        slots.end(0);
        assert_eq!((slots.next(), slots.next()), (Some(1), None));
        slots.end(1);
        assert_eq!(slots.next(), Some(10));
    }

    #[test]
    fn who_waits_for_a_gpu_keeps_no_processors_from_others() {
        let mut slots = slots(2, 1);
        slots.push(sized(0, 0, 1, 9.0));
        assert_eq!(slots.next(), Some(0));
        slots.push(sized(1, 2, 1, 8.0));
        slots.push(cpu(2, 1.0));
        slots.push(cpu(3, 1.0));
        assert_eq!((slots.next(), slots.next()), (Some(2), Some(3)));
        // The GPU is free again: now it waits for processors, and the GPU is kept for it.
        slots.end(0);
        slots.push(sized(4, 0, 1, 1.0));
        slots.push(cpu(5, 1.0));
        slots.end(2);
        assert_eq!(slots.next(), None);
        slots.end(3);
        assert_eq!((slots.next(), slots.next()), (Some(1), None));
    }

    #[test]
    fn a_run_leaves_to_others_what_is_more_urgent_there() {
        let mut slots = slots(2, 0);
        let other = |at, urgency| Ticket { key: Key { run: 1, at }, ..cpu(at, urgency) };
        slots.push(other(0, 9.0));
        slots.push(cpu(0, 5.0));
        slots.push(cpu(1, 4.0));
        assert_eq!((slots.next(), slots.next()), (Some(0), None), "one slot is for the other run");
        assert_eq!((slots.take(1, |_| true), slots.take(1, |_| true)), (Some(0), None));
    }
}
