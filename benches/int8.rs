//! Scoring with a model in f32 and in int8, one JSON line as `shared/peers/ort_int8.py` prints. With `--intermediate`,
//! also with a model whose feed-forward halves have this width, as `prune` with `structure = ["ffn"]` leaves them.
//!
//! `cargo bench --bench int8 -- [--model roberta-base|roberta-mini|deberta-v3-base] [--batch 16] [--length 64] [--steps 10]
//! [--intermediate 1840]`

mod shapes;

use std::time::Instant;

use anyhow::Result;
use burn::tensor::Device;
use pipe_ml::compress::quantize::{QuantizeReport, Request, Scheme, quantize};
use pipe_ml::judge::classifier::Classifier;
use pipe_ml::model::{Config, Model};
use pipe_ml::text::batch::{Batch, Padding};
use pipe_ml::text::data::tokens::Split;
use pipe_ml::watch::Silent;
use serde_json::json;
use shapes::{Options, config, median, rows};

// The same allocator as in the binary: glibc returns big buffers to the kernel every time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<()> {
    let options = Options::read();
    let (batch, length) = (options.number("batch", 16)?, options.number("length", 64)?);
    let steps = options.number("steps", 10)?;
    let name = options.text("model", "roberta-base");
    let whole = config(name)?;
    let narrow = options.given("intermediate")?;
    let narrow_config = narrow.map(|width| whole.with_intermediate_size(width)).transpose()?;
    let ([mut f32, mut int8], report) = both(&whole)?;
    let mut pruned = narrow_config.map(|config| Ok::<_, anyhow::Error>(both(&config)?.0)).transpose()?;

    let split = rows(batch, length);
    // The models take turns, so that other load on the machine slows all of them down.
    for step in 0..steps + 2 {
        for model in [&mut f32, &mut int8].into_iter().chain(pruned.iter_mut().flatten()) {
            model.run(&split, step >= 2)?;
        }
    }
    let farthest = f32.logits.iter().zip(&int8.logits).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
    let rate = |model: &Timed| batch as f64 / median(&mut model.seconds.clone());
    let mut line = json!({
        "model": name, "batch": batch, "length": length, "steps": steps,
        "threads": std::thread::available_parallelism().map_or(1, usize::from),
        "f32_samples_per_s": rate(&f32), "int8_samples_per_s": rate(&int8),
        "f32_best_ms": f32.best() * 1e3, "int8_best_ms": int8.best() * 1e3,
        "speed_up": rate(&int8) / rate(&f32), "speed_up_of_best": f32.best() / int8.best(),
        "f32_mb": report.bytes_before as f64 / 1e6, "int8_mb": report.bytes_after as f64 / 1e6,
        "logits_differ_by": farthest,
    });
    if let (Some([narrow_f32, narrow_int8]), Some(width)) = (&pruned, narrow) {
        line["pruned"] = json!({
            "intermediate": width,
            "f32_samples_per_s": rate(narrow_f32), "int8_samples_per_s": rate(narrow_int8),
            "f32_best_ms": narrow_f32.best() * 1e3, "int8_best_ms": narrow_int8.best() * 1e3,
            "f32_speed_up": f32.over(narrow_f32), "f32_speed_up_of_best": f32.best() / narrow_f32.best(),
            "int8_speed_up": int8.over(narrow_int8), "int8_speed_up_of_best": int8.best() / narrow_int8.best(),
        });
    }
    println!("{line}");
    Ok(())
}

/// A model of this config in f32, and the same model in int8.
fn both(config: &Config) -> Result<([Timed; 2], QuantizeReport)> {
    let (f32, int8) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let model = Model::init(config, 0, &Device::flex())?;
    model.save(f32.path(), model.config().labels())?;
    drop(model);
    let request = Request::new(Scheme::Int8);
    let report = quantize(f32.path(), int8.path(), &request, &Silent)?;
    let open = |dir: &tempfile::TempDir| -> Result<Timed> {
        let model = Classifier::open(dir.path(), &Device::flex())?;
        Ok(Timed { model, seconds: Vec::new(), logits: Vec::new() })
    };
    Ok(([open(&f32)?, open(&int8)?], report))
}

/// A model, its times, and its last logits.
struct Timed {
    model: Classifier,
    seconds: Vec<f64>,
    logits: Vec<f32>,
}

impl Timed {
    fn run(&mut self, split: &Split, counts: bool) -> Result<()> {
        let rows: Vec<usize> = (0..split.len()).collect();
        let start = Instant::now();
        let (ids, mask) = Batch::collect(split, &rows, 1, Padding::Bucketed).to_device(self.model.device());
        self.logits = self.model.logits(ids, mask)?;
        if counts {
            self.seconds.push(start.elapsed().as_secs_f64());
        }
        Ok(())
    }

    fn best(&self) -> f64 {
        self.seconds.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// The median of the ratios of its times to the other's, pair by pair.
    fn over(&self, other: &Timed) -> f64 {
        median(&mut self.seconds.iter().zip(&other.seconds).map(|(a, b)| a / b).collect::<Vec<_>>())
    }
}
