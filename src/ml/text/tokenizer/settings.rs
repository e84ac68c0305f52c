//! The settings of `tokenizer_config.json` that change ids, applied to a `tokenizer.json` as transformers applies them.

use std::path::Path;

use anyhow::{Result, anyhow, bail};
use serde_json::{Value, to_value};
use tokenizers::models::bpe::BPE;
use tokenizers::utils::truncation::TruncationDirection;
use tokenizers::{AddedToken, ModelWrapper, NormalizerWrapper, PreTokenizerWrapper, Tokenizer as Library};

use super::special::{Special, json, surroundings};
use super::wordpiece::LONGEST_WORD;

/// From this value on, `model_max_length` means "no limit" (transformers writes 10^30).
const NO_LIMIT: f64 = 1e9;

/// The end of a text that is cut if the text is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

/// What transformers does with a `tokenizer.json`, which depends on the class of the tokenizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pipeline {
    /// BERT's: the settings decide about casing, accents and Chinese characters.
    Bert,
    /// RoBERTa's byte-level BPE: the settings decide about a space in front of the text.
    ByteLevel,
    /// The file decides.
    AsItIs,
}

/// The settings of an opened tokenizer.
#[derive(Debug)]
pub(super) struct Settings {
    /// The class that `tokenizer_config.json` or `config.json` names, or that the files belong to.
    pub(super) class: Option<String>,
    pub(super) pipeline: Pipeline,
    pub(super) side: Side,
    /// `model_max_length`.
    pub(super) max_length: Option<usize>,
    /// Whether the model takes `token_type_ids`, which say to which text of a pair a token belongs.
    pub(super) has_types: bool,
    /// Whether special tokens in a text are read as ordinary text.
    pub(super) splits_special: bool,
    /// Whether the opened tokenizer differs from the `tokenizer.json` on disk.
    pub(super) is_changed: bool,
    /// Contradictions between the files, for the user.
    pub(super) remarks: Vec<String>,
}

const BERT: [&str; 3] = ["BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer"];
/// Classes that let `add_prefix_space` overrule the file. All but the first add other special tokens in some version of
/// transformers, so that only the first can be named in files that others read.
const BYTE_LEVEL: [&str; 5] =
    ["RobertaTokenizer", "GPT2Tokenizer", "BartTokenizer", "LongformerTokenizer", "LEDTokenizer"];
/// The class that transformers takes if only `model_type` of `config.json` says what the model is.
const OF_MODEL: [(&str, &str); 6] = [
    ("bert", BERT[0]),
    ("distilbert", BERT[1]),
    ("electra", BERT[2]),
    ("roberta", BYTE_LEVEL[0]),
    ("deberta-v2", "DebertaV2Tokenizer"),
    ("xlm-roberta", "XLMRobertaTokenizer"),
];
/// Classes of models that have no token types. A class that is named for them must not produce any.
pub(super) const WITHOUT_TYPES: [&str; 3] = ["RobertaTokenizer", "XLMRobertaTokenizer", "DistilBertTokenizer"];
const ROLES: [&str; 7] = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

impl Settings {
    /// The settings of a tokenizer that was built from a vocabulary: they were applied while it was built.
    pub(super) fn built(special: &Special, dir: &Path, pipeline: Pipeline) -> Result<Self> {
        let class = class_of(special, dir)?.or(match pipeline {
            Pipeline::Bert => Some(BERT[0].to_owned()),
            Pipeline::ByteLevel => Some(BYTE_LEVEL[0].to_owned()),
            Pipeline::AsItIs => None,
        });
        let mut settings = Self::plain(special, None, class)?;
        settings.pipeline = if settings.can_be_named(pipeline) { pipeline } else { Pipeline::AsItIs };
        settings.is_changed = true;
        Ok(settings)
    }

    /// Apply the settings to the pipeline of a `tokenizer.json`.
    pub(super) fn apply(library: &mut Library, special: &Special, dir: &Path) -> Result<Self> {
        let stored = library.get_truncation().map(|truncation| truncation.direction);
        let mut settings = Self::plain(special, stored, class_of(special, dir)?)?;
        // Ids are truncated by this program and padded per batch. A fixed length in the file would be everybody's length.
        settings.is_changed = library.get_truncation().is_some() || library.get_padding().is_some();
        library.with_truncation(None).map_err(|error| anyhow!(error))?.with_padding(None);
        settings.apply_bert(library, special)?;
        settings.apply_prefix_space(library, special)?;
        settings.add_tokens(library, special)?;
        settings.judge_deberta(library, special)?;
        let pipeline = settings.expected();
        if pipeline == Pipeline::AsItIs {
            return Ok(settings);
        }
        if settings.can_be_named(pipeline) && is_pipeline(pipeline, library, special)? {
            settings.pipeline = pipeline;
        } else if settings.can_be_named(pipeline) {
            settings.remarks.push(format!(
                "tokenizer.json is not the pipeline of {}, which transformers 5 builds whatever the file says; pipe takes \
                 the file as it is, and saves it so that transformers does, too",
                settings.class()
            ));
        }
        Ok(settings)
    }

