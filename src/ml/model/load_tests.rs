//! Loading and saving model folders: tensor names, heads, shapes, damaged files.

use super::*;
use crate::model::fixture::Fixture;
use crate::model::head::HeadKind;
use crate::model::{HostTensor, HostTensors};
use std::fs;

const TINY: &str = r#"{"model_type": "roberta", "vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2,
    "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 20, "type_vocab_size": 1,
    "id2label": {"0": "no", "1": "yes"}, "_kept": "as it is"}"#;

fn names(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("class {i}")).collect()
}

fn tiny() -> Model {
    Model::init(&Config::parse(TINY).expect("valid"), 5, &Device::flex()).expect("built")
}

fn error(dir: &Path) -> String {
    let loaded = Model::load(dir, None, 0, &Device::flex());
    format!("{:#}", loaded.map(|_| ()).expect_err("refused"))
}

#[test]
fn what_is_saved_loads_equal_bit_by_bit() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let model = tiny();
    model.save(dir.path(), &["nein".into(), "ja".into()]).expect("saved");
    let loaded = Model::load(dir.path(), None, 99, &Device::flex()).expect("loads");
    assert_eq!(loaded.initialised, Initialised::Nothing);
    assert_eq!(loaded.model.to_host().expect("host"), model.to_host().expect("host"));
    assert_eq!(loaded.model.config().labels(), ["nein", "ja"]);
    assert_eq!(loaded.model.config().field("_kept"), Some(&serde_json::json!("as it is")));
}

#[test]
fn names_and_shapes_are_those_of_transformers() {
    let fixture = Fixture::open("roberta-tiny");
    let bytes = fs::read(fixture.dir.join("model.safetensors")).expect("read");
    let theirs = safetensors::SafeTensors::deserialize(&bytes).expect("valid");
    let dir = tempfile::tempdir().expect("a temporary folder");
    let loaded = Model::load(&fixture.dir, None, 0, &Device::flex()).expect("loads");
    loaded.model.save(dir.path(), loaded.model.config().labels()).expect("saved");
    let ours = fs::read(dir.path().join("model.safetensors")).expect("read");
    let ours = safetensors::SafeTensors::deserialize(&ours).expect("valid");
    assert_eq!(ours.len(), theirs.len());
    for (name, tensor) in theirs.tensors() {
        assert!(ours.tensor(&name).expect("same names") == tensor, "{name}");
    }
}

#[test]
fn a_head_for_other_labels_is_made_fresh_and_said_so() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let model = tiny();
    model.save(dir.path(), &names(2)).expect("saved");
    let loaded = Model::load(dir.path(), Some(&names(5)), 7, &Device::flex()).expect("loads");
    let fresh = vec!["classifier.out_proj.weight".to_owned(), "classifier.out_proj.bias".to_owned()];
    assert_eq!(loaded.initialised, Initialised::Part(fresh));
    assert_eq!(
        loaded.warnings,
        ["wrong shape for 5 labels, initialised from seed 7: classifier.out_proj.weight, classifier.out_proj.bias"]
    );
    let (before, after) = (model.to_host().expect("host"), loaded.model.to_host().expect("host"));
    assert_eq!(before["classifier.dense.weight"], after["classifier.dense.weight"]);
    assert_eq!(after["classifier.out_proj.weight"].shape, [5, 16]);
}

#[test]
fn a_deeper_head_is_made_fresh_on_the_encoder_and_loads_again() {
    for name in ["roberta-one-row", "bert-longest", "deberta-one-token"] {
        let fixture = Fixture::open(name);
        let device = Device::flex();
        let config = Config::open(&fixture.dir).expect("valid").with_head(HeadKind::Mlp);
        let loaded = Model::load_as(config, &fixture.dir, 3, &device).expect("loads");
        let layers = |part: &str| (0..3).map(|i| format!("classifier.layers.{i}.{part}")).collect::<Vec<_>>();
        let Initialised::Part(mut fresh) = loaded.initialised else { panic!("a fresh head") };
        fresh.sort();
        let mut expected = [layers("weight"), layers("bias")].concat();
        expected.sort();
        assert_eq!(fresh, expected, "{name}");
        let host = loaded.model.to_host().expect("host");
        let shapes = layers("weight").iter().map(|name| host[name].shape.clone()).collect::<Vec<_>>();
        assert_eq!(shapes, [[256, 24], [128, 256], [3, 128]]);

        let dir = tempfile::tempdir().expect("a temporary folder");
        loaded.model.save(dir.path(), &names(3)).expect("saved");
        let again = Model::load(dir.path(), None, 9, &device).expect("loads");
        assert_eq!(again.initialised, Initialised::Nothing, "{:?}", again.warnings);
        let logits = |model: &Model| {
            let (ids, mask) = fixture.batch(&device);
            model.forward(ids, mask, &mut crate::compute::dropout::Pass::Off).into_data()
        };
        assert_eq!(logits(&again.model), logits(&loaded.model), "{name}");
    }
}

