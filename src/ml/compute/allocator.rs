//! The allocator of the program: mimalloc, told to hold on to what is freed, with a count of what is in use.

use std::alloc::{GlobalAlloc, Layout};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use libmimalloc_sys::{mi_option_set_default, mi_option_t, mi_option_use_numa_nodes};
use mimalloc::MiMalloc;

/// mimalloc; blocks of 16 KiB and more are counted.
pub struct Allocator;

/// Weights, activations and rows come in such blocks. Counting the small ones, too, would cost time and tell little.
const COUNTED: usize = 16 << 10;

/// Bytes of counted blocks, now and at the most since a [`Watermark`] was last set.
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

// SAFETY: every call goes to mimalloc as it came; the counting touches no memory of the blocks.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those that mimalloc asks for, here and below.
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

/// `mi_option_purge_delay` of `mimalloc.h`, the option before the one that the crate names.
const PURGE_DELAY: mi_option_t = mi_option_use_numa_nodes - 1;

/// Freed memory goes back to the kernel after ten seconds instead of one.
///
/// A training step of a base model takes longer than a second and frees gigabytes, which the next step would have to take
/// anew, page by page.
pub fn hold_freed_memory() {
    // SAFETY: setting an option changes an integer. What MIMALLOC_PURGE_DELAY says goes first.
    unsafe { mi_option_set_default(PURGE_DELAY, 10_000) };
}

/// The most memory in use at once from here on, above what is in use now.
///
/// Counted in the allocator and not by the kernel: what earlier work has freed stays with the process, so that its resident
/// memory says nothing of later work. Whatever runs at the same time counts, too.
pub struct Watermark {
    id: usize,
    before: usize,
}

/// The most that each watermark has seen until another was set.
static OPEN: Mutex<BTreeMap<usize, usize>> = Mutex::new(BTreeMap::new());

impl Watermark {
    pub fn set() -> Self {
        let mut open = Self::open();
        // Whatever peak there was since, the older ones have seen; blocks taken meanwhile count from here on.
        let seen = MOST.swap(0, Relaxed);
        open.values_mut().for_each(|most| *most = seen.max(*most));
        let before = IN_USE.load(Relaxed);
        MOST.fetch_max(before, Relaxed);
        let id = open.last_key_value().map_or(0, |(id, _)| id + 1);
        open.insert(id, before);
        Self { id, before }
    }

    /// None where this allocator is not the program's.
    pub fn bytes(&self) -> Option<u64> {
        self.most().map(|most| most.saturating_sub(self.before as u64))
    }

    /// The same with what was in use before.
    pub fn most(&self) -> Option<u64> {
        let most = Self::open().get(&self.id).copied()?;
        (most > 0).then_some(most as u64)
    }

    /// The open watermarks, up to date.
    fn open() -> MutexGuard<'static, BTreeMap<usize, usize>> {
        // The map is whole after every step.
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
    fn the_option_is_the_one_meant() {
        // SAFETY: reading an option is reading an integer.
        assert_eq!(unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) }, 1000, "the default, in milliseconds");
    }

    #[test]
    fn watermarks_see_the_most_in_use_also_when_others_are_set() {
        let layout = |bytes| Layout::from_size_align(bytes, 64).unwrap();
        let first = Watermark::set();
        assert_eq!(first.bytes(), None, "the tests have the system's allocator");
        // SAFETY: every block is given back with the layout that it has by then.
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
