//! One test program: every test uses the engine or the binary as a user would.

mod adopted;
mod archive;
mod augment;
mod chains;
mod circles;
mod cli;
mod collect;
mod compare;
mod crash;
mod custom;
mod decide;
mod diff;
#[path = "../engine/disks.rs"]
#[expect(dead_code, reason = "the tests of the engine use the rest")]
mod disks;
mod docs;
mod errors;
mod explore;
mod families;
mod fuzz;
mod house;
mod hub;
mod inputs;
mod inspect;
mod labels;
mod links;
#[path = "../engine/memory.rs"]
mod memory;
mod mistakes;
mod onnx;
mod pairs;
mod processes;
mod project;
mod prune;
mod quantize;
mod real;
mod review;
mod rooms;
mod saved;
mod search;
mod skew;
#[path = "../engine/state.rs"]
mod state;
mod structured;
mod tokenizers;
mod tour;
#[path = "../engine/toys.rs"]
#[expect(dead_code, reason = "the tests of the engine use the rest")]
mod toys;
mod training;
#[path = "../engine/trouble.rs"]
mod trouble;
mod trust;
#[path = "../engine/wide.rs"]
mod wide;
