//! The record of a finished search: tables of the trials, an Optuna journal, and how much each parameter mattered.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use pipe_ml::search;
use pipe_ml::search::table::{Column, write_parquet};
use pipe_ml::search::{Observed, Outcome, Point, Study, importances, journal};
use serde_json::{Value, json};

use super::pictures::{Picture, history, parallel};
use super::trials::{Attempt, Plan};

/// A finished search. Its files hold no times: equal searches give equal bytes.
pub(super) struct Report<'a> {
    pub name: &'a str,
    pub plan: &'a Plan<'a>,
    pub attempts: &'a [Attempt],
}

impl Report<'_> {
    pub(super) fn write(&self, dir: &Path) -> Result<()> {
        let put = |name: &str, bytes: &[u8]| {
            let path = dir.join(name);
            std::fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
        };
        let importances = self.importances();
        put("trials.csv", &self.csv()?)?;
        put("trials.md", self.markdown(&importances).as_bytes())?;
        put("search.journal", self.journal()?.as_bytes())?;
        put("importance.json", serde_json::to_string_pretty(&json!(importances))?.as_bytes())?;
        let choices: Vec<Vec<String>> =
            self.plan.varied.choices.iter().map(|all| all.iter().cloned().map(shown).collect()).collect();
        let observed = self.observed();
        let picture = Picture {
            space: self.space(),
            choices: &choices,
            observed: &observed,
            objective: self.plan.objective.figure,
            maximize: self.plan.sampler.maximize,
        };
        put("history.svg", history(&picture).as_bytes())?;
        put("parallel.svg", parallel(&picture).as_bytes())?;
        write_parquet(&dir.join("trials.parquet"), &self.columns())
    }

    fn space(&self) -> &search::Space {
        &self.plan.varied.space
    }

    fn observed(&self) -> Vec<Observed> {
        self.attempts.iter().map(|a| Observed { point: self.inside(&a.point), outcome: a.outcome }).collect()
    }

    /// The values that lie in the space: those of the file need not.
    fn inside(&self, point: &Point) -> Point {
        let values = self.space().parameters.iter().zip(point);
        values.map(|(parameter, value)| value.filter(|value| parameter.domain.contains(*value))).collect()
    }

    /// How much of the objective each parameter explains, by PED-ANOVA (Watanabe et al., 2023), largest first.
    fn importances(&self) -> Vec<(String, f64)> {
        let shares = importances(self.space(), &self.observed(), self.plan.sampler.maximize);
        let mut all: Vec<(String, f64)> = self.space().parameters.iter().map(|p| p.name.clone()).zip(shares).collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1));
        all
    }

    fn value(&self, at: usize, point: &Point) -> Option<Value> {
        point[at].map(|value| self.plan.varied.value(at, value))
    }

    fn state(attempt: &Attempt) -> &'static str {
        match attempt.outcome {
            Outcome::Value(_) => "complete",
            Outcome::Cut { .. } => "cut",
            Outcome::Failed => "failed",
            Outcome::Pending => "pending",
        }
    }

    /// The value of the whole trial, or of its last rung.
    fn last(attempt: &Attempt) -> Option<f64> {
        match attempt.outcome {
            Outcome::Value(value) | Outcome::Cut { value, .. } => Some(value),
            Outcome::Failed | Outcome::Pending => None,
        }
    }

    fn columns(&self) -> Vec<Column> {
        let all = self.attempts;
        let text = |of: &dyn Fn(&Attempt) -> Option<String>| all.iter().map(of).collect();
        let mut columns = vec![
            Column::integers("trial", (0..all.len() as i64).map(Some).collect()),
            Column::texts("state", text(&|attempt| Some(Self::state(attempt).to_owned()))),
            Column::floats(self.plan.objective.figure, all.iter().map(Self::last).collect()),
        ];
        for (at, parameter) in self.space().parameters.iter().enumerate() {
            let values: Vec<Option<Value>> = all.iter().map(|attempt| self.value(at, &attempt.point)).collect();
            columns.push(Column::of(&parameter.name, &values));
        }
        columns.push(Column::texts("result", text(&|a| Some(a.found.as_ref()?.fingerprint.clone()))));
        columns.push(Column::texts("error", text(&|a| a.error.clone())));
        columns
    }

    fn csv(&self) -> Result<Vec<u8>> {
        let columns = self.columns();
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(columns.iter().map(|column| column.name.as_str()))?;
        for k in 0..self.attempts.len() {
            writer.write_record(columns.iter().map(|column| column.text(k)))?;
        }
        Ok(writer.into_inner().map_err(|e| e.into_error())?)
    }

    /// A table for people: the best trial first.
    fn markdown(&self, importances: &[(String, f64)]) -> String {
        let (plan, names) = (self.plan, self.space().parameters.iter().map(|p| p.name.as_str()));
        let best = plan.best(self.attempts).map(|(k, ..)| k);
        let mut out = format!("# {}\n\n", self.name);
        let head: Vec<&str> = ["trial", plan.objective.figure].into_iter().chain(names).chain(["state"]).collect();
        let _ = writeln!(out, "| {} |\n|{}", head.join(" | "), " --- |".repeat(head.len()));
        let mut order: Vec<usize> = (0..self.attempts.len()).collect();
        let rank = |k: &usize| match (self.attempts[*k].outcome, plan.sampler.maximize) {
            (Outcome::Value(value), true) => (0, -value),
            (Outcome::Value(value), false) => (0, value),
            (Outcome::Cut { rung, value }, true) => (usize::MAX - 1 - rung, -value),
            (Outcome::Cut { rung, value }, false) => (usize::MAX - 1 - rung, value),
            _ => (usize::MAX, 0.0),
        };
        order.sort_by(|a, b| rank(a).0.cmp(&rank(b).0).then(rank(a).1.total_cmp(&rank(b).1)));
        for k in order {
            let attempt = &self.attempts[k];
            let value = Self::last(attempt).map_or("–".into(), |value| format!("{value:.4}"));
            let mark = if best == Some(k) { "**" } else { "" };
            let values =
                (0..self.space().parameters.len()).map(|at| self.value(at, &attempt.point).map_or("–".into(), shown));
            let cells: Vec<String> =
                [format!("{mark}{k}{mark}"), format!("{mark}{value}{mark}")].into_iter().chain(values).collect();
            let _ = writeln!(out, "| {} | {} |", cells.join(" | "), Self::state(attempt));
        }
        if importances.iter().any(|(_, share)| *share > 0.0) {
            let shares: Vec<String> =
                importances.iter().map(|(name, share)| format!("{name} {:.0} %", 100.0 * share)).collect();
            let _ = writeln!(out, "\nHow much each parameter mattered (PED-ANOVA): {}.", shares.join(", "));
        }
        out
    }

    fn journal(&self) -> Result<String> {
        let observed = self.observed();
        let study = Study {
            name: self.name,
            metric: self.plan.objective.figure,
            maximize: self.plan.sampler.maximize,
            space: self.space(),
            choices: &self.plan.varied.choices,
        };
        let trial = |(attempt, observed)| {
            let attempt: &Attempt = attempt;
            let mut attributes = Vec::new();
            if let Some(found) = &attempt.found {
                attributes.push(("fingerprint".to_owned(), json!(found.fingerprint)));
            }
            attributes.extend(attempt.error.iter().map(|error| ("error".to_owned(), json!(error))));
            search::Trial { observed, reports: attempt.reports.clone(), attributes }
        };
        let trials: Vec<search::Trial> = self.attempts.iter().zip(&observed).map(trial).collect();
        Ok(journal(&study, &trials)?)
    }
}

/// A value as people write it.
pub(super) fn shown(value: Value) -> String {
    match value {
        Value::String(text) => text,
        Value::Number(number) => match number.as_f64() {
            // Three digits, as they were suggested.
            Some(x) if number.is_f64() && x != 0.0 && x.abs() < 1e-3 => format!("{x:e}"),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}
