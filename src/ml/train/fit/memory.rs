//! Handles steps that do not fit into the device's memory.

use std::cell::Cell;

use anyhow::Result;
use burn::tensor::Device;

use crate::compute::allocator::Watermark;
use crate::compute::device::pool_bytes;
use crate::watch::Watch;

/// Whether `error` says that a device ran out of memory.
///
/// Burn passes on only the text of CubeCL's errors (`IoError` and `LaunchError` in cubecl-runtime 0.11). The CPU has no
/// such error: an allocation that fails there ends the process.
pub(super) fn is_exhausted(error: &anyhow::Error) -> bool {
    if error.chain().any(|cause| cause.is::<Exceeded>()) {
        return true;
    }
    const MESSAGES: [&str; 3] = ["out of device memory", "can't allocate buffer of size", "out-of-memory error"];
    error.chain().map(ToString::to_string).any(|text| MESSAGES.iter().any(|saying| text.contains(saying)))
}

/// A step used more memory than the limit of the fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{used} bytes were in use, but memory-fraction allows {limit}")]
pub(super) struct Exceeded {
    used: u64,
    limit: u64,
}

/// Run `attempt`, and fail as if memory had run out if it used more than `limit` bytes.
///
/// On the CPU this counts the most memory that the program had in use. On a GPU it counts what the pool holds at the
/// end, because the pool keeps what it once allocated.
pub(super) fn within<T>(limit: Option<u64>, device: &Device, attempt: impl FnOnce() -> Result<T>) -> Result<T> {
    let Some(limit) = limit else { return attempt() };
    let watermark = Watermark::set();
    let done = attempt()?;
    match pool_bytes(device).or_else(|| watermark.most()) {
        Some(used) if used > limit => {
            drop(done);
            device.memory_cleanup(); // Otherwise the pool would count against smaller batches.
            Err(Exceeded { used, limit }.into())
        }
        _ => Ok(done),
    }
}

/// How many rows of a batch go through the model together.
pub(super) struct MemoryBudget {
    /// Number of parts that each batch is cut into.
    parts: Cell<usize>,
    /// Positions of the largest part that fitted into memory.
    proven: Cell<usize>,
}

impl Default for MemoryBudget {
    fn default() -> Self {
        Self { parts: Cell::new(1), proven: Cell::new(0) }
    }
}

impl MemoryBudget {
    /// A budget that already cuts each batch into this many parts.
    #[cfg(test)]
    pub(super) fn in_parts(parts: usize) -> Self {
        Self { parts: Cell::new(parts), ..Self::default() }
    }

    /// Number of parts that each batch is cut into.
    pub(super) fn parts(&self) -> usize {
        self.parts.get()
    }

    /// Continue with the number of parts from a checkpoint.
    pub(super) fn resume(&self, parts: usize) {
        self.parts.set(parts.max(1));
    }

    /// Run `attempt` with each batch cut into the current number of parts. If memory does not suffice for whole
    /// batches, try once more with halves, and keep using halves.
    ///
    /// Each row has the same weight in any part, so the halves give the gradient of the whole batch, apart from
    /// rounding and the dropout masks.
    pub(super) fn find<T>(&self, watch: &dyn Watch, mut attempt: impl FnMut(usize) -> Result<T>) -> Result<T> {
        let parts = self.parts.get();
        let error = match attempt(parts) {
            Err(error) if is_exhausted(&error) => error,
            result => return result,
        };
        let is_limit = error.chain().any(|cause| cause.is::<Exceeded>());
        if parts == 1 {
            let why = if is_limit {
                "a batch needs more memory than memory-fraction allows"
            } else {
                "the device has too little memory for a batch"
            };
            watch.warn(format!(
                "{why}; from now on, each batch is split into two halves, which doubles the accumulation. To avoid this, set a smaller batch-size and a larger accumulation"
            ));
            self.parts.set(2);
            return self.find(watch, attempt);
        }
        let (why, also) = if is_limit {
            let also =
                ", or raise memory-fraction (on the CPU, other running stages count too; `--jobs 1` avoids that)";
            ("even half a batch needs more memory than memory-fraction allows", also)
        } else {
            ("the device has too little memory even for half a batch", "")
        };
        Err(error.context(format!(
            "{why}; lower batch-size (and raise accumulation by the same factor, to keep the steps), set \
             gradient-checkpointing, or lower the max-length of `tokenize`{also}"
        )))
    }

