//! Adds changed copies of training rows to a corpus.

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::types::CORPUS;
use super::shared::watched::{Watched, finished};
use pipe_engine::contract::ahead::Ahead;
use pipe_engine::contract::context::Context;
use pipe_engine::contract::kind::{Invalid, Port, Stage};
use pipe_engine::text::diagnostic::closest;
use pipe_ml::text::augment::rewrite::RATE;
use pipe_ml::text::augment::{Augmentation, Operation};
use pipe_ml::text::data::grow::{Amount, Grower};
use pipe_ml::text::data::made::Making;
use pipe_ml::text::data::{Corpus, Spec};

/// Adds changed copies of training rows to a corpus, for data sets of a few hundred rows. Validation and test rows stay as they
/// are, and no copy has a text of theirs.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Augment {
    /// How many copies of each row. Default: 1, unless `up-to` is set.
    #[serde(default)]
    copies: Option<u64>,
    /// Make copies only of classes with fewer training rows than this, as many as they lack.
    #[serde(default)]
    up_to: Option<usize>,
    /// The labels whose rows are copied. Default: all.
    #[serde(default)]
    classes: Option<Vec<String>>,
    /// Which changes are made; a copy gets one of them, drawn by the seed. Default: `synonym`, `swap`, `delete`, `insert`,
    /// `punctuation` and `typo`; for pairs of texts `synonym`, `punctuation` and `typo`, which leave words in their place.
    #[serde(default)]
    operations: Option<Vec<Operation>>,
    /// The share of a text's words that is changed, 0 < rate ≤ 1; at least one word is.
    #[serde(default = "usual_rate")]
    rate: f64,
}

fn usual_rate() -> f64 {
    RATE
}

/// More copies than this are probably rows of the whole corpus, written into the wrong parameter.
const MOST_COPIES: u64 = 1000;

impl Stage for Augment {
    const KIND: &'static str = "augment";
    const VERSION: u32 = 1;
    const MAIN: Option<&'static str> = Some("copies");
    const INPUTS: &'static [Port] = &[Port::one("corpus", CORPUS)];
    const OUTPUTS: &'static [Port] = &[Port::one("corpus", CORPUS)];
    const SEEDED: bool = true;

    fn check(&self) -> Vec<Invalid> {
        let mut wrong = Vec::new();
        let mut say = |key, message: String, help: &str| wrong.push(Invalid::new(key, message).help(help));
        match (self.copies, self.up_to) {
            (Some(_), Some(_)) => {
                say("up-to", "`copies` and `up-to` are both set".to_owned(), "keep one of the two");
            }
            (Some(0), None) => say("copies", "copies is 0; at least 1 is needed".to_owned(), "or remove the stage"),
            (Some(copies), None) if copies > MOST_COPIES => {
                let message =
                    format!("copies is {copies}; it is the number of copies of each row, at most {MOST_COPIES}");
                say("copies", message, "`up-to` says how many rows a class should have");
            }
            (None, Some(0)) => say("up-to", "up-to is 0; at least 1 is needed".to_owned(), "or remove the stage"),
            _ => {}
        }
        if !(self.rate > 0.0 && self.rate <= 1.0) {
            let message = format!("rate is {}; it must be above 0 and at most 1", self.rate);
            say("rate", message, "0.1 changes a tenth of the words");
        }
        if self.operations.as_ref().is_some_and(Vec::is_empty) {
            say("operations", "`operations` is empty".to_owned(), "leave it out for all");
        }
        if self.classes.as_ref().is_some_and(Vec::is_empty) {
            say("classes", "`classes` is empty".to_owned(), "leave it out for all");
        }
        wrong
    }

    fn check_ahead(&self, stage: &Ahead) -> Vec<Invalid> {
        let Some(source) = source_of(*stage) else { return Vec::new() };
        let Ok(spec) = serde_json::from_value::<Spec>(source.parameters().clone()) else { return Vec::new() };
        let classes = spec.known_labels().map(|labels| self.labels(&labels)).and_then(Result::err);
        let classes = classes.map(|(message, help)| Invalid::new("classes", message).help(help));
        let moved = self.moves(spec.has_pairs());
        classes.into_iter().chain(moved.map(|(message, help)| Invalid::new("operations", message).help(help))).collect()
    }

