//! Reads labelled texts, cleans them, and splits them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::types::CORPUS;
use super::shared::watched::{Watched, finished};
use pipe_engine::contract::context::Context;
use pipe_engine::contract::kind::{External, Invalid, Port, Stage, What};
use pipe_ml::text::data::spec::{Purpose, Source};
use pipe_ml::text::data::{Report, Spec, preprocess_at};

/// Reads labelled texts from files, folders and data sets, repairs and cleans them, and splits them.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Preprocess(Spec);

impl Stage for Preprocess {
    const KIND: &'static str = "preprocess";
    // 2: the corpus says how its texts were cleaned.
    const VERSION: u32 = 2;
    const INPUTS: &'static [Port] = &[];
    const OUTPUTS: &'static [Port] = &[Port::one("corpus", CORPUS)];
    const SEEDED: bool = true;

    fn check(&self) -> Vec<Invalid> {
        let mut wrong = Vec::new();
        for source in &self.0.sources {
            wrong.extend(source.mistakes().into_iter().map(|mistake| {
                let invalid = Invalid::new("sources", format!("{}: {}", source.path.display(), mistake.what));
                invalid.help(mistake.help)
            }));
        }
        if !self.0.sources.iter().any(|s| s.split.may_be(Purpose::Train)) {
            wrong.push(
                Invalid::new("sources", "no source has training rows").help("leave out `split` of at least one source"),
            );
        }
        if let Some(share) = self.0.validation.filter(|v| !(0.0..1.0).contains(v)) {
            wrong.push(Invalid::new("validation", format!("validation is {share}; it must be at least 0 and below 1")));
        }
        wrong
    }

    fn externals(&self) -> Vec<External> {
        let mut all: Vec<External> = Vec::new();
        for (i, source) in self.0.sources.iter().enumerate() {
            let name = |key: &str| format!("sources[{i}]{key}");
            let mut add = |name: String, path: String, what: What| {
                // Several sources may read one file.
                if !all.iter().any(|known| known.path == path) {
                    all.push(External { name, key: "sources", path, what });
                }
            };
            add(name(""), reference(source), What::Tree);
            for (key, path) in [(".labels-file", &source.labels_file), (".mapping", &source.mapping)] {
                if let Some(path) = path {
                    add(name(key), path.display().to_string(), What::File);
                }
            }
        }
        all
    }

    fn run(&self, cx: &mut Context) -> anyhow::Result<()> {
        let mut places: HashMap<PathBuf, PathBuf> = HashMap::new();
        for external in self.externals() {
            let written = match external.path.starts_with("hf:") {
                true => external.path.split('#').next().unwrap_or_default(),
                false => &external.path,
            };
            places.insert(written.into(), cx.external(&external.name)?.to_owned());
        }
        let root = cx.root().to_owned();
        let locate = |path: &Path| places.get(path).cloned().unwrap_or_else(|| root.join(path));
        let corpus = finished(preprocess_at(&self.0, cx.seed(), &locate, &Watched::new(cx)))?;
        for line in summary(&corpus.report) {
            cx.note(line);
        }
        for row in &corpus.report.unusable {
            let detail = if row.detail.is_empty() { String::new() } else { format!(" ({})", row.detail) };
            cx.warn(format!("{}: {}{detail}", row.place, row.reason));
        }
        cx.fact("rows", corpus.report.kept as f64);
        cx.fact("dropped", corpus.report.dropped.total() as f64);
        corpus.write(&cx.output("corpus")?)
    }
}

/// The path of a source; with its configuration if it is on the Hub, so that only its files are downloaded.
fn reference(source: &Source) -> String {
    let path = source.path.display().to_string();
    match &source.config {
        Some(config) if path.starts_with("hf:") => format!("{path}#{config}"),
        _ => path,
    }
}

/// What was read, changed and dropped, one line each.
fn summary(report: &Report) -> Vec<String> {
    let d = &report.dropped;
    let counts = [
        (d.unusable, "unusable"),
        (d.over_limit, "over the limit"),
        (d.empty, "empty"),
        (d.leaked, "also in test"),
        (d.conflicting, "repeated with another label"),
        (d.duplicate, "repeated"),
    ];
    let dropped: Vec<String> = counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    let splits = &report.splits;
    let mut lines = vec![format!(
        "{} rows: {} train, {} validation, {} test",
        report.rows, splits.train.rows, splits.validation.rows, splits.test.rows
    )];
    if !dropped.is_empty() {
        lines.push(format!("dropped {}", dropped.join(", ")));
    }
    let c = &report.changed;
    let repaired = c.cut_characters + c.control_characters + c.wrongly_decoded;
    if repaired > 0 {
        lines.push(format!(
            "repaired {repaired} characters: {} control characters, {} wrongly decoded, {} cut in half",
            c.control_characters, c.wrongly_decoded, c.cut_characters
        ));
    }
    lines
}
