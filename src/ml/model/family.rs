//! The families that `pipe` supports: here each adds a few lines for its file, and everything else holds for all.

use anyhow::Result;
use burn::module::Module;
use burn::tensor::Device;

use super::bert::{Bert, BertConfig};
use super::deberta::{Deberta, DebertaConfig};
use super::distilbert::{DistilBert, DistilBertConfig};
use super::encoder::EncoderConfig;
use super::fields::Fields;
use super::head::HeadConfig;
use super::names::Names;
use super::network::FamilyConfig;
use super::roberta::{Roberta, RobertaConfig};

/// The fields of one model family.
#[derive(Debug, Clone, PartialEq)]
pub enum Family {
    Roberta(RobertaConfig),
    Bert(BertConfig),
    Deberta(DebertaConfig),
    DistilBert(DistilBertConfig),
}

/// The modules of one model family.
#[derive(Module, Debug)]
pub(crate) enum AnyNetwork {
    Roberta(Roberta),
    Bert(Bert),
    Deberta(Deberta),
    DistilBert(DistilBert),
}

/// Evaluates an expression with what a [`Family`] or an [`AnyNetwork`] holds: its own type for each family.
macro_rules! each {
    ($of:ident, $value:expr, $own:ident => $do:expr) => {
        match $value {
            $of::Roberta($own) => $do,
            $of::Bert($own) => $do,
            $of::Deberta($own) => $do,
            $of::DistilBert($own) => $do,
        }
    };
}
pub(super) use each;

/// How the fields of a family are read.
type Read = fn(&Fields) -> Result<Family>;

/// The families in the order of messages.
static FAMILIES: [(Names, Read); 4] = [
    (RobertaConfig::NAMES, |fields| RobertaConfig::read(fields).map(Family::Roberta)),
    (BertConfig::NAMES, |fields| BertConfig::read(fields).map(Family::Bert)),
    (DistilBertConfig::NAMES, |fields| DistilBertConfig::read(fields).map(Family::DistilBert)),
    (DebertaConfig::NAMES, |fields| DebertaConfig::read(fields).map(Family::Deberta)),
];

/// The `model_type` of every supported model.
pub(super) fn model_types() -> Vec<&'static str> {
    FAMILIES.iter().flat_map(|(names, _)| names.types).map(|(model_type, _)| *model_type).collect()
}

/// The name in files of a parameter or module of any family whose path of fields is `path`.
pub(crate) fn name_in_files(path: String) -> String {
    FAMILIES.iter().fold(path, |path, (names, _)| names.in_files(path))
}

impl Family {
    /// Reads the fields of the family with this `model_type`; `None` if there is none.
    pub(super) fn read(model_type: &str, fields: &Fields) -> Option<Result<Self>> {
        let of_type = |(names, _): &&(Names, Read)| names.types.iter().any(|(name, _)| *name == model_type);
        FAMILIES.iter().find(of_type).map(|(_, read)| read(fields))
    }

    /// The modules without values; the caller fills them in.
    pub(super) fn build(&self, head: HeadConfig, device: &Device) -> AnyNetwork {
        match self {
            Family::Roberta(own) => AnyNetwork::Roberta(own.build(head, device)),
            Family::Bert(own) => AnyNetwork::Bert(own.build(head, device)),
            Family::Deberta(own) => AnyNetwork::Deberta(own.build(head, device)),
            Family::DistilBert(own) => AnyNetwork::DistilBert(own.build(head, device)),
        }
    }

    /// What the family calls things, in configs and checkpoints.
    pub(crate) fn names(&self) -> Names {
        fn of<F: FamilyConfig>(_: &F) -> Names {
            F::NAMES
        }
        each!(Family, self, own => of(own))
    }

    /// The sizes that every family has.
    pub(super) fn encoder(&self) -> &EncoderConfig {
        each!(Family, self, own => own.encoder())
    }

    /// The longest sequence in tokens, special tokens included.
    pub(super) fn max_length(&self) -> usize {
        each!(Family, self, own => own.max_length())
    }
}
