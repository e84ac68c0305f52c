//! A review as a pull-request comment: a headline, a short table, folded details, and a graph of the changed part.

use std::collections::BTreeSet;

use super::words;
use crate::report::format;
use crate::report::graph::{Class, Graph, Node as Drawn};
use pipe_engine::diff::{Mark, Node, Review};

/// GitHub accepts 65,536 characters; the poster of the comment may add some. Bytes are counted, which are never fewer
/// than characters.
const LARGEST: usize = 60_000;

/// Rows of the table above the folded parts.
const ROWS: usize = 20;

/// Lines of each folded part: enough for careful readers, few enough to keep every section far below the limit.
const FOLDED: usize = 40;

/// Stages in the graph: nobody can read more.
const DRAWN: usize = 40;

/// Characters of a cell; names and values can have any length.
const CELL: usize = 120;

/// All reviews in one comment that never exceeds the limit.
pub fn markdown(reviews: &[Review]) -> String {
    let more = |left: usize| format!("\n… and {}; `pipe diff` shows all.\n", format::plural(left, "more pipeline"));
    let mut out = String::new();
    for (at, review) in reviews.iter().enumerate() {
        let room = LARGEST - 100;
        let whole = section(review);
        let next = if out.len() + whole.len() < room { whole } else { format!("### {}\n", headline(review)) };
        if out.len() + next.len() >= room {
            out.push_str(&more(reviews.len() - at));
            break;
        }
        if at > 0 {
            out.push('\n');
        }
        out.push_str(&next);
    }
    out
}

fn section(review: &Review) -> String {
    let mut out = format!("### {}\n", headline(review));
    out.push_str(&stages(review));
    let profiles: Vec<String> = review.profiles.iter().flat_map(words::profile).map(|l| code(&l)).collect();
    out.push_str(&folded(&format!("Only under another profile: {}", profiles.len()), &profiles));
    let rows: Vec<String> = words::rows(&review.invalidated).iter().map(invalidated).collect();
    out.push_str(&folded(&format!("Invalidated: {}", words::counts(review)), &rows));
    let quiet: Vec<String> = review.no_effect.iter().map(|q| code(&words::quiet(q))).collect();
    out.push_str(&folded(&format!("No effect on results: {}", quiet.len()), &quiet));
    out.push_str(&picture(&review.nodes));
    out
}

fn headline(review: &Review) -> String {
    let name = code(&review.pipeline);
    let profile = review.profile.as_ref().map(|p| format!(" (profile {})", code(p))).unwrap_or_default();
    if review.is_empty() {
        return format!("{name}{profile}: no effect");
    }
    let stages = match review.stages.len() {
        0 => "no stage changed".into(),
        n => format!("{} changed", format::plural(n, "stage")),
    };
    let cost = if review.invalidated.is_empty() {
        "nothing invalidated".into()
    } else {
        format!("invalidates {}", words::counts(review))
    };
    format!("{name}{profile}: {stages}, {cost}")
}

fn stages(review: &Review) -> String {
    let mut rows = Vec::new();
    for (diff, names) in words::grouped(&review.stages) {
        let about: Vec<String> = words::about(diff).iter().map(|l| code(l)).collect();
        let about = match about.len().saturating_sub(4) {
            0 => about.join("<br>"),
            more => format!("{}<br>… and {more} more", about[..4].join("<br>")),
        };
        rows.push(format!("| {} | {} | {about} |\n", words::status(diff.status), code(&words::names(&names, 4))));
    }
    if rows.is_empty() {
        return String::new();
    }
    let mut out = String::from("\n| | stage | change |\n| --- | --- | --- |\n");
    out.extend(rows.iter().take(ROWS).map(String::as_str));
    if rows.len() > ROWS {
        out.push_str(&format!("| | … and {} more | |\n", rows.len() - ROWS));
    }
    out
}

fn invalidated(row: &words::Row) -> String {
    let took = row.seconds.map(|s| format!(", {}", format::duration(s))).unwrap_or_default();
    let joint = if row.reason.starts_with('←') { " " } else { ": " };
    format!("**{}** {}{took}", words::state(row.state), code(&format!("{}{joint}{}", row.name, row.reason)))
}

