//! Turns an operation on slices into a differentiable operation on tensors.

use std::fmt::Debug;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{DType, Tensor};

use super::values::Values;
use crate::compute::device;

/// Whether the fused operations support `x`: an `f32` tensor on the CPU.
pub(crate) fn fuses<const D: usize>(x: &Tensor<D>) -> bool {
    x.dtype() == DType::F32 && device::is_cpu(&x.device())
}

/// A differentiable function of `N` tensors.
pub(super) trait Operation<const N: usize>: Clone + Send + Debug + 'static {
    /// Values of the forward pass that the backward pass needs.
    type Saved: Clone + Send + Debug + 'static;

    /// The result, and the values to keep for the backward pass.
    fn forward(&self, inputs: [Values; N]) -> (Values, Self::Saved);

    /// Only the result; called if no gradient is needed.
    fn infer(&self, inputs: [Values; N]) -> Values {
        self.forward(inputs).0
    }

    /// The gradients of the `wanted` inputs, from the gradient of the result.
    fn backward(saved: Self::Saved, grad: Values, wanted: [bool; N]) -> [Option<Values>; N];
}

/// Adds [`Operation`]s to Burn's CPU backend, with one method for each number of inputs.
#[backend_extension(Flex, Autodiff)]
pub(super) trait Fused: Backend {
    fn fused1<O: Operation<1>>(a: FloatTensor<Self>, operation: O) -> FloatTensor<Self>;
    fn fused3<O: Operation<3>>(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        operation: O,
    ) -> FloatTensor<Self>;
    fn fused4<O: Operation<4>>(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        d: FloatTensor<Self>,
        operation: O,
    ) -> FloatTensor<Self>;
    fn fused5<O: Operation<5>>(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        d: FloatTensor<Self>,
        e: FloatTensor<Self>,
        operation: O,
    ) -> FloatTensor<Self>;
}

/// Applies `operation` to one tensor.
pub(super) fn apply1<const D: usize>(operation: impl Operation<1>, a: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::fused1(a.into_dispatch(), operation))
}

/// Applies `operation` to three tensors.
pub(super) fn apply3<const A: usize, const B: usize, const C: usize>(
    operation: impl Operation<3>,
    (a, b, c): (Tensor<A>, Tensor<B>, Tensor<C>),
) -> Tensor<A> {
    Tensor::from_dispatch(Dispatch::fused3(a.into_dispatch(), b.into_dispatch(), c.into_dispatch(), operation))
}

/// Applies `operation` to four tensors.
pub(super) fn apply4<const A: usize, const B: usize, const C: usize, const E: usize>(
    operation: impl Operation<4>,
    (a, b, c, d): (Tensor<A>, Tensor<B>, Tensor<C>, Tensor<E>),
) -> Tensor<A> {
    let (a, b, c, d) = (a.into_dispatch(), b.into_dispatch(), c.into_dispatch(), d.into_dispatch());
    Tensor::from_dispatch(Dispatch::fused4(a, b, c, d, operation))
}

/// Applies `operation` to five tensors.
pub(super) fn apply5<const A: usize, const B: usize, const C: usize, const E: usize, const F: usize>(
    operation: impl Operation<5>,
    (a, b, c, d, e): (Tensor<A>, Tensor<B>, Tensor<C>, Tensor<E>, Tensor<F>),
) -> Tensor<A> {
    let (a, b, c, d, e) =
        (a.into_dispatch(), b.into_dispatch(), c.into_dispatch(), d.into_dispatch(), e.into_dispatch());
    Tensor::from_dispatch(Dispatch::fused5(a, b, c, d, e, operation))
}

impl Fused for Flex {
    fn fused1<O: Operation<1>>(a: FloatTensor<Self>, operation: O) -> FloatTensor<Self> {
        operation.infer([a].map(Values::of)).into_tensor()
    }

    fn fused3<O: Operation<3>>(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        operation: O,
    ) -> FloatTensor<Self> {
        operation.infer([a, b, c].map(Values::of)).into_tensor()
    }

    fn fused4<O: Operation<4>>(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        d: FloatTensor<Self>,
        operation: O,
    ) -> FloatTensor<Self> {
        operation.infer([a, b, c, d].map(Values::of)).into_tensor()
    }

    fn fused5<O: Operation<5>>(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        d: FloatTensor<Self>,
        e: FloatTensor<Self>,
        operation: O,
    ) -> FloatTensor<Self> {
        operation.infer([a, b, c, d, e].map(Values::of)).into_tensor()
    }
}

impl<S: CheckpointStrategy> Fused for Autodiff<Flex, S> {
    fn fused1<O: Operation<1>>(a: FloatTensor<Self>, operation: O) -> FloatTensor<Self> {
        record::<O, S, 1>([a], operation)
    }

    fn fused3<O: Operation<3>>(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        operation: O,
    ) -> FloatTensor<Self> {
        record::<O, S, 3>([a, b, c], operation)
    }

    fn fused4<O: Operation<4>>(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        d: FloatTensor<Self>,
        operation: O,
    ) -> FloatTensor<Self> {
        record::<O, S, 4>([a, b, c, d], operation)
    }

    fn fused5<O: Operation<5>>(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        d: FloatTensor<Self>,
        e: FloatTensor<Self>,
        operation: O,
    ) -> FloatTensor<Self> {
        record::<O, S, 5>([a, b, c, d, e], operation)
    }
}

/// Computes the result and registers the backward pass in the autodiff graph.
fn record<O: Operation<N>, S: CheckpointStrategy, const N: usize>(
    inputs: [FloatTensor<Autodiff<Flex, S>>; N],
    operation: O,
) -> FloatTensor<Autodiff<Flex, S>> {
    let guards = inputs.each_ref().map(|input| input.node());
    let values = inputs.map(|input| Values::of(input.into_primitive()));
    match Step::<O>(std::marker::PhantomData).prepare::<S>(guards).compute_bound().stateful() {
        OpsKind::Tracked(step) => {
            let (result, saved) = operation.forward(values);
            step.finish(saved, result.into_tensor())
        }
        OpsKind::UnTracked(step) => step.finish(operation.infer(values).into_tensor()),
    }
}

/// The backward pass of an operation.
#[derive(Debug)]
struct Step<O>(std::marker::PhantomData<fn() -> O>);

impl<O: Operation<N>, const N: usize> Backward<Flex, N> for Step<O> {
    type State = O::Saved;

    fn backward(self, ops: Ops<O::Saved, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = Values::of(grads.consume::<Flex>(&ops.node));
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let found = O::backward(ops.state, grad, wanted);
        for (parent, grad) in ops.parents.iter().zip(found) {
            if let (Some(parent), Some(grad)) = (parent, grad) {
                grads.register::<Flex>(parent.id, grad.into_tensor());
            }
        }
    }
}
