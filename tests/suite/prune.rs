//! `prune` through the binary: its results, recovery that survives a kill, and invalid parameters.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use super::project::{PIPELINE, Project};
use super::training::{kill_at, start};

const PRUNED: &str = "use = \"prune@0.3\"\nin.model = \"teacher\"\n";

/// A project with this stage `pruned`, and dropout in every model.
pub fn project(pruned: &str) -> Project {
    let p = Project::new();
    p.write("p.toml", &PIPELINE.replacen(PRUNED, &format!("in.model = \"teacher\"\n{pruned}"), 1));
    let config = fs::read_to_string(p.path("tiny/config.json")).unwrap();
    p.write("tiny/config.json", &config.replace("_dropout_prob\": 0.0", "_dropout_prob\": 0.1"));
    p
}

pub fn file(p: &Project, stage: &str, name: &str) -> PathBuf {
    p.folder("p.toml", stage).join(name)
}

/// The weights of all linear layers by name, in the layout `[out, in]`.
fn matrices(p: &Project, stage: &str) -> Vec<(String, Vec<f32>)> {
    let bytes = fs::read(file(p, stage, "model.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let matrix = |(name, view): (String, safetensors::tensor::TensorView)| {
        let is_linear = view.shape().len() == 2 && !name.contains("embeddings");
        let values = view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        is_linear.then_some((name, values))
    };
    tensors.tensors().into_iter().filter_map(matrix).collect()
}

fn zeros(values: &[f32]) -> usize {
    values.iter().filter(|v| **v == 0.0).count()
}

/// The content of `pruning.json`.
pub fn report(p: &Project, stage: &str) -> Value {
    serde_json::from_slice(&fs::read(file(p, stage, "pruning.json")).unwrap()).unwrap()
}

#[test]
fn a_pruned_model_recovers_keeps_its_zeros_and_is_quantized_next() {
    let p = project(
        "use = \"prune@0.5\"\nin.tokens = \"tokens\"\nrecover-epochs = 2\nlearning-rate = 1e-3\nweight-decay = 0.1\n",
    );
    let chain = fs::read_to_string(p.path("p.toml")).unwrap();
    p.write(
        "p.toml",
        &chain.replace(
            "use = \"quantize@int8\"\nin.model = \"teacher\"",
            "use = \"quantize@int8\"\nin.model = \"pruned\"",
        ),
    );
    let ran = p.run(&["scores"]);
    assert!(ran.contains(&"scores[int8]".to_string()), "{ran:?}");
    assert_eq!(p.run(&["scores"]), [""; 0]);

    let report = report(&p, "pruned");
    let (before, after) = (matrices(&p, "teacher"), matrices(&p, "pruned"));
    let layers = report["layers"].as_array().unwrap();
    assert_eq!(layers.len(), after.len());
    for (name, values) in &after {
        let layer = layers.iter().find(|layer| layer["name"] == name.as_str()).unwrap();
        assert_eq!(zeros(values), values.len() / 2, "{name}");
        assert_eq!(layer["zeroed"], values.len() / 2, "{name}");
        let teacher = &before.iter().find(|(other, _)| other == name).unwrap().1;
        assert!(values.iter().zip(teacher).any(|(a, b)| *a != 0.0 && a != b), "{name} was not trained");
    }
    assert_eq!(report["achieved"], 0.5);
    assert_eq!(report["pruning"]["method"]["magnitude"]["sparsity"], 0.5);
    assert_eq!(report["recovery"]["epochs"], 2);
    let training: Value = serde_json::from_slice(&fs::read(file(&p, "pruned", "training.json")).unwrap()).unwrap();
    assert_eq!(training["steps"], report["recovery"]["steps"]);
    assert_eq!(training["best"]["epoch"], report["recovery"]["best_epoch"]);
    // Quantization keeps zeros.
    let accuracy =
        |stage: &str| -> Value { serde_json::from_slice(&fs::read(file(&p, stage, "metrics.json")).unwrap()).unwrap() };
    let (pruned, int8) = (accuracy("scores[pruned].metrics"), accuracy("scores[int8].metrics"));
    assert!(int8["non_zero"].as_u64().unwrap() <= pruned["non_zero"].as_u64().unwrap(), "{int8} {pruned}");
}

#[test]
fn killed_at_random_steps_a_gradual_recovery_ends_in_the_same_bits() {
    let pruned = "use = \"prune@0.6\"\nscope = \"global\"\ntargets = [\"ffn\", \"attention\"]\ngradual = { steps = 12, until = 0.6 }\n\
                  in.tokens = \"tokens\"\nrecover-epochs = 20\neval-steps = 7\nlearning-rate = 1e-3\nweight-decay = 0.1\n\
                  checkpoint-minutes = 0\n";
    let undisturbed = project(pruned);
    undisturbed.run(&["pruned"]);
    let p = project(pruned);
    p.run(&["teacher"]);
    let (mut kills, mut at) = (Vec::new(), 0);
    for round in 0u8..8 {
        // Repeatable random numbers: 1 to 40 of 160 steps further.
        at += 1 + u64::from(blake3::hash(&[round]).as_bytes()[1]) % 40;
        let Some(step) = kill_at(&p, start(&p, "pruned"), at) else { break };
        kills.push(step);
        at = step;
    }
    assert!(kills.len() >= 3, "killed after steps {kills:?} only");
    println!("killed after steps {kills:?}");
    p.run(&["pruned"]);
    assert_eq!(p.digest("pruned"), undisturbed.digest("pruned"));

    let report = report(&p, "pruned");
    let (zeroed, weights) = (report["zeroed"].as_u64().unwrap(), report["weights"].as_u64().unwrap());
    assert_eq!(zeroed, (0.6 * weights as f64 + 1e-6) as u64);
    let shares: Vec<f64> = report["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| layer["zeroed"].as_f64().unwrap() / layer["weights"].as_f64().unwrap())
        .collect();
    assert!(shares.iter().any(|share| (share - 0.6).abs() > 0.002), "global: {shares:?}");
    for (name, values) in matrices(&p, "pruned").iter().filter(|(name, _)| name.starts_with("classifier")) {
        assert_eq!(zeros(values), 0, "{name} is no target");
    }
}

#[test]
fn a_pattern_holds_in_each_group_of_the_layers_it_is_asked_for() {
    let p = project("use = \"prune\"\npattern = \"2:4\"\ntargets = [\"layer.*.attention.*.query\", \"ffn\"]\n");
    let (code, _, err) = p.pipe(&["run", "p.toml", "pruned"]);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains(" weights in 6 matrices are zero (50.0 %)"), "{err}");
    for (name, values) in matrices(&p, "pruned") {
        let is_target = !name.starts_with("classifier") && (name.contains("query") || !name.contains("attention"));
        if is_target {
            assert!(values.chunks(4).all(|group| zeros(group) == 2), "{name}");
        } else {
            assert_eq!(zeros(&values), 0, "{name}");
        }
    }
    assert_eq!(report(&p, "pruned")["pruning"]["method"]["pattern"], "2:4");
}

/// Check the error of `pipe plan` for an invalid stage `pruned`.
#[track_caller]
pub fn refused(pruned: &str, said: &[&str]) {
    let p = project(pruned);
    let (code, _, err) = p.pipe(&["plan", "p.toml"]);
    assert_eq!(code, 2, "{pruned}: {err}");
    for words in said {
        assert!(err.contains(words), "{pruned}: `{words}` is not in\n{err}");
    }
}

#[test]
fn parameters_that_make_no_sense_are_refused_before_anything_runs() {
    let recover = "in.tokens = \"tokens\"\nrecover-epochs = 1\n";
    refused("use = \"prune@1.0\"\n", &["sparsity is 1; it must be at least 0 and below 1"]);
    refused("use = \"prune\"\n", &["neither `sparsity` nor `pattern` is set"]);
    refused(
        "use = \"prune\"\npattern = \"4:2\"\n",
        &["pattern is `4:2`; it must be n:m with 1 ≤ n < m ≤ 32", "p.toml:"],
    );
    refused("use = \"prune@0.3\"\npattern = \"2:4\"\n", &["sparsity is 0.3, but the pattern 2:4 gives 0.5"]);
    refused("use = \"prune\"\npattern = \"2:4\"\nscope = \"global\"\n", &["scope is global, but the pattern 2:4"]);
    refused("use = \"prune@0.3\"\ntargets = []\n", &["targets is empty"]);
    refused("use = \"prune@0.3\"\ntargets = [\"\"]\n", &["a target is empty"]);
    refused(
        "use = \"prune@0.3\"\ngradual = { steps = 4 }\n",
        &["`gradual` needs recovery training, but recover-epochs is 0"],
    );
    refused(&format!("use = \"prune@0.3\"\ngradual = {{ steps = 0 }}\n{recover}"), &["gradual.steps is 0"]);
    refused(
        &format!("use = \"prune\"\npattern = \"2:4\"\ngradual = {{ steps = 2 }}\n{recover}"),
        &["cannot be reached gradually"],
    );
    refused(&format!("use = \"prune@0.3\"\nbatch-size = 0\n{recover}"), &["batch-size is 0; at least 1 is needed"]);
    refused(
        &format!("use = \"prune@0.3\"\nepochs = 3\n{recover}"),
        &["`prune` has no parameter `epochs`", "recover-epochs"],
    );
    refused(
        "use = \"prune@0.3\"\nlearning-rate = 1e-3\n",
        &[
            "`learning-rate` is set, but `prune` trains nothing without `recover-epochs`",
            "add `recover-epochs = 1` and `in.tokens`, or remove this line",
        ],
    );
    refused(
        "use = \"prune@0.3\"\nrecover-epochs = 1\n",
        &[
            "stage `pruned` has no input on port `tokens`",
            "recover-epochs = 1",
            "`recover-epochs` needs tokens",
            "add `in.tokens = \"STAGE\"`; stages that give tokens: tokens",
        ],
    );
}

/// Check the error with which the stage `pruned` fails.
#[track_caller]
pub fn fails(p: &Project, said: &[&str]) {
    let (code, _, err) = p.pipe(&["run", "p.toml", "pruned"]);
    assert_eq!(code, 1, "{err}");
    for words in said {
        assert!(err.contains(words), "`{words}` is not in\n{err}");
    }
    assert!(!err.contains("panicked"), "{err}");
}

#[test]
fn what_the_model_does_not_allow_is_said_with_what_it_has() {
    fails(
        &project("use = \"prune@0.3\"\ntargets = [\"ffn\", \"qeury\"]\n"),
        &[
            "target `qeury` matches no linear layer of the model; there are classifier.dense, classifier.out_proj, roberta.encoder.layer.*.attention.output.dense",
        ],
    );
    fails(&project("use = \"prune\"\npattern = \"3:7\"\n"), &["inputs, not a multiple of 7 (pattern 3:7)"]);
    fails(
        &project("use = \"prune@0.3\"\nin.tokens = \"tokens\"\nrecover-epochs = 1\ngradual = { steps = 50 }\n"),
        &["gradual.steps is 50, but the full sparsity is due after 4 of 8 optimizer steps"],
    );
    let p = project("use = \"prune@0.3\"\n");
    let text = fs::read_to_string(p.path("p.toml")).unwrap();
    p.write(
        "p.toml",
        &text.replacen("in.model = \"teacher\"\nuse = \"prune@0.3\"", "in.model = \"int8\"\nuse = \"prune@0.3\"", 1),
    );
    fails(&p, &["the model is quantized; prune it before `quantize`"]);
}

#[test]
fn rows_with_other_labels_are_refused() {
    let p = project("use = \"prune@0.3\"\nin.tokens = \"others\"\nrecover-epochs = 1\n");
    let text = fs::read_to_string(p.path("p.toml")).unwrap();
    let others = "[stage.other-corpus]\nuse = \"preprocess\"\nsources = [{ path = \"other.csv\", format = \"csv\" }]\n\
                  [stage.others]\nuse = \"tokenize@32\"\nin.corpus = \"other-corpus\"\ntokenizer = \"tiny\"\n";
    p.write("p.toml", &format!("{text}{others}"));
    p.write("other.csv", &Project::csv(40).replace("happy", "glad"));
    fails(&p, &["the model classifies into cross, happy, but the tokens are labelled cross, glad"]);
}
