//! One of the two compared models: its own tensors on disk, or the other model's tensors with an adapter merged in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::files::host::Layout;
use crate::files::weights::Weights;
use crate::files::weights::pieces::{PIECE, Pieces};
use crate::files::weights::stored::Stored;
use crate::judge::inspect::What;
use crate::model::config::Config;
use crate::model::names::PEFT;
use crate::model::part::{Key, Part, body, key};
use crate::model::peft;

/// Ends of the names of the two factors in PEFT files.
const A: &str = ".lora_A.weight";
const B: &str = ".lora_B.weight";

/// The parameters of a model, readable one by one.
pub(super) struct Side {
    pub slots: BTreeMap<Key, Slot>,
    config: Option<Config>,
    /// The prefix of its tensors' names.
    body: Option<String>,
}

/// A parameter on disk.
pub(super) struct Slot {
    pub name: String,
    stored: Stored,
    path: PathBuf,
    factors: Option<Factors>,
}

/// A low-rank change `s·B·A` of a weight `[out, in]`.
struct Factors {
    /// `[r, in]`, row by row.
    a: Vec<f32>,
    /// `[out, r]`, row by row, already multiplied by the scale s.
    b: Vec<f32>,
    rank: usize,
    width: usize,
}

/// Open two models, or a model and an adapter for it.
pub(super) fn open(a: &Path, b: &Path) -> Result<(Side, Side)> {
    let adapter = |path: &Path| What::of(path) == Some(What::Adapter);
    let (side_a, side_b) = match (adapter(a), adapter(b)) {
        (false, false) => (Side::plain(a)?, Side::plain(b)?),
        (false, true) => (Side::plain(a)?, Side::adapted(a, b)?),
        (true, false) => (Side::adapted(b, a)?, Side::plain(b)?),
        (true, true) => bail!(
            "{} and {} are both adapters; compare one with its base model, or compare the merged models",
            a.display(),
            b.display()
        ),
    };
    side_a.check_like(&side_b, a, b)?;
    Ok((side_a, side_b))
}

impl Side {
    fn plain(path: &Path) -> Result<Self> {
        let (weights, config) = match What::of(path) {
            Some(What::Model) => (Weights::open(path)?, Config::open(path).ok()),
            Some(What::Weights) => (Some(Weights::at(path)?), None),
            _ => (None, None),
        };
        let weights = weights.ok_or_else(|| anyhow!("{} has no weights to compare", path.display()))?;
        let mut side = Self { slots: BTreeMap::new(), body: None, config };
        for (name, stored) in weights.tensors {
            if stored.is_parameter() {
                side.body = side.body.or_else(|| body(&name));
                let slot = Slot { name: name.clone(), stored, path: path.to_owned(), factors: None };
                if let Some(other) = side.slots.insert(key(&name), slot) {
                    bail!(
                        "the tensors {} and {name} in {} are the same parameter of an encoder, so the model cannot be compared",
                        other.name,
                        path.display()
                    );
                }
            }
        }
        Ok(side)
    }

    /// The model in `base` with the adapter in `dir` merged in.
    fn adapted(base: &Path, dir: &Path) -> Result<Self> {
        let mut side = Self::plain(base)?;
        let scale = peft::read_config(&dir.join(peft::CONFIG))?.scale() as f32;
        let mut stored = peft::open(dir)?.tensors;
        let names: Vec<String> = stored.keys().filter(|name| name.ends_with(A)).cloned().collect();
        for name in names {
            let Some(module) = name.strip_suffix(A) else { continue };
            let (a, b) = (stored.remove(&name), stored.remove(&format!("{module}{B}")));
            let (Some(a), Some(b)) = (a, b) else { bail!("{} has {name} but no {module}{B}", dir.display()) };
            let slot =
                side.slots.get_mut(&key(&format!("{module}.weight"))).ok_or_else(|| foreign(&name, dir, base))?;
            slot.factors = Some(Factors::read(&a, &b, scale, slot.shape()).with_context(|| {
                format!("the adapter in {} does not fit the model in {}: {name}", dir.display(), base.display())
            })?);
            slot.path = dir.to_owned();
        }
        // The remaining tensors belong to modules that were trained in full.
        for (name, stored) in stored {
            let key = key(&name);
            let known = side.slots.get(&key).map(|slot| slot.name.clone());
            // A base is often just an encoder, or a language model; then the head comes from the adapter.
            let own = (key.part == Part::Head).then(|| name.strip_prefix(PEFT).unwrap_or(&name).to_owned());
            let name = known.or(own).ok_or_else(|| foreign(&name, dir, base))?;
            side.slots.insert(key, Slot { name, stored, path: dir.to_owned(), factors: None });
        }
        Ok(side)
    }

