//! What the machine has for the stages of a run.

use std::num::NonZeroUsize;

use crate::stages::main_memory_bytes;
use pipe_engine::contract::needs::Machine;
use pipe_engine::declare::resolve::Pipeline;

/// Each stage uses all cores: running more of them at a time mainly costs memory.
const MOST_JOBS: usize = 4;

/// The machine with the slots of `--jobs`. By default there are more than `MOST_JOBS` only if a stage needs them and the
/// machine has the cores.
pub fn machine(pipeline: &Pipeline, jobs: Option<NonZeroUsize>, gpus: usize) -> Machine {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let most = pipeline.instances.iter().map(|i| i.needs.cpus).max().unwrap_or(1);
    let cpus = jobs.map_or_else(|| cores.min(most.max(MOST_JOBS)), NonZeroUsize::get);
    Machine { cpus, memory: main_memory_bytes(), gpus }
}
