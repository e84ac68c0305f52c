//! Tells whether two folders hold the same tokenizer, by what it does and not by its size.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, to_value};
use tokenizers::{ModelWrapper, Tokenizer as Library};

use super::files::{FILES, Opened, read};
use crate::compute::foreign::catch_panics;

/// What the tokenizer in `one` has instead of what `other` has: `the vocabulary: id 0 is `a` instead of `b``. None if both
/// give the same ids.
pub fn difference(one: &Path, other: &Path) -> Result<Option<String>> {
    if has_equal_files(one, other) {
        return Ok(None);
    }
    let open = |dir: &Path| {
        catch_panics(|| read(dir)).with_context(|| format!("cannot use the tokenizer in {}", dir.display()))
    };
    compare(&open(one)?, &open(other)?)
}

/// Whether all files are byte for byte the same, which saves opening large tokenizers.
fn has_equal_files(one: &Path, other: &Path) -> bool {
    let bytes = |dir: &Path| FILES.map(|name| std::fs::read(dir.join(name)).ok());
    bytes(one) == bytes(other)
}

fn compare(one: &Opened, other: &Opened) -> Result<Option<String>> {
    let (a, b) = (&one.library, &other.library);
    if let Some(text) = vocabulary(a, b) {
        return Ok(Some(text));
    }
    // What is left of the model: merges, scores, the unknown token.
    if model(a)? != model(b)? {
        let what = match a.get_model() {
            ModelWrapper::BPE(_) => "the merges",
            ModelWrapper::Unigram(_) => "the scores of the pieces",
            _ => "what becomes of unknown words",
        };
        return Ok(Some(what.to_owned()));
    }
    let steps = [
        ("the normaliser", to_value(a.get_normalizer())?, to_value(b.get_normalizer())?),
        ("the splitting into words", to_value(a.get_pre_tokenizer())?, to_value(b.get_pre_tokenizer())?),
    ];
    for (what, a, b) in &steps {
        if let Some((a, b)) = unequal(a, b) {
            return Ok(Some(format!("{what}: {a} instead of {b}")));
        }
    }
    let (ends, others) = (super::special::surroundings(a)?, super::special::surroundings(b)?);
    if ends != others {
        return Ok(Some(format!(
            "the special tokens around a text: {:?} and {:?} instead of {:?} and {:?}",
            ends.0, ends.1, others.0, others.1
        )));
    }
    if one.pad_id != other.pad_id {
        return Ok(Some(format!("the padding: id {} instead of {}", one.pad_id, other.pad_id)));
    }
    let special = |library: &Library| -> BTreeMap<u32, String> {
        let added = library.get_added_tokens_decoder();
        added.into_iter().map(|(id, token)| (id, format!("{} {}", token.content, flags(&token)))).collect()
    };
    let (a, b) = (special(a), special(b));
    let differs =
        a.iter().find(|(id, token)| b.get(id) != Some(token)).or(b.iter().find(|(id, _)| !a.contains_key(id)));
    Ok(differs.map(|(_, token)| format!("the added token {}", token.split(' ').next().unwrap_or_default())))
}

/// A difference between the vocabularies, added tokens included.
fn vocabulary(a: &Library, b: &Library) -> Option<String> {
    let (a, b) = (a.get_vocab(true), b.get_vocab(true));
    let by_id = |vocabulary: &std::collections::HashMap<String, u32>| -> BTreeMap<u32, String> {
        vocabulary.iter().map(|(token, id)| (*id, token.clone())).collect()
    };
    if a == b {
        return None;
    }
    let (a, b) = (by_id(&a.into_iter().collect()), by_id(&b.into_iter().collect()));
    let id = a.keys().chain(b.keys()).filter(|id| a.get(id) != b.get(id)).min()?;
    let shown = |side: &BTreeMap<u32, String>| side.get(id).map_or("no token".to_owned(), |token| format!("`{token}`"));
    Some(format!("the vocabulary: id {id} is {} instead of {}", shown(&a), shown(&b)))
}

/// The model without its vocabulary, which was compared before.
fn model(library: &Library) -> Result<Value> {
    let mut model = to_value(library.get_model())?;
    if let Some(fields) = model.as_object_mut() {
        // The scores of a unigram model stand in its vocabulary.
        if matches!(library.get_model(), ModelWrapper::BPE(_) | ModelWrapper::WordPiece(_)) {
            fields.remove("vocab");
        }
        // Absent and empty mean the same.
        fields.retain(|_, value| !value.is_null() && value != "");
    }
    Ok(model)
}