    fn plain(special: &Special, stored: Option<TruncationDirection>, class: Option<String>) -> Result<Self> {
        let side = match special.setting("truncation_side").map(|side| (side, side.as_str())) {
            Some((_, Some("left"))) => Side::Left,
            Some((_, Some("right"))) => Side::Right,
            Some((side, _)) => {
                bail!("`truncation_side` in tokenizer_config.json is {side}; it must be \"left\" or \"right\"")
            }
            None if matches!(stored, Some(TruncationDirection::Left)) => Side::Left,
            None => Side::Right,
        };
        let length = special.setting("model_max_length").and_then(Value::as_f64);
        Ok(Self {
            has_types: has_types(special, without_fast(class.as_deref()))?,
            class,
            pipeline: Pipeline::AsItIs,
            side,
            max_length: length.filter(|length| (1.0..NO_LIMIT).contains(length)).map(|length| length as usize),
            splits_special: special.flag("split_special_tokens")?.unwrap_or(false),
            is_changed: false,
            remarks: Vec::new(),
        })
    }

    /// The class without `Fast`, which says nothing about ids.
    pub(super) fn class(&self) -> &str {
        without_fast(self.class.as_deref())
    }

    fn expected(&self) -> Pipeline {
        match self.class() {
            class if BERT.contains(&class) => Pipeline::Bert,
            class if BYTE_LEVEL.contains(&class) => Pipeline::ByteLevel,
            _ => Pipeline::AsItIs,
        }
    }

    /// Whether every version of transformers builds this pipeline for the class.
    fn can_be_named(&self, pipeline: Pipeline) -> bool {
        self.expected() == pipeline && (pipeline != Pipeline::ByteLevel || self.class() == BYTE_LEVEL[0])
    }

    fn apply_bert(&mut self, library: &mut Library, special: &Special) -> Result<()> {
        let Some(NormalizerWrapper::BertNormalizer(there)) = library.get_normalizer() else { return Ok(()) };
        if self.expected() != Pipeline::Bert {
            return Ok(());
        }
        let mut wanted = *there;
        wanted.lowercase = special.flag("do_lower_case")?.unwrap_or(true);
        wanted.strip_accents = special.flag("strip_accents")?;
        wanted.handle_chinese_chars = special.flag("tokenize_chinese_chars")?.unwrap_or(true);
        let compared = [
            ("do_lower_case", "lowercase", Some(wanted.lowercase), Some(there.lowercase)),
            ("strip_accents", "strip_accents", wanted.strip_accents, there.strip_accents),
            (
                "tokenize_chinese_chars",
                "handle_chinese_chars",
                Some(wanted.handle_chinese_chars),
                Some(there.handle_chinese_chars),
            ),
        ];
        for (name, field, wanted, there) in compared {
            self.compare(special, (name, wanted), (field, there));
        }
        library.with_normalizer(Some(wanted)).map_err(|error| anyhow!(error))?;
        Ok(())
    }

    fn apply_prefix_space(&mut self, library: &mut Library, special: &Special) -> Result<()> {
        let Some(PreTokenizerWrapper::ByteLevel(there)) = library.get_pre_tokenizer() else { return Ok(()) };
        if self.expected() != Pipeline::ByteLevel {
            return Ok(());
        }
        let (name, mut wanted) = ("add_prefix_space", *there);
        wanted.add_prefix_space = special.flag(name)?.unwrap_or(false);
        self.compare(special, (name, Some(wanted.add_prefix_space)), (name, Some(there.add_prefix_space)));
        library.with_pre_tokenizer(Some(wanted));
        Ok(())
    }

    /// Note a setting that differs from the file.
    fn compare(&mut self, special: &Special, wanted: (&str, Option<bool>), there: (&str, Option<bool>)) {
        if wanted.1 == there.1 {
            return;
        }
        self.is_changed = true;
        let shown = |value: Option<bool>| value.map_or("null".to_owned(), |value| value.to_string());
        let (name, field, there) = (wanted.0, there.0, shown(there.1));
        let wanted = shown(wanted.1);
        self.remarks.push(if special.setting(name).is_some() {
            format!(
                "`{name}` in tokenizer_config.json is {wanted}, but tokenizer.json has `{field}` {there}; the former \
                 decides, as in transformers"
            )
        } else {
            format!(
                "tokenizer_config.json does not set `{name}`, and transformers takes {wanted} then, but tokenizer.json \
                 has `{field}` {there}; {wanted} decides, as in transformers"
            )
        });
    }

