//! Labels texts with a trained model: the core of `pipe predict`.

use std::path::Path;

use anyhow::{Context as _, Result};

use pipe_ml::compute::device;
use pipe_ml::compute::numbers::{argmax, log_softmax};
use pipe_ml::judge::classifier::Classifier;
use pipe_ml::judge::metrics::Scoring;
use pipe_ml::text::data::Split;
use pipe_ml::text::tokenizer::Tokenizer;
use pipe_ml::watch::Silent;

pub struct Predictor {
    classifier: Classifier,
    tokenizer: Tokenizer,
}

/// The prediction for one text.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    pub label: String,
    /// Probabilities, by label.
    pub scores: Vec<f32>,
    pub logits: Vec<f32>,
    /// Tokens cut from the text because the model has no more positions, or was trained on shorter rows.
    pub truncated: usize,
}

impl Predictor {
    /// Rows per batch.
    const BATCH: usize = 32;

    /// Open a model folder with its tokenizer; `device` as in `--device`.
    pub fn open(dir: &Path, device: &str) -> Result<Self> {
        let device = device::open(&device.parse()?)?;
        let classifier = Classifier::open(dir, &device.device)?;
        let tokenizer = Tokenizer::open(dir)?;
        Ok(Self { classifier, tokenizer })
    }

    /// Contradictions between the tokenizer's files, and what was decided.
    pub fn remarks(&self) -> &[String] {
        self.tokenizer.remarks()
    }

    pub fn labels(&self) -> &[String] {
        self.classifier.labels()
    }

    /// Predictions in the order of the texts.
    pub fn predict<T: AsRef<str> + Sync>(&self, texts: &[T]) -> Result<Vec<Prediction>> {
        let positions = self.classifier.max_length();
        let longest = self.tokenizer.max_length().map_or(positions, |length| length.min(positions));
        let encoded = self.tokenizer.encode_batch(texts, longest, &Silent)?;
        let rows = self.classifier.config().vocab_size();
        // Ids may have gaps: their number does not tell the highest.
        let highest = encoded.iter().flat_map(|e| &e.ids).chain([&self.tokenizer.pad_id()]).max().copied().unwrap_or(0);
        anyhow::ensure!(
            (highest as usize) < rows,
            "the tokenizer gives id {highest}, but the model has only {rows} ids: the tokenizer belongs to another model"
        );
        let mut split = Split::default();
        encoded.iter().for_each(|e| split.push(&e.ids, 0, String::new()));
        let scoring = Scoring {
            split: &split,
            pad_id: self.tokenizer.pad_id(),
            batch_size: Self::BATCH,
            device: self.classifier.device(),
        };
        let logits = scoring.logits(&|ids, mask| self.classifier.logits(ids, mask), &Silent)?;
        let judge = |(logits, encoded): (&[f32], &pipe_ml::text::tokenizer::Encoded)| -> Result<Prediction> {
            let wide: Vec<f64> = logits.iter().map(|&v| f64::from(v)).collect();
            let label =
                self.labels().get(argmax(&wide)).context("the model has no label for its highest logit")?.clone();
            let scores = log_softmax(&wide).iter().map(|l| l.exp() as f32).collect();
            Ok(Prediction { label, scores, logits: logits.to_vec(), truncated: encoded.full - encoded.ids.len() })
        };
        logits.chunks(self.labels().len()).zip(&encoded).map(judge).collect()
    }
}
