//! Training steps of `pipe` at the shapes of `shared/peers/hf_train_step.py`, one JSON line in the same format.
//!
//! `cargo bench --bench train_step -- [--model roberta-mini|roberta-base|deberta-v3-base] [--batch 16] [--length 64] [--steps 8]
//! [--lora 16] [--infer true]`

mod shapes;

use std::time::Instant;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use pipe_ml::compress::lora::{LoraConfig, Targets};
use pipe_ml::compute::allocator::{self, Allocator};
use pipe_ml::compute::dropout::Pass;
use pipe_ml::model::{Config, Model};
use pipe_ml::text::batch::{Batch, Padding};
use pipe_ml::train::fit::peak_memory_bytes;
use pipe_ml::train::objective::Objective;
use pipe_ml::train::optimizer::{Accumulated, AdamW, AdamWSettings};
use shapes::{Options, config, median, rows};

// The same allocator as in the binary.
#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> anyhow::Result<()> {
    allocator::hold_freed_memory();
    let options = Options::read();
    let (batch, length) = (options.number("batch", 16)?, options.number("length", 64)?);
    let steps = options.number("steps", 8)?;
    let name = options.text("model", "roberta-mini");
    let config = config(name)?;
    if options.text("infer", "false") == "true" {
        return infer(&config, name, [batch, length, steps]);
    }
    let device = Device::flex().autodiff();
    let mut model = Model::init(&config, 0, &device)?.train();
    let rank = options.number("lora", 0)?;
    if rank > 0 {
        let lora = LoraConfig {
            rank,
            alpha: 2.0 * rank as f64,
            dropout: 0.1,
            targets: Targets::of(&["all-linear".into()]),
            rslora: false,
            modules_to_save: Vec::new(),
        };
        model = model.add_lora(&lora, 0)?;
    }
    let split = rows(batch, length);
    let rows: Vec<usize> = (0..batch).collect();
    let objective = Objective::cross_entropy();
    let mut optimizer = AdamW::new(AdamWSettings { weight_decay: 0.01, ..AdamWSettings::default() }, &model, &device);
    let (mut times, mut parts) = (Vec::new(), [const { Vec::new() }; 4]);
    for step in 0..steps + 2 {
        let start = Instant::now();
        let mut last = start;
        let mut lap = |part: usize| {
            if step >= 2 {
                parts[part].push(last.elapsed().as_secs_f64() * 1e3);
            }
            last = Instant::now();
        };
        let batch = Batch::collect(&split, &rows, 1, Padding::Bucketed);
        let (ids, mask) = batch.to_device(&device);
        let logits = model.forward(ids, mask, &mut Pass::step(1, step as u64));
        let loss: Tensor<1> = objective.loss(logits, &batch, batch.len() as f64);
        lap(0);
        let gradients = loss.backward();
        lap(1);
        let mut grads = Accumulated::default();
        grads.add(&model, gradients, &optimizer)?;
        lap(2);
        let (updated, norm) = optimizer.step(model, grads, 2e-5, Some(1.0))?;
        model = updated;
        norm.read()?;
        let loss = loss.into_scalar::<f32>();
        lap(3);
        anyhow::ensure!(loss.is_finite(), "the loss is {loss}");
        if step >= 2 {
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    let ms = median(&mut times);
    let [forward, backward, collect, update] = parts.each_mut().map(|times| median(times));
    println!(
        "{}",
        serde_json::json!({
            "model": name, "lora": rank, "device": "cpu", "dtype": "f32", "batch": batch, "length": length, "steps": steps,
            "threads": std::thread::available_parallelism().map_or(1, usize::from),
            "ms_per_step": ms, "samples_per_s": batch as f64 / ms * 1e3,
            "forward_ms": forward, "backward_ms": backward, "collect_ms": collect, "update_ms": update,
            "peak_memory_mb": peak_memory_bytes().map(|bytes| bytes / 1_000_000),
        })
    );
    Ok(())
}

/// Forward passes only.
fn infer(config: &Config, name: &str, [batch, length, steps]: [usize; 3]) -> anyhow::Result<()> {
    let device = Device::flex();
    let model = Model::init(config, 0, &device)?.valid();
    let batch = Batch::collect(&rows(batch, length), &(0..batch).collect::<Vec<_>>(), 1, Padding::Bucketed);
    let mut times = Vec::new();
    for step in 0..steps + 2 {
        let start = Instant::now();
        let (ids, mask) = batch.to_device(&device);
        let logits: Vec<f32> = model.forward(ids, mask, &mut Pass::Off).try_into_data()?.try_into_vec()?;
        anyhow::ensure!(logits.iter().all(|x| x.is_finite()), "the logits are {logits:?}");
        if step >= 2 {
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    let ms = median(&mut times);
    println!(
        "{}",
        serde_json::json!({
            "model": name, "infer": true, "device": "cpu", "dtype": "f32", "batch": batch.len(), "length": length,
            "threads": std::thread::available_parallelism().map_or(1, usize::from),
            "ms_per_step": ms, "samples_per_s": batch.len() as f64 / ms * 1e3,
            "peak_memory_mb": peak_memory_bytes().map(|bytes| bytes / 1_000_000),
        })
    );
    Ok(())
}
