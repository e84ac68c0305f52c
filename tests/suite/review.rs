//! `pipe diff` through the binary in reviews: the documentation's examples, git's diff drivers and the workflow.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const DOC: &str = include_str!("../../docs/diff.md");
const WORKFLOW: &str = include_str!("../../.github/workflows/pipeline-diff.yml");

/// A repository with the files that the examples need; the binary is first on the path.
struct Clone {
    temp: tempfile::TempDir,
}

impl Clone {
    /// None if git is not installed.
    fn new() -> Option<Self> {
        let clone = Self { temp: tempfile::tempdir().unwrap() };
        fs::create_dir(clone.path("cache")).unwrap();
        for below in ["pipelines", "data/sample", "models/tiny-roberta"] {
            fs::create_dir_all(clone.path(below)).unwrap();
            for file in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(below)).unwrap() {
                let file = file.unwrap().path();
                fs::copy(&file, clone.path(below).join(file.file_name().unwrap())).unwrap();
            }
        }
        clone.write("Cargo.toml", "[package]\nname = \"no pipeline\"\n");
        clone.write(".gitignore", "/cache/\n");
        if Command::new("git").arg("--version").output().is_err() {
            println!("skipped: git is not installed");
            return None;
        }
        clone.git(&["init", "-q"]);
        clone.commit();
        Some(clone)
    }

    fn path(&self, below: &str) -> PathBuf {
        self.temp.path().join(below)
    }

    fn write(&self, below: &str, text: &str) {
        fs::write(self.path(below), text).unwrap();
    }

    fn edit(&self, below: &str, old: &str, new: &str) {
        let text = fs::read_to_string(self.path(below)).unwrap();
        assert!(text.contains(old), "{below} has no {old}");
        self.write(below, &text.replace(old, new));
    }

    /// The change of the documentation.
    fn change(&self) {
        self.edit("pipelines/roberta_full.toml", "prune@0.3", "prune@0.4");
        self.edit("pipelines/roberta_full.toml", "epochs = 10\npatience = 3", "epochs = 12\npatience = 3");
    }

    fn command(&self, program: &str, words: &[&str]) -> Command {
        let binaries = Path::new(env!("CARGO_BIN_EXE_pipe")).parent().unwrap();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let paths = std::iter::once(binaries.to_path_buf()).chain(std::env::split_paths(&path));
        let mut command = Command::new(program);
        command.args(words).current_dir(self.temp.path()).env("PATH", std::env::join_paths(paths).unwrap());
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_PAGER", "cat");
        command.env("NO_COLOR", "1").env_remove("PIPE_CACHE").env("HF_HOME", self.path("hub"));
        command
    }

    fn git(&self, words: &[&str]) -> String {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"];
        done(self.command("git", &identity).args(words).output().unwrap())
    }

    fn commit(&self) {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-qm", "change"]);
    }

    fn pipe(&self, words: &[&str]) -> (i32, String, String) {
        let output = self.command("pipe", words).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
    }

    fn diff(&self, words: &[&str]) -> String {
        let (code, out, err) = self.pipe(&[&["diff"], words].concat());
        assert_eq!((code, err.as_str()), (0, ""), "{out}");
        out
    }
}

fn done(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The first block of a language in the documentation after a heading.
fn block(heading: &str, language: &str) -> &'static str {
    let after = DOC.split_once(heading).unwrap().1;
    let start = after.split_once(&format!("```{language}\n")).unwrap().1;
    start.split_once("```").unwrap().0
}

#[test]
fn the_examples_of_the_documentation_are_what_is_printed() {
    let Some(clone) = Clone::new() else { return };
    clone.change();
    assert_eq!(clone.diff(&["pipelines/roberta_full.toml"]), block("## How to read it", "text"));
    assert_eq!(clone.diff(&[]), block("## How to read it", "text"));
    let parsed = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    let printed = clone.diff(&["--format", "json"]);
    assert_eq!(parsed(&printed), parsed(block("## JSON", "json")), "{printed}");
}

#[test]
fn every_field_of_the_json_is_documented() {
    fn fields(value: &serde_json::Value, all: &mut Vec<String>) {
        match value {
            serde_json::Value::Object(map) => map.iter().for_each(|(key, value)| {
                all.push(key.clone());
                fields(value, all);
            }),
            serde_json::Value::Array(items) => items.iter().for_each(|v| fields(v, all)),
            _ => {}
        }
    }
    let mut all = Vec::new();
    fields(&serde_json::from_str(block("## JSON", "json")).unwrap(), &mut all);
    let table = DOC.rsplit_once("| field |").unwrap().1;
    for field in all {
        assert!(table.contains(&format!("`{field}`")) || table.contains(&format!(".{field}`")), "{field}");
    }
}

