//! Builds a `tokenizers` pipeline from a sentencepiece model, for DeBERTa-v2/v3 and XLM-R.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use serde_json::to_value;
use tokenizers::decoders::byte_fallback::ByteFallback;
use tokenizers::decoders::sequence::Sequence as Decoders;
use tokenizers::models::unigram::Unigram as Model;
use tokenizers::normalizers::replace::ReplacePattern;
use tokenizers::normalizers::{Lowercase, NormalizerWrapper, Precompiled, Replace, Sequence};
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::pre_tokenizers::punctuation::Punctuation;
use tokenizers::pre_tokenizers::sequence::Sequence as PreTokenizers;
use tokenizers::{AddedToken, ModelWrapper, PreTokenizerWrapper, SplitDelimiterBehavior, Tokenizer as Library};

use super::special::{Special, required, template, verbatim};
use super::spm::{Algorithm, PieceKind, Spm};
use super::unigram::{Ids, Unigram};

/// A sentencepiece model with the settings from the files beside it.
pub(super) struct SentencePiece {
    spm: Spm,
    path: PathBuf,
    family: Family,
    is_lowercase: bool,
    splits_punctuation: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// `spm.model`.
    Deberta,
    /// `sentencepiece.bpe.model`, which is a unigram model despite its name.
    XlmRoberta,
}

impl SentencePiece {
    /// Wrap the model that was read from `path`. Fails if the model or its settings are not supported.
    pub(super) fn new(spm: Spm, path: &Path, family: Family, special: &Special) -> Result<Self> {
        let classes = match family {
            Family::Deberta => ["DebertaV2Tokenizer"],
            Family::XlmRoberta => ["XLMRobertaTokenizer"],
        };
        special.class(path, &classes)?;
        let refuse = |what: &str| anyhow!("{}: {what}; {HELP}", path.display());
        match spm.algorithm {
            Algorithm::Unigram => {}
            other => return Err(refuse(&format!("it is a {other:?} model, but only Unigram is supported"))),
        }
        if spm.rules.space_as_suffix || !spm.rules.escape_spaces {
            return Err(refuse("its setting of `treat_whitespace_as_suffix` or `escape_whitespaces` is not supported"));
        }
        let vocabulary = special.setting("vocab_type").and_then(|kind| kind.as_str()).unwrap_or("spm");
        if vocabulary != "spm" {
            return Err(refuse(&format!("`vocab_type` {vocabulary} in tokenizer_config.json is not supported")));
        }
        let kinds = spm.pieces.iter().take(3).map(|piece| piece.kind);
        if family == Family::XlmRoberta && !kinds.eq([PieceKind::Unknown, PieceKind::Control, PieceKind::Control]) {
            return Err(refuse("its first pieces are not those of XLM-R (<unk>, <s>, </s>)"));
        }
        Ok(SentencePiece {
            spm,
            path: path.to_owned(),
            family,
            // Only DeBERTa's tokenizer has these settings; XLM-R's ignores them.
            is_lowercase: family == Family::Deberta && special.flag("do_lower_case")?.unwrap_or(false),
            splits_punctuation: family == Family::Deberta && special.flag("split_by_punct")?.unwrap_or(false),
        })
    }

    /// The pipeline, as `DebertaV2Converter` and `XLMRobertaConverter` in transformers build it, with two differences
    /// that give sentencepiece's ids: characters without a piece are spelled as bytes if the model says so, and spaces
    /// are trimmed after the replacements, because some replacements produce spaces.
    pub(super) fn build(&self, special: &Special, dir: &Path) -> Result<Library> {
        let (vocabulary, unknown) = self.vocabulary();
        let byte_fallback = self.spm.byte_fallback;
        let model = Model::from(vocabulary, Some(unknown), byte_fallback).map_err(|error| anyhow!(error))?;
        let mut library = Library::new(model);
        let decoder = Decoders::new(vec![ByteFallback::new().into(), self.metaspace().into()]);
        library
            .with_normalizer(self.normalizer()?)
            .map_err(|error| anyhow!(error))?
            .with_pre_tokenizer(Some(self.pre_tokenizer()))
            .with_decoder(Some(decoder));
        let defined = self.spm.pieces.iter().filter(|piece| piece.kind == PieceKind::UserDefined);
        let defined: Vec<AddedToken> =
            defined.map(|piece| AddedToken::from(piece.text.clone(), false).normalized(false)).collect();
        let (start, end, others) = self.roles(special);
        let id = |token: &String| Ok::<_, anyhow::Error>((token.clone(), required(&library, token, &self.path)?));
        let (single, pair) = match self.family {
            Family::Deberta => ("{start}:0 $A:0 {end}:0", "{start}:0 $A:0 {end}:0 $B:1 {end}:1"),
            Family::XlmRoberta => ("{start} $A {end}", "{start} $A {end} {end} $B {end}"),
        };
        let ends = template(&[id(&start)?, id(&end)?], single, pair)?;
        library.with_post_processor(Some(ends));
        let mut roles: Vec<AddedToken> = [start, end].into_iter().map(verbatim).chain(others).collect();
        special.add_to(&mut library, &roles, dir)?;
        // DeBERTa's file never contains the mask; its id is the first after the file's, and the models have a row for
        // it.
        if self.family == Family::Deberta
            && let Some(mask) = roles.pop()
            && library.token_to_id(&mask.content).is_none()
        {
            library.add_special_tokens([mask]).map_err(|error| anyhow!(error))?;
        }
        library.add_tokens(defined).map_err(|error| anyhow!(error))?;
        Ok(library)
    }

