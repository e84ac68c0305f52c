//! `pipe diff` with toy kinds: every kind of change, between files and between revisions.

use pipe::cli::{Build, execute};
use pipe::report::Color;
use pipe_engine::contract::origin::{Fetched, Origin};

use super::toys::{self, Dir};

const BASE: &str = r#"
name = "small"
seed = 1
[stage.a]
use = "write@hello"
[stage.file]
use = "write"
path = "in.txt"
[stage.b]
use = "shout@2"
in.text = "a"
[stage.scores]
use = "shout"
in.text = ["a", "file", "b"]
[stage.all]
use = "join"
in.texts = "scores"
[profile.loud.stage.b]
times = 3
"#;

fn build() -> Build {
    const ORIGINS: &[Origin] = &[Origin {
        prefix: "far:",
        held: |name, _| Ok((name == "far:here").then(|| Fetched { dir: "/".into(), identity: Some("c0ffee".into()) })),
        fetch: |_, _, _| panic!("a diff fetches nothing"),
    }];
    Build { kinds: toys::KINDS, origins: ORIGINS, gpus: |_| Ok(0) }
}

/// Standard output and the exit code with the message; words that end in `.toml` are files of the project.
fn pipe(dir: &Dir, words: &[&str]) -> (String, u8, String) {
    let root = dir.temp.path().canonicalize().unwrap();
    let whole = |word: &&str| match word.split_once(':') {
        _ if !word.ends_with(".toml") || word.contains("set=") => word.to_string(),
        Some((revision, path)) => format!("{revision}:{}", root.join(path).display()),
        None => root.join(word).display().to_string(),
    };
    let mut out = Vec::new();
    let all = std::iter::once("pipe".to_string()).chain(words.iter().map(whole));
    let result = execute(all, build(), &mut out);
    let hide = |text: &str| text.replace(&format!("{}/", root.display()), "");
    let (code, message) = result.err().map_or((0, String::new()), |e| (e.exit_code(), e.render(Color::Never)));
    (hide(&String::from_utf8(out).unwrap()), code, hide(&message))
}

/// The output of `pipe diff`, without durations.
fn diff(dir: &Dir, words: &[&str]) -> String {
    let (out, code, message) = pipe(dir, &[&["diff"], words].concat());
    assert_eq!((code, message.as_str()), (0, ""), "{words:?}");
    // Durations vary between runs.
    let timeless = |line: &str| {
        let line = line.split(", about ").next().unwrap_or_default();
        let time = line.rfind("  ").filter(|_| line.starts_with("  ") && line.ends_with("ms"));
        line[..time.unwrap_or(line.len())].trim_end().to_string()
    };
    out.lines().map(|l| timeless(l) + "\n").collect()
}

fn two(old: &str, new: &str) -> Dir {
    let dir = Dir::new(old);
    dir.write("q.toml", new);
    dir.write("in.txt", "one");
    dir
}

/// The output for two definitions, from the end of the first line on.
fn between(old: &str, new: &str) -> String {
    let text = diff(&two(old, new), &["p.toml", "q.toml"]);
    text[text.find('\n').unwrap()..].to_string()
}

#[test]
fn a_parameter_what_hangs_on_it_and_what_the_cache_has() {
    let dir = two(BASE, &BASE.replace("shout@2", "shout@4"));
    assert_eq!(
        diff(&dir, &["p.toml", "q.toml"]),
        "\
diff small: p.toml → q.toml
  changed  b  times 2 → 4
invalidated 3 of 7 stages, 3 to run
  run  b          times
  run  scores[b]  ← b.times
  run  all        ← scores[b] ← b.times
"
    );
    let (_, code, message) = pipe(&dir, &["run", "p.toml"]);
    assert_eq!((code, message.as_str()), (0, ""));
    // Back to the definition that ran: everything is cached, and durations are known.
    assert_eq!(
        diff(&dir, &["q.toml", "p.toml"]),
        "\
diff small: q.toml → p.toml
  changed  b  times 4 → 2
invalidated 3 of 7 stages, 3 cached
  hit  b          times
  hit  scores[b]  ← b.times
  hit  all        ← scores[b] ← b.times
"
    );
    let (out, _, _) = pipe(&dir, &["diff", "p.toml", "q.toml"]);
    assert!(out.contains("invalidated 3 of 7 stages, 3 to run, about "), "{out}");
    let is_cost =
        |word: &str| word.ends_with('s') && word.trim_start_matches('<').starts_with(|c: char| c.is_ascii_digit());
    let costs = out.lines().filter(|line| line.split_whitespace().last().is_some_and(is_cost)).count();
    assert_eq!(costs, 4, "a cost for each, and their sum: {out}");
}

