//! Every parameter by its Hugging Face name: the one list that weights, optimizer groups, freezing
//! and checkpoints use.
//!
//! A name is the path of fields in our modules, which mirror those of transformers; where a Rust
//! field cannot have that name, `rename` says what it stands for.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Gradients, Tensor, TensorData};

use super::host::{HostTensor, HostTensors};

/// What is known of a parameter without reading its values.
#[derive(Debug, Clone, PartialEq)]
pub struct Named {
    /// The name in Hugging Face files.
    pub name: String,
    /// What optimizers and gradients know it by; another one each time a model is built.
    pub id: ParamId,
    /// In the layout of Hugging Face files.
    pub shape: Vec<usize>,
    /// Whether training changes it.
    pub trainable: bool,
    /// Whether weight decay applies: not to biases and LayerNorm.
    pub decay: bool,
}

impl Named {
    pub fn size(&self) -> usize {
        self.shape.iter().product()
    }
}

/// A field's name as transformers has it.
fn rename(field: &str) -> &str {
    match field {
        "layer_norm" => "LayerNorm",
        "self_attention" => "self",
        other => other,
    }
}

/// The fields entered so far, with the type that each is a field of.
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
        let fields = self.0.iter().filter(|(_, owner)| !owner.starts_with("Enum:"));
        let name = fields.map(|(field, _)| rename(field)).collect::<Vec<_>>().join(".");
        // PEFT's names for the two factors.
        match name.rsplit_once(".lora.") {
            Some((layer, "a")) => format!("{layer}.lora_A.weight"),
            Some((layer, "b")) => format!("{layer}.lora_B.weight"),
            _ => name,
        }
    }

    /// Products keep their matrices as `[in, out]`, files as `[out, in]`.
    fn is_transposed(&self) -> bool {
        matches!(self.owner(), "Struct:Linear" | "Struct:Lora")
    }

    fn is_decayed(&self, rank: usize) -> bool {
        rank > 1 && self.owner() != "Struct:LayerNorm"
    }

    fn shape(&self, mut shape: Vec<usize>) -> Vec<usize> {
        if self.is_transposed() {
            shape.reverse();
        }
        shape
    }
}

/// Whether training changes the parameter, also when it sits on a device without autodiff, where
/// Burn keeps the answer to itself until `train()`.
fn trainable<const D: usize>(param: &Param<Tensor<D>>) -> bool {
    if !param.is_initialized() {
        // Ours are born trainable (`linear::empty`).
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
    struct Copy(Place, Result<HostTensors>);
    impl ModuleVisitor for Copy {
        fn enter_module(&mut self, name: &str, container_type: &str) {
            self.0.enter(name, container_type);
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.leave();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let Ok(host) = &mut self.1 else { return };
            match host_tensor(param.base()) {
                Ok(tensor) if self.0.is_transposed() => {
                    host.insert(self.0.name(), tensor.transposed());
                }
                Ok(tensor) => {
                    host.insert(self.0.name(), tensor);
                }
                Err(error) => self.1 = Err(error.context(format!("reading parameter {}", self.0.name()))),
            }
        }
    }
    let mut visitor = Copy(Place::default(), Ok(HostTensors::new()));
    module.visit(&mut visitor);
    visitor.1
}

/// Reads a tensor from its device as f32.
fn host_tensor<const D: usize>(tensor: Tensor<D>) -> Result<HostTensor> {
    let shape = tensor.dims().to_vec();
    match tensor.try_into_data().map(|data| data.convert::<f32>().try_into_vec::<f32>()) {
        Ok(Ok(data)) => Ok(HostTensor { shape, data }),
        Ok(Err(error)) => bail!("the device gave no f32 values: {error:?}"),
        Err(error) => bail!("the device failed: {error:?}"),
    }
}

/// Replaces parameters by the values of their name; the others stay. Returns the names for which
/// there is no parameter; a shape that differs is an error.
pub fn fill<M: Module>(module: M, host: HostTensors) -> Result<(M, Vec<String>)> {
    struct Fill(Place, HostTensors, Option<String>);
    impl ModuleMapper for Fill {
        fn enter_module(&mut self, name: &str, container_type: &str) {
            self.0.enter(name, container_type);
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.leave();
        }
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let name = self.0.name();
            let Some(tensor) = self.1.remove(&name) else { return param };
            let wanted = self.0.shape(param.lazy_shape().to_vec());
            if tensor.shape != wanted {
                let text = format!("parameter {name} has shape {:?}; the model needs {wanted:?}", tensor.shape);
                self.2.get_or_insert(text);
                return param;
            }
            let tensor = if self.0.is_transposed() { tensor.transposed() } else { tensor };
            let data = TensorData::new(tensor.data, tensor.shape);
            let value = Tensor::from_data(data, &param.lazy_device());
            let trainable = trainable(&param);
            Param::initialized(param.id, value).set_require_grad(trainable)
        }
    }
    let mut mapper = Fill(Place::default(), host, None);
    let module = module.map(&mut mapper);
    match mapper.2 {
        Some(error) => bail!(error),
        None => Ok((module, mapper.1.into_keys().collect())),
    }
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
