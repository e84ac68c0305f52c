//! The tests of the engine alone: toy kinds in a temporary project, no machine learning, no program.

mod ahead;
mod archive;
mod damage;
mod disks;
mod engine;
mod escape;
mod executor;
mod faults;
mod fuzz;
mod log;
mod memory;
mod plan;
mod ports;
mod repeat;
mod resources;
mod schedule;
mod shelf;
mod state;
mod subruns;
mod toys;
mod trouble;
mod wide;
