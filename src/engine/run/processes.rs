//! `Processes`: each stage is a child process that judges it again, runs it and commits the result.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::Ordering;
use std::thread::{self, Scope};

use super::attempt::Order;
use super::ended::Attempt;
use super::executor::{Ended, Executor, on_thread};
use super::pipes::{Heard, Pipes, has_ended, kill};
use super::single::Exit;
use crate::judge::job::Job;
use crate::judge::plan::{Action, Plan, Planned, Request, VERSION};
use crate::store::error::CacheError;

/// Runs each stage in a process: `PROGRAM ARGUMENTS… STAGE`, with a plan of that stage on its standard input. The
/// process writes events as JSON lines to its standard output, ends with a code of [`Exit`], and dies with this one.
pub struct Processes {
    pub program: PathBuf,
    /// The arguments before the stage's name.
    pub arguments: Vec<OsString>,
    /// What the user asked this run for.
    pub request: Request,
}

/// Such a thread waits and forwards events, or fetches a result from the archive.
const STACK: usize = 2 << 20;

impl Executor for Processes {
    fn start<'scope, 'env>(
        &'env self,
        scope: &'scope Scope<'scope, 'env>,
        job: &'env Job<'env>,
        order: Order<'env>,
        ended: Ended,
    ) {
        let name = format!("process of {}", job.instance(order.at).name);
        let thread = thread::Builder::new().name(name).stack_size(STACK);
        on_thread(scope, thread, ended, move || {
            order.fetch_or(|| self.attempt(job, &order).unwrap_or_else(|error| Attempt::Failed { error }))
        });
    }
}

impl Processes {
    fn attempt(&self, job: &Job<'_>, order: &Order<'_>) -> Result<Attempt, String> {
        let stage = job.instance(order.at).name.as_str();
        lease(job, order).map_err(|e| e.to_string())?;
        // The process need not read again what this one has read. If saving fails, it does.
        let _ = job.stats.save();
        let plan = serde_json::to_vec(&self.plan(job, order)).map_err(|e| format!("cannot write a plan: {e}"))?;
        let cannot = |what: &str, e: io::Error| {
            format!("cannot {what} the process of stage `{stage}` ({}): {e}", self.program.display())
        };
        let mut child = self.spawn(stage).map_err(|e| cannot("start", e))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A process that ends without reading its plan is judged by its exit code.
            let _ = stdin.write_all(&plan);
        }
        let mut heard = Heard::default();
        let status = follow(&mut child, order, stage, &mut heard).map_err(|e| {
            kill(&child, libc::SIGKILL);
            cannot("follow", e)
        })?;
        judge_end(job, order, status, heard)
    }

    /// The plan of one stage: what it depends on, and which results its inputs are.
    fn plan(&self, job: &Job<'_>, order: &Order<'_>) -> Plan {
        let mut stages: Vec<Planned> = Vec::with_capacity(order.upstream.len() + 1);
        for (&from, entry) in &order.upstream {
            stages.push(Planned {
                stage: job.instance(from).name.clone(),
                kind: entry.kind.clone(),
                action: Action::Hit,
                why: Vec::new(),
                seconds: Some(entry.made.seconds),
                trials: None,
                fetch: None,
                fingerprint: Some(entry.manifest.fingerprint()),
                depends_on: entry.manifest.clone(),
                open: Vec::new(),
                inputs: job.sources(from),
            });
        }
        let instance = job.instance(order.at);
        stages.push(Planned {
            stage: instance.name.clone(),
            kind: instance.kind.name.into(),
            action: Action::Run,
            why: Vec::new(),
            seconds: None,
            trials: None,
            fetch: None,
            fingerprint: Some(order.fingerprint.clone()),
            depends_on: order.manifest.clone(),
            open: Vec::new(),
            inputs: job.sources(order.at),
        });
        let force = if order.forced { vec![instance.name.clone()] } else { Vec::new() };
        Plan {
            version: VERSION,
            request: Request { stages: vec![instance.name.clone()], force, ..self.request.clone() },
            pipeline: job.pipeline.name.clone(),
            profile: job.pipeline.profile.clone(),
            source: Some(job.pipeline.source.text.clone()),
            stages,
        }
    }

    /// Start the process of a stage, in a process group of its own: Ctrl-C in the terminal reaches only this process,
    /// which passes it on once.
    fn spawn(&self, stage: &str) -> io::Result<Child> {
        let parent = std::process::id() as libc::pid_t;
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).arg(stage);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let die_with_parent = move || {
            // SAFETY: `prctl` and `getppid` are system calls that touch no memory of the process.
            let (set, now) = unsafe { (libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL), libc::getppid()) };
            match set {
                0 if now == parent => Ok(()),
                // The parent died before the call.
                0 => Err(io::Error::from_raw_os_error(libc::ECHILD)),
                _ => Err(io::Error::last_os_error()),
            }
        };
        // The system sends this signal when the spawning thread ends. That thread waits for the process in `follow`.
        // SAFETY: between fork and exec the closure allocates nothing and takes no lock.
        unsafe { command.pre_exec(die_with_parent) };
        command.spawn()
    }
}