/// The first field in which two steps differ, or both as a whole.
fn unequal(a: &Value, b: &Value) -> Option<(String, String)> {
    if a == b {
        return None;
    }
    let short = |value: &Value| value.get("type").map_or_else(|| value.to_string(), ToString::to_string);
    let (Some(fields), Some(others)) = (a.as_object(), b.as_object()) else { return Some((short(a), short(b))) };
    if fields.get("type") != others.get("type") {
        return Some((short(a), short(b)));
    }
    // `trim_offsets` changes no id.
    let field = fields
        .keys()
        .chain(others.keys())
        .find(|name| *name != "trim_offsets" && fields.get(*name) != others.get(*name))?;
    let shown = |fields: &serde_json::Map<String, Value>| match fields.get(field) {
        Some(value @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Null)) => {
            format!("{field} {value}")
        }
        Some(_) => format!("another {field}"),
        None => format!("no {field}"),
    };
    Some((shown(fields), shown(others)))
}

fn flags(token: &tokenizers::AddedToken) -> String {
    format!("{} {} {} {}", token.single_word, token.lstrip, token.rstrip, token.normalized)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::tokenizer::open::tests::fixture;
    use crate::text::tokenizer::{Limit, copy_files, save};

    fn tiny() -> std::path::PathBuf {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join("models/tiny-roberta")
    }

    /// The difference between a saved copy of a tokenizer, changed by `change`, and the tokenizer.
    fn after(from: &Path, change: &dyn Fn(String) -> String) -> Option<String> {
        let dir = tempfile::tempdir().unwrap();
        save(from, dir.path(), Limit::Rows(20)).unwrap();
        let path = dir.path().join("tokenizer.json");
        let text = std::fs::read_to_string(&path).unwrap();
        let changed = change(text.clone());
        std::fs::write(&path, &changed).unwrap();
        difference(dir.path(), from).unwrap()
    }

    #[test]
    fn what_is_saved_is_the_same_tokenizer() {
        assert_eq!(difference(&tiny(), &tiny()).unwrap(), None);
        assert_eq!(after(&tiny(), &|text| text), None);
        for name in ["bert", "bert-cased", "deberta", "xlmr"] {
            assert_eq!(after(&fixture(name), &|text| text), None, "{name}");
        }
        let copy = tempfile::tempdir().unwrap();
        copy_files(&tiny(), copy.path()).unwrap();
        std::fs::remove_file(copy.path().join("tokenizer.json")).unwrap();
        assert_eq!(difference(copy.path(), &tiny()).unwrap(), None);
    }

    #[test]
    fn what_makes_other_ids_is_named() {
        let text = difference(&fixture("bert"), &fixture("bert-cased")).unwrap().unwrap();
        assert!(text.starts_with("the vocabulary: id "), "{text}");
        let text = difference(&fixture("deberta"), &tiny()).unwrap().unwrap();
        assert_eq!(text, "the vocabulary: id 0 is `[PAD]` instead of `<s>`");
        let swapped = |text: String| {
            let mut value: Value = serde_json::from_str(&text).unwrap();
            value["model"]["merges"].as_array_mut().unwrap().swap(0, 1);
            value.to_string()
        };
        assert_eq!(after(&tiny(), &swapped).as_deref(), Some("the merges"));
        // The same number of tokens, the same vocabulary, another normaliser.
        let accents = |text: String| text.replace("\"handle_chinese_chars\": true", "\"handle_chinese_chars\": false");
        let dir = tempfile::tempdir().unwrap();
        copy_files(&fixture("bert"), dir.path()).unwrap();
        std::fs::write(dir.path().join("tokenizer_config.json"), r#"{"do_lower_case": false}"#).unwrap();
        assert_eq!(
            difference(dir.path(), &fixture("bert")).unwrap().as_deref(),
            Some("the normaliser: lowercase false instead of lowercase true")
        );
        // tokenizer_config.json decides over a changed tokenizer.json.
        assert_eq!(after(&fixture("bert"), &accents), None);
        let strips = |text: String| text.replacen("\"lstrip\": true", "\"lstrip\": false", 1);
        assert_eq!(after(&tiny(), &strips).as_deref(), Some("the added token <mask>"));
    }
}
