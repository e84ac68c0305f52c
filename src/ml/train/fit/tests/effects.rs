//! Tests that each option has its effect and no other.

use super::*;

fn steps(fitted: &Fitted) -> Vec<u64> {
    fitted.training.evaluations.iter().map(|evaluation| evaluation.step).collect()
}

#[test]
fn evaluations_come_at_each_epochs_end_or_every_so_many_steps_and_after_the_last() {
    let tokens = tokens(44); // Six steps an epoch.
    let usual = run(model(0.1, 4), &tokens, &options()).unwrap();
    assert_eq!(steps(&usual), [6, 12, 18]);
    let often = run(model(0.1, 4), &tokens, &Hyperparameters { eval_steps: Some(4), ..options() }).unwrap();
    assert_eq!(steps(&often), [4, 8, 12, 16, 18]);
    let epochs: Vec<f64> = often.training.evaluations.iter().map(|evaluation| evaluation.epoch).collect();
    assert_eq!(epochs, [4.0 / 6.0, 8.0 / 6.0, 2.0, 16.0 / 6.0, 3.0]);
    // The loss of an evaluation covers the steps since the previous one; the training itself is unchanged.
    let losses: Vec<f64> = usual.training.curve.iter().map(|point| point.loss).collect();
    assert_eq!(losses, often.training.curve.iter().map(|point| point.loss).collect::<Vec<_>>());
    let mean = losses[4..8].iter().sum::<f64>() / 4.0;
    assert!((often.training.evaluations[1].train_loss - mean).abs() < 1e-12);
    let rarely = run(model(0.1, 4), &tokens, &Hyperparameters { eval_steps: Some(1000), ..options() }).unwrap();
    assert_eq!(steps(&rarely), [18]);
}

#[test]
fn the_model_kept_is_that_of_the_best_evaluation_by_the_chosen_metric() {
    let tokens = tokens(44);
    for metric in [Criterion::MacroF1, Criterion::Accuracy, Criterion::Loss, Criterion::MacroAuc] {
        // A rate so high that the validation metrics go up and down.
        let options =
            Hyperparameters { metric, eval_steps: Some(1), learning_rate: Some(3e-2), epochs: 2, ..options() };
        let fitted = run(model(0.1, 4), &tokens, &options).unwrap();
        let values = fitted.training.evaluations.iter().map(|e| metric.of(e.validation.as_ref().unwrap()));
        let values: Vec<f64> = values.collect();
        let best = fitted.training.best.unwrap();
        assert!(values.iter().all(|value| metric.gain(*value, best.value) <= 0.0), "{metric:?}: {values:?} {best:?}");
        let first = values.iter().position(|value| *value == best.value).unwrap() as u64 + 1;
        assert_eq!(best.step, first, "{metric:?}: of equal evaluations the first counts");
        assert!(best.step < 12 || metric.gain(values[10], values[11]) < 0.0, "{metric:?}: the last is the best");
        let device = Device::flex();
        let scoring = Scoring { split: &tokens.validation, pad_id: 1, batch_size: 64, device: &device };
        let logits = scoring.logits(&metrics::forward(&fitted.model), &Silent).unwrap();
        let metrics = Metrics::of(&logits, tokens.validation.labels(), &tokens.labels).unwrap();
        assert!((metric.of(&metrics) - best.value).abs() < 1e-9, "{metric:?}");
    }
}

#[test]
fn patience_counts_evaluations_be_they_epochs_or_not() {
    let options = Hyperparameters { eval_steps: Some(2), patience: Some(3), learning_rate: Some(1e-9), ..options() };
    let fitted = run(model(0.1, 6), &tokens(32), &options).unwrap();
    assert_eq!((fitted.training.stop, steps(&fitted)), (Stop::Early, vec![2, 4, 6, 8]));
}

#[test]
fn a_gain_below_the_threshold_makes_a_best_model_and_buys_no_patience() {
    let fitted = |threshold| {
        let options = Hyperparameters { epochs: 6, patience: Some(2), threshold, metric: Criterion::Loss, ..options() };
        run(model(0.0, 6), &tokens(96), &options).unwrap().training
    };
    let (patient, strict) = (fitted(0.0), fitted(10.0));
    assert_eq!((patient.stop, patient.evaluations.len()), (Stop::Finished, 6));
    assert_eq!((strict.stop, strict.evaluations.len(), strict.best.unwrap().epoch), (Stop::Early, 3, 3.0));
}

#[test]
fn every_step_has_the_rate_of_the_schedule() {
    let tokens = tokens(44);
    let after = |steps| Hyperparameters { warmup_steps: Some(steps), warmup_ratio: None, ..options() };
    for (shape, schedule) in [
        (Shape::Linear, Schedule::Linear),
        (Shape::Cosine, Schedule::Cosine),
        (Shape::CosineWithRestarts, Schedule::CosineWithRestarts { cycles: 2 }),
        (Shape::Constant, Schedule::Constant),
    ] {
        let options = Hyperparameters { schedule: shape, cycles: 2, ..after(3) };
        let curve = run(model(0.0, 4), &tokens, &options).unwrap().training.curve;
        let expected: Vec<f64> = (0..18).map(|step| 3e-3 * schedule.factor(step, Warmup::Steps(3), 18)).collect();
        assert_eq!(curve.iter().map(|point| point.learning_rate).collect::<Vec<_>>(), expected, "{schedule:?}");
    }
    // The first step of a warm-up has rate 0, so it changes nothing.
    let options = Hyperparameters { epochs: 1, batch_size: 44, ..after(1) };
    let fitted = run(model(0.0, 4), &tokens, &options).unwrap();
    assert!(bits(&model(0.0, 4).to_host().unwrap()) == weights(&fitted));
}

