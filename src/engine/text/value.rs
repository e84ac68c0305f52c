//! TOML values with their places in the text, and typed reading from them.

use std::sync::Arc;

use serde::de::{self, DeserializeOwned, IntoDeserializer};
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::diagnostic::{Diagnostic, Place, Source, closest, listed, short};

/// How deep tables and lists may nest. No pipeline needs more, and deeper nesting would overflow the stack.
const DEEPEST: usize = 64;

/// Syntax errors reported for one text: a file that is not TOML has one at every character.
const MOST_ERRORS: usize = 100;

/// A value and its place in the text.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    pub node: Node,
    pub place: Place,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    Bool(bool),
    Integer(i64),
    Float(f64),
    String(String),
    Array(Vec<Value>),
    Table(Table),
}

/// Keys in the order of the text.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table(pub Vec<Item>);

#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    pub key: String,
    pub key_place: Place,
    pub value: Value,
}

impl Table {
    pub fn get(&self, key: &str) -> Option<&Item> {
        self.0.iter().find(|i| i.key == key)
    }

    pub fn take(&mut self, key: &str) -> Option<Item> {
        let at = self.0.iter().position(|i| i.key == key)?;
        Some(self.0.remove(at))
    }

    /// `over` wins, leaf by leaf: tables merge, everything else replaces.
    pub fn merge(&mut self, over: Table) {
        for item in over.0 {
            match self.0.iter_mut().find(|i| i.key == item.key) {
                None => self.0.push(item),
                Some(mine) => match (&mut mine.value.node, item.value.node) {
                    (Node::Table(a), Node::Table(b)) => a.merge(b),
                    (_, node) => {
                        mine.key_place = item.key_place;
                        mine.value = Value { node, place: item.value.place };
                    }
                },
            }
        }
    }
}

impl Value {
    /// For messages: `the string "x"`, `the number 3`, `a table`.
    pub fn describe(&self) -> String {
        match &self.node {
            Node::Bool(b) => format!("`{b}`"),
            Node::Integer(i) => format!("the number {i}"),
            Node::Float(f) => format!("the number {f}"),
            Node::String(s) => format!("the string \"{}\"", short(s)),
            Node::Array(_) => "a list".into(),
            Node::Table(_) => "a table".into(),
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        match &self.node {
            Node::String(s) => Some(s),
            _ => None,
        }
    }

    pub fn as_table(&self) -> Option<&Table> {
        match &self.node {
            Node::Table(t) => Some(t),
            _ => None,
        }
    }

    /// A scalar as the user would write it, for instance names such as `full[seed=1]`.
    pub fn scalar(&self) -> Option<String> {
        match &self.node {
            Node::Bool(b) => Some(b.to_string()),
            Node::Integer(i) => Some(i.to_string()),
            Node::Float(f) => Some(f.to_string()),
            Node::String(s) => Some(s.clone()),
            Node::Array(_) | Node::Table(_) => None,
        }
    }
}

/// Parse a document; every syntax error is reported, not only the first.
pub fn parse(source: &Arc<Source>) -> Result<Table, Vec<Diagnostic>> {
    let (table, errors) = DeTable::parse_recoverable(&source.text);
    let mut problems: Vec<Diagnostic> = errors
        .iter()
        .take(MOST_ERRORS)
        .map(|e| {
            let d = Diagnostic::new(format!("this is not valid TOML: {}", e.message()));
            match e.span() {
                Some(span) => d.at(&Place::new(source, span)),
                None => d,
            }
        })
        .collect();
    let ours = Reader { source, problems: &mut problems, depth: 0 }.table(table.get_ref());
    dismantle(table.into_inner());
    if problems.is_empty() { Ok(ours) } else { Err(problems) }
}

/// Drop the parser's values without recursion: nested dotted keys can be thousands deep.
fn dismantle(table: DeTable<'_>) {
    let mut open = vec![DeValue::Table(table)];
    while let Some(value) = open.pop() {
        match value {
            DeValue::Table(table) => open.extend(table.into_iter().map(|(_, value)| value.into_inner())),
            DeValue::Array(all) => open.extend(all.into_iter().map(Spanned::into_inner)),
            _ => {}
        }
    }
}

/// Converts the parser's values into ours.
struct Reader<'a> {
    source: &'a Arc<Source>,
    problems: &'a mut Vec<Diagnostic>,
    /// The number of tables and lists around the current value.
    depth: usize,
}

