//! Checks that `run` does what `plan` predicts, for random pipelines and random edits.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::AtomicBool;

use pipe_engine::judge::plan::{Action, Planned};
use proptest::prelude::*;

use super::toys::{Dir, Log, Ran};

/// A random pipeline that edits modify.
#[derive(Debug, Clone)]
struct Model {
    seed: u64,
    stages: Vec<Toy>,
}

#[derive(Debug, Clone)]
struct Toy {
    kind: Kind,
    /// Selects upstream stages, times, texts, …
    number: u8,
    other: u8,
    operational: u8,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Write,
    Read,
    Shout,
    Both,
    Matrix,
    Join,
    Count,
}

impl Toy {
    /// The stage as TOML; it may take text from the stages in `above`.
    fn toml(&self, name: &str, above: &[String]) -> String {
        let pick = |n: u8| above.get(n as usize % above.len().max(1)).map(String::as_str);
        let Self { kind, number, other, operational } = *self;
        let text = format!("use = \"write\"\ntext = \"text {}\"\n", number % 4);
        let body = match (kind, pick(number), pick(other)) {
            (Kind::Read, ..) => format!("use = \"write\"\npath = \"in{}.txt\"\n", number % 3),
            (Kind::Write, ..) | (_, None, _) | (_, _, None) => text,
            (Kind::Shout, Some(a), _) => {
                let first = other % 2 == 0;
                format!(
                    "use = \"shout@{}\"\nin.text = \"{a}\"\nfirst = {first}\nlog-every = {operational}\n",
                    other % 3
                )
            }
            (Kind::Both, Some(a), Some(b)) if a != b => format!("use = \"shout\"\nin.text = [\"{a}\", \"{b}\"]\n"),
            (Kind::Both | Kind::Matrix, Some(a), _) => {
                format!("use = \"shout\"\nin.text = \"{a}\"\nmatrix = {{ times = [1, {}] }}\n", 2 + other % 2)
            }
            (Kind::Join, Some(a), Some(b)) if a != b => format!("use = \"join\"\nin.texts = [\"{a}\", \"{b}\"]\n"),
            (Kind::Join, Some(a), _) => format!("use = \"join\"\nin.texts = \"{a}\"\n"),
            (Kind::Count, Some(a), _) => format!("use = \"count\"\nin.text = \"{a}\"\n"),
        };
        format!("[stage.{name}]\n{body}")
    }
}

impl Model {
    fn toml(&self) -> String {
        let mut text = format!("name = \"random\"\nseed = {}\n", self.seed);
        let mut above: Vec<String> = Vec::new();
        for (i, toy) in self.stages.iter().enumerate() {
            let name = format!("s{i}");
            text += &toy.toml(&name, &above);
            if toy.kind != Kind::Count || above.is_empty() {
                above.push(name);
            }
        }
        text
    }
}

#[derive(Debug, Clone)]
enum Edit {
    Change(usize, Toy),
    Add(Toy),
    Remove,
    Seed(u64),
    /// Write or remove an input file.
    File(u8, Option<u8>),
    LoseObject(usize),
    LoseEntry(usize),
    Force(usize),
    Nothing,
}

fn toy() -> impl Strategy<Value = Toy> {
    let kinds = [Kind::Write, Kind::Read, Kind::Shout, Kind::Both, Kind::Matrix, Kind::Join, Kind::Count];
    (prop::sample::select(kinds.to_vec()), any::<u8>(), any::<u8>(), any::<u8>())
        .prop_map(|(kind, number, other, operational)| Toy { kind, number, other, operational })
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        4 => (any::<usize>(), toy()).prop_map(|(i, t)| Edit::Change(i, t)),
        1 => toy().prop_map(Edit::Add),
        1 => Just(Edit::Remove),
        1 => (0u64..3).prop_map(Edit::Seed),
        2 => (0u8..3, prop::option::weighted(0.8, 0u8..3)).prop_map(|(f, c)| Edit::File(f, c)),
        1 => any::<usize>().prop_map(Edit::LoseObject),
        1 => any::<usize>().prop_map(Edit::LoseEntry),
        1 => any::<usize>().prop_map(Edit::Force),
        1 => Just(Edit::Nothing),
    ]
}

