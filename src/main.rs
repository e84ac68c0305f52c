//! The `pipe` program: parse the arguments, run the command, return its exit code.

use std::process::ExitCode;

use pipe::cli::{self, Build};
use pipe::stages::{self, KINDS, ORIGINS};
use pipe_ml::compute::allocator::{self, Allocator};

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    allocator::hold_freed_memory();
    cli::main(Build { kinds: KINDS, origins: ORIGINS, gpus: stages::gpus })
}
