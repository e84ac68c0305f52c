//! Ports: the named, typed inputs and outputs of a stage, from its kind, its parameters or its pipeline file.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, PoisonError};

/// The type of an artifact. The engine only compares names; the stages define what they mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Type(pub &'static str);

impl Type {
    /// `a corpus`, `an adapter`; plural and mass nouns have no article.
    pub fn with_article(self) -> String {
        match self.0.as_bytes().first() {
            _ if self.0.ends_with('s') && !self.0.ends_with("us") => self.0.to_string(),
            Some(b'a' | b'e' | b'i' | b'o' | b'u') => format!("an {}", self.0),
            _ => format!("a {}", self.0),
        }
    }
}

/// A named, typed input or output of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port {
    pub name: &'static str,
    pub ty: Type,
    /// Other types that an input takes.
    pub also: &'static [Type],
    pub arity: Arity,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arity {
    /// Exactly one artifact; with several sources the stage fans out.
    One,
    /// At most one artifact.
    Optional,
    /// One or more artifacts, taken together.
    Many,
}

impl Port {
    pub const fn one(name: &'static str, ty: Type) -> Self {
        Self { name, ty, also: &[], arity: Arity::One }
    }

    /// An input that takes an artifact of this type or of one of the others.
    pub const fn either(name: &'static str, ty: Type, also: &'static [Type]) -> Self {
        Self { name, ty, also, arity: Arity::One }
    }

    pub const fn optional(name: &'static str, ty: Type) -> Self {
        Self { name, ty, also: &[], arity: Arity::Optional }
    }

    pub const fn many(name: &'static str, ty: Type) -> Self {
        Self { name, ty, also: &[], arity: Arity::Many }
    }

    /// A port whose name comes from a parameter or from the pipeline file.
    pub fn named(name: &str, ty: Type, arity: Arity) -> Self {
        Self { name: interned(name), ty, also: &[], arity }
    }

    /// Whether the input takes artifacts of this type.
    pub fn takes(&self, ty: Type) -> bool {
        self.ty == ty || self.also.contains(&ty)
    }

    /// `a model or an onnx model`
    pub fn with_article(&self) -> String {
        let all: Vec<String> = [self.ty].iter().chain(self.also).map(|ty| ty.with_article()).collect();
        all.join(" or ")
    }
}

/// Whether a kind's stages can have more ports than the kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MorePorts {
    /// All stages of the kind have the same ports.
    Never,
    /// Parameters add ports: [`Stage::ports`](super::kind::Stage::ports).
    ByParameters,
    /// The file declares them too: `in.NAME = "STAGE"` and `out.NAME = "TYPE"`. The types are those of all kinds and
    /// these.
    InFile(&'static [Type]),
}

/// Ports that the parameters of a stage add to those of its kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extra {
    pub inputs: Vec<Port>,
    pub outputs: Vec<Port>,
}

/// The ports of one stage.
#[derive(Debug, Clone)]
pub struct Ports {
    pub inputs: Cow<'static, [Port]>,
    pub outputs: Cow<'static, [Port]>,
    /// The outputs that the file declares, which are among `outputs`.
    pub declared: Vec<Port>,
}

impl Ports {
    pub const fn new(inputs: &'static [Port], outputs: &'static [Port]) -> Self {
        Self { inputs: Cow::Borrowed(inputs), outputs: Cow::Borrowed(outputs), declared: Vec::new() }
    }

    pub fn input(&self, name: &str) -> Option<Port> {
        self.inputs.iter().find(|p| p.name == name).copied()
    }

    pub fn output(&self, name: &str) -> Option<Port> {
        self.outputs.iter().find(|p| p.name == name).copied()
    }

    pub(crate) fn add(&mut self, extra: &Extra) {
        if !extra.inputs.is_empty() {
            self.inputs.to_mut().extend(&extra.inputs);
        }
        if !extra.outputs.is_empty() {
            self.outputs.to_mut().extend(&extra.outputs);
        }
    }

    pub(crate) fn declare(&mut self, output: Port) {
        self.outputs.to_mut().push(output);
        self.declared.push(output);
    }
}

/// The same text for the life of the process. Pipelines name few ports, and a name is kept only once.
pub(crate) fn interned(text: &str) -> &'static str {
    static ALL: LazyLock<Mutex<HashSet<&'static str>>> = LazyLock::new(Mutex::default);
    let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    match all.get(text) {
        Some(known) => known,
        None => {
            let new: &'static str = Box::leak(text.into());
            all.insert(new);
            new
        }
    }
}
