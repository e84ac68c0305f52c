//! `pipe completions`: completion scripts for shells.

use clap_complete::Shell;

use crate::cli::context::Context;
use crate::error::Error;

/// Print a completion script for a shell.
#[derive(Debug, clap::Args)]
pub struct Completions {
    /// The shell to complete for.
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    /// `command` is the program with all its commands.
    pub fn run(self, cx: &mut Context<'_>, mut command: clap::Command) -> Result<(), Error> {
        // Generate into memory: the generator panics on a closed pipe.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "pipe", &mut script);
        cx.print(&String::from_utf8_lossy(&script))
    }
}