#[test]
fn formatting_order_of_keys_moved_tables_and_spelling_have_no_effect() {
    let other = r#"
# The same, written by someone else.
name = 'small'
profile.loud = { stage = { b = { times = 3 } } }
[stage.all]
in = { texts = "scores" }
use = "join"
[stage.b]
in = { text = "a" }
volume = 1e0
use = "shout"
times = 2
[stage.file]
path = "in.txt"
use = "write"
[stage.scores.in]
text = ["a", "file", "b"]
[stage.scores]
use = "shout"
[stage.a]
text = "hello"
use = "write"
"#;
    let dir = two(BASE, &format!("seed = 1{other}"));
    assert_eq!(diff(&dir, &["p.toml", "q.toml", "--exit-code"]), "diff small: p.toml → q.toml: no effect\n");
    assert_eq!(pipe(&dir, &["diff", "p.toml", "q.toml", "--format", "markdown"]).0, "### `small`: no effect\n");
    dir.write("q.toml", &BASE.replace("seed = 1", "seed = 2"));
    assert_eq!(pipe(&dir, &["diff", "p.toml", "q.toml", "--exit-code"]).1, 3);
}

#[test]
fn stages_come_go_and_take_other_names() {
    let new = BASE.replace("[stage.all]", "[stage.thin]\nuse = \"shout@3\"\nin.text = \"b\"\n[stage.all]");
    assert_eq!(
        between(BASE, &new.replace("\"b\"]", "\"b\", \"thin\"]")),
        "
  added    thin    shout, from b
  changed  scores  in.text + thin
invalidated 3 of 9 stages, 3 to run
  run  thin          (new)
  run  scores[thin]  (new)
  run  all           ← scores[thin] (new)
"
    );
    assert_eq!(
        between(&new.replace("\"b\"]", "\"b\", \"thin\"]"), BASE),
        "
  changed  scores  in.text − thin
  removed  thin    shout
invalidated 1 of 7 stages, 1 to run
  run  all  ← scores[thin] (removed)
"
    );
    // If only a name changes, downstream results stay valid, except those that contain the name.
    let renamed = BASE.replace("[stage.a]", "[stage.first]").replace("\"a\"", "\"first\"");
    let renamed = renamed.replace("stage.b]", "stage.second]").replace("\"b\"]", "\"second\"]");
    assert_eq!(
        between(BASE, &renamed),
        "
  renamed  a → first
  renamed  b → second
invalidated 1 of 7 stages, 1 to run
  run  all  ← scores[first] (renamed)
"
    );
    assert_eq!(
        between(BASE, &BASE.replace("stage.scores]", "stage.marks]").replace("\"scores\"", "\"marks\"")),
        "\n  renamed  scores → marks\n"
    );
    // A stage with another name and another value is another stage.
    assert!(between(BASE, &renamed.replace("shout@2", "shout@9")).contains("  removed  b "));
}

