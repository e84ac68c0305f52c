//! Plans in files: `pipe plan --out` writes one, and `pipe run --plan` checks that it still holds.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::error::Error;
use pipe_engine::declare::resolve::Pipeline;
use pipe_engine::judge::plan::{Moved, Plan, Request, VERSION};
use pipe_engine::judge::project::Project;

/// How many differences are shown of a plan that has to be made again.
const SHOWN: usize = 10;

/// Write a plan atomically.
pub fn write(path: &Path, plan: &Plan) -> Result<(), Error> {
    let dir = path.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !dir.is_dir() {
        return Err(Error::usage(format!(
            "cannot write the plan {}: the folder {} does not exist",
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

/// Read a plan; `-` is standard input.
pub fn read(path: &Path) -> Result<Plan, Error> {
    let shown = path.display();
    let read = || match path == Path::new("-") {
        true => {
            let mut bytes = Vec::new();
            std::io::stdin().read_to_end(&mut bytes).map(|_| bytes)
        }
        false => std::fs::read(path),
    };
    let bytes = read().map_err(|e| Error::usage(format!("cannot read the plan {shown}: {e}")))?;
    let wrong = |what: String| {
        Error::usage(format!("{shown} is not a plan of this version of pipe: {what}"))
            .help("`pipe plan FILE --out PLAN` writes one")
    };
    let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(|e| wrong(e.to_string()))?;
    match value.get("version").and_then(serde_json::Value::as_u64) {
        Some(version) if version == u64::from(VERSION) => {
            serde_json::from_value(value).map_err(|e| wrong(e.to_string()))
        }
        Some(version) => Err(wrong(format!("it has version {version}, expected {VERSION}"))),
        None => Err(wrong("it has no version".into())),
    }
}

/// The pipeline file of a request, relative to the current folder if it is inside. The request has it relative to the
/// project root: `root`, or that of the current folder.
pub fn file_of(request: &Request, root: Option<&Path>) -> PathBuf {
    let root = root.map_or_else(|| Project::root_of(Path::new("pipeline.toml")), Path::to_path_buf);
    let file = root.join(&request.file);
    let shown = std::env::current_dir().ok().and_then(|here| file.strip_prefix(here).ok().map(Path::to_path_buf));
    shown.unwrap_or(file)
}

/// Refuse if `now` differs from the plan; the error names stages and lines.
pub fn hold(path: &Path, planned: &Plan, now: &Plan, pipeline: &Pipeline) -> Result<(), Error> {
    let moved = planned.moved(now);
    if moved.is_empty() {
        return Ok(());
    }
    let mut text = format!("{} no longer matches the pipeline:", path.display());
    for one in moved.iter().take(SHOWN) {
        text.push_str(&format!("\n  {}{}: {}", one.stage, line(one, pipeline), one.what));
    }
    if moved.len() > SHOWN {
        text.push_str(&format!("\n  … and {} more", moved.len() - SHOWN));
    }
    let file = &planned.request.file;
    let help = format!("make a new plan: `pipe plan {file} --out {}`", path.display());
    Err(Error::failed(text).help(help))
}

/// The place of a change in the pipeline file: ` (p.toml:12)`.
fn line(moved: &Moved, pipeline: &Pipeline) -> String {
    let Some(instance) = pipeline.instances.iter().find(|i| i.name == moved.stage) else { return String::new() };
    let key = moved.label.as_deref().and_then(|l| l.split(['.', '[', ' ']).next()).unwrap_or_default();
    let place = instance.table.get(key).map_or(&instance.place, |item| &item.key_place);
    format!(" ({}:{})", place.source.name, place.line_column().0)
}
