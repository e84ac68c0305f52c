//! The allocator of the program: mimalloc, told to hold on to what is freed.

pub use mimalloc::MiMalloc as Allocator;

use libmimalloc_sys::{mi_option_set_default, mi_option_t, mi_option_use_numa_nodes};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_is_the_one_meant() {
        // SAFETY: reading an option is reading an integer.
        assert_eq!(unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) }, 1000, "the default, in milliseconds");
    }
}
