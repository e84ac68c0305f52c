//! The wording of differences: `learning-rate 0.0005 → 0.0003`, `in.model + thin, − adapted`.

use serde_json::Value;

use crate::report::format;
use pipe_engine::diff::{Affected, Change, ProfileDiff, Quiet, Review, StageDiff, State, Status, What};
use pipe_engine::store::manifest::short;

/// Instances named beside a change that affects only some of a stage's.
const NAMED: usize = 3;

/// A change as one line.
pub fn phrase(change: &Change) -> String {
    let Change { what, label, before, after, instances } = change;
    let text = match (what, before, after) {
        (What::Edge | What::Matrix, _, _) => sets(label, list(before), list(after)),
        (What::File, _, _) => format!("file {}", values(label, before, after)),
        (What::Kind, _, _) => format!("{label} {} → {}", bare(before), bare(after)),
        _ => values(label, before, after),
    };
    match instances.as_slice() {
        [] => text,
        some => format!("{text} (only {})", names(some, NAMED)),
    }
}

fn values(label: &str, before: &Value, after: &Value) -> String {
    match (before, after) {
        (Value::Null, after) => format!("{label} {} was added", value(after)),
        (before, Value::Null) => format!("{label} {} was removed", value(before)),
        (before, after) => format!("{label} {} → {}", value(before), value(after)),
    }
}

/// Lists show the added and removed names, or their order; two lists of one element show an arrow.
fn sets(label: &str, before: Vec<String>, after: Vec<String>) -> String {
    if let ([old], [new]) = (before.as_slice(), after.as_slice()) {
        return format!("{label} {old} → {new}");
    }
    let came = after.iter().filter(|name| !before.contains(name)).map(|name| format!("+ {name}"));
    let went = before.iter().filter(|name| !after.contains(name)).map(|name| format!("− {name}"));
    let moved: Vec<String> = came.chain(went).collect();
    if moved.is_empty() {
        return format!("{label} order {} → {}", names(&before, 6), names(&after, 6));
    }
    format!("{label} {}", names(&moved, 6))
}

fn list(value: &Value) -> Vec<String> {
    value.as_array().map_or(Vec::new(), |all| all.iter().map(bare).collect())
}

/// Names of stages and digests have no quotes.
fn bare(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_string)
}

fn value(value: &Value) -> String {
    match value.as_str().map(short) {
        // A shortened digest.
        Some(cut) if cut.len() == 8 && value.as_str().is_some_and(|whole| whole.len() == 64) => cut,
        _ => short(&value.to_string()),
    }
}

/// `a, b, c and 4 more`.
pub(super) fn names(all: &[String], most: usize) -> String {
    match all.len().saturating_sub(most) {
        0 => all.join(", "),
        more => format!("{} and {more} more", all[..most].join(", ")),
    }
}

pub(super) fn status(status: Status) -> &'static str {
    match status {
        Status::Added => "added",
        Status::Removed => "removed",
        Status::Renamed => "renamed",
        Status::Changed => "changed",
    }
}

/// The kind of an added or removed stage and the inputs of an added one, then the changes.
pub(super) fn about(diff: &StageDiff) -> Vec<String> {
    let mut lines: Vec<String> = match diff.status {
        Status::Added if diff.inputs.is_empty() => vec![diff.kind.clone()],
        Status::Added => vec![format!("{}, from {}", diff.kind, names(&diff.inputs, 6))],
        Status::Removed => vec![diff.kind.clone()],
        Status::Renamed | Status::Changed => Vec::new(),
    };
    lines.extend(diff.changes.iter().map(phrase));
    lines
}

/// `pruned → thin`, or the name.
pub(super) fn title(diff: &StageDiff) -> String {
    match &diff.from {
        Some(old) => format!("{old} → {}", diff.stage),
        None => diff.stage.clone(),
    }
}

/// Group stages with the same changes, for example after a change of the file's seed.
pub(super) fn grouped(diffs: &[StageDiff]) -> Vec<(&StageDiff, Vec<String>)> {
    let mut groups: Vec<(&StageDiff, Vec<String>)> = Vec::new();
    for diff in diffs {
        let is_same = |known: &StageDiff| {
            diff.status == Status::Changed && known.status == Status::Changed && known.changes == diff.changes
        };
        match groups.iter_mut().find(|(known, _)| is_same(known)) {
            Some((_, names)) => names.push(title(diff)),
            None => groups.push((diff, vec![title(diff)])),
        }
    }
    groups
}

