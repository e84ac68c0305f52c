//! The wording of an evaluation in the middle of a stage's work.

use super::format;
use pipe_engine::contract::measured::Measured;

/// The values of an evaluation that its line shows, with their wording; the log and `--json` have all.
const VALUES: [(&str, &str); 4] =
    [("loss", "loss"), ("validation-loss", "validation loss"), ("macro-f1", "macro F1"), ("accuracy", "accuracy")];

/// An evaluation as a phrase: `epoch 1/10  loss 1.437  validation loss 1.220  macro F1 0.360  accuracy 0.447  best so far`.
pub(super) fn evaluation(measured: &Measured) -> String {
    let Measured { step, total, epoch, epochs, every, values, best, stale, patience, .. } = measured;
    let of = epochs.map(|epochs| format!("/{epochs}")).unwrap_or_default();
    let mut parts = match (epoch, every) {
        (Some(epoch), None) => vec![format!("epoch {epoch}{of}")],
        (Some(epoch), Some(_)) => vec![format!("step {step}"), format!("epoch {epoch:.2}{of}")],
        (None, _) => vec![format!("step {step}/{total}")],
    };
    let known = VALUES.iter().filter_map(|(key, name)| Some(format!("{name} {:.3}", values.get(*key)?)));
    parts.extend(known);
    if !VALUES.iter().any(|(key, _)| values.contains_key(*key)) {
        parts.extend(format::facts(values).0);
    }
    match patience {
        _ if *best => parts.push("best so far".into()),
        Some(patience) if *stale > 0 => parts.push(format!("patience {stale}/{patience}")),
        _ => {}
    }
    parts.join("  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(all: &[(&str, f64)]) -> std::collections::BTreeMap<String, f64> {
        all.iter().map(|(name, value)| (name.to_string(), *value)).collect()
    }

    #[test]
    fn it_has_the_usual_values_in_the_usual_order() {
        let all =
            [("accuracy", 0.4471), ("f1[happy]", 0.5), ("loss", 1.4368), ("macro-f1", 0.36), ("validation-loss", 1.22)];
        let epoch = Measured {
            step: 113,
            total: 1130,
            epoch: Some(1.0),
            epochs: Some(10),
            values: values(&all),
            best: true,
            patience: Some(3),
            ..Measured::default()
        };
        let steps = Measured { every: Some(60), epoch: Some(3.7333), best: false, stale: 1, ..epoch.clone() };
        let alone = Measured { values: values(&[("loss", 1.4368)]), best: false, ..epoch.clone() };
        let other = Measured { step: 2, total: 9, values: values(&[("regret", 0.25)]), ..Measured::default() };
        assert_eq!(
            [epoch, steps, alone, other].map(|m| evaluation(&m)),
            [
                "epoch 1/10  loss 1.437  validation loss 1.220  macro F1 0.360  accuracy 0.447  best so far",
                "step 113  epoch 3.73/10  loss 1.437  validation loss 1.220  macro F1 0.360  accuracy 0.447  patience 1/3",
                "epoch 1/10  loss 1.437",
                "step 2/9  regret 0.250",
            ]
        );
    }
}
