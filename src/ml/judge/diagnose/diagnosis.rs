//! Measures how far each part of a model moved between two checkpoints.
//!
//! For the weights `a` and `b` of a tensor, a part or the whole model, read as f32 from any stored type and summed in
//! f64:
//!
//! | | formula | meaning |
//! | --- | --- | --- |
//! | relative L2 | `sqrt(Σ (bᵢ − aᵢ)²) / sqrt(Σ aᵢ²)` | how far they moved relative to their size; undefined if all of `a` is zero and `b` is not |
//! | cosine | `Σ aᵢbᵢ / (sqrt(Σ aᵢ²) · sqrt(Σ bᵢ²))` | 1 if all weights were scaled by the same factor; undefined if one side is all zero |
//! | changed | `#{i : aᵢ ≠ bᵢ} / n` | the share of weights that differ at all |
//!
//! The figures of a part cover all its weights together. They are not means over its tensors: the sums run over the
//! part.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use rayon::prelude::*;
use serde::Serialize;

use super::side;
use super::side::{Side, Slot};
use crate::model::part::{Key, Part};

/// A part with a relative L2 below this was not trained: a different order of summation alone reaches 1e-7.
pub const FROZEN: f64 = 1e-6;

/// The movement from model A to model B.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Diagnosis {
    /// All weights that both models have.
    pub whole: Drift,
    /// In the order of the forward pass.
    pub parts: Vec<PartDrift>,
    pub tensors: Vec<TensorDrift>,
    /// Tensors that only one model has, or that differ in shape.
    pub not_comparable: Vec<NotComparable>,
}

/// How far some weights moved; the module documentation gives the formulas.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Drift {
    /// Number of weights.
    pub weights: u64,
    pub relative_l2: Option<f64>,
    pub cosine: Option<f64>,
    /// Share of the weights that differ.
    pub changed: f64,
    pub frozen: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PartDrift {
    /// `embeddings`, `encoder.layer.3`, `encoder` or `head`.
    pub name: String,
    /// `embeddings`, `layer`, `encoder` or `head`.
    pub part: &'static str,
    pub layer: Option<usize>,
    pub drift: Drift,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct TensorDrift {
    /// The name in A.
    pub name: String,
    pub part: &'static str,
    pub layer: Option<usize>,
    /// The name within the part.
    pub within: String,
    pub drift: Drift,
}

/// A tensor without a counterpart.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct NotComparable {
    pub name: String,
    pub part: &'static str,
    pub layer: Option<usize>,
    /// `None` if A does not have it.
    pub shape_a: Option<Vec<usize>>,
    /// `None` if B does not have it.
    pub shape_b: Option<Vec<usize>>,
}

/// A tensor that both models have.
struct Pair<'a> {
    key: &'a Key,
    a: &'a Slot,
    b: &'a Slot,
}

/// Compares two models, each given as a model folder or a weight file. One of them may be an adapter folder: it stands
/// for the other model with the adapter merged into it.
///
/// Fails if the models are of different families or have no tensor in common. Memory does not grow with the models:
/// each thread needs a few megabytes.
pub fn diagnose(a: &Path, b: &Path) -> Result<Diagnosis> {
    let (side_a, side_b) = side::open(a, b)?;
    let (pairs, not_comparable) = matched(&side_a, &side_b);
    ensure!(
        pairs.iter().any(|pair| pair.key.part != Part::Head),
        "nothing to compare: {} ({}) and {} ({}) have no encoder tensor with the same name and shape",
        a.display(),
        side_a.about(),
        b.display(),
        side_b.about()
    );
    let sums: Vec<Sums> = pairs
        .par_iter()
        .map(|pair| compare(pair.a, pair.b).with_context(|| format!("tensor {}", pair.a.name)))
        .collect::<Result<_>>()?;
    let mut parts: BTreeMap<Part, Sums> = BTreeMap::new();
    let mut whole = Sums::default();
    for (pair, sums) in pairs.iter().zip(&sums) {
        parts.entry(pair.key.part).or_default().add(sums);
        whole.add(sums);
    }
    Ok(Diagnosis {
        whole: whole.drift(),
        parts: parts.iter().map(|(part, sums)| PartDrift::of(*part, sums)).collect(),
        tensors: pairs.iter().zip(&sums).map(|(pair, sums)| TensorDrift::of(pair, sums)).collect(),
        not_comparable,
    })
}

/// The tensors that both models have in the same shape, and the remaining ones.
fn matched<'a>(a: &'a Side, b: &'a Side) -> (Vec<Pair<'a>>, Vec<NotComparable>) {
    let (mut pairs, mut rest) = (Vec::new(), Vec::new());
    for (key, slot) in &a.slots {
        match b.slots.get(key) {
            Some(other) if other.shape() == slot.shape() => pairs.push(Pair { key, a: slot, b: other }),
            other => rest.push(NotComparable::of(key.part, Some(slot), other)),
        }
    }
    let added = b.slots.iter().filter(|(key, _)| !a.slots.contains_key(key));
    rest.extend(added.map(|(key, slot)| NotComparable::of(key.part, None, Some(slot))));
    (pairs, rest)
}

impl PartDrift {
    fn of(part: Part, sums: &Sums) -> Self {
        Self { name: part.to_string(), part: part.kind(), layer: part.layer(), drift: sums.drift() }
    }
}

