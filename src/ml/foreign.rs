//! Other people's parsers on files that may be damaged: what makes them panic is an error of the file.

use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Result, anyhow};

/// Runs a parser; a panic of its own becomes an error, for the program did nothing wrong.
pub fn survive<T>(parse: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(parse)).unwrap_or_else(|_| Err(anyhow!("it is damaged")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_and_everything_else_is_as_it_was() {
        assert_eq!(survive(|| Ok(3)).unwrap(), 3);
        assert_eq!(survive::<()>(|| Err(anyhow!("no"))).unwrap_err().to_string(), "no");
        let found = survive(|| Ok([1, 2][std::hint::black_box(7)]));
        assert_eq!(found.unwrap_err().to_string(), "it is damaged");
    }
}
