//! Stages as processes: the same results as in threads, whoever is killed, and what is said when one ends badly.

use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use pipe_engine::contract::event::{Event, Observer};
use pipe_engine::contract::run_id::RunId;
use pipe_engine::contract::wire;
use pipe_engine::declare::resolve::resolve;
use pipe_engine::judge::plan::{Plan, Request};
use pipe_engine::judge::project::Project;
use pipe_engine::run::executor::{Executor, Threads};
use pipe_engine::run::processes::Processes;
use pipe_engine::run::schedule::{RunOptions, run};
use pipe_engine::run::single::{Exit, Single};
use pipe_engine::text::diagnostic::Source;

use super::state::{assert_no_leftovers, assert_sound, end_state};
use super::toys::{Dir, KINDS, Log, Ran, eventually};

/// A copy of this program with these words does what a stage's process, or a run with such processes, does.
const STAGE: [&str; 5] = ["executor::child", "--exact", "--nocapture", "--test-threads=1", "as-a-stage"];
const RUN: [&str; 5] = ["executor::child", "--exact", "--nocapture", "--test-threads=1", "as-a-run"];

/// Set by SIGTERM.
static STOP: AtomicBool = AtomicBool::new(false);

extern "C" fn stop(_: libc::c_int) {
    STOP.store(true, Ordering::Relaxed);
}

/// Not a test: the other tests start this as a process, with the project's folder and maybe a stage as the last words.
#[test]
fn child() {
    let words: Vec<String> = std::env::args().collect();
    let handler: extern "C" fn(libc::c_int) = stop;
    // SAFETY: the handler only stores a flag.
    let listen = || unsafe { libc::signal(libc::SIGTERM, handler as libc::sighandler_t) };
    match words.iter().map(String::as_str).skip_while(|w| !w.starts_with("as-a-")).collect::<Vec<_>>()[..] {
        ["as-a-stage", root, stage] => {
            listen();
            std::process::exit(run_stage(Path::new(root), stage));
        }
        ["as-a-run", root] => {
            listen();
            let dir = Path::new(root);
            let outcome = run_in(dir, &processes(dir), &[], &STOP, &Log::default());
            std::process::exit(if outcome.interrupted { 130 } else { outcome.failed.min(1) as i32 });
        }
        _ => {}
    }
}

/// Prints events as lines.
struct Lines(RunId);

impl Observer for Lines {
    fn event(&self, event: &Event) {
        // The test harness has printed the beginning of a line.
        print!("\n{}", wire::line(&self.0, wire::now(), event).unwrap());
    }
}

fn run_stage(root: &Path, stage: &str) -> i32 {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).unwrap();
    let plan: Plan = serde_json::from_str(&text).unwrap();
    let source = plan.source.clone().unwrap_or_else(|| fs::read_to_string(root.join("p.toml")).unwrap());
    let pipeline = resolve(&Source::new("p.toml", source), None, &[], KINDS).unwrap();
    let project = Project::open(root, None).unwrap();
    let prepared = project.prepare(&pipeline, &[stage.to_string()], &plan.request.force, &[]).unwrap();
    let at = pipeline.instances.iter().position(|i| i.name == stage).unwrap();
    let id = RunId::now();
    let observer = Lines(id.clone());
    let single =
        Single { id: &id, job: &prepared.job(), plan: &plan, at, device: "cpu", observer: &observer, stop: &STOP };
    match single.run() {
        Ok(exit) => exit as i32,
        Err(e) => {
            eprintln!("error: {e}");
            Exit::Failed as i32
        }
    }
}

fn processes(root: &Path) -> Processes {
    let mut arguments: Vec<OsString> = STAGE.iter().map(OsString::from).collect();
    arguments.push(root.into());
    Processes { program: std::env::current_exe().unwrap(), arguments, request: Request::default() }
}

fn run_in(
    root: &Path,
    executor: &dyn Executor,
    force: &[&str],
    stop: &AtomicBool,
    log: &Log,
) -> pipe_engine::contract::event::Outcome {
    let text = fs::read_to_string(root.join("p.toml")).unwrap();
    let pipeline = resolve(&Source::new("p.toml", text), None, &[], KINDS).unwrap();
    let project = Project::open(root, None).unwrap();
    let force: Vec<String> = force.iter().map(|s| s.to_string()).collect();
    let prepared = project.prepare(&pipeline, &[], &force, &[]).unwrap();
    let id = &RunId::now();
    let options =
        RunOptions { id, jobs: 4, keep_going: true, device: "cpu", gpus: 0, memory: None, plan: None, executor };
    run(&prepared.job(), &options, log, stop).unwrap()
}

