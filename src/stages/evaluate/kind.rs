//! Scores a model on labelled rows.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::judged;
use super::judged::Judged;
use super::quality::Quality;
use crate::stages::shared::base;
use crate::stages::shared::pictures::confusion::Confusion;
use crate::stages::shared::pictures::curve::Curve;
use crate::stages::shared::scorer::scorer_for;
use crate::stages::shared::tokenizers;
use crate::stages::shared::training;
use crate::stages::shared::types::{DECISION, METRICS, MODEL, ONNX, PREDICTIONS, TOKENS};
use crate::stages::shared::watched::{Watched, finished};
use pipe_engine::contract::ahead::Ahead;
use pipe_engine::contract::context::{Context, Input};
use pipe_engine::contract::kind::{Invalid, Port, Resource, Stage};
use pipe_ml::compute::allocator::Watermark;
use pipe_ml::compute::numbers::thousands;
use pipe_ml::judge::by_source::{SourceQuality, by_source};
use pipe_ml::judge::classifier::Size;
use pipe_ml::judge::metrics::{Metrics, SCORING_ROWS, Scoring, Speed};
use pipe_ml::judge::readable::check_tokens;
use pipe_ml::text::data::declare::spec::Purpose;
use pipe_ml::text::data::outcomes::Outcomes;
use pipe_ml::text::data::scored::ScoredRows;
use pipe_ml::text::data::{Cleaning, Split, Tokens};

/// Scores a model, or its ONNX file, on labelled rows: quality, calibration, size, speed and memory, and the outcome of each row.
///
/// With a decision (`in.decision`, see `decide`) the figures are those of the labels and probabilities that it gives, with
/// the figures before it beside them.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Evaluate {
    /// Which rows to score: `test`, `validation` or `train`.
    #[serde(default = "test")]
    split: Purpose,
    /// Rows per batch, for scoring and for measuring the throughput.
    #[serde(default = "usual_rows")]
    batch_size: usize,
    /// Seconds for measuring latency and throughput, each; 0 skips the measurements. Other stages that run at the same
    /// time slow them down, and their memory is counted too: use `--jobs 1` if the numbers matter.
    #[serde(default = "two")]
    speed_seconds: f64,
}

fn test() -> Purpose {
    Purpose::Test
}

fn usual_rows() -> usize {
    SCORING_ROWS
}

fn two() -> f64 {
    2.0
}

/// A day; a larger value is probably in the wrong unit.
const LONGEST: f64 = 86_400.0;

/// The metrics artifact: `metrics.json`, five records in one flat object, and `outcomes.parquet`.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    pub metrics: Metrics,
    pub size: Size,
    /// None if it was not measured.
    pub speed: Option<Speed>,
    pub cost: Cost,
    pub quality: Quality,
    pub outcomes: Outcomes,
    /// The quality on the rows of each source; empty if all have one, or if the tokens do not say it.
    pub sources: Vec<SourceQuality>,
}

/// The cost of a model, besides the time per row.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// The maximum of memory in use while the model was opened and scored all rows, above what was in use before. None
    /// if the program's allocator does not count.
    pub peak_memory_bytes: Option<u64>,
    /// How long the stage that made the model took.
    pub made_seconds: f64,
    /// The most memory in use while that stage trained. None if it did not train.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_peak_memory_bytes: Option<u64>,
    /// How many parameters it trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trained_parameters: Option<u64>,
}

impl Cost {
    fn of(model: &Input, peak_memory_bytes: Option<u64>) -> Self {
        let whole = |fact: &str| model.facts.get(fact).map(|value| value.round() as u64);
        Self {
            peak_memory_bytes,
            made_seconds: model.seconds,
            made_peak_memory_bytes: whole(training::PEAK_MEMORY),
            trained_parameters: whole(training::TRAINED_PARAMETERS),
        }
    }
}

