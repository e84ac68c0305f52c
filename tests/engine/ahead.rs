//! What kinds tell before the first stage runs, with the parameters and files of the stages upstream in view.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use pipe_engine::contract::ahead::Ahead;
use pipe_engine::contract::context::Context;
use pipe_engine::contract::kind::{External, Invalid, Kind, Port, Stage, What};
use pipe_engine::contract::run_id::RunId;
use pipe_engine::declare::resolve::{Pipeline, resolve};
use pipe_engine::judge::project::Project;
use pipe_engine::run::executor::Threads;
use pipe_engine::run::schedule::{RunOptions, run};
use pipe_engine::text::diagnostic::{Diagnostic, Source};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::toys::{Dir, KINDS, Log, TEXT};

/// Wants the file that the stage upstream reads to be equal to its own.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Same {
    file: String,
}

static COMPARED: AtomicUsize = AtomicUsize::new(0);

impl Stage for Same {
    const KIND: &'static str = "same";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] = &[Port::one("text", TEXT)];
    const OUTPUTS: &'static [Port] = &[Port::one("text", TEXT)];

    fn externals(&self) -> Vec<External> {
        vec![External { name: "file".into(), key: "file", path: self.file.clone(), what: What::File }]
    }

    fn check_ahead(&self, stage: &Ahead) -> Vec<Invalid> {
        // Through any stages between.
        let mut source = stage.input("text");
        while let Some(from) = source.and_then(|source| source.input("text")) {
            source = Some(from);
        }
        let Some(source) = source else { return Vec::new() };
        let (Some(ours), Some(theirs)) = (stage.external("file"), source.external("path")) else { return Vec::new() };
        if !stage.must_run() {
            return Vec::new();
        }
        let differs = stage.remembered(&format!("{} {}", ours.display(), theirs.display()), || {
            COMPARED.fetch_add(1, Ordering::Relaxed);
            (std::fs::read(ours).ok() != std::fs::read(theirs).ok()).then(|| "their contents".to_owned())
        });
        let say = |what: String| {
            let (mine, other) = (stage.name(), source.name());
            let message =
                format!("`{mine}` and `{other}` ({}, {}) differ in {what}", source.kind(), source.line("path"));
            Invalid::new("file", message).help(format!("use {}", source.parameters()["path"]))
        };
        differs.map(say).into_iter().collect()
    }

    fn run(&self, cx: &mut Context) -> anyhow::Result<()> {
        std::fs::write(cx.output("text")?.join("text"), "same")?;
        Ok(())
    }
}

const TEXT_FILE: &str = "[stage.a]\nuse = \"write\"\npath = \"one.txt\"\n[stage.b]\nuse = \"shout@2\"\nin.text = \"a\"\n[stage.c]\nuse = \"same\"\nin.text = \"b\"\nfile = \"two.txt\"\n[stage.d]\nuse = \"same\"\nin.text = \"a\"\nfile = \"two.txt\"\n";

fn resolved(text: &str) -> Pipeline {
    let kinds = [KINDS, &[Kind::of::<Same>()]].concat();
    resolve(&Source::new("p.toml", text), None, &[], &kinds).unwrap_or_else(|e| panic!("{:#?}", e.0))
}

fn foreseen(project: &Project, pipeline: &Pipeline, force: &[&str]) -> Vec<Diagnostic> {
    let force: Vec<String> = force.iter().map(|word| word.to_string()).collect();
    let prepared = project.prepare(pipeline, &[], &force, &[]).unwrap();
    prepared.job().foreseen().unwrap().map(|problems| problems.0).unwrap_or_default()
}

fn run_all(project: &Project, pipeline: &Pipeline) {
    let prepared = project.prepare(pipeline, &[], &[], &[]).unwrap();
    let options = RunOptions {
        id: &RunId::now(),
        jobs: 2,
        keep_going: true,
        device: "cpu",
        gpus: 0,
        memory: None,
        plan: None,
        executor: &Threads,
    };
    let outcome = run(&prepared.job(), &options, &Log::default(), &AtomicBool::new(false)).unwrap();
    assert_eq!((outcome.failed, outcome.blocked), (0, 0));
}

#[test]
fn a_kind_tells_what_would_go_wrong_with_both_places() {
    let dir = Dir::new(TEXT_FILE);
    dir.write("one.txt", "one");
    dir.write("two.txt", "two");
    let (project, pipeline) = (dir.open(), resolved(TEXT_FILE));
    let found = foreseen(&project, &pipeline, &[]);
    let said: Vec<&str> = found.iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(
        said,
        [
            "`c` and `a` (write, p.toml:3) differ in their contents",
            "`d` and `a` (write, p.toml:3) differ in their contents"
        ]
    );
    assert_eq!(found[0].place.as_ref().unwrap().line_column(), (10, 8));
    assert_eq!(found[0].help, ["use \"one.txt\""]);
    assert_eq!(COMPARED.load(Ordering::Relaxed), 1, "the same question is answered once");
    // What is not on this machine cannot be compared; that it is missing is another error.
    std::fs::remove_file(dir.path("two.txt")).unwrap();
    assert_eq!(foreseen(&project, &pipeline, &[]), []);
    dir.write("two.txt", "one");
    assert_eq!(foreseen(&project, &pipeline, &[]), []);
    // Results that are there are not judged again, and nothing is compared for them.
    dir.write("two.txt", "two");
    run_all(&project, &pipeline);
    let before = COMPARED.load(Ordering::Relaxed);
    assert_eq!(foreseen(&project, &pipeline, &[]), []);
    assert_eq!(COMPARED.load(Ordering::Relaxed), before);
    assert_eq!(foreseen(&project, &pipeline, &["d"]).len(), 1);
}