/// The outcome of each stage: `hit`, `run`, `fail` or `blocked`.
fn outcomes(ran: &Ran) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for line in ran.summary() {
        let mut words = line.splitn(3, ' ');
        let (word, stage) = (words.next().unwrap().to_string(), words.next().unwrap());
        // `s1[s0, times=2]` holds a space; the rest of a failure or a block begins with `: ` or ` by `.
        let rest = words.next().unwrap_or_default();
        let end = format!("{stage} {rest}");
        let name = match stage.contains('[') && !stage.contains(']') {
            true => end[..=end.find(']').unwrap()].to_string(),
            false => stage.trim_end_matches(':').to_string(),
        };
        all.insert(name, word);
    }
    all
}

fn agrees(planned: &Planned, outcome: Option<&str>) -> bool {
    match planned.action {
        Action::Hit => outcome == Some("hit"),
        Action::Run => outcome == Some("run"),
        Action::MayStop => matches!(outcome, Some("hit" | "run")),
        Action::Blocked => matches!(outcome, Some("fail" | "blocked")),
    }
}

/// The n-th file below a folder of the cache, if it has any.
fn nth(dir: &Dir, below: &str, n: usize) -> Option<std::path::PathBuf> {
    let mut files = Vec::new();
    let mut open = vec![dir.path(below)];
    while let Some(path) = open.pop() {
        match path.is_dir() {
            true => open.extend(fs::read_dir(path).unwrap().map(|e| e.unwrap().path())),
            false => files.push(path),
        }
    }
    files.sort();
    (!files.is_empty()).then(|| files[n % files.len()].clone())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn run_does_what_plan_said(
        seed in 0u64..3,
        stages in prop::collection::vec(toy(), 1..8),
        edits in prop::collection::vec(edit(), 1..6),
    ) {
        let mut model = Model { seed, stages };
        let dir = Dir::new("");
        (0..3).for_each(|i| dir.write(&format!("in{i}.txt"), "first"));
        for edit in std::iter::once(Edit::Nothing).chain(edits) {
            let mut forced = Vec::new();
            match edit {
                Edit::Change(i, toy) => {
                    let i = i % model.stages.len();
                    model.stages[i] = toy;
                }
                Edit::Add(toy) => model.stages.push(toy),
                Edit::Remove => drop((model.stages.len() > 1).then(|| model.stages.pop())),
                Edit::Seed(seed) => model.seed = seed,
                Edit::File(f, Some(content)) => dir.write(&format!("in{f}.txt"), &format!("content {content}")),
                Edit::File(f, None) => drop(fs::remove_file(dir.path(&format!("in{f}.txt")))),
                Edit::LoseObject(n) => drop(nth(&dir, "cache/objects", n).map(fs::remove_file)),
                Edit::LoseEntry(n) => drop(nth(&dir, "cache/entries", n).map(fs::remove_file)),
                Edit::Force(i) => forced.push(format!("s{}", i % model.stages.len())),
                Edit::Nothing => {}
            }
            dir.write("p.toml", &model.toml());
            let force: Vec<&str> = forced.iter().map(String::as_str).collect();
            let plan = dir.plan_with(&force);
            let ran = dir.run_with(&[], &force, true, &AtomicBool::new(false), Log::default());
            let outcomes = outcomes(&ran);
            for planned in &plan.stages {
                let outcome = outcomes.get(&planned.stage).map(String::as_str);
                prop_assert!(
                    agrees(planned, outcome),
                    "{}: planned {:?} because {:?}, but {outcome:?}\n{}\n{:?}",
                    planned.stage, planned.action, planned.why, model.toml(), ran.summary()
                );
            }
            prop_assert_eq!(plan.stages.len(), outcomes.len());
            let settled = dir.plan().stages.iter().all(|s| matches!(s.action, Action::Hit | Action::Blocked));
            prop_assert!(settled, "{:?}", dir.planned());
        }
    }
}

