//! One of two models that are compared: its tensors on disk, or those of the other with an adapter merged into them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::compress::lora;
use crate::files::host::Layout;
use crate::files::weights::Weights;
use crate::files::weights::pieces::{PIECE, Pieces};
use crate::files::weights::stored::Stored;
use crate::judge::inspect::What;
use crate::model::config::Config;
use crate::model::part::{Key, Part, body, key};

/// Ends of the names that PEFT gives to the two factors.
const A: &str = ".lora_A.weight";
const B: &str = ".lora_B.weight";

/// The parameters of a model that can be read one by one.
pub struct Side {
    pub slots: BTreeMap<Key, Slot>,
    config: Option<Config>,
    /// The name before its tensors' names.
    body: Option<String>,
}

/// A parameter.
pub struct Slot {
    pub name: String,
    stored: Stored,
    path: PathBuf,
    factors: Option<Factors>,
}

/// A low-rank change `s·B·A` of a weight `[out, in]`.
struct Factors {
    /// `[r, in]`, row by row.
    a: Vec<f32>,
    /// `[out, r]`, row by row, with the scale s in it.
    b: Vec<f32>,
    rank: usize,
    width: usize,
}

/// Opens two models, or a model and an adapter of it.
pub fn open(a: &Path, b: &Path) -> Result<(Side, Side)> {
    let adapter = |path: &Path| What::of(path) == Some(What::Adapter);
    let (side_a, side_b) = match (adapter(a), adapter(b)) {
        (false, false) => (Side::plain(a)?, Side::plain(b)?),
        (false, true) => (Side::plain(a)?, Side::adapted(a, b)?),
        (true, false) => (Side::adapted(b, a)?, Side::plain(b)?),
        (true, true) => bail!(
            "{} and {} are both adapters; compare one with the model that it belongs to, or their merged models",
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
                side.body = side.body.or_else(|| body(&name).map(str::to_owned));
                let slot = Slot { name: name.clone(), stored, path: path.to_owned(), factors: None };
                if let Some(other) = side.slots.insert(key(&name), slot) {
                    bail!(
                        "the tensors {} and {name} in {} have one place in an encoder; such a model cannot be compared",
                        other.name,
                        path.display()
                    );
                }
            }
        }
        Ok(side)
    }

    /// The model in `base` with the adapter in `dir` merged into it.
    fn adapted(base: &Path, dir: &Path) -> Result<Self> {
        let mut side = Self::plain(base)?;
        let scale = lora::read_config(&dir.join(lora::CONFIG))?.scale() as f32;
        let mut stored = Weights::of(&[dir.join(lora::WEIGHTS)])?.tensors;
        let names: Vec<String> = stored.keys().filter(|name| name.ends_with(A)).cloned().collect();
        for name in names {
            let Some(module) = name.strip_suffix(A) else { continue };
            let (a, b) = (stored.remove(&name), stored.remove(&format!("{module}{B}")));
            let (Some(a), Some(b)) = (a, b) else { bail!("{} has {name} and no {module}{B}", dir.display()) };
            let slot =
                side.slots.get_mut(&key(&format!("{module}.weight"))).ok_or_else(|| foreign(&name, dir, base))?;
            slot.factors = Some(Factors::read(&a, &b, scale, slot.shape()).with_context(|| {
                format!("the adapter in {} does not fit the model in {}: {name}", dir.display(), base.display())
            })?);
            slot.path = dir.to_owned();
        }
        // What is left are modules that were trained in full.
        for (name, stored) in stored {
            let key = key(&name);
            let known = side.slots.get(&key).map(|slot| slot.name.clone());
            // A base is often an encoder alone, or a language model: its head comes with the adapter.
            let own = (key.part == Part::Head).then(|| name.strip_prefix(lora::PREFIX).unwrap_or(&name).to_owned());
            let name = known.or(own).ok_or_else(|| foreign(&name, dir, base))?;
            side.slots.insert(key, Slot { name, stored, path: dir.to_owned(), factors: None });
        }
        Ok(side)
    }

    /// What to call the model's family: that of its config, or the name before its tensors' names.
    pub fn about(&self) -> &str {
        match (&self.config, &self.body) {
            (Some(config), _) => config.model_type(),
            (None, Some(body)) => body,
            (None, None) => "a family that its names do not tell",
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
            "{} is a {} model and {} a {} model; layers of different families cannot be compared",
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
        "the adapter in {} has {name}, for which the model in {} has no place; compare it with the model that it belongs to",
        dir.display(),
        base.display()
    )
}

impl Factors {
    /// `a` `[r, in]` and `b` `[out, r]` of a weight `[out, in]`.
    fn read(a: &Stored, b: &Stored, scale: f32, shape: &[usize]) -> Result<Self> {
        let rank = a.shape.first().copied().unwrap_or(0);
        let fits = matches!(shape, [rows, width] if a.shape == [rank, *width] && b.shape == [*rows, rank]);
        ensure!(fits, "factors {:?} and {:?} for a weight {shape:?}", b.shape, a.shape);
        let width = shape[1];
        let mut b = b.read(Layout::AsInFiles)?;
        b.iter_mut().for_each(|v| *v *= scale);
        Ok(Self { a: a.read(Layout::AsInFiles)?, b, rank, width })
    }

    /// Adds the change to the values of the weight from place `start` on.
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
    pub fn shape(&self) -> &[usize] {
        &self.stored.shape
    }

    /// Whose values these are: a model's folder or file, or the adapter's that changed them.
    pub fn place(&self) -> &Path {
        &self.path
    }

    pub fn pieces(&self) -> Result<Merged<'_>> {
        Ok(Merged { pieces: self.stored.pieces()?, factors: self.factors.as_ref() })
    }
}

/// A parameter's values by pieces, with the adapter merged into them.
pub struct Merged<'a> {
    pieces: Pieces<'a>,
    factors: Option<&'a Factors>,
}

impl Merged<'_> {
    pub fn count(&self) -> usize {
        self.pieces.count()
    }

    /// As [`Pieces::read`].
    pub fn read(&self, at: usize) -> Result<Vec<f32>> {
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
