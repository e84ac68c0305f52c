//! Builds an ONNX graph: adds operators one after another and names their outputs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;

use super::precision::Precision;
use super::protobuf::Message;
use super::tensor::{Content, Form, Tensor, Type};

/// The inputs of every graph, named as in Optimum's exports; 64-bit integers `[batch, sequence]`.
pub(super) const INPUTS: [&str; 2] = ["input_ids", "attention_mask"];
/// A third input of the graphs of models that read pairs of texts, if they have a table of token types.
pub(super) const TYPES: &str = "token_type_ids";
/// The output of a graph, `[batch, labels]`.
pub(super) const LOGITS: &str = "logits";

/// The name of an operator's output, a constant, or an input.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Value(Rc<str>);

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The value of an operator's attribute.
pub(super) enum Attribute<'a> {
    Int(i64),
    Ints(&'a [i64]),
    Float(f32),
}

/// Operators of ONNX opset 17, and the tensors that they read.
///
/// Names are those of modules and parameters in Hugging Face files, so that a reader can match the graph to them.
pub(super) struct Graph {
    pub precision: Precision,
    /// The names of its inputs.
    pub inputs: Vec<&'static str>,
    /// Linear layers that int8 would change too much, by name.
    kept: BTreeMap<String, Kept>,
    /// `NodeProto`s.
    pub nodes: Message,
    pub tensors: Vec<Tensor>,
    /// The module whose operators are being added.
    scope: String,
    names: BTreeSet<Rc<str>>,
    /// Activations that are already quantized: integers, scale and zero point.
    pub(super) quantized: BTreeMap<Value, [Value; 3]>,
}

/// What a layer keeps in a graph of integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// Its activations stay floats; its weights are integers.
    Activations,
    /// Its weights too, stored in this type.
    Everything(Type),
}

/// Fields of `NodeProto`.
const INPUT: u64 = 1;
const OUTPUT: u64 = 2;
const NAME: u64 = 3;
const OP_TYPE: u64 = 4;
const ATTRIBUTE: u64 = 5;

impl Graph {
    pub(super) fn new(precision: Precision) -> Self {
        Graph {
            precision,
            inputs: INPUTS.to_vec(),
            kept: BTreeMap::new(),
            nodes: Message::default(),
            tensors: Vec::new(),
            scope: String::new(),
            names: BTreeSet::new(),
            quantized: BTreeMap::new(),
        }
    }

    /// A graph of integers in which these layers keep more.
    pub(super) fn keeping(kept: BTreeMap<String, Kept>) -> Self {
        Graph { kept, ..Graph::new(Precision::Int8) }
    }

    /// The same graph with an input for token types.
    pub(super) fn with_types(mut self) -> Self {
        self.inputs.push(TYPES);
        self
    }

    /// What a layer keeps, by its name in files.
    pub(super) fn kept(&self, module: &str) -> Option<Kept> {
        self.kept.get(module).copied()
    }

    /// Runs `build` with the module's name as the prefix of operator names.
    pub(super) fn within<T>(&mut self, module: &str, build: impl FnOnce(&mut Self) -> T) -> T {
        let outer = std::mem::replace(&mut self.scope, module.to_owned());
        let built = build(self);
        self.scope = outer;
        built
    }

    /// An input of the graph.
    pub(super) fn input(&mut self, name: &str) -> Value {
        Value(name.into())
    }

    pub(super) fn op(&mut self, kind: &str, inputs: &[&Value]) -> Value {
        self.op_with(kind, inputs, &[])
    }

    pub(super) fn op_with(&mut self, kind: &str, inputs: &[&Value], attributes: &[(&str, Attribute)]) -> Value {
        let name = self.free_name(kind);
        self.node(kind, inputs, &[Value(name.clone())], attributes);
        Value(name)
    }

    /// An operator with `N` outputs.
    pub(super) fn op_of<const N: usize>(&mut self, kind: &str, inputs: &[&Value]) -> [Value; N] {
        let name = self.free_name(kind);
        let outputs = std::array::from_fn(|i| Value(format!("{name}:{i}").into()));
        self.node(kind, inputs, &outputs, &[]);
        outputs
    }

