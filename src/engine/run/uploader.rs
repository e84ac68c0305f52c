//! Uploads results to the archive, one after another, on a thread that no run waits for longer than it has to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use crate::store::archive::client::{Client, Undelivered, Wanted};
use crate::store::archive::outbox::Outbox;
use crate::store::cache::Cache;
use crate::store::error::CacheError;

/// How often a request to stop is noticed.
const TICK: Duration = Duration::from_millis(20);

/// A result to deliver.
pub(crate) struct Parcel {
    pub(crate) fingerprint: String,
    /// None if an earlier run made it.
    pub(crate) stage: Option<String>,
}

/// The thread and its queue. A thread that has not finished when the process ends leaves its work in the outbox.
pub(crate) struct Uploader {
    queue: Sender<Parcel>,
    /// Parcels that were not delivered so far.
    left: Arc<AtomicUsize>,
    /// Disconnected when the thread ends.
    ended: Receiver<()>,
}

impl Uploader {
    pub(crate) fn start(client: Arc<Client>, cache: &Cache, outbox: Arc<Outbox>) -> Result<Self, CacheError> {
        // The thread may outlive the run, so it opens the cache for itself.
        let own = Cache::open_on(cache.dir(), cache.disk().clone())?;
        let (queue, parcels) = mpsc::channel();
        let left = Arc::new(AtomicUsize::new(0));
        let counter = left.clone();
        let (end, ended) = mpsc::channel::<()>();
        thread::Builder::new()
            .name("uploads".into())
            .spawn(move || {
                let _end = end;
                upload(&client, &own, &outbox, &parcels, &counter);
            })
            .map_err(|e| CacheError::io("start a thread for", cache.dir(), e))?;
        Ok(Self { queue, left, ended })
    }

    pub(crate) fn send(&self, parcel: Parcel) {
        self.left.fetch_add(1, Ordering::SeqCst);
        // If the thread has ended, the parcel stays in the outbox.
        let _ = self.queue.send(parcel);
    }

    /// Wait until everything was tried, for at most `wait`, or until `stopped`. Returns the number of results that were
    /// not delivered.
    pub(crate) fn drain(self, wait: Duration, stopped: &dyn Fn() -> bool) -> usize {
        drop(self.queue);
        let since = Instant::now();
        while since.elapsed() < wait && !stopped() {
            if self.ended.recv_timeout(TICK) == Err(RecvTimeoutError::Disconnected) {
                break;
            }
        }
        self.left.load(Ordering::SeqCst)
    }
}

fn upload(client: &Client, cache: &Cache, outbox: &Outbox, parcels: &Receiver<Parcel>, left: &AtomicUsize) {
    for Parcel { fingerprint, stage } in parcels {
        // After one failure, the rest stays in the outbox.
        if client.has_lost_writing() {
            continue;
        }
        match client.deliver(cache, Wanted { fingerprint: &fingerprint, stage: stage.as_deref() }) {
            Ok(_) => {
                outbox.settle(&fingerprint);
                left.fetch_sub(1, Ordering::SeqCst);
            }
            Err(Undelivered::Archive(e)) => client.lose_writing(&e),
            Err(Undelivered::Cache(e)) => client.warn(stage.as_deref(), format!("cannot upload the result: {e}")),
        }
    }
}
