//! What the kinds that run a model have in common: finding a base model, opening the device, checking tokens against it.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};

use crate::engine::event::{self, Event, Observer};
use crate::engine::kind::{Context, External, Fetched, Remote, What};
use crate::ml::data::Tokens;
use crate::ml::device::{self, Chosen, Want};
use crate::ml::model::config::Config;
use crate::ml::model::hub::{self, Need};
use crate::ml::model::weights;
use crate::ml::watch::{Progress, Watch};

/// `hf:OWNER/NAME@REVISION`, pinned by its commit.
pub const HUB: Remote = Remote { prefix: "hf:", held, fetch };

fn held(reference: &str, what: What) -> Result<Option<Fetched>> {
    Ok(hub::held(reference, need(reference, what)?)?.map(|found| Fetched { dir: found.dir, identity: found.commit }))
}

fn fetch(reference: &str, what: What, observer: &dyn Observer) -> Result<Fetched> {
    let found = hub::resolve(reference, need(reference, what)?, &Download { reference, observer })?;
    Ok(Fetched { dir: found.dir, identity: found.commit })
}

/// Stages take a model, or the tokenizer of one.
fn need(reference: &str, what: What) -> Result<Need> {
    match what {
        What::Folder => Ok(Need::Model),
        What::Files(_) => Ok(Need::Tokenizer),
        What::File => bail!("{reference} names a model on the Hub, and this is to be a file"),
    }
}

/// Tells how far a download is; it happens before the first stage, so Ctrl-C simply ends the process.
struct Download<'a> {
    reference: &'a str,
    observer: &'a dyn Observer,
}

impl Watch for Download<'_> {
    fn progress(&self, p: Progress) {
        let progress =
            event::Progress { done: p.done, total: p.total, unit: p.unit.into(), ..event::Progress::default() };
        self.observer.event(&Event::Progress { stage: self.reference.into(), progress });
    }

    fn note(&self, text: String) {
        self.observer.event(&Event::Note { stage: self.reference.into(), text });
    }

    fn stopped(&self) -> bool {
        false
    }
}

/// How many stages a `--device` can serve at a time: none for the CPU. Several GPUs all work for the same stage.
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

/// The device that `--device` asks for; says which, and why.
pub fn device(cx: &mut Context) -> Result<Chosen> {
    let chosen = device::open(&cx.device().parse()?)?;
    cx.used_device(&chosen.name);
    if cx.device() == "auto" && chosen.name != "cpu" {
        cx.note(format!("device {}: {}", chosen.name, chosen.why));
    }
    Ok(chosen)
}

/// Whether `tokens` can go through the model in `dir`: long rows and foreign ids would fail deep inside, or worse, not fail.
pub fn check_fit(tokens: &Tokens, dir: &Path) -> Result<()> {
    let config = Config::open(dir)?;
    let splits = [&tokens.train, &tokens.validation, &tokens.test];
    let longest = splits.iter().flat_map(|s| (0..s.len()).map(|i| s.row(i).len())).max().unwrap_or(0);
    ensure!(
        longest <= config.max_length(),
        "the longest row has {longest} tokens, but the model in {} has {} positions; lower the max-length of `tokenize`",
        dir.display(),
        config.max_length()
    );
    let highest = splits.iter().flat_map(|s| (0..s.len()).flat_map(|i| s.row(i))).max().copied().unwrap_or(0);
    ensure!(
        (highest as usize) < config.vocab_size(),
        "the tokens hold id {highest}, but the model in {} knows {} ids; tokenize with the tokenizer of the model",
        dir.display(),
        config.vocab_size()
    );
    // A model treats the id as padding wherever it meets it: a real token of that id would lose its place and its training.
    ensure!(
        tokens.pad_id == config.pad_id(),
        "the tokens are padded with id {}, but the padding id of the model in {} is {} (`pad_token_id` of its config.json); \
         tokenize with the tokenizer of the model",
        tokens.pad_id,
        dir.display(),
        config.pad_id()
    );
    Ok(())
}

/// Whether a model that is an artifact of its own classifies into the labels of `tokens`.
pub fn check_labels(labels: &[String], tokens: &Tokens, whose: &str) -> Result<()> {
    ensure!(
        labels == tokens.labels,
        "{whose} classifies into {}, but the tokens are labelled {}",
        labels.join(", "),
        tokens.labels.join(", ")
    );
    Ok(())
}

/// The tokens on the port `tokens`, which must suit the model in `dir`, an artifact of its own.
pub fn tokens_for(dir: &Path, cx: &Context) -> Result<Tokens> {
    let tokens = Tokens::open(&cx.input("tokens")?.dir)?;
    check_labels(Config::open(dir)?.labels(), &tokens, "the model")?;
    check_fit(&tokens, dir)?;
    Ok(tokens)
}

/// Copy the files of a model artifact but for its weights and `except`.
pub fn copy_but_weights(from: &Path, to: &Path, except: &[&str]) -> Result<()> {
    let weights = weights::files(from)?;
    for entry in std::fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let path = entry?.path();
        let Some(name) = path.file_name() else { continue };
        let left_out = weights.contains(&path) || name == weights::INDEX || except.iter().any(|e| name == *e);
        if path.is_file() && !left_out {
            // Bytes, not `fs::copy`: the copy must not inherit the cache's read-only mode.
            let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            std::fs::write(to.join(name), bytes)
                .with_context(|| format!("cannot write {}", to.join(name).display()))?;
        }
    }
    Ok(())
}
