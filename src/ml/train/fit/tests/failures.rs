//! Tests of what stops a fit, and of the state that it leaves.

use super::*;

#[test]
fn a_loss_that_is_not_a_number_stops_with_the_rows() {
    let options = Hyperparameters { learning_rate: Some(1e30), warmup_ratio: None, clip: 0.0, ..options() };
    let message = run(model(0.0, 9), &tokens(32), &options).unwrap_err().to_string();
    assert!(message.contains("NaN") || message.contains("inf"), "{message}");
    assert!(message.contains("of 12 (epoch") && message.contains("rows row-"), "{message}");
}

/// Remembers the notes that it receives.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Watch for Told {
    fn progress(&self, _: Progress) {}
    fn measured(&self, measured: Measured) {
        self.0.lock().unwrap().push(format!("{measured:?}"));
    }
    fn note(&self, text: String) {
        self.0.lock().unwrap().push(text);
    }
    fn warn(&self, text: String) {
        self.0.lock().unwrap().push(text);
    }
    fn stopped(&self) -> bool {
        false
    }
}

/// Run until the fit fails. Returns the message, the notes, and the step and the weights that the folder then holds.
fn failure(start: Model, options: &FitOptions, folder: &Path) -> (String, Vec<String>, u64, Vec<f32>) {
    let (tokens, told) = (tokens_with_a_bad_row(), Told::default());
    let result = fit(start, &tokens, &Objective::cross_entropy(), options, Some(folder), &Device::flex(), &told);
    let (state, tensors) = Checkpoints::open(folder).unwrap().read::<FitState>().0.unwrap();
    let weights = tensors.into_iter().filter(|(name, _)| name.starts_with("weights/"));
    let weights = weights.flat_map(|(_, values)| values).collect();
    (result.map(drop).unwrap_err().to_string(), told.0.into_inner().unwrap(), state.step, weights)
}

/// Token 39 is in only one of 44 rows, the longest, at a position that no other row reaches.
fn tokens_with_a_bad_row() -> Tokens {
    let mut tokens = tokens(43);
    let mut ids = [6; 20];
    (ids[0], ids[19]) = (0, 39);
    tokens.train.push(&ids, 2, "the-bad-one".into());
    tokens
}

/// A model with finite weights for which token 39 at that position is not finite: the sum of its two embeddings
/// overflows.
fn model_with_a_bad_token() -> Model {
    let start = model(0.1, 4);
    let mut host = start.to_host().unwrap();
    let mut spoil = |table: &str, row: usize| {
        let table = format!("roberta.embeddings.{table}_embeddings.weight");
        host.get_mut(&table).unwrap().data[row * 16] = 0.75 * f32::MAX;
    };
    spoil("word", 39);
    spoil("position", 2 + 19);
    start.from_host(host).unwrap()
}

#[test]
fn a_bad_row_stops_the_fit_and_the_state_before_it_is_on_disk() {
    // No checkpoint is due by time: the one on disk was written because of the failure.
    let options = FitOptions::from(Hyperparameters { checkpoint_minutes: 60.0, ..options() });
    let folder = tempfile::tempdir().unwrap();
    let (message, notes, step, weights) = failure(model_with_a_bad_token(), &options, folder.path());
    assert!(step < 6 && notes.is_empty(), "{notes:?}");
    assert!(weights.iter().all(|x| x.is_finite()));
    assert!(
        message.contains(&format!("at step {} of 18 (epoch ", step + 1)) && message.contains("the-bad-one"),
        "{message}"
    );
    let kept = format!("the checkpoint of step {step} is kept, and a rerun with the same settings resumes from it");
    assert!(message.contains(&kept), "{message}");
    // It equals the state of a fit that was stopped there.
    let (other, stop) = (tempfile::tempdir().unwrap(), StopAfter(step, AtomicU64::new(0)));
    let (tokens, start) = (tokens_with_a_bad_row(), model_with_a_bad_token());
    let result = fit(start, &tokens, &Objective::cross_entropy(), &options, Some(other.path()), &Device::flex(), &stop);
    assert!(result.unwrap_err().is::<Interrupted>());
    let tensors = |folder: &Path| Checkpoints::open(folder).unwrap().read::<FitState>().0.unwrap().1;
    assert!(tensors(folder.path()) == tensors(other.path()));
    // A rerun resumes there and fails again.
    let (again, notes, ..) = failure(model_with_a_bad_token(), &options, folder.path());
    assert_eq!((again, notes), (message, vec![format!("resuming from step {step} of 18")]));
}

#[test]
fn a_spoilt_model_never_becomes_a_checkpoint() {
    // The update itself overflows, so the model after the step is the first thing that is not finite.
    let options = Hyperparameters {
        learning_rate: Some(1e39),
        warmup_ratio: None,
        warmup_steps: Some(1),
        clip: 0.0,
        checkpoint_minutes: 0.0,
        ..options()
    };
    let folder = tempfile::tempdir().unwrap();
    let (message, _, step, weights) = failure(model(0.1, 4), &options.into(), folder.path());
    assert_eq!(step, 1, "the first step has a rate of 0");
    assert!(weights.iter().all(|x| x.is_finite()));
    assert!(message.contains("at step 3 of 18") && message.contains("the checkpoint of step 1 is kept"), "{message}");
}

#[test]
fn tokens_that_the_model_cannot_read_are_refused() {
    let message = |change: fn(&mut Tokens)| {
        let mut tokens = tokens(8);
        change(&mut tokens);
        run(model(0.0, 12), &tokens, &options()).unwrap_err().to_string()
    };
    assert!(message(|tokens| tokens.labels.truncate(2)).contains("label"));
    assert!(message(|tokens| tokens.labels.push("d".into())).contains("3 labels and the tokens have 4"));
    let long = message(|tokens| tokens.train.push(&[5; 39], 0, "long".into()));
    assert!(long.contains("train row `long` has 39 tokens, but the model takes at most 38"), "{long}");
    let foreign = message(|tokens| tokens.validation.push(&[40], 0, "new".into()));
    assert!(foreign.contains("validation row `new` has token id 40, but the model has 40 tokens"), "{foreign}");
    assert!(message(|tokens| tokens.train = Split::default()).contains("no train rows"));
}

#[test]
fn a_damaged_or_foreign_checkpoint_is_not_used() {
    let tokens = tokens(44);
    let folder = tempfile::tempdir().unwrap();
    let options = Hyperparameters { checkpoint_minutes: 0.0, ..options() };
    let objective = Objective::cross_entropy();
    let go = |options: &Hyperparameters, steps| {
        let (options, watch) = (options.clone().into(), StopAfter(steps, AtomicU64::new(0)));
        let result = fit(model(0.1, 4), &tokens, &objective, &options, Some(folder.path()), &Device::flex(), &watch);
        (result, watch.1.load(Ordering::Relaxed))
    };
    assert!(go(&options, 5).0.is_err());
    let path = folder.path().join("fit.checkpoint");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let (fitted, steps) = go(&options, 1000);
    assert!((13..18).contains(&steps), "{steps} steps from the checkpoint before");
    assert!(weights(&run(model(0.1, 4), &tokens, &options).unwrap()) == weights(&fitted.unwrap()));
    let other = Hyperparameters { learning_rate: Some(1e-4), ..options.clone() };
    assert_eq!(go(&other, 1000).1, 18);
}
