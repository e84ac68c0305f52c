//! Score a model on labelled rows.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::base;
use super::types::{METRICS, MODEL, PREDICTIONS, TOKENS};
use super::watched::{Watched, finished};
use crate::engine::kind::{Context, Invalid, Port, Resource, Stage};
use crate::ml::classifier::{Classifier, Size};
use crate::ml::data::predictions;
use crate::ml::data::spec::Purpose;
use crate::ml::data::{Split, Tokens};
use crate::ml::metrics::{Metrics, SCORING_ROWS, Scoring, Speed};

/// Scores a model on labelled rows: quality, size and speed.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Evaluate {
    /// Which rows: `test`, `validation` or `train`.
    #[serde(default = "test")]
    split: Purpose,
    /// Rows per batch, for scoring and for the throughput.
    #[serde(default = "usual_rows")]
    batch_size: usize,
    /// Seconds that measuring latency and throughput may take, each. Other stages that run at the same time slow them
    /// down: run with `--jobs 1` where the figures matter.
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

/// `metrics.json`: three records in one flat object.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    pub metrics: Metrics,
    pub size: Size,
    pub speed: Speed,
}

impl Scores {
    const FILE: &'static str = "metrics.json";

    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(Self::FILE);
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let read = || -> Result<Self, serde_json::Error> {
            Ok(Self {
                metrics: serde_json::from_slice(&bytes)?,
                size: serde_json::from_slice(&bytes)?,
                speed: serde_json::from_slice(&bytes)?,
            })
        };
        read().with_context(|| format!("{} is not what `evaluate` writes", path.display()))
    }

    fn write(&self, dir: &Path) -> Result<()> {
        let mut all = serde_json::Map::new();
        for part in
            [serde_json::to_value(&self.metrics)?, serde_json::to_value(self.size)?, serde_json::to_value(&self.speed)?]
        {
            all.extend(part.as_object().into_iter().flatten().map(|(k, v)| (k.clone(), v.clone())));
        }
        let path = dir.join(Self::FILE);
        std::fs::write(&path, serde_json::to_string_pretty(&all)?)
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

impl Stage for Evaluate {
    const KIND: &'static str = "evaluate";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] = &[Port::one("model", MODEL), Port::one("tokens", TOKENS)];
    const OUTPUTS: &'static [Port] = &[Port::one("metrics", METRICS), Port::one("predictions", PREDICTIONS)];

    fn resource(&self) -> Resource {
        Resource::Device
    }

    fn check(&self) -> Vec<Invalid> {
        let mut wrong = Vec::new();
        if self.batch_size == 0 {
            wrong.push(Invalid::new("batch-size", "batch-size is 0; at least 1 is needed"));
        }
        if !(self.speed_seconds >= 0.0 && self.speed_seconds.is_finite()) {
            wrong.push(Invalid::new(
                "speed-seconds",
                format!("speed-seconds is {}; it must be 0 or more", self.speed_seconds),
            ));
        }
        wrong
    }

    fn run(&self, cx: &mut Context) -> Result<()> {
        let model_dir = cx.input("model")?.dir.clone();
        let tokens = Tokens::open(&cx.input("tokens")?.dir)?;
        let split = self.rows(&tokens)?;
        let device = base::device(cx)?;
        let classifier = Classifier::open(&model_dir, &device.device)?;
        base::check_labels(classifier.labels(), &tokens, "the model")?;
        base::check_fit(&tokens, &model_dir)?;
        let forward = |ids, mask| classifier.logits(ids, mask);
        let scoring = Scoring { split, pad_id: tokens.pad_id, batch_size: self.batch_size, device: &device.device };
        let logits = finished(scoring.logits(&forward, &Watched::new(cx)))?;
        let metrics = Metrics::of(&logits, split.labels(), &tokens.labels)?;
        let speed = scoring.speed(&forward, Duration::from_secs_f64(self.speed_seconds))?;
        let scores = Scores { metrics, size: classifier.size(), speed };
        cx.note(format!(
            "accuracy {:.4}, macro F1 {:.4} on {} {} rows",
            scores.metrics.accuracy,
            scores.metrics.macro_f1,
            split.len(),
            self.split.name()
        ));
        for (name, value) in [
            ("accuracy", scores.metrics.accuracy),
            ("macro-f1", scores.metrics.macro_f1),
            ("loss", scores.metrics.loss),
            ("bytes", scores.size.bytes as f64),
            ("latency-p50-ms", scores.speed.latency_p50_ms),
            ("samples-per-second", scores.speed.samples_per_second),
        ] {
            cx.fact(name, value);
        }
        scores.write(&cx.output("metrics")?)?;
        predictions::write(&cx.output("predictions")?.join("predictions.parquet"), split, &logits, tokens.labels.len())
    }
}

impl Evaluate {
    fn rows<'a>(&self, tokens: &'a Tokens) -> Result<&'a Split> {
        let split = match self.split {
            Purpose::Train => &tokens.train,
            Purpose::Validation => &tokens.validation,
            Purpose::Test => &tokens.test,
        };
        ensure!(
            !split.is_empty(),
            "there are no {} rows to evaluate on; give `preprocess` a source with split = \"{}\", or choose another `split` here",
            self.split.name(),
            self.split.name()
        );
        Ok(split)
    }
}
