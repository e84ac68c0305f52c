//! Reading any file ends in a result or an error, without a panic and with memory in proportion to the file.
//!
//! Property tests, so that they run with the others on a stable compiler. Each makes files by changing good ones and by
//! putting hostile pieces together. Seconds of them run by default; `PROPTEST_CASES=20000 cargo test --release --test
//! suite fuzz::` runs longer. Failures found this way are separate tests beside the properties.

mod artifacts;
#[path = "../../engine/fuzz/changes.rs"]
mod changes;
mod columns;
mod corpus;
mod json;
mod layouts;
mod nesting;
mod packed;
mod pickle;
mod pipeline;
mod source;
mod weights;
