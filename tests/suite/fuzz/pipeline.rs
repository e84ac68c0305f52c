//! Fuzzes pipeline files and `--set`: every text resolves, or is refused with errors that can be rendered.

use std::path::Path;

use pipe::report::{Color, diagnostic};
use pipe::stages;
use pipe_engine::contract::kind::Kind;
use pipe_engine::declare::resolve::resolve;
use pipe_engine::text::diagnostic::{Diagnostic, Diagnostics, Place, Source};
use proptest::prelude::*;

use super::changes::{bounded, changed, changes, config};
use crate::toys;

const TOY: &str = r#"name = "toy"
seed = 1
[stage.a]
use = "write@hello"
[stage.b]
use = "shout@2"
in.text = ["a", "other"]
matrix = { seed = [1, 2, 3], volume = [0.5, 1.0] }
[stage.other]
use = "write"
text = "ü \u00e9 \t x"
[stage.all]
use = "join"
in.texts = ["b", "b[a, seed=1, volume=1]"]
export = "out"
[profile.loud.stage.b]
times = 3
"#;

/// Pieces of unusual pipeline files.
const PIECES: &[&str] = &[
    "[stage.a]\n",
    "[stage.b]\n",
    "[stage]\n",
    "[[stage]]\n",
    "[profile.x.stage.a]\n",
    "[profile.x]\n",
    "use = \"write@hello\"\n",
    "use = \"shout\"\n",
    "use = \"join\"\n",
    "use = \"train\"\n",
    "use = 3\n",
    "in.text = \"a\"\n",
    "in.text = [\"a\", \"b\"]\n",
    "in.texts = \"a\"\n",
    "in = 7\n",
    "matrix = { seed = [1, 2], text = [\"x\", \"y\"] }\n",
    "matrix = { times = [] }\n",
    "matrix = 1\n",
    "repeat = 3\n",
    "repeat = -1\n",
    "seed = -1\n",
    "seed = 99999999999999999999\n",
    "times = 3\n",
    "times = \"3\"\n",
    "text = \"\"\"\n",
    "text = 'é\t\u{200b}'\n",
    "text = \"\u{1F600}\"\n",
    "a.b.c.d = 1\n",
    "x = [[[[",
    "]]]]\n",
    "x = {a={b={c=",
    "}}}\n",
    "= =\n",
    "\"",
    "'''",
    "\r\n",
    "\r",
    "\t",
    "\0",
    "# é\n",
    "1979-05-27T07:32:00Z\n",
    "nan = nan\n",
    "inf = -inf\n",
    "export = \"../x\"\n",
    "[stage.\"b[a]\"]\nuse = \"write\"\n",
    "in.text = \"a.text\"\n",
    "in.text = \"b[a]\"\n",
    "\u{feff}",
    "name = \"x\"\n",
];

/// The toys and the kinds of this build.
const ALL: [&[Kind]; 2] = [toys::KINDS, stages::KINDS];

/// Resolve the text, render the problems, and return their number.
fn read(text: &str, sets: &[String]) -> usize {
    let mut found = 0;
    for kinds in ALL {
        let source = Source::new("p.toml", text);
        for profile in [None, Some("loud")] {
            if let Err(problems) = resolve(&source, profile, sets, kinds) {
                found += problems.0.len();
                assert!(!problems.0.is_empty(), "refused without saying why");
                draw(&problems, text.len());
            }
        }
    }
    found
}

/// Check that the rendered text is short and free of control characters, whatever the file.
#[track_caller]
fn draw(problems: &Diagnostics, input: usize) {
    for color in [Color::Never, Color::Always] {
        let text = diagnostic::render_all(problems, color);
        assert!(text.starts_with("error") || color == Color::Always, "{text}");
        assert!(text.len() < 1 << 20, "{} bytes of text for {input} bytes of input", text.len());
        assert!(
            !text.contains(|c: char| c.is_control() && c != '\n' && (c != '\u{1b}' || color == Color::Never)),
            "{text:?}"
        );
    }
}

fn shipped() -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
    let mut all = vec![TOY.as_bytes().to_vec()];
    all.extend(std::fs::read_dir(dir).into_iter().flatten().map(|f| std::fs::read(f.unwrap().path()).unwrap()));
    all
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        bounded(text.len(), || read(&text, &[]));
    }

    #[test]
    fn pieces_in_any_order(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..40)) {
        let text = pieces.concat();
        bounded(text.len(), || read(&text, &[]));
    }

    #[test]
    fn good_files_changed(which in any::<prop::sample::Index>(), changes in changes()) {
        let good = shipped();
        let text = String::from_utf8_lossy(&changed(which.get::<Vec<u8>>(&good), &changes)).into_owned();
        bounded(text.len(), || read(&text, &[]));
    }

    #[test]
    fn any_override(sets in prop::collection::vec("(stage\\.(a|b|é)\\.)?(times|seed|in\\.text|use|matrix|[a-z\".\n\\[]{0,8})=?[ -~é\n\\[\\]{}]{0,12}", 1..3)) {
        bounded(TOY.len(), || read(TOY, &sets));
    }

    #[test]
    fn any_place_can_be_drawn(text in "[a-z =\"\t\r\né\u{200b}\u{1F469}\u{200d}\u{1F4BB}\u{0301}語\u{7}\u{1b}]{0,80}", start in 0usize..300, length in 0usize..300, label in "[a-zé\n\t\u{1b}]{0,12}") {
        let place = Place::new(&Source::new(label.clone(), text.clone()), start..start + length);
        let one = Diagnostic::new(format!("bad {label}")).at(&place).label(label.clone()).help(label);
        draw(&Diagnostics(vec![one.clone(), Diagnostic { place: None, ..one }]), text.len());
    }
}