#[test]
fn edges_lists_orders_kinds_and_seeds() {
    assert_eq!(
        between(BASE, &BASE.replace("in.text = \"a\"", "in.text = \"file\"")),
        "
  changed  b  in.text a → file
invalidated 3 of 7 stages, 3 to run
  run  b          in.text
  run  scores[b]  ← b.in.text
  run  all        ← scores[b] ← b.in.text
"
    );
    assert_eq!(
        between(BASE, &BASE.replace("[\"a\", \"file\", \"b\"]", "[\"b\", \"a\", \"file\"]")),
        "
  changed  all  in.texts order scores[a], scores[file], scores[b] → scores[b], scores[a], scores[file]
invalidated 1 of 7 stages, 1 to run
  run  all  in.texts
"
    );
    assert_eq!(
        between(BASE, &BASE.replace("write@hello", "wait@3")),
        "
  changed  a  use write → wait
invalidated 5 of 7 stages, 5 to run
  run  a          use
  run  b          ← a.use
  run  scores[a]  ← a.use
  run  scores[b]  ← b ← a.use
  run  all        ← scores[a] ← a.use
"
    );
    // The file's seed changes several stages in the same way; they share a line.
    assert_eq!(
        between(BASE, &BASE.replace("seed = 1", "seed = 2")).lines().nth(1),
        Some("  changed  b, scores  seed 1 → 2")
    );
    // A single input and a list of one give the same result.
    assert_eq!(between(BASE, &BASE.replace("in.text = \"a\"", "in.text = [\"a\"]")).lines().count(), 3);
}

#[test]
fn a_matrix_and_one_of_its_instances() {
    let matrix = "name = \"m\"\nseed = 1\n[stage.a]\nuse = \"write@x\"\n[stage.b]\nuse = \"shout\"\nin.text = \"a\"\nmatrix = { times = [1, 2, 3, 4, 5] }\n[stage.c]\nuse = \"count\"\nin.text = \"b\"\n[stage.d]\nuse = \"count\"\nin.text = \"b[times=2]\"\n";
    assert_eq!(
        between(matrix, &matrix.replace("[1, 2,", "[7, 2,")),
        "
  changed  b  matrix.times + 7, − 1
invalidated 2 of 12 stages, 2 to run
  run  b[times=7]  (new)
  run  c[times=7]  (new)
"
    );
    assert_eq!(
        between(matrix, &matrix.replace("b[times=2]", "b[times=3]")),
        "
  changed  d  in.text b[times=2] → b[times=3]
invalidated 1 of 12 stages, 1 to run
  run  d[times=3]  in.text
"
    );
    assert_eq!(
        between(matrix, &matrix.replace("write@x", "write@y")),
        "
  changed  a  text \"x\" → \"y\"
invalidated 12 of 12 stages, 12 to run
  run  a           text
  run  b ×5        ← a.text
  run  c ×5        ← b[times=1] ← a.text
  run  d[times=2]  ← b[times=2] ← a.text
"
    );
}

#[test]
fn a_long_way_shows_both_ends() {
    let link = |i: usize| format!("[stage.s{}]\nuse = \"shout\"\nin.text = \"s{i}\"\n", i + 1);
    let chain = "[stage.s0]\nuse = \"write@x\"\n".to_string() + &(0..9).map(link).collect::<String>();
    let text = between(&chain, &chain.replace("write@x", "write@y"));
    assert!(text.contains("  run  s7  ← s6 ← s5 ← s4 ← s3 ← s2 ← s1 ← s0.text\n"), "{text}");
    assert!(text.contains("  run  s9  ← s8 ← s7 ← s6 ← … ← s3 ← s2 ← s1 ← s0.text\n"), "{text}");
}

#[test]
fn what_changes_no_result_stands_apart() {
    let new = BASE
        .replace("shout@2\"", "shout@2\"\nlog-every = 5\nexclusive = \"gpu\"\nmemory = \"2 GiB\"")
        .replace("name = \"small\"", "name = \"tiny\"");
    let new =
        new.replace("\"join\"", "\"join\"\nexport = \"out\"").replace("seed = 1", "seed = 1\ndescription = \"x\"");
    assert_eq!(
        diff(&two(BASE, &new), &["p.toml", "q.toml"]),
        "\
diff tiny: p.toml → q.toml
no effect on results
  name \"small\" → \"tiny\"
  description \"x\" was added
  b.log-every 0 → 5
  b.memory \"2 GiB\" was added
  b.exclusive \"gpu\" was added
  all.export \"out\" was added
"
    );
    assert_eq!(pipe(&two(BASE, &new), &["diff", "p.toml", "q.toml", "--exit-code"]).1, 3, "a difference all the same");
}

