//! Structured pruning through the binary: the smaller models, the stages after it, and invalid parameters.

use std::fs;

use serde_json::Value;

use super::families::{BERT, DEBERTA, DISTILBERT, base};
use super::project::Project;
use super::prune::{fails, file, project, refused, report};
use super::training::{kill_at, start};

fn json(p: &Project, stage: &str, name: &str) -> Value {
    serde_json::from_slice(&fs::read(file(p, stage, name)).unwrap()).unwrap()
}

/// The whole chain: neurons removed, one epoch of recovery, quantization, scores, and an ONNX file.
#[test]
fn a_smaller_model_recovers_is_quantized_scored_and_converted() {
    let p = project(
        "use = \"prune@0.4\"\nstructure = [\"ffn\"]\nlayers = [1]\nin.tokens = \"tokens\"\nrecover-epochs = 1\n\
         learning-rate = 1e-3\n",
    );
    let text = fs::read_to_string(p.path("p.toml")).unwrap().replace(
        "use = \"quantize@int8\"\nin.model = \"teacher\"",
        "use = \"quantize@int8\"\nin.model = \"pruned\"\nin.tokens = \"tokens\"",
    );
    p.write("p.toml", &format!("{text}[stage.file]\nuse = \"convert@onnx\"\nin.model = \"pruned\"\n"));
    let (code, _, err) = p.pipe(&["run", "p.toml", "scores", "file"]);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("kept 1 of 2 layers: [1]"), "{err}");
    assert!(err.contains("kept 160 of 256 neurons of each layer; the removed ones had "), "{err}");
    assert!(err.contains(" % of the importance, measured on 32 validation rows"), "{err}");
    assert_eq!(p.run(&["scores", "file"]), [""; 0]);

    let config = json(&p, "pruned", "config.json");
    assert_eq!((&config["intermediate_size"], &config["num_hidden_layers"]), (&160.into(), &1.into()));
    let said = report(&p, "pruned");
    let removed = &said["removed"];
    assert_eq!(removed["layers"], serde_json::json!([1]));
    assert_eq!((&removed["neurons"]["width_before"], &removed["neurons"]["width_after"]), (&256.into(), &160.into()));
    assert_eq!(removed["neurons"]["layers"].as_array().unwrap().len(), 1);
    let layer = &removed["neurons"]["layers"][0];
    assert_eq!(layer["removed"], 96);
    let lost = layer["importance_removed"].as_f64().unwrap();
    // The removed neurons have less than their share of the importance.
    assert!(lost > 0.0 && lost < 0.375, "{layer}");
    assert!(layer["largest_removed"].as_f64() <= layer["smallest_kept"].as_f64(), "{layer}");
    assert_eq!(said["recovery"]["epochs"], 1);
    let before = json(&p, "scores[teacher].metrics", "metrics.json");
    let after = json(&p, "scores[pruned].metrics", "metrics.json");
    assert_eq!(
        (&before["parameters"], &after["parameters"]),
        (&removed["parameters_before"], &removed["parameters_after"])
    );
    assert_eq!((&before["bytes"], &after["bytes"]), (&said["bytes_before"], &said["bytes_after"]));
    assert!(after["parameters"].as_u64() < before["parameters"].as_u64(), "{after}");
    let int8 = json(&p, "scores[int8].metrics", "metrics.json");
    assert!(int8["bytes"].as_u64().unwrap() * 2 < after["bytes"].as_u64().unwrap(), "{int8}");
    rten::Model::load_file(file(&p, "file", "model.onnx")).unwrap();
}

#[test]
fn every_family_becomes_smaller_under_the_names_of_its_config() {
    for (config, tokenizer, [width, layers]) in [
        (DEBERTA, "deberta", ["intermediate_size", "num_hidden_layers"]),
        (BERT, "bert", ["intermediate_size", "num_hidden_layers"]),
        (DISTILBERT, "bert", ["hidden_dim", "n_layers"]),
    ] {
        let p = project(
            "use = \"prune@0.4\"\nstructure = [\"ffn\"]\nlayers = [0]\nin.tokens = \"tokens\"\ncalibration = 8\n",
        );
        base(&p, config, tokenizer);
        let (code, _, err) = p.pipe(&["run", "p.toml", "scores[pruned]"]);
        assert_eq!(code, 0, "{err}");
        assert!(err.contains("kept 29 of 48 neurons of each layer"), "{err}");
        let config = json(&p, "pruned", "config.json");
        assert_eq!((&config[width], &config[layers]), (&29.into(), &1.into()), "{config}");
        assert_eq!(report(&p, "pruned")["removed"]["neurons"]["rows"], 8);
        let (code, out, err) = p.pipe(&["predict", "p.toml:pruned", "--text", "the queue was awful"]);
        assert!(code == 0 && out.contains("\"label\""), "{out}{err}");
    }
}

