//! A program with all of `pipe` and one kind more:
//! `cargo run --release --example custom_kind -- run examples/custom_kind/pipeline.toml`.

mod balance;

use std::process::ExitCode;

use pipe::kind::Kind;

fn main() -> ExitCode {
    pipe::main(&[pipe::KINDS, &[Kind::of::<balance::Balance>()]].concat())
}
