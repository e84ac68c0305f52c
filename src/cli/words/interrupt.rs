//! Ctrl-C: the first stops the run at the next checkpoint, the second ends the process.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::error::Error;
use pipe_engine::contract::event::{Event, Observer};

type Reporter = dyn Observer + Send;

/// Set by Ctrl-C, SIGTERM and SIGHUP; the engine watches it.
static STOP: AtomicBool = AtomicBool::new(false);

/// The reporter to notify. Weak, because the reporter must be dropped at the end of its run to restore the terminal.
static LISTENER: Mutex<Option<Weak<Reporter>>> = Mutex::new(None);

/// Listen for signals until the process ends.
pub fn listen(reporter: &Arc<Reporter>) -> Result<&'static AtomicBool, Error> {
    let before = LISTENER.lock().unwrap_or_else(PoisonError::into_inner).replace(Arc::downgrade(reporter));
    // A process has one handler, even if it makes several runs.
    if before.is_none() {
        ctrlc::set_handler(signalled).map_err(|e| Error::failed(format!("cannot listen for Ctrl-C: {e}")))?;
    }
    Ok(&STOP)
}

fn signalled() {
    if STOP.swap(true, Ordering::SeqCst) {
        std::process::exit(i32::from(Error::Interrupted.exit_code()));
    }
    let listener = LISTENER.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some(reporter) = listener.and_then(|weak| weak.upgrade()) {
        reporter.event(&Event::Warning {
            stage: None,
            text: "stopping at the next checkpoint; Ctrl-C again stops at once".into(),
        });
    }
}
