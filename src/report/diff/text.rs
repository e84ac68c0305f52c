//! A review for the terminal.

use anstyle::Style;

use super::words::{self, Row};
use crate::engine::diff::{Review, State, Status};
use crate::report::color::{ACTIVE, Color, ERROR, FAINT, GOOD, STRONG, WARNING};
use crate::report::format;
use crate::report::table::Table;

/// Stages named in a row of stages that changed in the same way.
const NAMED: usize = 4;

/// What changed, what of it leaves results alone, and what the rest invalidates.
pub fn text(review: &Review, color: Color) -> String {
    let profile = review.profile.as_ref().map(|p| format!(" (profile {p})")).unwrap_or_default();
    let lead = color.paint(STRONG, "diff");
    let mut out = format!("{lead} {}{profile}: {} → {}", review.pipeline, review.base, review.head);
    if review.is_empty() {
        return out + ": no effect\n";
    }
    out.push('\n');
    out.push_str(&stages(review, color));
    for line in review.profiles.iter().flat_map(words::profile) {
        out.push_str(&format!("  {line}\n"));
    }
    if !review.no_effect.is_empty() {
        out.push_str(&format!("{}\n", color.paint(STRONG, "no effect on results")));
        review.no_effect.iter().for_each(|q| out.push_str(&format!("  {}\n", words::quiet(q))));
    }
    if !review.invalidated.is_empty() {
        out.push_str(&format!("{} {}\n", color.paint(STRONG, "invalidated"), words::counts(review)));
        out.push_str(&invalidated(&words::rows(&review.invalidated), color));
    }
    out
}

fn stages(review: &Review, color: Color) -> String {
    let mut table = Table::new(["", "", ""]).indent(2);
    let mut styles = Vec::new();
    for (diff, names) in words::grouped(&review.stages) {
        let mut lines = words::about(diff).into_iter();
        let name = words::names(&names, NAMED);
        table.row([words::status(diff.status).to_string(), name, lines.next().unwrap_or_default()]);
        styles.push(Some(match diff.status {
            Status::Added => GOOD,
            Status::Removed => ERROR,
            Status::Renamed | Status::Changed => ACTIVE,
        }));
        for line in lines {
            table.row([String::new(), String::new(), line]);
            styles.push(None);
        }
    }
    painted(&table, &styles, color)
}

fn invalidated(rows: &[Row], color: Color) -> String {
    let mut table = Table::new(["", "", "", ">"]).indent(2);
    let mut styles = Vec::new();
    for row in rows {
        table.row([
            words::state(row.state).to_string(),
            row.name.clone(),
            row.reason.clone(),
            row.seconds.map(format::duration).unwrap_or_default(),
        ]);
        styles.push(Some(match row.state {
            State::Hit => FAINT,
            State::Run => ACTIVE,
            State::Blocked | State::Unknown => WARNING,
        }));
    }
    painted(&table, &styles, color)
}

/// The first word of each line in its style; painted after the columns are aligned, since escapes have no width.
fn painted(table: &Table, styles: &[Option<Style>], color: Color) -> String {
    let paint = |(line, style): (&str, &Option<Style>)| match (style, line.trim_start().find(' ')) {
        (Some(style), Some(end)) => {
            let (word, rest) = line.trim_start().split_at(end);
            format!("  {}{rest}", color.paint(*style, word))
        }
        _ => line.to_string(),
    };
    table.render().split_inclusive('\n').zip(styles).map(paint).collect()
}