    fn run(&self, cx: &mut Context) -> Result<()> {
        let mut corpus = Corpus::open(&cx.input("corpus")?.dir)?;
        if let Some((message, help)) = self.moves(corpus.has_pairs()) {
            bail!("{message}; {help}");
        }
        let classes = match self.labels(&corpus.labels) {
            Ok(classes) => classes,
            Err((message, help)) => bail!("{message}; {help}"),
        };
        let usual = Augmentation::usual(corpus.has_pairs());
        let operations = self.operations.clone().unwrap_or(usual.operations);
        let making = Making::Augment(Augmentation { operations, rate: self.rate });
        let amount = match self.up_to {
            Some(rows) => Amount::UpTo(rows),
            None => Amount::Copies(self.copies.unwrap_or(1)),
        };
        let mut grower = Grower::new(&making, cx.seed(), &corpus);
        let grown = finished(grower.grow(&mut corpus.train, &classes, amount, &Watched::new(cx)))?;
        let line = grown.describe();
        if grown.made() == 0 {
            cx.warn(format!("{line}: the corpus stays as it was"));
        }
        corpus.count_made(grown.made());
        let labels = corpus.report.label_lines(&corpus.labels);
        let train: Vec<String> =
            labels.iter().filter(|line| line.starts_with("train")).map(|line| format!("labels  {line}")).collect();
        for line in std::iter::once(&line).chain(&train) {
            cx.note(line);
            cx.keep(line);
        }
        corpus.report.notes.push(format!("augment: {line}"));
        cx.fact("made", grown.made() as f64);
        corpus.write(&cx.output("corpus")?)
    }
}

/// The `preprocess` that a corpus comes from.
fn source_of(mut stage: Ahead<'_>) -> Option<Ahead<'_>> {
    loop {
        stage = stage.input("corpus")?;
        match stage.kind() {
            "preprocess" => return Some(stage),
            Augment::KIND => {}
            _ => return None,
        }
    }
}

impl Augment {
    /// The ids of the classes to copy; the error says which does not exist, and what to do.
    fn labels(&self, known: &[String]) -> Result<Vec<u32>, (String, String)> {
        let Some(wanted) = &self.classes else { return Ok((0..known.len() as u32).collect()) };
        let mut ids = Vec::new();
        for name in wanted {
            match known.iter().position(|label| label == name) {
                Some(id) => ids.push(id as u32),
                None => {
                    let all: Vec<String> = known.iter().map(|label| format!("`{label}`")).collect();
                    let help = match closest(name, known.iter().map(String::as_str)) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!("the labels are {}", all.join(", ")),
                    };
                    return Err((format!("`classes` names the label `{name}`, which the corpus does not have"), help));
                }
            }
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    /// What is wrong with the operations if the rows are pairs.
    fn moves(&self, has_pairs: bool) -> Option<(String, String)> {
        let moving = self.operations.iter().flatten().find(|operation| !Operation::IN_PLACE.contains(operation))?;
        has_pairs.then(|| {
            let keep: Vec<&str> = Operation::IN_PLACE.iter().map(|operation| operation.name()).collect();
            let name = moving.name();
            (
                format!("the rows are pairs of texts, and `{name}` can change what one text says of the other"),
                format!("use {}", keep.join(", ")),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn augment(text: &str) -> Augment {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn invalid_values_are_reported() {
        let says = |text: &str| -> Vec<String> {
            let wrong = augment(text).check().into_iter();
            wrong.map(|i| format!("{}: {}; {}", i.key, i.message, i.help.unwrap_or_default())).collect()
        };
        assert_eq!(says(r#"{"copies": 0}"#), ["copies: copies is 0; at least 1 is needed; or remove the stage"]);
        assert_eq!(
            says(r#"{"copies": 2, "up-to": 5}"#),
            ["up-to: `copies` and `up-to` are both set; keep one of the two"]
        );
        assert_eq!(
            says(r#"{"copies": 5000}"#),
            [
                "copies: copies is 5000; it is the number of copies of each row, at most 1000; `up-to` says how many rows a class \
                 should have"
            ]
        );
        assert_eq!(
            says(r#"{"rate": 0, "operations": [], "classes": []}"#),
            [
                "rate: rate is 0; it must be above 0 and at most 1; 0.1 changes a tenth of the words",
                "operations: `operations` is empty; leave it out for all",
                "classes: `classes` is empty; leave it out for all"
            ]
        );
        assert_eq!(says("{}"), [""; 0]);
    }

    #[test]
    fn unknown_classes_and_operations_that_move_words_of_pairs_are_refused() {
        let labels = ["Negative", "Neutral", "Positive"].map(str::to_owned);
        assert_eq!(augment(r#"{"classes": ["Positive", "Negative"]}"#).labels(&labels), Ok(vec![0, 2]));
        assert_eq!(augment("{}").labels(&labels), Ok(vec![0, 1, 2]));
        let (message, help) = augment(r#"{"classes": ["Neutrall"]}"#).labels(&labels).unwrap_err();
        assert_eq!(message, "`classes` names the label `Neutrall`, which the corpus does not have");
        assert_eq!(help, "did you mean `Neutral`?");
        let (_, help) = augment(r#"{"classes": ["x"]}"#).labels(&labels).unwrap_err();
        assert_eq!(help, "the labels are `Negative`, `Neutral`, `Positive`");
        let moving = augment(r#"{"operations": ["typo", "swap"]}"#);
        assert_eq!(moving.moves(false), None);
        assert_eq!(
            moving.moves(true),
            Some((
                "the rows are pairs of texts, and `swap` can change what one text says of the other".to_owned(),
                "use synonym, punctuation, typo".to_owned()
            ))
        );
    }
}
