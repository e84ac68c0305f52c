//! The folders of the artifacts that a word on the command line names.

use std::path::PathBuf;

use crate::cli::context::{Context, File, named};
use crate::error::Error;

/// The folders of a stage's artifacts, one per instance and output. `stage` may be `stage.port`; `ty` selects a type.
pub fn folders(cx: &Context<'_>, file: &File, stage: &str, ty: Option<&str>) -> Result<Vec<PathBuf>, Error> {
    let pipeline = cx.resolve(file)?;
    let project = cx.project(Some(&file.file))?;
    let (word, port) = match stage.rsplit_once('.') {
        Some((stage, port)) if named(&pipeline, &format!("{stage}.{port}")).is_empty() => (stage, Some(port)),
        _ => (stage, None),
    };
    let prepared = cx.prepare(&project, &pipeline, &[word.to_string()], &[])?;
    let verdicts = prepared.job().verdicts()?;
    let mut found = Vec::new();
    for at in named(&pipeline, word) {
        let name = &pipeline.instances[at].name;
        let Some(entry) = verdicts[at].as_ref().and_then(|v| v.entry.as_ref()) else {
            return Err(Error::failed(format!("`{name}` has no result yet")).help("`pipe run` makes its result"));
        };
        let outputs: Vec<_> = entry
            .outputs
            .iter()
            .filter(|(p, a)| port.is_none_or(|wanted| wanted == *p) && ty.is_none_or(|t| t == a.ty))
            .collect();
        if outputs.is_empty() && ty.is_none() {
            let ports: Vec<&str> = entry.outputs.keys().map(String::as_str).collect();
            return Err(Error::usage(format!("`{name}` has no output `{}`", port.unwrap_or_default()))
                .help(format!("outputs: {}", ports.join(", "))));
        }
        for (_, artifact) in outputs {
            found.push(project.cache.view(artifact)?);
        }
    }
    Ok(found)
}
