//! What a decision says of itself: notes, warnings and facts.

use pipe_engine::contract::context::Context;
use pipe_ml::compute::numbers::rows;
use pipe_ml::judge::decide::{BOUNDS, Criterion, Decision, Figure, Gain, Rule};

/// Temperatures this close to a bound, in units of their logarithm, are at it.
const AT: f64 = 1e-6;

pub(super) fn tell(cx: &mut Context, decision: &Decision, gain: &Gain) {
    temperature(cx, decision);
    rule(cx, decision);
    let others = [(Criterion::MacroF1, gain.macro_f1), (Criterion::Loss, gain.loss)];
    let others = others.into_iter().filter(|(criterion, _)| *criterion != gain.criterion);
    let others: String =
        others.map(|(criterion, figure)| format!(", {} {}", criterion.name(), shown(figure))).collect();
    cx.note(format!(
        "gain on rows that it was not fitted on, mean ± standard deviation of {} folds: {} {}, accuracy {}{others}",
        gain.folds,
        gain.criterion.name(),
        shown(gain.gain),
        shown(gain.accuracy)
    ));
    if gain.gain.mean <= 0.0 {
        let what = match gain.criterion {
            Criterion::Loss | Criterion::Cost => "does not lower",
            Criterion::MacroF1 | Criterion::AccuracyAtPrior => "does not raise",
        };
        cx.warn(format!(
            "on rows that it was not fitted on, the decision {what} the {}: gain {}; without it the model does as well",
            gain.criterion.name(),
            shown(gain.gain)
        ));
    }
    if let (Some(coverage), Some(least)) = (gain.coverage, decision.abstain) {
        let accuracy =
            gain.covered_accuracy.map_or(String::new(), |figure| format!(", of which {:.4} are right", figure.mean));
        cx.note(format!("with abstain = {least}, {:.1} % of the rows get a label{accuracy}", 100.0 * coverage.mean));
    }
    facts(cx, decision, gain);
}

fn temperature(cx: &Context, decision: &Decision) {
    let on = decision.fitted_on.as_ref().map_or(0, |on| on.rows) as u64;
    cx.note(format!("{} on {}", decision.describe(), rows(on)));
    let log = decision.temperature.ln();
    if log - -BOUNDS.1 < AT {
        cx.warn(
            "the rows are right at every temperature, so the lowest was taken: probabilities are 0 and 1; more rows would tell",
        );
    } else if -BOUNDS.0 - log < AT {
        cx.warn("the logits say nothing of the labels, so the highest temperature was taken: all labels are about as probable");
    }
}

/// The numbers by label.
fn rule(cx: &Context, decision: &Decision) {
    let by_label = |values: &[f64]| {
        let pairs = decision.labels.iter().zip(values).map(|(label, value)| format!("{label} {value:.4}"));
        pairs.collect::<Vec<_>>().join(", ")
    };
    match &decision.rule {
        Rule::Argmax | Rule::Cost { .. } => {}
        Rule::Weights { weights } => cx.note(format!("weights: {}", by_label(weights))),
        Rule::Thresholds { thresholds, frequencies } => {
            cx.note(format!("thresholds: {}", by_label(thresholds)));
            cx.note(format!("frequencies: {}", by_label(frequencies)));
            let never = decision.labels.iter().zip(thresholds).filter(|(_, threshold)| **threshold >= 1.0);
            let never: Vec<&str> = never.map(|(label, _)| label.as_str()).collect();
            if !never.is_empty() {
                cx.warn(format!(
                    "{} never passes its threshold: on these rows no threshold is more often right than \"never\"; the \
                     method `macro-f1` does not give up rare labels",
                    never.join(", ")
                ));
            }
        }
    }
}

fn facts(cx: &mut Context, decision: &Decision, gain: &Gain) {
    cx.fact("temperature", decision.temperature);
    let figures = [
        ("gain", Some(gain.gain)),
        ("accuracy-gain", Some(gain.accuracy)),
        ("macro-f1-gain", Some(gain.macro_f1)),
        ("loss-gain", Some(gain.loss)),
        ("coverage", gain.coverage),
        ("covered-accuracy", gain.covered_accuracy),
    ];
    for (name, Figure { mean, sd }) in figures.into_iter().filter_map(|(name, figure)| Some((name, figure?))) {
        cx.fact(name, mean);
        cx.fact(format!("{name}-sd"), sd);
    }
}

fn shown(Figure { mean, sd }: Figure) -> String {
    format!("{mean:+.4} ± {sd:.4}")
}