impl Reader<'_> {
    fn table(&mut self, table: &DeTable<'_>) -> Table {
        let item = |(key, value): (&Spanned<DeString<'_>>, &Spanned<DeValue<'_>>)| Item {
            key: key.get_ref().to_string(),
            key_place: Place::new(self.source, key.span()),
            value: self.value(value),
        };
        let mut items: Vec<Item> = table.iter().map(item).collect();
        items.sort_by_key(|i| i.key_place.span.start);
        Table(items)
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>) -> Value {
        let place = Place::new(self.source, value.span());
        if self.depth == DEEPEST {
            self.problems
                .push(Diagnostic::new(format!("tables and lists are nested more than {DEEPEST} deep here")).at(&place));
            return Value { node: Node::Bool(false), place };
        }
        self.depth += 1;
        let node = match value.get_ref() {
            DeValue::Boolean(b) => Node::Bool(*b),
            DeValue::String(s) => Node::String(s.to_string()),
            DeValue::Integer(i) => match i64::from_str_radix(i.as_str(), i.radix()) {
                Ok(i) => Node::Integer(i),
                Err(_) => {
                    self.problems.push(Diagnostic::new("this integer does not fit in 64 bits").at(&place));
                    Node::Integer(0)
                }
            },
            DeValue::Float(f) => Node::Float(f.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Datetime(d) => Node::String(d.to_string()),
            DeValue::Array(all) => Node::Array(all.iter().map(|v| self.value(v)).collect()),
            DeValue::Table(t) => Node::Table(self.table(t)),
        };
        self.depth -= 1;
        Value { node, place }
    }
}

/// Read a table into a type, reporting every bad key and not only the first.
///
/// serde stops at its first error. So the offending top-level key is removed and the rest read again until there is no
/// error: users see all mistakes of a stage in one run.
pub fn read<T: DeserializeOwned>(table: &Table, owner: &str, owner_place: &Place) -> Result<T, Vec<Diagnostic>> {
    let mut rest = table.clone();
    let mut removed: Vec<String> = Vec::new();
    let mut problems = Vec::new();
    loop {
        let error = match T::deserialize(TableReader { table: &rest }) {
            Ok(value) if problems.is_empty() => return Ok(value),
            Ok(_) => return Err(problems),
            Err(error) => error,
        };
        match error.kind {
            // A field that is missing because its bad value was removed is not a second mistake.
            ErrorKind::Missing(field) if error.top.is_none() && removed.contains(&field) => return Err(problems),
            ErrorKind::Missing(field) if error.top.is_none() => {
                problems.push(
                    Diagnostic::new(format!("{owner} needs `{field}`"))
                        .at(owner_place)
                        .label(format!("`{field}` is missing")),
                );
                return Err(problems);
            }
            kind => {
                let diagnostic = kind.into_diagnostic(owner).at(error.place.as_ref().unwrap_or(owner_place));
                problems.push(diagnostic);
            }
        }
        match error.top.and_then(|key| rest.take(&key)) {
            Some(item) => removed.push(item.key),
            None => return Err(problems),
        }
    }
}

/// A reading error, with the place of the innermost value and the top-level key around it.
#[derive(Debug)]
struct ReadError {
    kind: ErrorKind,
    place: Option<Place>,
    top: Option<String>,
}

#[derive(Debug)]
enum ErrorKind {
    Unknown { word: String, known: &'static [&'static str] },
    Variant { word: String, known: &'static [&'static str] },
    Missing(String),
    Type { got: String, expected: String },
    Other(String),
}

impl ErrorKind {
    fn into_diagnostic(self, owner: &str) -> Diagnostic {
        match self {
            Self::Unknown { word, known } => {
                let near = closest(&word, known.iter().copied());
                let d = Diagnostic::new(format!("{owner} has no parameter `{word}`")).label("unknown key");
                match near {
                    Some(near) => d.help(format!("did you mean `{near}`?")),
                    None => d.help(format!("known: {}", listed(known.iter().copied()))),
                }
            }
            Self::Variant { word, known } => {
                Diagnostic::new(format!("`{word}` is not one of {}", listed(known.iter().copied())))
                    .label("unknown value")
                    .suggest(&word, known.iter().copied())
            }
            Self::Missing(field) => Diagnostic::new(format!("`{field}` is missing")).label(format!("needs `{field}`")),
            Self::Type { got, expected } => {
                Diagnostic::new(format!("expected {expected}, found {got}")).label(format!("expected {expected}"))
            }
            Self::Other(message) => Diagnostic::new(message),
        }
    }
}

impl ReadError {
    fn of(kind: ErrorKind) -> Self {
        Self { kind, place: None, top: None }
    }

    fn within(mut self, place: &Place) -> Self {
        self.place.get_or_insert_with(|| place.clone());
        self
    }
}

impl std::fmt::Display for ReadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.kind)
    }
}

impl std::error::Error for ReadError {}

impl de::Error for ReadError {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self::of(ErrorKind::Other(message.to_string()))
    }

    fn invalid_type(got: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::of(ErrorKind::Type { got: unexpected(got), expected: plain(expected) })
    }

    fn invalid_value(got: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::of(ErrorKind::Type { got: unexpected(got), expected: plain(expected) })
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::of(ErrorKind::Unknown { word: field.into(), known: expected })
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::of(ErrorKind::Variant { word: variant.into(), known: expected })
    }

    fn missing_field(field: &'static str) -> Self {
        Self::of(ErrorKind::Missing(field.into()))
    }
}

