//! The transcripts of the documentation, held against what the commands print. Figures that depend on the machine are
//! masked.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const PIPELINE: &str = "pipelines/roberta_full.toml";

/// Transcripts that another test holds, or that cannot be repeated here: the page, how the block begins, and why.
const ELSEWHERE: [(&str, &str, &str); 8] = [
    ("docs/archive.md", "plan roberta-full: 9 stages", "a plan beside an archive that holds most of it"),
    ("docs/diff.md", "diff roberta-full: ", "review.rs compares it whole"),
    ("docs/labels.md", "note corpus           4,600 rows", "lines of a run that docs/tour.md shows whole"),
    ("docs/labels.md", "error: `train` has no parameter", "mistakes.rs has it with its place"),
    ("docs/compare.md", "fail gate ", "compare.rs has a gate that fails"),
    ("docs/plan.md", "error: plan.json no longer matches", "real.rs has such a plan"),
    ("docs/training.md", "note teacher  step 720", "a training on tweets that are not in the repository"),
    ("docs/training.md", "fail teacher  the loss is NaN", "training.rs has such a failure"),
];

/// A copy of the files that the transcripts need, in a git repository.
struct Clone {
    temp: tempfile::TempDir,
}

impl Clone {
    fn new() -> Self {
        let clone = Self { temp: tempfile::tempdir().unwrap() };
        fs::create_dir(clone.path("cache")).unwrap();
        for below in ["pipelines", "data/sample", "models/tiny-roberta"] {
            fs::create_dir_all(clone.path(below)).unwrap();
            for file in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(below)).unwrap() {
                let file = file.unwrap().path();
                fs::copy(&file, clone.path(below).join(file.file_name().unwrap())).unwrap();
            }
        }
        clone
    }

    fn path(&self, below: &str) -> PathBuf {
        self.temp.path().join(below)
    }

    /// Everything that a command prints.
    fn prints(&self, program: &str, words: &[&str]) -> String {
        let program = if program == "pipe" { env!("CARGO_BIN_EXE_pipe") } else { program };
        let mut command = Command::new(program);
        command.args(words).current_dir(self.temp.path()).env("NO_COLOR", "1").env_remove("PIPE_CACHE");
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").env("HF_HOME", self.path("hub"));
        let Output { stdout, stderr, .. } = command.output().unwrap();
        String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap()
    }

    /// What a command prints while a line of the pipeline is another one.
    fn prints_with(&self, old: &str, new: &str, words: &[&str]) -> String {
        let text = fs::read_to_string(self.path(PIPELINE)).unwrap();
        assert!(text.contains(old), "{PIPELINE} has no `{old}`");
        fs::write(self.path(PIPELINE), text.replacen(old, new, 1)).unwrap();
        let printed = self.prints("pipe", words);
        fs::write(self.path(PIPELINE), text).unwrap();
        printed
    }
}

/// The blocks of plain text in a page.
fn blocks(page: &str) -> impl Iterator<Item = &str> {
    page.split("\n```text\n").skip(1).filter_map(|rest| Some(rest.split_once("\n```")?.0))
}

/// A line with its spaces collapsed and without what depends on the machine: times, sizes, rates, and the figures of a
/// trained model. Processors round differently, so another evaluation may be the best.
fn masked(line: &str) -> String {
    let units = ["kB", "MB", "GB"];
    let names_the_best = line.contains("kept") || line.contains("best-epoch");
    let line = match line.split_once("  patience ") {
        Some((evaluation, _)) if line.contains("  loss ") => evaluation,
        _ => line.strip_suffix("  best so far").unwrap_or(line),
    };
    let mut words: Vec<String> = Vec::new();
    for word in line.split_whitespace() {
        let number = word.trim_matches([',', '(', ')', ';', ':']);
        let digits = number.trim_end_matches(|c: char| c.is_alphabetic() || ['/', '%', '×'].contains(&c));
        let is_number = digits.starts_with(|c: char| c.is_ascii_digit())
            && digits.chars().all(|c| c.is_ascii_digit() || ['.', ',', '-', 'e'].contains(&c));
        let is_time = ["ms", "s", "m", "h", "/s"].contains(&&number[digits.len()..]);
        let is_bar = !word.is_empty() && word.chars().all(|c| ('\u{2580}'..='\u{259f}').contains(&c));
        words.push(match word {
            _ if is_number && (is_time || names_the_best || digits.contains('.')) => word.replace(number, "#"),
            _ if is_bar || units.contains(&number) => "#".to_owned(),
            _ => word.to_owned(),
        });
        words.dedup_by(|next, last| *next == "#" && *last == "#");
    }
    words.join(" ")
}

/// The stage that a line of a run is about: the lines of stages that run side by side come in any order.
fn stage(line: &str) -> &str {
    match line.split_whitespace().collect::<Vec<_>>()[..] {
        ["run" | "note" | "done" | "hit" | "out" | "warn", stage, ..] if !stage.ends_with(':') => stage,
        _ => "",
    }
}

