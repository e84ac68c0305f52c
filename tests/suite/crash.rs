//! Kills real processes: at random times, in chains, and eight at once on one cache.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pipe::cli::{Build, execute};
use pipe::report::Color;

use super::state::{assert_no_leftovers, assert_sound, end_state};
use super::toys::{self, Dir, eventually};

/// The arguments for a copy of this program, separated by spaces.
const WORDS: &str = "PIPE_TEST_WORDS";

const PIPELINE: &str = r#"
name = "crash"
seed = 5
[stage.many]
use = "heap@40"
export = "out/many"
[stage.big]
use = "heap@3"
big = 1500
seed = 6
[stage.trained]
use = "steps@25"
in.text = ["many", "big"]
[stage.tuned]
use = "steps@15"
in.text = "trained"
[stage.all]
use = "join"
in.texts = ["trained", "tuned"]
export = "out/all"
"#;

/// The number of instances of `PIPELINE` that write to the tally.
const COUNTED: usize = 6;

/// Not a test: the other tests start this as a process, `pipe` with toy kinds.
#[test]
fn child() {
    let Ok(words) = std::env::var(WORDS) else { return };
    let build = Build { kinds: toys::KINDS, origins: &[], gpus: |_| Ok(0) };
    let words = std::iter::once("pipe").chain(words.split(' '));
    let code = match execute(words, build, &mut std::io::stdout()) {
        Ok(()) => 0,
        Err(error) => {
            eprint!("{}", error.render(Color::Never));
            error.exit_code()
        }
    };
    std::process::exit(code.into());
}

const CHILD: [&str; 4] = ["--exact", "crash::child", "--nocapture", "--test-threads=1"];

/// Start `pipe run p.toml` as a process that leads its own process group.
fn start(dir: &Dir) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(CHILD)
        .current_dir(dir.temp.path())
        .env(WORDS, "run p.toml --jobs 3")
        .env_remove("PIPE_CACHE")
        .process_group(0)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Repeatable random numbers from 0 to 1.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> f64 {
        self.0 += 1;
        let hash = blake3::hash(&self.0.to_le_bytes());
        f64::from(u32::from_le_bytes(hash.as_bytes()[..4].try_into().unwrap())) / f64::from(u32::MAX)
    }
}

/// `$PIPE_CRASHES`, or `usual`.
pub fn crashes(usual: usize) -> usize {
    std::env::var("PIPE_CRASHES").ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}

fn run_to_the_end(dir: &Dir) -> Duration {
    let begin = Instant::now();
    assert!(start(dir).wait().unwrap().success());
    begin.elapsed()
}

/// How often each line occurs in the tally.
fn tally(dir: &Dir) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for line in fs::read_to_string(dir.path("tally")).unwrap_or_default().lines() {
        *counts.entry(line.to_string()).or_default() += 1;
    }
    counts
}

#[track_caller]
fn assert_same_end(dir: &Dir, right: &Dir, what: &str) {
    assert_eq!(end_state(dir.temp.path()), end_state(right.temp.path()), "{what}");
    assert_no_leftovers(dir.temp.path());
}

#[test]
fn killed_at_random_points_and_resumed_the_end_is_that_of_an_undisturbed_run() {
    let right = Dir::new(PIPELINE);
    // Take the shortest of several runs, because a kill after the end has no effect.
    let again = (0..4).map(|_| run_to_the_end(&Dir::new(PIPELINE))).min();
    let took = run_to_the_end(&right).min(again.unwrap_or_default());
    let (wanted, mut dice) = (crashes(200), Dice(1));
    let (mut kills, mut chains, mut resumed) = (0, 0, 0);
    while kills < wanted {
        let dir = Dir::new(PIPELINE);
        chains += 1;
        let links = 1 + (dice.roll() * 5.0) as usize;
        for _ in 0..links {
            let mut process = start(&dir);
            // Later links have less to do; a tenth of all are killed while they start.
            let share = if dice.roll() < 0.1 { 0.05 } else { 1.0 };
            std::thread::sleep(took.mul_f64(dice.roll() * share));
            process.kill().unwrap();
            let was_killed = process.wait().unwrap().signal() == Some(9);
            kills += usize::from(was_killed);
            assert_sound(dir.temp.path());
            if !was_killed {
                break;
            }
        }
        run_to_the_end(&dir);
        assert_same_end(&dir, &right, &format!("chain {chains}"));
        resumed += tally(&dir).keys().filter(|l| l.contains(" from ") && !l.ends_with(" from 0")).count();
    }
    println!("{kills} kills in {chains} chains; work went on from a checkpoint {resumed} times");
    assert!(resumed > 0, "no kill came between two checkpoints");
}

#[test]
fn eight_processes_on_one_cache_compute_each_stage_once() {
    let right = Dir::new(PIPELINE);
    run_to_the_end(&right);
    let dir = Dir::new(PIPELINE);
    let processes: Vec<Child> = (0..8).map(|_| start(&dir)).collect();
    for mut process in processes {
        assert!(process.wait().unwrap().success());
    }
    assert_eq!((tally(&dir).len(), tally(&dir).values().sum()), (COUNTED, COUNTED), "{:?}", tally(&dir));
    assert_same_end(&dir, &right, "eight at once");
}

