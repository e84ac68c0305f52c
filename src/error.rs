//! Errors that end a command: their exit codes and texts.

use crate::report::color::{Color, ERROR, HELP};
use crate::report::diagnostic;
use pipe_engine::run::single::Exit;
use pipe_engine::text::diagnostic::Diagnostics;

/// Exit codes: 0 done, 1 a stage failed, 2 bad usage or pipeline file, 3 differences found, 130 interrupted.
#[derive(Debug)]
pub enum Error {
    /// The command line, or something that it names, is invalid.
    Usage(Message),
    /// The pipeline file is wrong.
    Pipeline(Diagnostics),
    /// The command failed.
    Failed(Message),
    /// Stages failed; the reporter has named them.
    StagesFailed,
    /// The process of one stage ends without a result; the reporter has said why, and its exit code tells executors.
    StageEnded(Exit),
    /// `--exit-code` was given and there are differences or stages to run.
    Differences,
    /// The user stopped the run; the reporter has said so.
    Interrupted,
    /// Standard output cannot be written.
    Output(std::io::Error),
}

/// An error message that follows `error:`, with help lines.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    pub text: String,
    pub help: Vec<String>,
}

impl Error {
    pub fn usage(text: impl Into<String>) -> Self {
        Self::Usage(Message { text: text.into(), help: Vec::new() })
    }

    pub fn failed(text: impl Into<String>) -> Self {
        Self::Failed(Message { text: text.into(), help: Vec::new() })
    }

    /// Add a help line, if the error has a message of its own.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        if let Self::Usage(message) | Self::Failed(message) = &mut self {
            message.help.push(help.into());
        }
        self
    }

    /// The exit code of the process.
    pub fn exit_code(&self) -> u8 {
        match self {
            // `pipe stages | head`: the reader had enough.
            Self::Output(e) if e.kind() == std::io::ErrorKind::BrokenPipe => 0,
            Self::Failed(_) | Self::StagesFailed | Self::Output(_) => 1,
            Self::Usage(_) | Self::Pipeline(_) => 2,
            Self::StageEnded(exit) => *exit as u8,
            Self::Differences => 3,
            Self::Interrupted => 130,
        }
    }

    /// The text for the user, ending with a newline; empty if the reporter has said everything.
    pub fn render(&self, color: Color) -> String {
        match self {
            Self::Usage(message) | Self::Failed(message) => message.render(color),
            Self::Pipeline(all) => diagnostic::render_all(all, color),
            Self::Output(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
                Self::failed(format!("cannot write to standard output: {e}")).render(color)
            }
            Self::StagesFailed | Self::StageEnded(_) | Self::Differences | Self::Interrupted | Self::Output(_) => {
                String::new()
            }
        }
    }
}

impl Message {
    fn render(&self, color: Color) -> String {
        let mut out = format!("{} {}\n", color.paint(ERROR, "error:"), self.text);
        for help in &self.help {
            out.push_str(&format!("{} {help}\n", color.paint(HELP, "help:")));
        }
        out
    }
}

impl From<Diagnostics> for Error {
    fn from(all: Diagnostics) -> Self {
        Self::Pipeline(all)
    }
}

/// The chain of causes on one line.
impl From<anyhow::Error> for Error {
    fn from(error: anyhow::Error) -> Self {
        Self::failed(format!("{error:#}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;
    use pipe_engine::text::diagnostic::Diagnostic;

    #[test]
    fn exit_codes() {
        let pipe = || std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        let full = || std::io::Error::from(std::io::ErrorKind::StorageFull);
        let cases = [
            (Error::usage("x"), 2),
            (Diagnostics(vec![Diagnostic::new("x")]).into(), 2),
            (Error::failed("x"), 1),
            (Error::StagesFailed, 1),
            (Error::StageEnded(Exit::Failed), 1),
            (Error::StageEnded(Exit::Interrupted), 75),
            (Error::Differences, 3),
            (Error::Interrupted, 130),
            (Error::Output(pipe()), 0),
            (Error::Output(full()), 1),
        ];
        for (error, code) in cases {
            assert_eq!(error.exit_code(), code, "{error:?}");
        }
    }

    #[test]
    fn texts() {
        let error = Error::usage("unknown kind `trian`").help("did you mean `train`?");
        assert_eq!(error.render(Color::Never), "error: unknown kind `trian`\nhelp: did you mean `train`?\n");
        let chain =
            Err::<(), _>(std::io::Error::from(std::io::ErrorKind::NotFound)).context("cannot read x.toml").unwrap_err();
        assert_eq!(Error::from(chain).render(Color::Never), "error: cannot read x.toml: entity not found\n");
        let pipeline: Error = Diagnostics(vec![Diagnostic::new("bad")]).into();
        assert_eq!(pipeline.render(Color::Never), "error: bad\n");
        assert_eq!(Error::Interrupted.render(Color::Never), "");
        assert_eq!(Error::Output(std::io::ErrorKind::BrokenPipe.into()).render(Color::Never), "");
    }
}
