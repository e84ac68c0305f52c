//! Colours, if the output stream supports them.

use anstyle::{AnsiColor, Style};

/// Whether to colour text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Color {
    Never,
    Always,
}

pub const ERROR: Style = AnsiColor::Red.on_default().bold();
pub const WARNING: Style = AnsiColor::Yellow.on_default().bold();
pub const HELP: Style = AnsiColor::Cyan.on_default().bold();
pub const GOOD: Style = AnsiColor::Green.on_default();
pub const ACTIVE: Style = AnsiColor::Cyan.on_default();
pub const FAINT: Style = Style::new().dimmed();
pub const STRONG: Style = Style::new().bold();

impl Color {
    /// The choice for standard error, from NO_COLOR, CLICOLOR, TERM and `--color`.
    pub fn of_stderr() -> Self {
        Self::of(anstream::AutoStream::choice(&std::io::stderr()))
    }

    /// The choice for standard output.
    pub fn of_stdout() -> Self {
        Self::of(anstream::AutoStream::choice(&std::io::stdout()))
    }

    fn of(choice: anstream::ColorChoice) -> Self {
        if choice == anstream::ColorChoice::Never { Self::Never } else { Self::Always }
    }

    /// `text` in a style, or unchanged without colours.
    pub fn paint(self, style: Style, text: &str) -> String {
        match self {
            Self::Always if !text.is_empty() && style != Style::new() => format!("{style}{text}{style:#}"),
            _ => text.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paints_when_asked() {
        assert_eq!(Color::Never.paint(GOOD, "done"), "done");
        assert_eq!(Color::Always.paint(GOOD, "done"), "\u{1b}[32mdone\u{1b}[0m");
        assert_eq!(Color::Always.paint(GOOD, ""), "");
    }
}
