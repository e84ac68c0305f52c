//! Loading and saving a model of RoBERTa-base's shape: time compared with reading the file, and memory.
//!
//! `cargo bench --bench load -- [f32|f16|bin] [FOLDER]`. Each measurement runs in a separate process, to measure its
//! own peak.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use burn::tensor::Device;
use pipe_ml::files::weights;
use pipe_ml::files::weights::Encoded;
use pipe_ml::judge::classifier::Classifier;
use pipe_ml::model::{Config, Model};

// The same allocator as in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CONFIG: &str = r#"{"architectures": ["RobertaForSequenceClassification"], "model_type": "roberta", "vocab_size": 50265,
    "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
    "max_position_embeddings": 514, "type_vocab_size": 1, "pad_token_id": 1, "layer_norm_eps": 1e-5,
    "id2label": {"0": "a", "1": "b", "2": "c"}, "label2id": {"a": 0, "b": 1, "c": 2}}"#;

/// Rounds of each measurement; the median counts.
const ROUNDS: usize = 7;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["one", what, dir] => one(what, Path::new(dir)),
        [dtype, dir] => all(dtype, Path::new(dir)),
        [dtype] => all(dtype, tempfile::tempdir()?.path()),
        [] => all("f32", tempfile::tempdir()?.path()),
        _ => bail!("usage: load [f32|f16|bin] [FOLDER]"),
    }
}

/// Make the model if it does not exist yet, and measure.
fn all(dtype: &str, dir: &Path) -> Result<()> {
    if weights::files(dir)?.is_empty() {
        ensure!(dtype != "bin", "{} needs a pytorch_model.bin and its config.json", dir.display());
        let model = Model::init(&Config::parse(CONFIG)?, 1, &Device::flex())?;
        model.save(dir, model.config().labels())?;
        if dtype == "f16" {
            let tensors = model.to_host()?.into_iter().map(|(name, tensor)| (name, Encoded::f16(&tensor)));
            weights::write(&dir.join(weights::SINGLE), &tensors.collect::<BTreeMap<_, _>>())?;
        }
    }
    for what in ["read", "load", "open", "save"] {
        let mut measured: Vec<Measured> = (0..ROUNDS).map(|_| child(what, dir)).collect::<Result<_>>()?;
        measured.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        let Measured { seconds, processor, peak } = measured[ROUNDS / 2];
        println!("{dtype} {what:<5} {seconds:.3} s, of processors {processor:.2} s, peak {:.0} MB", peak / 1e6);
    }
    Ok(())
}

struct Measured {
    seconds: f64,
    /// Processor time of all cores together, which other programs disturb less.
    processor: f64,
    /// Peak of the resident memory above that at the start, in bytes.
    peak: f64,
}

fn child(what: &str, dir: &Path) -> Result<Measured> {
    let output = Command::new(std::env::current_exe()?).args(["one", what]).arg(dir).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let numbers: Vec<f64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let [seconds, processor, peak] = numbers[..] else { bail!("{text}: not three numbers") };
    Ok(Measured { seconds, processor, peak })
}

fn one(what: &str, dir: &Path) -> Result<()> {
    let device = Device::flex();
    let out = tempfile::tempdir_in(dir)?;
    let loaded = if what == "save" { Some(Model::load(dir, None, 0, &device)?) } else { None };
    let files: Vec<PathBuf> = weights::files(dir)?;
    let (before, worked) = (peak()?, processor()?);
    let start = Instant::now();
    match what {
        "read" => drop(files.iter().map(std::fs::read).collect::<std::io::Result<Vec<_>>>()?),
        "load" => drop(Model::load(dir, None, 0, &device)?),
        "open" => drop(Classifier::open(dir, &device)?),
        _ => loaded.iter().try_for_each(|loaded| loaded.model.save(out.path(), loaded.model.config().labels()))?,
    }
    println!("{} {} {}", start.elapsed().as_secs_f64(), processor()? - worked, peak()? - before);
    Ok(())
}

/// Processor seconds of all threads so far.
fn processor() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // After the name in brackets, user and system time are the 12th and 13th field, in hundredths of a second.
    let fields = stat.rsplit(')').next().context("no name")?.split_whitespace();
    let ticks: Vec<f64> = fields.skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / 100.0)
}

/// The peak of the resident memory so far, in bytes.
fn peak() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1024.0)
}
