//! Compares ids with those of the Python libraries, and checks the messages about damaged files.

use std::path::PathBuf;

use super::*;
use crate::text::tokenizer::{Limit, Texts, copy_files, save};
use crate::watch::Silent;

/// A tiny tokenizer that `scripts/make_tokenizer_fixtures.py` made, with the ids of the Python libraries.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join("tests/fixtures/tokenizers").join(name)
}

/// Real tokenizer files next to the checkout, which are not part of the project.
fn shared(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("PIPE_SHARED")
        .map_or_else(|| Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join("../shared"), PathBuf::from);
    let path = root.join(path);
    path.exists().then_some(path)
}

fn tiny() -> Tokenizer {
    Tokenizer::open(&Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join("models/tiny-roberta")).unwrap()
}

/// Encode every text of the golden file and expect exactly its ids.
fn assert_golden(tokenizer: &Tokenizer, golden: &Path, texts: usize) {
    let text = std::fs::read_to_string(golden).unwrap();
    let rows: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), texts);
    let texts: Vec<&str> = rows.iter().map(|row| row["text"].as_str().unwrap()).collect();
    let encoded = tokenizer.encode_batch(&texts, 100_000, &Silent).unwrap();
    for (row, encoded) in rows.iter().zip(encoded) {
        let ids: Vec<u32> = serde_json::from_value(row["ids"].clone()).unwrap();
        assert_eq!(encoded.ids, ids, "{:?}", row["text"]);
    }
}

#[test]
fn ids_are_those_of_bert_tokenizer_and_of_sentencepiece() {
    let fixtures = [
        ("bert", "WordPiece", [0, 1, 2, 3, 4]),
        ("bert-cased", "WordPiece", [0, 1, 2, 3, 4]),
        ("deberta", "unigram", [0, 1, 2, 3, 600]),
        ("xlmr", "unigram", [0, 1, 2, 3, 301]),
    ];
    for (name, kind, special) in fixtures {
        let tokenizer = Tokenizer::open(&fixture(name)).unwrap();
        assert_golden(&tokenizer, &fixture(name).join("golden.jsonl"), 38);
        let ids: Vec<u32> = tokenizer.special_tokens().into_iter().map(|(id, _)| id).collect();
        assert_eq!((tokenizer.kind(), ids), (kind, special.to_vec()), "{name}");
    }
}

/// The rows of `scripts/make_pair_fixtures.py`.
#[derive(serde::Deserialize)]
struct PairRow {
    folder: String,
    kind: String,
    side: String,
    max_length: usize,
    first: String,
    second: String,
    ids: Vec<u32>,
    types: Option<Vec<u8>>,
}

