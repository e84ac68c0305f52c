//! Where stages run: the `Executor` trait, and `Threads`, which runs them in this process.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::Sender;
use std::thread::{self, Scope};

use super::attempt::{Order, attempt, panic_text};
use super::ended::Attempt;
use crate::judge::job::Job;

/// Starts stages and reports how they ended. The entry in the cache is what proves that a stage is done: an executor
/// that loses a message reads it there.
pub trait Executor: Sync {
    /// Start a stage and return at once. The executor has to call `ended` exactly once, also if the stage cannot start.
    /// When `order.stop` becomes true, the stage has to save a checkpoint and end as interrupted.
    ///
    /// Threads that serve the stage are spawned in `scope`, so that they may borrow the order.
    fn start<'scope, 'env>(
        &'env self,
        scope: &'scope Scope<'scope, 'env>,
        job: &'env Job<'env>,
        order: Order<'env>,
        ended: Ended,
    );
}

/// Tells the scheduler how one attempt ended.
#[derive(Clone)]
pub struct Ended {
    pub(crate) at: usize,
    /// None wakes the scheduler without an end.
    pub(crate) to: Sender<Option<(usize, Attempt)>>,
}

impl Ended {
    pub fn tell(self, attempt: Attempt) {
        // The scheduler listens until every stage that it started has ended.
        let _ = self.to.send(Some((self.at, attempt)));
    }
}

/// Runs each stage on a thread of this process.
pub struct Threads;

/// Dropping the autodiff graph of a deep model is recursive and needs more than the usual 2 MiB of stack.
const STACK: usize = 32 << 20;

impl Executor for Threads {
    fn start<'scope, 'env>(
        &'env self,
        scope: &'scope Scope<'scope, 'env>,
        job: &'env Job<'env>,
        order: Order<'env>,
        ended: Ended,
    ) {
        let name = format!("stage {}", job.instance(order.at).name);
        on_thread(scope, thread::Builder::new().name(name).stack_size(STACK), ended, move || {
            order.fetch_or(|| attempt(job, &order))
        });
    }
}

/// Attempt something on a thread of its own. The end is told even if the thread cannot start or panics.
pub(crate) fn on_thread<'scope>(
    scope: &'scope Scope<'scope, '_>,
    thread: thread::Builder,
    ended: Ended,
    work: impl FnOnce() -> Attempt + Send + 'scope,
) {
    let not_started = ended.clone();
    let bug = |panic: Box<dyn Any + Send>| Attempt::Failed {
        error: format!("internal error: {}", panic_text(panic.as_ref())),
    };
    let spawned =
        thread.spawn_scoped(scope, move || ended.tell(catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(bug)));
    if let Err(e) = spawned {
        not_started.tell(Attempt::Failed { error: format!("cannot start a thread: {e}") });
    }
}
