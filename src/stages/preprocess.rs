//! Reads labelled texts, cleans them, and splits them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::types::CORPUS;
use super::shared::watched::{Watched, finished};
use pipe_engine::contract::context::Context;
use pipe_engine::contract::kind::{External, Invalid, Port, Stage, What};
use pipe_ml::text::data::spec::Purpose;
use pipe_ml::text::data::{Report, Spec, preprocess};

/// Reads labelled texts from CSV, TSV or JSON lines, repairs and cleans them, and splits them.
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
        if !self.0.sources.iter().any(|s| s.split == Purpose::Train) {
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
        let file = |(i, source): (usize, &pipe_ml::text::data::spec::Source)| External {
            name: format!("sources[{i}]"),
            key: "sources",
            path: source.path.display().to_string(),
            what: What::File,
        };
        self.0.sources.iter().enumerate().map(file).collect()
    }

    fn run(&self, cx: &mut Context) -> anyhow::Result<()> {
        let corpus = finished(preprocess(&self.0, cx.seed(), cx.root(), &Watched::new(cx)))?;
        for line in summary(&corpus.report) {
            cx.note(line);
        }
        for row in &corpus.report.unusable {
            cx.warn(format!("{}: {}", row.place, row.reason));
        }
        cx.fact("rows", corpus.report.kept as f64);
        cx.fact("dropped", corpus.report.dropped.total() as f64);
        corpus.write(&cx.output("corpus")?)
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
