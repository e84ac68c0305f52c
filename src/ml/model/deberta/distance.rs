//! Distances between tokens: maps them to rows of DeBERTa's table, and maps scores by distance to scores by position.

use anyhow::{Result, bail, ensure};
use burn::tensor::{Int, Tensor, TensorData};

use crate::model::encoder::EncoderConfig;
use crate::model::fields::Fields;

/// The settings of relative attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelativeConfig {
    /// Whether the attention uses distances; if false, it uses only the content.
    pub attention: bool,
    /// Content to position: the query's content scores the key's distance.
    pub c2p: bool,
    /// Position to content: the key's content scores the query's distance.
    pub p2c: bool,
    /// The number of buckets in each direction, which far distances share; `None`: one row per distance.
    pub buckets: Option<usize>,
    /// Longer distances are treated as this one.
    pub furthest: usize,
    /// Whether positions share the projections of queries and keys.
    pub share_att_key: bool,
    /// Whether the table is normalized before use.
    pub layer_norm: bool,
}

impl RelativeConfig {
    pub fn read(fields: &Fields, encoder: &EncoderConfig) -> Result<Self> {
        let kinds = fields.words("pos_att_type")?;
        if let Some(other) = kinds.iter().find(|kind| !["c2p", "p2c"].contains(&kind.as_str())) {
            bail!("field `pos_att_type` has \"{other}\"; only \"c2p\" and \"p2c\" are supported");
        }
        let norms = fields.words("norm_rel_ebd")?;
        if let Some(other) = norms.iter().find(|norm| !["layer_norm", "none"].contains(&norm.as_str())) {
            bail!("field `norm_rel_ebd` has \"{other}\"; only \"layer_norm\" and \"none\" are supported");
        }
        let furthest = fields.positive("max_relative_positions")?.unwrap_or(encoder.max_position_embeddings);
        let buckets = fields.positive("position_buckets")?;
        if let Some(buckets) = buckets {
            ensure!(buckets >= 4, "field `position_buckets` is {buckets}; it must be at least 4, or -1 for none");
            ensure!(
                furthest > buckets / 2 + 1,
                "field `position_buckets` is {buckets}, too many for distances up to {furthest} \
                 (`max_relative_positions` or `max_position_embeddings`)"
            );
        }
        Ok(RelativeConfig {
            attention: fields.flag("relative_attention", false)?,
            c2p: kinds.iter().any(|kind| kind == "c2p"),
            p2c: kinds.iter().any(|kind| kind == "p2c"),
            buckets,
            furthest,
            share_att_key: fields.flag("share_att_key", false)?,
            layer_norm: norms.iter().any(|norm| norm == "layer_norm"),
        })
    }

    /// Half the rows of the table: its middle is distance 0.
    pub fn span(&self) -> usize {
        self.buckets.unwrap_or(self.furthest)
    }

    /// The row of the table for a query `distance` tokens after its key (`make_log_bucket_position`): each near distance has its
    /// own row; far distances share rows by the logarithm of the distance.
    ///
    /// Computed in f32, as in torch: a bucket is a logarithm rounded up, so the precision matters.
    pub fn row(&self, distance: i64) -> usize {
        let bucket = match self.buckets.map(|buckets| (buckets / 2) as i64) {
            Some(near) if distance.abs() > near => {
                let far = (distance.abs() as f32 / near as f32).ln();
                let furthest = ((self.furthest as i64 - 1) as f64 / near as f64) as f32;
                let bucket = (far / furthest.ln() * (near - 1) as f32).ceil() as i64 + near;
                bucket * distance.signum()
            }
            _ => distance,
        };
        let span = self.span() as i64;
        (bucket + span).clamp(0, 2 * span - 1) as usize
    }

    /// The rows of `table` `[2·span, H]` that sequences of `length` tokens use, `[R, H]`.
    pub fn reach(&self, length: usize, table: Tensor<2>) -> Tensor<2> {
        let last = length as i64 - 1;
        let (lowest, highest) = (self.row(-last), self.row(last));
        table.narrow(0, lowest, highest - lowest + 1)
    }

