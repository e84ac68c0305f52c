//! Functions that are shaped as the F1 score of a fine-tuned model over its hyper-parameters. They compare samplers; they do
//! not predict scores. `scripts/compare/search.py` has the same ones.

use pipe_ml::search::Value::{Category as C, Float as F, Integer as I};
use pipe_ml::search::{Domain, Parameter, Point, Space, Value, When};

/// The value of the best point of each surrogate.
pub const BEST: f64 = 0.87;

pub struct Surrogate {
    pub name: &'static str,
    pub space: Space,
    /// Trial 0: the values in the pipeline file.
    pub file: Point,
    pub value: fn(&[f64]) -> f64,
    /// Standard deviation of what is observed around the value.
    pub noise: f64,
}

impl Surrogate {
    pub fn at(&self, point: &Point) -> f64 {
        let number = |value: &Option<Value>| match value {
            Some(Value::Float(x)) => *x,
            Some(Value::Integer(x)) => *x as f64,
            Some(Value::Category(x)) => *x as f64,
            None => 0.0,
        };
        (self.value)(&point.iter().map(number).collect::<Vec<f64>>())
    }

    pub fn all() -> Vec<Self> {
        let shape = || Space {
            parameters: vec![
                float("learning-rate", (1e-5, 5e-5), true),
                choice("batch-size", 3),
                float("weight-decay", (0.0, 0.3), false),
                choice("schedule", 3),
                choice("layers", 4),
            ],
        };
        let mut conditional = Space {
            parameters: vec![
                choice("method", 2),
                float("learning-rate", (1e-6, 1e-3), true),
                choice("layers", 4),
                integer("rank", (2, 64), true),
                float("alpha", (0.5, 4.0), true),
            ],
        };
        for (index, category) in [(2, 0), (3, 1), (4, 1)] {
            conditional.parameters[index].when = Some(When { parameter: 0, categories: vec![category] });
        }
        let wide = Space {
            parameters: vec![
                float("learning-rate", (1e-6, 1e-3), true),
                float("weight-decay", (0.0, 0.3), false),
                float("warmup", (0.0, 0.2), false),
                float("dropout", (0.0, 0.3), false),
                float("smoothing", (0.0, 0.2), false),
                integer("epochs", (1, 5), false),
                integer("batch-size", (8, 64), true),
                choice("schedule", 3),
            ],
        };
        let file = || point(&[F(2e-5), C(1), F(0.01), C(0), C(3)]);
        let of_wide = point(&[F(5e-5), F(0.01), F(0.0), F(0.1), F(0.0), I(3), I(16), C(0)]);
        let mut of_conditional = point(&[C(0), F(2e-5), C(3)]);
        of_conditional.extend([None, None]);
        let surrogate = |name, space, file, value| Self { name, space, file, value, noise: 0.0 };
        vec![
            surrogate("shape", shape(), file(), self::shape),
            surrogate("interaction", shape(), file(), interaction),
            Self { noise: 0.003, ..surrogate("noise", shape(), file(), self::shape) },
            surrogate("conditional", conditional, of_conditional, self::conditional),
            surrogate("wide", wide, of_wide, self::wide),
        ]
    }
}

fn point(values: &[Value]) -> Point {
    values.iter().copied().map(Some).collect()
}

fn float(name: &str, (low, high): (f64, f64), log: bool) -> Parameter {
    Parameter { name: name.into(), domain: Domain::Float { low, high, log }, when: None }
}

fn integer(name: &str, (low, high): (i64, i64), log: bool) -> Parameter {
    Parameter { name: name.into(), domain: Domain::Integer { low, high, step: 1, log }, when: None }
}

fn choice(name: &str, choices: usize) -> Parameter {
    Parameter { name: name.into(), domain: Domain::Categories(choices), when: None }
}

fn log10(x: f64) -> f64 {
    x.log10()
}

fn log2(x: f64) -> f64 {
    x.log2()
}

fn square(x: f64) -> f64 {
    x * x
}

/// The space of the COVID-19 search: learning rate, batch size of 8, 16, 32, weight decay, schedule, layers of 4, 6, 8, 12.
fn shape(x: &[f64]) -> f64 {
    BEST - 0.18 * square(log10(x[0]) - log10(4e-5))
        - [0.0, 0.004, 0.01][x[1] as usize]
        - 0.05 * square(x[2] - 0.05)
        - [0.002, 0.0, 0.003][x[3] as usize]
        - [0.03, 0.015, 0.006, 0.0][x[4] as usize]
}

/// The same space; the best learning rate grows with the batch, the best number of layers with the schedule.
fn interaction(x: &[f64]) -> f64 {
    let batch = [8.0, 16.0, 32.0][x[1] as usize];
    BEST - 0.25 * square(log10(x[0]) - log10(2e-5) - 0.5 * log10(batch / 16.0))
        - [0.004, 0.0, 0.002][x[1] as usize]
        - 0.05 * square(x[2] - 0.1)
        - [0.002, 0.0, 0.003][x[3] as usize]
        - 0.004 * (x[4] - x[3] - 1.0).abs()
}

/// Full fine-tuning with a number of layers, or LoRA with a rank and a factor: another learning rate is best for each.
fn conditional(x: &[f64]) -> f64 {
    if x[0] == 0.0 {
        return 0.862 - 0.02 * square(log10(x[1]) - log10(3e-5)) - [0.03, 0.015, 0.006, 0.0][x[2] as usize];
    }
    BEST - 0.015 * square(log10(x[1]) - log10(3e-4))
        - 0.001 * square(log2(x[3]) - 4.0)
        - 0.01 * square(log2(x[4]) - 1.0)
}

/// Eight parameters, most of which hardly matter, over ranges wider than anyone needs.
fn wide(x: &[f64]) -> f64 {
    BEST - 0.02 * square(log10(x[0]) - log10(3e-5))
        - 0.05 * square(x[1] - 0.05)
        - 0.3 * square(x[2] - 0.06)
        - 0.1 * square(x[3] - 0.1)
        - 0.1 * square(x[4] - 0.05)
        - 0.002 * square(x[5] - 4.0)
        - 0.003 * square(log2(x[6]) - 4.0)
        - [0.002, 0.0, 0.003][x[7] as usize]
}