#[test]
fn without_a_file_every_tracked_pipeline_that_differs() {
    let Some(clone) = Clone::new() else { return };
    assert_eq!(clone.diff(&[]), "no pipeline file differs from HEAD\n");
    assert_eq!(clone.diff(&["--format", "json"]), "{\n  \"version\": 1,\n  \"pipelines\": []\n}\n");
    clone.edit("Cargo.toml", "no pipeline", "still none");
    clone.write("untracked.toml", "[stage.a]\nuse = \"compare\"\n");
    assert_eq!(clone.diff(&["--exit-code"]), "no pipeline file differs from HEAD\n");
    // A file that was moved and changed, and a removed one.
    clone.git(&["mv", "pipelines/covid_cpu.toml", "pipelines/cpu.toml"]);
    clone.edit("pipelines/cpu.toml", "learn = 8000", "learn = 4000");
    fs::remove_file(clone.path("pipelines/roberta_full.toml")).unwrap();
    let text = clone.diff(&[]);
    assert!(
        text.contains(
            "diff covid-cpu: HEAD:pipelines/covid_cpu.toml → pipelines/cpu.toml\n  changed  tokens  learn 8000 → 4000\n"
        ),
        "{text}"
    );
    assert!(
        text.contains(
            "diff roberta-full: HEAD:pipelines/roberta_full.toml → pipelines/roberta_full.toml\n  removed  corpus"
        ),
        "{text}"
    );
    assert_eq!(clone.pipe(&["diff", "--exit-code"]).0, 3);
    // From a subfolder, with paths as in git.
    let below =
        |words: &[&str]| done(clone.command("pipe", words).current_dir(clone.path("pipelines")).output().unwrap());
    assert_eq!(below(&["diff"]).replace("→ cpu.toml", "→ pipelines/cpu.toml"), text);
    for path in ["HEAD:./covid_cpu.toml", "HEAD:covid_cpu.toml", "HEAD:pipelines/covid_cpu.toml"] {
        assert!(below(&["diff", path, "cpu.toml"]).contains("learn 8000 → 4000"), "{path}");
    }
}

#[test]
fn the_lines_for_git_work_as_documented() {
    let Some(clone) = Clone::new() else { return };
    let lines = block("## In git itself", "sh");
    assert_eq!(lines.lines().count(), 3);
    done(clone.command("sh", &["-ec", lines]).output().unwrap());
    let file = "pipelines/roberta_full.toml";
    // The text differs, but the definition does not.
    clone.edit(file, "learning-rate = 2e-3", "learning-rate = 0.002   # the same");
    let plain = clone.git(&["diff", "--no-ext-diff", "--no-textconv", "--stat"]);
    assert!(plain.contains("1 file changed"), "{plain}");
    assert_eq!(clone.git(&["diff", "--no-ext-diff", "--", file]), "", "nothing is left of it when it is resolved");
    let text = clone.git(&["diff", "--", file]);
    assert!(text.starts_with("diff roberta-full: ") && text.ends_with(": no effect\n"), "{text}");
    clone.change();
    let text = clone.git(&["diff", "--", file]);
    assert!(text.contains("\n  changed  pruned  sparsity 0.3 → 0.4\n"), "{text}");
    assert!(text.contains("  run  comparison      ← scores[pruned] ← pruned.sparsity\n"), "{text}");
    // Between commits, git passes temporary files for both sides.
    clone.commit();
    let shown = clone.git(&["show", "--format=", "--", file]);
    assert!(shown.contains("-sparsity = 0.3\n+sparsity = 0.4\n") && !shown.contains("the same"), "{shown}");
    let text = clone.git(&["show", "--ext-diff", "--format=", "--", file]);
    assert!(text.contains("\n  changed  pruned  sparsity 0.3 → 0.4\n"), "{text}");
    assert!(!text.contains("blocked"), "the project is the one that git is called in: {text}");
    // A new file that is invalid: git continues.
    clone.write("pipelines/new.toml", "[stage.a]\nuse = \"wriet\"\n");
    clone.git(&["add", "-N", "pipelines/new.toml"]);
    assert_eq!(clone.git(&["diff", "--", "pipelines/new.toml"]), "");
    assert!(clone.git(&["diff", "--no-ext-diff"]).contains("+use = \"wriet\""));
}

/// The script of a step of the workflow.
fn script(name: &str) -> String {
    let step = WORKFLOW.split_once(&format!("- name: {name}\n")).unwrap().1;
    let (_, run) = step.split_once("        run: |\n").unwrap();
    let lines = run.lines().take_while(|l| l.is_empty() || l.starts_with("          "));
    lines.map(|l| l.strip_prefix("          ").unwrap_or("").to_string() + "\n").collect()
}

