//! Whatever is in a file, reading it ends in a result or an error: no panic, and no more memory than the file accounts for.
//!
//! Property tests, so that they run with the others on a stable compiler. Each makes files by changing good ones and by
//! putting hostile pieces together. Seconds of them run by default; `PROPTEST_CASES=20000 cargo test --release --test suite
//! fuzz::` runs longer. What was found that way stands beside the properties as a test of its own.

mod cache;
mod changes;
mod nesting;
mod pipeline;
