//! One test program: every test uses the engine or the binary as a user would.

mod chains;
mod cli;
mod collect;
mod compare;
mod crash;
mod diff;
#[path = "../engine/disks.rs"]
mod disks;
mod docs;
mod families;
mod fuzz;
mod house;
mod hub;
mod inspect;
#[path = "../engine/memory.rs"]
mod memory;
mod mistakes;
mod onnx;
mod prune;
mod quantize;
mod real;
mod review;
mod saved;
#[path = "../engine/state.rs"]
mod state;
mod structured;
mod tour;
#[path = "../engine/toys.rs"]
mod toys;
mod training;
#[path = "../engine/trouble.rs"]
mod trouble;
mod trust;
