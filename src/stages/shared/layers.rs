//! Encoder layers as a parameter: their number, or a list.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Unexpected, Visitor};
use serde::ser::{Serialize, Serializer};

use pipe_engine::contract::kind::Invalid;
use pipe_ml::compress::student;

/// `layers = 3` or `layers = [0, 2, 4]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layers {
    /// This many, evenly spaced.
    Count(usize),
    /// These, counted from 0.
    These(Vec<usize>),
}

impl Layers {
    pub fn check(&self) -> Option<Invalid> {
        let message = match self {
            Self::Count(0) => "layers is 0; at least 1 is needed".to_owned(),
            Self::These(layers) if layers.is_empty() => "layers is empty; at least 1 is needed".to_owned(),
            Self::These(layers) if !layers.is_sorted_by(|a, b| a < b) => {
                format!("layers is {layers:?}; list each layer once, in ascending order")
            }
            _ => return None,
        };
        Some(Invalid::new("layers", message))
    }

    /// The layers selected of a model with `all` layers.
    pub fn of(&self, all: usize) -> anyhow::Result<Vec<usize>> {
        match self {
            Self::Count(wanted) => {
                anyhow::ensure!(
                    *wanted <= all,
                    "cannot keep {wanted} layers: the model has only {all}; lower `layers`"
                );
                Ok(student::spread(all, *wanted))
            }
            Self::These(layers) => Ok(layers.clone()),
        }
    }
}

impl Serialize for Layers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => count.serialize(serializer),
            Self::These(layers) => layers.serialize(serializer),
        }
    }
}

/// By hand, because serde's untagged enums lose the place of a mistake.
impl<'de> Deserialize<'de> for Layers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Layers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number, 0 or more, or a list of them")
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Layers, E> {
                let count = usize::try_from(number);
                count.map(Layers::Count).map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Layers, E> {
                let count = usize::try_from(number);
                count.map(Layers::Count).map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Layers, A::Error> {
                let mut layers = Vec::new();
                while let Some(layer) = all.next_element()? {
                    layers.push(layer);
                }
                Ok(Layers::These(layers))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for Layers {
    fn schema_name() -> Cow<'static, str> {
        "Layers".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "integer", "format": "uint", "minimum": 0 },
                { "type": "array", "items": { "type": "integer", "format": "uint", "minimum": 0 } },
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_and_a_list_are_read_and_written_alike() {
        for (text, layers) in [("3", Layers::Count(3)), ("[0,2,4]", Layers::These(vec![0, 2, 4]))] {
            let read: Layers = serde_json::from_str(text).unwrap();
            assert_eq!(read, layers);
            assert_eq!(serde_json::to_string(&read).unwrap(), text);
            assert_eq!(read.check(), None);
        }
        for wrong in ["-1", "\"two\"", "[-1]"] {
            let error = serde_json::from_str::<Layers>(wrong).unwrap_err().to_string();
            assert!(error.contains("0 or more") || error.contains("usize"), "{error}");
        }
    }

    #[test]
    fn invalid_lists_are_refused() {
        let message = |layers: Layers| layers.check().unwrap().message;
        assert!(message(Layers::Count(0)).contains("at least 1"));
        assert!(message(Layers::These(vec![])).contains("at least 1"));
        assert!(message(Layers::These(vec![2, 1])).contains("ascending order"));
        assert!(message(Layers::These(vec![1, 1])).contains("each layer once"));
        assert!(Layers::Count(5).of(4).unwrap_err().to_string().contains("cannot keep 5 layers: the model has only 4"));
        assert_eq!(Layers::Count(2).of(4).unwrap(), [0, 2]);
        assert_eq!(Layers::These(vec![1, 3]).of(4).unwrap(), [1, 3]);
    }
}
