//! Training steps of `pipe` at the shapes of `shared/peers/hf_train_step.py`, one JSON line as it prints.
//!
//! `cargo bench --bench train_step -- [--model roberta-mini|roberta-base|deberta-v3-base] [--batch 16] [--length 64] [--steps 8]
//! [--lora 16] [--infer true]`

use std::collections::HashMap;
use std::time::Instant;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use pipe::allocator::{self, Allocator};
use pipe::ml::batch::{Batch, Padding};
use pipe::ml::data::tokens::Split;
use pipe::ml::dropout::Noise;
use pipe::ml::fit::peak_memory_bytes;
use pipe::ml::lora::{LoraConfig, Targets};
use pipe::ml::model::{Config, Model};
use pipe::ml::objective::Objective;
use pipe::ml::optimizer::{Accumulated, AdamW, AdamWSettings};

// As in the binary.
#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> anyhow::Result<()> {
    allocator::hold_freed_memory();
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let options: HashMap<&str, &str> = arguments
        .windows(2)
        .filter(|pair| pair[0].starts_with("--"))
        .map(|pair| (&pair[0][2..], pair[1].as_str()))
        .collect();
    let number = |name: &str, default: usize| options.get(name).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (batch, length, steps) = (number("batch", 16), number("length", 64), number("steps", 8));
    let name = options.get("model").copied().unwrap_or("roberta-mini");
    let config = Config::parse(&config(name)?.to_string())?;
    if options.contains_key("infer") {
        return infer(&config, name, [batch, length, steps]);
    }
    let device = Device::flex().autodiff();
    let mut model = Model::init(&config, 0, &device)?.train();
    let rank = number("lora", 0);
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
        let logits = model.forward(ids, mask, &mut Noise::step(1, step as u64));
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

/// Forward passes alone.
fn infer(config: &Config, name: &str, [batch, length, steps]: [usize; 3]) -> anyhow::Result<()> {
    let device = Device::flex();
    let model = Model::init(config, 0, &device)?.valid();
    let batch = Batch::collect(&rows(batch, length), &(0..batch).collect::<Vec<_>>(), 1, Padding::Bucketed);
    let mut times = Vec::new();
    for step in 0..steps + 2 {
        let start = Instant::now();
        let (ids, mask) = batch.to_device(&device);
        let logits: Vec<f32> = model.forward(ids, mask, &mut Noise::Off).try_into_data()?.try_into_vec()?;
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

/// Rows of random-looking tokens.
fn rows(batch: usize, length: usize) -> Split {
    let mut split = Split::default();
    for row in 0..batch {
        let ids: Vec<u32> = (0..length).map(|i| 5 + ((row * length + i) * 7919 % 50_000) as u32).collect();
        split.push(&ids, (row % 5) as u32, String::new());
    }
    split
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The `config.json` of a model of five labels.
fn config(name: &str) -> anyhow::Result<serde_json::Value> {
    let (layers, hidden, heads) = match name {
        "roberta-mini" => (4, 256, 4),
        "roberta-base" | "deberta-v3-base" => (12, 768, 12),
        other => anyhow::bail!("unknown model {other}: roberta-mini, roberta-base or deberta-v3-base"),
    };
    let mut config = serde_json::json!({
        "hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads, "intermediate_size": 4 * hidden,
        "num_labels": 5,
    });
    let family = if name.starts_with("deberta") {
        serde_json::json!({
            "model_type": "deberta-v2", "vocab_size": 128100, "max_position_embeddings": 512, "relative_attention": true,
            "position_buckets": 256, "norm_rel_ebd": "layer_norm", "share_att_key": true, "pos_att_type": ["p2c", "c2p"],
            "position_biased_input": false, "type_vocab_size": 0, "layer_norm_eps": 1e-7,
        })
    } else {
        serde_json::json!({
            "model_type": "roberta", "vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1,
            "pad_token_id": 1, "layer_norm_eps": 1e-5,
        })
    };
    for (field, value) in family.as_object().into_iter().flatten() {
        config[field] = value.clone();
    }
    Ok(config)
}
