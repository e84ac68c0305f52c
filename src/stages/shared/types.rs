//! The types of the artifacts that flow between stages.

use pipe_engine::contract::kind::Type;

pub const CORPUS: Type = Type("corpus");
pub const TOKENS: Type = Type("tokens");
pub const MODEL: Type = Type("model");
pub const ONNX: Type = Type("onnx model");
pub const ADAPTER: Type = Type("adapter");
pub const PREDICTIONS: Type = Type("predictions");
/// What turns the logits of a model into labels: `decision.json`.
pub const DECISION: Type = Type("decision");
pub const METRICS: Type = Type("metrics");
/// The state of a training that stopped at `until`.
pub const STATE: Type = Type("state");
pub const TABLE: Type = Type("table");