#[test]
fn the_same_result_is_planned_and_computed_once() {
    let dir = Dir::new("[stage.a]\nuse = \"write@x\"\n[stage.b]\nuse = \"write@x\"\n");
    assert_eq!(dir.planned(), ["run a: no result yet", "may b: the same as a, which runs first"]);
    assert_eq!(dir.run().summary(), ["run a", "hit b"]);
}

#[test]
fn a_stage_whose_input_is_missing_is_blocked_and_so_is_what_needs_it() {
    let dir = Dir::new(
        "[stage.a]\nuse = \"write\"\npath = \"gone.txt\"\n[stage.b]\nuse = \"shout\"\nin.text = \"a\"\n[stage.c]\nuse = \"write@x\"\n",
    );
    assert_eq!(
        dir.planned(),
        ["blocked a: `gone.txt` does not exist", "blocked b: a is blocked", "run c: no result yet"]
    );
    let mut said = dir.run().summary();
    said.sort();
    assert_eq!(said, ["blocked b by a", "fail a: `gone.txt` does not exist", "run c"]);
}

#[test]
fn what_a_remote_does_not_hold_yet_may_turn_out_to_be_anything() {
    use pipe_engine::contract::kind::What;
    use pipe_engine::contract::origin::{Fetched, Origin};
    let origin = |held: fn(&str, What) -> anyhow::Result<Option<Fetched>>| Origin {
        prefix: "far:",
        held,
        fetch: |_, _, _| anyhow::bail!("no net"),
    };
    let dir = Dir::new("[stage.a]\nuse = \"write\"\npath = \"far:x\"\n");
    let pipeline = dir.resolve(None, &[]).unwrap();
    let planned = |origin: Origin| {
        let project = dir.open();
        let prepared = project.prepare(&pipeline, &[], &[], &[origin]).unwrap();
        let plan = prepared.job().plan(Default::default()).unwrap();
        (plan.stages[0].action, plan.stages[0].why.clone())
    };
    assert_eq!(planned(origin(|_, _| Ok(None))), (Action::MayStop, vec!["needs download: far:x".to_string()]));
    let held = origin(|_, _| Ok(Some(Fetched { dir: "/".into(), identity: Some("c0ffee".into()) })));
    assert_eq!(planned(held), (Action::Run, vec!["no result yet".to_string()]));
    let refused = planned(origin(|name, _| anyhow::bail!("{name} is no name")));
    assert_eq!(refused, (Action::Blocked, vec!["far:x is no name".to_string()]));
}

#[test]
fn a_new_version_of_a_kind_runs_its_stages_and_says_so() {
    use pipe_engine::judge::project::read_source;
    let dir = Dir::new("[stage.a]\nuse = \"write@x\"\n[stage.b]\nuse = \"shout\"\nin.text = \"a\"\n");
    dir.run();
    let mut newer = super::toys::KINDS.to_vec();
    newer.iter_mut().filter(|k| k.name == "shout").for_each(|k| k.version += 1);
    let source = read_source(&dir.path("p.toml")).unwrap();
    let pipeline = pipe_engine::declare::resolve::resolve(&source, None, &[], &newer).unwrap();
    let project = dir.open();
    let plan = project.prepare(&pipeline, &[], &[], &[]).unwrap().job().plan(Default::default()).unwrap();
    let said: Vec<_> = plan.stages.iter().map(|s| (s.action, s.why.join("; "))).collect();
    assert_eq!(said, [(Action::Hit, String::new()), (Action::Run, "kind version 1 → 2".to_string())]);
}
