//! Settings of `tokenizer_config.json` against a `tokenizer.json`: ids as those of transformers 4 and 5, and what is saved.

use std::path::Path;

use serde_json::{Value, json};

use crate::text::tokenizer::open::tests::fixture;
use crate::text::tokenizer::{Limit, Tokenizer, copy_files, save};

fn tiny() -> std::path::PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join("models/tiny-roberta")
}

/// A tiny BERT tokenizer whose `tokenizer.json` lowers case.
fn bert(config: Option<&Value>) -> tempfile::TempDir {
    let words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "panic", "shop", "caf", "##e", "日", "本", "日本"];
    let special: Vec<Value> = (0..5)
        .map(|id| {
            json!({"id": id, "content": words[id], "single_word": false, "lstrip": false, "rstrip": false,
                   "normalized": false, "special": true})
        })
        .collect();
    let vocab: serde_json::Map<String, Value> =
        words.iter().enumerate().map(|(id, word)| ((*word).to_owned(), id.into())).collect();
    let ends = json!([{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                      {"SpecialToken": {"id": "[SEP]", "type_id": 0}}]);
    let whole = json!({
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 5, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 5}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
                    "pad_type_id": 0, "pad_token": "[PAD]"},
        "added_tokens": special,
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
                       "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing", "single": ends, "pair": ends, "special_tokens": {
            "[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]},
            "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]}}},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": vocab},
    });
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("tokenizer.json"), whole.to_string()).unwrap();
    if let Some(config) = config {
        std::fs::write(dir.path().join("tokenizer_config.json"), config.to_string()).unwrap();
    }
    dir
}

fn ids(dir: &Path, text: &str) -> Vec<u32> {
    Tokenizer::open(dir).unwrap().encode(text, 100).unwrap().ids
}

fn remarks(dir: &Path) -> Vec<String> {
    Tokenizer::open(dir).unwrap().remarks().to_vec()
}

fn saved(dir: &Path, limit: Limit) -> (tempfile::TempDir, Value, Value) {
    let to = tempfile::tempdir().unwrap();
    save(dir, to.path(), limit).unwrap();
    let read = |name: &str| serde_json::from_slice(&std::fs::read(to.path().join(name)).unwrap()).unwrap();
    let (whole, config) = (read("tokenizer.json"), read("tokenizer_config.json"));
    (to, whole, config)
}

#[test]
fn casing_follows_tokenizer_config_as_in_transformers() {
    let dir = bert(Some(&json!({"tokenizer_class": "BertTokenizer", "do_lower_case": false})));
    assert_eq!(ids(dir.path(), "PANIC SHOP"), [2, 1, 1, 3]);
    assert_eq!(ids(dir.path(), "panic shop café"), [2, 5, 6, 1, 3]);
    assert_eq!(
        remarks(dir.path()),
        [
            "`do_lower_case` in tokenizer_config.json is false, but tokenizer.json has `lowercase` true; the former decides, \
          as in transformers"
        ]
    );
    // The file decides for the plain class, and if nothing says what the tokenizer is.
    for config in [Some(json!({"tokenizer_class": "PreTrainedTokenizerFast", "do_lower_case": false})), None] {
        let dir = bert(config.as_ref());
        assert_eq!((ids(dir.path(), "PANIC café"), remarks(dir.path()).len()), (vec![2, 5, 7, 8, 3], 0));
    }
}