#[test]
fn profiles_the_chosen_one_and_the_others() {
    let new = BASE.replace("times = 3", "times = 4\nvolume = 0.5\n[profile.new.stage.a]\ntext = \"longer\"");
    assert_eq!(
        between(BASE, &new),
        "
  profile loud: b.times 3 → 4
  profile loud: b.volume 1.0 → 0.5
  profile new (new): a.text \"hello\" → \"longer\"
"
    );
    assert_eq!(
        between(&new, BASE),
        "
  profile loud: b.times 4 → 3
  profile loud: b.volume 0.5 → 1.0
  profile new (removed): a.text \"longer\" → \"hello\"
"
    );
    // A value that the profile overrides does not change under it; a change under every profile is shown once.
    let everywhere = BASE.replace("write@hello", "write@ho").replace("shout@2", "shout@5");
    let text = between(BASE, &everywhere);
    assert!(text.contains("changed  a  text") && !text.contains("profile"), "{text}");
    let loud = diff(&two(BASE, &everywhere), &["p.toml", "q.toml", "--profile", "loud", "--set", "stage.b.volume=0.1"]);
    assert!(loud.starts_with("diff small (profile loud): p.toml → q.toml\n  changed  a  text"), "{loud}");
    assert!(!loud.contains("times 2"), "{loud}");
    // The base does not have the profile yet.
    let text = diff(&two(BASE, &new), &["p.toml", "q.toml", "--profile", "new"]);
    assert!(text.contains("  changed  a  text \"hello\" → \"longer\"\n"), "{text}");
    assert!(text.contains("  profile new (new)\n"), "{text}");
}

#[test]
fn missing_inputs_block_and_remote_ones_are_not_fetched() {
    let text = |a: &str, b: &str| {
        format!(
            "name = \"n\"\n[stage.a]\nuse = \"write\"\npath = \"{a}\"\n[stage.b]\nuse = \"shout@{b}\"\nin.text = \"a\"\n[stage.c]\nuse = \"write\"\npath = \"far:{a}\"\n"
        )
    };
    assert_eq!(
        between(&text("in.txt", "1"), &text("gone.txt", "2")),
        "
  changed  a  path \"in.txt\" → \"gone.txt\"
  changed  b  times 1 → 2
  changed  c  path \"far:in.txt\" → \"far:gone.txt\"
invalidated 3 of 3 stages, 2 blocked, 1 unknown
  blocked  a  path; `gone.txt` does not exist
  blocked  b  times; a is blocked
  ?        c  path; needs download: far:gone.txt
"
    );
    let held = between(&text("in.txt", "1"), &text("here", "1"));
    assert!(held.contains("  run      c  path\n"), "{held}");
}

#[test]
fn mistakes_name_the_side_they_are_on() {
    let dir = two("[stage.a]\nuse = \"wriet\"\n", "[stage.b]\nuse = \"shuot\"\n");
    let (out, code, message) = pipe(&dir, &["diff", "p.toml", "q.toml"]);
    assert_eq!((out.as_str(), code), ("", 2));
    assert!(message.contains(" --> p.toml:2:7\n") && message.contains(" --> q.toml:2:7\n"), "{message}");
    assert!(message.ends_with("error: 2 problems in p.toml and q.toml\n"), "{message}");
    let dir = two(BASE, BASE);
    let (_, code, message) = pipe(&dir, &["diff", "p.toml", "q.toml", "--profile", "lout"]);
    assert_eq!(code, 2);
    assert!(message.contains("did you mean `loud`?"), "{message}");
    let (_, code, message) = pipe(&dir, &["diff", "p.toml"]);
    assert_eq!(code, 2);
    assert!(message.contains("is not in a git repository\nhelp: `pipe diff BASE HEAD` compares"), "{message}");
}