fn folded(title: &str, lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let mut out = format!("\n<details><summary>{title}</summary>\n\n");
    lines.iter().take(FOLDED).for_each(|line| out.push_str(&format!("- {line}\n")));
    if lines.len() > FOLDED {
        out.push_str(&format!("- … and {} more\n", lines.len() - FOLDED));
    }
    out + "\n</details>\n"
}

/// The changed stages, the stages that they invalidate, and their neighbours.
fn picture(nodes: &[Node]) -> String {
    let feeding: BTreeSet<&str> =
        nodes.iter().filter(|n| n.mark.is_some()).flat_map(|n| &n.inputs).map(String::as_str).collect();
    // If not all fit, changed stages come first, then invalidated ones, then neighbours.
    let weight = |node: &Node| match node.mark {
        Some(Mark::Added | Mark::Removed | Mark::Changed) => 0,
        Some(Mark::Invalid | Mark::Cached) => 1,
        None => 2,
    };
    let mut near: Vec<(usize, &Node)> =
        nodes.iter().enumerate().filter(|(_, n)| n.mark.is_some() || feeding.contains(n.stage.as_str())).collect();
    if near.iter().all(|(_, n)| n.mark.is_none()) {
        return String::new();
    }
    let left_out = near.len().saturating_sub(DRAWN);
    near.sort_by_key(|(_, n)| weight(n));
    near.truncate(DRAWN);
    near.sort_by_key(|(at, _)| *at);
    let near: Vec<&Node> = near.into_iter().map(|(_, n)| n).collect();
    let index = &|stage: &str| near.iter().position(|n| n.stage == stage);
    // Leave out edges between two neighbours: they have nothing to do with the change.
    let is_relevant = |from: usize, to: usize| near[from].mark.is_some() || near[to].mark.is_some();
    let edges = near.iter().enumerate().flat_map(|(to, n)| n.inputs.iter().filter_map(move |i| Some((index(i)?, to))));
    let edges = edges.filter(|(from, to)| is_relevant(*from, *to));
    let graph = Graph { name: String::new(), edges: edges.collect(), nodes: near.iter().map(|n| drawn(n)).collect() };
    let note =
        if left_out > 0 { format!(", without {}", format::plural(left_out, "more stage")) } else { String::new() };
    format!(
        "\n<details><summary>Graph of the changed part{note}</summary>\n\n```mermaid\n{}```\n\n</details>\n",
        graph.mermaid()
    )
}

fn drawn(node: &Node) -> Drawn {
    let class = |name, style| Some(Class { name, style });
    Drawn {
        name: cut(&node.stage),
        kind: node.kind.clone(),
        class: match node.mark {
            Some(Mark::Added) => class("added", "fill:#dafbe1,stroke:#1a7f37,color:#1f2328"),
            Some(Mark::Removed) => class("removed", "fill:#ffebe9,stroke:#cf222e,color:#1f2328,stroke-dasharray:4"),
            Some(Mark::Changed) => class("changed", "fill:#ddf4ff,stroke:#0969da,color:#1f2328"),
            Some(Mark::Invalid) => class("invalidated", "fill:#fff8c5,stroke:#9a6700,color:#1f2328"),
            Some(Mark::Cached) => class("cached", "fill:#f6f8fa,stroke:#9a6700,color:#1f2328"),
            None => None,
        },
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(CELL) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_string(),
    }
}

/// Text as inert Markdown, also in a table: no markup, no mention, no link.
fn code(text: &str) -> String {
    let text = cut(text).replace(|c: char| c.is_control(), " ");
    let text = text.trim();
    if text.is_empty() {
        return String::new();
    }
    if !text.contains(['`', '|', '\\']) {
        return format!("`{text}`");
    }
    // In a table, a code span cannot hold these characters; write them as numeric entities.
    let letter = |c: char| match c {
        ' ' => c.to_string(),
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => format!("&#{};", u32::from(c)),
        c => c.to_string(),
    };
    format!("<code>{}</code>", text.chars().map(letter).collect::<String>())
}