#[test]
fn eight_processes_of_which_some_are_killed_end_as_one_undisturbed() {
    let right = Dir::new(PIPELINE);
    let took = run_to_the_end(&right);
    let (rounds, mut dice) = (crashes(24).div_ceil(4), Dice(2));
    for round in 0..rounds {
        let dir = Dir::new(PIPELINE);
        let mut processes: Vec<Child> = (0..8).map(|_| start(&dir)).collect();
        let mut killed = 0;
        for process in &mut processes[..4] {
            std::thread::sleep(took.mul_f64(dice.roll()));
            process.kill().unwrap();
            killed += usize::from(process.wait().unwrap().signal() == Some(9));
        }
        for process in &mut processes[4..] {
            assert!(process.wait().unwrap().success(), "a survivor of round {round} failed");
        }
        // Only killed computations are repeated.
        let computed: usize = tally(&dir).values().sum();
        assert!(computed <= COUNTED + 3 * killed, "{computed} computations with {killed} kills");
        assert_same_end(&dir, &right, &format!("round {round}"));
    }
}

fn signal(process: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &process.id().to_string()]).status().unwrap().success());
}

/// Whether any process of the group is alive.
fn has_group(process: &Child) -> bool {
    let group = format!("-{}", process.id());
    Command::new("kill").args(["-0", "--", &group]).stderr(Stdio::null()).status().unwrap().success()
}

fn is_at_work(dir: &Dir) -> bool {
    let all = fs::read_dir(dir.path("cache/partial")).into_iter().flatten().flatten();
    all.into_iter().any(|e| e.path().join("work/state").exists())
}

#[test]
fn ctrl_c_stops_at_a_checkpoint_with_130_leaves_no_child_and_the_next_run_goes_on() {
    let text = "[stage.a]\nuse = \"steps@600\"\nexport = \"out\"\n";
    let right = Dir::new(text);
    run_to_the_end(&right);
    let dir = Dir::new(text);
    let mut process = start(&dir);
    eventually(|| is_at_work(&dir));
    signal(&process, "-INT");
    assert_eq!(process.wait().unwrap().code(), Some(130));
    assert!(!has_group(&process), "a child was left behind");
    assert_eq!(dir.planned(), ["run a: continues where it was interrupted"]);
    run_to_the_end(&dir);
    let starts = tally(&dir);
    assert!(starts.len() == 2 && starts.contains_key("a from 0"), "{starts:?}");
    assert_same_end(&dir, &right, "after Ctrl-C");
}

#[test]
fn a_second_ctrl_c_aborts_a_stage_that_does_not_listen() {
    let dir = Dir::new("[stage.a]\nuse = \"steps@60000\"\ndeaf = true\n");
    let mut process = start(&dir);
    eventually(|| is_at_work(&dir));
    let state = || fs::read_to_string(work(&dir).join("state")).unwrap();
    signal(&process, "-INT");
    let before = state();
    eventually(|| state() != before);
    assert_eq!(process.try_wait().unwrap(), None, "one Ctrl-C is not enough for a stage that is deaf");
    signal(&process, "-INT");
    assert_eq!(process.wait().unwrap().code(), Some(130));
    assert!(!has_group(&process));
    assert_sound(dir.temp.path());
    // The system released the lock of the dead process, and the checkpoint is still there.
    dir.write("p.toml", "[stage.a]\nuse = \"steps@60000\"\n");
    assert_eq!(dir.planned().len(), 1);
}

fn work(dir: &Dir) -> std::path::PathBuf {
    let all = fs::read_dir(dir.path("cache/partial")).unwrap().flatten();
    all.map(|e| e.path().join("work")).find(|p| Path::exists(p)).unwrap()
}

#[test]
fn a_cache_on_a_read_only_file_system_can_be_read_and_says_so_when_it_cannot_do() {
    let dir = Dir::new("[stage.a]\nuse = \"write@x\"\n[stage.b]\nuse = \"shout\"\nin.text = \"a\"\nexport = \"out\"\n");
    run_to_the_end(&dir);
    let exe = format!("'{}' {}", std::env::current_exe().unwrap().display(), CHILD.join(" "));
    let commands = ["plan p.toml", "why p.toml b", "show p.toml", "run p.toml", "run p.toml --set stage.b.times=2"];
    let mut script = "mount --bind cache cache && mount -o remount,ro,bind cache || exit 9\n".to_string();
    for words in commands {
        script += &format!("{WORDS}='{words}' {exe}; echo \"[{words}: code $?]\"\n");
    }
    let shell = ["-rm", "sh", "-c", &script];
    let output = Command::new("unshare").args(shell).current_dir(dir.temp.path()).env_remove("PIPE_CACHE").output();
    let Some(output) = output.ok().filter(|o| o.status.code() != Some(9) && !o.stdout.is_empty()) else {
        println!("skipped: nothing can be mounted here");
        return;
    };
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    for words in &commands[..4] {
        assert!(out.contains(&format!("[{words}: code 0]")), "{words}: {out}{err}");
    }
    assert!(out.contains("2 stages, 2 cached, 0 to run") && err.contains("2 cached, 0 run"), "{out}{err}");
    assert!(out.contains("stage.b.times=2: code 1]"), "{out}{err}");
    let said = "error: cannot write to the cache ";
    assert!(err.contains(said) && err.contains("choose another folder with --cache-dir or $PIPE_CACHE"), "{out}{err}");
}
