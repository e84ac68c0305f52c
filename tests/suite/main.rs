//! One test program: every test here talks to the engine or to the binary as a user would.

mod cli;
mod collect;
mod crash;
mod damage;
mod diff;
mod disks;
mod engine;
mod escape;
mod families;
mod faults;
mod fuzz;
mod house;
mod hub;
mod inspect;
mod memory;
mod mistakes;
mod onnx;
mod plan;
mod real;
mod review;
mod saved;
mod schedule;
mod state;
mod toys;
mod trouble;
mod trust;
