//! Reads a tensor's values piece by piece, so that scanning every weight of a model needs little memory.

use anyhow::Result;
use safetensors::Dtype;

use super::stored::Stored;
use crate::files::host::Layout;

/// Values per piece, one megabyte of f32: large enough to read a disk at full speed.
pub(crate) const PIECE: usize = 1 << 18;

/// The pieces of a tensor, in file order. Each can be read independently, also from several threads.
pub struct Pieces<'a> {
    stored: &'a Stored,
    scales: Vec<f32>,
    /// All values of a PyTorch view that is not row-major, whose pieces are not contiguous in the file.
    whole: Option<Vec<f32>>,
}

impl Stored {
    pub fn pieces(&self) -> Result<Pieces<'_>> {
        let whole = self.strides.is_some().then(|| self.read(Layout::AsInFiles)).transpose()?;
        Ok(Pieces { stored: self, scales: self.scales()?, whole })
    }

    /// Whether its values are weights; index tables in old checkpoints are not.
    pub fn is_parameter(&self) -> bool {
        self.is_scaled() || matches!(self.dtype, Dtype::F64 | Dtype::F32 | Dtype::F16 | Dtype::BF16)
    }

    /// `f32`, `f16`, `bf16`, `int8` and `int4` with scales, …
    pub fn type_name(&self) -> String {
        match (self.is_scaled(), self.is_packed()) {
            (true, true) => "int4".into(),
            (true, false) => "int8".into(),
            (false, _) => format!("{:?}", self.dtype).to_lowercase(),
        }
    }

    /// Size in the file in bytes, including the scales.
    pub fn bytes_with_scales(&self) -> u64 {
        self.bytes + self.scales.as_ref().map_or(0, |scales| scales.bytes)
    }
}

impl Pieces<'_> {
    /// The number of pieces.
    pub fn count(&self) -> usize {
        self.stored.size().div_ceil(PIECE)
    }

    /// Reads piece `at`: [`PIECE`] values, fewer in the last piece.
    pub fn read(&self, at: usize) -> Result<Vec<f32>> {
        let first = at * PIECE;
        let end = self.stored.size().min(first + PIECE);
        if let Some(whole) = &self.whole {
            return Ok(whole[first..end].to_vec());
        }
        let mut values = vec![0f32; end - first];
        self.stored.decode(first, &mut values, &mut Vec::new())?;
        if !self.scales.is_empty() {
            let run = self.stored.run(&self.scales);
            values.iter_mut().enumerate().for_each(|(i, value)| *value *= self.scales[(first + i) / run]);
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::files::weights::{Encoded, Weights, write};

    #[test]
    fn pieces_one_after_another_are_the_tensor() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("model.safetensors");
        // Rows that end within pieces.
        let (rows, columns) = (3, PIECE - 5);
        let bytes: Vec<u8> = (0..rows * columns).map(|i| (i % 251) as u8).collect();
        let scales: Vec<u8> = [0.5f32, 2.0, 3.0].iter().flat_map(|scale| scale.to_le_bytes()).collect();
        let file = BTreeMap::from([
            ("a".to_owned(), Encoded { dtype: Dtype::I8, shape: vec![rows, columns], bytes }),
            ("a_scale".to_owned(), Encoded { dtype: Dtype::F32, shape: vec![rows], bytes: scales }),
            ("b".to_owned(), Encoded { dtype: Dtype::F16, shape: vec![0, 7], bytes: Vec::new() }),
        ]);
        write(&path, &file).expect("written");
        let weights = Weights::of(&[path]).expect("opened");
        for (name, stored) in &weights.tensors {
            let pieces = stored.pieces().expect("pieces");
            let all: Vec<f32> = (0..pieces.count()).flat_map(|at| pieces.read(at).expect("read")).collect();
            assert!(all == stored.read(Layout::AsInFiles).expect("read"), "{name}");
        }
        assert_eq!(weights.tensors["a"].pieces().expect("pieces").count(), 3);
        assert_eq!(weights.tensors["a"].bytes_with_scales(), (rows * columns + 4 * rows) as u64);
    }
}
