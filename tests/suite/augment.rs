//! `augment` and `take` through the binary: what is made, what is told, and mistakes before and during a run.

use std::fs;

use super::project::Project;

/// Two sources with three labels, one of which has few rows, and a test.
fn project(corpus: &str, more: &str) -> Project {
    let p = Project::new();
    let rows = |name: &str, label: &str, count: usize| -> String {
        (0..count).map(|row| format!("the {name} people purchase {label} groceries terribly {row},{label}\n")).collect()
    };
    p.write("films.csv", &format!("text,label\n{}{}", rows("film", "down", 30), rows("film", "up", 30)));
    let tweets = [rows("tweet", "down", 20), rows("tweet", "up", 20), rows("tweet", "level", 8)];
    p.write("tweets.csv", &format!("text,label\n{}", tweets.concat()));
    for name in ["film", "tweet"] {
        p.write(
            &format!("{name}-test.csv"),
            &format!("text,label\n{}{}", rows("test", "down", 3), rows(name, "up", 3)),
        );
    }
    p.write(
        "p.toml",
        &format!(
            "name = \"few\"\nseed = 7\n[stage.corpus]\nuse = \"preprocess\"\nvalidation = 0.2\nleakage = false\nsources = [\n\
             {{ path = \"films.csv\" }}, {{ path = \"tweets.csv\" }},\n\
             {{ path = \"film-test.csv\", split = \"test\" }}, {{ path = \"tweet-test.csv\", split = \"test\" }},\n]\n{corpus}\n{more}"
        ),
    );
    p
}

const MORE: &str = "[stage.more]\nuse = \"augment@2\"\nin.corpus = \"corpus\"\n";

/// The notes and failures of a run, without their first word.
fn run(p: &Project) -> (i32, String) {
    let (code, _, err) = p.pipe(&["run", "p.toml"]);
    (code, err)
}

#[test]
fn copies_of_training_rows_are_counted_and_the_other_splits_stay() {
    let p = project("", &format!("{MORE}export = \"out\"\n"));
    let (code, err) = run(&p);
    assert_eq!(code, 0, "{err}");
    let line = err.lines().find(|line| line.starts_with("note more") && line.contains("made of")).expect("a note");
    assert!(line.contains("rows made of 86: "), "{line}");
    assert!(err.contains("note more    labels  train  "), "{err}");
    let text = fs::read_to_string(p.path("out/corpus.json")).unwrap();
    assert!(text.contains("\"made\": "), "{text}");
    // The same rows again, whatever the cache has.
    let first = fs::read(p.path("out/train.parquet")).unwrap();
    let (code, _, err) = p.pipe(&["run", "p.toml", "--force", "more"]);
    assert_eq!(code, 0, "{err}");
    assert!(fs::read(p.path("out/train.parquet")).unwrap() == first);
}

#[test]
fn take_tells_what_is_short_and_fills_it_up() {
    let take = "take = { per-class = 20, test-per-class = 4, within = \"source\", fill = \"repeat\" }";
    let p = project(take, "");
    let (code, err) = run(&p);
    assert_eq!(code, 0, "{err}");
    for line in [
        "note corpus  label `level` has 8 of the 20 train rows that `take` asks for (tweets 8)",
        "note corpus  fill: label `level` gets 10 rows made of 6: 10 repeat",
        "note corpus  labels  train       down 16  level 16  up 16",
        "note corpus  labels  validation  down 4  level 2  up 4",
    ] {
        assert!(err.contains(line), "{line}\n{err}");
    }
}

#[test]
fn classes_with_too_few_rows_fail_if_they_shall() {
    let p = project("take = { per-class = 20, fill = \"error\" }", "");
    let (code, err) = run(&p);
    assert_eq!(code, 1);
    assert!(
        err.contains(
            "label `level` has 8 of the 20 train rows that `take` asks for (tweets 8)\n  ask for fewer, add rows, or let `fill` \
             be \"augment\" or \"repeat\" (training rows only)"
        ) || err.contains("label `level` has 8 of the 20 train rows that `take` asks for (tweets 8)"),
        "{err}"
    );
}

#[test]
fn what_cannot_be_is_told_before_anything_runs() {
    let p = project(
        "take = { per-class = 0 }\nlabels = [\"down\", \"level\", \"up\"]\n",
        &format!("{MORE}classes = [\"levle\"]\n"),
    );
    let (code, _, err) = p.pipe(&["plan", "p.toml"]);
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("per-class of `take` is 0, which leaves no rows"), "{err}");
    let p = project("labels = [\"down\", \"level\", \"up\"]\n", &format!("{MORE}classes = [\"levle\"]\n"));
    let (code, _, err) = p.pipe(&["plan", "p.toml"]);
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("`classes` names the label `levle`, which the corpus does not have"), "{err}");
    assert!(err.contains("did you mean `level`?"), "{err}");
    // Labels that only the files know.
    let p = project("", &format!("{MORE}classes = [\"levle\"]\n"));
    let (code, err) = run(&p);
    assert_eq!(code, 1);
    assert!(
        err.contains("`classes` names the label `levle`, which the corpus does not have; did you mean `level`?"),
        "{err}"
    );
    // No parameter names another split.
    let p = project("", &format!("{MORE}split = \"validation\"\n"));
    let (code, _, err) = p.pipe(&["plan", "p.toml"]);
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("split"), "{err}");
}

#[test]
fn the_quality_of_each_source_is_shown_and_compared() {
    let stages = "[stage.tokens]\nuse = \"tokenize@32\"\nin.corpus = \"corpus\"\ntokenizer = \"tiny\"\n\
                  [stage.model]\nuse = \"train\"\nin.tokens = \"tokens\"\nbase = \"tiny\"\nepochs = 1\nrepeat = 2\n\
                  [stage.scores]\nuse = \"evaluate\"\nin.model = \"model\"\nin.tokens = \"tokens\"\nspeed-seconds = 0\n\
                  [stage.table]\nuse = \"compare\"\nin.metrics = \"scores\"\nover = \"seed\"\nexport = \"out\"\n";
    let p = project("", stages);
    let (code, err) = run(&p);
    assert_eq!(code, 0, "{err}");
    for source in ["film-test", "tweet-test"] {
        let line = format!("source `{source}`: accuracy ");
        assert!(err.contains(&line), "{line}\n{err}");
        assert!(err.contains("of its 2 labels on 6 rows"), "{err}");
    }
    assert!(err.contains("label `level` comes from source `tweets` alone (8 rows)"), "{err}");
    let table = fs::read_to_string(p.path("out/sources.csv")).unwrap();
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(table.lines().nth(1).unwrap().starts_with("film-test,all,2,2,6,"), "{table}");
    let text = fs::read_to_string(p.path("out/comparison.md")).unwrap();
    assert!(text.contains("| film-test ") && text.contains("By source: macro F1 is over the labels"), "{text}");
}
