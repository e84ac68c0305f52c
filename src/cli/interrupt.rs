//! Ctrl-C: the first asks the run to stop where it can go on later, the second ends the process.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use crate::engine::event::{Event, Observer};
use crate::error::Error;

/// Raised by Ctrl-C, SIGTERM and SIGHUP; the engine watches it.
static STOP: AtomicBool = AtomicBool::new(false);

/// Listen for signals until the process ends.
///
/// The handler holds the reporter weakly: it must be dropped, and put the terminal in order, when the run is over.
pub fn listen(reporter: &Arc<dyn Observer + Send>) -> Result<&'static AtomicBool, Error> {
    let reporter: Weak<dyn Observer + Send> = Arc::downgrade(reporter);
    let handler = move || {
        if STOP.swap(true, Ordering::SeqCst) {
            std::process::exit(i32::from(Error::Interrupted.exit_code()));
        }
        if let Some(reporter) = reporter.upgrade() {
            reporter.event(&Event::Warning { stage: None, text: "stopping at the next checkpoint; Ctrl-C again stops at once".into() });
        }
    };
    ctrlc::set_handler(handler).map_err(|e| Error::failed(format!("cannot listen for Ctrl-C: {e}")))?;
    Ok(&STOP)
}