/// Run git in a project folder, independent of the machine's settings; None if git is not installed.
pub fn git(dir: &Dir, words: &[&str]) -> Option<String> {
    let mut command = std::process::Command::new("git");
    command.current_dir(dir.temp.path()).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    let identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"];
    match command.args(identity).args(words).output() {
        Ok(output) => {
            assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
            Some(String::from_utf8(output.stdout).unwrap())
        }
        Err(_) => {
            println!("skipped: git is not installed");
            None
        }
    }
}

/// A git repository with all files of a project committed.
fn committed(pipeline: &str) -> Option<Dir> {
    let dir = Dir::new(pipeline);
    dir.write("in.txt", "one");
    dir.write(".gitignore", "/cache/\n");
    git(&dir, &["init", "-q"])?;
    git(&dir, &["add", "-A"])?;
    git(&dir, &["commit", "-qm", "first"])?;
    Some(dir)
}

#[test]
fn one_file_is_compared_with_itself_at_head_or_another_revision() {
    let Some(dir) = committed(BASE) else { return };
    assert_eq!(diff(&dir, &["p.toml"]), "diff small: HEAD:p.toml → p.toml: no effect\n");
    dir.write("p.toml", &BASE.replace("shout@2", "shout@4"));
    let expected = "\
diff small: HEAD:p.toml → p.toml
  changed  b  times 2 → 4
invalidated 3 of 7 stages, 3 to run
  run  b          times
  run  scores[b]  ← b.times
  run  all        ← scores[b] ← b.times
";
    assert_eq!(diff(&dir, &["p.toml"]), expected);
    assert_eq!(diff(&dir, &["HEAD:p.toml"]), expected);
    git(&dir, &["commit", "-qam", "second"]);
    assert_eq!(diff(&dir, &["p.toml"]), "diff small: HEAD:p.toml → p.toml: no effect\n");
    assert_eq!(diff(&dir, &["p.toml", "--base", "HEAD~1"]), expected.replace("HEAD:", "HEAD~1:"));
    let between = diff(&dir, &["HEAD~1:p.toml", "HEAD:p.toml"]);
    assert_eq!(between, expected.replace("HEAD:p.toml → p.toml", "HEAD~1:p.toml → HEAD:p.toml"));
    // A new file, and a removed one.
    dir.write("new.toml", "[stage.a]\nuse = \"write@x\"\n");
    assert_eq!(
        diff(&dir, &["new.toml"]),
        "\
diff new: HEAD:new.toml → new.toml
  added  a  write
invalidated 1 of 1 stage, 1 to run
  run  a  (new)
"
    );
    assert_eq!(diff(&dir, &["new.toml", "/dev/null"]), "diff new: new.toml → /dev/null\n  removed  a  write\n");
    git(&dir, &["mv", "p.toml", "moved.toml"]);
    assert!(diff(&dir, &["p.toml"]).starts_with("diff small: HEAD:p.toml → p.toml\n  removed  a"));
    git(&dir, &["mv", "moved.toml", "p.toml"]);
    for (words, said) in [
        (&["diff", "HEAD:none.toml"][..], "revision `HEAD` has no file "),
        (&["diff", "nonesuch:p.toml"], "unknown git revision `nonesuch`"),
        (&["diff", "p.toml", "--base=--all"], "unknown git revision `--all`"),
        (&["diff", "none.toml"], "cannot read none.toml"),
    ] {
        let (_, code, message) = pipe(&dir, words);
        assert_eq!(code, 2, "{words:?}: {message}");
        assert!(message.contains(said), "{words:?}: {message}");
    }
    // Errors name the side, also for two revisions.
    dir.write("p.toml", "[stage.a]\nuse = \"wriet\"\n");
    git(&dir, &["commit", "-qam", "broken"]);
    let (_, code, message) = pipe(&dir, &["diff", "HEAD:p.toml", "HEAD~1:p.toml"]);
    assert!(code == 2 && message.contains(" --> HEAD:p.toml:2:7\n"), "{message}");
}

