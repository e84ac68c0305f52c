//! `quantization_config` of a folder with integer weights, as the compressed-tensors library defines it.
//!
//! transformers opens such folders where that library is installed, and says that it is needed where it is not.

use std::collections::BTreeSet;

use anyhow::{Result, bail, ensure};
use serde_json::{Map, Value, json};

use super::config::Fields;

/// The field of `config.json`.
pub const FIELD: &str = "quantization_config";
const METHOD: &str = "compressed-tensors";

/// Integers that weights are stored as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Integers {
    /// A byte each, with one scale for each row of a matrix.
    Bytes,
    /// Four bits each, eight of them packed into an i32, with one scale for so many columns of a row.
    Nibbles { group: usize },
}

/// What happens to activations before they meet the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activations {
    /// Nothing: the weights become floats again.
    Floats,
    /// They are rounded over the range of each token.
    Dynamic,
    /// They are rounded over a range that is stored with the weight.
    Static,
}

/// How the weights of a folder are stored, and computed with.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantization {
    pub integers: Integers,
    pub activations: Activations,
    /// Linear layers whose activations are rounded to 16 bits and not to 8.
    pub wide: BTreeSet<String>,
    /// Linear layers whose weights are no integers.
    pub ignored: BTreeSet<String>,
}

impl Quantization {
    /// What a config says; none where it says nothing.
    pub fn read(fields: &Fields) -> Result<Option<Self>> {
        let Some(value) = fields.get(FIELD).filter(|value| !value.is_null()) else { return Ok(None) };
        let method = &value["quant_method"];
        ensure!(
            method == METHOD,
            "field `{FIELD}` has the method {method}; only \"{METHOD}\" is read. Quantize the model that it was made from"
        );
        let groups = groups(value)?;
        let weights = &groups[0]["weights"];
        let integers = integers(value, weights)?;
        if let Some(other) = groups.iter().find(|group| group["weights"] != *weights) {
            bail!("field `{FIELD}` stores weights in two ways, {weights} and {}; one is supported", other["weights"]);
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
        let weights = match self.integers {
            Integers::Bytes => json!({"num_bits": 8, "strategy": "channel"}),
            Integers::Nibbles { group } => json!({"num_bits": 4, "strategy": "group", "group_size": group}),
        };
        let weights = with(weights, json!({"type": "int", "symmetric": true, "dynamic": false}));
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
        let mut group = |name: &str, targets: Value, inputs: Value| {
            groups.insert(name.into(), json!({"targets": targets, "weights": weights, "input_activations": inputs}));
        };
        group("linear", json!(["Linear"]), inputs(8));
        group("embedding", json!(["Embedding"]), Value::Null);
        if !self.wide.is_empty() {
            group("wide", json!(self.wide), inputs(16));
        }
        let format = match self.integers {
            Integers::Bytes => "int-quantized",
            Integers::Nibbles { .. } => "pack-quantized",
        };
        json!({
            "quant_method": METHOD,
            "format": format,
            "quantization_status": "compressed",
            // transformers makes floats of the weights while it loads: it cannot compute with integers in embeddings.
            "dequantize": true,
            "config_groups": groups,
            "ignore": self.ignored,
        })
    }
}

fn groups(value: &Value) -> Result<Vec<&Value>> {
    let groups: Vec<&Value> = value["config_groups"].as_object().into_iter().flat_map(Map::values).collect();
    ensure!(!groups.is_empty(), "field `{FIELD}` has no `config_groups`");
    Ok(groups)
}

fn integers(value: &Value, weights: &Value) -> Result<Integers> {
    let symmetric = weights["symmetric"] == json!(true) && weights["type"] == json!("int");
    let form = (value["format"].as_str(), weights["num_bits"].as_u64(), weights["strategy"].as_str());
    match (form, weights["group_size"].as_u64()) {
        ((Some("int-quantized"), Some(8), Some("channel")), _) if symmetric => Ok(Integers::Bytes),
        ((Some("pack-quantized"), Some(4), Some("group")), Some(group @ 1..)) if symmetric => {
            Ok(Integers::Nibbles { group: usize::try_from(group)? })
        }
        _ => bail!(
            "field `{FIELD}` stores weights in the format {} as {weights}; symmetric integers of 8 bits by channel \
             (\"int-quantized\") and of 4 bits by group (\"pack-quantized\") are read",
            value["format"]
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
    use crate::ml::model::Config;

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
            "field `quantization_config` has the method \"gptq\"; only \"compressed-tensors\" is read. Quantize the model that it \
             was made from"
        );
        assert_eq!(
            refused(json!({"quant_method": METHOD, "config_groups": {}})),
            "field `quantization_config` has no `config_groups`"
        );
        let group = json!({"weights": {"num_bits": 8, "type": "float"}});
        assert_eq!(
            refused(json!({"quant_method": METHOD, "format": "float-quantized", "config_groups": {"a": group}})),
            "field `quantization_config` stores weights in the format \"float-quantized\" as {\"num_bits\":8,\"type\":\"float\"}; \
             symmetric integers of 8 bits by channel (\"int-quantized\") and of 4 bits by group (\"pack-quantized\") are read"
        );
    }
}
