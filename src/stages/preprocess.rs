//! Reads labelled texts, cleans them, and splits them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::other_names;
use super::shared::types::CORPUS;
use super::shared::watched::{Watched, finished};
use pipe_engine::contract::context::Context;
use pipe_engine::contract::kind::{External, Invalid, Port, Stage, What};
use pipe_engine::text::other_names::OtherName;
use pipe_ml::compute::numbers::thousands;
use pipe_ml::text::data::declare::spec::Source;
use pipe_ml::text::data::{Report, Spec, preprocess_at};

/// Reads labelled texts from files, folders and data sets, repairs and cleans them, and splits them.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Preprocess(Spec);

impl Stage for Preprocess {
    const KIND: &'static str = "preprocess";
    // 2: the corpus says how its texts were cleaned.
    // 3: the corpus has the dates of its texts.
    const VERSION: u32 = 3;
    const OTHER_NAMES: &'static [OtherName] = other_names::PREPROCESS;
    const INPUTS: &'static [Port] = &[];
    const OUTPUTS: &'static [Port] = &[Port::one("corpus", CORPUS)];
    const SEEDED: bool = true;

    fn check(&self) -> Vec<Invalid> {
        let problems = self.0.problems().into_iter();
        problems.map(|problem| Invalid::new(problem.key, problem.message).help(problem.help)).collect()
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
        let report = &corpus.report;
        let labels: Vec<String> =
            report.label_lines(&corpus.labels).iter().map(|line| format!("labels  {line}")).collect();
        for line in summary(report).iter().chain(&labels) {
            cx.note(line);
        }
        // Others than those who watch this run see these in `pipe show`.
        for line in report.notes.iter().chain(&labels) {
            cx.keep(line);
        }
        for text in &report.warnings {
            cx.keep(format!("warning: {text}"));
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

/// What was read, understood, changed and dropped, one line each.
fn summary(report: &Report) -> Vec<String> {
    let splits = &report.splits;
    let mut lines = vec![format!(
        "{} rows: {} train, {} validation, {} test",
        thousands(report.rows),
        thousands(splits.train.rows),
        thousands(splits.validation.rows),
        thousands(splits.test.rows)
    )];
    let dropped = report.dropped.describe();
    if !dropped.is_empty() {
        lines.push(format!("dropped {dropped}"));
    }
    let c = &report.changed;
    let repaired = c.cut_characters + c.control_characters + c.wrongly_decoded;
    if repaired > 0 {
        lines.push(format!(
            "repaired {} characters: {} control characters, {} wrongly decoded, {} cut in half",
            thousands(repaired),
            thousands(c.control_characters),
            thousands(c.wrongly_decoded),
            thousands(c.cut_characters)
        ));
    }
    lines.extend(report.notes.iter().cloned());
    lines
}
