//! What a file gives by label, in the order of the labels.

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};

use super::kind::Decide;
use pipe_ml::judge::decide::{Fit, Method, Prior};

/// The labels of the predictions, and how many training rows each has.
pub(super) struct Known<'a> {
    pub labels: &'a [String],
    pub train_rows: &'a [u64],
}

/// A problem with what is given by label: the parameter and the message.
pub(super) type Problem = (&'static str, String);

/// What is wrong with what the file gives, for these labels.
pub(super) fn problems(decide: &Decide, labels: &[String]) -> Vec<Problem> {
    let mut wrong = Vec::new();
    let given = [("thresholds", &decide.thresholds), ("frequencies", &decide.frequencies), ("prior", &decide.prior)];
    for (key, values) in given {
        let unknown = values.keys().filter(|name| !labels.contains(name));
        wrong.extend(unknown.map(|name| {
            (
                key,
                format!("`{key}` names the label `{name}`, which does not exist; the labels are {}", labels.join(", ")),
            )
        }));
        let lacking: Vec<&str> = labels.iter().filter(|l| !values.contains_key(*l)).map(String::as_str).collect();
        if key != "thresholds" && !values.is_empty() && !lacking.is_empty() {
            wrong.push((key, format!("`{key}` lacks {}; it must name every label", lacking.join(", "))));
        }
    }
    if let Some(cost) = decide.cost.as_ref().filter(|cost| cost.len() != labels.len()) {
        let (size, count) = (cost.len(), labels.len());
        let message = format!("`cost` has {size} rows of {size}, but there are {count} labels: {}", labels.join(", "));
        wrong.push(("cost", message));
    }
    wrong
}

impl Known<'_> {
    /// What to fit.
    pub(super) fn fit(&self, decide: &Decide) -> Result<Fit> {
        if let Some((_, message)) = problems(decide, self.labels).into_iter().next() {
            bail!("{message}");
        }
        let method = decide.method();
        let has_prior = !decide.prior.is_empty();
        let frequencies = match method == Method::Covid || has_prior {
            true => Some(self.frequencies(decide)?),
            false => None,
        };
        let prior = match (&frequencies, has_prior) {
            (Some(trained), true) => {
                let expected = shares(self.in_order(&decide.prior));
                Some(Prior { expected, trained: trained.clone() })
            }
            _ => None,
        };
        Ok(Fit {
            method,
            temperature: decide.temperature,
            thresholds: self.labels.iter().map(|label| decide.thresholds.get(label).copied()).collect(),
            frequencies,
            prior,
            cost: decide.cost.clone(),
        })
    }

    /// The shares of the labels in the training rows.
    fn frequencies(&self, decide: &Decide) -> Result<Vec<f64>> {
        if !decide.frequencies.is_empty() {
            return Ok(shares(self.in_order(&decide.frequencies)));
        }
        ensure!(
            self.train_rows.iter().any(|rows| *rows > 0),
            "the tokens that were scored have no training rows, so it is not known how frequent each label was when the model \
             was trained; write `frequencies = {{ LABEL = COUNT, … }}`"
        );
        Ok(shares(self.train_rows.iter().map(|rows| *rows as f64).collect()))
    }

    fn in_order(&self, values: &BTreeMap<String, f64>) -> Vec<f64> {
        self.labels.iter().map(|label| values.get(label).copied().unwrap_or(0.0)).collect()
    }
}

/// The values divided by their sum.
fn shares(values: Vec<f64>) -> Vec<f64> {
    let sum: f64 = values.iter().sum();
    values.into_iter().map(|value| value / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(text: &str) -> Decide {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn labels_that_do_not_exist_or_are_missing_and_costs_of_another_shape_are_told() {
        let labels = ["no", "yes"].map(String::from);
        let says = |text: &str| -> Vec<String> { problems(&decide(text), &labels).into_iter().map(|p| p.1).collect() };
        assert_eq!(
            says(r#"{"thresholds": {"yess": 0.5}}"#),
            ["`thresholds` names the label `yess`, which does not exist; the labels are no, yes"]
        );
        assert_eq!(says(r#"{"prior": {"no": 1}}"#), ["`prior` lacks yes; it must name every label"]);
        assert_eq!(
            says(r#"{"cost": [[0,1,1],[1,0,1],[1,1,0]]}"#),
            ["`cost` has 3 rows of 3, but there are 2 labels: no, yes"]
        );
        assert_eq!(says(r#"{"thresholds": {"yes": 0.5}}"#), [""; 0]);
    }

    #[test]
    fn frequencies_are_those_of_the_training_rows_or_of_the_file() {
        let labels = ["no", "yes"].map(String::from);
        let known = Known { labels: &labels, train_rows: &[30, 10] };
        let frequencies = |text: &str| known.fit(&decide(text)).unwrap().frequencies;
        assert_eq!(frequencies(r#"{"method": "covid"}"#), Some(vec![0.75, 0.25]));
        assert_eq!(frequencies(r#"{"method": "covid", "frequencies": {"yes": 9, "no": 1}}"#), Some(vec![0.1, 0.9]));
        assert_eq!(frequencies("{}"), None);
        let none = Known { labels: &labels, train_rows: &[0, 0] };
        let error = none.fit(&decide(r#"{"method": "covid"}"#)).unwrap_err().to_string();
        assert_eq!(
            error,
            "the tokens that were scored have no training rows, so it is not known how frequent each label was when the model was \
             trained; write `frequencies = { LABEL = COUNT, … }`"
        );
    }
}
