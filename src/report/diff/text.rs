//! A review as text for the terminal.

use anstyle::Style;

use super::words;
use super::words::Row;
use crate::report::color::{ACTIVE, Color, ERROR, FAINT, GOOD, STRONG, WARNING};
use crate::report::format;
use crate::report::table::Table;
use pipe_engine::diff::{Review, State, Status};

/// Stages named in one row of stages with the same change.
const NAMED: usize = 4;

/// Render the changes, the changes without effect, and what the others invalidate.
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

/// Colour the first word of each line, after alignment: escape codes have no width.
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

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use pipe_engine::diff::{Affected, Change, StageDiff, What};

    fn review() -> Review {
        let change = |label: &str, before: Value, after: Value| Change {
            what: What::Parameter,
            label: label.into(),
            before,
            after,
            instances: Vec::new(),
        };
        let teacher = StageDiff {
            stage: "teacher".into(),
            kind: "train".into(),
            status: Status::Changed,
            from: None,
            inputs: Vec::new(),
            changes: vec![change("learning-rate", 5e-4.into(), 3e-4.into()), change("patience", Value::Null, 3.into())],
        };
        let affected = |name: &str, state, reason: &str, seconds| Affected {
            instance: name.into(),
            stage: name.into(),
            kind: "x".into(),
            state,
            reason: reason.into(),
            path: Vec::new(),
            note: None,
            seconds,
        };
        Review {
            pipeline: "roberta-full".into(),
            base: "HEAD:x.toml".into(),
            head: "x.toml".into(),
            profile: Some("full".into()),
            stages: vec![teacher],
            no_effect: Vec::new(),
            profiles: Vec::new(),
            invalidated: vec![
                affected("teacher", State::Run, "teacher.learning-rate and 1 more", Some(70.0)),
                affected("comparison", State::Hit, "comparison ← teacher.learning-rate and 1 more", Some(4.0)),
            ],
            instances: 9,
            seconds: Some(70.0),
            nodes: Vec::new(),
        }
    }

    #[test]
    fn colours_do_not_change_the_text() {
        let plain = text(&review(), Color::Never);
        assert_eq!(
            plain,
            "\
diff roberta-full (profile full): HEAD:x.toml → x.toml
  changed  teacher  learning-rate 0.0005 → 0.0003
                    patience 3 was added
invalidated 2 of 9 stages, 1 cached, 1 to run, about 1m 10s
  run  teacher     learning-rate and 1 more            1m 10s
  hit  comparison  ← teacher.learning-rate and 1 more
"
        );
        let coloured = text(&review(), Color::Always);
        assert!(coloured.contains("\u{1b}[36mchanged\u{1b}[0m"), "{coloured:?}");
        assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), plain);
    }
}