#[test]
fn pairs_have_the_ids_and_types_of_transformers() {
    let text = std::fs::read_to_string(fixture("pairs.jsonl")).unwrap();
    let rows: Vec<PairRow> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut seen = std::collections::BTreeSet::new();
    for rows in rows.chunk_by(|a, b| (&a.folder, &a.kind, &a.side) == (&b.folder, &b.kind, &b.side)) {
        let PairRow { folder, kind, side, .. } = &rows[0];
        let models = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../models")).join(folder);
        let from = if models.exists() { models } else { fixture(folder) };
        let (dir, saved) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        copy_files(&from, dir.path()).unwrap();
        let config = format!(r#"{{"tokenizer_class": "{kind}", "truncation_side": "{side}"}}"#);
        std::fs::write(dir.path().join("tokenizer_config.json"), config).unwrap();
        save(dir.path(), saved.path(), Limit::Rows(64)).unwrap();
        for dir in [dir.path(), saved.path()] {
            let tokenizer = Tokenizer::open(dir).unwrap();
            for row in rows {
                let texts = [Texts { first: &row.first, second: Some(&row.second) }];
                let encoded = &tokenizer.encode_rows(&texts, row.max_length, &Silent).unwrap()[0];
                assert_eq!(encoded.ids, row.ids, "{kind} {side} {} {:?}", row.max_length, texts);
                assert_eq!(encoded.types, row.types.clone().unwrap_or_default(), "{kind} {side} {:?}", texts);
                assert!(encoded.full >= encoded.ids.len() && encoded.ids.len() <= row.max_length);
            }
        }
        seen.insert((kind, side, rows[0].types.is_some()));
    }
    assert_eq!(seen.len(), 10, "{seen:?}");
}

#[test]
fn rows_without_room_for_two_texts_are_refused() {
    let tokenizer = tiny();
    let pair = [Texts { first: "a", second: Some("b") }];
    let error = tokenizer.encode_rows(&pair, 5, &Silent).unwrap_err().to_string();
    assert_eq!(error, "max-length 5 leaves no room for two texts: each pair has 4 special tokens; use at least 6");
    assert_eq!(tokenizer.encode_rows(&pair, 6, &Silent).unwrap()[0].ids.len(), 6);
    // An empty second text is a pair with nothing between its last two special tokens.
    let [empty] = &tokenizer.encode_rows(&[Texts { first: "a", second: Some("") }], 9, &Silent).unwrap()[..] else {
        panic!("one row")
    };
    assert_eq!((empty.ids.len(), &empty.ids[2..]), (5, &[2, 2, 2][..]));
}

#[test]
fn model_input_names_decide_about_types() {
    let types = |config: &str| {
        let dir = changed("bert", "tokenizer_config.json", config.as_bytes());
        let tokenizer = Tokenizer::open(dir.path())?;
        let pair = [Texts { first: "a", second: Some("a") }];
        Ok::<_, anyhow::Error>(tokenizer.encode_rows(&pair, 9, &Silent)?.remove(0).types)
    };
    assert_eq!(types("{}").unwrap(), [0, 0, 0, 1, 1]);
    assert_eq!(types(r#"{"model_input_names": ["input_ids", "attention_mask"]}"#).unwrap(), [0u8; 0]);
    let error = format!("{:#}", types(r#"{"model_input_names": 2}"#).unwrap_err());
    assert!(
        error.ends_with("`model_input_names` in tokenizer_config.json is 2; it must be a list of names"),
        "{error}"
    );
}

#[test]
fn deberta_golden() {
    let (Some(dir), Some(golden)) =
        (shared("data/tokenizers/deberta-v3"), shared("data/tokenizers/golden/deberta-v3.jsonl"))
    else {
        println!("skipped: no shared tokenizer files");
        return;
    };
    let tokenizer = Tokenizer::open(&dir).unwrap();
    assert_eq!((tokenizer.kind(), tokenizer.vocabulary(), tokenizer.pad_id()), ("unigram", 128_001, 0));
    assert_golden(&tokenizer, &golden, 362);
}

#[test]
fn a_bert_vocabulary_of_full_size_opens() {
    let Some(dir) = shared("data/tokenizers/bert-base-uncased") else {
        println!("skipped: no shared tokenizer files");
        return;
    };
    let tokenizer = Tokenizer::open(&dir).unwrap();
    assert_eq!((tokenizer.vocabulary(), tokenizer.pad_id()), (30_522, 0));
    let ids = tokenizer.encode("Héllo, unaffable!", 20).unwrap().ids;
    assert_eq!(ids, [101, 7592, 1010, 14477, 20961, 3468, 999, 102]);
}

/// A copy of a fixture with one file replaced.
fn changed(name: &str, file: &str, bytes: &[u8]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    copy_files(&fixture(name), dir.path()).unwrap();
    std::fs::write(dir.path().join(file), bytes).unwrap();
    dir
}

fn refusal(dir: &Path) -> String {
    format!("{:#}", Tokenizer::open(dir).err().expect("it was opened"))
}

#[test]
fn a_damaged_sentencepiece_model_is_named_however_it_is_damaged() {
    let whole = std::fs::read(fixture("deberta").join("spm.model")).unwrap();
    // Cut anywhere: the pieces come first, so the rest never has everything that a model needs.
    for length in (0..whole.len()).step_by(97).chain([whole.len() - 1]) {
        let message = refusal(changed("deberta", "spm.model", &whole[..length]).path());
        assert!(message.contains("spm.model"), "{length}: {message}");
    }
    let noise: Vec<u8> = (0..4000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for bytes in [&noise[..], b"{}", &[0xFF; 64]] {
        let message = refusal(changed("deberta", "spm.model", bytes).path());
        assert!(message.contains("not a complete sentencepiece model; download or copy it again"), "{message}");
    }
}

#[test]
fn git_lfs_pointers_are_named_in_every_file() {
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
    let tiny = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join("models/tiny-roberta");
    let cases = [
        (fixture("bert"), "vocab.txt"),
        (fixture("bert"), "tokenizer.json"),
        (fixture("bert-cased"), "tokenizer_config.json"),
        (fixture("deberta"), "spm.model"),
        (fixture("deberta"), "added_tokens.json"),
        (fixture("xlmr"), "sentencepiece.bpe.model"),
        (tiny.clone(), "vocab.json"),
        (tiny, "merges.txt"),
    ];
    for (from, name) in cases {
        let dir = tempfile::tempdir().unwrap();
        copy_files(&from, dir.path()).unwrap();
        if name.ends_with("json") || name == "merges.txt" {
            // Without the whole pipeline, the other layout is read.
            std::fs::remove_file(dir.path().join("tokenizer.json")).ok();
        }
        std::fs::write(dir.path().join(name), pointer).unwrap();
        let message = refusal(dir.path());
        let expected = format!(
            "cannot read {}: a Git LFS pointer, not the file itself; download the file with `git lfs pull`",
            dir.path().join(name).display()
        );
        assert!(message.ends_with(&expected), "{name}: {message}");
    }
}

#[test]
fn a_sentencepiece_model_with_wrong_bytes_is_refused_or_encodes() {
    let whole = std::fs::read(fixture("deberta").join("spm.model")).unwrap();
    for at in (0..whole.len()).step_by(61) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        if let Ok(tokenizer) = Tokenizer::open(changed("deberta", "spm.model", &bytes).path()) {
            tokenizer.encode("…\u{301} ﬁne :) 👍🏽 and [MASK] so on\u{a0}…", 100).unwrap();
        }
    }
}

#[test]
fn what_is_not_built_is_refused_by_name() {
    let refused = |name: &str, config: &str| refusal(changed(name, "tokenizer_config.json", config.as_bytes()).path());
    let message = refused("deberta", r#"{"vocab_type": "gpt2"}"#);
    assert!(message.contains("`vocab_type` gpt2"), "{message}");
    let message = refused("xlmr", r#"{"tokenizer_class": "CamembertTokenizerFast"}"#);
    assert!(message.contains("XLMRobertaTokenizer, but tokenizer_config.json says Camembert"), "{message}");
    // Only the model's config may name the class.
    let message = refusal(changed("bert", "config.json", br#"{"tokenizer_class": "BertJapaneseTokenizer"}"#).path());
    assert!(message.contains("but config.json says BertJapaneseTokenizer"), "{message}");
    let roberta = tempfile::tempdir().unwrap();
    let tiny = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join("models/tiny-roberta");
    for name in ["vocab.json", "merges.txt"] {
        std::fs::copy(tiny.join(name), roberta.path().join(name)).unwrap();
    }
    assert!(Tokenizer::open(roberta.path()).is_ok());
    std::fs::write(roberta.path().join("tokenizer_config.json"), r#"{"tokenizer_class": "HerbertTokenizer"}"#).unwrap();
    let message = refusal(roberta.path());
    assert!(message.contains("but tokenizer_config.json says HerbertTokenizer"), "{message}");
    let message = refused("bert", r#"{"do_basic_tokenize": false}"#);
    assert!(message.contains("`do_basic_tokenize`"), "{message}");
    let message = refused("bert", r#"{"do_lower_case": "no"}"#);
    assert!(message.contains("must be true or false"), "{message}");
    let message = refusal(&fixture("bpe"));
    assert!(message.contains("a Bpe model, but only Unigram is supported; open the folder with"), "{message}");
}

#[test]
fn casing_and_punctuation_follow_the_config() {
    let ids = |config: &str| {
        let dir = changed("deberta", "tokenizer_config.json", config.as_bytes());
        Tokenizer::open(dir.path()).unwrap().encode("So, GOOD food", 100).unwrap().ids
    };
    let plain = Tokenizer::open(&fixture("deberta")).unwrap();
    assert_eq!(ids("{}"), plain.encode("So, GOOD food", 100).unwrap().ids);
    assert_eq!(ids(r#"{"do_lower_case": true}"#), plain.encode("so, good food", 100).unwrap().ids);
    // Every part gets its own space, as in transformers.
    assert_eq!(ids(r#"{"split_by_punct": true}"#), plain.encode("So , GOOD food", 100).unwrap().ids);
    // XLM-R's tokenizer ignores both settings.
    let dir = changed("xlmr", "tokenizer_config.json", br#"{"do_lower_case": true, "split_by_punct": true}"#);
    let ids = |dir: &Path| Tokenizer::open(dir).unwrap().encode("So, GOOD food", 100).unwrap().ids;
    assert_eq!(ids(dir.path()), ids(&fixture("xlmr")));
}

#[test]
fn a_vocabulary_with_a_token_twice_or_without_a_special_one_is_refused() {
    let message = refusal(changed("bert", "vocab.txt", b"[PAD]\n[UNK]\n[CLS]\n[SEP]\nso\nso\n").path());
    assert!(message.contains("has the token `so` twice, in lines 5 and 6"), "{message}");
    for missing in ["[PAD]", "[UNK]", "[CLS]", "[SEP]"] {
        let tokens: Vec<&str> =
            ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "so"].into_iter().filter(|it| *it != missing).collect();
        let message = refusal(changed("bert", "vocab.txt", tokens.join("\n").as_bytes()).path());
        assert!(message.contains(&format!("vocab.txt does not have the special token `{missing}`")), "{message}");
    }
    let message = refusal(changed("bert", "vocab.txt", b"[PAD]\n\xFF\n").path());
    assert!(message.contains("vocab.txt is not UTF-8 text"), "{message}");
}

#[test]
fn a_tokenizer_json_of_another_pipeline_decides_over_the_sentencepiece_model_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    save(&fixture("deberta"), dir.path(), Limit::Rows(100)).unwrap();
    let path = dir.path().join("tokenizer.json");
    let ours = std::fs::read_to_string(&path).unwrap();
    let text = "…\u{301}"; // The library loses the accent, sentencepiece does not.
    let exact = Tokenizer::open(&fixture("deberta")).unwrap().encode(text, 100).unwrap();
    assert_eq!(Tokenizer::open(dir.path()).unwrap().encode(text, 100).unwrap(), exact);
    std::fs::write(&path, ours.replace(r#""byte_fallback": true"#, r#""byte_fallback": false"#)).unwrap();
    assert_ne!(Tokenizer::open(dir.path()).unwrap().encode(text, 100).unwrap(), exact);
}

#[test]
fn roberta_golden_from_both_layouts() {
    let (Some(dir), Some(golden)) = (shared("data/tokenizers/roberta"), shared("data/tokenizers/golden/roberta.jsonl"))
    else {
        println!("skipped: no shared tokenizer files");
        return;
    };
    assert_golden(&Tokenizer::open(&dir).unwrap(), &golden, 362);
    let old = tempfile::tempdir().unwrap();
    for name in ["vocab.json", "merges.txt", "special_tokens_map.json"] {
        std::fs::copy(dir.join(name), old.path().join(name)).unwrap();
    }
    let old = Tokenizer::open(old.path()).unwrap();
    assert_eq!(old.pad_id(), 1);
    assert_golden(&old, &golden, 362);
}

#[test]
fn truncation_keeps_the_special_tokens_and_the_full_length() {
    let tokenizer = tiny();
    let whole = tokenizer.encode("The supermarket is not so bad today", 200).unwrap();
    let cut = tokenizer.encode("The supermarket is not so bad today", 5).unwrap();
    assert_eq!((whole.ids[0], whole.ids[whole.ids.len() - 1]), (0, 2));
    assert_eq!(cut.ids[..4], whole.ids[..4]);
    assert_eq!((cut.ids.len(), cut.ids[4]), (5, 2));
    assert_eq!((whole.full, cut.full), (whole.ids.len(), whole.ids.len()));
}

#[test]
fn a_length_without_room_for_text_is_refused() {
    let message = tiny().encode("text", 2).unwrap_err().to_string();
    assert!(message.contains("use at least 3"), "{message}");
}

#[test]
fn the_fast_way_gives_the_ids_of_the_library() {
    let tokenizer = tiny();
    let texts = [
        "",
        " ",
        "  ",
        "a",
        " a",
        "  a",
        "a  ",
        "a\n\nb",
        "a \n b",
        "\t\tx",
        "don't we'll I'M 'tis ''s",
        "x'",
        "' s",
        "£5 – “so” bad… 1st½ 12,5 %",
        "naïve Ωmega café",
        "a\u{a0}b\u{a0} c",
        "\u{2028} x",
        "日本語 is fine",
        "👍🏽 ok",
        "</s> inside",
        " <mask> lstrip",
        "#COVID19 @user https://t.co/aB3",
        "ⅷ ² ₂ ℃",
        "\u{85}z",
        "e\u{301}x",
    ];
    for text in texts {
        let ids = tokenizer.encode(text, 1000).unwrap().ids;
        assert_eq!(ids[1..ids.len() - 1], *tokenizer.by_library(text).unwrap().get_ids(), "{text:?}");
    }
}

proptest::proptest! {
    #[test]
    fn any_text_gives_the_ids_of_the_library(text in "[ -~\u{85}\u{a0}-\u{4ff}\u{2000}-\u{2bff}\n\t '’a-z]{0,40}") {
        let tokenizer = TINY.get_or_init(tiny);
        let ids = tokenizer.encode(&text, 1000).unwrap().ids;
        let expected = tokenizer.by_library(&text).unwrap();
        proptest::prop_assert_eq!(&ids[1..ids.len() - 1], expected.get_ids());
    }
}

proptest::proptest! {
    #[test]
    fn any_text_gives_the_ids_of_berts_pipeline(text in "[ -~\u{85}\u{a0}-\u{4ff}\u{2000}-\u{2bff}\u{4e00}-\u{4e10}\r\n\t ’a-z]{0,40}") {
        let tokenizer = BERT.get_or_init(|| Tokenizer::open(&fixture("bert")).unwrap());
        let ids = tokenizer.encode(&text, 1000).unwrap().ids;
        let expected = tokenizer.by_library(&text).unwrap();
        proptest::prop_assert_eq!(&ids[1..ids.len() - 1], expected.get_ids());
    }
}

static TINY: std::sync::OnceLock<Tokenizer> = std::sync::OnceLock::new();
static BERT: std::sync::OnceLock<Tokenizer> = std::sync::OnceLock::new();