/// Check that every line of a transcript was printed, in the order of its stage. `…` stands for anything that was left
/// out: lines, or the rest of a line.
#[track_caller]
fn assert_printed(page: &str, transcript: &str, printed: &str) {
    let lines: Vec<(&str, String)> = printed.lines().map(|line| (stage(line), masked(line))).collect();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    let shown: Vec<&str> = transcript.lines().filter(|line| line.trim() != "…").collect();
    for line in &shown {
        let wanted = masked(line);
        let parts: Vec<&str> = wanted.split('…').map(str::trim).collect();
        let is_it = |text: &str| match parts[..] {
            [whole] => text == whole,
            [start, end] => text.starts_with(start) && text.ends_with(end),
            _ => panic!("{page}: a line with more than one `…`: {line}"),
        };
        let place = places.entry(stage(line)).or_default();
        let found = lines[*place..].iter().position(|(of, text)| *of == stage(line) && is_it(text));
        let Some(found) = found else { panic!("{page} shows\n  {line}\nbut this is printed:\n{printed}") };
        *place += found + 1;
    }
    // A transcript without gaps is whole.
    if shown.len() == transcript.lines().count() {
        assert_eq!(shown.len(), lines.len(), "{page} shows\n{transcript}\nbut this is printed:\n{printed}");
    }
}

#[test]
fn every_transcript_is_what_the_commands_print() {
    let clone = Clone::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages: Vec<PathBuf> = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.retain(|page| page.extension().is_some_and(|extension| extension == "md"));
    pages.push(root.join("README.md"));
    let first = clone.prints("pipe", &["run", PIPELINE, "--jobs", "2"]);
    let second = clone.prints("pipe", &["run", PIPELINE, "--jobs", "2"]);
    for words in [&["init", "-q"][..], &["add", "pipelines"]] {
        clone.prints("git", words);
    }
    let identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"];
    clone.prints("git", &[&identity[..], &["commit", "-qm", "first"]].concat());
    let mut seen = 0;
    for path in pages {
        let page = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap();
        for block in blocks(&text) {
            if ELSEWHERE.iter().any(|(name, start, _)| *name == page && block.starts_with(start)) {
                continue;
            }
            seen += 1;
            let (command, shown) = match block.strip_prefix("$ pipe ").and_then(|rest| rest.split_once('\n')) {
                Some((words, shown)) => (words, shown),
                None => ("", block),
            };
            let words: Vec<&str> = command.split_whitespace().collect();
            let printed = match words[..] {
                [] if block.starts_with("run roberta-full:") => {
                    if block.contains("\nhit ") {
                        second.clone()
                    } else {
                        first.clone()
                    }
                }
                [] if block.starts_with("error: stage `int8` gets a corpus") => {
                    let right = "use = \"quantize@int8\"\nin.model = \"teacher\"";
                    clone.prints_with(right, &right.replace("teacher", "corpus"), &["plan", PIPELINE])
                }
                ["plan", PIPELINE] => clone.prints_with("learning-rate = 2e-3", "learning-rate = 1.5e-3", &words),
                ["diff"] => clone.prints_with("learning-rate = 2e-3", "learning-rate = 1e-3", &words),
                ["plan", "pipelines/first.toml", ..] => {
                    clone.prints("pipe", &["run", "pipelines/first.toml"]);
                    clone.prints("pipe", &words)
                }
                ["inspect" | "diagnose", ..] => clone.prints("pipe", &words),
                _ => panic!("{page}: no test knows how to print this, add it here or to ELSEWHERE:\n{block}"),
            };
            assert_printed(&page, shown, &printed);
        }
    }
    assert!(seen >= 6, "{seen} transcripts");
    // The tables of the page of results, masked, as far as `roberta_full.toml` has them.
    let comparison = fs::read_to_string(clone.path("out/roberta-full/comparison.md")).unwrap();
    let results = fs::read_to_string(root.join("docs/results.md")).unwrap();
    let (_, section) = results.split_once("## `roberta_full.toml`").unwrap();
    let rows = |text: &str| -> Vec<String> {
        let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| -"));
        rows.map(masked).collect()
    };
    let printed = rows(&comparison);
    assert!(printed.len() >= 12, "{comparison}");
    let shown = rows(section);
    let columns = |rows: &[String]| -> Vec<(usize, String)> {
        let start = |row: &String| row.split('|').nth(1).unwrap_or_default().trim().to_owned();
        rows.iter().map(|row| (row.matches('|').count(), start(row))).collect()
    };
    assert_eq!(columns(&shown[..printed.len().min(shown.len())]), columns(&printed));
}

#[test]
fn a_table_that_two_pages_show_is_the_same_in_both() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let results = fs::read_to_string(root.join("docs/results.md")).unwrap();
    let mut pages: Vec<PathBuf> = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.push(root.join("README.md"));
    for path in pages.iter().filter(|path| path.extension().is_some_and(|extension| extension == "md")) {
        for row in fs::read_to_string(path).unwrap().lines().filter(|line| line.starts_with("| teacher |")) {
            // Of the tables of results; docs/prune.md has one of its own.
            if row.matches('|').count() > 10 {
                assert!(results.contains(row), "{}: {row}", path.display());
            }
        }
    }
}
