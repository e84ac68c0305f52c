//! Runs parsers of other crates on files that may be damaged, and turns their panics into errors.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

use anyhow::{Result, anyhow};

thread_local! {
    /// How many parsers are running on this thread, one inside another.
    static PARSING: Cell<usize> = const { Cell::new(0) };
}

/// Runs a parser and turns a panic in it into an error. The panic prints nothing, because the file is at fault, not the
/// program.
pub(crate) fn catch_panics<T>(parse: impl FnOnce() -> Result<T>) -> Result<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            if PARSING.get() == 0 {
                before(panic);
            }
        }));
    });
    PARSING.set(PARSING.get() + 1);
    let parsed = catch_unwind(AssertUnwindSafe(parse));
    PARSING.set(PARSING.get() - 1);
    parsed.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Err(anyhow!("the file is damaged ({})", text.unwrap_or("its parser failed")))
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_panic_is_an_error_and_everything_else_is_as_it_was() {
        assert_eq!(catch_panics(|| Ok(3)).unwrap(), 3);
        assert_eq!(catch_panics::<()>(|| Err(anyhow!("no"))).unwrap_err().to_string(), "no");
        let found = catch_panics(|| Ok([1, 2][std::hint::black_box(7)]));
        let message = found.unwrap_err().to_string();
        assert!(message.starts_with("the file is damaged (index out of bounds"), "{message}");
    }

    /// The test below runs this one as a separate process: a panic prints to the standard error of its process.
    #[test]
    #[ignore = "panics on purpose"]
    fn two_panics() {
        let _ = catch_panics(|| catch_panics::<()>(|| panic!("of a parser")));
        panic!("of the program");
    }

    #[test]
    fn a_parsers_panic_prints_nothing_and_the_programs_own_still_does() {
        let tests = std::env::current_exe().unwrap();
        let run = Command::new(tests).args(["--ignored", "--nocapture", "two_panics"]).output().unwrap();
        let text = String::from_utf8_lossy(&run.stderr);
        assert!(text.contains("of the program") && !text.contains("of a parser"), "{text}");
    }
}
