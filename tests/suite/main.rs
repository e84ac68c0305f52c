//! One test program: every test here talks to the engine or to the binary as a user would.

mod cli;
mod diff;
mod engine;
mod house;
mod mistakes;
mod plan;
mod real;
mod review;
mod schedule;
mod toys;