#[test]
fn input_files_count_by_their_content_at_each_revision() {
    let folder = BASE.replace("path = \"in.txt\"", "path = \"data/in.txt\"");
    let Some(dir) = committed(&folder) else { return };
    dir.write("data/in.txt", "one");
    dir.write("data/other.txt", "one");
    git(&dir, &["add", "-A"]);
    git(&dir, &["commit", "-qm", "data"]);
    let (_, code, message) = pipe(&dir, &["run", "p.toml"]);
    assert_eq!(code, 0, "{message}");
    dir.write("data/in.txt", "two");
    dir.write("data/other.txt", "two");
    let digest = |text: &str| blake3::hash(text.as_bytes()).to_hex()[..8].to_string();
    let expected = format!(
        "\
diff small: HEAD:p.toml → p.toml
  changed  file  file data/in.txt {} → {}
invalidated 3 of 7 stages, 3 to run
  run  file          ← data/in.txt
  run  scores[file]  ← file ← data/in.txt
  run  all           ← scores[file] ← file ← data/in.txt
",
        digest("one"),
        digest("two")
    );
    assert_eq!(diff(&dir, &["p.toml"]), expected);
    // The reverse: a head at a revision is judged with that revision's files, whose results are cached.
    let back = diff(&dir, &["p.toml", "HEAD:p.toml"]);
    assert!(back.contains("3 cached\n  hit  file          ← data/in.txt\n"), "{back}");
    git(&dir, &["commit", "-qam", "two"]);
    assert_eq!(
        diff(&dir, &["HEAD~1:p.toml", "HEAD:p.toml"]),
        expected.replace("HEAD:p.toml → p.toml", "HEAD~1:p.toml → HEAD:p.toml")
    );
    // A file that the revision does not have, and a removed file.
    let text = diff(&dir, &["p.toml", "--base", "HEAD~2"]);
    assert!(text.contains(&format!("  changed  file  file data/in.txt {} was added\n", digest("two"))), "{text}");
    std::fs::remove_file(dir.path("data/in.txt")).unwrap();
    let text = diff(&dir, &["p.toml"]);
    assert!(text.contains(&format!("  changed  file  file data/in.txt {} was removed\n", digest("two"))), "{text}");
    assert!(text.contains("  blocked  file          ← data/in.txt; `data/in.txt` does not exist\n"), "{text}");
}

#[test]
fn a_project_below_the_top_of_its_repository() {
    let outer = Dir::new("");
    if git(&outer, &["init", "-q"]).is_none() {
        return;
    }
    outer.write("sub/cache/keep", "");
    outer.write("sub/in.txt", "one");
    outer.write("sub/p.toml", BASE);
    git(&outer, &["add", "-A"]);
    git(&outer, &["commit", "-qm", "first"]);
    outer.write("sub/in.txt", "two");
    let text = diff(&outer, &["sub/p.toml"]);
    assert!(text.starts_with("diff small: HEAD:sub/p.toml → sub/p.toml\n  changed  file  file in.txt "), "{text}");
    assert!(outer.path("sub/cache/entries").is_dir(), "the cache is that of the project");
}