/// Run the project with each stage as a process.
fn run_with(dir: &Dir, executor: &dyn Executor, force: &[&str], stop: &AtomicBool, log: Log) -> Ran {
    let outcome = run_in(dir.temp.path(), executor, force, stop, &log);
    Ran { outcome, events: log.events.into_inner().unwrap() }
}

fn run_processes(dir: &Dir) -> Ran {
    run_with(dir, &processes(dir.temp.path()), &[], &AtomicBool::new(false), Log::default())
}

fn run_threads(dir: &Dir) -> Ran {
    run_with(dir, &Threads, &[], &AtomicBool::new(false), Log::default())
}

/// The same pipeline in a folder of its own, run to its end in threads.
fn right(pipeline: &str) -> Dir {
    let dir = Dir::new(pipeline);
    assert_eq!(run_threads(&dir).outcome.failed, 0);
    dir
}

/// The processes that `parent` started and that still run, by id.
fn children(parent: u32) -> Vec<u32> {
    let all = fs::read_dir("/proc").unwrap().flatten();
    let ids = all.filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
    let is_child = |id: &u32| {
        // The name, in parentheses, may contain anything.
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        let mut words = rest.split(' ');
        words.next().is_some_and(|state| state != "Z") && words.next() == Some(&parent.to_string())
    };
    ids.filter(is_child).collect()
}

/// The process of a stage of this project that this program started.
fn process_of(dir: &Dir) -> Option<u32> {
    let root = dir.temp.path().to_str().unwrap();
    let is_it = |id: &u32| fs::read_to_string(format!("/proc/{id}/cmdline")).is_ok_and(|line| line.contains(root));
    children(std::process::id()).into_iter().find(is_it)
}