    /// A name for the model's family: the one in its config, or the prefix of its tensors' names.
    pub(super) fn about(&self) -> &str {
        match (&self.config, &self.body) {
            (Some(config), _) => config.model_type(),
            (None, Some(body)) => body,
            (None, None) => "unknown family",
        }
    }

    fn is_like(&self, other: &Self) -> bool {
        match (&self.config, &other.config) {
            (Some(a), Some(b)) => std::mem::discriminant(&a.family) == std::mem::discriminant(&b.family),
            _ => self.body.is_none() || other.body.is_none() || self.body == other.body,
        }
    }

    fn check_like(&self, other: &Self, a: &Path, b: &Path) -> Result<()> {
        ensure!(
            self.is_like(other),
            "{} is a {} model, but {} is a {} model; only models of the same family can be compared",
            a.display(),
            self.about(),
            b.display(),
            other.about()
        );
        Ok(())
    }
}

fn foreign(name: &str, dir: &Path, base: &Path) -> anyhow::Error {
    anyhow!(
        "the adapter in {} has {name}, but the model in {} has no such module; compare it with its base model",
        dir.display(),
        base.display()
    )
}

impl Factors {
    /// Read `a` `[r, in]` and `b` `[out, r]` for a weight `[out, in]`.
    fn read(a: &Stored, b: &Stored, scale: f32, shape: &[usize]) -> Result<Self> {
        let rank = a.shape.first().copied().unwrap_or(0);
        let fits = matches!(shape, [rows, width] if a.shape == [rank, *width] && b.shape == [*rows, rank]);
        ensure!(fits, "the factors have shapes {:?} and {:?}, but the weight {shape:?}", b.shape, a.shape);
        let width = shape[1];
        let mut b = b.read(Layout::AsInFiles)?;
        b.iter_mut().for_each(|v| *v *= scale);
        Ok(Self { a: a.read(Layout::AsInFiles)?, b, rank, width })
    }

    /// Add the change to the weight's values from position `start` on.
    fn add(&self, start: usize, values: &mut [f32]) {
        let mut done = 0;
        while done < values.len() {
            let (row, column) = ((start + done) / self.width, (start + done) % self.width);
            let end = values.len().min(done + self.width - column);
            let values = &mut values[done..end];
            let mut change = vec![0f32; values.len()];
            for r in 0..self.rank {
                let (b, a) = (self.b[row * self.rank + r], &self.a[r * self.width + column..]);
                change.iter_mut().zip(a).for_each(|(change, a)| *change += b * a);
            }
            values.iter_mut().zip(change).for_each(|(value, change)| *value += change);
            done = end;
        }
    }
}

impl Slot {
    pub(super) fn shape(&self) -> &[usize] {
        &self.stored.shape
    }

    /// The source of these values: a model's folder or file, or the adapter that changed them.
    pub(super) fn place(&self) -> &Path {
        &self.path
    }

    pub(super) fn pieces(&self) -> Result<Merged<'_>> {
        Ok(Merged { pieces: self.stored.pieces()?, factors: self.factors.as_ref() })
    }
}

/// A parameter's values in pieces, with the adapter merged in.
pub(super) struct Merged<'a> {
    pieces: Pieces<'a>,
    factors: Option<&'a Factors>,
}

impl Merged<'_> {
    pub(super) fn count(&self) -> usize {
        self.pieces.count()
    }

    /// Read one piece, as [`Pieces::read`] does.
    pub(super) fn read(&self, at: usize) -> Result<Vec<f32>> {
        let mut values = self.pieces.read(at)?;
        if let Some(factors) = self.factors {
            factors.add(at * PIECE, &mut values);
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_in_pieces_is_the_product_of_the_factors() {
        // Rank 1: B = (1, 10)ᵀ, A = (1, 2, 3).
        let factors = Factors { a: vec![1.0, 2.0, 3.0], b: vec![1.0, 10.0], rank: 1, width: 3 };
        let whole = [1.0, 2.0, 3.0, 10.0, 20.0, 30.0];
        for cut in 0..=6 {
            let mut values = [0f32; 6];
            let (left, right) = values.split_at_mut(cut);
            factors.add(0, left);
            factors.add(cut, right);
            assert_eq!(values, whole, "{cut}");
        }
    }
}
