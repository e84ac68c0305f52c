//! `explore.md`: the pictures in order, each with its numbers.

use std::fmt::Write as _;

use super::pictures::Picture;
use pipe_ml::compute::numbers::thousands;
use pipe_ml::text::data::Corpus;
use pipe_ml::text::explore::{Lengths, Look};

/// The most rows of a table; the CSV files have all.
const MOST_ROWS: usize = 40;
/// Pairs of near-duplicates, and characters of a text that are shown.
const PAIRS: usize = 5;
const LONGEST: usize = 160;
/// Typical words in the table of a label.
const WORDS: usize = 10;

pub(super) fn of(seen: &Look, pictures: &[Picture], corpus: &Corpus) -> String {
    let mut out = String::from("# What the corpus looks like\n\n");
    let show = |out: &mut String, file: &str| {
        if pictures.iter().any(|picture| picture.file == file) {
            let name = file.trim_end_matches(".svg").replace('-', " ");
            let _ = write!(out, "![{name}]({file})\n\n");
        }
    };
    let both = if seen.pairs { " Each row has two texts; both count." } else { "" };
    let noun = if seen.sources.len() == 1 { "source" } else { "sources" };
    let _ = write!(out, "{} rows from {} {noun}.{both}\n\n", thousands(seen.rows), seen.sources.len());
    out += "## Labels\n\n";
    show(&mut out, "labels.svg");
    labels(&mut out, seen);
    if seen.sources.len() > 1 {
        show(&mut out, "sources.svg");
        sources(&mut out, seen);
    }
    out += "## Days\n\n";
    days(&mut out, seen);
    show(&mut out, "calendar.svg");
    show(&mut out, "labels-over-time.svg");
    out += "## Lengths\n\n";
    lengths(&mut out, seen);
    for file in ["words-per-text.svg", "tokens-per-text.svg", "length-by-label.svg", "length-by-source.svg"] {
        show(&mut out, file);
    }
    out += "## Words\n\n";
    words(&mut out, seen);
    show(&mut out, "typical-words.svg");
    show(&mut out, "word-cloud.svg");
    out += "## Near-duplicates and leaks\n\n";
    duplicates(&mut out, seen, corpus);
    out += "All numbers are in `explore.json` and in the CSV files beside it.\n";
    out
}

/// A text within a cell of a table.
fn cell(text: &str) -> String {
    let flat: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    let short: String = flat.chars().take(LONGEST).collect();
    let more = if flat.chars().nth(LONGEST).is_some() { "…" } else { "" };
    let escaped = short.replace('\\', "\\\\").replace('|', "\\|").replace('<', "&lt;").replace('*', "\\*");
    escaped.replace('`', "\\`").replace('[', "\\[") + more
}

fn rule(out: &mut String, header: &str, numbers: usize) {
    let _ = writeln!(out, "{header}\n| --- |{}", " ---: |".repeat(numbers));
}

fn more(out: &mut String, all: usize) {
    if all > MOST_ROWS {
        let _ = write!(out, "\n{} more rows are in the CSV file.\n", all - MOST_ROWS);
    }
    out.push('\n');
}

fn labels(out: &mut String, seen: &Look) {
    rule(out, "| label | train | validation | test |", 3);
    for (at, label) in seen.labels.iter().enumerate().take(MOST_ROWS) {
        let counts: Vec<String> = seen.splits.iter().map(|split| thousands(split.labels[at])).collect();
        let _ = writeln!(out, "| {} | {} |", cell(label), counts.join(" | "));
    }
    let counts: Vec<String> = seen.splits.iter().map(|split| thousands(split.rows)).collect();
    let _ = writeln!(out, "| all | {} |", counts.join(" | "));
    more(out, seen.labels.len());
}

fn sources(out: &mut String, seen: &Look) {
    let shown = seen.labels.len().min(8);
    let names: Vec<String> = seen.labels[..shown].iter().map(|label| cell(label)).collect();
    rule(out, &format!("| source | rows | {} |", names.join(" | ")), shown + 1);
    for source in seen.sources.iter().take(MOST_ROWS) {
        let counts: Vec<String> = source.labels[..shown].iter().map(|count| thousands(*count)).collect();
        let _ = writeln!(out, "| {} | {} | {} |", cell(&source.name), thousands(source.rows), counts.join(" | "));
    }
    more(out, seen.sources.len());
}

fn days(out: &mut String, seen: &Look) {
    let Some(days) = &seen.days else {
        *out += "No row has a date, so there is no calendar and there are no labels over time. A source of `preprocess` takes \
                 dates from a column: `date = \"created_at\"`.\n\n";
        return;
    };
    let undated = match days.undated {
        0 => String::new(),
        some => format!(" {} rows have no date.", thousands(some)),
    };
    let _ = write!(out, "From {} to {}.{undated}", days.first, days.last);
    let dated: Vec<String> = seen
        .sources
        .iter()
        .filter_map(|source| {
            source.dates.as_ref().map(|(first, last)| format!("{}: {first} to {last}", cell(&source.name)))
        })
        .collect();
    if seen.sources.len() > 1 && dated.len() <= MOST_ROWS {
        let _ = write!(out, " By source: {}.", dated.join("; "));
    }
    *out += "\n\n";
}