impl TensorDrift {
    fn of(pair: &Pair, sums: &Sums) -> Self {
        let Key { part, within } = pair.key.clone();
        Self { name: pair.a.name.clone(), part: part.kind(), layer: part.layer(), within, drift: sums.drift() }
    }
}

impl NotComparable {
    fn of(part: Part, a: Option<&Slot>, b: Option<&Slot>) -> Self {
        Self {
            name: a.or(b).map_or(String::new(), |slot| slot.name.clone()),
            part: part.kind(),
            layer: part.layer(),
            shape_a: a.map(|slot| slot.shape().to_vec()),
            shape_b: b.map(|slot| slot.shape().to_vec()),
        }
    }
}

/// The sums behind all figures. The sums of a part are the sums over its tensors.
#[derive(Debug, Default, Clone, Copy)]
struct Sums {
    weights: u64,
    changed: u64,
    /// Σ (b − a)².
    moved: f64,
    /// Σ a².
    a: f64,
    /// Σ b².
    b: f64,
    /// Σ ab.
    both: f64,
}

/// The sums of two tensors. All cores compute pieces, which are added in a fixed order, so the result is always the
/// same.
fn compare(a: &Slot, b: &Slot) -> Result<Sums> {
    let (pieces_a, pieces_b) = (a.pieces()?, b.pieces()?);
    let piece = |at| Ok(Sums::of(&pieces_a.read(at)?, &pieces_b.read(at)?));
    let pieces: Vec<Sums> = (0..pieces_a.count()).into_par_iter().map(piece).collect::<Result<_>>()?;
    let mut sums = Sums::default();
    pieces.iter().for_each(|piece| sums.add(piece));
    let strange = [(a, sums.a), (b, sums.b)].into_iter().find(|(_, sum)| !sum.is_finite());
    if let Some((slot, _)) = strange {
        bail!("{} has NaN or infinite values, so it cannot be compared", slot.place().display());
    }
    Ok(sums)
}

impl Sums {
    fn of(a: &[f32], b: &[f32]) -> Self {
        let mut sums = Self { weights: a.len() as u64, ..Self::default() };
        for (&a, &b) in a.iter().zip(b) {
            sums.changed += u64::from(a != b);
            let (a, b) = (f64::from(a), f64::from(b));
            sums.moved += (b - a) * (b - a);
            sums.a += a * a;
            sums.b += b * b;
            sums.both += a * b;
        }
        sums
    }

    fn add(&mut self, other: &Self) {
        self.weights += other.weights;
        self.changed += other.changed;
        self.moved += other.moved;
        self.a += other.a;
        self.b += other.b;
        self.both += other.both;
    }

    fn drift(&self) -> Drift {
        let relative_l2 = match (self.moved, self.a) {
            (0.0, _) => Some(0.0),
            (_, 0.0) => None,
            (moved, a) => Some(moved.sqrt() / a.sqrt()),
        };
        // The root of the product, not the product of two roots: for equal sums it is exact, so the cosine is exactly
        // one.
        let norms = (self.a * self.b).sqrt();
        Drift {
            weights: self.weights,
            relative_l2,
            // Rounding can push the quotient above one.
            cosine: (norms > 0.0).then(|| (self.both / norms).clamp(-1.0, 1.0)),
            changed: if self.weights == 0 { 0.0 } else { self.changed as f64 / self.weights as f64 },
            frozen: relative_l2.is_some_and(|moved| moved < FROZEN),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drift(a: &[f32], b: &[f32]) -> Drift {
        Sums::of(a, b).drift()
    }

    #[test]
    fn the_figures_by_hand() {
        // b − a = (0, 4), ‖a‖ = 5, ‖b‖ = sqrt(73).
        let moved = drift(&[3.0, 4.0], &[3.0, 8.0]);
        assert_eq!((moved.weights, moved.relative_l2, moved.changed, moved.frozen), (2, Some(0.8), 0.5, false));
        assert!((moved.cosine.expect("a cosine") - 41.0 / (5.0 * 73f64.sqrt())).abs() < 1e-15);
        let same = drift(&[3.0, 4.0], &[3.0, 4.0]);
        assert_eq!((same.relative_l2, same.cosine, same.changed, same.frozen), (Some(0.0), Some(1.0), 0.0, true));
        let turned = drift(&[3.0, 4.0], &[-3.0, -4.0]);
        assert_eq!((turned.relative_l2, turned.cosine), (Some(2.0), Some(-1.0)));
    }

    #[test]
    fn nothing_is_no_scale_to_measure_by() {
        let born = drift(&[0.0, 0.0], &[0.0, 1.0]);
        assert_eq!((born.relative_l2, born.cosine, born.changed, born.frozen), (None, None, 0.5, false));
        let dead = drift(&[3.0, 4.0], &[0.0, 0.0]);
        assert_eq!((dead.relative_l2, dead.cosine, dead.frozen), (Some(1.0), None, false));
        let empty = drift(&[], &[]);
        assert_eq!((empty.relative_l2, empty.changed, empty.frozen), (Some(0.0), 0.0, true));
    }

    #[test]
    fn the_border_of_frozen() {
        // The neighbours of one are 1.2e-7 apart.
        assert!(drift(&[1.0], &[1.0 + 8.0 * f32::EPSILON]).frozen);
        assert!(!drift(&[1.0], &[1.0 + 9.0 * f32::EPSILON]).frozen);
    }
}