fn is_alive(id: u32) -> bool {
    fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn kill(id: u32, signal: libc::c_int) {
    // SAFETY: a system call that touches no memory of this process.
    assert_eq!(unsafe { libc::kill(id as libc::pid_t, signal) }, 0);
}

fn is_at_work(dir: &Dir) -> bool {
    let all = fs::read_dir(dir.path("cache/partial")).into_iter().flatten().flatten();
    all.into_iter().any(|e| e.path().join("work/state").exists())
}

/// `a from 0`, … in the order in which stages computed.
fn tally(dir: &Dir) -> Vec<String> {
    fs::read_to_string(dir.path("tally")).unwrap_or_default().lines().map(str::to_string).collect()
}

const PIPELINE: &str = r#"
name = "all"
seed = 5
[stage.many]
use = "heap@12"
export = "out/many"
[stage.big]
use = "heap@3"
big = 100
seed = 6
[stage.trained]
use = "steps@5"
in.text = ["many", "big"]
[stage.tuned]
use = "steps@5"
in.text = "trained"
[stage.loud]
use = "shout@2"
in.text = "tuned"
[stage.all]
use = "join"
in.texts = ["trained", "tuned", "loud"]
export = "out/all"
"#;

#[test]
fn processes_leave_the_same_files_as_threads_and_report_the_same() {
    let right = Dir::new(PIPELINE);
    let threads = run_threads(&right);
    let dir = Dir::new(PIPELINE);
    let ran = run_processes(&dir);
    assert_eq!(ran.sorted(), threads.sorted());
    assert_eq!(end_state(dir.temp.path()), end_state(right.temp.path()));
    assert_no_leftovers(dir.temp.path());
    let facts = |ran: &Ran| {
        let facts = |e: &Event| match e {
            Event::StageDone { stage, facts, fingerprint, .. } => {
                Some((stage.clone(), fingerprint.clone(), facts.clone()))
            }
            _ => None,
        };
        let mut all: Vec<_> = ran.events.iter().filter_map(facts).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    };
    assert_eq!(facts(&ran), facts(&threads));
    assert_eq!((run_processes(&dir).outcome.hits, run_threads(&dir).outcome.hits), (9, 9));
}

#[test]
fn a_note_of_the_process_reaches_the_observer_and_a_forced_stage_runs_again() {
    let dir = Dir::new("[stage.a]\nuse = \"wait@2\"\n[stage.b]\nuse = \"shout\"\nin.text = \"a\"\n");
    let notes = |ran: &Ran| {
        let note = |e: &&Event| matches!(e, Event::Note { stage, text } if stage == "a" && text == "from tick 0");
        ran.events.iter().filter(note).count()
    };
    assert_eq!(notes(&run_processes(&dir)), 1);
    let executor = processes(dir.temp.path());
    let ran = run_with(&dir, &executor, &["a"], &AtomicBool::new(false), Log::default());
    assert_eq!((ran.sorted(), notes(&ran)), (vec!["hit b".into(), "run a".to_string()], 1));
}

#[test]
fn an_error_and_a_panic_read_as_in_threads() {
    for how in ["error", "panic", "link"] {
        let text = format!("[stage.a]\nuse = \"fail@{how}\"\n[stage.b]\nuse = \"count\"\nin.text = \"a\"\n");
        let dir = Dir::new(&text);
        assert_eq!(run_processes(&dir).summary(), run_threads(&Dir::new(&text)).summary(), "{how}");
    }
}

#[test]
fn damage_that_the_process_finds_sends_the_maker_back() {
    let text = "[stage.a]\nuse = \"write@hello\"\n";
    let dir = Dir::new(text);
    run_processes(&dir);
    let object = super::disks::files(&dir.path("cache/objects")).pop().unwrap();
    fs::remove_file(&object).unwrap();
    fs::write(&object, "hullo").unwrap();
    dir.write("p.toml", &format!("{text}[stage.b]\nuse = \"shout\"\nin.text = \"a\"\n"));
    let ran = run_processes(&dir);
    assert_eq!(ran.summary(), ["hit a", "damaged a", "run a", "run b"]);
    let aside = |e: &Event| matches!(e, Event::Damaged { aside: Some(path), .. } if path.contains("damaged"));
    assert!(ran.events.iter().any(aside), "{:?}", ran.events);
    fs::remove_dir_all(dir.path("cache/damaged")).unwrap();
    assert_sound(dir.temp.path());
}

#[test]
fn a_process_that_is_killed_fails_its_stage_and_the_next_run_resumes() {
    let text = "seed = 3\n[stage.a]\nuse = \"steps@400\"\n[stage.b]\nuse = \"write@x\"\n";
    let right = right(text);
    let dir = Dir::new(text);
    let ran = std::thread::scope(|scope| {
        let run = scope.spawn(|| run_processes(&dir));
        eventually(|| is_at_work(&dir));
        eventually(|| process_of(&dir).is_some());
        kill(process_of(&dir).unwrap(), libc::SIGKILL);
        run.join().unwrap()
    });
    let said = ran.sorted().into_iter().find(|s| s.starts_with("fail a")).unwrap();
    assert!(
        said.starts_with(
            "fail a: the process of stage `a` ended by signal 9 (SIGKILL); run again to resume from its last checkpoint"
        ),
        "{said}"
    );
    assert_eq!((ran.outcome.ran, ran.outcome.failed), (1, 1));
    assert_sound(dir.temp.path());
    assert_eq!(run_processes(&dir).sorted(), ["hit b", "run a"]);
    let starts = tally(&dir);
    assert!(starts.len() == 2 && starts[1] != "a from 0", "{starts:?}");
    assert_eq!(end_state(dir.temp.path()), end_state(right.temp.path()));
    assert_no_leftovers(dir.temp.path());
}

fn start_run(dir: &Dir) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(RUN).arg(dir.temp.path()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn a_process_dies_with_a_killed_run_and_the_next_run_resumes() {
    let text = "seed = 4\n[stage.a]\nuse = \"steps@400\"\ndeaf = true\n";
    let right = right(text);
    let dir = Dir::new(text);
    let mut run = start_run(&dir);
    eventually(|| is_at_work(&dir));
    let child = children(run.id())[0];
    run.kill().unwrap();
    assert_eq!(run.wait().unwrap().signal(), Some(9));
    eventually(|| !is_alive(child));
    assert_sound(dir.temp.path());
    assert_eq!(run_processes(&dir).summary(), ["run a"]);
    let starts = tally(&dir);
    assert!(starts.len() == 2 && starts[1] != "a from 0", "{starts:?}");
    assert_eq!(end_state(dir.temp.path()), end_state(right.temp.path()));
    assert_no_leftovers(dir.temp.path());
}

#[test]
fn a_run_that_stops_asks_its_processes_for_checkpoints() {
    let text = "seed = 5\n[stage.a]\nuse = \"steps@400\"\n";
    let right = right(text);
    let dir = Dir::new(text);
    let mut run = start_run(&dir);
    eventually(|| is_at_work(&dir));
    kill(run.id(), libc::SIGTERM);
    assert_eq!(run.wait().unwrap().code(), Some(130));
    assert_eq!(run_processes(&dir).summary(), ["run a"]);
    let starts = tally(&dir);
    assert!(starts.len() == 2 && starts[1] != "a from 0", "{starts:?}");
    assert_eq!(end_state(dir.temp.path()), end_state(right.temp.path()));
}

#[test]
fn a_process_that_is_asked_to_stop_interrupts_its_stage_and_not_the_others() {
    let dir = Dir::new("[stage.a]\nuse = \"steps@4000\"\n[stage.b]\nuse = \"count\"\nin.text = \"a\"\n");
    let ran = std::thread::scope(|scope| {
        let run = scope.spawn(|| run_processes(&dir));
        eventually(|| is_at_work(&dir));
        eventually(|| process_of(&dir).is_some());
        kill(process_of(&dir).unwrap(), libc::SIGTERM);
        run.join().unwrap()
    });
    assert_eq!(ran.summary(), ["interrupted a", "blocked b by a"]);
    assert!(ran.outcome.interrupted);
}

/// The plan of a project as it is now, with the pipeline file's text or without.
fn plan_of(dir: &Dir) -> Plan {
    Plan { source: Some(dir.read("p.toml")), ..dir.plan() }
}

/// Start the process of a stage that nothing waits for.
fn start_stage(dir: &Dir, plan: &Plan, stage: &str) -> Child {
    let file = dir.path("plan.json");
    fs::write(&file, serde_json::to_vec(plan).unwrap()).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(STAGE).arg(dir.temp.path()).arg(stage).stdin(fs::File::open(file).unwrap());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn a_process_at_work_is_awaited_and_its_result_taken_over() {
    for executor in ["threads", "processes"] {
        let dir = Dir::new("[stage.a]\nuse = \"steps@300\"\n[stage.b]\nuse = \"count\"\nin.text = \"a\"\n");
        let mut alone = start_stage(&dir, &plan_of(&dir), "a");
        eventually(|| is_at_work(&dir));
        let ran = if executor == "threads" { run_threads(&dir) } else { run_processes(&dir) };
        assert_eq!(ran.summary(), ["hit a", "run b"], "{executor}");
        assert!(ran.events.iter().any(|e| matches!(e, Event::StageWaiting { .. })), "{executor}: {:?}", ran.events);
        assert_eq!((alone.wait().unwrap().code(), tally(&dir)), (Some(0), vec!["a from 0".into()]));
        assert_no_leftovers(dir.temp.path());
    }
}

/// The exit code of a stage's process, and the error that it reports.
fn alone(dir: &Dir, plan: &Plan, stage: &str) -> (Option<i32>, String) {
    let output = start_stage(dir, plan, stage).wait_with_output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    let errors = out.lines().filter_map(|l| pipe_engine::contract::wire::Record::parse(l.as_bytes())).filter_map(|r| {
        match r.event {
            Event::StageFailed { error, .. } => Some(error),
            _ => None,
        }
    });
    (output.status.code(), errors.collect::<Vec<_>>().join("; "))
}

#[test]
fn one_stage_needs_its_inputs_in_the_cache_and_names_those_that_are_missing() {
    let dir = Dir::new(PIPELINE);
    let plan = plan_of(&dir);
    let missing =
        "`tuned[many]` needs the result of `trained[many]`, which is not in the cache; run `trained[many]` first";
    assert_eq!(alone(&dir, &plan, "tuned[many]"), (Some(66), missing.into()));
    let (code, said) = alone(&dir, &plan, "all");
    assert_eq!(code, Some(66));
    let missing = "`all` needs results that are not in the cache; run these stages first: `trained[many]`, `trained[big]`, \
                   `tuned[many]`, `tuned[big]` and 2 more";
    assert_eq!(said, missing);
    for stage in ["many", "trained[many]", "tuned[many]", "many"] {
        assert_eq!(alone(&dir, &plan, stage), (Some(0), String::new()), "{stage}");
    }
    let ran = run_threads(&dir).sorted();
    let hits: Vec<_> = ran.iter().filter(|s| s.starts_with("hit")).collect();
    assert_eq!(hits, ["hit many", "hit trained[many]", "hit tuned[many]"]);
    assert_sound(dir.temp.path());
}

#[test]
fn one_stage_that_changed_since_its_plan_is_refused() {
    let text = "[stage.a]\nuse = \"write\"\npath = \"a.txt\"\n[stage.b]\nuse = \"shout@2\"\nin.text = \"a\"\n";
    let dir = Dir::new(text);
    dir.write("a.txt", "one");
    let planned = dir.plan();
    assert_eq!(alone(&dir, &planned, "a"), (Some(0), String::new()));
    // Without the text of the pipeline file, the plan is held against the file.
    dir.write("p.toml", &text.replace("shout@2", "shout@3"));
    let changed = "changed since the plan was made: times 2 → 3";
    assert_eq!(alone(&dir, &planned, "b"), (Some(1), changed.into()));
    // With it, an edit while the run goes on changes nothing.
    assert_eq!(alone(&dir, &Plan { source: Some(text.into()), ..planned.clone() }, "b"), (Some(0), String::new()));
    let other = Plan { stages: Vec::new(), ..planned };
    let unknown = "changed since the plan was made: the plan has no stage `b`";
    assert_eq!(alone(&dir, &other, "b"), (Some(1), unknown.into()));
}

#[test]
fn an_edit_of_the_pipeline_file_does_not_reach_a_run_that_has_begun() {
    let text = "[stage.a]\nuse = \"steps@200\"\n[stage.b]\nuse = \"shout@2\"\nin.text = \"a\"\n";
    let dir = Dir::new(text);
    let ran = std::thread::scope(|scope| {
        let run = scope.spawn(|| run_processes(&dir));
        eventually(|| is_at_work(&dir));
        dir.write("p.toml", &text.replace("shout@2", "shout@3"));
        run.join().unwrap()
    });
    assert_eq!(ran.summary(), ["run a", "run b"]);
}

#[test]
fn programs_that_are_none_of_ours_are_named_with_what_they_said() {
    let dir = Dir::new("[stage.a]\nuse = \"write@x\"\n");
    let with = |program: &str, arguments: &[&str]| {
        let arguments = arguments.iter().map(OsString::from).collect();
        let executor = Processes { program: PathBuf::from(program), arguments, request: Request::default() };
        run_with(&dir, &executor, &[], &AtomicBool::new(false), Log::default()).summary().join("; ")
    };
    assert_eq!(
        with("/no/such/program", &[]),
        "fail a: cannot start the process of stage `a` (/no/such/program): No such file or directory (os error 2)"
    );
    let cache = dir.path("cache").display().to_string();
    assert_eq!(
        with("/bin/true", &[]),
        format!("fail a: the process of stage `a` ended without an error, but its result is not in the cache {cache}")
    );
    assert_eq!(with("/bin/false", &[]), "fail a: the process of stage `a` ended with exit code 1");
    assert_eq!(
        with("/bin/sh", &["-c", "echo 'error: no such option' >&2; exit 2"]),
        "fail a: the process of stage `a` ended with exit code 2: no such option"
    );
    assert_eq!(
        with("/bin/sh", &["-c", "kill -11 $$"]),
        "fail a: the process of stage `a` ended by signal 11 (SIGSEGV); run again to resume from its last checkpoint"
    );
    // A process that outlives the stage's is ended, and does not keep the run waiting.
    assert_eq!(
        with("/bin/sh", &["-c", "sleep 600 & exit 3"]),
        "fail a: the process of stage `a` ended with exit code 3"
    );
    assert_eq!(run_processes(&dir).summary(), ["run a"]);
}
