//! Visits every parameter under its Hugging Face name. Weight files, optimizer groups, freezing and checkpoints all use
//! these names.
//!
//! A name is the path of fields in the modules, which mirror those of transformers; the names of structs have no part in it.
//! Burn tells a visitor nothing else about a parameter, so what differs between module and file also follows from fields:
//! [`ENDS`] says which ones hold a transposed matrix.

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Gradients, Tensor, TensorData};
use rayon::prelude::*;

use super::family::name_in_files;
use super::linear::Linear;
use crate::files::host::{HostTensor, HostTensors, Layout};

/// A parameter's properties, without its values.
#[derive(Debug, Clone, PartialEq)]
pub struct Named {
    /// The name in Hugging Face files.
    pub name: String,
    /// Identifies the parameter in optimizers and gradients; differs each time a model is built.
    pub id: ParamId,
    /// Shape in the layout of Hugging Face files.
    pub shape: Vec<usize>,
    /// Its layout in the module.
    pub layout: Layout,
    /// Whether training changes it.
    pub trainable: bool,
    /// Whether weight decay applies; it does not apply to biases and LayerNorm.
    pub decay: bool,
}

impl Named {
    pub fn size(&self) -> usize {
        self.shape.iter().product()
    }
}

/// A module whose parameters have names in files.
pub trait Parameters: Module {
    /// The fields from this module to the one that the names begin in, from the outermost. Fields beside them are part of names.
    const AROUND: &'static [&'static str] = &[];
}

impl Parameters for Linear {}

/// Ends of paths that are other in files. All are of matrices that their modules store as `[in, out]` and files as `[out, in]`. The names of an adapter's two factors are PEFT's.
const ENDS: [(&[&str], &str); 3] =
    [(&["matrix"], "weight"), (&["lora", "a"], "lora_A.weight"), (&["lora", "b"], "lora_B.weight")];

/// The name in transformers of a field that cannot have this name in Rust.
fn rename(field: &str) -> &str {
    match field {
        "layer_norm" => "LayerNorm",
        "self_attention" => "self",
        other => other,
    }
}

/// The path of fields to the current parameter.
struct Place {
    around: &'static [&'static str],
    fields: Vec<String>,
}

impl Place {
    /// The start of a walk through a module.
    fn before<M: Parameters>() -> Self {
        Place { around: M::AROUND, fields: Vec::new() }
    }

    fn enter(&mut self, field: &str) {
        self.fields.push(field.into());
    }

    fn leave(&mut self) {
        self.fields.pop();
    }

    /// The parameter's name in files, and its layout in the module.
    fn parameter(&self) -> (String, Layout) {
        // The variants of enums, a family or a kind of head, are part of the path but not of names. Unlike fields, they are
        // written in capitals.
        let is_field = |field: &&str| !field.starts_with(char::is_uppercase);
        let path: Vec<&str> = self.fields.iter().map(String::as_str).filter(is_field).collect();
        let path = path.strip_prefix(self.around).unwrap_or(&path);
        let end = ENDS.iter().find_map(|(fields, end)| Some((path.strip_suffix(*fields)?, *end)));
        let (path, end, layout) = match end {
            Some((path, end)) => (path, Some(end), Layout::Transposed),
            None => (path, None, Layout::AsInFiles),
        };
        let fields: Vec<&str> = path.iter().map(|field| rename(field)).chain(end).collect();
        (name_in_files(fields.join(".")), layout)
    }

    fn name(&self) -> String {
        self.parameter().0
    }
}

/// The shape in files of a parameter with this shape and layout in its module.
fn shape_in_files(mut shape: Vec<usize>, layout: Layout) -> Vec<usize> {
    if layout == Layout::Transposed {
        shape.reverse();
    }
    shape
}

/// Whether training changes the parameter. On a device without autodiff, Burn gives the answer only after `train()`.
fn trainable<const D: usize>(param: &Param<Tensor<D>>) -> bool {
    if !param.is_initialized() {
        // `linear::empty` creates trainable parameters.
        return true;
    }
    let value = param.base();
    value.is_require_grad() || !value.is_autodiff() && param.clone().train().is_require_grad()
}

