//! Collects the gradients of a model's parameters for an optimizer step.

use anyhow::Result;
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor};

use super::adamw::AdamW;
use super::flat::Flat;
use super::gradients::Accumulated;

impl Accumulated {
    /// Add the gradients that `grads` holds for the parameters of `model`.
    pub fn add<M: Module>(&mut self, model: &M, grads: Gradients, optimizer: &AdamW) -> Result<()> {
        let mut visitor = Collect { grads, into: self, optimizer, failed: None };
        model.visit(&mut visitor);
        visitor.failed.map_or(Ok(()), Err)
    }
}

struct Collect<'a> {
    grads: Gradients,
    into: &'a mut Accumulated,
    optimizer: &'a AdamW,
    failed: Option<anyhow::Error>,
}

impl Collect<'_> {
    fn collect<const D: usize>(&mut self, param: &Param<Tensor<D>>) -> Result<()> {
        let Some(grad) = param.val().grad_remove(&mut self.grads) else { return Ok(()) };
        let Some(&place) = self.optimizer.places.get(&param.id) else { return Ok(()) };
        self.into.add_to(place, Flat::of(grad, self.optimizer.on_host)?)
    }
}

impl ModuleVisitor for Collect<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.failed.is_none() && param.is_require_grad() {
            self.failed = self.collect(param).err();
        }
    }
}