#[test]
fn a_head_that_gets_other_labels_is_said_so() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    tiny().save(dir.path(), &["no".into(), "yes".into()]).expect("saved");
    let warnings = |labels: [&str; 2]| {
        let labels = labels.map(str::to_owned);
        Model::load(dir.path(), Some(&labels), 0, &Device::flex()).expect("loads").warnings
    };
    assert!(warnings(["no", "yes"]).is_empty());
    assert_eq!(
        warnings(["yes", "no"]),
        ["the head was trained for other labels or another label order: no → yes, yes → no"]
    );
}

#[test]
fn weights_that_nothing_reads_are_no_random_start() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    fs::write(dir.path().join("config.json"), TINY).expect("written");
    for name in ["model-00001-of-00002.safetensors", "tf_model.h5"] {
        fs::write(dir.path().join(name), "").expect("written");
    }
    let text = error(dir.path());
    assert!(
        text.contains("has model-00001-of-00002.safetensors, tf_model.h5, but neither model.safetensors"),
        "{text}"
    );
}

#[test]
fn fields_without_effect_are_named() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    fs::write(dir.path().join("config.json"), TINY.replace("_kept", "kept")).expect("written");
    let notes = Model::load(dir.path(), None, 0, &Device::flex()).expect("loads").notes;
    assert_eq!(notes[0], "config.json has unknown fields, which have no effect: kept");
}

#[test]
fn a_config_alone_starts_from_the_seed() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    fs::write(dir.path().join("config.json"), TINY).expect("written");
    let load = |seed| Model::load(dir.path(), None, seed, &Device::flex()).expect("loads");
    let one = load(5);
    assert_eq!(one.initialised, Initialised::Everything);
    let host = one.model.to_host().expect("host");
    assert_eq!(host, tiny().to_host().expect("host"));
    assert_ne!(host, load(6).model.to_host().expect("host"));
    assert!(host["roberta.embeddings.LayerNorm.weight"].data.iter().all(|v| *v == 1.0));
    assert!(host["classifier.dense.bias"].data.iter().all(|v| *v == 0.0));
    assert!(host["roberta.embeddings.word_embeddings.weight"].data[16..32].iter().all(|v| *v == 0.0));
}

#[test]
fn a_language_model_gets_a_fresh_head_and_loses_its_own() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    tiny().save(dir.path(), &names(2)).expect("saved");
    // Write the checkpoint of a bare encoder with old names, plus a language-model head.
    let path = dir.path().join("model.safetensors");
    let host = weights::read(std::slice::from_ref(&path)).expect("read");
    let renamed = host.into_iter().filter(|(name, _)| !name.starts_with("classifier")).map(|(name, tensor)| {
        let name = name.trim_start_matches("roberta.").replace("LayerNorm.weight", "LayerNorm.gamma");
        (name.replace("LayerNorm.bias", "LayerNorm.beta"), tensor)
    });
    let mut renamed: HostTensors = renamed.collect();
    let head = renamed["embeddings.LayerNorm.gamma"].clone();
    renamed.insert("lm_head.bias".into(), head);
    weights::write_f32(&path, &renamed).expect("written");
    let loaded = Model::load(dir.path(), None, 1, &Device::flex()).expect("loads");
    assert_eq!(loaded.notes.len(), 2, "{:?}", loaded.notes);
    assert!(loaded.notes[0].starts_with("not in the files, initialised from seed 1: classifier.dense.weight"));
    assert_eq!(loaded.notes[1], "not used by a classifier, ignored: lm_head.bias");
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    assert_eq!(loaded.unexpected, ["lm_head.bias"]);
    let (mut ours, mut expected) = (loaded.model.to_host().expect("host"), tiny().to_host().expect("host"));
    ours.retain(|name, _| name.starts_with("roberta"));
    expected.retain(|name, _| name.starts_with("roberta"));
    assert_eq!(ours, expected);
}