    /// Whether `positions` (rows times width) are more than ever fitted into memory together, so that memory may not
    /// suffice.
    pub(super) fn is_unproven(&self, positions: usize) -> bool {
        positions > self.proven.get()
    }

    /// Record that this many positions fitted into memory together.
    pub(super) fn proved(&self, positions: usize) {
        self.proven.set(positions.max(self.proven.get()));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use anyhow::{Context as _, anyhow};

    use super::*;
    use crate::watch::{Measured, Progress};

    #[derive(Default)]
    struct Warnings(Mutex<Vec<String>>);

    impl Watch for Warnings {
        fn progress(&self, _: Progress) {}
        fn measured(&self, _: Measured) {}
        fn note(&self, text: String) {
            panic!("{text}");
        }
        fn warn(&self, text: String) {
            self.0.lock().unwrap().push(text);
        }
        fn stopped(&self) -> bool {
            false
        }
    }

    /// The error text of cubecl's server, as Burn passes it on.
    fn exhausted() -> anyhow::Error {
        let burn =
            anyhow!("An error happened during execution\nCaused by:\n  out of device memory allocating 1048576 bytes");
        Err::<(), _>(burn).context("reading the loss").unwrap_err()
    }

    #[test]
    fn a_batch_that_does_not_fit_is_halved_once_with_a_warning() {
        let (budget, watch) = (MemoryBudget::default(), Warnings::default());
        let mut tried = Vec::new();
        let mut attempt = |parts| {
            tried.push(parts);
            if parts == 1 { Err(exhausted()) } else { Ok("a step") }
        };
        assert_eq!(budget.find(&watch, &mut attempt).unwrap(), "a step");
        assert_eq!(budget.find(&watch, &mut attempt).unwrap(), "a step");
        assert_eq!(tried, [1, 2, 2]); // The second step starts with halves.
        let warnings = watch.0.lock().unwrap();
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].starts_with("the device has too little memory for a batch"), "{}", warnings[0]);
    }

    #[test]
    fn a_half_that_does_not_fit_is_an_error_that_says_what_to_do() {
        let (budget, watch) = (MemoryBudget::default(), Warnings::default());
        let error = budget.find(&watch, |_| Err::<(), _>(exhausted())).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.starts_with("the device has too little memory even for half a batch; lower batch-size"), "{text}");
        assert!(text.ends_with("out of device memory allocating 1048576 bytes"), "{text}");
    }

    #[test]
    fn more_than_the_limit_is_as_if_memory_had_run_out() {
        let error = anyhow::Error::from(Exceeded { used: 3_000, limit: 2_000 }).context("step 1");
        assert!(is_exhausted(&error));
        assert_eq!(format!("{error:#}"), "step 1: 3000 bytes were in use, but memory-fraction allows 2000");
        assert_eq!(within(None, &Device::flex(), || Ok(7)).unwrap(), 7);
    }

    #[test]
    fn what_a_checkpoint_says_of_halves_is_gone_on_with() {
        let (budget, watch) = (MemoryBudget::default(), Warnings::default());
        budget.resume(2);
        assert_eq!((budget.parts(), budget.find(&watch, Ok).unwrap()), (2, 2));
        budget.resume(0); // A checkpoint of a version without this number.
        assert_eq!(budget.parts(), 1);
    }

    #[test]
    fn other_errors_are_not_tried_again() {
        let (budget, watch) = (MemoryBudget::default(), Warnings::default());
        let mut tries = 0;
        let attempt = |_| {
            tries += 1;
            Err::<(), _>(anyhow!("the device is poisoned"))
        };
        assert_eq!(budget.find(&watch, attempt).unwrap_err().to_string(), "the device is poisoned");
        assert_eq!((tries, watch.0.lock().unwrap().len()), (1, 0));
    }
}
