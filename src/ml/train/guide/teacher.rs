//! A teacher that runs beside its student, which imitates the teacher's hidden states and attention scores.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use burn::module::Module;
use burn::tensor::Device;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::linear::Linear;
use crate::model::{Config, HostTensors, Model, init, walk};

/// How closely the student's hidden states follow the teacher's, token by token.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct HiddenLoss {
    /// The measure to minimise: `"mse"`, the mean square of the difference (TinyBERT), or `"cosine"`, 1 − the cosine of
    /// the angle between the two (DistilBERT).
    #[serde(default)]
    pub loss: Measure,
    /// Factor of this loss when it is added to the loss of the logits.
    #[serde(default = "one")]
    pub weight: f64,
    /// `"uniform"`: the embeddings and each layer of the student follow the teacher's at the same relative depth;
    /// `"last"`: only the last layers.
    #[serde(default)]
    pub layers: Depths,
}

/// How closely the student's attention scores, before the softmax, follow the teacher's: their mean squared difference
/// (TinyBERT). Both models must have the same number of heads.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AttentionLoss {
    /// Factor of this loss when it is added to the loss of the logits.
    #[serde(default = "one")]
    pub weight: f64,
    /// `"uniform"`: each layer of the student follows the teacher's at the same relative depth; `"last"`: only the last
    /// layers.
    #[serde(default)]
    pub layers: Depths,
}

fn one() -> f64 {
    1.0
}

/// Measure of the distance between two hidden states of a token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    #[default]
    Mse,
    Cosine,
}

/// Which layers are compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Depths {
    #[default]
    Uniform,
    Last,
}

/// Pieces of the student, each with the piece of the teacher that it follows. Piece 0 is the embeddings, piece `i + 1`
/// layer `i`.
pub(super) type Pairs = BTreeMap<usize, usize>;

impl Depths {
    /// The pairs for a student and a teacher with these numbers of layers.
    ///
    /// Source: TinyBERT (Jiao et al. 2020, section 3.2). Its uniform mapping g(m) = m·N/M is rounded up here if M does
    /// not divide N, so that the student's last layer always follows the teacher's last.
    fn pairs(self, student: usize, teacher: usize) -> Pairs {
        match self {
            Self::Uniform => (0..=student).map(|m| (m, (m * teacher).div_ceil(student))).collect(),
            Self::Last => Pairs::from([(student, teacher)]),
        }
    }
}

/// A teacher, and what the student imitates of it.
#[derive(Debug, Clone)]
pub struct Guide {
    /// Without autodiff.
    pub(super) teacher: Model,
    pub(super) hidden: Option<(HiddenLoss, Pairs)>,
    pub(super) attention: Option<(AttentionLoss, Pairs)>,
}

impl Guide {
    /// Choose what `student`, as it will be trained, imitates of `teacher`. The teacher reads the same tokens and has
    /// no autodiff. Pieces of the student that are not trained are left out.
    pub fn new(
        teacher: &Model,
        student: &Model,
        hidden: Option<HiddenLoss>,
        attention: Option<AttentionLoss>,
    ) -> Result<Self> {
        let lowest = student.lowest_trained().unwrap_or(usize::MAX);
        let pairs = |depths: Depths, first: usize| -> Result<Pairs> {
            let mut pairs = depths.pairs(student.depth(), teacher.depth());
            pairs.retain(|&piece, _| piece >= first.max(lowest));
            ensure!(
                !pairs.is_empty(),
                "no layer of the student's encoder is trained, so it cannot follow the teacher's; raise `finetune-layers`, or \
                 remove `hidden` and `attention`"
            );
            Ok(pairs)
        };
        let (ours, theirs) = (student.config().attention_heads(), teacher.config().attention_heads());
        ensure!(
            attention.is_none() || ours == theirs,
            "`attention` compares head with head, but the student has {ours} heads and the teacher {theirs}; remove \
             `attention`, or use `hidden`, which works with any sizes"
        );
        Ok(Self {
            teacher: teacher.clone(),
            hidden: hidden.map(|loss| Ok::<_, anyhow::Error>((loss, pairs(loss.layers, 0)?))).transpose()?,
            attention: attention.map(|loss| Ok::<_, anyhow::Error>((loss, pairs(loss.layers, 1)?))).transpose()?,
        })
    }

    /// The same guide with the teacher on another device.
    pub fn on(&self, device: &Device) -> Self {
        let teacher = self.teacher.clone().fork(&device.clone().inner());
        Self { teacher, ..self.clone() }
    }