fn unexpected(got: de::Unexpected<'_>) -> String {
    match got {
        de::Unexpected::Bool(b) => format!("`{b}`"),
        de::Unexpected::Unsigned(n) => format!("the number {n}"),
        de::Unexpected::Signed(n) => format!("the number {n}"),
        de::Unexpected::Float(n) => format!("the number {n}"),
        de::Unexpected::Str(s) => format!("the string \"{}\"", short(s)),
        de::Unexpected::Seq => "a list".into(),
        de::Unexpected::Map => "a table".into(),
        other => other.to_string(),
    }
}

/// Translate serde's names of Rust types into words that users know.
fn plain(expected: &dyn de::Expected) -> String {
    let text = expected.to_string();
    match text.as_str() {
        "f64" | "f32" => "a number",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "a boolean" => "`true` or `false`",
        "a sequence" => "a list",
        other if other.starts_with("struct ") => "a table",
        other => other,
    }
    .to_string()
}

struct TableReader<'a> {
    table: &'a Table,
}

struct ValueReader<'a>(&'a Value);

struct Items<'a> {
    rest: std::slice::Iter<'a, Item>,
    current: Option<&'a Item>,
}

impl<'de> de::Deserializer<'de> for TableReader<'_> {
    type Error = ReadError;

    fn deserialize_any<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_map(Items { rest: self.table.0.iter(), current: None })
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> de::MapAccess<'de> for Items<'_> {
    type Error = ReadError;

    fn next_key_seed<K: de::DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ReadError> {
        self.current = self.rest.next();
        let Some(item) = self.current else { return Ok(None) };
        seed.deserialize(item.key.as_str().into_deserializer()).map(Some).map_err(|e: ReadError| {
            let mut e = e.within(&item.key_place);
            e.top = Some(item.key.clone());
            e
        })
    }

    fn next_value_seed<V: de::DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let item = self.current.ok_or_else(|| de::Error::custom("internal error: a value without its key"))?;
        seed.deserialize(ValueReader(&item.value)).map_err(|e| {
            let mut e = e.within(&item.value.place);
            e.top = Some(item.key.clone());
            e
        })
    }
}

struct Elements<'a>(std::slice::Iter<'a, Value>);

impl<'de> de::SeqAccess<'de> for Elements<'_> {
    type Error = ReadError;

    fn next_element_seed<T: de::DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, ReadError> {
        let Some(value) = self.0.next() else { return Ok(None) };
        seed.deserialize(ValueReader(value)).map(Some).map_err(|e| e.within(&value.place))
    }
}

impl<'de> de::Deserializer<'de> for ValueReader<'_> {
    type Error = ReadError;

    fn deserialize_any<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.0.node {
            Node::Bool(b) => visitor.visit_bool(*b),
            Node::Integer(i) => visitor.visit_i64(*i),
            Node::Float(f) => visitor.visit_f64(*f),
            Node::String(s) => visitor.visit_str(s),
            Node::Array(all) => visitor.visit_seq(Elements(all.iter())),
            Node::Table(table) => TableReader { table }.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: de::Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    /// Enums are written as a string, or as a table of one key whose value is the variant's content.
    fn deserialize_enum<V: de::Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match &self.0.node {
            Node::String(s) => visitor.visit_enum(s.as_str().into_deserializer()),
            Node::Table(t) if t.0.len() == 1 => visitor.visit_enum(OneOf(&t.0[0])),
            _ => Err(ReadError::of(ErrorKind::Type {
                got: self.0.describe(),
                expected: format!("one of {}", listed(variants.iter().copied())),
            })),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// A table of one key, read as an enum variant with content.
struct OneOf<'a>(&'a Item);

impl<'de, 'a> de::EnumAccess<'de> for OneOf<'a> {
    type Error = ReadError;
    type Variant = OneOf<'a>;

    fn variant_seed<V: de::DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, OneOf<'a>), ReadError> {
        let value = seed
            .deserialize(self.0.key.as_str().into_deserializer())
            .map_err(|e: ReadError| e.within(&self.0.key_place))?;
        Ok((value, self))
    }
}

impl<'de> de::VariantAccess<'de> for OneOf<'_> {
    type Error = ReadError;

    fn unit_variant(self) -> Result<(), ReadError> {
        Err(de::Error::custom(format!("`{}` takes no value: write it as a string", self.0.key)))
    }

    fn newtype_variant_seed<T: de::DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, ReadError> {
        seed.deserialize(ValueReader(&self.0.value)).map_err(|e| e.within(&self.0.value.place))
    }

    fn tuple_variant<V: de::Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, ReadError> {
        de::Deserializer::deserialize_any(ValueReader(&self.0.value), visitor)
    }

    fn struct_variant<V: de::Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        de::Deserializer::deserialize_any(ValueReader(&self.0.value), visitor)
    }
}
