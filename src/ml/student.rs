//! A student made of some of its teacher's layers.

use anyhow::{Context, Result, ensure};
use burn::tensor::Device;

use super::model::Model;

/// The teacher with `layers` of its encoder layers (half of them by default), evenly spaced from the first; everything
/// else is copied. Gives the layers kept, by their place in the teacher.
///
/// Source: DistilBERT's initialisation (Sanh et al., 2019, section 3), which DistilRoBERTa shares.
pub fn with_layers(teacher: &Model, layers: Option<usize>, device: &Device) -> Result<(Model, Vec<usize>)> {
    let all = teacher.config().layers();
    let wanted = layers.unwrap_or(all.div_ceil(2));
    ensure!((1..=all).contains(&wanted), "the student is to have {wanted} layers, but the teacher has {all}");
    let kept: Vec<usize> = (0..wanted).map(|i| i * all / wanted).collect();
    let config = teacher.config().with_layers(wanted).context("the student's config")?;
    let host =
        teacher.to_host()?.into_iter().filter_map(|(name, tensor)| Some((renamed(&name, &kept)?, tensor))).collect();
    let student = Model::init(&config, 0, device)?.from_host(host)?;
    Ok((student, kept))
}

/// The student's name of a teacher's parameter; none for those of dropped layers.
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
    use super::renamed;

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
}
