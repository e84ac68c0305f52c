//! Finds, before the first stage runs, predictions of the rows of another corpus.

use pipe_engine::contract::ahead::Ahead;
use pipe_engine::contract::kind::Invalid;

/// Refuse a corpus from which the predicted rows cannot come: neither corpus was made from the other, and they were read from
/// different sources. Predictions of a kind that is not known here are looked at when the stage runs.
pub(super) fn check(stage: &Ahead) -> Option<Invalid> {
    let given = chain(stage.input("corpus")?);
    let wrong = stage.inputs("predictions").into_iter().find_map(|(scores, _)| {
        let scored = chain(scores.input("tokens")?.input("corpus")?);
        let is_same = |one: &Ahead| given.iter().any(|other| other.name() == one.name() || reads_the_same(one, other));
        (!scored.iter().any(is_same)).then_some((scores, scored))
    });
    let (scores, scored) = wrong?;
    let (ours, theirs) = (given.first()?.name(), scored.first()?.name());
    let message = format!(
        "stage `{}` gets the corpus of stage `{ours}`, but the predictions of stage `{}` are of rows of `{theirs}`",
        stage.name(),
        scores.name()
    );
    Some(Invalid::new("corpus", message).help(format!("write `in.corpus = \"{theirs}\"`")))
}

/// A stage that gives a corpus, and those from whose corpora it was made, the nearest first.
fn chain(first: Ahead) -> Vec<Ahead> {
    std::iter::successors(Some(first), |stage| stage.input("corpus")).collect()
}

/// Two stages that read the same files can have rows in common.
fn reads_the_same(one: &Ahead, other: &Ahead) -> bool {
    let sources = |stage: &Ahead| stage.parameters().get("sources").cloned();
    sources(one).is_some_and(|ours| sources(other) == Some(ours))
}
