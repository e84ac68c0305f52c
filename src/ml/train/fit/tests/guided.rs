//! Tests of a student that imitates more of its teacher than the logits.

use super::*;
use crate::compress::student;
use crate::train::guide::{AttentionLoss, Depths, Guide, HiddenLoss, Measure};

/// Three layers of width 24: wider than the student.
fn teacher(width: usize) -> Model {
    let config = model(0.0, 1).config().to_json().to_string();
    let config = config.replace("\"hidden_size\":16", &format!("\"hidden_size\":{width}"));
    let config = config.replace("\"num_hidden_layers\":2", "\"num_hidden_layers\":3");
    let config = Config::parse(&config).unwrap();
    assert_eq!((config.hidden_size(), config.layers()), (width, 3));
    Model::init(&config, 21, &Device::flex()).unwrap()
}

fn hidden(loss: Measure, weight: f64) -> Option<HiddenLoss> {
    Some(HiddenLoss { loss, weight, layers: Depths::Uniform })
}

fn objective(teacher: &Model, student: &Model, hidden: Option<HiddenLoss>, attention: bool) -> Objective {
    let attention = attention.then_some(AttentionLoss { weight: 1.0, layers: Depths::Uniform });
    let guide = Some(Guide::new(teacher, student, hidden, attention).unwrap());
    Objective::Distill { teacher: vec![0.0; 44 * 3], alpha: 0.5, temperature: 2.0, guide }
}

#[test]
fn an_interrupted_guided_fit_ends_in_the_same_bits_its_projection_included() {
    let (tokens, teacher) = (tokens(44), teacher(24));
    let objective = objective(&teacher, &model(0.1, 4), hidden(Measure::Cosine, 2.0), true);
    let undisturbed =
        fit(model(0.1, 4), &tokens, &objective, &options().into(), None, &Device::flex(), &Silent).unwrap();
    assert!(undisturbed.model.parameters().iter().all(|named| !named.name.contains("projection")));
    for (steps, every) in [(1, 0.0), (5, 60.0), (6, 60.0)] {
        let folder = tempfile::tempdir().unwrap();
        let options = FitOptions::from(Hyperparameters { checkpoint_minutes: every, ..options() });
        let fitted = loop {
            let watch = StopAfter(steps, AtomicU64::new(0));
            match fit(model(0.1, 4), &tokens, &objective, &options, Some(folder.path()), &Device::flex(), &watch) {
                Ok(fitted) => break fitted,
                Err(error) => assert!(error.is::<Interrupted>(), "{error:#}"),
            }
            let (_, tensors) = Checkpoints::open(folder.path()).unwrap().read::<FitState>().0.unwrap();
            for group in ["weights", "first", "second"] {
                assert!(tensors.contains_key(&format!("{group}/projection.weight")), "{group}: {:?}", tensors.keys());
            }
        };
        assert!(weights(&undisturbed) == weights(&fitted), "stopped after {steps} steps");
        assert_eq!(story(&undisturbed), story(&fitted));
    }
}

#[test]
fn a_checkpoint_of_another_guidance_is_not_used() {
    let (tokens, teacher, folder) = (tokens(44), teacher(16), tempfile::tempdir().unwrap());
    let start = || model(0.0, 4);
    let stopped = fit(
        start(),
        &tokens,
        &objective(&teacher, &start(), hidden(Measure::Mse, 1.0), false),
        &options().into(),
        Some(folder.path()),
        &Device::flex(),
        &StopAfter(3, AtomicU64::new(0)),
    );
    assert!(stopped.unwrap_err().is::<Interrupted>());
    let other = objective(&teacher, &start(), hidden(Measure::Mse, 2.0), false);
    let alone = fit(start(), &tokens, &other, &options().into(), None, &Device::flex(), &Silent).unwrap();
    let fitted =
        fit(start(), &tokens, &other, &options().into(), Some(folder.path()), &Device::flex(), &Silent).unwrap();
    assert!(weights(&alone) == weights(&fitted));
}

#[test]
fn each_loss_brings_the_student_nearer_to_the_teacher() {
    let teacher = teacher(16);
    let start = || student::with_layers(&teacher, &[0, 1], &Device::flex()).unwrap();
    for (hidden, attention) in [(hidden(Measure::Mse, 1.0), false), (hidden(Measure::Cosine, 1.0), false), (None, true)]
    {
        let objective = objective(&teacher, &start(), hidden, attention);
        let options = FitOptions::from(Hyperparameters { epochs: 20, ..options() });
        let fitted = fit(start(), &tokens(44), &objective, &options, None, &Device::flex(), &Silent).unwrap();
        let losses: Vec<f64> = fitted.training.curve.iter().map(|point| point.loss).collect();
        assert!(losses[losses.len() - 1] < 0.9 * losses[0], "{hidden:?} {attention}: {losses:?}");
    }
}