    /// The projection of the student's hidden states to the width of the teacher's, if the widths differ: TinyBERT's
    /// W_h with a bias, one for all layers, as in its code. It is trained with the student and dropped at the end.
    pub fn projection(&self, student: &Config, seed: u64, device: &Device) -> Result<Option<Linear>> {
        let (from, to) = (student.hidden_size(), self.teacher.config().hidden_size());
        if self.hidden.is_none() || from == to {
            return Ok(None);
        }
        let fresh = |name: &str, shape: &[usize]| (name.to_owned(), init::fresh(name, shape, student, seed));
        let values = HostTensors::from([fresh("weight", &[to, from]), fresh("bias", &[to])]);
        Ok(Some(walk::fill(Linear::empty(from, to, device), values)?.0))
    }

    /// What a checkpoint must have in common with a fit that uses this guide. The caller has to compare the teacher's
    /// weights.
    pub fn identity(&self) -> String {
        format!("{:?} {:?}", self.hidden, self.attention)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depths_are_tinyberts() {
        let pairs = |m, n| Depths::Uniform.pairs(m, n).into_iter().collect::<Vec<_>>();
        assert_eq!(pairs(4, 12), [(0, 0), (1, 3), (2, 6), (3, 9), (4, 12)]);
        assert_eq!(pairs(2, 3), [(0, 0), (1, 2), (2, 3)]);
        assert_eq!(pairs(1, 1), [(0, 0), (1, 1)]);
        assert_eq!(Depths::Last.pairs(4, 12), Pairs::from([(4, 12)]));
    }

    fn model(sizes: &str, seed: u64) -> Model {
        let text = format!(
            r#"{{"model_type": "bert", "vocab_size": 20, "num_attention_heads": 2, "intermediate_size": 16,
                "max_position_embeddings": 16, {sizes}}}"#
        );
        Model::init(&Config::parse(&text).unwrap(), seed, &Device::flex()).unwrap()
    }

    const ATTENTION: AttentionLoss = AttentionLoss { weight: 1.0, layers: Depths::Uniform };
    const HIDDEN: HiddenLoss = HiddenLoss { loss: Measure::Mse, weight: 1.0, layers: Depths::Uniform };

    #[test]
    fn only_what_is_trained_is_compared_and_nothing_left_is_an_error() {
        let teacher = model(r#""hidden_size": 8, "num_hidden_layers": 4"#, 1);
        let student = model(r#""hidden_size": 8, "num_hidden_layers": 2"#, 2);
        let pairs = |student: Model| Guide::new(&teacher, &student, Some(HIDDEN), Some(ATTENTION));
        let all = pairs(student.clone()).unwrap();
        assert_eq!(all.hidden.unwrap().1, Pairs::from([(0, 0), (1, 2), (2, 4)]));
        assert_eq!(all.attention.unwrap().1, Pairs::from([(1, 2), (2, 4)]));
        let upper = pairs(student.clone().finetune_last(1).unwrap()).unwrap();
        assert_eq!(upper.hidden.unwrap().1, Pairs::from([(2, 4)]));
        let error = pairs(student.finetune_last(0).unwrap()).unwrap_err().to_string();
        assert!(error.starts_with("no layer of the student's encoder is trained"), "{error}");
    }

    #[test]
    fn heads_must_be_as_many_and_widths_need_not() {
        let teacher = model(r#""hidden_size": 8, "num_hidden_layers": 2"#, 1);
        let wide = model(r#""hidden_size": 12, "num_hidden_layers": 2"#, 2);
        let guide = Guide::new(&teacher, &wide, Some(HIDDEN), Some(ATTENTION)).unwrap();
        let projection = guide.projection(wide.config(), 7, &Device::flex()).unwrap().expect("one is needed");
        assert_eq!(projection.matrix.val().dims(), [12, 8]);
        let values = |p: &Linear| p.matrix.val().into_data().try_into_vec::<f32>().unwrap();
        let again = guide.projection(wide.config(), 7, &Device::flex()).unwrap().unwrap();
        assert!(values(&projection) == values(&again) && values(&again).iter().all(|x| *x != 0.0));
        assert!(guide.projection(teacher.config(), 7, &Device::flex()).unwrap().is_none());

        let many = Config::parse(
            r#"{"model_type": "bert", "vocab_size": 20, "num_attention_heads": 4, "intermediate_size": 16,
                "max_position_embeddings": 16, "hidden_size": 8, "num_hidden_layers": 2}"#,
        );
        let many = Model::init(&many.unwrap(), 1, &Device::flex()).unwrap();
        let error = Guide::new(&teacher, &many, None, Some(ATTENTION)).unwrap_err().to_string();
        assert!(error.contains("the student has 4 heads and the teacher 2"), "{error}");
    }
}
