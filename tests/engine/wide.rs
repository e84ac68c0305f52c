//! Toy kinds whose stages have ports of their own, or run trials of other stages.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use pipe_engine::contract::context::Context;
use pipe_engine::contract::kind::{Arity, Extra, MorePorts, Port, Stage, Type};
use pipe_engine::contract::trial::{Override, Template, Trial, Tried};

use super::toys::TEXT;

/// Cuts a text into parts, each an output of its own.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Cut {
    parts: Vec<String>,
}

impl Stage for Cut {
    const KIND: &'static str = "cut";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] = &[Port::one("text", TEXT)];
    const OUTPUTS: &'static [Port] = &[Port::one("whole", TEXT)];
    const MORE_PORTS: MorePorts = MorePorts::ByParameters;

    fn ports(&self) -> Extra {
        let outputs = self.parts.iter().map(|name| Port::named(name, TEXT, Arity::One)).collect();
        Extra { inputs: Vec::new(), outputs }
    }

    fn run(&self, cx: &mut Context) -> anyhow::Result<()> {
        let text = std::fs::read_to_string(cx.input("text")?.dir.join("text"))?;
        let size = text.len().div_ceil(self.parts.len().max(1)).max(1);
        std::fs::write(cx.output("whole")?.join("text"), &text)?;
        for (name, part) in self.parts.iter().zip(text.as_bytes().chunks(size)) {
            std::fs::write(cx.output(name)?.join("text"), part)?;
        }
        Ok(())
    }
}

/// Writes what it was given into every output that the file declares, as any program might.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Program {}

impl Stage for Program {
    const KIND: &'static str = "program";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] = &[];
    const OUTPUTS: &'static [Port] = &[];
    const MORE_PORTS: MorePorts = MorePorts::InFile(&[Type("notes")]);

    fn run(&self, cx: &mut Context) -> anyhow::Result<()> {
        let ports: Vec<String> = cx.input_ports().map(str::to_string).collect();
        let all: anyhow::Result<Vec<String>> = ports
            .iter()
            .map(|port| Ok(format!("{port}={}", std::fs::read_to_string(cx.input(port)?.dir.join("text"))?)))
            .collect();
        let all = all?.join(" ");
        for port in cx.output_ports().to_vec() {
            std::fs::write(cx.output(port.name)?.join("text"), &all)?;
        }
        Ok(())
    }
}

/// Runs a stage with several values of one parameter and keeps the longest text.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Grid {
    /// The stage whose result counts.
    target: String,
    /// The stage whose parameter varies; by default the target.
    #[serde(default)]
    stage: Option<String>,
    key: String,
    values: Vec<i64>,
    /// Something that another grid can vary.
    #[serde(default)]
    round: i64,
}

impl Grid {
    fn varied(&self) -> String {
        self.stage.as_ref().unwrap_or(&self.target).clone()
    }
}

impl Stage for Grid {
    const KIND: &'static str = "grid";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] = &[];
    const OUTPUTS: &'static [Port] = &[Port::one("text", TEXT)];
    const RUNS_TRIALS: bool = true;

    fn templates(&self) -> Vec<Template> {
        vec![Template { key: "target", target: self.target.clone(), varied: vec![self.varied()] }]
    }

    fn run(&self, cx: &mut Context) -> anyhow::Result<()> {
        let trial = |(k, value): (usize, &i64)| Trial {
            label: format!("trial={k}"),
            target: self.target.clone(),
            overrides: vec![Override { stage: self.varied(), key: self.key.clone(), value: (*value).into() }],
        };
        let trials: Vec<Trial> = self.values.iter().enumerate().map(trial).collect();
        let mut best: Option<String> = None;
        for tried in cx.sub(&trials)? {
            match tried {
                Tried::Done(found) => {
                    let text = std::fs::read_to_string(found.outputs["text"].join("text"))?;
                    best = Some(best.filter(|best| best.len() >= text.len()).unwrap_or(text));
                }
                Tried::Failed { stage, error } => cx.note(format!("{stage} failed: {error}")),
            }
        }
        let Some(best) = best else { anyhow::bail!("all trials failed") };
        Ok(std::fs::write(cx.output("text")?.join("text"), best)?)
    }
}

/// Repeats a text, but not an unlucky number of times.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Fussy {
    times: u32,
}

impl Stage for Fussy {
    const KIND: &'static str = "fussy";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] = &[Port::one("text", TEXT)];
    const OUTPUTS: &'static [Port] = &[Port::one("text", TEXT)];

    fn run(&self, cx: &mut Context) -> anyhow::Result<()> {
        anyhow::ensure!(self.times != 13, "13 is unlucky");
        let text = std::fs::read_to_string(cx.input("text")?.dir.join("text"))?;
        Ok(std::fs::write(cx.output("text")?.join("text"), text.repeat(self.times as usize))?)
    }
}