#[test]
fn the_workflow_compares_with_the_base_and_says_what_is_wrong() {
    let Some(clone) = Clone::new() else { return };
    clone.git(&["checkout", "-qb", "change"]);
    clone.change();
    clone.commit();
    clone.git(&["checkout", "-q", "main"]);
    clone.git(&["merge", "-q", "--no-ff", "-m", "merge", "change"]);
    let run = || {
        let _ = fs::remove_file(clone.path("cache/output"));
        let _ = fs::remove_file(clone.path("cache/summary"));
        let mut bash = clone.command("bash", &["-c", &script("Compare with the base")]);
        bash.env("RUNNER_TEMP", clone.path("cache")).env("BASE", "HEAD^1");
        bash.env("GITHUB_OUTPUT", clone.path("cache/output")).env("GITHUB_STEP_SUMMARY", clone.path("cache/summary"));
        let status = bash.output().unwrap().status.code();
        let read = |name: &str| fs::read_to_string(clone.path("cache").join(name)).unwrap();
        let (output, summary) = (read("output"), read("summary"));
        let (first, rest) = output.split_once('\n').unwrap();
        let end = first.strip_prefix("comment<<").unwrap();
        assert!(end.len() > 30, "{end}");
        assert_eq!(rest, format!("{summary}{end}\n"));
        (status, summary)
    };
    let (status, comment) = run();
    assert_eq!(status, Some(0), "{comment}");
    assert!(
        comment.starts_with(
            "<!-- pipe diff -->\n### `roberta-full`: 1 stage changed, invalidates 3 of 13 stages, 3 to run\n"
        ),
        "{comment}"
    );
    assert!(comment.contains("| changed | `pruned` | `sparsity 0.3 → 0.4` |\n"), "{comment}");
    assert!(comment.contains("- `profile full: student.epochs 10 → 12`\n"), "{comment}");
    assert!(comment.contains("```mermaid\nflowchart LR\n"), "{comment}");
    clone.edit("pipelines/roberta_full.toml", "prune@0.4", "prnue@0.4");
    let (status, comment) = run();
    assert_eq!(status, Some(2));
    assert!(
        comment.contains("The pipeline files cannot be compared:\n\n    error: unknown kind `prnue`\n"),
        "{comment}"
    );
}

#[test]
fn the_workflow_keeps_one_comment() {
    let temp = tempfile::tempdir().unwrap();
    let fake = temp.path().join("gh");
    // Prints the known comments, and records the arguments of other calls.
    let text =
        "#!/bin/sh\ncase \"$*\" in *--paginate*) cat known;; *) for word; do echo \"$word\"; done > asked;; esac\n";
    fs::write(&fake, text).unwrap();
    fs::set_permissions(&fake, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for (known, method, address) in
        [("", "POST", "repos/o/r/issues/7/comments"), ("12\n34\n", "PATCH", "repos/o/r/issues/comments/12")]
    {
        fs::write(temp.path().join("known"), known).unwrap();
        let path = format!("{}:{}", temp.path().display(), std::env::var("PATH").unwrap());
        let mut bash = Command::new("bash");
        bash.args(["-c", &script("Post or update the comment")]).current_dir(temp.path()).env("PATH", path);
        bash.env("REPOSITORY", "o/r").env("NUMBER", "7").env("COMMENT", "$(touch hacked) `id`\n\"quoted\"");
        done(bash.output().unwrap());
        let asked = fs::read_to_string(temp.path().join("asked")).unwrap();
        let expected = format!(
            "api\n--silent\n--method\n{method}\n{address}\n--raw-field\nbody=$(touch hacked) `id`\n\"quoted\"\n"
        );
        assert_eq!(asked, expected);
        assert!(!temp.path().join("hacked").exists());
    }
}

#[test]
fn nothing_of_a_pull_request_becomes_part_of_a_script() {
    let mut scripts = BTreeMap::new();
    for name in ["Install pipe", "Compare with the base", "Post or update the comment"] {
        scripts.insert(name, script(name));
    }
    assert_eq!(WORKFLOW.matches("run: |").count(), scripts.len());
    for (name, script) in scripts {
        assert!(!script.contains("${{"), "{name}");
    }
    assert!(WORKFLOW.contains("\npermissions: {}\n"), "no rights but those that a job asks for");
    let actions: Vec<&str> = WORKFLOW.lines().filter_map(|l| l.trim().strip_prefix("- uses: ")).collect();
    assert_eq!(actions, ["actions/checkout@v4"]);
}