/// Lists the parameters of `module` in the order of its fields.
pub(crate) fn list<M: Parameters>(module: &M) -> Vec<Named> {
    struct List(Place, Vec<Named>);
    impl ModuleVisitor for List {
        fn enter_module(&mut self, field: &str, _: &str) {
            self.0.enter(field);
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.leave();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let (name, layout) = self.0.parameter();
            let shape = shape_in_files(param.lazy_shape().to_vec(), layout);
            // Biases and the parameters of LayerNorm are vectors.
            self.1.push(Named { name, id: param.id, shape, layout, trainable: trainable(param), decay: D > 1 });
        }
    }
    let mut visitor = List(Place::before::<M>(), Vec::new());
    module.visit(&mut visitor);
    visitor.1
}

/// Copies every parameter into main memory.
pub(crate) fn to_host<M: Parameters>(module: &M) -> Result<HostTensors> {
    to_host_of(module, |_| true)
}

/// Copies the parameters whose name `wanted` accepts.
pub(crate) fn to_host_of<M: Parameters>(module: &M, wanted: impl Fn(&str) -> bool) -> Result<HostTensors> {
    let mut host = HostTensors::new();
    for_each_piece(module, |piece| {
        if !wanted(piece.name) {
            return Ok(());
        }
        let (name, shape) = (piece.name.to_owned(), piece.shape.to_vec());
        let size = shape.iter().product();
        let whole = host.entry(name).or_insert_with(|| HostTensor { shape, data: Vec::with_capacity(size) });
        whole.data.extend(piece.values);
        Ok(())
    })?;
    Ok(host)
}

/// Some rows of a parameter, in the layout of Hugging Face files.
pub(crate) struct Piece<'a> {
    pub name: &'a str,
    /// Shape of the whole parameter.
    pub shape: &'a [usize],
    pub values: Vec<f32>,
}

/// Passes every parameter to `see`, from its first row to its last, in small pieces: no second copy of the model is in
/// memory.
pub(crate) fn for_each_piece<M: Parameters>(module: &M, see: impl FnMut(Piece) -> Result<()>) -> Result<()> {
    struct Pieces<F>(Place, F, Result<()>);
    impl<F: FnMut(Piece) -> Result<()>> ModuleVisitor for Pieces<F> {
        fn enter_module(&mut self, field: &str, _: &str) {
            self.0.enter(field);
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.leave();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if self.2.is_err() {
                return;
            }
            let ((name, layout), tensor) = (self.0.parameter(), param.base());
            let shape = shape_in_files(tensor.dims().to_vec(), layout);
            // The first axis in files.
            let axis = if layout == Layout::Transposed { D - 1 } else { 0 };
            let shown = rows(tensor, axis).try_for_each(|rows| {
                let values = host_tensor(rows)?.into_layout(layout);
                (self.1)(Piece { name: &name, shape: &shape, values })
            });
            self.2 = shown.map_err(|error| error.context(format!("reading parameter {name}")));
        }
    }
    let mut visitor = Pieces(Place::before::<M>(), see, Ok(()));
    module.visit(&mut visitor);
    visitor.2
}

/// Splits a tensor along an axis into parts of a few megabytes.
fn rows<const D: usize>(tensor: Tensor<D>, axis: usize) -> impl Iterator<Item = Tensor<D>> {
    /// Values per part: a matrix of 1024 × 4096 is one part, because copying all of it is much faster than copying some columns.
    const PART: usize = 4 << 20;
    let dims = tensor.dims();
    let all = dims[axis];
    let row = dims.iter().product::<usize>().checked_div(all).unwrap_or(0);
    let step = PART.checked_div(row).unwrap_or(all).clamp(1, all.max(1));
    (0..all.max(1)).step_by(step).map(move |from| match step < all {
        true => tensor.clone().narrow(axis, from, step.min(all - from)),
        false => tensor.clone(),
    })
}

