//! Reads and writes `quantization_config` of a folder with integer weights, as the compressed-tensors library defines it.
//!
//! transformers opens such folders if that library is installed; otherwise its error asks for the library.

use std::collections::BTreeSet;

use anyhow::{Result, bail, ensure};
use serde_json::{Map, Value, json};

use super::fields::Fields;

/// The field of `config.json`.
pub(crate) const FIELD: &str = "quantization_config";
const METHOD: &str = "compressed-tensors";
/// Formats of the library: one integer per byte, several integers packed into an i32, and a separate format for each group.
const INT: &str = "int-quantized";
const PACK: &str = "pack-quantized";
const MIXED: &str = "mixed-precision";

/// The integers in which weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Integers {
    /// 8 bits, with one scale for each row of a matrix.
    Bytes,
    /// 4 bits, eight packed into an i32, with one scale for each `group` columns of a row.
    Nibbles { group: usize },
}

/// How activations are rounded before the product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activations {
    /// Not at all: the weights are converted to floats.
    Floats,
    /// Over the range of each token.
    Dynamic,
    /// Over a fixed range that is stored with the weight.
    Static,
}

/// How the weights of a folder are stored, and how its layers compute.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantization {
    pub integers: Integers,
    pub activations: Activations,
    /// Linear layers whose activations are rounded to 16 bits instead of 8.
    pub wide: BTreeSet<String>,
    /// Linear layers whose weights are not integers.
    pub ignored: BTreeSet<String>,
}

impl Quantization {
    /// Reads the field of a config; `None` if it is missing.
    pub fn read(fields: &Fields) -> Result<Option<Self>> {
        let Some(value) = fields.get(FIELD).filter(|value| !value.is_null()) else { return Ok(None) };
        let method = &value["quant_method"];
        ensure!(
            method == METHOD,
            "field `{FIELD}` has the method {method}; only \"{METHOD}\" is supported. Quantize the original model instead"
        );
        let groups = groups(value)?;
        let forms = groups.iter().map(|group| integers(value, group)).collect::<Result<Vec<Integers>>>()?;
        let is_packed = |form: &&Integers| matches!(form, Integers::Nibbles { .. });
        let integers = *forms.iter().find(is_packed).unwrap_or(&Integers::Bytes);
        if let Some(other) = forms.iter().filter(is_packed).find(|form| **form != integers) {
            bail!("field `{FIELD}` stores weights as {integers:?} and as {other:?}; only one group size is supported");
        }
        let inputs = groups.iter().map(|group| &group["input_activations"]).find(|inputs| inputs.is_object());
        let activations = match inputs {
            None => Activations::Floats,
            Some(inputs) if inputs["dynamic"] == json!(false) => Activations::Static,
            Some(_) => Activations::Dynamic,
        };
        let is_wide = |group: &&&Value| group["input_activations"]["num_bits"] == json!(16);
        let wide = groups.iter().filter(is_wide).flat_map(|group| names(&group["targets"])).collect();
        Ok(Some(Quantization { integers, activations, wide, ignored: names(&value["ignore"]).collect() }))
    }

    /// The value of the field.
    pub fn to_json(&self) -> Value {
        let inputs = |bits: u32| match self.activations {
            Activations::Floats => Value::Null,
            Activations::Dynamic => {
                json!({"num_bits": bits, "type": "int", "symmetric": false, "strategy": "token", "dynamic": true})
            }
            Activations::Static => {
                json!({"num_bits": bits, "type": "int", "symmetric": false, "strategy": "tensor", "dynamic": false})
            }
        };
        let mut groups = Map::new();
        let mut group = |name: &str, targets: Value, form: Integers, inputs: Value| {
            let (format, weights) = form.to_json();
            let group = json!({"targets": targets, "format": format, "weights": weights, "input_activations": inputs});
            groups.insert(name.into(), group);
        };
        group("linear", json!(["Linear"]), self.integers, inputs(8));
        // Embedding tables are read row by row, so they have 8 bits and one scale per row.
        group("embedding", json!(["Embedding"]), Integers::Bytes, Value::Null);
        if !self.wide.is_empty() {
            group("wide", json!(self.wide), self.integers, inputs(16));
        }
        let format = match self.integers {
            Integers::Bytes => INT,
            Integers::Nibbles { .. } => MIXED,
        };
        json!({
            "quant_method": METHOD,
            "format": format,
            "quantization_status": "compressed",
            // With this flag, transformers converts the weights to floats while loading: it cannot use integer embeddings. It
            // supports only one kind of group; for mixed groups the library itself converts them at the first forward pass.
            "dequantize": self.integers == Integers::Bytes,
            "config_groups": groups,
            "ignore": self.ignored,
        })
    }
}

