//! Makes a student from some of its teacher's layers.

use anyhow::{Context, Result, ensure};
use burn::tensor::Device;

use crate::model::Model;

/// Choose `wanted` of `all` layers, evenly spaced from the first.
///
/// Source: DistilBERT's initialisation (Sanh et al., 2019, section 3), which DistilRoBERTa shares.
pub fn spread(all: usize, wanted: usize) -> Vec<usize> {
    (0..wanted).map(|i| i * all / wanted).collect()
}

/// A copy of the teacher with only the encoder layers `kept`, which are positions counted from 0.
pub fn with_layers(teacher: &Model, kept: &[usize], device: &Device) -> Result<Model> {
    let all = teacher.config().layers();
    ensure!(!kept.is_empty(), "the list of layers to keep is empty; it needs at least 1");
    ensure!(kept.is_sorted_by(|a, b| a < b), "the layers {kept:?} must be in ascending order, each of them once");
    let beyond = kept.iter().find(|&&layer| layer >= all);
    ensure!(beyond.is_none(), "cannot keep the layers {kept:?}: the model has {all}, numbered 0 to {}", all - 1);
    let config = teacher.config().with_layers(kept.len()).context("the student's config")?;
    let host =
        teacher.to_host()?.into_iter().filter_map(|(name, tensor)| Some((renamed(&name, kept)?, tensor))).collect();
    Model::with_values(&config, host, device)
}

/// The student's name for a teacher's parameter, or `None` if its layer is dropped.
fn renamed(name: &str, kept: &[usize]) -> Option<String> {
    // `encoder.layer.N` or, in DistilBERT, `transformer.layer.N`.
    const LAYER: &str = "er.layer.";
    let Some((before, after)) = name.split_once(LAYER) else { return Some(name.to_string()) };
    let (number, rest) = after.split_once('.')?;
    let number: usize = number.parse().ok()?;
    let place = kept.iter().position(|&k| k == number)?;
    Some(format!("{before}{LAYER}{place}.{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Config;

    #[test]
    fn layers_move_up_and_the_rest_stays() {
        let kept = [0, 2];
        let name = |n: &str| renamed(n, &kept);
        assert_eq!(
            name("roberta.encoder.layer.2.output.dense.weight").as_deref(),
            Some("roberta.encoder.layer.1.output.dense.weight")
        );
        assert_eq!(name("roberta.encoder.layer.1.output.dense.weight"), None);
        assert_eq!(name("classifier.dense.bias").as_deref(), Some("classifier.dense.bias"));
    }

    #[test]
    fn layers_are_spread_from_the_first() {
        assert_eq!(spread(12, 6), [0, 2, 4, 6, 8, 10]);
        assert_eq!(spread(4, 3), [0, 1, 2]);
        assert_eq!(spread(3, 3), [0, 1, 2]);
    }

    #[test]
    fn chosen_layers_are_copied_and_others_refused() {
        let text = r#"{"model_type": "bert", "vocab_size": 20, "hidden_size": 8, "num_hidden_layers": 3,
            "num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": 16}"#;
        let device = Device::flex();
        let teacher = Model::init(&Config::parse(text).unwrap(), 3, &device).unwrap();
        let student = with_layers(&teacher, &[0, 2], &device).unwrap();
        let (old, new) = (teacher.to_host().unwrap(), student.to_host().unwrap());
        let name = |layer| format!("bert.encoder.layer.{layer}.intermediate.dense.weight");
        assert_eq!(new[&name(1)].data, old[&name(2)].data);
        assert_eq!((student.depth(), new.len()), (2, old.len() - 16));
        let refused = |kept: &[usize]| with_layers(&teacher, kept, &device).unwrap_err().to_string();
        assert_eq!(refused(&[1, 3]), "cannot keep the layers [1, 3]: the model has 3, numbered 0 to 2");
        assert!(refused(&[2, 1]).contains("ascending order") && refused(&[1, 1]).contains("each of them once"));
        assert!(refused(&[]).contains("at least 1"));
    }
}
