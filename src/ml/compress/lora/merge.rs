//! Merges an adapter folder into its base model.

use std::path::Path;

use anyhow::{Result, ensure};
use burn::tensor::Device;

use super::folder;
use super::folder::load_adapter;
use crate::model::names::PEFT;
use crate::model::{Config, Initialised, Model, peft};

/// A merged model, with notes and warnings for the user.
pub struct Merged {
    pub model: Model,
    pub notes: Vec<String>,
    pub warnings: Vec<String>,
}

/// Merge an adapter, written by PEFT or [`save_adapter`](super::save_adapter), into its base model.
///
/// `labels` are those of the head that was stored with the adapter. Without them, the labels are those of a `config.json`
/// beside the adapter, or the base's if their number matches the head, and numbered ones otherwise.
pub fn merge(base: &Path, adapter: &Path, labels: Option<&[String]>) -> Result<Merged> {
    let config = Config::open(base)?;
    let (head, outputs) = folder::head(adapter)?.unwrap_or((config.head(), config.labels().len()));
    let labels = match (labels, folder::labels(adapter, outputs)?) {
        (Some(labels), _) => labels.to_vec(),
        (None, Some(labels)) => labels,
        (None, None) if config.labels().len() == outputs => config.labels().to_vec(),
        (None, None) => (0..outputs).map(|i| format!("LABEL_{i}")).collect(),
    };
    ensure!(
        labels.len() == outputs,
        "got {} labels, but the head in {} has {outputs} outputs",
        labels.len(),
        adapter.display()
    );
    let loaded = Model::load_as(config.with_labels(&labels).with_head(head), base, 0, &Device::flex())?;
    let stored = peft::open(adapter)?;
    let fresh: Vec<String> = match loaded.initialised {
        Initialised::Nothing => Vec::new(),
        Initialised::Part(names) => names,
        Initialised::Everything => loaded.model.parameters().into_iter().map(|p| p.name).collect(),
    };
    // Tensors that neither folder has would be random values in a model that users take for trained.
    let absent: Vec<String> =
        fresh.into_iter().filter(|name| !stored.tensors.contains_key(&format!("{PEFT}{name}"))).collect();
    ensure!(
        absent.is_empty(),
        "neither the base in {} nor the adapter in {} has {}",
        base.display(),
        adapter.display(),
        absent.join(", ")
    );
    // The adapter supplies the fresh weights, so lines about them would mislead.
    let still_true = |lines: Vec<String>| lines.into_iter().filter(|l| !l.contains("initialised from seed")).collect();
    let (notes, warnings) = (still_true(loaded.notes), still_true(loaded.warnings));
    let (model, _) = load_adapter(loaded.model, adapter)?;
    Ok(Merged { model: model.merge_lora(), notes, warnings })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::dropout::Pass;
    use crate::model::fixture::Fixture;

    #[test]
    fn folders_of_peft_become_the_model_that_peft_merges() {
        for fixture in Fixture::adapters() {
            let merged = merge(&fixture.dir.join("base"), &fixture.dir.join("adapter"), None).expect("merged");
            assert!(merged.notes.is_empty() && merged.warnings.is_empty(), "{:?} {:?}", merged.notes, merged.warnings);
            let (ids, mask) = fixture.batch(&Device::flex());
            let difference = fixture.difference("merged_logits", merged.model.forward(ids, mask, &mut Pass::Off));
            assert!(difference < 1e-4, "{}: {difference}", fixture.name());
        }
    }

    #[test]
    fn an_adapter_with_a_deeper_head_brings_it() {
        use crate::compress::lora::{LoraConfig, Targets, save_adapter};
        use crate::model::head::HeadKind;
        let fixture = Fixture::open("bert-longest");
        let device = Device::flex();
        let labels = ["low", "middle", "high"].map(str::to_owned);
        let config = Config::open(&fixture.dir).expect("valid").with_labels(&labels).with_head(HeadKind::Mlp);
        let lora = LoraConfig {
            rank: 2,
            alpha: 4.0,
            dropout: 0.0,
            targets: Targets::usual(&config),
            rslora: false,
            modules_to_save: Vec::new(),
        };
        let model = Model::load_as(config, &fixture.dir, 5, &device).expect("loads").model;
        let model = model.add_lora(&lora, 5).expect("added");
        let dir = tempfile::tempdir().expect("a folder");
        save_adapter(&model, &lora, "hf:some/base@v2", dir.path()).expect("saved");
        let merged = merge(&fixture.dir, dir.path(), None).expect("merged").model;
        assert_eq!(merged.config().labels(), labels);
        assert!(merged.to_host().expect("host") == model.merge_lora().to_host().expect("host"));
        let config = std::fs::read_to_string(dir.path().join("adapter_config.json")).expect("read");
        let config: serde_json::Value = serde_json::from_str(&config).expect("JSON");
        assert!(config["base_model_name_or_path"] == "some/base" && config["revision"] == "v2", "{config}");
    }

    #[test]
    fn a_base_of_other_labels_takes_the_head_of_the_adapter() {
        let fixture = Fixture::open("lora-bert-rslora");
        let base = tempfile::tempdir().expect("a folder");
        for name in ["config.json", "model.safetensors"] {
            std::fs::copy(fixture.dir.join("base").join(name), base.path().join(name)).expect("copied");
        }
        let config = std::fs::read_to_string(base.path().join("config.json")).expect("read");
        let config: serde_json::Value = serde_json::from_str(&config).expect("JSON");
        let mut two = config.clone();
        two["id2label"] = serde_json::json!({"0": "no", "1": "yes"});
        std::fs::write(base.path().join("config.json"), two.to_string()).expect("written");
        let adapter = fixture.dir.join("adapter");
        let merged = merge(base.path(), &adapter, None).expect("merged");
        assert_eq!(merged.model.config().labels(), ["LABEL_0", "LABEL_1", "LABEL_2"]);
        let names = ["bad", "fair", "good"].map(str::to_owned);
        assert_eq!(merge(base.path(), &adapter, Some(&names)).expect("merged").model.config().labels(), names);
        let text = merge(base.path(), &adapter, Some(&names[..2])).map(|_| ()).expect_err("refused").to_string();
        assert!(text.starts_with("got 2 labels, but the head in "), "{text}");
        assert!(text.ends_with(" has 3 outputs"), "{text}");
        // Nothing can replace a base without weights.
        std::fs::remove_file(base.path().join("model.safetensors")).expect("removed");
        let text = merge(base.path(), &adapter, None).map(|_| ()).expect_err("refused").to_string();
        assert!(text.starts_with("neither the base in "), "{text}");
    }
}
