//! A plan in a file: written by `pipe plan --out`, held against what is true now by `pipe run --plan`.

use std::path::Path;

use crate::error::Error;
use pipe_engine::declare::resolve::Pipeline;
use pipe_engine::judge::plan::{Moved, Plan, VERSION};

/// More departures than a reader wants to see of a plan that has to be made anew anyway.
const SHOWN: usize = 10;

/// Write a plan whole or not at all.
pub fn write(path: &Path, plan: &Plan) -> Result<(), Error> {
    let dir = path.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !dir.is_dir() {
        return Err(Error::usage(format!(
            "cannot write the plan {}: there is no folder {}",
            path.display(),
            dir.display()
        )));
    }
    let write = || -> std::io::Result<()> {
        let temp = tempfile::NamedTempFile::new_in(dir)?;
        std::fs::write(temp.path(), serde_json::to_string_pretty(plan)? + "\n")?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        temp.as_file().set_permissions(mode)?;
        temp.persist(path).map_err(|e| e.error)?;
        Ok(())
    };
    write().map_err(|e| Error::failed(format!("cannot write the plan {}: {e}", path.display())))
}

pub fn read(path: &Path) -> Result<Plan, Error> {
    let shown = path.display();
    let bytes = std::fs::read(path).map_err(|e| Error::usage(format!("cannot read the plan {shown}: {e}")))?;
    let wrong = |what: String| {
        Error::usage(format!("{shown} is not a plan of this version of pipe: {what}"))
            .help("`pipe plan FILE --out PLAN` writes one")
    };
    let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(|e| wrong(e.to_string()))?;
    match value.get("version").and_then(serde_json::Value::as_u64) {
        Some(version) if version == u64::from(VERSION) => {
            serde_json::from_value(value).map_err(|e| wrong(e.to_string()))
        }
        Some(version) => Err(wrong(format!("its version is {version}, not {VERSION}"))),
        None => Err(wrong("it has no version".into())),
    }
}

/// Refuse when `now` is not what was planned, naming stages and lines.
pub fn hold(path: &Path, planned: &Plan, now: &Plan, pipeline: &Pipeline) -> Result<(), Error> {
    let moved = planned.moved(now);
    if moved.is_empty() {
        return Ok(());
    }
    let mut text = format!("{} no longer holds:", path.display());
    for one in moved.iter().take(SHOWN) {
        text.push_str(&format!("\n  {}{}: {}", one.stage, line(one, pipeline), one.what));
    }
    if moved.len() > SHOWN {
        text.push_str(&format!("\n  … and {} more", moved.len() - SHOWN));
    }
    let file = &planned.request.file;
    let help = format!("look at it again: `pipe plan {file} --out {}`", path.display());
    Err(Error::failed(text).help(help))
}

/// Where the pipeline file says what moved: ` (p.toml:12)`.
fn line(moved: &Moved, pipeline: &Pipeline) -> String {
    let Some(instance) = pipeline.instances.iter().find(|i| i.name == moved.stage) else { return String::new() };
    let key = moved.label.as_deref().and_then(|l| l.split(['.', '[', ' ']).next()).unwrap_or_default();
    let place = instance.table.get(key).map_or(&instance.place, |item| &item.key_place);
    format!(" ({}:{})", place.source.name, place.line_column().0)
}