#[test]
fn layers_alone_need_no_rows_and_copy_what_stays() {
    let p = project("use = \"prune\"\nlayers = [1]\n");
    let (code, _, err) = p.pipe(&["run", "p.toml", "pruned"]);
    assert_eq!(code, 0, "{err}");
    assert!(report(&p, "pruned")["removed"].get("neurons").is_none());
    let tensors = |stage: &str| fs::read(file(&p, stage, "model.safetensors")).unwrap();
    let (teacher, pruned) = (tensors("teacher"), tensors("pruned"));
    let teacher = safetensors::SafeTensors::deserialize(&teacher).unwrap();
    let pruned = safetensors::SafeTensors::deserialize(&pruned).unwrap();
    for name in pruned.names() {
        let old = name.replace(".layer.0.", ".layer.1.");
        assert!(pruned.tensor(name).unwrap() == teacher.tensor(&old).unwrap(), "{name}");
    }
    // It has the teacher's tokenizer.
    assert!(file(&p, "pruned", "tokenizer.json").is_file());
}

#[test]
fn a_killed_recovery_of_a_smaller_model_goes_on_and_ends_in_the_same_bits() {
    let pruned = "use = \"prune@0.4\"\nstructure = [\"ffn\"]\nin.tokens = \"tokens\"\nrecover-epochs = 10\nlearning-rate = 1e-3\n\
                  checkpoint-minutes = 0\n";
    let undisturbed = project(pruned);
    undisturbed.run(&["pruned"]);
    let p = project(pruned);
    p.run(&["teacher"]);
    let killed = kill_at(&p, start(&p, "pruned"), 17);
    assert!(killed.is_some(), "it was done before it could be killed");
    let (code, _, err) = p.pipe(&["run", "p.toml", "pruned"]);
    assert!(code == 0 && err.contains("resuming from step"), "{err}");
    assert_eq!(p.digest("pruned"), undisturbed.digest("pruned"));
}

#[test]
fn what_contradicts_itself_is_refused_before_anything_runs() {
    let ffn = |more: &str| format!("use = \"prune@0.4\"\nstructure = [\"ffn\"]\nin.tokens = \"tokens\"\n{more}");
    let layers = |list: &str| format!("use = \"prune\"\nlayers = {list}\n");
    refused(
        &ffn("scope = \"global\"\n"),
        &["`scope` and `structure` are both set", "`scope` applies to single weights, `structure` removes whole parts"],
    );
    refused(&ffn("targets = [\"ffn\"]\n"), &["`targets` and `structure` are both set"]);
    refused(&format!("{}targets = [\"ffn\"]\n", layers("[0]")), &["`targets` and `layers` are both set"]);
    refused(
        "use = \"prune\"\nstructure = [\"ffn\"]\npattern = \"2:4\"\nin.tokens = \"tokens\"\n",
        &["`pattern` and `structure` are both set", "`structure` is set, but no share to remove"],
    );
    refused(&ffn("gradual = { steps = 2 }\nrecover-epochs = 1\n"), &["`gradual` and `structure` are both set"]);
    refused(&ffn("calibration = 0\n"), &["calibration is 0; at least 1 row is needed"]);
    refused(&ffn("").replace("@0.4", "@1.0"), &["sparsity is 1; it must be at least 0 and below 1"]);
    refused(
        "use = \"prune@0.4\"\nstructure = [\"ffn\"]\n",
        &["stage `pruned` has no input on port `tokens`", "`structure` needs tokens"],
    );
    refused(&ffn("").replace("ffn", "heads"), &["would not load in `transformers`", "structure = [\"ffn\"]"]);
    refused(&ffn("").replace("ffn", "neurons"), &["neurons", "ffn"]);
    refused("use = \"prune@0.4\"\nlayers = [0]\n", &["`sparsity` has no effect with `layers` alone"]);
    refused(&layers("[]"), &["layers is empty; at least 1 is needed"]);
    refused(&layers("0"), &["layers is 0; at least 1 is needed"]);
    refused(&layers("[1, 0]"), &["layers is [1, 0]; list each layer once, in ascending order"]);
    refused(&layers("[1, 1]"), &["layers is [1, 1]; list each layer once, in ascending order"]);
    refused(&layers("[-1]"), &["-1"]);
}

#[test]
fn what_the_model_or_the_rows_do_not_allow_is_said() {
    fails(
        &project("use = \"prune\"\nlayers = [0, 2]\n"),
        &["cannot keep the layers [0, 2]: the model has 2, numbered 0 to 1"],
    );
    fails(&project("use = \"prune\"\nlayers = 3\n"), &["cannot keep 3 layers: the model has only 2; lower `layers`"]);
    let p = project("use = \"prune@0.4\"\nstructure = [\"ffn\"]\nin.tokens = \"tokens\"\n");
    let text = fs::read_to_string(p.path("p.toml")).unwrap();
    p.write("p.toml", &text.replace("validation = 0.2", "validation = 0"));
    fails(&p, &["there are no validation rows to measure which neurons matter; set `validation` in `preprocess`"]);
}
