//! Adds the layers that all families use to a graph: tables, affine layers, normalization, activation functions.

use std::f64::consts::{FRAC_2_SQRT_PI, SQRT_2};

use super::graph::{Attribute, Graph, Kept, Value};
use super::precision::Precision;
use super::tensor::{Form, Type};
use crate::files::host::Layout;
use crate::model::activation::Activation;
use crate::model::family::name_in_files;

impl Graph {
    /// The rows `ids` of the table `module`: ids of any shape `[..]` → `[.., H]`.
    ///
    /// In int8 the graph looks rows up as integers and converts only those to floats.
    pub(super) fn embedding(&mut self, module: &str, ids: &Value) -> Value {
        let parameter = format!("{module}.weight");
        self.within(module, |g| {
            if g.precision != Precision::Int8 {
                let table = g.weight(&parameter, Form::Float(g.precision.float(), Layout::AsInFiles));
                return g.op("Gather", &[&table, ids]);
            }
            let table = g.weight(&parameter, Form::Integers(Layout::AsInFiles));
            let scales = g.weight(&parameter, Form::Scales(Layout::AsInFiles));
            let (rows, scales) = (g.op("Gather", &[&table, ids]), g.op("Gather", &[&scales, ids]));
            let rows = g.cast(&rows, Type::Float);
            g.op("Mul", &[&rows, &scales])
        })
    }

    /// The affine layer `module` over every token: `x` `[.., in]` → `[.., out]`.
    ///
    /// In int8 this is a product of integers: the graph converts `x` to unsigned 8-bit integers with one scale and one zero
    /// point at run time (`DynamicQuantizeLinear`); the weight has one scale for each output. A layer that this would change
    /// too much multiplies floats.
    pub(super) fn linear(&mut self, module: &str, x: &Value) -> Value {
        let module = name_in_files(module.to_owned());
        if self.precision != Precision::Int8 || self.kept(&module).is_some() {
            return self.float_linear(&module, x);
        }
        let [integers, scale, zero] = self.quantized(x);
        let weight = format!("{module}.weight");
        self.within(&module, |g| {
            let matrix = g.weight(&weight, Form::Integers(Layout::Transposed));
            let scales = g.weight(&weight, Form::Scales(Layout::Transposed));
            let sums = g.op("MatMulInteger", &[&integers, &matrix, &zero]);
            let sums = g.cast(&sums, Type::Float);
            // ONNX Runtime fuses this order of operators into one pass.
            let scales = g.op("Mul", &[&scale, &scales]);
            let product = g.op("Mul", &[&sums, &scales]);
            let bias = g.vector(&format!("{module}.bias"));
            g.op("Add", &[&product, &bias])
        })
    }

    /// The affine layer `module` in floats, whatever the precision: for layers applied to one vector per text, or to vectors that
    /// do not depend on the text. Integer products would save no time there; integer weights still save space.
    pub(super) fn float_linear(&mut self, module: &str, x: &Value) -> Value {
        let module = name_in_files(module.to_owned());
        let weight = format!("{module}.weight");
        self.within(&module, |g| {
            let matrix = if let Some(Kept::Everything(ty)) = g.kept(&module) {
                let matrix = g.weight(&weight, Form::Float(ty, Layout::Transposed));
                if ty == Type::Float { matrix } else { g.cast(&matrix, Type::Float) }
            } else if g.precision == Precision::Int8 {
                let matrix = g.weight(&weight, Form::Integers(Layout::Transposed));
                let scales = g.weight(&weight, Form::Scales(Layout::Transposed));
                // ONNX Runtime computes this once, when it loads the file; it would run `DequantizeLinear` every time.
                let matrix = g.cast(&matrix, Type::Float);
                g.op("Mul", &[&matrix, &scales])
            } else {
                g.weight(&weight, Form::Float(g.precision.float(), Layout::Transposed))
            };
            let product = g.op("MatMul", &[x, &matrix]);
            let bias = g.vector(&format!("{module}.bias"));
            g.op("Add", &[&product, &bias])
        })
    }

    /// The integers, scale and zero point of an activation, shared by all layers that read it.
    fn quantized(&mut self, x: &Value) -> [Value; 3] {
        if let Some(known) = self.quantized.get(x) {
            return known.clone();
        }
        let made = self.op_of("DynamicQuantizeLinear", &[x]);
        self.quantized.insert(x.clone(), made.clone());
        made
    }

    /// The normalization `module` over the last axis.
    pub(super) fn layer_norm(&mut self, module: &str, epsilon: f64, x: &Value) -> Value {
        let module = name_in_files(module.to_owned());
        self.within(&module, |g| {
            let (weight, bias) = (g.vector(&format!("{module}.weight")), g.vector(&format!("{module}.bias")));
            let attributes = [("axis", Attribute::Int(-1)), ("epsilon", Attribute::Float(epsilon as f32))];
            g.op_with("LayerNormalization", &[x, &weight, &bias], &attributes)
        })
    }

    /// A parameter that is always stored as floats: a bias, a kernel, the table of distances.
    pub(super) fn vector(&mut self, parameter: &str) -> Value {
        self.weight(parameter, Form::Float(self.precision.float(), Layout::AsInFiles))
    }

    /// Applies an activation function elementwise, with the formulas of [`Activation::forward`].
    pub(super) fn activation(&mut self, function: Activation, x: &Value) -> Value {
        match function {
            Activation::Relu => self.op("Relu", &[x]),
            Activation::Tanh => self.op("Tanh", &[x]),
            Activation::Silu => {
                let gate = self.op("Sigmoid", &[x]);
                self.op("Mul", &[x, &gate])
            }
            Activation::Gelu => {
                // Opset 17 has no Gelu; ONNX Runtime and others recognise it in these five operators.
                let root = self.number(SQRT_2);
                let scaled = self.op("Div", &[x, &root]);
                let erf = self.op("Erf", &[&scaled]);
                self.gate(x, &erf)
            }
            Activation::GeluTanh => {
                let (cubic, factor) = (self.number(0.044715), self.number(FRAC_2_SQRT_PI / SQRT_2));
                let square = self.op("Mul", &[x, x]);
                let cube = self.op("Mul", &[&square, x]);
                let bent = self.op("Mul", &[&cubic, &cube]);
                let sum = self.op("Add", &[x, &bent]);
                let scaled = self.op("Mul", &[&factor, &sum]);
                let tanh = self.op("Tanh", &[&scaled]);
                self.gate(x, &tanh)
            }
        }
    }

    /// `x · (1 + y) · 1/2`.
    fn gate(&mut self, x: &Value, y: &Value) -> Value {
        let (one, half) = (self.number(1.0), self.number(0.5));
        let sum = self.op("Add", &[y, &one]);
        let product = self.op("Mul", &[x, &sum]);
        self.op("Mul", &[&product, &half])
    }
}
