//! Parse, run, exit code.

use std::process::ExitCode;

use pipe::cli::{self, Stock};
use pipe::stages::{self, KINDS, REMOTES};
use pipe_ml::compute::allocator::{self, Allocator};

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    allocator::hold_freed_memory();
    cli::main(Stock { kinds: KINDS, remotes: REMOTES, gpus: stages::gpus })
}
