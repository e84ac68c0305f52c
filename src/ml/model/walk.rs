//! Visits every parameter under its Hugging Face name. Weight files, optimizer groups, freezing and checkpoints all use
//! these names.
//!
//! A name is the path of fields in the modules, which mirror those of transformers. If a Rust
//! field cannot have the same name, `rename` translates it.

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Gradients, Tensor, TensorData};
use rayon::prelude::*;

use super::distilbert;
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

/// The name of a field in transformers.
fn rename(field: &str) -> &str {
    match field {
        "layer_norm" => "LayerNorm",
        "self_attention" => "self",
        other => other,
    }
}

/// The path of fields to the current parameter, each with the type that it is a field of.
#[derive(Default)]
struct Place(Vec<(String, String)>);

impl Place {
    fn enter(&mut self, field: &str, owner: &str) {
        self.0.push((field.into(), owner.into()));
    }

    fn leave(&mut self) {
        self.0.pop();
    }

    fn owner(&self) -> &str {
        self.0.last().map_or("", |(_, owner)| owner)
    }

    fn name(&self) -> String {
        // Names include neither the family's enum variant nor the wrapper that training puts around the model.
        let is_named = |(field, owner): &&(String, String)| {
            !owner.starts_with("Enum:") && (field.as_str(), owner.as_str()) != ("model", "Struct:Pupil")
        };
        let fields = self.0.iter().filter(is_named);
        let name = distilbert::rename(fields.map(|(field, _)| rename(field)).collect::<Vec<_>>().join("."));
        // PEFT's names for the two factors.
        match name.rsplit_once(".lora.") {
            Some((layer, "a")) => format!("{layer}.lora_A.weight"),
            Some((layer, "b")) => format!("{layer}.lora_B.weight"),
            _ => name,
        }
    }

    /// Linear layers store matrices as `[in, out]`, files as `[out, in]`.
    fn layout(&self) -> Layout {
        match self.owner() {
            "Struct:Linear" | "Struct:Lora" => Layout::Transposed,
            _ => Layout::AsInFiles,
        }
    }

    fn is_decayed(&self, rank: usize) -> bool {
        rank > 1 && self.owner() != "Struct:LayerNorm"
    }

    fn shape(&self, mut shape: Vec<usize>) -> Vec<usize> {
        if self.layout() == Layout::Transposed {
            shape.reverse();
        }
        shape
    }
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
pub fn list<M: Module>(module: &M) -> Vec<Named> {
    struct List(Place, Vec<Named>);
    impl ModuleVisitor for List {
        fn enter_module(&mut self, name: &str, container_type: &str) {
            self.0.enter(name, container_type);
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.leave();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.1.push(Named {
                name: self.0.name(),
                id: param.id,
                shape: self.0.shape(param.lazy_shape().to_vec()),
                layout: self.0.layout(),
                trainable: trainable(param),
                decay: self.0.is_decayed(D),
            });
        }
    }
    let mut visitor = List(Place::default(), Vec::new());
    module.visit(&mut visitor);
    visitor.1
}

/// Copies every parameter into main memory.
pub fn to_host<M: Module>(module: &M) -> Result<HostTensors> {
    to_host_of(module, |_| true)
}

/// Copies the parameters whose name `wanted` accepts.
pub fn to_host_of<M: Module>(module: &M, wanted: impl Fn(&str) -> bool) -> Result<HostTensors> {
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
pub struct Piece<'a> {
    pub name: &'a str,
    /// Shape of the whole parameter.
    pub shape: &'a [usize],
    pub values: Vec<f32>,
}

/// Passes every parameter to `see`, from its first row to its last, in small pieces: no second copy of the model is in
/// memory.
pub fn for_each_piece<M: Module>(module: &M, see: impl FnMut(Piece) -> Result<()>) -> Result<()> {
    struct Pieces<F>(Place, F, Result<()>);
    impl<F: FnMut(Piece) -> Result<()>> ModuleVisitor for Pieces<F> {
        fn enter_module(&mut self, name: &str, container_type: &str) {
            self.0.enter(name, container_type);
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.leave();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if self.2.is_err() {
                return;
            }
            let (name, layout, tensor) = (self.0.name(), self.0.layout(), param.base());
            let shape = self.0.shape(tensor.dims().to_vec());
            // The first axis in files.
            let axis = if layout == Layout::Transposed { D - 1 } else { 0 };
            let shown = rows(tensor, axis).try_for_each(|rows| {
                let values = host_tensor(rows)?.into_layout(layout);
                (self.1)(Piece { name: &name, shape: &shape, values })
            });
            self.2 = shown.map_err(|error| error.context(format!("reading parameter {name}")));
        }
    }
    let mut visitor = Pieces(Place::default(), see, Ok(()));
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
pub fn fill<M: Module>(module: M, mut host: HostTensors) -> Result<(M, Vec<String>)> {
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
pub fn place<M: Module>(module: M, values: BTreeMap<String, Vec<f32>>) -> M {
    struct Put(Place, BTreeMap<String, Vec<f32>>);
    impl ModuleMapper for Put {
        fn enter_module(&mut self, name: &str, container_type: &str) {
            self.0.enter(name, container_type);
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
    module.map(&mut Put(Place::default(), values))
}

/// Sets which parameters training changes, by name.
pub fn set_trainable<M: Module>(module: M, wanted: impl FnMut(&str) -> bool) -> M {
    struct Freeze<F>(Place, F);
    impl<F: FnMut(&str) -> bool> ModuleMapper for Freeze<F> {
        fn enter_module(&mut self, name: &str, container_type: &str) {
            self.0.enter(name, container_type);
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.leave();
        }
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let wanted = (self.1)(&self.0.name());
            param.set_require_grad(wanted)
        }
    }
    module.map(&mut Freeze(Place::default(), wanted))
}

/// The L2 norm of each parameter's gradient; parameters without one are left out.
pub fn gradient_norms<M: Module>(module: &M, gradients: &Gradients) -> Result<BTreeMap<String, f64>> {
    struct Norms<'a>(Place, &'a Gradients, Result<BTreeMap<String, f64>>);
    impl ModuleVisitor for Norms<'_> {
        fn enter_module(&mut self, name: &str, container_type: &str) {
            self.0.enter(name, container_type);
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
    let mut visitor = Norms(Place::default(), gradients, Ok(BTreeMap::new()));
    module.visit(&mut visitor);
    visitor.2
}
