//! `pipe show`: the resolved pipeline, or the artifacts of a stage.

use crate::cli::context::{Context, File, named};
use crate::cli::words::toml_text;
use crate::error::Error;
use crate::report::format;
use crate::report::table::Table;
use pipe_engine::declare::instance::Instance;
use pipe_engine::declare::resolve::Pipeline;
use pipe_engine::store::entry::Entry;

/// Print the resolved pipeline file, or the artifacts of a stage.
#[derive(Debug, clap::Args)]
pub struct Show {
    #[command(flatten)]
    file: File,
    /// Show the artifacts of this stage.
    stage: Option<String>,
    /// Print as CSV what was measured while the stage ran; for training, speed and memory by step.
    #[arg(long, requires = "stage")]
    curve: bool,
}

impl Show {
    pub fn run(self, cx: &mut Context<'_>) -> Result<(), Error> {
        let pipeline = cx.resolve(&self.file)?;
        let Some(stage) = self.stage else { return cx.print(&resolved(&pipeline)) };
        let project = cx.project(Some(&self.file.file))?;
        if let Some(trial) = project.trial(&pipeline, &stage) {
            let text = match self.curve {
                true => curve(&stage, &trial.entry, true),
                false => artifacts(&stage, &trial.fingerprint, &trial.entry),
            };
            return cx.print(&text);
        }
        let prepared = cx.prepare(&project, &pipeline, std::slice::from_ref(&stage), &[])?;
        let verdicts = prepared.job().verdicts()?;
        let mut text = String::new();
        for at in named(&pipeline, &stage) {
            let name = &pipeline.instances[at].name;
            match verdicts[at].as_ref().and_then(|v| v.entry.as_ref().zip(v.fingerprint.as_ref())) {
                Some((entry, _)) if self.curve => text.push_str(&curve(name, entry, text.is_empty())),
                None if self.curve => return Err(Error::usage(format!("{name} has no result yet"))),
                Some((entry, fingerprint)) => text.push_str(&artifacts(name, fingerprint, entry)),
                None => text.push_str(&format!("{name}: no result yet\n")),
            }
        }
        cx.print(&text)
    }
}

fn artifacts(name: &str, fingerprint: &str, entry: &Entry) -> String {
    let made = &entry.made;
    let mut text = format!(
        "{name} ({}), made on {} UTC in {} on {}\n",
        entry.kind,
        format::moment(made.at as f64),
        format::duration(made.seconds),
        made.device
    );
    text.push_str(&format!("  fingerprint {fingerprint}\n"));
    for (port, artifact) in &entry.outputs {
        text.push_str(&format!(
            "  {port}: {}, {}, {}\n",
            artifact.ty,
            format::plural(artifact.files.len(), "file"),
            format::bytes(artifact.bytes())
        ));
        let mut table = Table::new(["", ">"]).indent(4);
        artifact.files.iter().for_each(|f| table.row([f.path.clone(), format::bytes(f.size)]));
        text.push_str(&table.render());
    }
    for sub in &made.subs {
        text.push_str(&format!("  trial {}  {}\n", sub.stage, sub.fingerprint));
    }
    for note in &made.notes {
        text.push_str(&format!("  {note}\n"));
    }
    for (name, value) in &made.facts {
        text.push_str(&format!("  {name} {}\n", format::fact(name, *value)));
    }
    if !made.curve.is_empty() {
        let points = format::plural(made.curve.rows.len(), "point");
        text.push_str(&format!("  {} at {points}; --curve prints them\n", made.curve.columns[1..].join(", ")));
    }
    text
}

/// The measured values, one line per point; the first line has the names of the columns.
fn curve(stage: &str, entry: &Entry, is_first: bool) -> String {
    let curve = &entry.made.curve;
    let mut text = String::new();
    if is_first && !curve.is_empty() {
        text = format!("stage,{}\n", curve.columns.join(","));
    }
    let stage = if stage.contains([',', '"']) { format!("\"{}\"", stage.replace('"', "\"\"")) } else { stage.into() };
    for row in &curve.rows {
        let numbers = row.iter().map(|x| x.map(|x| x.to_string()).unwrap_or_default());
        text.push_str(&format!("{stage},{}\n", numbers.collect::<Vec<_>>().join(",")));
    }
    text
}

/// The file with profile, overrides and defaults filled in, one table per instance, in the format of a pipeline file.
fn resolved(pipeline: &Pipeline) -> String {
    let mut out = format!("name = {}\n", toml_text::string(&pipeline.name));
    if let Some(about) = &pipeline.description {
        out.push_str(&format!("description = {}\n", toml_text::string(about)));
    }
    for instance in &pipeline.instances {
        out.push_str(&table(instance, pipeline));
    }
    out
}

fn table(instance: &Instance, pipeline: &Pipeline) -> String {
    let mut out = format!("\n[stage.{}]\nuse = \"{}\"\n", toml_text::key(&instance.name), instance.kind.name);
    if instance.work.is_seeded() {
        out.push_str(&format!("seed = {}\n", instance.seed));
    }
    for port in instance.ports.inputs.iter() {
        let mut sources = instance.inputs.iter().filter(|w| w.port == port.name).map(|w| {
            let from = &pipeline.instances[w.from];
            toml_text::string(&if from.ports.outputs.len() > 1 {
                format!("{}.{}", from.name, w.output)
            } else {
                from.name.clone()
            })
        });
        let text = match (sources.next(), sources.collect::<Vec<_>>()) {
            (None, _) => continue,
            (Some(one), rest) if rest.is_empty() => one,
            (Some(one), rest) => format!("[{one}, {}]", rest.join(", ")),
        };
        out.push_str(&format!("in.{} = {text}\n", port.name));
    }
    for port in &instance.ports.declared {
        out.push_str(&format!("out.{} = {}\n", toml_text::key(port.name), toml_text::string(port.ty.0)));
    }
    let parameters = instance.parameters.as_object().into_iter().flatten().filter(|(_, v)| !v.is_null());
    for (name, value) in parameters {
        let note = if instance.table.get(name).is_some() { "" } else { "  # default" };
        out.push_str(&format!("{} = {}{note}\n", toml_text::key(name), toml_text::inline(value)));
    }
    for (key, value) in instance.amounts.asked.written() {
        out.push_str(&format!("{key} = {}\n", toml_text::inline(&value)));
    }
    let export = instance.export.as_ref().map(|export| export.text.clone());
    for (key, value) in [("exclusive", &instance.exclusive), ("export", &export)] {
        out.extend(value.iter().map(|text| format!("{key} = {}\n", toml_text::string(text))));
    }
    out
}