/// Reads a tensor from its device as f32.
fn host_tensor<const D: usize>(tensor: Tensor<D>) -> Result<HostTensor> {
    let shape = tensor.dims().to_vec();
    match tensor.try_into_data().map(|data| data.convert::<f32>().try_into_vec::<f32>()) {
        Ok(Ok(data)) => Ok(HostTensor { shape, data }),
        Ok(Err(error)) => bail!("the device did not return f32 values: {error:?}"),
        Err(error) => bail!("the device failed: {error:?}"),
    }
}

/// Replaces the parameters that `host` has values for. Returns the names in `host` without a
/// parameter; fails if a shape differs.
pub(crate) fn fill<M: Parameters>(module: M, mut host: HostTensors) -> Result<(M, Vec<String>)> {
    let mut found = Vec::new();
    for Named { name, shape, layout, .. } in list(&module) {
        if let Some(tensor) = host.remove(&name) {
            ensure!(tensor.shape == shape, "parameter {name} has shape {:?}; the model needs {shape:?}", tensor.shape);
            found.push((name, tensor, layout));
        }
    }
    let values = found.into_par_iter().map(|(name, tensor, layout)| (name, tensor.into_layout(layout))).collect();
    Ok((place(module, values), host.into_keys().collect()))
}

/// Replaces parameters by `values`, which must have the right number of values in the layout of the module.
/// On a device that computes in main memory, it copies nothing.
pub(crate) fn place<M: Parameters>(module: M, values: BTreeMap<String, Vec<f32>>) -> M {
    struct Put(Place, BTreeMap<String, Vec<f32>>);
    impl ModuleMapper for Put {
        fn enter_module(&mut self, field: &str, _: &str) {
            self.0.enter(field);
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.leave();
        }
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let Some(values) = self.1.remove(&self.0.name()) else { return param };
            let data = TensorData::new(values, param.lazy_shape());
            let value = Tensor::from_data(data, &param.lazy_device());
            let trainable = trainable(&param);
            Param::initialized(param.id, value).set_require_grad(trainable)
        }
    }
    module.map(&mut Put(Place::before::<M>(), values))
}

/// Sets which parameters training changes, by name.
pub(crate) fn set_trainable<M: Parameters>(module: M, wanted: impl FnMut(&str) -> bool) -> M {
    struct Freeze<F>(Place, F);
    impl<F: FnMut(&str) -> bool> ModuleMapper for Freeze<F> {
        fn enter_module(&mut self, field: &str, _: &str) {
            self.0.enter(field);
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.leave();
        }
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let wanted = (self.1)(&self.0.name());
            param.set_require_grad(wanted)
        }
    }
    module.map(&mut Freeze(Place::before::<M>(), wanted))
}

/// The L2 norm of each parameter's gradient; parameters without one are left out.
pub(crate) fn gradient_norms<M: Parameters>(module: &M, gradients: &Gradients) -> Result<BTreeMap<String, f64>> {
    struct Norms<'a>(Place, &'a Gradients, Result<BTreeMap<String, f64>>);
    impl ModuleVisitor for Norms<'_> {
        fn enter_module(&mut self, field: &str, _: &str) {
            self.0.enter(field);
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.leave();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let Ok(norms) = &mut self.2 else { return };
            let Some(gradient) = param.base().grad(self.1) else { return };
            match host_tensor(gradient) {
                Ok(tensor) => {
                    let squares: f64 = tensor.data.iter().map(|v| f64::from(*v) * f64::from(*v)).sum();
                    norms.insert(self.0.name(), squares.sqrt());
                }
                Err(error) => self.2 = Err(error.context(format!("reading the gradient of {}", self.0.name()))),
            }
        }
    }
    let mut visitor = Norms(Place::before::<M>(), gradients, Ok(BTreeMap::new()));
    module.visit(&mut visitor);
    visitor.2
}

#[cfg(test)]
#[path = "walk_tests.rs"]
mod tests;