#[test]
fn betas_and_epsilon_reach_the_optimizer() {
    let tokens = tokens(44);
    let fitted = |betas, epsilon| {
        weights(&run(model(0.0, 10), &tokens, &Hyperparameters { betas, epsilon, ..options() }).unwrap())
    };
    let reference = fitted([0.9, 0.999], 1e-8);
    for (betas, epsilon) in [([0.8, 0.999], 1e-8), ([0.9, 0.9], 1e-8), ([0.9, 0.999], 1e-3)] {
        assert!(fitted(betas, epsilon) != reference, "{betas:?} {epsilon}");
    }
    assert!(weights(&run(model(0.0, 10), &tokens, &options()).unwrap()) == reference, "these are the defaults");
}

#[test]
fn fixed_padding_computes_more_than_buckets_do() {
    let padding =
        |padding| run(model(0.0, 4), &tokens(44), &Hyperparameters { padding, ..options() }).unwrap().training.padding;
    let (bucketed, fixed) =
        (padding(crate::text::batch::Padding::Bucketed), padding(crate::text::batch::Padding::Fixed(16)));
    let held: usize = (0..44).map(|row| tokens(44).train.row(row).len()).sum();
    assert!((fixed - (1.0 - held as f64 / (44.0 * 16.0))).abs() < 1e-12, "{fixed}");
    assert!(bucketed < fixed, "{bucketed} {fixed}");
}

#[test]
fn frozen_layers_stay_and_take_no_room_in_optimizer_and_checkpoints() {
    let tokens = tokens(44);
    let folder = tempfile::tempdir().unwrap();
    let start = || model(0.1, 5).finetune_last(1).unwrap();
    let before = start().to_host().unwrap();
    let is_trained = |name: &str| name.contains("layer.1.") || name.starts_with("classifier");
    let go = |watch: &dyn Watch| {
        fit(
            start(),
            &tokens,
            &Objective::cross_entropy(),
            &options().into(),
            Some(folder.path()),
            &Device::flex(),
            watch,
        )
    };
    let undisturbed = run(start(), &tokens, &options()).unwrap();
    assert!(go(&StopAfter(7, AtomicU64::new(0))).unwrap_err().is::<Interrupted>());
    let (_, tensors) = Checkpoints::open(folder.path()).unwrap().read::<FitState>().0.unwrap();
    let groups = |name: &str| name.split_once('/').map(|(group, name)| (group.to_owned(), is_trained(name))).unwrap();
    let groups: std::collections::BTreeSet<_> = tensors.keys().map(|name| groups(name)).collect();
    let expected = ["best", "first", "second", "weights"].map(|group| (group.to_owned(), true));
    assert_eq!(groups.into_iter().collect::<Vec<_>>(), expected);
    // The fit resumes from there and ends with the same result.
    let fitted = go(&Silent).unwrap();
    assert!(weights(&undisturbed) == weights(&fitted));
    for (name, tensor) in fitted.model.to_host().unwrap() {
        assert_eq!(tensor != before[&name], is_trained(&name), "{name}");
    }
    let sizes = before.iter().filter(|(name, _)| is_trained(name)).map(|(_, tensor)| tensor.data.len());
    let trainable = sizes.sum::<usize>();
    assert_eq!(fitted.training.trainable_parameters, trainable as u64);
    assert_eq!(AdamW::new(AdamWSettings::default(), &start(), &Device::flex()).state_len(), 2 * trainable);
}

#[test]
fn patience_ends_a_fit_that_no_longer_gets_better() {
    let options = Hyperparameters { epochs: 50, patience: Some(2), learning_rate: Some(1e-9), ..options() };
    let fitted = run(model(0.1, 6), &tokens(32), &options).unwrap();
    assert_eq!((fitted.training.stop, fitted.training.evaluations.len()), (Stop::Early, 3));
    assert_eq!(fitted.training.best.unwrap().epoch, 1.0);
    let mut none = tokens(32);
    none.validation = Split::default();
    let message = run(model(0.1, 6), &none, &options).unwrap_err().to_string();
    assert!(message.contains("patience needs validation rows"), "{message}");
}

#[test]
fn clipping_and_decay_have_their_effect() {
    let tokens = tokens(32);
    let fitted = |options: Hyperparameters| run(model(0.0, 10), &tokens, &options).unwrap();
    let free = fitted(Hyperparameters { clip: 0.0, ..options() });
    let clipped = fitted(Hyperparameters { clip: 1e-3, ..options() });
    let decayed = fitted(Hyperparameters { weight_decay: 0.5, ..options() });
    assert!(difference(&free.model, &clipped.model) > 1e-5); // Adam ignores a scale, but not ε.
    assert_eq!(free.training.curve[0].grad_norm, clipped.training.curve[0].grad_norm); // Reported before clipping.
    let norm =
        |fitted: &Fitted, name: &str| fitted.model.to_host().unwrap()[name].data.iter().map(|x| x * x).sum::<f32>();
    let matrix = "roberta.encoder.layer.0.output.dense.weight";
    assert!(norm(&decayed, matrix) < 0.99 * norm(&free, matrix));
    let scale = "roberta.encoder.layer.0.output.LayerNorm.weight";
    assert!((norm(&decayed, scale) / norm(&free, scale) - 1.0).abs() < 0.01);
}