/// Lease the result before it exists: a collection must not remove it between the end of the process, whose lease ends
/// too, and the moment at which this process reads the entry.
fn lease(job: &Job<'_>, order: &Order<'_>) -> Result<(), CacheError> {
    let shared = job.cache.shared()?;
    order.lease.keep(std::slice::from_ref(&order.fingerprint), &shared)
}

/// Forward the events of a process until it ends; ask it to stop when the run stops.
fn follow(child: &mut Child, order: &Order<'_>, stage: &str, heard: &mut Heard) -> io::Result<ExitStatus> {
    let mut pipes = Pipes::of(child)?;
    loop {
        if !heard.asked_to_stop && order.stop.load(Ordering::Relaxed) {
            heard.asked_to_stop = true;
            kill(child, libc::SIGTERM);
        }
        pipes.wait()?;
        // Ask first: what the process wrote before its end is then in the pipes.
        let ended = has_ended(child)?;
        pipes.out.read(&mut |line| heard.event(line, order.observer));
        pipes.err.read(&mut |line| heard.line(stage, line, order.observer));
        if ended {
            // The group's id is not reused before `wait`. Nothing that the process started outlives it.
            kill_group(child);
            return child.wait();
        }
    }
}

fn kill_group(child: &Child) {
    // SAFETY: a system call that touches no memory of this process.
    unsafe { libc::kill(-(child.id() as libc::pid_t), libc::SIGKILL) };
}

/// What the end of a process means. Success is an entry in the cache.
fn judge_end(job: &Job<'_>, order: &Order<'_>, status: ExitStatus, heard: Heard) -> Result<Attempt, String> {
    let stage = &job.instance(order.at).name;
    let entry = || job.cache.entry(&order.fingerprint).map_err(|e| e.to_string());
    let code = |exit: Exit| status.code() == Some(exit as i32);
    if code(Exit::Done) {
        return match entry()? {
            Some(entry) => Ok(Attempt::Done { entry: Box::new(entry), was_made: !heard.hit }),
            None => Err(format!(
                "the process of stage `{stage}` ended without an error, but its result is not in the cache {}",
                job.cache.dir().display()
            )),
        };
    }
    if code(Exit::Interrupted) || (heard.asked_to_stop && stopped_early(status)) {
        return Ok(Attempt::Interrupted);
    }
    if let (true, Some((maker, damaged))) = (code(Exit::DamagedInput), &heard.damaged)
        && let Some(&from) = order.upstream.keys().find(|&&from| &job.instance(from).name == maker)
    {
        return Ok(Attempt::DamagedInput { from, damaged: damaged.clone() });
    }
    if let Some(signal) = status.signal() {
        // It may have been killed after it committed the result.
        if let (false, Some(entry)) = (order.forced, entry()?) {
            return Ok(Attempt::Done { entry: Box::new(entry), was_made: true });
        }
        let memory = match signal {
            libc::SIGKILL => "; if nobody killed it, the machine may have run out of memory",
            _ => "",
        };
        return Err(format!(
            "the process of stage `{stage}` ended by signal {signal}{}; run again to resume from its last \
             checkpoint{memory}{}",
            name_of(signal),
            heard.tail()
        ));
    }
    match heard.failed {
        Some(error) => Err(error),
        None => {
            let code = status.code().unwrap_or(-1);
            Err(format!("the process of stage `{stage}` ended with exit code {code}{}", heard.tail()))
        }
    }
}

/// Whether a process that was asked to stop ended before it could listen, or was asked twice.
fn stopped_early(status: ExitStatus) -> bool {
    status.signal() == Some(libc::SIGTERM) || status.code() == Some(130)
}

fn name_of(signal: i32) -> &'static str {
    match signal {
        libc::SIGKILL => " (SIGKILL)",
        libc::SIGTERM => " (SIGTERM)",
        libc::SIGSEGV => " (SIGSEGV)",
        libc::SIGBUS => " (SIGBUS)",
        libc::SIGABRT => " (SIGABRT)",
        libc::SIGILL => " (SIGILL)",
        libc::SIGINT => " (SIGINT)",
        libc::SIGHUP => " (SIGHUP)",
        _ => "",
    }
}
