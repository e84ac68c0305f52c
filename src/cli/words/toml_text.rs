//! Writes keys and values in TOML syntax, each on one line.

use serde_json::Value;
use toml_writer::{ToTomlKey, ToTomlValue, TomlKeyBuilder, TomlStringBuilder};

/// A key, quoted if necessary.
pub fn key(text: &str) -> String {
    let key = TomlKeyBuilder::new(text);
    key.as_unquoted().unwrap_or_else(|| key.as_basic()).to_toml_key()
}

/// A string in double quotes.
pub fn string(text: &str) -> String {
    TomlStringBuilder::new(text).as_basic().to_toml_value()
}

/// A JSON value in TOML syntax, on one line.
pub fn inline(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let entries: Vec<String> =
                map.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| format!("{} = {}", key(k), inline(v))).collect();
            if entries.is_empty() { "{}".into() } else { format!("{{ {} }}", entries.join(", ")) }
        }
        Value::Array(all) => format!("[{}]", all.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::String(text) => string(text),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_on_one_line_and_read_back() {
        let value = serde_json::json!({ "a": "q\"uo\\te\n\u{1}é", "b": [1, 2.0, 5e-5, true, { "x y": [], "z": {} }], "c": null, "": "" });
        let written = inline(&value);
        assert_eq!(
            written,
            r#"{ "" = "", a = "q\"uo\\te\n\u0001é", b = [1, 2.0, 0.00005, true, { "x y" = [], z = {} }] }"#
        );
        let table =
            pipe_engine::text::value::parse(&pipe_engine::text::diagnostic::Source::new("x", format!("v = {written}")));
        assert!(table.is_ok(), "{written}");
    }
}