#[test]
fn files_that_do_not_fit_the_config_are_refused() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    tiny().save(dir.path(), &names(2)).expect("saved");
    let config = TINY.replace("\"intermediate_size\": 32", "\"intermediate_size\": 64");
    fs::write(dir.path().join("config.json"), config).expect("written");
    let text = error(dir.path());
    assert!(text.ends_with("has shape [32, 16]; config.json asks for [64, 16]"), "{text}");

    fs::write(dir.path().join("config.json"), TINY).expect("written");
    let strange = HostTensors::from([("wte.weight".into(), HostTensor { shape: vec![1], data: vec![0.0] })]);
    weights::write_f32(&dir.path().join("model.safetensors"), &strange).expect("written");
    let text = error(dir.path());
    assert!(text.contains("no tensor has a name of the `roberta` family"), "{text}");
    assert!(text.contains("the files contain, for example, wte.weight"), "{text}");
}

#[test]
fn weights_without_their_config_are_no_model() {
    // A crash while saving leaves this state.
    let dir = tempfile::tempdir().expect("a temporary folder");
    tiny().save(dir.path(), &names(2)).expect("saved");
    fs::remove_file(dir.path().join("config.json")).expect("removed");
    assert!(error(dir.path()).contains("config.json"), "{}", error(dir.path()));
}

#[test]
fn a_file_of_many_leftovers_is_read_for_the_parameters_alone() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let model = tiny();
    model.save(dir.path(), &names(2)).expect("saved");
    let path = dir.path().join("model.safetensors");
    let encoded = model.to_host().expect("host");
    let mut file: BTreeMap<String, weights::Encoded> =
        encoded.iter().map(|(name, tensor)| (name.clone(), weights::Encoded::f16(tensor))).collect();
    // Add tensors that are not parameters, with types that a parameter cannot have.
    for (name, dtype) in
        [("roberta.embeddings.position_ids", Dtype::I64), ("mask", Dtype::BOOL), ("f8", Dtype::F8_E4M3)]
    {
        let bytes = vec![0; 2 * dtype.bitsize() / 8];
        file.insert(name.into(), weights::Encoded { dtype, shape: vec![2], bytes });
    }
    weights::write(&path, &file).expect("written");
    let loaded = Model::load(dir.path(), None, 0, &Device::flex()).expect("loads");
    assert_eq!(
        (loaded.initialised, loaded.unexpected),
        (Initialised::Nothing, vec!["f8".to_owned(), "mask".to_owned()])
    );
    let halved = |v: &f32| half::f16::from_f32(*v).to_f32();
    for (name, tensor) in loaded.model.to_host().expect("host") {
        assert_eq!(tensor.data, encoded[&name].data.iter().map(halved).collect::<Vec<_>>(), "{name}");
    }

    let embeddings = file.get_mut("roberta.embeddings.LayerNorm.bias").expect("there");
    *embeddings = weights::Encoded { dtype: Dtype::F8_E4M3, shape: vec![16], bytes: vec![0; 16] };
    weights::write(&path, &file).expect("written");
    let text = error(dir.path());
    assert!(text.ends_with("tensor roberta.embeddings.LayerNorm.bias: values of type F8_E4M3 are not supported; supported types: f32, f16, bf16, f64, and pipe's int8 and int4"), "{text}");
    assert!(text.contains("model.safetensors"), "{text}");
}

#[test]
fn what_is_not_zero_is_counted_on_the_way() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    tiny().save(dir.path(), &names(2)).expect("saved");
    let loaded = Model::load(dir.path(), None, 0, &Device::flex()).expect("loads");
    let host = loaded.model.to_host().expect("host");
    let counted = host.values().map(|tensor| non_zero(&tensor.data)).sum::<usize>();
    // Biases and the rows for padding are zero in a fresh model.
    assert!(loaded.non_zero == counted && counted < loaded.model.count(), "{} {counted}", loaded.non_zero);
}

#[test]
fn the_wrong_number_of_labels_cannot_be_saved() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let text = tiny().save(dir.path(), &names(3)).expect_err("refused").to_string();
    assert!(text.starts_with("3 labels for a model with 2 outputs"), "{text}");
}

