//! A trained model ready for scoring, as evaluation and prediction use it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use burn::tensor::{Bool, Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::compute::dropout::Pass;
use crate::files::weights;
use crate::model::{Config, Initialised, Model};
use crate::text::ids::Ids;

/// A model opened from a folder, without autodiff and dropout. Float, f16 and int8 folders all work.
#[derive(Debug)]
pub struct Classifier {
    model: Model,
    device: Device,
    dir: PathBuf,
    size: Size,
}

/// The size of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Number of weights, biases and table entries, without the scales of an int8 model.
    pub parameters: u64,
    /// Parameters that are not zero.
    pub non_zero: u64,
    /// Size of the weight files on disk.
    pub bytes: u64,
}

impl Classifier {
    /// Opens a model folder. Unlike training, scoring initialises nothing: a missing tensor is an error.
    pub fn open(dir: &Path, device: &Device) -> Result<Self> {
        let device = device.clone().without_autodiff();
        let files = weights::files(dir)?;
        let loaded = Model::load_to_score(dir, &device)?;
        if let Some(problem) = loaded.model.config().other_problem() {
            bail!(
                "the model in {} has `problem_type` {problem} in its config.json; `pipe` can only score models that choose one \
                 label (`single_label_classification`)",
                dir.display()
            );
        }
        match loaded.initialised {
            Initialised::Nothing => {}
            Initialised::Everything => bail!(
                "model folder {} has a config but no weights ({}); train the model first",
                dir.display(),
                weights::SINGLE
            ),
            Initialised::Part(names) => bail!(
                "the model in {} lacks {}, or has them in another shape, so it is not a trained classifier for the labels of \
                 its config.json; train it first",
                dir.display(),
                names.join(", ")
            ),
        }
        let (parameters, non_zero) = (loaded.model.count() as u64, loaded.non_zero as u64);
        let mut size = Size { parameters, non_zero, bytes: 0 };
        for file in &files {
            size.bytes += fs::metadata(file).with_context(|| format!("reading {}", file.display()))?.len();
        }
        Ok(Classifier { model: loaded.model, device, dir: dir.to_owned(), size })
    }

    /// `ids` `[B, T]`, `mask` `[B, T]` (true = a real token), both on [`Classifier::device`] → logits
    /// `[B, C]`, row by row.
    pub fn logits(&self, ids: impl Into<Ids>, mask: Tensor<2, Bool>) -> Result<Vec<f32>> {
        let ids = ids.into();
        // Run inside the thread pool. From outside, each parallel loop would wait for a pool thread to wake up.
        let logits = rayon::scope(|_| self.model.forward(ids, mask, &mut Pass::Off));
        match logits.try_into_data().map(|data| data.convert::<f32>().try_into_vec()) {
            Ok(Ok(values)) if values.iter().all(|value: &f32| value.is_finite()) => Ok(values),
            Ok(Ok(_)) => bail!(
                "the model in {} gives logits that are not finite; run `pipe inspect` to see whether its weights are",
                self.dir.display()
            ),
            Ok(Err(error)) => bail!("cannot read the logits as f32: {error:?}"),
            Err(error) => bail!("the device failed while scoring: {error:?}"),
        }
    }

    /// The same with its logits in the order of `labels`: logit `i` is the one that was at `order[i]`.
    pub fn with_label_order(self, labels: &[String], order: &[usize]) -> Result<Self> {
        Ok(Self { model: self.model.with_label_order(labels, order)?, ..self })
    }

    pub fn model(&self) -> &Model {
        &self.model
    }

    pub fn device(&self) -> &Device {
        &self.device
    }

    pub fn config(&self) -> &Config {
        self.model.config()
    }

    /// Label names in the order of the logits.
    pub fn labels(&self) -> &[String] {
        self.config().labels()
    }

    /// The model folder, which also holds the tokenizer files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The longest sequence in tokens, special tokens included.
    pub fn max_length(&self) -> usize {
        self.config().max_length()
    }

    pub fn size(&self) -> Size {
        self.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compress::prune::{Method, Pruning, Scope};
    use crate::compress::quantize;
    use crate::compress::quantize::{Request, Scheme};
    use crate::model::fixture::Fixture;
    use crate::watch::Silent;

    #[test]
    fn a_folder_scores_as_transformers_does_and_knows_its_size() {
        let fixture = Fixture::open("roberta-tiny");
        let classifier = Classifier::open(&fixture.dir, &Device::flex().autodiff()).expect("opens");
        let (ids, mask) = fixture.batch(classifier.device());
        let logits = classifier.logits(ids, mask).expect("scored");
        let (expected, _) = fixture.matrix("logits");
        assert!(logits.iter().zip(&expected).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-4));
        assert_eq!(classifier.labels()[4], "LABEL_4");
        assert_eq!(classifier.max_length(), 128);
        let size = classifier.size();
        assert_eq!((size.parameters, size.bytes), (113_861, 461_764));
        assert_eq!(size.non_zero, size.parameters);
    }

    #[test]
    fn pruned_and_quantized_folders_open_too() {
        let fixture = Fixture::open("roberta-tiny");
        let (pruned, int8) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let model = Model::load(&fixture.dir, None, 0, &Device::flex()).expect("loads").model;
        let mut host = model.to_host().expect("host");
        let report =
            Pruning::of(Method::Magnitude { sparsity: 0.3, scope: Scope::Local }).prune(&mut host).expect("pruned");
        let labels = model.config().labels().to_vec();
        model.from_host(host).expect("filled").save(pruned.path(), &labels).expect("saved");
        let request = Request::new(Scheme::Int8);
        quantize::quantize(pruned.path(), int8.path(), &request, &Silent).expect("quantized");
        let size = |dir: &Path| Classifier::open(dir, &Device::flex()).expect("opens").size();
        let (pruned, int8) = (size(pruned.path()), size(int8.path()));
        assert_eq!(pruned.parameters - pruned.non_zero, report.zeroed as u64);
        assert!(int8.parameters == pruned.parameters && int8.non_zero <= pruned.non_zero);
        assert!(int8.bytes * 3 < pruned.bytes);
    }

    #[test]
    fn a_model_of_several_labels_at_once_is_a_base_but_scores_nothing() {
        let fixture = Fixture::open("bert-longest");
        let dir = tempfile::tempdir().expect("a folder");
        let config = fs::read_to_string(fixture.dir.join("config.json")).expect("read");
        let config = config.replacen('{', r#"{"problem_type": "multi_label_classification","#, 1);
        fs::write(dir.path().join("config.json"), config).expect("written");
        fs::copy(fixture.dir.join("model.safetensors"), dir.path().join("model.safetensors")).expect("copied");
        let error = Classifier::open(dir.path(), &Device::flex()).map(|_| ()).expect_err("refused").to_string();
        assert!(error.contains("has `problem_type` multi_label_classification in its config.json"), "{error}");
        let loaded = Model::load(dir.path(), None, 0, &Device::flex()).expect("loads");
        assert_eq!(
            loaded.warnings,
            ["the head was trained for multi_label_classification; pipe uses it to choose one label"]
        );
    }

    #[test]
    fn a_folder_without_weights_cannot_score() {
        let fixture = Fixture::open("roberta-tiny");
        let dir = tempfile::tempdir().expect("a folder");
        fs::copy(fixture.dir.join("config.json"), dir.path().join("config.json")).expect("copied");
        let error = Classifier::open(dir.path(), &Device::flex()).map(|_| ()).expect_err("refused").to_string();
        assert!(error.ends_with("has a config but no weights (model.safetensors); train the model first"), "{error}");
    }
}
