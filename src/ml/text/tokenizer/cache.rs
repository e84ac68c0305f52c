//! Caches the ids of words, with one cache for each working thread.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

use anyhow::Result;

/// Number of ids that a cache holds before it is emptied: a few MB, more words than a language has.
const CACHE_IDS: usize = 2_000_000;

/// The ids of the words seen so far.
#[derive(Default)]
pub(super) struct Cache {
    words: HashMap<Box<str>, (u32, u32)>,
    ids: Vec<u32>,
}

impl Cache {
    /// Append the ids of `word` to `out`; `work` computes them the first time.
    pub(super) fn ids(
        &mut self,
        word: &str,
        out: &mut Vec<u32>,
        work: impl FnOnce(&mut Vec<u32>) -> Result<()>,
    ) -> Result<()> {
        if let Some(&(start, end)) = self.words.get(word) {
            out.extend_from_slice(&self.ids[start as usize..end as usize]);
            return Ok(());
        }
        if self.ids.len() > CACHE_IDS {
            *self = Cache::default();
        }
        let start = self.ids.len();
        work(&mut self.ids)?;
        out.extend_from_slice(&self.ids[start..]);
        self.words.insert(word.into(), (start as u32, self.ids.len() as u32));
        Ok(())
    }
}

/// The caches that are not in use. Each thread borrows its own, so no thread waits for another's lookup.
#[derive(Default)]
pub(super) struct Caches(Mutex<Vec<Cache>>);

impl Caches {
    pub(super) fn borrow(&self) -> Borrowed<'_> {
        let cache = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        Borrowed { cache, owner: self }
    }
}

/// A cache that returns to its [`Caches`] when dropped.
pub(super) struct Borrowed<'a> {
    cache: Cache,
    owner: &'a Caches,
}

impl Deref for Borrowed<'_> {
    type Target = Cache;
    fn deref(&self) -> &Cache {
        &self.cache
    }
}

impl DerefMut for Borrowed<'_> {
    fn deref_mut(&mut self) -> &mut Cache {
        &mut self.cache
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        let cache = std::mem::take(&mut self.cache);
        self.owner.0.lock().unwrap_or_else(PoisonError::into_inner).push(cache);
    }
}