#[test]
fn a_setting_that_is_absent_has_the_value_of_transformers() {
    let dir = bert(Some(&json!({"tokenizer_class": "DistilBertTokenizerFast", "do_lower_case": true})));
    assert!(remarks(dir.path()).is_empty());
    let path = dir.path().join("tokenizer.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace(r#""lowercase":true"#, r#""lowercase":false"#)).unwrap();
    std::fs::remove_file(dir.path().join("tokenizer_config.json")).unwrap();
    std::fs::write(dir.path().join("config.json"), r#"{"model_type": "bert"}"#).unwrap();
    assert_eq!(ids(dir.path(), "PANIC"), [2, 5, 3]);
    assert_eq!(
        remarks(dir.path()),
        [
            "tokenizer_config.json does not set `do_lower_case`, and transformers takes true then, but tokenizer.json has \
          `lowercase` false; true decides, as in transformers"
        ]
    );
}

#[test]
fn accents_and_chinese_characters_follow_tokenizer_config() {
    let with = |more: Value| {
        let mut config = json!({"tokenizer_class": "BertTokenizer"});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        bert(Some(&config))
    };
    let text = "café 日本";
    assert_eq!(ids(with(json!({})).path(), text), [2, 7, 8, 9, 10, 3]);
    assert_eq!(ids(with(json!({"strip_accents": false})).path(), text), [2, 1, 9, 10, 3]);
    assert_eq!(ids(with(json!({"tokenize_chinese_chars": false})).path(), text), [2, 7, 8, 11, 3]);
}

#[test]
fn a_space_in_front_follows_tokenizer_config() {
    let dir = tempfile::tempdir().unwrap();
    copy_files(&tiny(), dir.path()).unwrap();
    let config = json!({"tokenizer_class": "RobertaTokenizer", "add_prefix_space": true});
    std::fs::write(dir.path().join("tokenizer_config.json"), config.to_string()).unwrap();
    assert_eq!(ids(dir.path(), "so bad"), ids(&tiny(), " so bad"));
    assert_eq!(
        remarks(dir.path()),
        [
            "`add_prefix_space` in tokenizer_config.json is true, but tokenizer.json has `add_prefix_space` false; the former \
          decides, as in transformers"
        ]
    );
    let (to, whole, config) = saved(dir.path(), Limit::Rows(32));
    assert_eq!(
        (&whole["pre_tokenizer"]["add_prefix_space"], &config["add_prefix_space"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(ids(to.path(), "so bad"), ids(&tiny(), " so bad"));
    assert!(remarks(to.path()).is_empty());
}

#[test]
fn what_is_saved_says_one_thing_and_has_no_truncation_or_padding() {
    let dir = bert(Some(&json!({
        "tokenizer_class": "BertTokenizer", "do_lower_case": false, "model_max_length": 128, "max_length": 5, "stride": 0,
        "truncation_strategy": "longest_first", "pad_to_multiple_of": null, "truncation_side": "right"
    })));
    let (to, whole, config) = saved(dir.path(), Limit::Rows(200));
    assert_eq!((&whole["truncation"], &whole["padding"]), (&Value::Null, &Value::Null));
    assert_eq!(whole["normalizer"]["lowercase"], json!(false));
    assert_eq!(
        config,
        json!({
            "tokenizer_class": "BertTokenizer", "do_lower_case": false, "strip_accents": null,
            "tokenize_chinese_chars": true, "model_max_length": 200, "truncation_side": "right"
        })
    );
    assert_eq!((ids(to.path(), "PANIC panic"), remarks(to.path()).len()), (vec![2, 1, 5, 3], 0));
    assert_eq!(Tokenizer::open(to.path()).unwrap().max_length(), Some(200));
    // A model's positions limit a length, and replace one that says "no limit".
    assert_eq!(saved(dir.path(), Limit::Positions(64)).2["model_max_length"], json!(64));
    assert_eq!(saved(dir.path(), Limit::Positions(512)).2["model_max_length"], json!(128));
    let endless = bert(Some(&json!({"tokenizer_class": "BertTokenizer", "model_max_length": 1e30})));
    assert_eq!(saved(endless.path(), Limit::Positions(512)).2["model_max_length"], json!(512));
}

#[test]
fn a_pipeline_that_transformers_would_build_otherwise_is_saved_as_it_is() {
    // transformers 5 makes DeBERTa's pipeline anew for the named class.
    let dir = tempfile::tempdir().unwrap();
    save(&fixture("deberta"), dir.path(), Limit::Rows(20)).unwrap();
    std::fs::remove_file(dir.path().join("spm.model")).unwrap();
    let path = dir.path().join("tokenizer_config.json");
    std::fs::write(&path, r#"{"tokenizer_class": "DebertaV2Tokenizer", "do_lower_case": true}"#).unwrap();
    assert_eq!(
        remarks(dir.path()),
        [
            "`do_lower_case` in tokenizer_config.json and tokenizer.json contradict each other; the latter decides, as in \
          transformers 4 (5 takes the former)"
        ]
    );
    let (_to, _, config) = saved(dir.path(), Limit::Rows(20));
    assert_eq!(
        (&config["tokenizer_class"], &config["cls_token"]),
        (&json!("PreTrainedTokenizerFast"), &json!("[CLS]"))
    );
    // So does a BERT whose file splits words otherwise.
    let dir = bert(Some(&json!({"tokenizer_class": "BertTokenizer"})));
    let path = dir.path().join("tokenizer.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("BertPreTokenizer", "Whitespace")).unwrap();
    assert_eq!(
        remarks(dir.path()),
        [
            "tokenizer.json is not the pipeline of BertTokenizer, which transformers 5 builds whatever the file says; pipe \
          takes the file as it is, and saves it so that transformers does, too"
        ]
    );
    assert_eq!(saved(dir.path(), Limit::Rows(20)).2["tokenizer_class"], json!("PreTrainedTokenizerFast"));
}

#[test]
fn texts_are_cut_at_the_side_that_is_asked_for() {
    let left = bert(Some(&json!({"tokenizer_class": "BertTokenizer", "truncation_side": "left"})));
    let cut = Tokenizer::open(left.path()).unwrap().encode("panic shop shop panic shop", 4).unwrap();
    assert_eq!((cut.ids, cut.full), (vec![2, 5, 6, 3], 7));
    assert_eq!(saved(left.path(), Limit::Rows(4)).2["truncation_side"], json!("left"));
    // The truncation in tokenizer.json has a side, too, which counts without another.
    let path = left.path().join("tokenizer.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen(r#""direction":"Right""#, r#""direction":"Left""#, 2)).unwrap();
    std::fs::write(left.path().join("tokenizer_config.json"), r#"{"tokenizer_class": "BertTokenizer"}"#).unwrap();
    assert_eq!(saved(left.path(), Limit::Rows(4)).2["truncation_side"], json!("left"));
    let wrong = bert(Some(&json!({"truncation_side": "top"})));
    let message = format!("{:#}", Tokenizer::open(wrong.path()).err().expect("refused"));
    assert!(
        message.ends_with("`truncation_side` in tokenizer_config.json is \"top\"; it must be \"left\" or \"right\""),
        "{message}"
    );
}

#[test]
fn tokens_that_only_the_config_adds_are_added() {
    let token = |content: &str| {
        json!({"content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": true,
               "special": false})
    };
    let dir = bert(Some(&json!({
        "tokenizer_class": "BertTokenizer", "added_tokens_decoder": {"12": token("covid")},
        "additional_special_tokens": ["<user>"]
    })));
    assert_eq!(ids(dir.path(), "panic covid <user>"), [2, 5, 12, 13, 3]);
    let (to, whole, _) = saved(dir.path(), Limit::Rows(20));
    assert_eq!(whole["added_tokens"].as_array().unwrap().len(), 7);
    assert_eq!(ids(to.path(), "panic covid <user>"), [2, 5, 12, 13, 3]);
    let other =
        bert(Some(&json!({"tokenizer_class": "BertTokenizer", "added_tokens_decoder": {"40": token("covid")}})));
    assert_eq!(
        remarks(other.path()),
        [
            "the files give the added token `covid` the id 40, but it has 12 in tokenizer.json; the latter decides, as in \
          transformers"
        ]
    );
}

#[test]
fn special_tokens_are_text_if_the_config_says_so() {
    let plain = bert(Some(&json!({"tokenizer_class": "BertTokenizer"})));
    assert_eq!(ids(plain.path(), "panic [SEP]"), [2, 5, 3, 3]);
    let split = bert(Some(&json!({"tokenizer_class": "BertTokenizer", "split_special_tokens": true})));
    assert_eq!(ids(split.path(), "panic [SEP]"), [2, 5, 1, 1, 1, 3]);
}