impl Scores {
    const METRICS: &'static str = "metrics.json";
    const OUTCOMES: &'static str = "outcomes.parquet";
    /// The key of the quality per source in `metrics.json`, and a table of it.
    const SOURCES: &'static str = "sources";
    const SOURCES_TABLE: &'static str = "sources.csv";

    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(Self::METRICS);
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let outcomes = Outcomes::read(&dir.join(Self::OUTCOMES))?;
        let read = || -> Result<Self, serde_json::Error> {
            // Each record takes its own keys of the object.
            let all = serde_json::Value::Object(serde_json::from_slice(&bytes)?);
            Ok(Self {
                metrics: Metrics::deserialize(&all)?,
                size: Size::deserialize(&all)?,
                speed: all.get(Speed::MEASURED).map(|_| Speed::deserialize(&all)).transpose()?,
                cost: Cost::deserialize(&all)?,
                quality: Quality::deserialize(&all)?,
                outcomes,
                sources: all.get(Self::SOURCES).map(Vec::deserialize).transpose()?.unwrap_or_default(),
            })
        };
        read().with_context(|| format!("{} was not written by `evaluate`", path.display()))
    }

    fn write(&self, dir: &Path) -> Result<()> {
        let mut all = serde_json::Map::new();
        let parts = [
            serde_json::to_value(&self.metrics)?,
            serde_json::to_value(self.size)?,
            serde_json::to_value(&self.speed)?,
            serde_json::to_value(&self.cost)?,
            serde_json::to_value(&self.quality)?,
        ];
        for part in parts {
            all.extend(part.as_object().into_iter().flatten().map(|(k, v)| (k.clone(), v.clone())));
        }
        if !self.sources.is_empty() {
            all.insert(Self::SOURCES.to_owned(), serde_json::to_value(&self.sources)?);
            self.write_sources(&dir.join(Self::SOURCES_TABLE))?;
        }
        let path = dir.join(Self::METRICS);
        std::fs::write(&path, serde_json::to_string_pretty(&all)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
        self.outcomes.write(&dir.join(Self::OUTCOMES))
    }

    fn write_sources(&self, path: &Path) -> Result<()> {
        let mut lines = vec!["source,rows,accuracy,macro_f1,labels".to_owned()];
        for of in &self.sources {
            let name = format!("\"{}\"", of.source.replace('"', "\"\""));
            lines.push(format!("{name},{},{},{},{}", of.rows, of.accuracy, of.macro_f1, of.labels.len()));
        }
        std::fs::write(path, lines.join("\n") + "\n").with_context(|| format!("cannot write {}", path.display()))
    }
}

impl Stage for Evaluate {
    const KIND: &'static str = "evaluate";
    // 2: the outcome of each row, peak memory and the time of the model's stage; no speed if it is not requested.
    // 3: how many parameters the model's stage trained, and in how much memory.
    // 4: calibration; what the predictions are of; a decision; pictures of the confusion and of the learning curve.
    const VERSION: u32 = 4;
    const INPUTS: &'static [Port] =
        &[Port::either("model", MODEL, &[ONNX]), Port::one("tokens", TOKENS), Port::optional("decision", DECISION)];
    const OUTPUTS: &'static [Port] = &[Port::one("metrics", METRICS), Port::one("predictions", PREDICTIONS)];

    fn resource(&self) -> Resource {
        Resource::Device
    }

    fn check(&self) -> Vec<Invalid> {
        let mut wrong = Vec::new();
        if self.batch_size == 0 {
            wrong.push(Invalid::new("batch-size", "batch-size is 0; at least 1 is needed"));
        }
        if !(0.0..=LONGEST).contains(&self.speed_seconds) {
            let message = format!("speed-seconds is {}; it must be from 0 to {LONGEST}", self.speed_seconds);
            wrong.push(Invalid::new("speed-seconds", message));
        }
        wrong
    }

    fn check_ahead(&self, stage: &Ahead) -> Vec<Invalid> {
        tokenizers::check_model(stage, "model", "tokens").into_iter().collect()
    }

    fn run(&self, cx: &mut Context) -> Result<()> {
        let model = cx.input("model")?.clone();
        let tokens = Tokens::open(&cx.input("tokens")?.dir)?;
        let split = self.rows(&tokens)?;
        let decision = judged::decision(cx, &tokens.labels, self.split)?;
        warn_of_other_cleaning(cx, &model.dir)?;
        let watermark = Watermark::set();
        let (classifier, device) = scorer_for(cx, &model.dir, &tokens, "the model")?;
        check_tokens(classifier.config(), &tokens)?;
        base::check_rows(&cx.input("tokens")?.dir, &model.dir, "the model")?;
        let forward = |ids, mask| classifier.logits(ids, mask);
        let scoring = Scoring { split, pad_id: tokens.pad_id, batch_size: self.batch_size, device: &device.device };
        let logits = finished(scoring.logits(&forward, &Watched::new(cx)))?;
        // 0 if another stage that ran before gave back more than this one took: then it is not known.
        let cost = Cost::of(&model, watermark.bytes().filter(|bytes| *bytes > 0));
        let budget = Duration::from_secs_f64(self.speed_seconds);
        let speed = if budget.is_zero() { None } else { Some(scoring.speed(&forward, budget)?) };
        let judged = Judged::of(decision, (split, &logits), &tokens.labels)?;
        let (metrics, outcomes, quality) = (judged.metrics.clone(), judged.outcomes.clone(), judged.quality.clone());
        let sources = by_source(split, &outcomes);
        let scores = Scores { metrics, size: classifier.size(), speed, cost, quality, sources, outcomes };
        self.report(cx, &scores);
        judged.report(cx);
        let out = cx.output("metrics")?;
        scores.write(&out)?;
        judged.write(&out)?;
        Confusion { labels: &tokens.labels, counts: &scores.metrics.confusion }.write(&out)?;
        Curve::of_model(&model.dir).map_or(Ok(()), |curve| curve.write(&out))?;
        let out = cx.output("predictions")?;
        judged.write_predictions(&out.join("predictions.parquet"), split, &logits)?;
        ScoredRows::of(&tokens, self.split, &model.digest).write(&out)
    }
}

