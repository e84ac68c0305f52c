//! Ports that a stage's parameters or its file add to those of its kind.

use super::toys::Dir;

fn problems(file: &str) -> Vec<String> {
    let found = Dir::new(file).resolve(None, &[]).err().map(|all| all.0).unwrap_or_default();
    found
        .iter()
        .map(|d| std::iter::once(d.message.clone()).chain(d.help.clone()).collect::<Vec<_>>().join("; "))
        .collect()
}

const CUT: &str =
    "[stage.a]\nuse = \"write@abcdef\"\n[stage.b]\nuse = \"cut\"\nin.text = \"a\"\nparts = [\"head\", \"tail\"]\n";

#[test]
fn a_parameter_adds_outputs_that_are_wired_run_and_cached() {
    let below = "[stage.c]\nuse = \"shout\"\nin.text = \"b.tail\"\nexport = \"out\"\n";
    let dir = Dir::new(&format!("{CUT}{below}"));
    assert_eq!(dir.run().summary(), ["run a", "run b", "run c"]);
    assert_eq!(dir.read("out/text"), "DEF");
    assert_eq!(dir.run().summary(), ["hit a", "hit b", "hit c"]);
    dir.write("p.toml", &format!("{}{below}", CUT.replace("\"head\", ", "\"a-head\", \"middle\", ")));
    assert_eq!(dir.run().summary(), ["hit a", "run b", "run c"]);
    assert_eq!(dir.read("out/text"), "EF");
}

#[test]
fn what_a_parameter_does_not_add_is_no_port() {
    let with = |below: &str| problems(&format!("{CUT}{below}"));
    assert_eq!(
        with("[stage.c]\nuse = \"shout\"\nin.text = \"b.tails\"\n"),
        ["`cut` has no output port `tails`; did you mean `tail`?; outputs of `b`: `whole`, `head`, `tail`"]
    );
    assert_eq!(
        with("[stage.c]\nuse = \"shout\"\nin.text = \"b\"\n"),
        ["`b` has more than one output of type text; write one of `b.whole`, `b.head`, `b.tail`"]
    );
    let invalid = with("[stage.d]\nuse = \"cut\"\nin.text = \"a\"\nparts = 3\n");
    assert_eq!(invalid.len(), 1, "told once: {invalid:?}");
    // Other kinds take neither.
    assert_eq!(
        with("[stage.c]\nuse = \"shout\"\nin.texts = \"a\"\nin.text = \"a\"\n"),
        ["`shout` has no input port `texts`; did you mean `text`?; ports of `shout`: `text`"]
    );
    assert!(
        with("[stage.c]\nuse = \"shout\"\nin.text = \"a\"\nout.more = \"text\"\n")[0]
            .contains("has no parameter `out`")
    );
}

const PROGRAM: &str = "[stage.a]\nuse = \"write@x\"\n[stage.b]\nuse = \"program\"\nin.one = \"a\"\nin.two = \"a\"\nout.result = \"text\"\nout.log = \"notes\"\n";

#[test]
fn a_file_declares_the_ports_of_a_kind_that_accepts_them() {
    let below = "[stage.c]\nuse = \"shout\"\nin.text = \"b\"\nexport = \"out\"\n";
    let dir = Dir::new(&format!("{PROGRAM}{below}"));
    assert_eq!(dir.run().summary(), ["run a", "run b", "run c"]);
    assert_eq!(dir.read("out/text"), "ONE=X TWO=X");
    assert_eq!(dir.run().summary(), ["hit a", "hit b", "hit c"]);
    // A declared output is part of what the result depends on.
    dir.write("p.toml", &format!("{PROGRAM}{below}").replace("out.log = \"notes\"\n", ""));
    assert_eq!(dir.run().summary(), ["hit a", "run b", "hit c"]);
    dir.write("p.toml", &format!("{PROGRAM}{below}").replace("in.two", "in.other"));
    assert_eq!(dir.run().summary(), ["hit a", "run b", "run c"]);
}

#[test]
fn declared_ports_are_typed_and_their_mistakes_told() {
    let with = |from: &str, to: &str| problems(&PROGRAM.replace(from, to));
    let below = |source: &str| format!("out.log = \"notes\"\n[stage.c]\nuse = \"shout\"\nin.text = \"{source}\"\n");
    assert_eq!(
        with("out.log = \"notes\"\n", &below("b.log")),
        ["stage `c` gets notes where it needs a text; stages that give a text: a, b"]
    );
    assert_eq!(
        with("\"notes\"", "\"note\""),
        ["unknown type `note`; did you mean `notes`?; types: `notes`, `number`, `text`"]
    );
    assert_eq!(
        with("\"notes\"", "3"),
        ["expected the name of a type, found the number 3; types: `notes`, `number`, `text`"]
    );
    assert_eq!(
        with("out.log", "out.\"../log\""),
        ["`../log` is not a valid name of a port; use letters, digits, `-` and `_`"]
    );
    assert_eq!(with("in.two = \"a\"", "in.two = \"aa\""), ["unknown stage `aa`; did you mean `a`?; stages: `a`, `b`"]);
    assert_eq!(
        with(
            "out.log = \"notes\"\n",
            "out.log = \"notes\"\n[stage.c]\nuse = \"program\"\nin.x = \"b\"\nout.y = \"text\"\n"
        ),
        ["`b` has more than one output; write one of `b.result`, `b.log`"]
    );
}
