//! Files mapped into memory for reading; one that is truncated meanwhile reads as zeros, and says so, instead of
//! killing the process.
//!
//! Reading from a mapping behind the end of its file raises SIGBUS. The handler here puts a page of zeros in the place
//! if the address lies in one of our mappings, and notes it; any other address is left to the handler that was there
//! before.

use std::fs::File;
use std::io;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use libc::{c_int, c_void, siginfo_t};
use memmap2::Mmap;

/// Mappings at a time. A handler can wait for nothing and allocate nothing, so they have fixed places.
const MOST: usize = 64;

struct Slot {
    /// 0: free.
    start: AtomicUsize,
    end: AtomicUsize,
    torn: AtomicBool,
}

static SLOTS: [Slot; MOST] =
    [const { Slot { start: AtomicUsize::new(0), end: AtomicUsize::new(0), torn: AtomicBool::new(false) } }; MOST];
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();
static PAGE: AtomicUsize = AtomicUsize::new(0);

/// A whole file, as it was when it was opened.
pub(crate) struct Mapped {
    map: Mmap,
    slot: &'static Slot,
}

impl Mapped {
    /// None for an empty file, and while there are too many mappings.
    pub(crate) fn open(file: &File) -> io::Result<Option<Self>> {
        if file.metadata()?.len() == 0 {
            return Ok(None);
        }
        install()?;
        // SAFETY: the bytes may change while they are read, as those of any file may between two reads; who needs to
        // know asks `whole`, and looks at the file again. That they may vanish is what the handler is for.
        let map = unsafe { Mmap::map(file)? };
        let start = map.as_ptr() as usize;
        let free = |s: &&Slot| s.start.compare_exchange(0, start, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        let Some(slot) = SLOTS.iter().find(free) else { return Ok(None) };
        slot.torn.store(false, Ordering::Release);
        slot.end.store(start + map.len(), Ordering::Release);
        Ok(Some(Self { map, slot }))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// An error if the bytes that were read so far were not all of the file.
    pub(crate) fn whole(&self) -> io::Result<()> {
        match self.slot.torn.load(Ordering::Acquire) {
            true => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it became shorter while it was read")),
            false => Ok(()),
        }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // Before the memory is unmapped, which happens after this.
        self.slot.end.store(0, Ordering::Release);
        self.slot.start.store(0, Ordering::Release);
    }
}

/// Put the handler in place, once.
fn install() -> io::Result<()> {
    static DONE: OnceLock<Result<(), i32>> = OnceLock::new();
    let install = || {
        // SAFETY: plain calls with structs that live long enough; the handler does only what a handler may.
        unsafe {
            PAGE.store(usize::try_from(libc::sysconf(libc::_SC_PAGESIZE)).unwrap_or(4096), Ordering::Release);
            let mut before: libc::sigaction = std::mem::zeroed();
            if libc::sigaction(libc::SIGBUS, ptr::null(), &mut before) != 0 {
                return Err(io::Error::last_os_error().raw_os_error().unwrap_or(0));
            }
            let _ = BEFORE.set(before);
            let mut ours: libc::sigaction = std::mem::zeroed();
            ours.sa_sigaction = on_bus as *const () as usize;
            ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            match libc::sigaction(libc::SIGBUS, &ours, ptr::null_mut()) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error().raw_os_error().unwrap_or(0)),
            }
        }
    };
    DONE.get_or_init(install).map_err(io::Error::from_raw_os_error)
}

extern "C" fn on_bus(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel gives a valid `info`; mmap over a page of our own mapping touches nothing else.
    unsafe {
        let at = (*info).si_addr() as usize;
        let page = PAGE.load(Ordering::Acquire);
        let ours = |s: &&Slot| {
            let start = s.start.load(Ordering::Acquire);
            let is_inside = start != 0 && at >= start && at < s.end.load(Ordering::Acquire);
            // A place that was given to another mapping in between is not this one.
            is_inside && s.start.load(Ordering::Acquire) == start
        };
        // Raised by the kernel for an address, and not sent by a process.
        let is_fault = (*info).si_code > 0;
        if let Some(slot) = SLOTS.iter().find(ours).filter(|_| is_fault) {
            slot.torn.store(true, Ordering::Release);
            let place = (at - at % page) as *mut c_void;
            let flags = libc::MAP_FIXED | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            if libc::mmap(place, page, libc::PROT_READ, flags, -1, 0) != libc::MAP_FAILED {
                return;
            }
        }
        pass_on(signal, info, context);
    }
}

/// Leave a signal to whoever had it before; by default that ends the process as soon as the read is tried again.
unsafe fn pass_on(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let before = BEFORE.get().filter(|b| b.sa_sigaction != libc::SIG_DFL && b.sa_sigaction != libc::SIG_IGN);
    // SAFETY: what the kernel had is a handler of the form that its flags say.
    unsafe {
        match before {
            Some(b) if b.sa_flags & libc::SA_SIGINFO != 0 => {
                type Handler = extern "C" fn(c_int, *mut siginfo_t, *mut c_void);
                std::mem::transmute::<usize, Handler>(b.sa_sigaction)(signal, info, context);
            }
            Some(b) => std::mem::transmute::<usize, extern "C" fn(c_int)>(b.sa_sigaction)(signal),
            None => drop(libc::signal(signal, libc::SIG_DFL)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_truncated_under_the_mapping_reads_as_zeros_and_says_so() {
        let temp = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(temp.path(), vec![7u8; 1 << 20]).unwrap();
        let mapped = Mapped::open(temp.as_file()).unwrap().unwrap();
        assert_eq!(mapped.bytes()[(1 << 20) - 1], 7);
        mapped.whole().unwrap();
        temp.as_file().set_len(10).unwrap();
        assert_eq!(mapped.bytes().iter().map(|b| u64::from(*b)).sum::<u64>(), 70);
        assert_eq!(mapped.whole().unwrap_err().to_string(), "it became shorter while it was read");
    }

    #[test]
    fn many_at_once_are_mapped_or_left_to_be_read() {
        let temp = tempfile::NamedTempFile::new().unwrap();
        assert!(Mapped::open(temp.as_file()).unwrap().is_none(), "there is nothing in an empty file");
        std::fs::write(temp.path(), b"some bytes").unwrap();
        let all: Vec<_> = (0..2 * MOST).map(|_| Mapped::open(temp.as_file()).unwrap()).collect();
        let mapped = all.iter().flatten().filter(|m| m.bytes() == b"some bytes").count();
        assert!((1..=MOST).contains(&mapped), "{mapped}");
        drop(all);
        assert!(Mapped::open(temp.as_file()).unwrap().is_some(), "places are given back");
    }
}
