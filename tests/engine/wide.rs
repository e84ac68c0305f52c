//! Toy kinds whose stages have ports of their own, or run trials of other stages.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use pipe_engine::contract::context::Context;
use pipe_engine::contract::kind::{Arity, Extra, Invalid, MorePorts, Port, Stage, Type};
use pipe_engine::contract::trial::{Override, Sample, Target, Template, Trial, Tried};

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
        let sample = |(at, value): (usize, &i64)| Sample {
            path: vec!["values".into(), at.to_string()],
            set: Override { stage: self.varied(), key: self.key.clone(), value: (*value).into() },
        };
        vec![Template {
            key: "target",
            target: self.target.clone(),
            varied: vec![self.varied()],
            samples: self.values.iter().enumerate().map(sample).collect(),
        }]
    }

    fn run(&self, cx: &mut Context) -> anyhow::Result<()> {
        let trial = |(k, value): (usize, &i64)| Trial {
            label: format!("trial={k}"),
            target: self.target.clone(),
            overrides: vec![Override { stage: self.varied(), key: self.key.clone(), value: (*value).into() }],
            begin_with: Vec::new(),
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

/// Runs a stage in a series of trials: each value follows from the results that are known by then.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Hunt {
    target: String,
    key: String,
    count: usize,
    #[serde(default = "one")]
    parallel: usize,
}

fn one() -> usize {
    1
}

impl Stage for Hunt {
    const KIND: &'static str = "hunt";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] = &[];
    const OUTPUTS: &'static [Port] = &[Port::one("text", TEXT)];
    const RUNS_TRIALS: bool = true;

    fn templates(&self) -> Vec<Template> {
        let (target, varied) = (self.target.clone(), vec![self.target.clone()]);
        vec![Template { key: "target", target, varied, ..Template::default() }]
    }

    fn check_target(&self, target: &Target) -> Vec<Invalid> {
        let is_text = target.outputs.iter().any(|(_, ty)| *ty == "text");
        let wrong = Invalid::new("target", format!("`{}` (`{}`) gives no text", target.template.target, target.kind));
        if is_text { Vec::new() } else { vec![wrong] }
    }

    fn run(&self, cx: &mut Context) -> anyhow::Result<()> {
        let length = |tried: &Tried| match tried {
            Tried::Done(found) => std::fs::read_to_string(found.outputs["text"].join("text")).map_or(0, |t| t.len()),
            Tried::Failed { .. } => 0,
        };
        let (mut k, mut all) = (0, Vec::new());
        let tried = cx.series(self.parallel, &mut |_, known| {
            if k == self.count {
                return None;
            }
            let value = 1 + k + known.iter().map(length).sum::<usize>();
            all.push(value.to_string());
            k += 1;
            Some(Trial {
                label: format!("trial={}", k - 1),
                target: self.target.clone(),
                overrides: vec![Override { stage: self.target.clone(), key: self.key.clone(), value: value.into() }],
                begin_with: Vec::new(),
            })
        })?;
        anyhow::ensure!(tried.len() == self.count, "{} of {} trials ended", tried.len(), self.count);
        Ok(std::fs::write(cx.output("text")?.join("text"), all.join(" "))?)
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
