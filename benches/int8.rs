//! Scoring with a model in f32 and with the same in int8, one JSON line as `shared/peers/ort_int8.py` prints.
//!
//! `cargo bench --bench int8 -- [--model roberta-base|roberta-mini|deberta-v3-base] [--batch 16] [--length 64] [--steps 10]`

use std::collections::HashMap;
use std::time::Instant;

use burn::tensor::Device;
use pipe::ml::batch::{Batch, Padding};
use pipe::ml::classifier::Classifier;
use pipe::ml::data::tokens::Split;
use pipe::ml::model::{Config, Model};
use pipe::ml::quantize::{Request, Scheme, quantize};
use pipe::ml::watch::Silent;

// As in the binary: glibc gives big buffers back to the kernel every time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let options: HashMap<&str, &str> = arguments
        .windows(2)
        .filter(|pair| pair[0].starts_with("--"))
        .map(|pair| (&pair[0][2..], pair[1].as_str()))
        .collect();
    let number = |name: &str, default: usize| options.get(name).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (batch, length, steps) = (number("batch", 16), number("length", 64), number("steps", 10));
    let name = options.get("model").copied().unwrap_or("roberta-base");
    let (f32, int8) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let model = Model::init(&Config::parse(&config(name)?.to_string())?, 0, &Device::flex())?;
    model.save(f32.path(), model.config().labels())?;
    drop(model);
    let request = Request::new(Scheme::Int8);
    let report = quantize(f32.path(), int8.path(), &request, &Silent)?;

    let mut split = Split::default();
    for row in 0..batch {
        let ids: Vec<u32> = (0..length).map(|i| 5 + ((row * length + i) * 7919 % 900) as u32).collect();
        split.push(&ids, (row % 5) as u32, String::new());
    }
    let rows: Vec<usize> = (0..batch).collect();
    let models = [f32.path(), int8.path()].map(|dir| Classifier::open(dir, &Device::flex()));
    let (mut times, mut logits) = ([const { Vec::new() }; 2], [const { Vec::new() }; 2]);
    // In turns, so that what else the machine does slows both down.
    for step in 0..steps + 2 {
        for (i, model) in models.iter().enumerate() {
            let model = model.as_ref().map_err(|error| anyhow::anyhow!("{error:#}"))?;
            let start = Instant::now();
            let (ids, mask) = Batch::collect(&split, &rows, 1, Padding::Bucketed).to_device(model.device());
            logits[i] = model.logits(ids, mask)?;
            if step >= 2 {
                times[i].push(start.elapsed().as_secs_f64());
            }
        }
    }
    let [f32_s, int8_s] = times.each_mut().map(|times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    });
    let farthest = logits[0].iter().zip(&logits[1]).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
    let rate = |seconds: f64| batch as f64 / seconds;
    println!(
        "{}",
        serde_json::json!({
            "model": name, "batch": batch, "length": length, "steps": steps,
            "threads": std::thread::available_parallelism().map_or(1, usize::from),
            "f32_samples_per_s": rate(f32_s), "int8_samples_per_s": rate(int8_s),
            "f32_best_ms": times[0][0] * 1e3, "int8_best_ms": times[1][0] * 1e3,
            "speed_up": f32_s / int8_s, "speed_up_of_best": times[0][0] / times[1][0],
            "f32_mb": report.bytes_before as f64 / 1e6, "int8_mb": report.bytes_after as f64 / 1e6,
            "logits_differ_by": farthest,
        })
    );
    Ok(())
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
