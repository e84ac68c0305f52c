//! Measures the memory that code takes, with an allocator that counts per thread.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, OnceCell};

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static NOW: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
    static ALONE: OnceCell<rayon::ThreadPool> = const { OnceCell::new() };
}

fn count(change: isize) {
    // A thread that is ending no longer has counters, and nobody reads them.
    let _ = NOW.try_with(|now| {
        now.set(now.get() + change);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(now.get())));
    });
}

// SAFETY: every call is forwarded to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        unsafe { System.realloc(at, layout, size) }
    }
}

/// The most memory that `work` held at a time beyond what there was before. What it would spread over threads runs on
/// this one, or it would not be counted.
pub fn peak<T: Send>(work: impl FnOnce() -> T + Send) -> (T, usize) {
    ALONE.with(|pool| {
        let alone = || rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build().unwrap();
        let pool = pool.get_or_init(alone);
        let before = NOW.get();
        PEAK.set(before);
        let result = pool.install(work);
        (result, usize::try_from(PEAK.get() - before).unwrap_or(0))
    })
}

#[test]
fn what_is_held_counts_and_what_was_given_back_does_not() {
    let (kept, peak) = peak(|| {
        drop(vec![1u8; 3 << 20]);
        vec![1u8; 1 << 20]
    });
    assert_eq!(kept.len(), 1 << 20);
    assert!((3 << 20..4 << 20).contains(&peak), "{peak}");
    let (sum, peak) = self::peak(|| {
        use rayon::prelude::*;
        (0..4).into_par_iter().map(|_| vec![0u8; 1 << 20].len()).sum::<usize>()
    });
    assert_eq!(sum, 4 << 20);
    assert!(peak >= 1 << 20, "{peak}");
}
