//! The command line: the options common to all commands, and the commands.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};

use super::commands::{
    cache, completions, diagnose, diff, graph, history, init, inspect, metrics, plan, predict, pull, push, run, schema,
    show, stage, stages, why,
};
use super::context::{Build, Context};
use crate::error::Error;
use crate::report::{Color, secret};
use crate::stages::hold_freed_memory;
use pipe_engine::contract::kind::Kind;

/// A declarative pipeline engine for fine-tuning and compressing transformer text classifiers.
///
/// A TOML file declares stages; `pipe run FILE` runs the stages that a change affects and takes all other results from
/// the cache.
#[derive(Debug, Parser)]
#[command(name = "pipe", version, infer_long_args = true, disable_help_subcommand = true)]
#[command(
    after_help = "Exit codes: 0 done, 1 a stage failed, 2 bad usage or pipeline file, 3 differences found, 130 interrupted."
)]
pub struct Args {
    /// Where results are stored [default: $PIPE_CACHE, else `cache/` in the project root].
    #[arg(long, global = true, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    /// When to use colours; `auto` respects NO_COLOR.
    #[arg(long, global = true, value_enum, default_value_t = When::Auto, value_name = "WHEN")]
    color: When,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum When {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Run),
    Plan(plan::Plan),
    Diff(diff::Diff),
    Why(why::Why),
    Show(show::Show),
    Graph(graph::Graph),
    Stage(stage::Stage),
    Stages(stages::Stages),
    Schema(schema::Schema),
    History(history::History),
    Metrics(metrics::Metrics),
    Predict(predict::Predict),
    Inspect(inspect::Inspect),
    Diagnose(diagnose::Diagnose),
    Cache(cache::Cache),
    Init(init::Init),
    Push(push::Push),
    Pull(pull::Pull),
    Completions(completions::Completions),
}

/// The whole program, with these kinds: parse the process's arguments, run the command and return its exit code.
pub fn main(kinds: &[Kind]) -> ExitCode {
    hold_freed_memory();
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let text = format!("thread '{}' {panic}\n", thread.name().unwrap_or("unnamed"));
        let trace = std::backtrace::Backtrace::capture();
        let is_wanted = trace.status() == std::backtrace::BacktraceStatus::Captured;
        let text = if is_wanted { format!("{text}{trace}\n") } else { text };
        let _ = secret::write(&mut std::io::stderr(), &text);
    }));
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(e) => {
            print(&e);
            return ExitCode::from(u8::try_from(e.exit_code()).unwrap_or(2));
        }
    };
    match args.color {
        When::Auto => anstream::ColorChoice::Auto.write_global(),
        When::Always => anstream::ColorChoice::Always.write_global(),
        When::Never => anstream::ColorChoice::Never.write_global(),
    }
    let done = Build::of(kinds).and_then(|build| args.go(build, Color::of_stdout(), &mut std::io::stdout()));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = secret::write(&mut std::io::stderr(), &error.render(Color::of_stderr()));
            ExitCode::from(error.exit_code())
        }
    }
}

/// Print help on standard output and errors on standard error; ignore a closed pipe.
fn print(error: &clap::Error) {
    let color = if error.use_stderr() { Color::of_stderr() } else { Color::of_stdout() };
    let text = match color {
        Color::Always => error.render().ansi().to_string(),
        Color::Never => error.render().to_string(),
    };
    let _ = match error.use_stderr() {
        true => secret::write(&mut std::io::stderr(), &text),
        false => secret::write(&mut std::io::stdout(), &text),
    };
}

/// Run one command and write its results to `out` without colours; for tests and for embedding.
pub fn execute<T: Into<OsString> + Clone>(
    args: impl IntoIterator<Item = T>,
    build: Build,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let args = Args::try_parse_from(args).map_err(|e| Error::usage(e.to_string()))?;
    args.go(build, Color::Never, out)
}

impl Args {
    fn go(self, build: Build, color: Color, out: &mut dyn Write) -> Result<(), Error> {
        // An empty variable counts as unset.
        let from_environment = || std::env::var_os("PIPE_CACHE").filter(|v| !v.is_empty()).map(PathBuf::from);
        let cache_dir = self.cache_dir.or_else(from_environment);
        let mut cx = Context { build, cache_dir, color, out };
        match self.command {
            Command::Run(c) => c.run(&mut cx),
            Command::Plan(c) => c.run(&mut cx),
            Command::Diff(c) => c.run(&mut cx),
            Command::Why(c) => c.run(&mut cx),
            Command::Show(c) => c.run(&mut cx),
            Command::Graph(c) => c.run(&mut cx),
            Command::Stage(c) => c.run(&mut cx),
            Command::Stages(c) => c.run(&mut cx),
            Command::Schema(c) => c.run(&mut cx),
            Command::History(c) => c.run(&mut cx),
            Command::Metrics(c) => c.run(&mut cx),
            Command::Predict(c) => c.run(&mut cx),
            Command::Inspect(c) => c.run(&mut cx),
            Command::Diagnose(c) => c.run(&mut cx),
            Command::Cache(c) => c.run(&mut cx),
            Command::Init(c) => c.run(&mut cx),
            Command::Push(c) => c.run(&mut cx),
            Command::Pull(c) => c.run(&mut cx),
            Command::Completions(c) => c.run(&mut cx, Args::command()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_valid() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_command_and_option_has_help() {
        for command in Args::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for arg in command.get_arguments() {
                assert!(arg.get_help().is_some(), "{} {}", command.get_name(), arg.get_id());
            }
        }
    }

    #[test]
    fn unknown_commands_are_bad_usage_and_suggest() {
        let error = Args::try_parse_from(["pipe", "histroy"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("'history'"), "{error}");
    }
}
