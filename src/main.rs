//! The `pipe` program, with the built-in kinds.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: pipe::Allocator = pipe::Allocator;

fn main() -> ExitCode {
    pipe::main(pipe::KINDS)
}
