//! The folders that results are copied to: one for each instance, and none for two.

use std::collections::HashMap;
use std::path::PathBuf;

use super::instance::Instance;
use crate::text::diagnostic::{Diagnostic, Place};

/// Give each instance its folder. Two lines with one folder are an error: the result that ends last would replace the other,
/// in every run.
pub(crate) fn settle(instances: &mut [Instance], problems: &mut Vec<Diagnostic>) {
    let mut taken: HashMap<PathBuf, usize> = HashMap::new();
    let mut lines = Owners::default();
    for instance in instances.iter_mut() {
        let Some(export) = &mut instance.export else { continue };
        lines.claim(export.folder.clone(), &instance.stage, &export.place, problems);
        if !instance.coordinates.is_empty() {
            export.folder.push(folder_name(&instance.name, underscore));
            *taken.entry(export.folder.clone()).or_default() += 1;
        }
    }
    let mut folders = Owners::default();
    for instance in instances.iter_mut() {
        let Some(export) = &mut instance.export else { continue };
        if taken.get(&export.folder).is_some_and(|count| *count > 1) {
            export.folder.set_file_name(folder_name(&instance.name, percent));
        }
        // Several outputs get a folder each.
        let ports = instance.ports.outputs.iter().filter(|_| instance.ports.outputs.len() > 1);
        let below = ports.map(|port| export.folder.join(port.name));
        for folder in below.chain([export.folder.clone()]) {
            folders.claim(folder, &instance.stage, &export.place, problems);
        }
    }
}

/// The stage and the line that each folder belongs to.
#[derive(Default)]
struct Owners(HashMap<PathBuf, (String, Place)>);

impl Owners {
    fn claim(&mut self, folder: PathBuf, stage: &str, place: &Place, problems: &mut Vec<Diagnostic>) {
        let shown = folder.display().to_string();
        let (owner, first) = self.0.entry(folder).or_insert_with(|| (stage.to_string(), place.clone()));
        if owner == stage || problems.iter().any(|problem| problem.place.as_ref() == Some(place)) {
            return;
        }
        problems.push(
            Diagnostic::new(format!("the stages `{owner}` and `{stage}` export to one folder, `{shown}`"))
                .at(place)
                .label(format!("`{owner}` exports there too, in line {}", first.line_column().0))
                .help(format!("give each stage a folder of its own, such as `{shown}-{stage}`")),
        );
    }
}

/// Labels come from the file and may contain anything; a folder has only characters that are safe in a path.
fn folder_name(instance: &str, replaced: fn(char) -> String) -> String {
    let is_safe = |c: char| c.is_alphanumeric() || "-_=.[],".contains(c);
    instance.chars().map(|c| if is_safe(c) { c.into() } else { replaced(c) }).collect()
}

fn underscore(_: char) -> String {
    "_".into()
}

/// Different labels give different names, as `%` itself is replaced.
fn percent(c: char) -> String {
    c.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect()
}
