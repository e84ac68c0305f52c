//! Parse, run, exit code.

use std::process::ExitCode;

use pipe::cli::{self, Stock};
use pipe::stages::{self, KINDS, REMOTES};

// glibc's allocator gives a training step's big buffers back to the kernel every time; mimalloc keeps them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main(Stock { kinds: KINDS, remotes: REMOTES, gpus: stages::gpus })
}
