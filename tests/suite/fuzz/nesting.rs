//! Deeply nested values, which would overflow the stack of a recursive reader.

use pipe::report::{Color, diagnostic};
use pipe_engine::declare::resolve::resolve;
use pipe_engine::text::diagnostic::Source;

use super::changes::bounded;
use crate::toys;

/// The rendered errors for a text, read on a thread with a small stack.
fn refused(text: String) -> String {
    let read = move || {
        let source = Source::new("p.toml", text.as_str());
        let problems = bounded(text.len(), || resolve(&source, None, std::slice::from_ref(&text), toys::KINDS).err());
        diagnostic::render_all(&problems.expect("refused"), Color::Never)
    };
    std::thread::Builder::new().stack_size(1 << 20).spawn(read).unwrap().join().unwrap()
}

#[test]
fn lists_tables_and_keys_to_any_depth() {
    for depth in [70, 1000, 100_000] {
        for text in [
            format!("x = {}1{}", "[".repeat(depth), "]".repeat(depth)),
            format!("x = {}", "[".repeat(depth)),
            format!("x = {}1{}", "{a=".repeat(depth), "}".repeat(depth)),
            format!("x = {}1{}", "[{a=".repeat(depth), "}]".repeat(depth)),
            format!("{}x = 1", "a.".repeat(depth)),
            format!("[{}x]\ny = 1", "a.".repeat(depth)),
            format!("[[{}x]]\ny = 1", "a.".repeat(depth)),
            format!("[stage.a]\nuse = \"write\"\ntext = {}1{}", "[".repeat(depth), "]".repeat(depth)),
            format!("[profile.p.stage.a]\nx = {}1{}", "[".repeat(depth), "]".repeat(depth)),
            "[".repeat(depth),
            "[a]\n".repeat(depth),
        ] {
            let said = refused(text);
            assert!(said.starts_with("error: "), "{said}");
        }
    }
}

#[test]
fn each_level_as_deep_as_the_parser_allows() {
    let dotted = vec!["a"; 79].join(".");
    let text = format!("[{dotted}]\nx = {}1{}", format!("{{{dotted}=").repeat(79), "}".repeat(79));
    assert!(refused(text).contains("tables and lists are nested more than 64 deep here"));
}
