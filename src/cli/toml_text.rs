//! Writes values in TOML syntax, to show a resolved pipeline.

use pipe_engine::text::value::{Node, Table, Value};

/// A key, quoted if necessary.
pub fn key(text: &str) -> String {
    let is_bare = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if is_bare { text.into() } else { string(text) }
}

/// A basic string.
pub fn string(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A value on one line.
pub fn inline(value: &Value) -> String {
    match &value.node {
        Node::Bool(b) => b.to_string(),
        Node::Integer(i) => i.to_string(),
        Node::Float(f) => float(*f),
        Node::String(s) => string(s),
        Node::Array(all) => format!("[{}]", all.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Node::Table(t) if t.0.is_empty() => "{}".into(),
        Node::Table(t) => format!("{{ {} }}", entries(t).collect::<Vec<_>>().join(", ")),
    }
}

/// `key = value` for every key of a table.
pub fn entries(table: &Table) -> impl Iterator<Item = String> + '_ {
    table.0.iter().map(|i| format!("{} = {}", key(&i.key), inline(&i.value)))
}

/// TOML requires a point or an exponent, and has its own names for NaN and infinity.
fn float(f: f64) -> String {
    if f.is_nan() {
        "nan".into()
    } else if f.is_infinite() {
        if f > 0.0 { "inf".into() } else { "-inf".into() }
    } else if f != 0.0 && (f.abs() < 1e-4 || f.abs() >= 1e15) {
        format!("{f:e}")
    } else {
        format!("{f:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipe_engine::text::diagnostic::Source;
    use pipe_engine::text::value::parse;

    #[test]
    fn written_values_read_back_the_same() {
        let text = "a = \"q\\\"uo\\\\te\\n\\u0001é\"\nb = [1, 2.0, 5e-5, true, { \"x y\" = [], z = {} }]\nc = -inf\nd = 1e300\ne = 0.0";
        let read = |t: &str| parse(&Source::new("x", t)).unwrap();
        let table = read(text);
        let written: String = entries(&table).map(|l| l + "\n").collect();
        assert_eq!(
            written,
            "a = \"q\\\"uo\\\\te\\n\\u0001é\"\nb = [1, 2.0, 5e-5, true, { \"x y\" = [], z = {} }]\nc = -inf\nd = 1e300\ne = 0.0\n"
        );
        let again: String = entries(&read(&written)).map(|l| l + "\n").collect();
        assert_eq!(again, written);
    }
}
