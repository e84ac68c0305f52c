//! The program's allocator: mimalloc, set to keep freed memory for a while, with a count of the memory in use.

use std::alloc::{GlobalAlloc, Layout};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use libmimalloc_sys::{mi_option_set_default, mi_option_t, mi_option_use_numa_nodes};
use mimalloc::MiMalloc;

/// mimalloc, counting blocks of 16 KiB and more.
pub struct Allocator;

/// Weights, activations and rows are blocks of at least this size. Counting smaller blocks would cost time and change
/// little.
const COUNTED: usize = 16 << 10;

/// Bytes in counted blocks: now, and the maximum since the last [`Watermark`] was set.
static IN_USE: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

fn took(bytes: usize) {
    if bytes >= COUNTED {
        MOST.fetch_max(IN_USE.fetch_add(bytes, Relaxed) + bytes, Relaxed);
    }
}

fn gave(bytes: usize) {
    if bytes >= COUNTED {
        IN_USE.fetch_sub(bytes, Relaxed);
    }
}

// SAFETY: every call is forwarded to mimalloc unchanged; counting touches no memory of the blocks.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's guarantees are those that mimalloc requires, here and below.
        let block = unsafe { MiMalloc.alloc(layout) };
        if !block.is_null() {
            took(layout.size());
        }
        block
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        let block = unsafe { MiMalloc.alloc_zeroed(layout) };
        if !block.is_null() {
            took(layout.size());
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        gave(layout.size());
        // SAFETY: as above.
        unsafe { MiMalloc.dealloc(block, layout) };
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above.
        let moved = unsafe { MiMalloc.realloc(block, layout, size) };
        if !moved.is_null() {
            gave(layout.size());
            took(size);
        }
        moved
    }
}

/// `mi_option_purge_delay` in `mimalloc.h`: the option before the one that the crate names.
const PURGE_DELAY: mi_option_t = mi_option_use_numa_nodes - 1;

/// Return freed memory to the kernel after ten seconds instead of one.
///
/// A training step of a base model takes longer than a second and frees gigabytes. The next step would have to allocate
/// them again, page by page.
pub fn hold_freed_memory() {
    // SAFETY: setting an option changes an integer. MIMALLOC_PURGE_DELAY takes precedence.
    unsafe { mi_option_set_default(PURGE_DELAY, 10_000) };
}

/// The maximum of memory in use from here on, above what is in use now.
///
/// Counted in the allocator and not read from the kernel: memory that earlier work freed stays with the process, so its
/// resident memory says nothing about later work. Work that runs at the same time is included.
pub struct Watermark {
    id: usize,
    before: usize,
}

/// The maximum that each watermark has seen until another was set.
static OPEN: Mutex<BTreeMap<usize, usize>> = Mutex::new(BTreeMap::new());

impl Watermark {
    pub fn set() -> Self {
        let mut open = Self::open();
        // Older watermarks record the peak so far; blocks allocated meanwhile count from here on.
        let seen = MOST.swap(0, Relaxed);
        open.values_mut().for_each(|most| *most = seen.max(*most));
        let before = IN_USE.load(Relaxed);
        MOST.fetch_max(before, Relaxed);
        let id = open.last_key_value().map_or(0, |(id, _)| id + 1);
        open.insert(id, before);
        Self { id, before }
    }

    /// None if this allocator is not the program's.
    pub fn bytes(&self) -> Option<u64> {
        self.most().map(|most| most.saturating_sub(self.before as u64))
    }

    /// The same, including what was in use before.
    pub fn most(&self) -> Option<u64> {
        let most = Self::open().get(&self.id).copied()?;
        (most > 0).then_some(most as u64)
    }

    /// All open watermarks, updated.
    fn open() -> MutexGuard<'static, BTreeMap<usize, usize>> {
        // Ignore poisoning: each change of the map is complete in itself.
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        let most = MOST.load(Relaxed);
        open.values_mut().for_each(|seen| *seen = most.max(*seen));
        open
    }
}

impl Drop for Watermark {
    fn drop(&mut self) {
        Self::open().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_is_the_right_one() {
        // SAFETY: reading an option reads an integer.
        assert_eq!(unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) }, 1000, "the default, in milliseconds");
    }

    #[test]
    fn watermarks_see_the_most_in_use_also_when_others_are_set() {
        let layout = |bytes| Layout::from_size_align(bytes, 64).unwrap();
        let first = Watermark::set();
        assert_eq!(first.bytes(), None, "tests use the system's allocator");
        // SAFETY: every block is freed with its current layout.
        unsafe {
            let large = Allocator.alloc(layout(1 << 20));
            let small = Allocator.alloc(layout(COUNTED - 1));
            assert_eq!(first.bytes(), Some(1 << 20));
            Allocator.dealloc(large, layout(1 << 20));
            let second = Watermark::set();
            let block = Allocator.alloc_zeroed(layout(COUNTED));
            let block = Allocator.realloc(block, layout(COUNTED), 3 * COUNTED);
            assert_eq!((first.bytes(), second.bytes()), (Some(1 << 20), Some(3 * COUNTED as u64)));
            Allocator.dealloc(block, layout(3 * COUNTED));
            Allocator.dealloc(small, layout(COUNTED - 1));
        }
        assert_eq!(IN_USE.load(Relaxed), 0);
    }
}
