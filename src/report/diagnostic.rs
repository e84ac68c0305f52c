//! Renders the problems of a pipeline file: place, source line, caret, help.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::color::{Color, ERROR, HELP};
use super::{format, secret};
use pipe_engine::text::diagnostic::{Diagnostic, Diagnostics, Place};

/// How many problems are shown; nobody reads more, and the last line gives the total.
const DRAWN: usize = 100;

/// The most characters shown of a message, and bytes of a source line.
const LONGEST: usize = 600;

/// Render all diagnostics one after another; if there are several, end with their number.
pub fn render_all(all: &Diagnostics, color: Color) -> String {
    let mut texts: Vec<String> = all.0.iter().take(DRAWN).map(|d| render(d, color)).collect();
    if all.0.len() > 1 {
        let places = match sources(all).join(" and ") {
            names if names.is_empty() => names,
            names => format!(" in {}", shown(&names)),
        };
        let rest = if all.0.len() > DRAWN { format!("; showing the first {DRAWN}") } else { String::new() };
        let count = format::plural(all.0.len(), "problem");
        texts.push(format!("{} {count}{places}{rest}\n", color.paint(ERROR, "error:")));
    }
    texts.join("\n")
}

/// Render one diagnostic; every line ends with a newline.
pub fn render(diagnostic: &Diagnostic, color: Color) -> String {
    let mut out = match &diagnostic.place {
        None => format!("{} {}\n", color.paint(ERROR, "error:"), shown(&diagnostic.message)),
        Some(place) => snippet(diagnostic, place, color),
    };
    if diagnostic.place.is_some() && !diagnostic.help.is_empty() {
        out.push_str(&gutter(&out, color));
    }
    for help in &diagnostic.help {
        out.push_str(&format!("{} {}\n", color.paint(HELP, "help:"), shown(help)));
    }
    out
}

fn snippet(diagnostic: &Diagnostic, place: &Place, color: Color) -> String {
    let renderer = match color {
        Color::Never => Renderer::plain(),
        Color::Always => Renderer::styled(),
    };
    let (message, label, name) = (shown(&diagnostic.message), shown(&diagnostic.label), shown(&place.source.name));
    let excerpt = Excerpt::of(place);
    let annotation =
        AnnotationKind::Primary.span(excerpt.span.clone()).label(Some(label.as_str()).filter(|l| !l.is_empty()));
    let source =
        Snippet::source(excerpt.text.as_str()).line_start(excerpt.line).path(name.as_str()).annotation(annotation);
    let group: Group<'_> = Level::ERROR.primary_title(message.as_str()).element(source);
    let mut text = renderer.render(&[group]);
    text.push('\n');
    text
}

/// The source line that is shown.
struct Excerpt {
    text: String,
    /// Counted from 1.
    line: usize,
    /// The place's range in `text`.
    span: Range<usize>,
}

impl Excerpt {
    /// Only the first line of a place: for a stage's whole table, its beginning is enough. A very long line is cut soon
    /// after the place begins; the renderer cuts what is too long before it.
    fn of(place: &Place) -> Self {
        let text = place.source.text.as_str();
        let span = visible(place);
        let start = text[..span.start].rfind('\n').map_or(0, |newline| newline + 1);
        let end = text[span.start..].find('\n').map_or(text.len(), |newline| span.start + newline);
        let line = text[..start].matches('\n').count() + 1;
        // The renderer replaces the C0 controls; terminals also interpret the two-byte C1 controls.
        let whole = secret::starred(&text[start..end]).replace(|c| matches!(c, '\u{80}'..='\u{9F}'), "·");
        let whole = whole.trim_end_matches('\r');
        let text = whole[..boundary(whole, span.start - start + LONGEST)].to_owned();
        let span = boundary(&text, span.start - start)..boundary(&text, span.end - start);
        Self { text, line, span }
    }
}

/// The span, cut to its first line and to the text, on character boundaries.
fn visible(place: &Place) -> Range<usize> {
    let text = place.source.text.as_str();
    let mut start = boundary(text, place.span.start);
    if start == text.len() {
        // The place is behind the last line: point at the end of the text.
        start = text.trim_end_matches(['\n', '\r']).len();
    }
    let end = boundary(text, place.span.end.max(start));
    let line_end = text[start..end].find(['\n', '\r']).map_or(end, |newline| start + newline);
    start..line_end
}