/// `teacher.log-every 10 → 50`.
pub(super) fn quiet(quiet: &Quiet) -> String {
    match &quiet.stage {
        Some(stage) => format!("{stage}.{}", phrase(&quiet.change)),
        None => phrase(&quiet.change),
    }
}

/// `profile full: teacher.epochs 3 → 4`, one line per change.
pub(super) fn profile(diff: &ProfileDiff) -> Vec<String> {
    let lead = match diff.status {
        Status::Added => format!("profile {} (new)", diff.profile),
        Status::Removed => format!("profile {} (removed)", diff.profile),
        Status::Renamed | Status::Changed => format!("profile {}", diff.profile),
    };
    let mut lines = Vec::new();
    for stage in &diff.stages {
        if stage.status != Status::Changed {
            let what = status(stage.status);
            lines.push(format!("{lead}: {what} {} ({})", title(stage), stage.kind));
        }
        lines.extend(stage.changes.iter().map(|c| format!("{lead}: {}.{}", stage.stage, phrase(c))));
    }
    lines.extend(diff.no_effect.iter().map(|q| format!("{lead}: {}, no effect on results", quiet(q))));
    if lines.is_empty() { vec![lead] } else { lines }
}

/// At least this many instances of a stage with the same state and cause share a line.
const TOGETHER: usize = 4;

/// One line about invalidated instances.
pub(super) struct Row {
    pub(super) state: State,
    pub(super) name: String,
    /// The path to the cause, without the name.
    pub(super) reason: String,
    pub(super) seconds: Option<f64>,
}

pub(super) fn rows(invalidated: &[Affected]) -> Vec<Row> {
    let fate = |a: &Affected| (a.stage.clone(), a.state, a.note.clone(), cause(a));
    let mut groups: Vec<Vec<&Affected>> = Vec::new();
    for affected in invalidated {
        match groups.last_mut().filter(|g| fate(g[0]) == fate(affected)) {
            Some(group) => group.push(affected),
            None => groups.push(vec![affected]),
        }
    }
    let (few, many): (usize, usize) = (1, TOGETHER);
    groups.iter().flat_map(|g| g.chunks(if g.len() >= many { g.len() } else { few })).map(row).collect()
}

fn row(group: &[&Affected]) -> Row {
    let first = group[0];
    let name = if group.len() > 1 { format!("{} ×{}", first.stage, group.len()) } else { first.instance.clone() };
    let tail = first.reason.strip_prefix(&first.instance).unwrap_or(&first.reason).trim_start();
    let tail = tail.strip_prefix('.').unwrap_or(tail);
    let reason = match &first.note {
        Some(note) => format!("{tail}; {note}"),
        None => tail.to_string(),
    };
    let timed: Vec<f64> = group.iter().filter_map(|a| a.seconds).collect();
    let seconds = (first.state != State::Hit && !timed.is_empty()).then(|| timed.iter().sum());
    Row { state: first.state, name, reason, seconds }
}

/// The last node of a reason.
fn cause(affected: &Affected) -> String {
    affected.reason.rsplit(" ← ").next().filter(|_| affected.path.len() > 1).unwrap_or_default().to_string()
}

pub(super) fn state(state: State) -> &'static str {
    match state {
        State::Hit => "hit",
        State::Run => "run",
        State::Blocked => "blocked",
        State::Unknown => "?",
    }
}

/// `4 of 13 stages, 1 cached, 3 to run, about 1m 20s`.
pub(super) fn counts(review: &Review) -> String {
    let mut parts = vec![format!("{} of {}", review.invalidated.len(), format::plural(review.instances, "stage"))];
    for (state, word) in
        [(State::Hit, "cached"), (State::Run, "to run"), (State::Blocked, "blocked"), (State::Unknown, "unknown")]
    {
        let count = review.count(state);
        parts.extend((count > 0).then(|| format!("{count} {word}")));
    }
    parts.extend(review.seconds.map(|s| format!("about {}", format::duration(s))));
    parts.join(", ")
}
