//! Runs the trials of a search.

use std::collections::BTreeMap;

use anyhow::Result;
use pipe_engine::contract::context::Context;
use pipe_engine::contract::progress::Progress;
use pipe_engine::contract::trial::{Beginning, Found, Trial, Tried};
use pipe_ml::search::{Observed, Outcome, Point, Sampler};
use serde_json::Value;

use super::objective::Objective;
use super::over::Varied;
use super::rungs::Rungs;

/// A search with all that is fixed before its first trial.
pub(super) struct Plan<'a> {
    pub objective: Objective<'a>,
    pub varied: Varied,
    pub sampler: Sampler,
    pub trials: usize,
    /// How many trials run at a time; each is suggested without the results of the last `parallel` - 1.
    pub parallel: usize,
    /// End after this many trials without a better value.
    pub patience: Option<usize>,
    /// End when the trials took this many seconds.
    pub budget: Option<u64>,
    pub rungs: Option<Rungs>,
    /// The point of the values in the file.
    pub first: Point,
}

/// A trial that was run.
#[derive(Debug)]
pub(super) struct Attempt {
    pub point: Point,
    pub outcome: Outcome,
    /// Why there is no value.
    pub error: Option<String>,
    /// The last result: of the last rung, if the trial was cut.
    pub found: Option<Box<Found>>,
    /// The epochs and the value of each rung.
    pub reports: Vec<(u64, f64)>,
    /// How long the stages of the trial took.
    pub seconds: f64,
}

impl Attempt {
    pub(super) fn new(point: Point) -> Self {
        Self { point, outcome: Outcome::Pending, error: None, found: None, reports: Vec::new(), seconds: 0.0 }
    }

    pub(super) fn value(&self) -> Option<f64> {
        match self.outcome {
            Outcome::Value(value) => Some(value),
            _ => None,
        }
    }

    /// Take in the result of the whole trial, or of one of its rungs.
    fn ended(&mut self, tried: Tried, objective: &Objective) -> Option<f64> {
        let (value, error) = match tried {
            Tried::Done(found) => {
                let value = objective.value(&found);
                let all = found.others.values().chain([&found.entry]);
                self.seconds += all.map(|entry| entry.made.seconds).sum::<f64>();
                self.found = Some(found);
                match value {
                    Ok(value) => (Some(value), None),
                    Err(why) => (None, Some(why)),
                }
            }
            Tried::Failed { stage, error } => (None, Some(format!("{stage}: {error}"))),
        };
        self.outcome = value.map_or(Outcome::Failed, Outcome::Value);
        self.error = error;
        value
    }
}