/// The last character boundary at or before a byte.
fn boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// A message without secrets and control characters (which could rewrite the terminal), cut if it is too long.
fn shown(text: &str) -> String {
    let text = secret::masked(text);
    let letter = |c: char| if c.is_control() && c != '\n' { '\u{FFFD}' } else { c };
    let mut shown: String = text.chars().take(LONGEST).map(letter).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

/// The empty line between a snippet and its help lines, aligned with the snippet's bar.
fn gutter(snippet: &str, color: Color) -> String {
    let width =
        anstream::adapter::strip_str(snippet).to_string().lines().nth(1).and_then(|line| line.find("-->")).unwrap_or(1);
    let style = match color {
        Color::Never => anstyle::Style::new(),
        Color::Always => annotate_snippets::renderer::DEFAULT_LINE_NUM_STYLE,
    };
    format!("{} {}\n", " ".repeat(width), color.paint(style, "|"))
}

fn sources(all: &Diagnostics) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for name in all.0.iter().filter_map(|d| d.place.as_ref()).map(|p| p.source.name.as_str()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipe_engine::text::diagnostic::Source;

    const FILE: &str = "name = \"x\"\n\n[stage.int8]\nuse = \"quantize@int8\"\nin.model = \"corpus\"\n";

    fn at(text: &str, span: Range<usize>) -> Diagnostic {
        Diagnostic::new("something is wrong").at(&Place::new(&Source::new("p.toml", text), span))
    }

    fn plain(d: &Diagnostic) -> String {
        render(d, Color::Never)
    }

    #[test]
    fn a_message_as_the_style_page_shows_it() {
        let source = Source::new("pipelines/roberta_full.toml", FILE);
        let start = FILE.find("\"corpus\"").unwrap();
        let d = Diagnostic::new("stage `int8` gets a corpus where it needs a model")
            .at(&Place::new(&source, start..start + 8))
            .label("`corpus` (preprocess) gives a corpus")
            .help("stages that give a model: teacher, pruned, student");
        assert_eq!(
            plain(&d),
            r#"error: stage `int8` gets a corpus where it needs a model
 --> pipelines/roberta_full.toml:5:12
  |
5 | in.model = "corpus"
  |            ^^^^^^^^ `corpus` (preprocess) gives a corpus
  |
help: stages that give a model: teacher, pruned, student
"#
        );
    }

    #[test]
    fn wide_line_numbers_and_two_helps() {
        let text = format!("{}x = 1\n", "\n".repeat(40));
        let d = at(&text, 40..41).label("unknown key").help("did you mean `y`?").help("known: `y`, `z`");
        assert_eq!(
            plain(&d),
            "error: something is wrong
  --> p.toml:41:1
   |
41 | x = 1
   | ^ unknown key
   |
help: did you mean `y`?
help: known: `y`, `z`
"
        );
    }

    #[test]
    fn multi_byte_text_before_and_under_the_caret() {
        let text = "größe = \"été\" # é\n";
        let start = text.find('"').unwrap();
        let d = at(text, start..start + "\"été\"".len()).label("expected a number");
        assert_eq!(
            plain(&d),
            "error: something is wrong
 --> p.toml:1:9
  |
1 | größe = \"été\" # é
  |         ^^^^^ expected a number
"
        );
        assert_eq!(d.place.as_ref().unwrap().line_column(), (1, 9));
        // A span that starts inside a character must not panic.
        assert!(plain(&at(text, 3..4)).contains("p.toml:1:3"));
    }

    #[test]
    fn empty_spans_the_end_of_the_file_and_beyond() {
        let expected = "error: something is wrong
 --> p.toml:1:5
  |
1 | a = 
  |     ^ a value is missing
";
        for span in [4..4, 4..9, 90..99] {
            assert_eq!(plain(&at("a = ", span).label("a value is missing")), expected);
        }
        assert_eq!(plain(&at("", 0..0)), "error: something is wrong\n --> p.toml:1:1\n  |\n1 |\n  | ^\n");
        assert_eq!(
            plain(&at("a = 1\n\n", 7..7)),
            "error: something is wrong\n --> p.toml:1:6\n  |\n1 | a = 1\n  |      ^\n"
        );
    }

    #[test]
    fn only_the_first_line_of_a_long_span_is_drawn() {
        let text = "[stage.a]\nuse = \"x\"\n";
        assert_eq!(
            plain(&at(text, 0..text.len()).label("`base` is missing")),
            "error: something is wrong
 --> p.toml:1:1
  |
1 | [stage.a]
  | ^^^^^^^^^ `base` is missing
"
        );
    }

    #[test]
    fn a_very_long_line_is_cut_around_the_place() {
        let text = format!("a = [{}x, {}]\n", "1, ".repeat(5000), "2, ".repeat(5000));
        let start = text.find('x').unwrap();
        let text_shown = plain(&at(&text, start..start + 1).label("not a value"));
        assert!(text_shown.starts_with("error: something is wrong\n --> p.toml:1:15006\n  |\n1 | "), "{text_shown}");
        assert!(text_shown.contains("^ not a value") && text_shown.len() < 1000, "{text_shown}");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let d = at("a = \"\u{1b}[2J\"", 4..5).label("\u{1b}").help("\u{7}");
        let shown = plain(&Diagnostic { message: "\u{1b}]0;x".into(), ..d });
        assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown:?}");
    }

    #[test]
    fn no_place() {
        let d = Diagnostic::new("no pipeline file `x.toml`").help("`pipe init` writes one");
        assert_eq!(plain(&d), "error: no pipeline file `x.toml`\nhelp: `pipe init` writes one\n");
    }

    #[test]
    fn several_problems_end_with_their_number() {
        let source = Source::new("pipelines/x.toml", "a = 1\nb = 2\n");
        let set = Source::new("--set", "c=3");
        let one = Diagnostic::new("bad `a`").at(&Place::new(&source, 0..1));
        let two = Diagnostic::new("bad `b`").at(&Place::new(&source, 6..7));
        let three = Diagnostic::new("bad `c`").at(&Place::new(&set, 0..1));
        assert_eq!(
            render_all(&Diagnostics(vec![one.clone(), two.clone()]), Color::Never),
            "error: bad `a`
 --> pipelines/x.toml:1:1
  |
1 | a = 1
  | ^

error: bad `b`
 --> pipelines/x.toml:2:1
  |
2 | b = 2
  | ^

error: 2 problems in pipelines/x.toml
"
        );
        let all = render_all(&Diagnostics(vec![one.clone(), two, three]), Color::Never);
        assert!(all.ends_with("\nerror: 3 problems in pipelines/x.toml and --set\n"), "{all}");
        assert_eq!(render_all(&Diagnostics(vec![one.clone()]), Color::Never), plain(&one));
    }

    #[test]
    fn colours_do_not_change_the_text() {
        let d = at(FILE, 0..4).label("here").help("this way");
        let colored = render(&d, Color::Always);
        assert!(colored.contains("\u{1b}["));
        assert_eq!(anstream::adapter::strip_str(&colored).to_string(), plain(&d));
    }
}
