//! A model's labels and those of rows: which is which by name, and the head in the order of the rows' labels.

use anyhow::Result;

use super::classifier::Model;
use super::load::shortened;
use super::walk;
use crate::files::host::{HostTensor, HostTensors};

/// The modules whose outputs are the logits, one for each kind of head.
const LAST: [&str; 3] = ["classifier", "classifier.out_proj", "classifier.layers.2"];

/// How the labels of a model correspond to those that are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Correspondence {
    /// The same names in the same order.
    Same,
    /// The same names in another order or spelling: for each wanted label, its place among the model's.
    ByName(Vec<usize>),
    /// Neither.
    Different,
}

impl Correspondence {
    /// Matches labels by name: exactly if that gives every label a counterpart, otherwise regardless of case and of
    /// white space around them.
    pub fn of(own: &[String], wanted: &[String]) -> Self {
        if own == wanted {
            return Self::Same;
        }
        let exact = |label: &String| label.clone();
        let loose = |label: &String| label.trim().to_lowercase();
        matched(own, wanted, exact).or_else(|| matched(own, wanted, loose)).map_or(Self::Different, Self::ByName)
    }
}

/// For each wanted label, the place of the only one of `own` with the same `key`; none if a label lacks a counterpart.
fn matched(own: &[String], wanted: &[String], key: impl Fn(&String) -> String) -> Option<Vec<usize>> {
    let keys: Vec<String> = own.iter().map(&key).collect();
    let place = |label: &String| {
        let mut places = keys.iter().enumerate().filter(|(_, known)| **known == key(label)).map(|(place, _)| place);
        places.next().filter(|_| places.next().is_none())
    };
    let order: Vec<usize> = wanted.iter().map(place).collect::<Option<_>>()?;
    let mut all = order.clone();
    all.sort_unstable();
    all.iter().copied().eq(0..own.len()).then_some(order)
}

/// Whether these are the numbered names that transformers gives to labels without names: `LABEL_0`, `LABEL_1`, ….
pub fn are_numbered(labels: &[String]) -> bool {
    labels.iter().enumerate().all(|(id, label)| *label == format!("LABEL_{id}"))
}

/// `Negative → negative, …`, for the message that labels were matched.
pub fn pairs(own: &[String], wanted: &[String], order: &[usize]) -> String {
    let pair = |(label, place): (&String, &usize)| {
        let theirs = own.get(*place).map_or("", String::as_str);
        if theirs == label { label.clone() } else { format!("{theirs} → {label}") }
    };
    shortened(&wanted.iter().zip(order).map(pair).collect::<Vec<_>>())
}

impl Model {
    /// The same model with its logits in the order of `labels`: logit `i` is the one that was at `order[i]`.
    pub fn with_label_order(mut self, labels: &[String], order: &[usize]) -> Result<Self> {
        let mut host = HostTensors::new();
        let mut failed = None;
        self.map_linears(&mut |name, linear| {
            if !LAST.contains(&name) {
                return;
            }
            let (matrix, bias) = (linear.matrix.val().transpose().into_data(), linear.bias.val().into_data());
            let inputs = matrix.shape().as_slice().get(1).copied().unwrap_or_default();
            match (matrix.convert::<f32>().try_into_vec::<f32>(), bias.convert::<f32>().try_into_vec::<f32>()) {
                (Ok(matrix), Ok(bias)) => {
                    let rows = order.iter().flat_map(|row| &matrix[row * inputs..][..inputs]).copied().collect();
                    host.insert(format!("{name}.weight"), HostTensor { shape: vec![order.len(), inputs], data: rows });
                    let data = order.iter().map(|row| bias[*row]).collect();
                    host.insert(format!("{name}.bias"), HostTensor { shape: vec![order.len()], data });
                }
                (Err(error), _) | (_, Err(error)) => failed = Some(format!("{error:?}")),
            }
        });
        if let Some(error) = failed {
            anyhow::bail!("cannot read the head's weights: {error}");
        }
        let (mut model, unknown) = walk::fill(self, host)?;
        anyhow::ensure!(unknown.is_empty(), "internal error: the head has no {}", unknown.join(", "));
        model.set_labels(labels);
        Ok(model)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::compute::dropout::Pass;
    use crate::model::fixture::Fixture;

    fn labels(labels: &[&str]) -> Vec<String> {
        labels.iter().map(|label| label.to_string()).collect()
    }

    #[test]
    fn labels_correspond_by_name_or_not_at_all() {
        let of = |own: &[&str], wanted: &[&str]| Correspondence::of(&labels(own), &labels(wanted));
        assert_eq!(of(&["a", "b"], &["a", "b"]), Correspondence::Same);
        assert_eq!(of(&["a", "b", "c"], &["c", "a", "b"]), Correspondence::ByName(vec![2, 0, 1]));
        assert_eq!(of(&["POSITIVE", "Negative "], &["negative", "positive"]), Correspondence::ByName(vec![1, 0]));
        // Exact names count first: two labels that differ in case stay two.
        assert_eq!(of(&["A", "a"], &["a", "A"]), Correspondence::ByName(vec![1, 0]));
        for (own, wanted) in [
            (&["a", "b"][..], &["a", "c"][..]),
            (&["a", "b", "c"], &["a", "b"]),
            (&["a", "b"], &["a", "b", "c"]),
            (&["A", "a"], &["a", "b"]),
            (&["LABEL_0", "LABEL_1"], &["no", "yes"]),
        ] {
            assert_eq!(of(own, wanted), Correspondence::Different, "{own:?} {wanted:?}");
        }
        assert!(are_numbered(&labels(&["LABEL_0", "LABEL_1"])) && !are_numbered(&labels(&["LABEL_1", "LABEL_0"])));
        assert_eq!(pairs(&labels(&["B", "a"]), &labels(&["a", "b"]), &[1, 0]), "a, B → b");
    }

    #[test]
    fn logits_move_with_their_labels_in_every_kind_of_head() {
        for name in ["roberta-tiny", "bert-longest"] {
            let fixture = Fixture::open(name);
            let device = Device::flex();
            let model = Model::load(&fixture.dir, None, 0, &device).expect("loads").model;
            let count = model.config().labels().len();
            let order: Vec<usize> = (0..count).rev().collect();
            let names: Vec<String> = (0..count).map(|i| format!("class {i}")).collect();
            let (ids, mask) = fixture.batch(&device);
            let logits = |model: &Model| {
                let logits = model.forward(ids.clone(), mask.clone(), &mut Pass::Off).into_data();
                logits.try_into_vec::<f32>().expect("floats")
            };
            let before = logits(&model);
            let model = model.with_label_order(&names, &order).expect("reordered");
            assert_eq!(model.config().labels(), names);
            let reversed: Vec<f32> = before.chunks(count).flat_map(|row| row.iter().rev().copied()).collect();
            assert_eq!(logits(&model), reversed, "{name}");
        }
    }
}