/// Warn if the rows were not cleaned as those were that the model was trained on.
fn warn_of_other_cleaning(cx: &Context, model: &Path) -> Result<()> {
    if let (Some(theirs), Some(ours)) = (Cleaning::open(model)?, Cleaning::open(&cx.input("tokens")?.dir)?)
        && theirs != ours
    {
        let shown = |cleaning: &Cleaning| match cleaning.describe() {
            nothing if nothing.is_empty() => "nothing".into(),
            done => done,
        };
        cx.warn(format!(
            "these rows were cleaned otherwise ({}) than those that the model was trained on ({})",
            shown(&ours),
            shown(&theirs)
        ));
    }
    Ok(())
}

impl Evaluate {
    fn report(&self, cx: &mut Context, scores: &Scores) {
        let Scores { metrics, size, speed, .. } = scores;
        cx.note(format!(
            "accuracy {:.4}, macro F1 {:.4} on {} {} rows",
            metrics.accuracy,
            metrics.macro_f1,
            metrics.rows,
            self.split.name()
        ));
        for of in &scores.sources {
            let (rows, labels) = (thousands(of.rows), of.labels.len());
            let (accuracy, f1) = (of.accuracy, of.macro_f1);
            cx.note(format!(
                "source `{}`: accuracy {accuracy:.4}, macro F1 {f1:.4} of its {labels} labels on {rows} rows",
                of.source
            ));
        }
        let quality = [("accuracy", metrics.accuracy), ("macro-f1", metrics.macro_f1), ("loss", metrics.loss)];
        let speed = speed.iter().flat_map(|speed| {
            [("latency-p50-ms", speed.latency_p50_ms), ("samples-per-second", speed.samples_per_second)]
        });
        let memory = scores.cost.peak_memory_bytes.map(|bytes| ("peak-memory-bytes", bytes as f64));
        for (name, value) in quality.into_iter().chain([("bytes", size.bytes as f64)]).chain(speed).chain(memory) {
            cx.fact(name, value);
        }
    }

    fn rows<'a>(&self, tokens: &'a Tokens) -> Result<&'a Split> {
        let split = match self.split {
            Purpose::Train => &tokens.train,
            Purpose::Validation => &tokens.validation,
            Purpose::Test => &tokens.test,
        };
        ensure!(
            !split.is_empty(),
            "there are no {} rows to evaluate; add a source with split = \"{}\" to `preprocess`, or choose another `split` here",
            self.split.name(),
            self.split.name()
        );
        Ok(split)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_read_back_with_and_without_speed() {
        let outcomes = Outcomes { ids: vec!["a".into(), "b".into()], labels: vec![0, 1], predicted: vec![0, 0] };
        let speed = Speed { latency_p50_ms: 0.5, latency_p95_ms: 0.75, samples_per_second: 1000.0, batch_size: 32 };
        let mut scores = Scores {
            metrics: Metrics::of(&[1.0, 0.0, 1.0, 0.0], &[0, 1], &["no".into(), "yes".into()]).unwrap(),
            size: Size { parameters: 10, non_zero: 9, bytes: 40 },
            speed: Some(speed),
            cost: Cost { made_seconds: 1.5, trained_parameters: Some(7), ..Cost::default() },
            quality: Quality::default(),
            outcomes,
            sources: vec![SourceQuality {
                source: "a, b".into(),
                rows: 2,
                accuracy: 0.5,
                macro_f1: 0.4,
                labels: vec![0, 1],
            }],
        };
        let dir = tempfile::tempdir().unwrap();
        scores.write(dir.path()).unwrap();
        assert_eq!(Scores::read(dir.path()).unwrap(), scores);
        let table = std::fs::read_to_string(dir.path().join(Scores::SOURCES_TABLE)).unwrap();
        assert_eq!(table, "source,rows,accuracy,macro_f1,labels\n\"a, b\",2,0.5,0.4,2\n");
        scores.speed = None;
        scores.sources.clear();
        scores.write(dir.path()).unwrap();
        assert_eq!(Scores::read(dir.path()).unwrap(), scores);
        std::fs::write(dir.path().join(Scores::METRICS), "{\"accuracy\": 1}").unwrap();
        let error = Scores::read(dir.path()).unwrap_err().to_string();
        assert!(error.ends_with("metrics.json was not written by `evaluate`"), "{error}");
    }

    #[test]
    fn invalid_values_are_reported() {
        let says = |text: &str| -> Vec<String> {
            let evaluate: Evaluate = serde_json::from_str(text).unwrap();
            evaluate.check().into_iter().map(|invalid| invalid.message).collect()
        };
        assert_eq!(says(r#"{"batch-size": 0}"#), ["batch-size is 0; at least 1 is needed"]);
        assert_eq!(says(r#"{"speed-seconds": -1}"#), ["speed-seconds is -1; it must be from 0 to 86400"]);
        assert_eq!(says(r#"{"speed-seconds": 1e300}"#).len(), 1);
        assert_eq!(says(r#"{"speed-seconds": 0}"#), [""; 0]);
    }
}