impl Integers {
    /// The format, and the `weights` entry of a group of the config.
    fn to_json(self) -> (&'static str, Value) {
        let (format, weights) = match self {
            Integers::Bytes => (INT, json!({"num_bits": 8, "strategy": "channel"})),
            Integers::Nibbles { group } => (PACK, json!({"num_bits": 4, "strategy": "group", "group_size": group})),
        };
        (format, with(weights, json!({"type": "int", "symmetric": true, "dynamic": false})))
    }
}

fn groups(value: &Value) -> Result<Vec<&Value>> {
    let groups: Vec<&Value> = value["config_groups"].as_object().into_iter().flat_map(Map::values).collect();
    ensure!(!groups.is_empty(), "field `{FIELD}` has no `config_groups`");
    Ok(groups)
}

/// How the weights of a group are stored; a group without a format has that of the whole `value`.
fn integers(value: &Value, group: &Value) -> Result<Integers> {
    let (weights, format) = (&group["weights"], group["format"].as_str().or(value["format"].as_str()));
    let symmetric = weights["symmetric"] == json!(true) && weights["type"] == json!("int");
    let form = (format, weights["num_bits"].as_u64(), weights["strategy"].as_str());
    match (form, weights["group_size"].as_u64()) {
        ((Some(INT), Some(8), Some("channel")), _) if symmetric => Ok(Integers::Bytes),
        ((Some(PACK), Some(4), Some("group")), Some(group @ 1..)) if symmetric => {
            Ok(Integers::Nibbles { group: usize::try_from(group)? })
        }
        _ => bail!(
            "field `{FIELD}` stores weights in the format {} as {weights}; supported are symmetric integers of 8 bits by \
             channel (\"int-quantized\") and of 4 bits by group (\"pack-quantized\")",
            json!(format)
        ),
    }
}

fn names(value: &Value) -> impl Iterator<Item = String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned)
}

fn with(mut one: Value, other: Value) -> Value {
    if let (Value::Object(one), Value::Object(other)) = (&mut one, other) {
        one.extend(other);
    }
    one
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Config;

    fn read(quantization: &Value) -> Result<Option<Quantization>> {
        let fields = json!({"model_type": "bert", FIELD: quantization});
        Ok(Config::parse(&fields.to_string())?.quantization().cloned())
    }

    #[test]
    fn what_is_written_is_read_again() {
        for (integers, activations) in [
            (Integers::Bytes, Activations::Dynamic),
            (Integers::Bytes, Activations::Static),
            (Integers::Nibbles { group: 32 }, Activations::Floats),
        ] {
            let wide =
                if activations == Activations::Dynamic { BTreeSet::from(["a.b".to_owned()]) } else { BTreeSet::new() };
            let own = Quantization { integers, activations, wide, ignored: BTreeSet::from(["classifier".to_owned()]) };
            assert_eq!(read(&own.to_json()).unwrap(), Some(own));
        }
        assert_eq!(read(&Value::Null).unwrap(), None);
    }

    #[test]
    fn other_methods_and_formats_are_refused() {
        let refused = |value: Value| read(&value).unwrap_err().to_string();
        assert_eq!(
            refused(json!({"quant_method": "gptq"})),
            "field `quantization_config` has the method \"gptq\"; only \"compressed-tensors\" is supported. Quantize the original \
             model instead"
        );
        assert_eq!(
            refused(json!({"quant_method": METHOD, "config_groups": {}})),
            "field `quantization_config` has no `config_groups`"
        );
        let group = |size: usize| {
            let weights =
                json!({"num_bits": 4, "type": "int", "symmetric": true, "strategy": "group", "group_size": size});
            json!({"weights": weights})
        };
        let two = json!({"a": group(32), "b": group(64)});
        assert_eq!(
            refused(json!({"quant_method": METHOD, "format": PACK, "config_groups": two})),
            "field `quantization_config` stores weights as Nibbles { group: 32 } and as Nibbles { group: 64 }; only one group \
             size is supported"
        );
        let group = json!({"weights": {"num_bits": 8, "type": "float"}});
        assert_eq!(
            refused(json!({"quant_method": METHOD, "format": "float-quantized", "config_groups": {"a": group}})),
            "field `quantization_config` stores weights in the format \"float-quantized\" as {\"num_bits\":8,\"type\":\"float\"}; \
             supported are symmetric integers of 8 bits by channel (\"int-quantized\") and of 4 bits by group (\"pack-quantized\")"
        );
    }
}
