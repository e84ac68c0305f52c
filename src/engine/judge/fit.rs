//! Finds the stages that need more than the machine has, before the first stage runs.

use super::job::Job;
use super::plan::Action;
use crate::contract::needs::Machine;
use crate::store::error::CacheError;
use crate::text::diagnostic::{Diagnostic, Diagnostics};

impl Job<'_> {
    /// An error for every stage that has to run and needs more than `machine` has; results in the cache need nothing.
    pub fn too_large(&self, machine: &Machine) -> Result<Option<Diagnostics>, CacheError> {
        let all = 0..self.pipeline.instances.len();
        let mut large = all
            .filter(|&at| self.needed[at] && !machine.lacking(self.instance(at).needs).is_empty())
            .collect::<Vec<_>>();
        if large.is_empty() {
            return Ok(None);
        }
        let verdicts = self.verdicts()?;
        large.retain(|&at| verdicts[at].as_ref().is_some_and(|v| v.action != Action::Hit));
        let problems = large.into_iter().flat_map(|at| {
            let lacking = machine.lacking(self.instance(at).needs);
            lacking.into_iter().map(move |(key, what)| self.lacks(at, key, &what))
        });
        let problems: Vec<Diagnostic> = problems.collect();
        Ok((!problems.is_empty()).then(|| Diagnostics::new(problems)))
    }

    fn lacks(&self, at: usize, key: &str, what: &str) -> Diagnostic {
        let instance = self.instance(at);
        let help = match key {
            "cpus" => format!("give the run more with `--jobs`, or set `cpus` of stage `{}` lower", instance.stage),
            "gpus" => format!("choose more GPUs with `--device`, or set `gpus` of stage `{}` lower", instance.stage),
            _ => format!("run it on a larger machine, or set `{key}` of stage `{}` lower", instance.stage),
        };
        let place = instance.amounts.place(key).unwrap_or(&instance.place);
        Diagnostic::new(format!("stage `{}` needs {what}", instance.name)).at(place).label("too much").help(help)
    }
}
