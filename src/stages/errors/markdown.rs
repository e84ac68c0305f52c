//! The report about errors, to be read.

use super::rows::{Rows, Variant};
use super::summary::{Counts, Summary};
use pipe_ml::judge::errors::slices::Slice;

/// The most characters of a text in a table.
const LONGEST: usize = 300;

/// `errors.md`, with at most so many texts of each sort.
pub(super) fn document(name: &str, rows: &Rows, variants: &[Variant], (summary, most): (&Summary, usize)) -> String {
    let whole = &summary.slices.whole;
    let mut out = format!(
        "# Errors of `{name}`\n\n{} of {} rows are wrong: accuracy {:.4}, with 95 % confidence {:.4} … {:.4}.\n",
        summary.wrong(),
        whole.rows,
        whole.accuracy(),
        whole.interval.low,
        whole.interval.high
    );
    if let Some(warning) = rows.warning() {
        out += &format!("\nWarning: {warning}.\n");
    }
    out += &slices(summary);
    out += &confident(rows, most);
    out += &suspects(rows, summary, most);
    out += &disagreements(rows, variants, (summary, most));
    out
}

fn slices(summary: &Summary) -> String {
    let all = &summary.slices;
    let row = |slice: &Slice| {
        vec![
            slice.by.to_owned(),
            slice.name.clone(),
            slice.rows.to_string(),
            format!("{:.4}", slice.accuracy()),
            format!("{:.4} … {:.4}", slice.interval.low, slice.interval.high),
            format!("{:+.4}", all.difference(slice)),
            all.lift(slice).map_or("–".into(), |lift| format!("{lift:.2}×")),
            if slice.chance < 0.0001 { "< 0.0001".into() } else { format!("{:.4}", slice.chance) },
            if all.is_surely_worse(slice) { "worse".into() } else { String::new() },
        ]
    };
    let titles = ["by", "slice", "rows", "accuracy", "95 % interval", "difference", "errors", "chance", ""];
    let rows: Vec<Vec<String>> = all.slices.iter().map(row).collect();
    let empty = match all.empty.len() {
        0 => String::new(),
        count => format!("\n{count} slices have no rows: {}.\n", all.empty.join(", ")),
    };
    format!(
        "\n## Slices\n\nThe surest to be worse first. errors: how many times as often wrong as all rows. chance: the probability \
         of so few right rows if the slice were like all rows. worse: hardly chance, even among {} slices.\n\n{}{empty}",
        all.slices.len(),
        table(&titles, &rows)
    )
}

fn confident(rows: &Rows, most: usize) -> String {
    let wrong = rows.wrong();
    let row = |row: &usize| {
        let scored = &rows.scored;
        vec![
            scored.ids[*row].clone(),
            rows.label(scored.labels[*row]).to_owned(),
            rows.label(scored.predicted[*row]).to_owned(),
            format!("{:.3}", scored.confidence(*row)),
            rows.text(*row),
        ]
    };
    let shown: Vec<Vec<String>> = wrong.iter().take(most).map(row).collect();
    let titles = ["id", "label", "predicted", "confidence", "text"];
    format!("\n## Most confident errors\n\n{} of {}.\n\n{}", shown.len(), wrong.len(), table(&titles, &shown))
}

fn suspects(rows: &Rows, summary: &Summary, most: usize) -> String {
    let ranked = summary.suspicion.ranked();
    let row = |row: &usize| {
        let quality = summary.suspicion.quality[*row];
        let probable = summary.suspicion.suspected[*row].map_or("", |class| rows.label(class));
        vec![
            rows.scored.ids[*row].clone(),
            rows.label(rows.scored.labels[*row]).to_owned(),
            probable.to_owned(),
            format!("{:.3}", quality.self_confidence),
            format!("{:.3}", quality.normalized_margin),
            rows.text(*row),
        ]
    };
    let shown: Vec<Vec<String>> = ranked.iter().take(most).map(row).collect();
    let titles = ["id", "label", "probably", "label's score", "margin", "text"];
    format!(
        "\n## Suspected label errors\n\n{} of {}; a suspicion is worth a look, not a proof.\n\n{}",
        shown.len(),
        ranked.len(),
        table(&titles, &shown)
    )
}

fn disagreements(rows: &Rows, variants: &[Variant], (summary, most): (&Summary, usize)) -> String {
    if variants.is_empty() {
        return String::new();
    }
    let count = |counts: &Counts| {
        vec![counts.variant.clone(), counts.lost.to_string(), counts.gained.to_string(), counts.neither.to_string()]
    };
    let counts: Vec<Vec<String>> = summary.disagreements.iter().map(count).collect();
    let mut out =
        format!("\n## Disagreements\n\n{}", table(&["variant", "lost", "gained", "neither is right"], &counts));
    for variant in variants.iter().filter(|variant| !variant.found.is_empty()) {
        let found = variant.found.iter().take(most).map(|found| {
            let scored = &variant.scored;
            vec![
                found.kind.name().to_owned(),
                rows.scored.ids[found.row].clone(),
                rows.label(rows.scored.labels[found.row]).to_owned(),
                rows.label(rows.scored.predicted[found.row]).to_owned(),
                rows.label(scored.predicted[found.other]).to_owned(),
                format!("{:.3}", scored.confidence(found.other)),
                rows.text(found.row),
            ]
        });
        let titles = ["outcome", "id", "label", "baseline", "variant", "confidence", "text"];
        out += &format!("\n### `{}`\n\n{}", variant.name, table(&titles, &found.collect::<Vec<_>>()));
    }
    out
}

/// A Markdown table; nothing in a cell can leave it.
fn table(titles: &[&str], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return "None.\n".into();
    }
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let rule = format!("|{}\n", " --- |".repeat(titles.len()));
    let rows = rows.iter().map(|row| line(row.iter().map(|cell| plain(cell)).collect()));
    line(titles.iter().map(|title| (*title).to_owned()).collect()) + &rule + &rows.collect::<String>()
}

/// A text in one line, without what Markdown or HTML would read as markup.
fn plain(text: &str) -> String {
    let mut out = String::new();
    for letter in text.chars().take(LONGEST) {
        match letter {
            '|' | '`' | '*' | '_' | '[' | ']' | '\\' | '#' => out.extend(['\\', letter]),
            '<' => out += "&lt;",
            '&' => out += "&amp;",
            _ if letter.is_control() => out.push(' '),
            _ => out.push(letter),
        }
    }
    if text.chars().count() > LONGEST {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_stays_a_cell() {
        assert_eq!(plain("a|b\n<i>*c*</i> & `d`"), "a\\|b &lt;i>\\*c\\*&lt;/i> &amp; \\`d\\`");
        assert_eq!(plain(&"x".repeat(301)).chars().count(), 301);
        assert_eq!(table(&["a"], &[]), "None.\n");
    }
}