    /// Makes `value` an output of the graph under `name`.
    pub(super) fn output(&mut self, name: &str, value: &Value) {
        self.node("Identity", &[value], &[Value(name.into())], &[]);
    }

    pub(super) fn cast(&mut self, value: &Value, to: Type) -> Value {
        self.op_with("Cast", &[value], &[("to", Attribute::Int(to as i64))])
    }

    fn node(&mut self, kind: &str, inputs: &[&Value], outputs: &[Value], attributes: &[(&str, Attribute)]) {
        let mut node = Message::default();
        for input in inputs {
            node = node.text(INPUT, &input.0);
        }
        for output in outputs {
            node = node.text(OUTPUT, &output.0);
        }
        let name = outputs.first().map_or("", |output| &output.0);
        node = node.text(NAME, name).text(OP_TYPE, kind);
        for (name, attribute) in attributes {
            node = node.message(ATTRIBUTE, &encode(name, attribute));
        }
        self.nodes = std::mem::take(&mut self.nodes).message(GRAPH_NODE, &node);
    }

    /// An unused name from the module and the operator, with a number if there are several.
    fn free_name(&mut self, kind: &str) -> Rc<str> {
        let first = format!("{}/{kind}", self.scope);
        let mut name: Rc<str> = first.as_str().into();
        for number in 2.. {
            if self.names.insert(name.clone()) {
                break;
            }
            name = format!("{first}_{number}").into();
        }
        name
    }

    /// A constant in the graph's float type.
    pub(super) fn number(&mut self, number: f64) -> Value {
        let ty = self.precision.float();
        self.constant(format!("{number}"), ty, &[], ty.encode(&[number as f32]))
    }

    /// A 64-bit integer constant, for counting and indexing.
    pub(super) fn index(&mut self, index: i64) -> Value {
        self.constant(format!("{index}"), Type::Int64, &[], index.to_le_bytes().to_vec())
    }

    /// A list of 64-bit integers: axes, a shape, a table.
    pub(super) fn list(&mut self, name: &str, list: &[i64]) -> Value {
        let bytes = list.iter().flat_map(|index| index.to_le_bytes()).collect();
        self.constant(name.to_owned(), Type::Int64, &[list.len()], bytes)
    }

    /// A short list of 64-bit integers, named after its content.
    pub(super) fn axes(&mut self, axes: &[i64]) -> Value {
        self.list(&format!("{axes:?}"), axes)
    }

    fn constant(&mut self, name: String, ty: Type, dims: &[usize], bytes: Vec<u8>) -> Value {
        let name = format!("{}/{name}", ty.name());
        self.tensor(name, || Content::Constant { ty, dims: dims.to_vec(), bytes })
    }

    /// A parameter of the model in the given form.
    pub(super) fn weight(&mut self, parameter: &str, form: Form) -> Value {
        let name = format!("{parameter}{}", form.suffix());
        self.tensor(name, || Content::Weight { parameter: parameter.to_owned(), form })
    }

    /// Adds a tensor to the file unless one of this name exists; equal names mean equal tensors.
    fn tensor(&mut self, name: String, content: impl FnOnce() -> Content) -> Value {
        let value: Rc<str> = name.as_str().into();
        if self.names.insert(value.clone()) {
            self.tensors.push(Tensor { name, content: content() });
        }
        Value(value)
    }
}

/// Field of `GraphProto`.
const GRAPH_NODE: u64 = 1;

/// Encodes an `AttributeProto`.
fn encode(name: &str, attribute: &Attribute) -> Message {
    const TYPE: u64 = 20;
    let message = Message::default().text(1, name);
    match attribute {
        Attribute::Float(value) => message.float(2, *value).int(TYPE, 1),
        Attribute::Int(value) => message.int(3, *value).int(TYPE, 2),
        Attribute::Ints(values) => message.ints(8, values).int(TYPE, 7),
    }
}
