//! An `export` line of a stage.

use std::path::{Component, Path, PathBuf};

use crate::text::diagnostic::{Diagnostic, Place};

/// An `export` line.
#[derive(Debug, Clone)]
pub struct Export {
    /// As written.
    pub text: String,
    pub place: Place,
    /// Where the outputs go, from the project root: the folder of the line, and below it one of the instance if the stage
    /// has several.
    pub folder: PathBuf,
}

impl Export {
    /// The line of a stage, or an error if it leads out of the project.
    pub(crate) fn read(text: String, place: Place) -> Result<Self, Diagnostic> {
        let is_inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        if text.is_empty() || !Path::new(&text).components().all(is_inside) {
            return Err(Diagnostic::new(format!("`export = \"{text}\"` is outside the project"))
                .at(&place)
                .label("expected a folder below the project root, without `..`"));
        }
        let named = |part: &Component| matches!(part, Component::Normal(_));
        let folder = Path::new(&text).components().filter(named).collect();
        Ok(Self { text, place, folder })
    }
}