#[test]
fn why_against_a_revision_follows_inputs_to_where_they_changed() {
    let Some(dir) = committed(BASE) else { return };
    dir.write("in.txt", "two");
    dir.write("p.toml", &BASE.replace("shout@2", "shout@4").replace("write@hello", "write@ho"));
    let why = |stage: &str| pipe(&dir, &["why", "p.toml", stage, "--against", "HEAD"]).0;
    assert_eq!(why("b"), "b compared with HEAD\n  times 2 → 4\n  in.text: a.text \"hello\" → \"ho\"\n");
    let digest = |text: &str| blake3::hash(text.as_bytes()).to_hex()[..8].to_string();
    assert_eq!(
        why("scores[file]"),
        format!("scores[file] compared with HEAD\n  in.text: file ← in.txt {} → {}\n", digest("one"), digest("two"))
    );
    assert!(why("all").contains("\n  in.texts[b]: scores[b] ← b.times 2 → 4\n"), "{}", why("all"));
    dir.write("p.toml", &BASE.replace("[\"a\", \"file\", \"b\"]", "[\"a\", \"file\"]"));
    assert_eq!(why("scores[a]"), "scores[a]: no line differs from HEAD\n");
    assert!(why("all").ends_with("\n  ← scores[b] (removed)\n"), "{}", why("all"));
    assert_eq!(
        pipe(&dir, &["why", "p.toml", "scorse", "--against", "HEAD"]),
        (String::new(), 2, "error: p.toml has no stage `scorse`\nhelp: did you mean `scores`?\n".into())
    );
}

#[test]
fn metrics_against_a_run_and_against_a_revision() {
    let Some(dir) = committed(BASE) else { return };
    assert_eq!(pipe(&dir, &["run", "p.toml"]).1, 0);
    dir.write(
        "p.toml",
        &BASE.replace("write@hello", "write@ho").replace("stage.file]", "stage.text]").replace("\"file\"", "\"text\""),
    );
    assert_eq!(pipe(&dir, &["run", "p.toml"]).1, 0);
    let table = "
stage         metric   before  now  change
b             letters       5    2      −3
scores[a]     letters       5    2      −3
scores[text]  letters       -    3
scores[b]     letters      10    4      −6
scores[file]  letters       3    -
";
    // A run's metrics are in the order in which its stages ended.
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().skip(1).map(str::to_string).collect();
        lines.sort();
        lines
    };
    let mut expected: Vec<String> = table.lines().map(str::to_string).collect();
    expected.sort();
    for (against, shown) in [("1", "run 1"), ("HEAD", "HEAD:p.toml")] {
        let (out, code, message) = pipe(&dir, &["metrics", "p.toml", "--against", against]);
        assert_eq!((code, message.as_str()), (0, ""));
        assert!(
            out.starts_with("run 2 of small, 2") && out.contains(&format!(" UTC, compared with {shown}\n")),
            "{out}"
        );
        assert_eq!(sorted(&out), expected, "{out}");
    }
    let words = ["metrics", "p.toml", "--against", "1", "--stage", "b", "--json"];
    let json: serde_json::Value = serde_json::from_str(&pipe(&dir, &words).0).unwrap();
    assert_eq!(json["before"], "run 1");
    assert_eq!(json["metrics"], serde_json::json!([{ "stage": "b", "name": "letters", "before": 5.0, "now": 2.0 }]));
    // Results that are no longer cached are named.
    std::fs::remove_dir_all(dir.path("cache/entries")).unwrap();
    std::fs::create_dir(dir.path("cache/entries")).unwrap();
    let (out, _, _) = pipe(&dir, &["metrics", "p.toml", "--against", "HEAD"]);
    let said = "\nnot in the cache at that revision: a, file, b, scores[a], scores[file], scores[b], all\n";
    assert!(out.ends_with(said), "{out}");
    for (words, said) in [
        (&["metrics", "p.toml", "--against", "nonesuch"][..], "unknown git revision `nonesuch`"),
        (&["metrics", "none.toml", "--against", "9"], "cannot read none.toml"),
    ] {
        let (_, code, message) = pipe(&dir, words);
        assert!(code == 2 && message.contains(said), "{message}");
    }
}

/// Many stages whose names and values contain Markdown and HTML syntax.
fn large(stages: usize, value: &str) -> String {
    let long = "é".repeat(300);
    let stage = |i: usize| format!("[stage.\"n{i}{long}\"]\nuse = \"write\"\ntext = {value:?}\n");
    let names: Vec<String> = (0..stages).map(|i| format!("\"n{i}{long}\"")).collect();
    let all: String = (0..stages).map(stage).collect();
    format!("name = \"<b>|`big\"\n{all}[stage.all]\nuse = \"join\"\nin.texts = [{}]\n", names.join(", "))
}

