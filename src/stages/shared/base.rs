//! Shared by the kinds that run a model: finding a base model, opening the device, checking labels.

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::labels::label_order;
use pipe_engine::contract::context::Context;
use pipe_engine::contract::event::{Event, Observer};
use pipe_engine::contract::kind::{External, What};
use pipe_engine::contract::origin::{Fetched, Origin};
use pipe_engine::contract::progress;
use pipe_ml::compute::device;
use pipe_ml::compute::device::{Chosen, Want};
use pipe_ml::files::weights;
use pipe_ml::hub;
use pipe_ml::hub::Need;
use pipe_ml::judge::readable::check_tokens;
use pipe_ml::model::config::Config;
use pipe_ml::text::data::{Cleaning, Tokens};
use pipe_ml::text::tokenizer;
use pipe_ml::watch::{Measured, Progress, Watch};

/// `hf:OWNER/NAME@REVISION`, pinned by its commit.
pub const HUB: Origin = Origin { prefix: "hf:", held, fetch };

fn held(reference: &str, what: What) -> Result<Option<Fetched>> {
    Ok(hub::held(reference, need(reference, what)?)?.map(|found| Fetched { dir: found.dir, identity: found.commit }))
}

fn fetch(reference: &str, what: What, observer: &dyn Observer) -> Result<Fetched> {
    let found = hub::resolve(reference, need(reference, what)?, &Download { reference, observer })?;
    Ok(Fetched { dir: found.dir, identity: found.commit })
}

/// What a stage needs of a reference: a whole model, or only its tokenizer.
fn need(reference: &str, what: What) -> Result<Need> {
    match what {
        What::Folder => Ok(Need::Model),
        What::Files(_) => Ok(Need::Tokenizer),
        What::Tree if reference.starts_with("hf:datasets/") => Ok(Need::Dataset),
        What::Tree => bail!("{reference} names a model; a data set is hf:datasets/OWNER/NAME"),
        What::File => bail!("{reference} names a model on the Hub, but a file is needed here"),
    }
}

/// Reports the progress of a download. Downloads happen before the first stage, so Ctrl-C simply ends the process.
struct Download<'a> {
    reference: &'a str,
    observer: &'a dyn Observer,
}

impl Watch for Download<'_> {
    fn progress(&self, p: Progress) {
        let progress = progress::Progress { done: p.done, total: p.total, unit: p.unit.into(), ..Default::default() };
        self.observer.event(&Event::Progress { stage: self.reference.into(), progress });
    }

    /// Nothing is evaluated during a download.
    fn measured(&self, _: Measured) {}

    fn note(&self, text: String) {
        self.observer.event(&Event::Note { stage: self.reference.into(), text });
    }

    fn warn(&self, text: String) {
        self.observer.event(&Event::Warning { stage: Some(self.reference.into()), text });
    }

    fn stopped(&self) -> bool {
        false
    }
}

/// How many device stages can run at a time for a `--device`: 0 for the CPU, 1 for GPUs (several GPUs serve one stage).
pub fn gpus(device: &str) -> Result<usize> {
    let want: Want = device.parse()?;
    Ok(match want {
        Want::Cpu => 0,
        Want::Cuda(_) | Want::Wgpu(_) => 1,
        Want::Auto => usize::from(device::open(&want)?.name != "cpu"),
    })
}

/// A base model: a folder, or a name on the Hub.
pub fn external(key: &'static str, path: &str) -> External {
    External { name: key.into(), key, path: path.into(), what: What::Folder }
}

/// Open the device that `--device` asks for; with `auto`, note which one was chosen and why.
pub fn device(cx: &mut Context) -> Result<Chosen> {
    let chosen = device::open(&cx.device().parse()?)?;
    cx.used_device(&chosen.name);
    if cx.device() == "auto" && chosen.name != "cpu" {
        cx.note(format!("device {}: {}", chosen.name, chosen.why));
    }
    Ok(chosen)
}

/// The tokens on the port `tokens`, after checking that they fit the trained model in `dir`; `model_for` puts its labels
/// into their order.
pub fn tokens_for(dir: &Path, cx: &Context) -> Result<Tokens> {
    let tokens = Tokens::open(&cx.input("tokens")?.dir)?;
    let config = Config::open(dir)?;
    label_order(config.labels(), &tokens, "the model")?;
    check_tokens(&config, &tokens)?;
    check_rows(&cx.input("tokens")?.dir, dir, "the model")?;
    Ok(tokens)
}

/// Refuse tokens that the trained model in `dir` cannot judge: of another tokenizer than its own, or of pairs of texts if
/// it was trained on single ones, or the other way round. `whose` is what messages call the model: `the teacher`.
pub fn check_rows(tokens: &Path, dir: &Path, whose: &str) -> Result<()> {
    check_pairs(tokens, dir, whose)?;
    check_tokenizer(tokens, dir, &format!("{whose}'s"), TAKE_THE_MODELS)
}

/// Refuse pairs of texts for a model that was trained on single ones, and the other way round. A model that does not say
/// what it was trained on takes both.
pub fn check_pairs(tokens: &Path, dir: &Path, whose: &str) -> Result<()> {
    let (Some(rows), Some(trained)) = (Cleaning::open(tokens)?, Cleaning::open(dir)?) else { return Ok(()) };
    match (trained.pairs, rows.pairs) {
        (true, false) => bail!(
            "{whose} was trained on pairs of texts, but the tokens are of single texts; name the second text with \
             `text-pair` in the sources of `preprocess`"
        ),
        (false, true) => bail!(
            "{whose} was trained on single texts, but the tokens are of pairs; leave out `text-pair` in the sources of \
             `preprocess`, or train a model on pairs"
        ),
        _ => Ok(()),
    }
}

/// Refuse tokens that another tokenizer than that of the model in `dir` made: the model would read other words. A folder
/// without weights learns the words of the tokens, whatever its own tokenizer is.
pub fn check_tokenizer(tokens: &Path, dir: &Path, whose: &str, help: &str) -> Result<()> {
    if !tokenizer::is_in(dir) || weights::files(dir)?.is_empty() {
        return Ok(());
    }
    match tokenizer::difference(tokens, dir)? {
        None => Ok(()),
        Some(difference) => {
            bail!("the tokens were made with another tokenizer than {whose}; they differ in {difference}; {help}")
        }
    }
}

/// What to do about tokens of another tokenizer than a trained model's.
pub const TAKE_THE_MODELS: &str = "make the tokens with the tokenizer that the model was trained with";

/// What to do about tokens of another tokenizer than the base's.
pub const TAKE_THE_BASES: &str = "set `tokenizer = \"base\"` in the stage that makes the tokens";

/// Copy the files of a model artifact except its weights and the files in `except`.
pub fn copy_but_weights(from: &Path, to: &Path, except: &[&str]) -> Result<()> {
    let weights = weights::files(from)?;
    for entry in std::fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let path = entry?.path();
        let Some(name) = path.file_name() else { continue };
        let left_out = weights.contains(&path) || name == weights::INDEX || except.iter().any(|e| name == *e);
        if path.is_file() && !left_out {
            // Not `fs::copy`, which would copy the cache's read-only mode.
            let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            std::fs::write(to.join(name), bytes)
                .with_context(|| format!("cannot write {}", to.join(name).display()))?;
        }
    }
    Ok(())
}