fn lengths(out: &mut String, seen: &Look) {
    let limits: Vec<String> =
        seen.lengths.iter().take(1).flat_map(|words| &words.all.cut).map(|cut| format!("> {}", cut.at)).collect();
    let header = format!("|  | mean | median | p95 | p99 | max | {} |", limits.join(" | "));
    rule(out, &header, 5 + limits.len());
    let mut line = |name: String, all: &Lengths| {
        let cut: Vec<String> = all.cut.iter().map(|cut| format!("{:.2} %", 100.0 * cut.share)).collect();
        let Lengths { mean, median, p95, p99, max, .. } = all;
        let _ = writeln!(out, "| {name} | {mean:.1} | {median} | {p95} | {p99} | {max} | {} |", cut.join(" | "));
    };
    for measured in &seen.lengths {
        line(format!("**{}**", measured.unit), &measured.all);
        let of_labels = seen.labels.iter().zip(&measured.by_label);
        of_labels.take(MOST_ROWS).for_each(|(label, all)| line(cell(label), all));
        if seen.sources.len() > 1 {
            let of_sources = seen.sources.iter().zip(&measured.by_source);
            of_sources.take(MOST_ROWS).for_each(|(source, all)| line(format!("source {}", cell(&source.name)), all));
        }
    }
    *out += "\nThe columns with > are the shares of texts that a limit of so many would cut.";
    if let Some(limit) = seen.max_length {
        let _ = write!(out, " The tokens were made with max-length {limit}; these are the lengths before that.");
    }
    *out += "\n\n";
}

fn words(out: &mut String, seen: &Look) {
    if seen.typical.iter().all(|typical| typical.words.is_empty()) {
        *out += "No label has typical words: that needs two labels with words, and words that occur five times.\n\n";
        return;
    }
    let _ = write!(
        out,
        "The training rows have {} different words. The words that are most typical of each label, by log-odds ratio against \
         the other labels with an informative Dirichlet prior (Monroe et al. 2008), as z scores:\n\n",
        thousands(seen.vocabulary)
    );
    *out += "| label | words |\n| --- | --- |\n";
    for typical in seen.typical.iter().take(MOST_ROWS) {
        let words: Vec<String> =
            typical.words.iter().take(WORDS).map(|word| format!("{} {:.1}", cell(&word.word), word.z)).collect();
        let _ = writeln!(out, "| {} | {} |", cell(&typical.label), words.join(", "));
    }
    more(out, seen.typical.len());
}

fn duplicates(out: &mut String, seen: &Look, corpus: &Corpus) {
    let found = &seen.duplicates;
    let _ = write!(
        out,
        "Texts count as near-duplicates if they share {:.0} % or more of their word triples, regardless of case, signs and \
         links.\n\n",
        100.0 * found.threshold
    );
    *out += "| what | |\n| --- | ---: |\n";
    for (what, count) in [
        ("rows that repeat an earlier one word for word", found.same),
        ("pairs of different texts that are near", found.near_pairs),
        ("rows with a duplicate or near-duplicate", found.rows),
        ("groups of such rows", found.groups),
        ("pairs with different labels", found.contradicting),
        ("leaks: training rows that are also in validation or test", found.train_leaks),
        ("leaks: validation rows that are also in test", found.validation_leaks),
    ] {
        let _ = writeln!(out, "| {what} | {} |", thousands(count));
    }
    out.push('\n');
    let rows: Vec<_> = [&corpus.train, &corpus.validation, &corpus.test].into_iter().flatten().collect();
    let mut differ: Vec<_> = found.links.iter().filter(|link| rows[link.one].label != rows[link.other].label).collect();
    differ.sort_by(|one, other| other.similarity.total_cmp(&one.similarity));
    if !differ.is_empty() {
        *out += "Pairs whose labels differ, the most similar first:\n\n";
        *out += "| similarity | label | text | other label | other text |\n| ---: | --- | --- | --- | --- |\n";
        for link in differ.iter().take(PAIRS) {
            let (one, other) = (rows[link.one], rows[link.other]);
            let label = |row: &pipe_ml::text::data::Example| cell(&seen.labels[row.label as usize]);
            let (left, right) = (format!("{} | {}", label(one), cell(&one.text)), cell(&other.text));
            let _ = writeln!(out, "| {:.2} | {left} | {} | {right} |", link.similarity, label(other));
        }
        out.push('\n');
    }
}
