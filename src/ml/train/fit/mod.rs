//! The training loop, used for full fine-tuning, LoRA, distillation and recovery after pruning.

mod backward;
mod check;
mod criterion;
mod curve;
mod evaluate;
mod feed;
mod memory;
mod options;
mod report;
mod run;
mod state;
mod step;
mod trainee;

pub use self::criterion::Criterion;
pub use self::options::{FitOptions, Hyperparameters, Problem};
pub use self::report::{Best, Evaluation, Fitted, Point, Speed, Stop, Timings, Training, peak_memory_bytes};
pub use self::run::fit;
