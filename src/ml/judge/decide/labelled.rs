//! Rows with logits and labels, on which a decision is fitted.

use anyhow::{Result, bail, ensure};

/// Rows with logits and labels.
#[derive(Debug, Clone, Copy)]
pub struct Labelled<'a> {
    /// `[N, C]`, finite.
    pub logits: &'a [f32],
    /// `[N]`, each below C.
    pub labels: &'a [u32],
    /// C
    pub classes: usize,
}

impl Labelled<'_> {
    pub fn check(&self) -> Result<()> {
        ensure!(!self.labels.is_empty(), "there are no rows to fit a decision on");
        ensure!(
            self.classes > 1 && self.logits.len() == self.labels.len() * self.classes,
            "{} logits for {} rows of {} classes",
            self.logits.len(),
            self.labels.len(),
            self.classes
        );
        ensure!(self.logits.iter().all(|z| z.is_finite()), "some logits are not finite");
        if let Some(label) = self.labels.iter().find(|&&label| label as usize >= self.classes) {
            bail!("label {label} is out of range: there are {} classes", self.classes);
        }
        Ok(())
    }
}