/// Write the tiny model with other names, and load it.
fn renamed(rename: impl Fn(String) -> Vec<(String, f32)>) -> (tempfile::TempDir, Result<Loaded>) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    tiny().save(dir.path(), &names(2)).expect("saved");
    let path = dir.path().join("model.safetensors");
    let mut tensors = HostTensors::new();
    for (name, tensor) in weights::read(std::slice::from_ref(&path)).expect("read") {
        for (name, factor) in rename(name) {
            let data = tensor.data.iter().map(|value| if factor.is_nan() { 1.0 } else { factor * value }).collect();
            tensors.insert(name, HostTensor { shape: tensor.shape.clone(), data });
        }
    }
    weights::write_f32(&path, &tensors).expect("written");
    let loaded = Model::load(dir.path(), None, 1, &Device::flex());
    (dir, loaded)
}

#[test]
fn wrappers_anywhere_in_a_name_leave_the_same_model() {
    let inside = |name: &str, part: &str, wrapper: &str| name.replace(part, &format!("{part}{wrapper}."));
    let ways: [&dyn Fn(String) -> Vec<(String, f32)>; 6] = [
        &|name| vec![(format!("module._orig_mod.{name}"), 1.0)],
        &|name| vec![(inside(&inside(&name, ".layer.0.", "_orig_mod"), ".layer.1.", "_orig_mod"), 1.0)],
        &|name| vec![(inside(&name, "roberta.encoder.", "_orig_mod"), 1.0)],
        &|name| vec![(inside(&inside(&name, "roberta.", "_fsdp_wrapped_module"), ".layer.1.", "module"), 1.0)],
        &|name| vec![(inside(&name, "self.query.", "base_layer"), 1.0)],
        // torch's pruning; a NaN stands for ones.
        &|name| match name.strip_suffix("dense.weight") {
            Some(start) => {
                vec![(format!("{start}dense.weight_orig"), 1.0), (format!("{start}dense.weight_mask"), f32::NAN)]
            }
            None => vec![(name, 1.0)],
        },
    ];
    for (at, way) in ways.into_iter().enumerate() {
        let loaded = renamed(way).1.expect("loads");
        assert_eq!((loaded.initialised, loaded.warnings.len()), (Initialised::Nothing, 0), "{at}");
        assert_eq!(loaded.model.to_host().expect("host"), tiny().to_host().expect("host"), "{at}");
    }
}

#[test]
fn an_encoder_under_unknown_names_is_refused_and_not_trained_from_random_values() {
    let (dir, loaded) = renamed(|name| vec![(name.replace(".layer.0.", ".layer.0.secret."), 1.0)]);
    let text = format!("{:#}", loaded.map(|_| ()).expect_err("refused"));
    let expected = format!(
        "loading the model in {}: the files lack 16 tensors of the encoder \
         (roberta.encoder.layer.0.attention.self.query.weight, ",
        dir.path().display()
    );
    assert!(text.starts_with(&expected), "{text}");
    assert!(text.contains("but have 16 others that look like an encoder's (roberta.encoder.layer.0.secret."), "{text}");
    assert!(text.ends_with("save the model again with `save_pretrained` of transformers, or rename them"), "{text}");
    // A parametrization that cannot be computed is one of these names.
    let (_dir, loaded) =
        renamed(|name| vec![(name.replace("self.key.weight", "self.key.parametrizations.weight.original"), 1.0)]);
    let text = format!("{:#}", loaded.map(|_| ()).expect_err("refused"));
    assert!(text.contains("self.key.parametrizations.weight.original, "), "{text}");
}

#[test]
fn git_lfs_pointers_are_named() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935\nsize 478\n";
    for name in ["config.json", "model.safetensors", "pytorch_model.bin", "model.safetensors.index.json"] {
        fs::write(dir.path().join("config.json"), TINY).expect("written");
        let path = dir.path().join(name);
        fs::write(&path, pointer).expect("written");
        let text = error(dir.path());
        let expected = "a Git LFS pointer, not the file itself; download the file with `git lfs pull`";
        assert!(text.contains(&path.display().to_string()) && text.ends_with(expected), "{name}: {text}");
        fs::remove_file(&path).expect("removed");
    }
}