    /// Sentencepiece's own algorithm for the ids of the pipeline that [`SentencePiece::build`] builds.
    pub(super) fn encoder(&self) -> Result<Option<Unigram>> {
        if self.splits_punctuation {
            return Ok(None);
        }
        let ids = match self.family {
            Family::Deberta => Ids::Same,
            Family::XlmRoberta => Ids::Fairseq,
        };
        Unigram::new(&self.spm, ids, self.is_lowercase).map(Some)
    }

    /// True if `library` equals that pipeline.
    pub(super) fn makes(&self, library: &Library) -> Result<bool> {
        let ModelWrapper::Unigram(model) = library.get_model() else { return Ok(false) };
        let (vocabulary, _) = self.vocabulary();
        Ok(model.byte_fallback() == self.spm.byte_fallback
            && model.iter().eq(&vocabulary)
            && to_value(library.get_normalizer())? == to_value(self.normalizer()?)?
            && to_value(library.get_pre_tokenizer())? == to_value(self.pre_tokenizer())?)
    }

    /// Pieces with their scores by id, and the id of the unknown piece.
    fn vocabulary(&self) -> (Vec<(String, f64)>, usize) {
        let pieces = self.spm.pieces.iter().map(|piece| (piece.text.clone(), f64::from(piece.score)));
        match self.family {
            Family::Deberta => (pieces.collect(), self.spm.unknown()),
            Family::XlmRoberta => {
                let special = |token: &str| (token.to_owned(), 0.0);
                let first = ["<s>", "<pad>", "</s>", "<unk>"].map(special);
                (first.into_iter().chain(pieces.skip(3)).chain([special("<mask>")]).collect(), 3)
            }
        }
    }

    fn normalizer(&self) -> Result<Option<NormalizerWrapper>> {
        let mut steps: Vec<NormalizerWrapper> = Vec::new();
        if self.is_lowercase {
            steps.push(Lowercase.into());
        }
        if !self.spm.rules.charsmap.is_empty() {
            let rules = Precompiled::from(&self.spm.rules.charsmap);
            steps.push(rules.map_err(|_| anyhow!("its normalisation rules are damaged"))?.into());
        }
        if self.spm.rules.single_spaces {
            for (pattern, content) in [("^ +| +$", ""), (" {2,}", " ")] {
                let pattern = ReplacePattern::Regex(pattern.to_owned());
                steps.push(Replace::new(pattern, content).map_err(|error| anyhow!(error))?.into());
            }
        }
        Ok((!steps.is_empty()).then(|| Sequence::new(steps).into()))
    }

    fn pre_tokenizer(&self) -> PreTokenizerWrapper {
        let metaspace = self.metaspace().into();
        if !self.splits_punctuation {
            return metaspace;
        }
        PreTokenizers::new(vec![Punctuation::new(SplitDelimiterBehavior::Isolated).into(), metaspace]).into()
    }

    fn metaspace(&self) -> Metaspace {
        let scheme = if self.spm.rules.dummy_prefix { PrependScheme::Always } else { PrependScheme::Never };
        Metaspace::new('▁', scheme, !self.spm.joins_words())
    }

    /// The tokens before and after a text, and the other special tokens.
    fn roles(&self, special: &Special) -> (String, String, Vec<AddedToken>) {
        let role = |role: &str, default: &str| special.token_or(role, default);
        match self.family {
            Family::Deberta => {
                let others = [role("pad_token", "[PAD]"), role("unk_token", "[UNK]"), role("mask_token", "[MASK]")];
                (role("cls_token", "[CLS]"), role("sep_token", "[SEP]"), others.map(verbatim).to_vec())
            }
            Family::XlmRoberta => {
                let mut others = [role("pad_token", "<pad>"), role("unk_token", "<unk>")].map(verbatim).to_vec();
                others.push(verbatim(role("mask_token", "<mask>")).lstrip(true));
                (role("cls_token", "<s>"), role("sep_token", "</s>"), others)
            }
        }
    }
}

const HELP: &str = "open the folder with `AutoTokenizer` of transformers and save it, which writes the tokenizer.json \
                    that this program reads";
