//! `pipe inspect` and `pipe diagnose` through the binary, on small checkpoints and modified copies.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use safetensors::{Dtype, SafeTensors, View};
use serde_json::Value;

use super::memory;
use super::project::Project;

/// A folder with the fixtures under short names.
struct Bench {
    temp: tempfile::TempDir,
}

/// A tensor in a test, usually f32.
#[derive(Clone, PartialEq, Debug)]
struct Tensor {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

type Tensors = BTreeMap<String, Tensor>;

impl View for &Tensor {
    fn dtype(&self) -> Dtype {
        self.dtype
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> std::borrow::Cow<'_, [u8]> {
        (&self.bytes).into()
    }
    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

impl Tensor {
    fn of(shape: &[usize], values: impl IntoIterator<Item = f32>) -> Self {
        let bytes: Vec<u8> = values.into_iter().flat_map(f32::to_le_bytes).collect();
        assert_eq!(bytes.len(), 4 * shape.iter().product::<usize>());
        Self { dtype: Dtype::F32, shape: shape.to_vec(), bytes }
    }

    fn values(&self) -> Vec<f32> {
        self.bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
    }

    fn map(&self, change: impl Fn(f32) -> f32) -> Self {
        Self::of(&self.shape, self.values().into_iter().map(change))
    }
}

fn read(path: &Path) -> Tensors {
    let bytes = fs::read(path).unwrap();
    let tensor = |view: safetensors::tensor::TensorView| Tensor {
        dtype: view.dtype(),
        shape: view.shape().to_vec(),
        bytes: view.data().to_vec(),
    };
    SafeTensors::deserialize(&bytes).unwrap().tensors().into_iter().map(|(name, view)| (name, tensor(view))).collect()
}

fn write(path: &Path, tensors: &Tensors) {
    fs::write(path, safetensors::serialize(tensors.iter(), None).unwrap()).unwrap();
}

impl Bench {
    /// `model`, `base` and `adapter`: the committed fixtures.
    fn new() -> Self {
        let bench = Self { temp: tempfile::tempdir().unwrap() };
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/parity");
        for (name, from) in
            [("model", "roberta-tiny"), ("base", "lora-roberta/base"), ("adapter", "lora-roberta/adapter")]
        {
            bench.copy(&fixtures.join(from), name);
        }
        bench
    }

    fn path(&self, below: &str) -> PathBuf {
        self.temp.path().join(below)
    }

    fn copy(&self, from: &Path, to: &str) {
        fs::create_dir_all(self.path(to)).unwrap();
        for file in fs::read_dir(from).unwrap().map(|file| file.unwrap().path()).filter(|file| file.is_file()) {
            fs::write(self.path(to).join(file.file_name().unwrap()), fs::read(&file).unwrap()).unwrap();
        }
    }

    /// A copy of `model` with its tensors modified by `change`.
    fn changed(&self, to: &str, change: impl FnOnce(&mut Tensors)) {
        self.copy(&self.path("model"), to);
        let path = self.path(to).join("model.safetensors");
        let mut tensors = read(&path);
        change(&mut tensors);
        write(&path, &tensors);
    }

    /// Set a field of a JSON file.
    fn set(&self, file: &str, field: &str, value: Value) {
        let mut json: Value = serde_json::from_str(&fs::read_to_string(self.path(file)).unwrap()).unwrap();
        json[field] = value;
        fs::write(self.path(file), json.to_string()).unwrap();
    }

