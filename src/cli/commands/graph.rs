//! `pipe graph`: draw the stages and their connections.

use clap::ValueEnum;

use crate::cli::context::{Context, File};
use crate::error::Error;
use crate::report::graph;
use pipe_engine::declare::graph::Graph as Dag;
use pipe_engine::declare::instance::Instance;
use pipe_engine::declare::resolve::Pipeline;

/// Draw the stages and their connections.
#[derive(Debug, clap::Args)]
pub struct Graph {
    #[command(flatten)]
    file: File,
    /// The output format.
    #[arg(long, short, value_enum, default_value_t = Format::Ascii)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A tree for the terminal.
    Ascii,
    /// Mermaid, which GitHub and GitLab render in Markdown.
    Mermaid,
    /// DOT, for Graphviz.
    Dot,
    /// An SVG image.
    Svg,
}

impl Graph {
    pub fn run(self, cx: &mut Context<'_>) -> Result<(), Error> {
        let graph = drawn(&cx.resolve(&self.file)?);
        let text = match self.format {
            Format::Ascii => graph.ascii(),
            Format::Mermaid => graph.mermaid(),
            Format::Dot => graph.dot(),
            Format::Svg => graph.svg(),
        };
        cx.print(&text)
    }
}

fn drawn(pipeline: &Pipeline) -> graph::Graph {
    let node = |i: &Instance| graph::Node { name: i.name.clone(), kind: i.kind.name.into(), class: None };
    let nodes = pipeline.instances.iter().map(node).collect();
    graph::Graph { name: pipeline.name.clone(), nodes, edges: Dag::of(&pipeline.instances).edges().collect() }
}
