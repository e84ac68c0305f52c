//! Examples that are made from others: copies, or changed copies.

use super::corpus::{Example, Made};
use crate::text::augment::{Augmentation, Texts};

/// The operation of a plain copy.
pub(crate) const REPEAT: &str = "repeat";

/// How examples are made.
#[derive(Debug, Clone, PartialEq)]
pub enum Making {
    /// Changed texts.
    Augment(Augmentation),
    /// The same texts again.
    Repeat,
}

impl Making {
    /// Copy `copy` of an example, counted from 1, with the id `ORIGIN+COPY`. It depends on the seed and the example only. None
    /// if its text cannot be changed.
    pub(crate) fn copy(&self, origin: &Example, copy: u64, seed: u64) -> Option<Example> {
        let (texts, operation) = match self {
            Self::Augment(how) => {
                let texts = Texts { first: origin.text.clone(), second: origin.pair.clone() };
                let (texts, operation) = how.copy(&texts, (seed, &origin.id, copy))?;
                (texts, operation.name())
            }
            Self::Repeat => (Texts { first: origin.text.clone(), second: origin.pair.clone() }, REPEAT),
        };
        let made = Made { origin: origin.id.clone(), operation: operation.to_owned() };
        Some(Example {
            id: format!("{}+{copy}", origin.id),
            text: texts.first,
            pair: texts.second,
            label: origin.label,
            source: origin.source.clone(),
            day: origin.day,
            made: Some(made),
        })
    }
}
