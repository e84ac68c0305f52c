//! The rows of an evaluation judged: by the highest logit, or by a decision.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::quality::{Abstention, Effect, Quality};
use super::{reliability, table};
use pipe_engine::contract::context::Context;
use pipe_ml::compute::numbers::{log_softmax, rows as counted};
use pipe_ml::judge::calibration::Calibration;
use pipe_ml::judge::decide::{Decided, Decision};
use pipe_ml::judge::metrics::Metrics;
use pipe_ml::judge::significance::Paired;
use pipe_ml::text::data::Split;
use pipe_ml::text::data::declare::spec::Purpose;
use pipe_ml::text::data::outcomes::Outcomes;
use pipe_ml::text::data::predictions;

/// The decision on the port, for labels in this order; warns if it has seen the rows or is another model's.
pub(super) fn decision(cx: &Context, labels: &[String], split: Purpose) -> Result<Option<Decision>> {
    let model = cx.input("model")?;
    let Some(input) = cx.inputs("decision").first() else {
        if model.dir.join(Decision::FILE).is_file() {
            cx.note("the model has a decision beside it, which `evaluate` does not use; to score it, wire it to `in.decision`");
        }
        return Ok(None);
    };
    let decision = Decision::read(&input.dir)?.for_labels(labels)?;
    if let Some(on) = &decision.fitted_on {
        if on.split == split {
            cx.warn(format!(
                "`{}` was fitted on {} rows too, so these figures flatter it; its out-of-fold gain does not",
                input.stage,
                split.name()
            ));
        }
        if on.model.as_ref().is_some_and(|of| *of != model.digest) {
            cx.note(format!(
                "`{}` was fitted on the predictions of another model than `{}`; each model is best served by a decision of its own",
                input.stage, model.stage
            ));
        }
    }
    Ok(Some(decision))
}

/// What is known of all rows.
pub(super) struct Judged {
    pub metrics: Metrics,
    pub outcomes: Outcomes,
    pub quality: Quality,
    decided: Option<(Decision, Decided)>,
}

impl Judged {
    /// `logits` `[N, C]` of the rows of `split`.
    pub(super) fn of(decision: Option<Decision>, (split, logits): (&Split, &[f32]), labels: &[String]) -> Result<Self> {
        let classes = labels.len();
        let metrics = Metrics::of(logits, split.labels(), labels)?;
        let outcomes = Outcomes::of(split, logits, classes);
        let wide = |row: &[f32]| row.iter().map(|&z| f64::from(z)).collect::<Vec<_>>();
        let log_p: Vec<f64> = logits.chunks(classes).flat_map(|row| log_softmax(&wide(row))).collect();
        let calibration = Calibration::of(&log_p, split.labels(), classes)?;
        let Some(decision) = decision else {
            let quality = Quality { calibration: Some(calibration), decision: None };
            return Ok(Self { metrics, outcomes, quality, decided: None });
        };
        let decided = decision.apply(logits);
        let narrow: Vec<f32> = decided.log_p.iter().map(|&l| l as f32).collect();
        let after = Metrics::of_decided((&narrow, Some(&decided.predicted)), split.labels(), labels)?;
        let chosen = Outcomes { predicted: decided.predicted.clone(), ..outcomes.clone() };
        let paired = Paired::of(&outcomes, &chosen)?;
        let effect = Effect {
            method: decision.method,
            temperature: decision.temperature,
            before: metrics,
            calibration_before: calibration,
            lost: paired.lost,
            gained: paired.gained,
            mcnemar_p: paired.mcnemar(),
            abstention: decision.abstain.map(|below| abstention(below, &decided, split.labels())),
        };
        let calibration = Calibration::of(&decided.log_p, split.labels(), classes)?;
        let quality = Quality { calibration: Some(calibration), decision: Some(effect) };
        Ok(Self { metrics: after, outcomes: chosen, quality, decided: Some((decision, decided)) })
    }

    /// Facts, and a line about the effect of a decision.
    pub(super) fn report(&self, cx: &mut Context) {
        if let Some(calibration) = &self.quality.calibration {
            cx.fact("ece", calibration.ece);
            cx.fact("brier", calibration.brier);
        }
        let (Some(effect), Some((decision, _))) = (&self.quality.decision, &self.decided) else { return };
        let (before, after) = (&effect.before, &self.metrics);
        cx.fact("accuracy-before", before.accuracy);
        cx.fact("macro-f1-before", before.macro_f1);
        cx.note(format!(
            "decision {}: accuracy {:.4} → {:.4}, macro F1 {:.4} → {:.4}; {} lost and {} gained, McNemar's p {:.4}",
            decision.describe(),
            before.accuracy,
            after.accuracy,
            before.macro_f1,
            after.macro_f1,
            counted(effect.lost),
            effect.gained,
            effect.mcnemar_p
        ));
        if let Some(Abstention { below, covered_rows, coverage, covered_accuracy }) = effect.abstention {
            cx.fact("coverage", coverage);
            covered_accuracy.into_iter().for_each(|accuracy| cx.fact("covered-accuracy", accuracy));
            let accuracy =
                covered_accuracy.map_or(String::new(), |accuracy| format!(", of which {accuracy:.4} are right"));
            cx.note(format!(
                "with abstain = {below}, {} of {} get a label{accuracy}",
                covered_rows,
                counted(after.rows as u64)
            ));
        }
    }

    /// The reliability diagram, and the table of a decision's effect.
    pub(super) fn write(&self, dir: &Path) -> Result<()> {
        let put = |name: &str, bytes: &[u8]| {
            let path = dir.join(name);
            std::fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
        };
        let Some(calibration) = &self.quality.calibration else { return Ok(()) };
        let before = self.quality.decision.as_ref().map(|effect| &effect.calibration_before);
        put("reliability.svg", reliability::svg(calibration, before).as_bytes())?;
        put("reliability.csv", &reliability::csv(calibration, before)?)?;
        if let Some(effect) = &self.quality.decision {
            put("decision.md", table::markdown(effect, (&self.metrics, calibration)).as_bytes())?;
            put("decision.csv", &table::csv(effect, (&self.metrics, calibration))?)?;
        }
        Ok(())
    }

    /// The predictions, with what the decision gives if there is one.
    pub(super) fn write_predictions(&self, path: &Path, split: &Split, logits: &[f32]) -> Result<()> {
        match &self.decided {
            None => predictions::write(path, split, logits, self.metrics.per_class.len()),
            Some((decision, Decided { predicted, abstained, log_p })) => {
                let abstained = decision.abstain.map(|_| abstained.as_slice());
                predictions::write_decided(path, split, logits, &predictions::Given { predicted, log_p, abstained })
            }
        }
    }
}

fn abstention(below: f64, decided: &Decided, labels: &[u32]) -> Abstention {
    let covered = || (0..labels.len()).filter(|&row| !decided.abstained[row]);
    let (rows, right) = (covered().count(), covered().filter(|&row| decided.predicted[row] == labels[row]).count());
    Abstention {
        below,
        covered_rows: rows as u64,
        coverage: rows as f64 / labels.len() as f64,
        covered_accuracy: (rows > 0).then(|| right as f64 / rows as f64),
    }
}