#[test]
fn a_comment_on_a_change_of_any_size_can_be_posted() {
    for (stages, value) in [(2000, "`|<script>\\\n@you #1 ** ".repeat(9)), (30, "|".repeat(500)), (2000, "x".into())] {
        // All changed in the same way, each changed in its own way, and all new.
        let same = large(stages, "other");
        let mut each = large(stages, "other");
        for i in 0..stages {
            each = each.replacen("text = \"other\"", &format!("text = {:?}", format!("{i}{value}")), 1);
        }
        let dir = two(&large(stages, &value), &same);
        dir.write("each.toml", &each);
        for words in
            [["p.toml", "q.toml"], ["p.toml", "each.toml"], ["/dev/null", "each.toml"], ["each.toml", "/dev/null"]]
        {
            let (text, code, message) = pipe(&dir, &["diff", words[0], words[1], "--format", "markdown"]);
            assert_eq!((code, message.as_str()), (0, ""), "{words:?}");
            assert!(text.len() > 500 && text.chars().count() < 60_000, "{words:?}: {}", text.chars().count());
            let rows: Vec<&str> = text.lines().filter(|l| l.starts_with("| ")).collect();
            assert!((3..=23).contains(&rows.len()), "{}", rows.len());
            for row in rows {
                assert_eq!(row.matches('|').count(), 4, "{row}");
            }
            assert!(!text.contains("<script>") && text.matches("```").count() == 2, "{text}");
            assert_eq!(text.matches("<details>").count(), text.matches("</details>").count());
            assert!(text.matches(":::").count() <= 40);
        }
    }
}

#[test]
fn what_is_said_to_be_invalidated_is_what_a_plan_would_run() {
    let dir = two(BASE, BASE);
    dir.write("two.txt", "two");
    assert_eq!(pipe(&dir, &["run", "p.toml"]).1, 0);
    let json = |words: &[&str]| -> serde_json::Value { serde_json::from_str(&pipe(&dir, words).0).unwrap() };
    for (old, new) in [
        ("seed = 1", "seed = 1 # nothing"),
        ("seed = 1", "seed = 2"),
        ("seed = 1", "description = \"x\"\nseed = 1"),
        ("shout@2", "shout@3"),
        ("in.text = \"a\"", "in.text = \"file\""),
        ("in.text = \"a\"", "in.text = [\"a\"]"),
        ("in.text = \"a\"", "in.text = \"a\"\nseed = 9"),
        ("in.text = \"a\"", "in.text = \"a\"\nmatrix = { volume = [1.0, 0.5] }"),
        ("in.txt", "two.txt"),
        ("[\"a\", \"file\", \"b\"]", "[\"b\", \"a\", \"file\"]"),
        ("[\"a\", \"file\", \"b\"]", "[\"a\"]"),
        ("[\"a\", \"file\", \"b\"]", "\"a\""),
        ("stage.scores]", "stage.marks]\nuse = \"write\"\n[stage.scores]"),
        ("\"scores\"", "[\"scores\", \"a\"]"),
        ("\"scores\"", "\"scores[b]\""),
        ("stage.all]", "stage.everything]"),
        ("write@hello", "wait@2"),
    ] {
        dir.write("q.toml", &BASE.replace(old, new));
        let plan = json(&["plan", "q.toml", "--json"]);
        let stages = plan["stages"].as_array().unwrap_or_else(|| panic!("{old} → {new}"));
        let to_run: Vec<&str> =
            stages.iter().filter(|s| s["action"] != "hit").map(|s| s["stage"].as_str().unwrap()).collect();
        let diff = json(&["diff", "p.toml", "q.toml", "--format", "json"]);
        let invalidated = diff["pipelines"][0]["invalidated"].as_array().unwrap();
        let said: Vec<&str> =
            invalidated.iter().filter(|a| a["state"] == "run").map(|a| a["instance"].as_str().unwrap()).collect();
        assert_eq!(said, to_run, "{old} → {new}");
    }
}
