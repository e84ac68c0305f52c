//! Writes an ONNX file from a graph and its model's weights in one pass.
//!
//! Source: `onnx.proto`, which defines the messages and fields named here. All lengths are known before any weight is read,
//! so at most one matrix is in memory.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};

use super::graph::{Graph, LOGITS};
use super::protobuf::Message;
use super::tensor::{Content, Tensor, Type};
use crate::files::weights::stored::Stored;
use crate::files::weights::write_file;

/// The first opset with `LayerNormalization` (2021); ONNX Runtime 1.12 and later support it.
const OPSET: i64 = 17;
/// The version of the file format released with that opset.
const IR_VERSION: i64 = 8;
/// Protobuf's limit; a larger model stores its weights in a second file.
pub(super) const LARGEST: u64 = (1 << 31) - 1;
/// Suffix of the second file's name, as Optimum writes it.
pub(super) const EXTERNAL: &str = "_data";
/// Tensors in the second file start at multiples of the page size, so that the file can be memory-mapped.
const PAGE: u64 = 4096;

/// The stored tensor of each parameter, by name.
pub(super) type Sources<'a> = BTreeMap<String, &'a Stored>;

/// A tensor with its size and its position in the output files.
struct Placed<'a> {
    tensor: &'a Tensor,
    /// Size of its data.
    bytes: u64,
    /// Its `TensorProto`, without the data.
    head: Message,
    /// The offset of its data in the second file; `None` if the data follows the head.
    beside: Option<u64>,
}

/// Writes the graph and its weights to `path`, or the weights to a second file if the whole would exceed `limit` bytes. Returns
/// the paths of the files.
pub(super) fn write(path: &Path, graph: &Graph, sources: &Sources, limit: u64) -> Result<Vec<PathBuf>> {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let beside = format!("{name}{EXTERNAL}");
    let mut tensors = place(graph, sources, None)?;
    let mut files = vec![path.to_owned()];
    if tensors.iter().map(Placed::length).sum::<u64>() + graph.nodes.len() + PAGE > limit {
        tensors = place(graph, sources, Some(&beside))?;
        let path = path.with_file_name(&beside);
        write_file(&path, |file| write_beside(&mut BufWriter::new(file), &tensors, sources))?;
        files.push(path);
    }
    write_file(path, |file| write_model(&mut BufWriter::new(file), graph, &tensors, sources))?;
    Ok(files)
}

/// Computes the size and head of each tensor. If `beside` names a second file, the data of weights goes there.
fn place<'a>(graph: &'a Graph, sources: &Sources, beside: Option<&str>) -> Result<Vec<Placed<'a>>> {
    let mut end = 0u64;
    let place = |tensor: &'a Tensor| -> Result<Placed<'a>> {
        let (ty, dims) = match &tensor.content {
            Content::Constant { ty, dims, .. } => (*ty, dims.clone()),
            Content::Weight { parameter, form } => (form.ty(), form.dims(&source(sources, parameter)?.shape)),
        };
        let bytes = dims.iter().map(|dim| *dim as u64).product::<u64>() * ty.bytes();
        let dims: Vec<i64> = dims.iter().map(|dim| *dim as i64).collect();
        let mut head = Message::default().ints(1, &dims).int(2, ty as i64).text(8, &tensor.name);
        let Some(file) = beside.filter(|_| tensor.parameter().is_some()) else {
            head = head.announce(9, bytes); // raw_data
            return Ok(Placed { tensor, bytes, head, beside: None });
        };
        let at = end.next_multiple_of(PAGE);
        end = at + bytes;
        for (key, value) in [("location", file), ("offset", &at.to_string()), ("length", &bytes.to_string())] {
            head = head.message(13, &Message::default().text(1, key).text(2, value)); // external_data
        }
        Ok(Placed { tensor, bytes, head: head.int(14, 1), beside: Some(at) }) // data_location EXTERNAL
    };
    graph.tensors.iter().map(place).collect()
}

fn source<'a>(sources: &Sources<'a>, parameter: &str) -> Result<&'a Stored> {
    sources.get(parameter).copied().ok_or_else(|| anyhow!("the model has no parameter {parameter}"))
}

impl Placed<'_> {
    /// Length of the whole `TensorProto` in bytes.
    fn length(&self) -> u64 {
        self.head.len() + if self.beside.is_some() { 0 } else { self.bytes }
    }

    fn write_numbers(&self, out: &mut impl Write, sources: &Sources) -> Result<()> {
        let mut written = 0;
        let mut put = |bytes: &[u8]| -> Result<()> {
            written += bytes.len() as u64;
            Ok(out.write_all(bytes)?)
        };
        match &self.tensor.content {
            Content::Constant { bytes, .. } => put(bytes)?,
            Content::Weight { parameter, form } => {
                let stored = source(sources, parameter)?;
                let context = || format!("reading {}: tensor {parameter}", stored.path().display());
                form.write(stored, &mut put).with_context(context)?;
            }
        }
        let Placed { tensor, bytes, .. } = self;
        ensure!(written == *bytes, "tensor {} has {written} bytes of data; its shape needs {bytes}", tensor.name);
        Ok(())
    }
}

fn write_beside(out: &mut impl Write, tensors: &[Placed], sources: &Sources) -> Result<()> {
    let mut end = 0;
    for tensor in tensors {
        let Some(at) = tensor.beside else { continue };
        out.write_all(&vec![0; (at - end) as usize])?;
        tensor.write_numbers(out, sources)?;
        end = at + tensor.bytes;
    }
    Ok(out.flush()?)
}

/// Writes a `ModelProto` that contains a `GraphProto`.
fn write_model(out: &mut impl Write, graph: &Graph, tensors: &[Placed], sources: &Sources) -> Result<()> {
    let initializer = |tensor: &Placed| Message::default().announce(5, tensor.length());
    let (batch, sequence, labels) = ("batch", "sequence", "labels");
    let mut rest = Message::default();
    for name in &graph.inputs {
        rest = rest.message(11, &value_info(name, Type::Int64, [batch, sequence]));
    }
    rest = rest.message(12, &value_info(LOGITS, Type::Float, [batch, labels]));
    let mut first = graph.nodes.clone();
    first.append(&Message::default().text(2, "classifier"));
    let initializers: u64 = tensors.iter().map(|tensor| initializer(tensor).len() + tensor.length()).sum();

    let opset = Message::default().text(1, "").int(2, OPSET);
    let model = Message::default()
        .int(1, IR_VERSION)
        .text(2, "pipe")
        .text(3, env!("CARGO_PKG_VERSION"))
        .message(8, &opset)
        .announce(7, first.len() + initializers + rest.len());
    out.write_all(model.as_bytes())?;
    out.write_all(first.as_bytes())?;
    for tensor in tensors {
        out.write_all(initializer(tensor).as_bytes())?;
        out.write_all(tensor.head.as_bytes())?;
        if tensor.beside.is_none() {
            tensor.write_numbers(out, sources)?;
        }
    }
    out.write_all(rest.as_bytes())?;
    Ok(out.flush()?)
}

/// A `ValueInfoProto`: a tensor with named, dynamic axes.
fn value_info(name: &str, ty: Type, axes: [&str; 2]) -> Message {
    let shape = axes.iter().fold(Message::default(), |shape, axis| shape.message(1, &Message::default().text(2, axis)));
    let tensor = Message::default().int(1, ty as i64).message(2, &shape);
    Message::default().text(1, name).message(2, &Message::default().message(1, &tensor))
}