    /// Add the tokens that only the files beside `tokenizer.json` list.
    fn add_tokens(&mut self, library: &mut Library, special: &Special) -> Result<()> {
        for (id, token, is_detailed) in special.added() {
            let known = library.get_added_tokens_decoder();
            let same = known.values().any(|other| other == token);
            if same || !is_detailed && library.token_to_id(&token.content).is_some() {
                continue;
            }
            library.add_tokens([token.clone()]).map_err(|error| anyhow!(error))?;
            self.is_changed = true;
            let given = library.token_to_id(&token.content).map(u64::from);
            if given != Some(*id) {
                self.remarks.push(format!(
                    "the files give the added token `{}` the id {id}, but it has {} in tokenizer.json; the latter decides, as \
                     in transformers",
                    token.content,
                    given.map_or("none".to_owned(), |id| id.to_string())
                ));
            }
        }
        let roles = ROLES.iter().filter_map(|role| special.role(role));
        let known: Vec<AddedToken> = roles.filter(|token| library.token_to_id(&token.content).is_some()).collect();
        for token in known.into_iter().chain(special.additional()) {
            let added = library.get_added_tokens_decoder();
            if !added.values().any(|other| other.content == token.content) {
                library.add_special_tokens([token]).map_err(|error| anyhow!(error))?;
                self.is_changed = true;
            }
        }
        Ok(())
    }

    /// Note settings of DeBERTa that transformers 4 ignores if there is a `tokenizer.json`, and transformers 5 applies.
    fn judge_deberta(&mut self, library: &Library, special: &Special) -> Result<()> {
        if self.class() != "DebertaV2Tokenizer" {
            return Ok(());
        }
        let text = format!("{}{}", to_value(library.get_normalizer())?, to_value(library.get_pre_tokenizer())?);
        for (name, step) in [("do_lower_case", "\"Lowercase\""), ("split_by_punct", "\"Punctuation\"")] {
            if special.flag(name)?.unwrap_or(false) != text.contains(step) {
                self.remarks.push(format!(
                    "`{name}` in tokenizer_config.json and tokenizer.json contradict each other; the latter decides, as in \
                     transformers 4 (5 takes the former)"
                ));
            }
        }
        Ok(())
    }
}

fn without_fast(class: Option<&str>) -> &str {
    let class = class.unwrap_or_default();
    class.strip_suffix("Fast").unwrap_or(class)
}

/// Whether the model gets token types: `model_input_names` says it, or else the class.
fn has_types(special: &Special, class: &str) -> Result<bool> {
    match special.setting("model_input_names") {
        None => Ok(!WITHOUT_TYPES.contains(&class)),
        Some(Value::Array(names)) => Ok(names.iter().any(|name| name == "token_type_ids")),
        Some(other) => bail!("`model_input_names` in tokenizer_config.json is {other}; it must be a list of names"),
    }
}

/// Whether a pipeline is the one that transformers builds for its class.
fn is_pipeline(pipeline: Pipeline, library: &Library, special: &Special) -> Result<bool> {
    let usual = match pipeline {
        Pipeline::AsItIs => return Ok(false),
        Pipeline::Bert => {
            matches!(library.get_normalizer(), Some(NormalizerWrapper::BertNormalizer(normalizer)) if normalizer.clean_text)
                && matches!(library.get_pre_tokenizer(), Some(PreTokenizerWrapper::BertPreTokenizer(_)))
                && matches!(library.get_model(), ModelWrapper::WordPiece(model)
                    if model.continuing_subword_prefix == "##" && model.max_input_chars_per_word == LONGEST_WORD)
        }
        Pipeline::ByteLevel => {
            let is_plain = |text: &Option<String>| text.as_deref().unwrap_or_default().is_empty();
            library.get_normalizer().is_none()
                && matches!(library.get_pre_tokenizer(), Some(PreTokenizerWrapper::ByteLevel(level)) if level.use_regex)
                && matches!(library.get_model(), ModelWrapper::BPE(BPE {
                    dropout: None, byte_fallback: false, ignore_merges: false,
                    continuing_subword_prefix: prefix, end_of_word_suffix: suffix, ..
                }) if is_plain(prefix) && is_plain(suffix))
        }
    };
    let (start, end) = if pipeline == Pipeline::Bert { ("[CLS]", "[SEP]") } else { ("<s>", "</s>") };
    let id = |role: &str, default: &str| library.token_to_id(&special.token_or(role, default));
    let ends = (id("cls_token", start), id("sep_token", end));
    let (before, after) = surroundings(library)?;
    Ok(usual && ends.0.is_some_and(|id| before == [id]) && ends.1.is_some_and(|id| after == [id]))
}

/// The class of a folder's tokenizer, as `AutoTokenizer` finds it.
fn class_of(special: &Special, dir: &Path) -> Result<Option<String>> {
    let model = json(&dir.join("config.json"))?;
    let named = |config: &Value| Some(config.get("tokenizer_class")?.as_str()?.to_owned());
    let by_type = || {
        let model_type = model.get("model_type")?.as_str()?;
        OF_MODEL.iter().find(|(name, _)| *name == model_type).map(|(_, class)| (*class).to_owned())
    };
    Ok(special.class_name().or_else(|| named(&model)).or_else(by_type))
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
