//! The commands that use an archive: `run`, `plan`, `push` and `pull`, with toy kinds.

use std::fs;

use super::cli::{fails, on};
use super::toys::Dir;

const CHAIN: &str = r#"
name = "chain"
[stage.a]
use = "write@hello"
[stage.b]
use = "shout@2"
in.text = "a"
[profile.loud.stage.b]
times = 3
"#;

/// A folder for an archive, and its path as a word of a command line.
fn share() -> (tempfile::TempDir, String) {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().display().to_string();
    (temp, path)
}

#[test]
fn what_one_machine_made_another_fetches() {
    let (_temp, share) = share();
    assert_eq!(on(&Dir::new(CHAIN), &format!("run p.toml --archive {share}")), "");
    let second = Dir::new(CHAIN);
    let plan = "\
plan chain: 2 stages, 0 cached, 2 in the archive (15 B to fetch), 0 to run
  hit  a  in the archive, 5 B to fetch
  hit  b  in the archive, 10 B to fetch
";
    assert_eq!(on(&second, &format!("plan p.toml --archive {share} --exit-code")), plan);
    assert_eq!(on(&second, &format!("run p.toml --dry-run --archive file://{share}")), plan);
    assert!(on(&second, "plan p.toml").starts_with("plan chain: 2 stages, 0 cached, 2 to run\n"));
    let json = on(&second, &format!("plan p.toml --json --archive {share}"));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["stages"][1]["action"], &json["stages"][1]["fetch"]), (&"hit".into(), &10.into()));
    assert_eq!(on(&second, &format!("run p.toml --archive {share} --archive-mode read")), "");
    assert_eq!(
        on(&second, "plan p.toml --exit-code"),
        "plan chain: 2 stages, 2 cached, 0 to run\n  hit  a\n  hit  b\n"
    );
}

#[test]
fn push_and_pull_move_results_and_run_nothing() {
    let (_temp, share) = share();
    let (first, second) = (Dir::new(CHAIN), Dir::new(CHAIN));
    assert_eq!(
        on(&first, &format!("push p.toml --archive {share}")),
        format!("pushed 0 results (0 B) to {share}\nno result yet: a, b\n")
    );
    on(&first, "run p.toml");
    assert_eq!(on(&first, &format!("push p.toml a --archive {share}")), format!("pushed 1 result (5 B) to {share}\n"));
    assert_eq!(
        on(&first, &format!("push p.toml --archive {share}")),
        format!("pushed 1 result (10 B) to {share}; 1 was there already\n")
    );
    assert_eq!(
        on(&second, &format!("pull p.toml a --archive {share}")),
        format!("pulled 1 result (5 B) from {share}\n")
    );
    assert_eq!(
        on(&second, &format!("pull p.toml --archive {share}")),
        format!("pulled 1 result (10 B) from {share}; 1 was in the cache already\n")
    );
    assert!(on(&second, "plan p.toml").starts_with("plan chain: 2 stages, 2 cached, 0 to run\n"));
    let (code, text) = fails(&second, &format!("pull p.toml --profile loud --archive {share}"));
    assert_eq!(
        (code, text.as_str()),
        (1, "error: neither the cache nor the archive has a result of b\nhelp: `pipe run` makes what is missing\n")
    );
}

#[test]
fn an_archive_that_cannot_be_is_said_before_anything_runs() {
    let dir = Dir::new(CHAIN);
    let (_temp, share) = share();
    for (words, text) in [
        (
            "run p.toml --archive s3://bucket/x".to_string(),
            "error: the archive `s3://bucket/x` has the scheme `s3`, which this version does not support; give a folder or file:///FOLDER\n",
        ),
        (
            "plan p.toml --archive file://share".into(),
            "error: the archive `file://share` names no absolute path; write file:///FOLDER, with three slashes\n",
        ),
        (
            "push p.toml".into(),
            "error: no archive is given\nhelp: give `--archive FOLDER`, or set $PIPE_ARCHIVE to the folder\n",
        ),
        (
            format!("push p.toml --archive {share} --archive-mode read"),
            "error: the archive is read-only here: its mode is `read`\nhelp: give `--archive-mode read-write`, or change $PIPE_ARCHIVE_MODE\n",
        ),
    ] {
        assert_eq!(fails(&dir, &words), (2, text.to_string()), "{words}");
    }
    let itself = format!("run p.toml --archive {}", dir.path("cache").display());
    let text = "error: the archive cache is the cache itself; give another folder\n";
    assert_eq!(fails(&dir, &itself), (2, text.to_string()));
    assert!(fs::read_dir(dir.path("cache/entries")).unwrap().next().is_none(), "something ran");
}
