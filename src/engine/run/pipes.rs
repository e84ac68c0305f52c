//! The pipes from a child process: its events, its last words, and whether it has ended.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::process::Child;

use crate::contract::event::{Event, Observer};
use crate::contract::wire::Record;
use crate::store::error::Damaged;

/// How long to wait for the pipes before looking whether the run stops, in milliseconds.
const PATIENCE: i32 = 50;
/// The same once the process has closed its pipes, so that it is about to end.
const SHORT_PATIENCE: i32 = 2;
/// A longer line is no event; it is cut so that it does not fill the memory.
const LONGEST_LINE: usize = 4 << 20;
/// How many of its last lines on standard error a process that failed is quoted with.
const QUOTED: usize = 12;

/// What a process said.
#[derive(Default)]
pub(crate) struct Heard {
    /// Another process had made the result.
    pub(crate) hit: bool,
    pub(crate) failed: Option<String>,
    /// A damaged input, by the name of the stage that made it.
    pub(crate) damaged: Option<(String, Damaged)>,
    pub(crate) asked_to_stop: bool,
    last_lines: VecDeque<String>,
}

impl Heard {
    /// Remember how the process ended, and forward what the scheduler does not say itself.
    pub(crate) fn event(&mut self, line: &str, observer: &dyn Observer) {
        // A line that is no event is output of a library.
        let Some(record) = Record::parse(line.as_bytes()) else { return };
        match record.event {
            Event::StageHit { .. } => self.hit = true,
            Event::StageFailed { error, .. } => self.failed = Some(error),
            Event::Damaged { stage, file, aside } => {
                let damaged = Damaged { file: PathBuf::from(file), aside: aside.map(PathBuf::from) };
                self.damaged = Some((stage, damaged));
            }
            Event::RunStarted { .. }
            | Event::RunFinished { .. }
            | Event::Fetching { .. }
            | Event::Fetched { .. }
            | Event::StageStarted { .. }
            | Event::StageDone { .. }
            | Event::StageBlocked { .. }
            | Event::StageInterrupted { .. }
            | Event::Exported { .. }
            // This process reports the same about itself.
            | Event::Warning { stage: None, .. } => {}
            other => observer.event(&other),
        }
    }

    /// Forward a line that the process wrote to its standard error.
    pub(crate) fn line(&mut self, stage: &str, line: &str, observer: &dyn Observer) {
        if line.trim().is_empty() {
            return;
        }
        if self.last_lines.len() == QUOTED {
            self.last_lines.pop_front();
        }
        self.last_lines.push_back(line.into());
        observer.event(&Event::Note { stage: stage.into(), text: line.into() });
    }

    /// The last lines on standard error, to append to a message.
    pub(crate) fn tail(&self) -> String {
        match self.last_lines.is_empty() {
            true => String::new(),
            false => format!(": {}", Vec::from(self.last_lines.clone()).join("\n").trim_start_matches("error: ")),
        }
    }
}

/// The standard output and standard error of a child process.
pub(crate) struct Pipes {
    pub(crate) out: Stream,
    pub(crate) err: Stream,
}

/// One end of a pipe, read line by line.
pub(crate) struct Stream {
    /// None once the process has closed it.
    from: Option<File>,
    /// The beginning of a line.
    pending: Vec<u8>,
}

impl Pipes {
    pub(crate) fn of(child: &mut Child) -> io::Result<Self> {
        let out = Stream::new(child.stdout.take().map(Into::into))?;
        let err = Stream::new(child.stderr.take().map(Into::into))?;
        Ok(Self { out, err })
    }

    /// Wait until there is something to read, or for a moment.
    pub(crate) fn wait(&self) -> io::Result<()> {
        let open = [&self.out, &self.err].into_iter().filter_map(|s| Some(s.from.as_ref()?.as_raw_fd()));
        let mut fds: Vec<libc::pollfd> = open.map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 }).collect();
        let patience = if fds.is_empty() { SHORT_PATIENCE } else { PATIENCE };
        // SAFETY: the pointer and the length are those of `fds`, which outlives the call.
        let ready = unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, patience) };
        match ready {
            -1 => Some(io::Error::last_os_error()).filter(|e| e.kind() != ErrorKind::Interrupted).map_or(Ok(()), Err),
            _ => Ok(()),
        }
    }
}

impl Stream {
    fn new(from: Option<OwnedFd>) -> io::Result<Self> {
        if let Some(fd) = &from {
            never_block(fd.as_raw_fd())?;
        }
        Ok(Self { from: from.map(File::from), pending: Vec::new() })
    }

    /// Read what is there, without waiting for more.
    pub(crate) fn read(&mut self, each: &mut dyn FnMut(&str)) {
        let mut buffer = [0; 16 << 10];
        while let Some(from) = &mut self.from {
            match from.read(&mut buffer) {
                Ok(n) if n > 0 => self.take(&buffer[..n], each),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                // The end, or an error that makes the rest unreadable.
                Ok(_) | Err(_) => {
                    self.from = None;
                    self.take(b"\n", each);
                }
            }
        }
    }

    fn take(&mut self, bytes: &[u8], each: &mut dyn FnMut(&str)) {
        for part in bytes.split_inclusive(|&b| b == b'\n') {
            self.pending.extend_from_slice(part);
            if part.ends_with(b"\n") || self.pending.len() > LONGEST_LINE {
                each(String::from_utf8_lossy(&self.pending).trim_end());
                self.pending.clear();
            }
        }
    }
}

fn never_block(fd: RawFd) -> io::Result<()> {
    // SAFETY: system calls on an open descriptor that touch no memory of the process.
    let set = unsafe {
        let flags = libc::fcntl(fd, libc::F_GETFL);
        libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK)
    };
    if set == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Whether the process has ended. It stays a zombie, so that its id and its group's id are not reused.
pub(crate) fn has_ended(child: &Child) -> io::Result<bool> {
    // SAFETY: `siginfo_t` is plain data for which zeros are valid, and it outlives the call.
    let (result, info) = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        (libc::waitid(libc::P_PID, child.id() as libc::id_t, &mut info, options), info)
    };
    match result {
        // SAFETY: `waitid` filled the fields of a child, or left them zero.
        0 => Ok(unsafe { info.si_pid() } != 0),
        _ => Some(io::Error::last_os_error()).filter(|e| e.kind() != ErrorKind::Interrupted).map_or(Ok(false), Err),
    }
}

/// Send a signal to a process that was not waited for yet.
pub(crate) fn kill(child: &Child, signal: libc::c_int) {
    // SAFETY: a system call that touches no memory of this process.
    unsafe { libc::kill(child.id() as libc::pid_t, signal) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_put_together_from_pieces_and_the_last_needs_no_end() {
        let mut stream = Stream { from: None, pending: Vec::new() };
        let mut lines = Vec::new();
        for piece in ["on", "e\ntwo\n\nth", "ree", "\n"] {
            stream.take(piece.as_bytes(), &mut |line| lines.push(line.to_string()));
        }
        assert_eq!(lines, ["one", "two", "", "three"]);
    }

    #[test]
    fn only_the_last_lines_are_quoted() {
        let mut heard = Heard::default();
        assert_eq!(heard.tail(), "");
        for n in 0..QUOTED + 3 {
            heard.line("a", &n.to_string(), &crate::contract::event::Quiet);
        }
        assert!(heard.tail().starts_with(": 3\n4\n") && heard.tail().ends_with("\n14"), "{}", heard.tail());
    }
}