impl Plan<'_> {
    /// Run all trials; in order.
    pub(super) fn run(&self, cx: &mut Context) -> Result<Vec<Attempt>> {
        match &self.rungs {
            Some(rungs) => self.in_brackets(cx, rungs),
            None => self.in_series(cx),
        }
    }

    fn in_series(&self, cx: &mut Context) -> Result<Vec<Attempt>> {
        let mut attempts: Vec<Attempt> = Vec::new();
        let mut known = 0;
        let tried = cx.series(self.parallel, &mut |cx, tried| {
            for (k, tried) in tried.iter().enumerate().skip(known) {
                attempts[k].ended(tried.clone(), &self.objective);
                self.tell(cx, &attempts[..=k]);
            }
            known = tried.len();
            if attempts.len() == self.trials || self.is_over(cx, &attempts[..known]) {
                return None;
            }
            let point = self.next(&attempts)?;
            attempts.push(Attempt::new(point));
            let k = attempts.len() - 1;
            Some(self.trial(k, &attempts[k].point))
        })?;
        for (k, tried) in tried.into_iter().enumerate().skip(known) {
            attempts[k].ended(tried, &self.objective);
            self.tell(cx, &attempts[..=k]);
        }
        Ok(attempts)
    }

    /// Synchronous successive halving (Jamieson and Talwalkar, 2016) in brackets: all trials of a bracket run to the first
    /// rung, the best of them go on to the next, and so on.
    fn in_brackets(&self, cx: &mut Context, rungs: &Rungs) -> Result<Vec<Attempt>> {
        let mut attempts: Vec<Attempt> = Vec::new();
        let size = rungs.bracket().max(self.parallel);
        while attempts.len() < self.trials && !self.is_over(cx, &attempts) {
            let from = attempts.len();
            while attempts.len() < self.trials.min(from + size) {
                let Some(point) = self.next(&attempts) else { break };
                attempts.push(Attempt::new(point));
            }
            if attempts.len() == from {
                break;
            }
            let mut left: Vec<usize> = (from..attempts.len()).collect();
            for (rung, until) in rungs.epochs.iter().map(Some).chain([None]).enumerate() {
                self.climb(cx, &mut attempts, &left, (rungs, until.copied()))?;
                left.retain(|k| attempts[*k].value().is_some());
                if until.is_none() {
                    break;
                }
                let value = |k: usize| attempts[k].value().unwrap_or(f64::NAN);
                // The earlier trial of two equal ones goes on: the sort is stable.
                left.sort_by(|a, b| {
                    let order = value(*a).total_cmp(&value(*b));
                    if self.sampler.maximize { order.reverse() } else { order }
                });
                for k in left.split_off(rungs.kept(left.len())) {
                    let value = attempts[k].value().unwrap_or(f64::NAN);
                    attempts[k].outcome = Outcome::Cut { rung, value };
                }
                left.sort_unstable();
            }
            (from..attempts.len()).for_each(|k| self.tell(cx, &attempts[..=k]));
        }
        Ok(attempts)
    }

    /// Run some trials up to a rung, or to the end.
    fn climb(
        &self,
        cx: &mut Context,
        attempts: &mut [Attempt],
        which: &[usize],
        (rungs, until): (&Rungs, Option<u32>),
    ) -> Result<()> {
        let trial = |k: &usize| {
            let mut trial = self.trial(*k, &attempts[*k].point);
            trial.overrides.extend(until.map(|until| rungs.stop_at(until)));
            let state = attempts[*k].found.as_ref().and_then(|found| rungs.state(found));
            trial.begin_with = state.map(|files| Beginning { stage: rungs.stage.clone(), files }).into_iter().collect();
            trial
        };
        let trials: Vec<Trial> = which.iter().map(trial).collect();
        let mut trials = trials.into_iter();
        let tried = cx.series(self.parallel, &mut |_, _| trials.next())?;
        for (k, tried) in which.iter().zip(tried) {
            let value = attempts[*k].ended(tried, &self.objective);
            if let (Some(until), Some(value)) = (until, value) {
                attempts[*k].reports.push((until.into(), value));
            }
        }
        Ok(())
    }

    /// The next point; the first is that of the file.
    fn next(&self, attempts: &[Attempt]) -> Option<Point> {
        if attempts.is_empty() {
            return Some(self.first.clone());
        }
        let observed = |attempt: &Attempt| Observed { point: attempt.point.clone(), outcome: attempt.outcome };
        self.sampler.suggest(&self.varied.space, &attempts.iter().map(observed).collect::<Vec<_>>())
    }

    fn trial(&self, k: usize, point: &Point) -> Trial {
        Trial {
            label: format!("trial={k}"),
            target: self.objective.target.into(),
            // The first is the file as it is, whatever its values are.
            overrides: if k == 0 { Vec::new() } else { self.varied.overrides(point) },
            begin_with: Vec::new(),
        }
    }

    /// The best trial that ran to its end; of equal ones the first.
    pub(super) fn best<'a>(&self, attempts: &'a [Attempt]) -> Option<(usize, &'a Attempt, f64)> {
        let mut best: Option<(usize, &Attempt, f64)> = None;
        for (k, attempt) in attempts.iter().enumerate() {
            let Some(value) = attempt.value() else { continue };
            let is_better = |than: f64| if self.sampler.maximize { value > than } else { value < than };
            if best.is_none_or(|(_, _, than)| is_better(than)) {
                best = Some((k, attempt, value));
            }
        }
        best
    }

    /// Why the search ends before its last trial, if a rule says so.
    pub(super) fn end(&self, attempts: &[Attempt]) -> Option<String> {
        let since = self.best(attempts).map_or(0, |(k, ..)| attempts.len() - 1 - k);
        if let Some(patience) = self.patience.filter(|patience| since >= *patience) {
            return Some(format!("the search ends: {patience} trials without a better {}", self.objective.figure));
        }
        let spent: f64 = attempts.iter().map(|attempt| attempt.seconds).sum();
        let budget = self.budget.filter(|budget| spent >= *budget as f64)?;
        Some(format!("the search ends: its trials took {spent:.0} s of the budget of {budget} s"))
    }

    fn is_over(&self, cx: &Context, attempts: &[Attempt]) -> bool {
        let end = self.end(attempts);
        end.iter().for_each(|why| cx.note(why.as_str()));
        end.is_some()
    }

    /// Report the last of some trials.
    fn tell(&self, cx: &Context, attempts: &[Attempt]) {
        let (k, figure) = (attempts.len() - 1, self.objective.figure);
        let best = match self.best(attempts) {
            Some((at, ..)) if at == k => "the best so far".into(),
            Some((at, _, value)) => format!("best {value:.4}, trial {at}"),
            None => "none so far has a value".into(),
        };
        match (attempts[k].outcome, &attempts[k].error) {
            (Outcome::Value(value), _) => cx.note(format!("trial {k}: {figure} {value:.4} ({best})")),
            (Outcome::Cut { rung, value }, _) => {
                cx.note(format!("trial {k}: cut at rung {}: {figure} {value:.4} ({best})", rung + 1));
            }
            (_, Some(error)) => cx.warn(format!("trial {k} has no value: {error}")),
            (_, None) => {}
        }
        let (done, total) = (attempts.len() as u64, self.trials as u64);
        cx.progress(Progress { done, total, unit: "trial".into(), ..Progress::default() });
    }
}

/// The values of the file: the parameters of each varied stage.
pub(super) fn values_of_file(cx: &Context, varied: &Varied) -> Result<Point> {
    let mut stages: BTreeMap<&str, Value> = BTreeMap::new();
    for (stage, _) in &varied.keys {
        if !stages.contains_key(stage.as_str()) {
            stages.insert(stage, cx.parameters_of(stage)?.unwrap_or(Value::Null));
        }
    }
    Ok(varied.point(|stage, key| stages.get(stage)?.get(key).filter(|value| !value.is_null()).cloned()))
}
