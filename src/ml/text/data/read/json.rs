//! Parses JSON: one object per line, or an array of objects.

use std::ops::ControlFlow;

use anyhow::{Error, Result, anyhow, bail};
use serde_json::Value;

use super::error::ReadError;
use super::listed::short;
use super::missing::MissingColumn;
use super::table::{Part, Roles, Sink, Values};
use crate::text::data::declare::spec::Column;

/// How many fields of an object a message names.
const NAMED: usize = 8;

/// Parse one JSON object per line.
pub(crate) fn lines(part: &Part, bytes: &[u8], sink: &mut Sink) -> Result<()> {
    let mut objects = Objects::new(part)?;
    for (at, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if !line.is_empty() {
            let (text, cut) = part.decoder.decode(line);
            objects.object(at as u64 + 1, serde_json::from_str(&text), cut, sink);
        }
    }
    objects.finish()
}

/// Parse one JSON array of objects, over any number of lines.
pub(crate) fn array(part: &Part, bytes: &[u8], sink: &mut Sink) -> Result<()> {
    let (text, cut) = part.decoder.decode(bytes);
    let mut objects = Objects::new(part)?;
    elements(&part.name, &text, |line, value| {
        objects.object(line, Ok(value), cut.min(1), sink);
        ControlFlow::Continue(())
    })?;
    objects.finish()
}

/// Give the elements of a JSON array one by one, each with the line that it begins on; `take` says when it is enough.
pub(crate) fn elements(name: &str, text: &str, mut take: impl FnMut(u64, Value) -> ControlFlow<()>) -> Result<()> {
    let bytes = text.as_bytes();
    let blank = |at: usize| at + bytes[at..].iter().take_while(|byte| b" \t\n\r".contains(byte)).count();
    let mut at = blank(0);
    if bytes.get(at) != Some(&b'[') {
        return Err(not_an_array(name, text));
    }
    let (mut seen, mut line) = (0, 1);
    let broken = |line: u64, why: &str| format!("{name}:{line} is not a JSON array of objects: {why}");
    at = blank(at + 1);
    let mut is_empty = true;
    loop {
        line += bytes[seen..at].iter().filter(|byte| **byte == b'\n').count() as u64;
        seen = at;
        if is_empty && bytes.get(at) == Some(&b']') {
            break;
        }
        is_empty = false;
        let mut elements = serde_json::Deserializer::from_slice(&bytes[at..]).into_iter::<Value>();
        match elements.next() {
            Some(Ok(value)) => {
                if take(line, value).is_break() {
                    return Ok(());
                }
            }
            Some(Err(error)) => bail!(broken(line + error.line() as u64 - 1, &error.to_string())),
            None => bail!(broken(line, "it ends before its `]`")),
        }
        at = blank(at + elements.byte_offset());
        match bytes.get(at) {
            Some(b',') => at = blank(at + 1),
            Some(b']') => break,
            _ => bail!(broken(line, "a comma or `]` must follow an element")),
        }
    }
    if blank(at + 1) != bytes.len() {
        bail!(broken(line, "text follows the array"));
    }
    Ok(())
}

fn not_an_array(name: &str, text: &str) -> Error {
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    if serde_json::from_str::<serde_json::Map<String, Value>>(first).is_ok() && text.trim().lines().count() > 1 {
        return ReadError::ObjectPerLine { name: name.to_owned() }.into();
    }
    match serde_json::from_str::<serde_json::Map<String, Value>>(text) {
        Ok(object) => {
            let fields: Vec<String> = object.keys().take(NAMED).map(|key| format!("`{}`", short(key))).collect();
            let fields = fields.join(", ");
            anyhow!("{name} is one JSON object with the fields {fields}; the file must be an array of objects")
        }
        Err(error) => anyhow!("{name}:{} is not a JSON array of objects: {error}", error.line()),
    }
}

/// The objects of a file while they are read.
struct Objects<'a> {
    part: &'a Part<'a>,
    roles: Roles<Key>,
    /// The fields of the first object.
    keys: Option<Vec<String>>,
    /// Whether the text, the second text, the label, the id and the date occurred at all.
    seen: [bool; 5],
}

/// A field: its name, or the names on the way to it.
struct Key {
    whole: String,
    role: &'static str,
}

impl Key {
    /// The value under the name; if there is none, under the parts of the name between dots, in objects and arrays.
    fn get<'v>(&self, object: &'v serde_json::Map<String, Value>) -> Option<&'v Value> {
        if let Some(value) = object.get(&self.whole) {
            return Some(value);
        }
        let mut parts = self.whole.split('.');
        let first = object.get(parts.next()?)?;
        parts.try_fold(first, |value, part| match value {
            Value::Object(inner) => inner.get(part),
            Value::Array(inner) => inner.get(part.parse::<usize>().ok()?),
            _ => None,
        })
    }
}

impl<'a> Objects<'a> {
    fn new(part: &'a Part<'a>) -> Result<Self> {
        let roles = Roles::find(part, |column, role| match column {
            Column::Name(name) => Ok(Key { whole: name.clone(), role }),
            Column::Number(number) => Err(ReadError::NumberInJson { number: *number, role }.into()),
        })?;
        Ok(Self { part, roles, keys: None, seen: [false; 5] })
    }

    fn object(&mut self, line: u64, value: serde_json::Result<Value>, cut: u64, sink: &mut Sink) {
        let part = self.part;
        let object = match value {
            Ok(Value::Object(object)) => object,
            Ok(_) => return sink.reject(part, line, "not a JSON object", String::new(), 1),
            Err(error) => return sink.reject(part, line, "not JSON", error.to_string(), 1),
        };
        self.keys.get_or_insert_with(|| object.keys().cloned().collect());
        let roles = &self.roles;
        let wanted =
            [Some(&roles.text), roles.pair.as_ref(), roles.label.as_ref(), roles.id.as_ref(), roles.date.as_ref()];
        for (seen, key) in self.seen.iter_mut().zip(wanted) {
            *seen |= key.is_none_or(|key| key.get(&object).is_some());
        }
        let text = |key: &Key| key.get(&object).and_then(Value::as_str).map(str::to_owned);
        let value = |key: &Key| key.get(&object).and_then(scalar);
        let values = Values {
            text: text(&roles.text),
            pair: roles.pair.as_ref().and_then(text),
            label: roles.label.as_ref().and_then(value),
            id: roles.id.as_ref().and_then(value),
            date: roles.date.as_ref().and_then(value),
            split: roles.split.as_ref().and_then(value),
            others: roles.others.iter().map(|key| value(key).unwrap_or_default()).collect(),
            cut,
        };
        sink.take(part, roles, line, values);
    }

    fn finish(self) -> Result<()> {
        let Some(keys) = self.keys else { return Ok(()) };
        let roles = &self.roles;
        let wanted =
            [Some(&roles.text), roles.pair.as_ref(), roles.label.as_ref(), roles.id.as_ref(), roles.date.as_ref()];
        for (seen, key) in self.seen.into_iter().zip(wanted) {
            if let (false, Some(key)) = (seen, key) {
                return Err(ReadError::from(MissingColumn::new(&keys, &key.whole.as_str().into(), key.role)).into());
            }
        }
        Ok(())
    }
}

/// The text of a label or id given as string, number or boolean; `None` for null, blanks, lists and objects.
pub(crate) fn scalar(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    (!text.is_empty()).then_some(text)
}