    /// The number of score terms: one for the content and one for each kind of position. The scale of the scores is the
    /// inverse square root of head size times this number.
    pub fn parts(&self) -> usize {
        1 + usize::from(self.c2p) + usize::from(self.p2c)
    }
}

/// The embeddings of the distances in a batch.
pub(super) struct Distances {
    /// `[R, H]`
    pub rows: Tensor<2>,
    /// The row for a key `c − (T − 1)` tokens after the query, for each `c < 2T`.
    pub by_key: Tensor<1, Int>,
    /// The row for a query `c − (T − 1)` tokens after the key.
    pub by_query: Tensor<1, Int>,
}

impl Distances {
    /// Maps each distance to one of the `rows` from [`RelativeConfig::reach`].
    pub(super) fn new(relative: &RelativeConfig, rows: Tensor<2>, length: usize) -> Self {
        let last = length as i64 - 1;
        let lowest = relative.row(-last);
        let device = rows.device();
        let indices = |distance: &dyn Fn(i64) -> i64| -> Tensor<1, Int> {
            // `skew` needs one column more than there are distances; nothing reads it.
            let row = |c| (relative.row(distance(c).clamp(-last, last)) - lowest) as i64;
            let columns: Vec<i64> = (0..2 * length as i64).map(row).collect();
            Tensor::from_data(TensorData::new(columns, [2 * length]), &device)
        };
        Distances { by_key: indices(&|c| last - c), by_query: indices(&|c| c - last), rows }
    }
}

/// Turns diagonals into columns: `out[.., i, j] = x[.., i, j − i + T − 1]`, `[h, B·T, 2T]` → `[h, B, T, T]`.
///
/// It skips the first `T − 1` numbers and reads the rest as rows of `2T − 1`, which moves each score to its place without a
/// gather (Dai et al. 2019, Transformer-XL, appendix B).
pub(super) fn skew(x: Tensor<3>, [heads, batch, length]: [usize; 3]) -> Tensor<4> {
    let (blocks, wide) = (heads * batch, 2 * length - 1);
    let flat = x.reshape([blocks, 2 * length * length]);
    let shifted = flat.narrow(1, length - 1, length * wide).reshape([blocks, length, wide]);
    shifted.narrow(2, 0, length).reshape([heads, batch, length, length])
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn distances_have_the_buckets_of_transformers() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/parity/log_buckets.json");
        let tables: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(path).expect("the fixture")).expect("JSON");
        for table in tables.as_array().expect("tables") {
            let number = |field: &str| table[field].as_u64().expect("a number") as usize;
            let relative = RelativeConfig {
                attention: true,
                c2p: true,
                p2c: true,
                buckets: Some(number("buckets")),
                furthest: number("furthest"),
                share_att_key: true,
                layer_norm: true,
            };
            let span = relative.span();
            for (distance, bucket) in table["rows"].as_array().expect("rows").iter().enumerate() {
                let bucket = bucket.as_i64().expect("a bucket");
                let expected = |bucket: i64| (bucket + span as i64).clamp(0, 2 * span as i64 - 1) as usize;
                assert_eq!(relative.row(distance as i64), expected(bucket), "{distance} of {relative:?}");
                assert_eq!(relative.row(-(distance as i64)), expected(-bucket), "-{distance} of {relative:?}");
            }
        }
    }

    #[test]
    fn skewing_reads_diagonals() {
        let length = 3;
        // Each row holds its column numbers minus 2; -2 … 2 are the distances j − i.
        let columns: Vec<f32> = (0..2 * length).map(|c| c as f32 - 2.0).collect();
        let x = Tensor::<1>::from_data(TensorData::from(columns.as_slice()), &Device::flex()).expand([
            1,
            length,
            2 * length,
        ]);
        let out = skew(x, [1, 1, length]).into_data().try_into_vec::<f32>().expect("f32");
        assert_eq!(out, [0.0, 1.0, 2.0, -1.0, 0.0, 1.0, -2.0, -1.0, 0.0]);
    }
}