fn refused(text: &str) -> String {
    let source = Source::new("p.toml", text);
    let problems = bounded(text.len(), || resolve(&source, None, &[], toys::KINDS).err().expect("refused"));
    draw(&problems, text.len());
    diagnostic::render_all(&problems, Color::Never)
}

#[test]
fn a_matrix_of_a_billion_is_refused_before_it_is_built() {
    let list = |n: i64| (0..n).map(|i| i.to_string()).collect::<Vec<_>>().join(", ");
    let matrix = format!("{{ seed = [{0}], times = [{0}], log-every = [{0}] }}", list(1000));
    let text = format!("[stage.a]\nuse = \"write\"\n[stage.b]\nuse = \"shout\"\nin.text = \"a\"\nmatrix = {matrix}\n");
    assert_eq!(
        refused(&text),
        "error: stage `b` brings the pipeline to 1000000001 instances; the limit is 100000
 --> p.toml:3:8
  |
3 | [stage.b]
  |        ^ fans out too far
  |
help: shorten the lists of its `matrix`, its `repeat` and those of the stages upstream
"
    );
    let axis = |n: usize| (0..n).map(|i| format!("\"v{i}\"")).collect::<Vec<_>>().join(", ");
    // Instances upstream count, and so does every input of a `many` port.
    let above = format!("[stage.a]\nuse = \"write\"\nmatrix = {{ text = [{}] }}\n", axis(2000));
    let below = format!("[stage.b]\nuse = \"shout\"\nin.text = \"a\"\nmatrix = {{ seed = [{}] }}\n", list(200));
    assert!(refused(&(above.clone() + &below)).contains("to 402000 instances; the limit is 100000"));
    let below = format!("[stage.b]\nuse = \"join\"\nin.texts = \"a\"\nmatrix = {{ seed = [{}] }}\n", list(2000));
    assert!(refused(&(above + &below)).contains("to 4000000 edges; the limit is 1000000"));
    let words = format!("{{ text = [{0}], path = [{0}] }}", axis(300_000));
    let text = format!("[stage.a]\nuse = \"write\"\nmatrix = {words}\n");
    assert!(refused(&text).contains("to 90000000000 instances"));
}

#[test]
fn a_very_long_line_and_very_long_names_are_shown_in_part() {
    let long = "y".repeat(1 << 20);
    for text in [
        format!("[stage.a]\nuse = \"write\"\nx = \"{long}\"\n"),
        format!("[stage.a]\nuse = \"write\"\n{long} = 1\n"),
        format!("[stage.a]\nuse = \"{long}\"\n"),
        format!("[stage.a]\nuse = \"shout\"\nin.text = \"{long}\"\n"),
        format!("[stage.{long}]\nuse = \"shout\"\nin.text = \"a\"\n"),
        format!("[stage.a]\nuse = \"write\"\nx = [{}3]\n", "1, ".repeat(300_000)),
        format!("{} = 1", "é".repeat(1 << 19)),
        "=".repeat(1 << 18),
        "\n[".repeat(1 << 17),
    ] {
        let said = refused(&text);
        assert!(said.len() < 100_000, "{} bytes", said.len());
        assert!(
            said.lines().all(|l| l.chars().count() < 1000),
            "{}",
            said.lines().map(|l| l.chars().count()).max().unwrap()
        );
    }
}

#[test]
fn thousands_of_mistakes_are_counted_and_the_first_are_shown() {
    let text: String = (0..3000).map(|i| format!("[stage.s{i}]\nuse = \"shout\"\nin.text = \"t{i}\"\n")).collect();
    let said = refused(&text);
    assert!(
        said.ends_with("error: 3,000 problems in p.toml; showing the first 100\n"),
        "{}",
        &said[said.len() - 200..]
    );
    assert_eq!(said.matches("unknown stage `").count(), 100);
    assert!(said.contains("and 2950 more"));
}

#[test]
fn a_cycle_of_very_many_stages_is_found() {
    let n = 30_000;
    let stage = |i: usize| format!("[stage.s{i}]\nuse = \"shout\"\nin.text = \"s{}\"\n", (i + 1) % n);
    let text: String = (0..n).map(stage).collect();
    assert!(refused(&text).starts_with("error: the stages form a cycle: s0 → s29999 → "), "{}", &refused(&text)[..200]);
}
