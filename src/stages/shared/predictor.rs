//! Labels texts with a trained model: the core of `pipe predict`.

use std::borrow::Cow;
use std::path::Path;

use anyhow::{Context as _, Result};

use pipe_ml::compute::device;
use pipe_ml::compute::numbers::{argmax, log_softmax};
use pipe_ml::judge::classifier::Classifier;
use pipe_ml::judge::decide::{Decision, Given};
use pipe_ml::judge::metrics::Scoring;
use pipe_ml::judge::readable::check_types;
use pipe_ml::text::data::{Cleaning, Split, TokenRow};
pub use pipe_ml::text::tokenizer::Texts;
use pipe_ml::text::tokenizer::{Encoded, Tokenizer};
use pipe_ml::watch::Silent;

pub struct Predictor {
    classifier: Classifier,
    tokenizer: Tokenizer,
    /// How texts are cleaned before they are tokenized; none leaves them as they are.
    cleaning: Option<Cleaning>,
    /// Whether the model was trained on pairs of texts; none if its folder does not say it.
    reads_pairs: Option<bool>,
    /// What turns its logits into labels; none takes the highest.
    decision: Option<Decision>,
}

/// Which decision turns logits into labels.
#[derive(Debug, Clone, Copy)]
pub enum Decides<'a> {
    /// The one beside the model, or the highest logit if there is none.
    Beside,
    /// The one of this file, or of the folder that has it.
    By(&'a Path),
    /// The highest logit.
    Highest,
}

/// What happens to texts before the tokenizer sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cleaned {
    /// What happened to the texts that the model was trained on, if its folder says it.
    AsTrained,
    /// Nothing.
    Not,
}

/// The prediction for one text.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// None if the decision gives no label, because it is not probable enough.
    pub label: Option<String>,
    /// Probabilities, by label; with the temperature and the prior of the decision.
    pub scores: Vec<f32>,
    pub logits: Vec<f32>,
    /// Tokens cut from the text because the model has no more positions, or was trained on shorter rows.
    pub truncated: usize,
    /// Whether the model was given no text, or no first text of a pair: it was empty, or nothing was left of it after
    /// cleaning.
    pub is_empty: bool,
}

impl Predictor {
    /// Rows per batch.
    const BATCH: usize = 32;

    /// Open a model folder with its tokenizer; `device` as in `--device`.
    pub fn open(dir: &Path, device: &str, (cleaned, decides): (Cleaned, Decides)) -> Result<Self> {
        let device = device::open(&device.parse()?)?;
        let classifier = Classifier::open(dir, &device.device)?;
        let tokenizer = Tokenizer::open(dir)?;
        let stored = Cleaning::open(dir)?;
        let reads_pairs = stored.as_ref().map(|cleaning| cleaning.pairs);
        let cleaning = match cleaned {
            Cleaned::AsTrained => stored.filter(Cleaning::is_effective),
            Cleaned::Not => None,
        };
        let decision = match decides {
            Decides::Beside => Decision::beside(dir)?,
            Decides::By(path) if path.is_dir() => Some(Decision::read(path)?),
            Decides::By(path) => Some(Decision::read_file(path)?),
            Decides::Highest => None,
        };
        let decision = decision.map(|decision| decision.for_labels(classifier.labels())).transpose()?;
        Ok(Self { classifier, tokenizer, cleaning, reads_pairs, decision })
    }

    /// Whether the model was trained on pairs of texts; none if its folder does not say it.
    pub fn reads_pairs(&self) -> Option<bool> {
        self.reads_pairs
    }

    /// How texts are cleaned before they are tokenized, if they are.
    pub fn cleaning(&self) -> Option<&Cleaning> {
        self.cleaning.as_ref()
    }

    /// Contradictions between the tokenizer's files, and what was decided.
    pub fn remarks(&self) -> &[String] {
        self.tokenizer.remarks()
    }

    /// What turns logits into labels; none if the highest does.
    pub fn decision(&self) -> Option<&Decision> {
        self.decision.as_ref()
    }

    pub fn labels(&self) -> &[String] {
        self.classifier.labels()
    }

    fn cleaned<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match &self.cleaning {
            Some(cleaning) => Cow::Owned(cleaning.apply(text)),
            None => Cow::Borrowed(text),
        }
    }

    /// Predictions in the order of the texts.
    pub fn predict(&self, texts: &[Texts]) -> Result<Vec<Prediction>> {
        let texts: Vec<(Cow<str>, Option<Cow<str>>)> =
            texts.iter().map(|row| (self.cleaned(row.first), row.second.map(|second| self.cleaned(second)))).collect();
        let rows: Vec<Texts> = texts.iter().map(|(first, second)| Texts { first, second: second.as_deref() }).collect();
        let positions = self.classifier.max_length();
        let longest = self.tokenizer.max_length().map_or(positions, |length| length.min(positions));
        let encoded = self.tokenizer.encode_rows(&rows, longest, &Silent)?;
        let known = self.classifier.config().vocab_size();
        // Ids may have gaps: their number does not tell the highest.
        let highest = encoded.iter().flat_map(|e| &e.ids).chain([&self.tokenizer.pad_id()]).max().copied().unwrap_or(0);
        anyhow::ensure!(
            (highest as usize) < known,
            "the tokenizer gives id {highest}, but the model has only {known} ids: the tokenizer belongs to another model"
        );
        let mut split = Split::default();
        for Encoded { ids, types, .. } in &encoded {
            split.push_row(TokenRow { ids, types, label: 0, row_id: String::new() });
        }
        check_types(self.classifier.config(), split.highest_type())?;
        let scoring = Scoring {
            split: &split,
            pad_id: self.tokenizer.pad_id(),
            batch_size: Self::BATCH,
            device: self.classifier.device(),
        };
        let logits = scoring.logits(&|ids, mask| self.classifier.logits(ids, mask), &Silent)?;
        let judge = |((logits, encoded), row): ((&[f32], &Encoded), &Texts)| -> Result<Prediction> {
            let wide: Vec<f64> = logits.iter().map(|&v| f64::from(v)).collect();
            let given = match &self.decision {
                Some(decision) => decision.apply_to_one(logits),
                None => Given {
                    label: argmax(&wide),
                    has_abstained: false,
                    scores: log_softmax(&wide).iter().map(|l| l.exp()).collect(),
                },
            };
            let label = self.labels().get(given.label).context("the model has no label for its highest logit")?.clone();
            let label = (!given.has_abstained).then_some(label);
            let scores = given.scores.iter().map(|p| *p as f32).collect();
            let (truncated, is_empty) = (encoded.full - encoded.ids.len(), row.first.trim().is_empty());
            Ok(Prediction { label, scores, logits: logits.to_vec(), truncated, is_empty })
        };
        logits.chunks(self.labels().len()).zip(&encoded).zip(&rows).map(judge).collect()
    }
}
