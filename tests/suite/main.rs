//! One test program: every test here talks to the engine or to the binary as a user would.

mod cli;
mod engine;
mod fuzz;
mod house;
mod memory;
mod mistakes;
mod real;
mod toys;