    fn pipe(&self, words: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pipe"));
        command.current_dir(self.temp.path()).args(words).stdin(Stdio::null());
        command.env_remove("PIPE_CACHE").env("NO_COLOR", "1").env("HF_HUB_OFFLINE", "1").env("HF_HOME", "hub");
        let Output { status, stdout, stderr } = command.output().unwrap();
        (status.code().unwrap_or(-1), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
    }

    fn says(&self, words: &[&str]) -> String {
        let (code, out, err) = self.pipe(words);
        assert_eq!((code, err.as_str()), (0, ""), "{words:?}");
        out
    }

    fn json(&self, words: &[&str]) -> Value {
        serde_json::from_str(&self.says(&[words, &["--json"]].concat())).unwrap()
    }

    fn refuses(&self, words: &[&str]) -> (i32, String) {
        let (code, out, err) = self.pipe(words);
        assert_eq!(out, "", "{words:?}");
        (code, err)
    }

    /// The warnings about a model.
    fn warnings(&self, model: &str) -> Vec<String> {
        let out = self.says(&["inspect", model]);
        out.lines().filter_map(|line| line.strip_prefix("warning: ")).map(str::to_owned).collect()
    }
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn a_model_by_part() {
    let bench = Bench::new();
    assert_eq!(
        bench.says(&["inspect", "model"]),
        "\
model: roberta model, RobertaForSequenceClassification
  layers      3, hidden size 48
  vocabulary  1,000 ids
  length      at most 128 tokens
  labels      5: LABEL_0, LABEL_1, LABEL_2, LABEL_3, LABEL_4
  tokenizer   none
  parameters  113,861
  trainable   113,861
  non-zero    113,861 (100%)
  files       model.safetensors, 461.8 kB

tensor                                      shape  dtype  parameters     bytes  zeros
embeddings                                                    54,384  217.5 kB     0%
  LayerNorm.bias                             [48]  f32            48     192 B     0%
  LayerNorm.weight                           [48]  f32            48     192 B     0%
  position_embeddings.weight            [130, 48]  f32         6,240   25.0 kB     0%
  token_type_embeddings.weight            [1, 48]  f32            48     192 B     0%
  word_embeddings.weight               [1000, 48]  f32        48,000  192.0 kB     0%
encoder.layer.0–2                                             56,880  227.5 kB     0%
  attention.output.LayerNorm.bias        3 × [48]  f32           144     576 B     0%
  attention.output.LayerNorm.weight      3 × [48]  f32           144     576 B     0%
  attention.output.dense.bias            3 × [48]  f32           144     576 B     0%
  attention.output.dense.weight      3 × [48, 48]  f32         6,912   27.6 kB     0%
  attention.self.key.bias                3 × [48]  f32           144     576 B     0%
  attention.self.key.weight          3 × [48, 48]  f32         6,912   27.6 kB     0%
  attention.self.query.bias              3 × [48]  f32           144     576 B     0%
  attention.self.query.weight        3 × [48, 48]  f32         6,912   27.6 kB     0%
  attention.self.value.bias              3 × [48]  f32           144     576 B     0%
  attention.self.value.weight        3 × [48, 48]  f32         6,912   27.6 kB     0%
  intermediate.dense.bias                3 × [96]  f32           288    1.2 kB     0%
  intermediate.dense.weight          3 × [96, 48]  f32        13,824   55.3 kB     0%
  output.LayerNorm.bias                  3 × [48]  f32           144     576 B     0%
  output.LayerNorm.weight                3 × [48]  f32           144     576 B     0%
  output.dense.bias                      3 × [48]  f32           144     576 B     0%
  output.dense.weight                3 × [48, 96]  f32        13,824   55.3 kB     0%
head                                                           2,597   10.4 kB     0%
  classifier.dense.bias                      [48]  f32            48     192 B     0%
  classifier.dense.weight                [48, 48]  f32         2,304    9.2 kB     0%
  classifier.out_proj.bias                    [5]  f32             5      20 B     0%
  classifier.out_proj.weight              [5, 48]  f32           240     960 B     0%
"
    );
}

#[test]
fn an_adapter_and_each_of_its_tensors() {
    let bench = Bench::new();
    assert_eq!(
        bench.says(&["inspect", "adapter"]),
        "\
adapter: LoRA adapter
  base        unnamed
  rank        4
  alpha       8, scale 2
  dropout     0
  targets     query, value
  parameters  4,901
  trainable   4,901
  non-zero    4,901 (100%)
  files       adapter_model.safetensors, 21.7 kB

tensor                                      shape  dtype  parameters    bytes  zeros
encoder.layer.0–2                                              2,304   9.2 kB     0%
  attention.self.query.lora_A.weight  3 × [4, 48]  f32           576   2.3 kB     0%
  attention.self.query.lora_B.weight  3 × [48, 4]  f32           576   2.3 kB     0%
  attention.self.value.lora_A.weight  3 × [4, 48]  f32           576   2.3 kB     0%
  attention.self.value.lora_B.weight  3 × [48, 4]  f32           576   2.3 kB     0%
head                                                           2,597  10.4 kB     0%
  classifier.dense.bias                      [48]  f32            48    192 B     0%
  classifier.dense.weight                [48, 48]  f32         2,304   9.2 kB     0%
  classifier.out_proj.bias                    [5]  f32             5     20 B     0%
  classifier.out_proj.weight              [5, 48]  f32           240    960 B     0%
"
    );
    // PEFT's number for the same adapter.
    let expected = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/parity/lora-roberta/expected.json");
    let expected: Value = serde_json::from_str(&fs::read_to_string(expected).unwrap()).unwrap();
    assert_eq!(bench.json(&["inspect", "adapter"])["parameters"]["trainable"], expected["trainable_parameters"]);

    let all = bench.says(&["inspect", "adapter", "--tensors"]);
    let lines: Vec<&str> = all.lines().skip_while(|line| !line.starts_with("tensor")).collect();
    assert_eq!(lines.len(), 1 + 3 * 4 + 4, "{all}");
    let first = "base_model.model.roberta.encoder.layer.0.attention.self.query.lora_A.weight   [4, 48]  f32           192   768 B     0%";
    assert_eq!(lines[1], first);
}

#[test]
fn the_json_is_the_same_for_every_kind_of_thing() {
    let bench = Bench::new();
    let model = bench.json(&["inspect", "model", "--headers"]);
    let fields = [
        "adapter",
        "architecture",
        "bytes",
        "family",
        "files",
        "labels",
        "notes",
        "parameters",
        "path",
        "sizes",
        "tensors",
        "tokenizer",
        "version",
        "what",
    ];
    let sorted = |value: &Value| {
        let mut keys: Vec<String> = keys(value).into_iter().map(str::to_owned).collect();
        keys.sort();
        keys
    };
    for thing in ["model", "adapter", "model/model.safetensors", "model/config.json"] {
        assert_eq!(sorted(&bench.json(&["inspect", thing, "--headers"])), fields, "{thing}");
    }
    assert_eq!((&model["version"], &model["what"], &model["family"]), (&1.into(), &"model".into(), &"roberta".into()));
    let sizes = serde_json::json!({"layers": 3, "hidden": 48, "vocabulary": 1000, "max-length": 128});
    assert_eq!(model["sizes"], sizes);
    // Headers do not show which weights are zero.
    let parameters = serde_json::json!({"total": 113_861, "trainable": 113_861, "non-zero": null});
    assert_eq!(model["parameters"], parameters);
    let tensor = serde_json::json!({
        "name": "roberta.encoder.layer.2.output.dense.weight", "part": "layer", "layer": 2,
        "within": "output.dense.weight", "shape": [48, 96], "dtype": "f32", "parameters": 4608, "bytes": 18_432,
        "zeros": null
    });
    assert!(model["tensors"].as_array().unwrap().contains(&tensor));
    let adapter = serde_json::json!({
        "base": null, "rank": 4, "alpha": 8.0, "scale": 2.0, "dropout": 0.0, "targets": ["query", "value"],
        "modules-to-save": []
    });
    assert_eq!(bench.json(&["inspect", "adapter"])["adapter"], adapter);
}

#[test]
fn files_by_themselves() {
    let bench = Bench::new();
    let out = bench.says(&["inspect", "adapter/adapter_model.safetensors"]);
    assert!(out.starts_with(
        "adapter/adapter_model.safetensors: weights\n  parameters  4,901\n  non-zero    4,901 (100%)\n  files "
    ));
    // A config shows the tensors that the model would have.
    let out = bench.says(&["inspect", "model/config.json"]);
    let line = out.lines().find(|line| line.starts_with("  output.dense.weight")).unwrap();
    assert_eq!(line, "  output.dense.weight                3 × [48, 96]      13,824");
    assert!(out.contains("\n  parameters  113,861\n  trainable   113,861\n\ntensor "), "{out}");

    bench.copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tiny-roberta"), "tiny");
    let tokenizer = "\
tiny/tokenizer.json: tokenizer
  tokenizer  846 ids, padding 1
             tokenizer.json, vocab.json, merges.txt, tokenizer_config.json, special_tokens_map.json
";
    assert_eq!(bench.says(&["inspect", "tiny/tokenizer.json"]), tokenizer);
    let out = bench.says(&["inspect", "tiny"]);
    assert!(out.contains("  tokenizer   846 ids, padding 1\n"), "{out}");
    assert!(out.ends_with("\nwarning: tiny has no weights; training would start from random ones\n"), "{out}");
}

#[test]
fn shards_and_pickles_are_read_like_one_file() {
    let bench = Bench::new();
    let whole = read(&bench.path("model/model.safetensors"));
    bench.copy(&bench.path("model"), "sharded");
    fs::remove_file(bench.path("sharded/model.safetensors")).unwrap();
    let (first, second): (Tensors, Tensors) = whole.into_iter().partition(|(name, _)| name.contains("embeddings"));
    let mut map = serde_json::Map::new();
    for (file, tensors) in [("one.safetensors", &first), ("two.safetensors", &second)] {
        write(&bench.path("sharded").join(file), tensors);
        map.extend(tensors.keys().map(|name| (name.clone(), file.into())));
    }
    let index = serde_json::json!({ "weight_map": map }).to_string();
    fs::write(bench.path("sharded/model.safetensors.index.json"), index).unwrap();
    let (one, several) = (bench.json(&["inspect", "model"]), bench.json(&["inspect", "sharded"]));
    assert_eq!((&one["tensors"], &one["parameters"]), (&several["tensors"], &several["parameters"]));
    let files: Vec<&str> = several["files"].as_array().unwrap().iter().map(|f| f["name"].as_str().unwrap()).collect();
    assert_eq!(files, ["one.safetensors", "two.safetensors"]);
    let index = bench.json(&["inspect", "sharded/model.safetensors.index.json"]);
    assert_eq!(index["tensors"], one["tensors"]);
    let shard = bench.json(&["inspect", "sharded/one.safetensors"]);
    assert_eq!(shard["parameters"]["total"], 54_384);
    let same = bench.says(&["diagnose", "model", "sharded"]);
    assert_eq!(same.lines().filter(|line| line.contains("frozen")).count(), 5, "{same}");

    let pickle = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pickle/state.bin");
    fs::copy(pickle, bench.path("pytorch_model.bin")).unwrap();
    let found = bench.json(&["inspect", "pytorch_model.bin"]);
    let total: u64 = found["tensors"].as_array().unwrap().iter().map(|t| t["parameters"].as_u64().unwrap()).sum();
    assert!(total > 0 && found["parameters"]["total"] == total, "{found}");
}

#[test]
fn zeros_are_counted_and_layers_that_differ_stand_apart() {
    let bench = Bench::new();
    bench.changed("pruned", |tensors| {
        let query = tensors.get_mut("roberta.encoder.layer.1.attention.self.query.weight").unwrap();
        let values = query.values().into_iter().enumerate().map(|(i, v)| if i % 10 < 3 { 0.0 } else { v });
        *query = Tensor::of(&[48, 48], values.collect::<Vec<_>>());
        let key = "roberta.encoder.layer.2.attention.self.key.weight";
        let half = tensors[key].values().into_iter().flat_map(|v| half::f16::from_f32(v).to_le_bytes()).collect();
        tensors.insert(key.into(), Tensor { dtype: Dtype::F16, shape: vec![48, 48], bytes: half });
    });
    let out = bench.says(&["inspect", "pruned"]);
    let has = |line: &str| assert!(out.lines().any(|l| l == line), "{line}\n{out}");
    has("  non-zero    113,168 (99.4%)");
    has("encoder.layer.0–1                                             37,920  151.7 kB   1.8%");
    has("  attention.self.query.weight        2 × [48, 48]  f32         4,608   18.4 kB  15.0%");
    has("encoder.layer.2                                               18,960   71.2 kB     0%");
    has("  attention.self.key.weight              [48, 48]  f16         2,304    4.6 kB     0%");
}

#[test]
fn int8_weights_are_weights_of_one_byte() {
    use pipe_ml::compress::quantize::{Request, Scheme, quantize};
    let (bench, request) = (Bench::new(), Request::new(Scheme::Int8));
    quantize(&bench.path("model"), &bench.path("int8"), &request, &pipe_ml::watch::Silent).unwrap();
    let found = bench.json(&["inspect", "int8"]);
    assert_eq!((&found["parameters"]["total"], &found["notes"]), (&113_861.into(), &serde_json::json!([])));
    let tensors = found["tensors"].as_array().unwrap();
    let query = tensors.iter().find(|t| t["within"] == "attention.self.query.weight").unwrap();
    // 48 × 48 bytes and a scale for each of the 48 rows.
    assert_eq!((&query["dtype"], &query["bytes"]), (&"int8".into(), &(48 * 48 + 4 * 48).into()));

    let moved = bench.json(&["diagnose", "model", "int8"]);
    let whole = moved["whole"]["relative-l2"].as_f64().unwrap();
    assert!((1e-4..1e-2).contains(&whole), "{whole}");
    assert_eq!(moved["not-comparable"], serde_json::json!([]));
}

#[test]
fn what_loading_would_complain_about() {
    let bench = Bench::new();
    assert_eq!(bench.warnings("model"), [""; 0]);

    bench.changed("head", |tensors| {
        tensors.insert("classifier.out_proj.weight".into(), Tensor::of(&[3, 48], vec![0.5; 144]));
        tensors.remove("classifier.dense.bias");
        tensors.insert("lm_head.bias".into(), Tensor::of(&[2], [1.0, f32::NAN]));
    });
    bench.set("head/config.json", "made_up", 1.into());
    assert_eq!(
        bench.warnings("head"),
        [
            "config.json has unknown fields, which have no effect: made_up",
            "lm_head.bias has NaN or infinite values: 1 of 2",
            "missing from the files; training would start them from random values: classifier.dense.bias",
            "in another shape than 5 labels need; training would start them from random values: classifier.out_proj.weight",
            "ignored, because a classifier does not use them: lm_head.bias",
        ]
    );

    bench.changed("narrow", |_| {});
    bench.set("narrow/config.json", "intermediate_size", 64.into());
    let [said] = &bench.warnings("narrow")[..] else { panic!("one warning") };
    let expected = "cannot load the model: parameter roberta.encoder.layer.0.intermediate.dense.weight has shape [96, 48]; config.json asks for [64, 48]";
    assert_eq!(said, expected);

    bench.changed("strange", |_| {});
    bench.set("strange/config.json", "model_type", "gpt2".into());
    let [said] = &bench.warnings("strange")[..] else { panic!("one warning") };
    assert!(said.starts_with("cannot use config.json: field `model_type` is `gpt2`; known families: roberta"));
    assert!(bench.says(&["inspect", "strange"]).starts_with("strange: gpt2 model, RobertaForSequenceClassification\n"));

    bench.changed("bare", |_| {});
    fs::remove_file(bench.path("bare/config.json")).unwrap();
    assert_eq!(
        bench.warnings("bare"),
        ["there is no config.json, so the family is unknown and the weights cannot be checked for completeness"]
    );
    assert_eq!(bench.json(&["inspect", "bare"])["tensors"], bench.json(&["inspect", "model"])["tensors"]);
}

#[test]
fn whole_checkpoints_of_every_family_have_nothing_to_complain_about() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/parity");
    let bench = Bench::new();
    let mut families = Vec::new();
    for dir in
        fs::read_dir(fixtures).unwrap().map(|dir| dir.unwrap().path()).filter(|dir| dir.join("config.json").is_file())
    {
        let name = dir.file_name().unwrap().to_str().unwrap().to_owned();
        bench.copy(&dir, &name);
        let found = bench.json(&["inspect", &name]);
        assert_eq!(found["notes"], serde_json::json!([]), "{name}");
        assert_eq!(found["parameters"]["total"], found["parameters"]["trainable"], "{name}");
        let moved = bench.json(&["diagnose", &name, &name]);
        assert_eq!(
            (&moved["whole"]["frozen"], &moved["whole"]["weights"]),
            (&true.into(), &found["parameters"]["total"])
        );
        families.push(found["family"].as_str().unwrap().to_owned());
    }
    families.sort();
    families.dedup();
    assert_eq!(families, ["bert", "deberta-v2", "distilbert", "roberta", "xlm-roberta"]);
    let out = bench.says(&["inspect", "deberta-v2"]);
    let parts: Vec<&str> = out
        .lines()
        .filter(|l| l.starts_with("e") || l.starts_with("head"))
        .map(|l| l.split(' ').next().unwrap())
        .collect();
    assert_eq!(parts[0], "embeddings", "{out}");
    assert_eq!(parts[2..], ["encoder", "head"], "{out}");
}

#[test]
fn a_tokenizer_that_is_larger_than_the_model() {
    let bench = Bench::new();
    bench.copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tiny-roberta"), "tiny");
    bench.set("tiny/config.json", "vocab_size", 800.into());
    bench.set("tiny/config.json", "max_position_embeddings", 100.into());
    bench.set("tiny/tokenizer_config.json", "model_max_length", 512.into());
    assert_eq!(
        bench.warnings("tiny")[1..],
        [
            "the tokenizer has 846 ids, but the model has 800; texts with higher ids cannot be scored",
            "tokenizer_config.json allows 512 tokens, but the model has 98 positions; longer texts are cut"
        ]
    );
}

#[test]
fn how_far_each_part_moved() {
    let bench = Bench::new();
    bench.changed("tuned", |tensors| {
        for (name, tensor) in tensors.iter_mut() {
            if name.contains("layer.1.") {
                *tensor = tensor.map(|v| v * 2.0);
            } else if name.contains("layer.2.") {
                *tensor = tensor.map(|v| -v);
            }
        }
        tensors.insert("classifier.out_proj.weight".into(), Tensor::of(&[3, 48], vec![0.5; 144]));
        tensors.remove("classifier.out_proj.bias");
        tensors.insert("classifier.more.bias".into(), Tensor::of(&[3], vec![0.5; 3]));
    });
    assert_eq!(
        bench.says(&["diagnose", "model", "tuned"]),
        "\
model → tuned

part             relative L2                       cosine  changed  weights
embeddings                 0  frozen             1.000000       0%   54,384
encoder.layer.0            0  frozen             1.000000       0%   18,960
encoder.layer.1         1.00  ████████           1.000000     100%   18,960
encoder.layer.2         2.00  ████████████████  -1.000000     100%   18,960
head                       0  frozen             1.000000       0%    2,352
all                   0.9691                     0.647580    33.4%  113,616

not comparable
  classifier.out_proj.bias    [5] → removed
  classifier.out_proj.weight  [5, 48] → [3, 48]
  classifier.more.bias        new, [3]
"
    );
    let all = bench.says(&["diagnose", "model", "tuned", "--tensors"]);
    let line = "  attention.self.key.bias                   1.00  ████████           1.000000     100%       48";
    assert!(all.lines().any(|l| l == line), "{all}");

    let csv = bench.says(&["diagnose", "model", "tuned", "--csv"]);
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines[0], "tensor,part,layer,within,weights,relative_l2,cosine,changed");
    assert_eq!(lines.len(), 1 + 5 + 3 * 16 + 2);
    let key = "roberta.encoder.layer.1.attention.self.key.bias,layer,1,attention.self.key.bias,48,1,1,1";
    assert!(lines.contains(&key), "{csv}");
    assert!(lines.contains(&"classifier.dense.bias,head,,classifier.dense.bias,48,0,1,0"), "{csv}");

