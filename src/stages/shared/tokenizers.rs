//! Finds, before the first stage runs, tokens of another tokenizer than that of the model that reads them.

use std::path::Path;

use pipe_engine::contract::ahead::Ahead;
use pipe_engine::contract::kind::Invalid;
use pipe_ml::files::weights;
use pipe_ml::text::tokenizer;

use super::base::TAKE_THE_MODELS;

/// A tokenizer on this machine, and the parameter that names it.
#[derive(Clone, Copy)]
struct Named<'a> {
    stage: Ahead<'a>,
    key: &'static str,
    dir: &'a Path,
}

impl<'a> Named<'a> {
    fn external(stage: Ahead<'a>, key: &'static str) -> Option<Self> {
        let dir = stage.external(key).filter(|dir| tokenizer::is_in(dir))?;
        Some(Self { stage, key, dir })
    }

    /// The tokenizer of what a stage makes. None if it is not known yet, because it is learned or not on this machine.
    ///
    /// A trained model has the tokenizer of its tokens, and a compressed one that of the model it was made from.
    fn of(mut stage: Ahead<'a>) -> Option<Self> {
        while let Some(from) = stage.input("model").or_else(|| stage.input("tokens")) {
            stage = from;
        }
        ["tokenizer", "model", "adapter", "base"].into_iter().find_map(|key| Self::external(stage, key))
    }

    /// `` `models/tiny`, pipeline.toml:12 ``.
    fn shown(&self) -> String {
        let value = self.stage.parameters().get(self.key).and_then(|value| value.as_str()).unwrap_or_default();
        format!("`{value}`, {}", self.stage.line(self.key))
    }

    /// What this tokenizer has instead of what the other has.
    fn difference(&self, other: &Named<'_>, reader: &Ahead<'_>) -> Option<String> {
        if self.dir == other.dir || !reader.must_run() {
            return None;
        }
        let question = format!("tokenizers {} {}", self.dir.display(), other.dir.display());
        // A folder that cannot be read is an error of the stage that reads it.
        reader.remembered(&question, || tokenizer::difference(self.dir, other.dir).ok().flatten())
    }
}

/// Refuse tokens of another tokenizer than that of the base that `key` names. A base without weights learns the words of
/// the tokens, whatever its own tokenizer is.
pub fn check_base(stage: &Ahead<'_>, key: &'static str) -> Option<Invalid> {
    let base = Named::external(*stage, key)?;
    if weights::files(base.dir).ok()?.is_empty() {
        return None;
    }
    let source = stage.input("tokens")?;
    let tokens = Named::of(source)?;
    let difference = tokens.difference(&base, stage)?;
    let message = format!(
        "stage `{}` gives tokens of another tokenizer ({}) than that of the {key} of stage `{}` ({}); they differ in {difference}",
        source.name(),
        tokens.shown(),
        stage.name(),
        base.shown()
    );
    Some(Invalid::new(key, message).help(format!("set `tokenizer = \"base\"` in stage `{}`", tokens.stage.name())))
}

/// Refuse tokens on one port of a stage of another tokenizer than that of the model on another.
pub fn check_model(stage: &Ahead<'_>, model: &'static str, tokens: &'static str) -> Option<Invalid> {
    let (source, made_by) = (stage.input(tokens)?, stage.input(model)?);
    let (ours, theirs) = (Named::of(source)?, Named::of(made_by)?);
    let difference = ours.difference(&theirs, stage)?;
    let message = format!(
        "stage `{}` gets tokens of stage `{}` and the {model} of stage `{}`, which have different tokenizers ({}; {}); they \
         differ in {difference}",
        stage.name(),
        source.name(),
        made_by.name(),
        ours.shown(),
        theirs.shown()
    );
    let help = match (model, tokens) {
        ("teacher", "tokens") => "set `in.teacher-tokens` to tokens of the teacher's tokenizer",
        _ => TAKE_THE_MODELS,
    };
    Some(Invalid::new(tokens, message).help(help))
}