    let json = bench.json(&["diagnose", "model", "tuned"]);
    assert_eq!((&json["version"], &json["a"], &json["b"]), (&1.into(), &"model".into(), &"tuned".into()));
    let layer = serde_json::json!({
        "name": "encoder.layer.0", "part": "layer", "layer": 0,
        "drift": {"weights": 18_960, "relative-l2": 0.0, "cosine": 1.0, "changed": 0.0, "frozen": true}
    });
    assert_eq!(json["parts"][1], layer);
    assert_eq!(json["parts"][2]["drift"]["relative-l2"], 1.0);
    let reshaped = serde_json::json!({
        "name": "classifier.out_proj.weight", "part": "head", "layer": null, "shape-a": [5, 48], "shape-b": [3, 48]
    });
    assert_eq!(json["not-comparable"][1], reshaped);
}

#[test]
fn names_of_other_times_are_the_same_names() {
    let bench = Bench::new();
    bench.changed("old", |tensors| {
        *tensors = std::mem::take(tensors)
            .into_iter()
            .filter(|(name, _)| !name.starts_with("classifier"))
            .map(|(name, tensor)| {
                let name = name.trim_start_matches("roberta.").replace("LayerNorm.weight", "LayerNorm.gamma");
                (name.replace("LayerNorm.bias", "LayerNorm.beta"), tensor)
            })
            .collect();
    });
    let json = bench.json(&["diagnose", "old", "model"]);
    assert_eq!((&json["whole"]["weights"], &json["whole"]["changed"]), (&(113_861 - 2_597).into(), &0.0.into()));
    let apart = json["not-comparable"].as_array().unwrap();
    assert!(apart.len() == 4 && apart.iter().all(|one| one["shape-a"].is_null() && one["part"] == "head"), "{apart:?}");
}

#[test]
fn an_adapter_stands_for_its_model_with_it_merged() {
    let bench = Bench::new();
    let (mut merged, adapter) =
        (read(&bench.path("base/model.safetensors")), read(&bench.path("adapter/adapter_model.safetensors")));
    for (name, tensor) in &adapter {
        let name = name.strip_prefix("base_model.model.").unwrap();
        let Some(module) = name.strip_suffix(".lora_A.weight") else {
            if !name.contains(".lora_") {
                // Fully trained.
                merged.insert(name.to_owned(), tensor.map(|v| v + 0.25));
            }
            continue;
        };
        let (a, b) = (tensor.values(), adapter[&format!("base_model.model.{module}.lora_B.weight")].values());
        let weight = merged.get_mut(&format!("{module}.weight")).unwrap();
        // W + s·B·A with s = 8 / 4.
        let change = |i: usize| (0..4).map(|r| 2.0 * b[i / 48 * 4 + r] * a[r * 48 + i % 48]).sum::<f32>();
        let values: Vec<f32> = weight.values().into_iter().enumerate().map(|(i, v)| v + change(i)).collect();
        *weight = Tensor::of(&[48, 48], values);
    }
    bench.copy(&bench.path("base"), "merged");
    write(&bench.path("merged/model.safetensors"), &merged);
    let mut with_head = adapter;
    with_head.iter_mut().filter(|(n, _)| n.contains("classifier")).for_each(|(_, t)| *t = t.map(|v| v + 0.25));
    write(&bench.path("adapter/adapter_model.safetensors"), &with_head);

    let (by_hand, ours) = (bench.json(&["diagnose", "base", "merged"]), bench.json(&["diagnose", "base", "adapter"]));
    for (a, b) in by_hand["tensors"].as_array().unwrap().iter().zip(ours["tensors"].as_array().unwrap()) {
        assert_eq!(a["name"], b["name"]);
        for figure in ["relative-l2", "cosine"] {
            let [a, b] = [a, b].map(|t| t["drift"][figure].as_f64().unwrap());
            assert!((a - b).abs() < 1e-6, "{}: {figure} {a} {b}", ours["name"]);
        }
    }
    let parts = ours["parts"].as_array().unwrap();
    let frozen: Vec<bool> = parts.iter().map(|part| part["drift"]["frozen"].as_bool().unwrap()).collect();
    assert_eq!(frozen, [true, false, false, false, false]);
    // A base is often an encoder without a head: the head then comes from the adapter.
    bench.copy(&bench.path("base"), "encoder");
    let mut encoder = read(&bench.path("encoder/model.safetensors"));
    encoder.retain(|name, _| !name.starts_with("classifier"));
    write(&bench.path("encoder/model.safetensors"), &encoder);
    let headless = bench.json(&["diagnose", "encoder", "adapter"]);
    assert_eq!(headless["parts"].as_array().unwrap()[1], parts[1]);
    assert!(headless.to_string().contains("classifier.out_proj.weight"), "{headless}");
    // If the first side is an adapter, the distance is measured from the merged model.
    let back = bench.json(&["diagnose", "adapter", "merged"]);
    assert!(back["whole"]["relative-l2"].as_f64().unwrap() > 0.0, "the base has no part in this: {back}");
}

#[test]
fn what_a_stage_made_is_named_as_everywhere() {
    let project = Project::new();
    project.run(&["teacher", "adapted", "int8", "--set", "stage.teacher.epochs=1"]);
    let epochs = ["--set", "stage.teacher.epochs=1"];
    let pipe = |words: &[&str]| project.pipe(&[words, &epochs].concat());
    let first = |words: &[&str]| {
        let (code, out, err) = pipe(words);
        assert_eq!(code, 0, "{err}");
        out.lines().next().unwrap_or_default().to_owned()
    };
    let model = "roberta model, RobertaForSequenceClassification";
    assert_eq!(first(&["inspect", "p.toml:teacher"]), format!("p.toml:teacher: {model}"));
    assert_eq!(first(&["inspect", "p.toml:adapted"]), format!("p.toml:adapted: {model}"));
    assert_eq!(first(&["inspect", "p.toml:adapted.adapter"]), "p.toml:adapted.adapter: LoRA adapter");
    assert_eq!(first(&["diagnose", "p.toml:teacher", "p.toml:int8"]), "p.toml:teacher → p.toml:int8");
    let (code, out, err) = pipe(&["inspect", "p.toml:corpus"]);
    assert_eq!((code, out.as_str(), err.as_str()), (2, "", "error: `corpus` has no output of type model or adapter\n"));
    let (code, _, err) = pipe(&["inspect", "p.toml:pruned"]);
    assert_eq!((code, err.as_str()), (1, "error: `pruned` has no result yet\nhelp: `pipe run` makes its result\n"));

    // The folder of a corpus is not a model.
    let (_, out, _) = pipe(&["cache", "path", "p.toml", "corpus"]);
    let corpus = out.trim();
    let (code, out, err) = project.pipe(&["inspect", corpus]);
    let said = format!(
        "error: {corpus} is not a model: it has no config.json, weights, adapter or tokenizer\n\
         help: `pipe show FILE STAGE` and `pipe metrics` show what other artifacts hold\n"
    );
    assert_eq!((code, out.as_str(), err), (2, "", said));
}

#[test]
fn what_is_no_model_is_said_so() {
    let bench = Bench::new();
    let help =
        "help: give a folder or file, FILE:STAGE such as `pipelines/roberta_full.toml:teacher`, or hf:OWNER/NAME\n";
    for command in [&["inspect", "gone"][..], &["diagnose", "model", "gone"], &["diagnose", "gone", "model"]] {
        assert_eq!(bench.refuses(command), (2, format!("error: there is no model `gone`\n{help}")), "{command:?}");
    }
    fs::create_dir(bench.path("empty")).unwrap();
    let (code, said) = bench.refuses(&["inspect", "empty"]);
    assert_eq!(code, 2);
    assert!(said.starts_with("error: empty is not a model: it has no config.json, weights"), "{said}");
    fs::write(bench.path("metrics.json"), "{}").unwrap();
    let (code, said) = bench.refuses(&["diagnose", "model", "metrics.json"]);
    assert_eq!(code, 2);
    assert!(said.starts_with("error: metrics.json does not look like a model file (expected weights, config.json or tokenizer.json)\nhelp: `pipe show"), "{said}");
    let (code, said) = bench.refuses(&["inspect", "hf:some/model"]);
    assert_eq!(code, 2);
    assert!(said.starts_with("error: hf:some/model is not in the local cache, and HF_HUB_OFFLINE forbids"), "{said}");

    bench.copy(&bench.path("model"), "cut");
    let whole = fs::read(bench.path("cut/model.safetensors")).unwrap();
    for length in [0, 7, 100, whole.len() - 1] {
        fs::write(bench.path("cut/model.safetensors"), &whole[..length]).unwrap();
        for command in [&["inspect", "cut"][..], &["diagnose", "model", "cut"]] {
            let (code, said) = bench.refuses(command);
            assert_eq!(code, 1, "{length}");
            assert!(said.starts_with("error: reading cut/model.safetensors: not a valid safetensors file ("), "{said}");
            assert!(said.ends_with("); was it cut short?\n"), "{said}");
        }
    }
    fs::write(bench.path("cut/config.json"), "{").unwrap();
    let (code, said) = bench.refuses(&["inspect", "cut"]);
    assert_eq!(code, 1);
    assert!(said.starts_with("error: cut/config.json is not valid JSON: "), "{said}");
    fs::remove_file(bench.path("adapter/adapter_model.safetensors")).unwrap();
    let (code, said) = bench.refuses(&["inspect", "adapter"]);
    assert_eq!(
        (code, said.as_str()),
        (1, "error: adapter folder adapter has neither adapter_model.safetensors nor adapter_model.bin\n")
    );
}

#[test]
fn what_cannot_be_compared_is_said_so() {
    let bench = Bench::new();
    // The same tensors under the names of another family.
    bench.changed("other", |tensors| {
        let named = std::mem::take(tensors).into_iter();
        *tensors = named.map(|(name, tensor)| (name.replace("roberta.", "bert."), tensor)).collect();
    });
    fs::remove_file(bench.path("other/config.json")).unwrap();
    let said =
        "error: model is a roberta model, but other is a bert model; only models of the same family can be compared\n";
    assert_eq!(bench.refuses(&["diagnose", "model", "other"]), (1, said.into()));

    bench.changed("wide", |tensors| {
        for tensor in tensors.values_mut() {
            tensor.shape.push(1);
        }
    });
    let said = "error: nothing to compare: model (roberta) and wide (roberta) have no encoder tensor with the same name and shape\n";
    assert_eq!(bench.refuses(&["diagnose", "model", "wide"]), (1, said.into()));

    bench.changed("towers", |tensors| {
        let twin = tensors["roberta.encoder.layer.0.output.dense.bias"].clone();
        tensors.insert("other.encoder.layer.0.output.dense.bias".into(), twin);
    });
    let said = "error: the tensors other.encoder.layer.0.output.dense.bias and roberta.encoder.layer.0.output.dense.bias in towers \
                are the same parameter of an encoder, so the model cannot be compared\n";
    assert_eq!(bench.refuses(&["diagnose", "model", "towers"]), (1, said.into()));

    bench.changed("broken", |tensors| {
        let bias = tensors.get_mut("classifier.dense.bias").unwrap();
        *bias = bias.map(|_| f32::INFINITY);
    });
    let said = "error: tensor classifier.dense.bias: broken has NaN or infinite values, so it cannot be compared\n";
    assert_eq!(bench.refuses(&["diagnose", "model", "broken"]), (1, said.into()));

    let (code, said) = bench.refuses(&["diagnose", "adapter", "adapter"]);
    assert_eq!(code, 1);
    assert!(
        said.starts_with("error: adapter and adapter are both adapters; compare one with its base model"),
        "{said}"
    );
    bench.changed("small", |tensors| {
        for tensor in tensors.values_mut().filter(|tensor| tensor.shape == [48, 48]) {
            *tensor = Tensor::of(&[24, 24], vec![1.0; 24 * 24]);
        }
    });
    let (code, said) = bench.refuses(&["diagnose", "small", "adapter"]);
    assert_eq!(code, 1);
    assert!(said.starts_with("error: the adapter in adapter does not fit the model in small: "), "{said}");
    assert!(said.ends_with("the factors have shapes [48, 4] and [4, 48], but the weight [24, 24]\n"), "{said}");
    bench.copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tiny-roberta"), "tiny");
    assert_eq!(bench.refuses(&["diagnose", "model", "tiny"]), (1, "error: tiny has no weights to compare\n".into()));
}

#[test]
fn memory_does_not_grow_with_the_model() {
    use pipe_ml::judge::diagnose::diagnose;
    use pipe_ml::judge::inspect::{Depth, What, inspect};
    let bench = Bench::new();
    let large = |value: f32| {
        let table = Tensor::of(&[4096, 2048], vec![value; 4096 * 2048]);
        Tensors::from([("roberta.embeddings.word_embeddings.weight".to_owned(), table)])
    };
    let (a, b) = (bench.path("a.safetensors"), bench.path("b.safetensors"));
    write(&a, &large(0.0));
    write(&b, &large(1.0));
    let (found, peak) = memory::peak(|| inspect(&a, What::Weights, Depth::Weights).unwrap());
    assert_eq!((found.parameters.non_zero, found.bytes > 32 << 20), (Some(0), true));
    assert!(peak < 4 << 20, "{peak} bytes for a file of 32 MiB");
    let (found, peak) = memory::peak(|| diagnose(&a, &b).unwrap());
    assert_eq!((found.whole.relative_l2, found.whole.changed), (None, 1.0));
    assert!(peak < 8 << 20, "{peak} bytes for two files of 32 MiB");
}
