//! What a file gives by label, in the order of the labels.

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};

use pipe_ml::judge::decide::{Fit, Method, Prior};

/// What a file gives for a fit.
#[derive(Debug)]
pub(super) struct Given<'a> {
    pub method: Method,
    pub temperature: Option<f64>,
    pub thresholds: &'a BTreeMap<String, f64>,
    pub frequencies: &'a BTreeMap<String, f64>,
    pub prior: &'a BTreeMap<String, f64>,
    pub cost: Option<&'a Vec<Vec<f64>>>,
}

/// A problem with what is given: the parameter and the message.
pub(super) type Problem = (&'static str, String);

impl Given<'_> {
    /// What is wrong with it for these labels.
    pub(super) fn problems(&self, labels: &[String]) -> Vec<Problem> {
        let mut wrong = Vec::new();
        for (key, values) in [("thresholds", self.thresholds), ("frequencies", self.frequencies), ("prior", self.prior)]
        {
            let unknown = values.keys().filter(|name| !labels.contains(name));
            wrong.extend(unknown.map(|name| {
                let all = labels.join(", ");
                (key, format!("`{key}` names the label `{name}`, which does not exist; the labels are {all}"))
            }));
            let lacking: Vec<&str> = labels.iter().filter(|l| !values.contains_key(*l)).map(String::as_str).collect();
            // One of an unknown name is the likely cause.
            if key != "thresholds"
                && !values.is_empty()
                && values.keys().all(|name| labels.contains(name))
                && !lacking.is_empty()
            {
                wrong.push((key, format!("`{key}` lacks {}; it must name every label", lacking.join(", "))));
            }
        }
        if let Some(cost) = self.cost.filter(|cost| cost.len() != labels.len()) {
            let (size, count) = (cost.len(), labels.len());
            let message =
                format!("`cost` has {size} rows of {size}, but there are {count} labels: {}", labels.join(", "));
            wrong.push(("cost", message));
        }
        wrong
    }

    /// What to fit, for these labels; `train_rows` is how many training rows each has.
    pub(super) fn fit(&self, (labels, train_rows): (&[String], &[u64])) -> Result<Fit> {
        if let Some((_, message)) = self.problems(labels).into_iter().next() {
            bail!("{message}");
        }
        let has_prior = !self.prior.is_empty();
        let frequencies = match self.method == Method::Covid || has_prior {
            true => Some(self.shares((labels, train_rows))?),
            false => None,
        };
        let prior = match (&frequencies, has_prior) {
            (Some(trained), true) => {
                Some(Prior { expected: shares(in_order(self.prior, labels)), trained: trained.clone() })
            }
            _ => None,
        };
        Ok(Fit {
            method: self.method,
            temperature: self.temperature,
            thresholds: labels.iter().map(|label| self.thresholds.get(label).copied()).collect(),
            frequencies,
            prior,
            cost: self.cost.cloned(),
        })
    }

    /// The shares of the labels in the training rows.
    fn shares(&self, (labels, train_rows): (&[String], &[u64])) -> Result<Vec<f64>> {
        if !self.frequencies.is_empty() {
            return Ok(shares(in_order(self.frequencies, labels)));
        }
        ensure!(
            train_rows.iter().any(|rows| *rows > 0),
            "the tokens that were scored have no training rows, so it is not known how frequent each label was when the model \
             was trained; write `frequencies = {{ LABEL = COUNT, … }}`"
        );
        Ok(shares(train_rows.iter().map(|rows| *rows as f64).collect()))
    }
}

fn in_order(values: &BTreeMap<String, f64>, labels: &[String]) -> Vec<f64> {
    labels.iter().map(|label| values.get(label).copied().unwrap_or(0.0)).collect()
}

/// The values divided by their sum.
fn shares(values: Vec<f64>) -> Vec<f64> {
    let sum: f64 = values.iter().sum();
    values.into_iter().map(|value| value / sum).collect()
}

#[cfg(test)]
mod tests {
    use crate::stages::decide::Decide;

    fn decide(text: &str) -> Decide {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn labels_that_do_not_exist_or_are_missing_and_costs_of_another_shape_are_told() {
        let labels = ["no", "yes"].map(String::from);
        let says =
            |text: &str| -> Vec<String> { decide(text).given().problems(&labels).into_iter().map(|p| p.1).collect() };
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
        let frequencies = |text: &str| decide(text).given().fit((&labels, &[30, 10])).unwrap().frequencies;
        assert_eq!(frequencies(r#"{"method": "covid"}"#), Some(vec![0.75, 0.25]));
        assert_eq!(frequencies(r#"{"method": "covid", "frequencies": {"yes": 9, "no": 1}}"#), Some(vec![0.1, 0.9]));
        assert_eq!(frequencies("{}"), None);
        let error = decide(r#"{"method": "covid"}"#).given().fit((&labels, &[0, 0])).unwrap_err().to_string();
        assert_eq!(
            error,
            "the tokens that were scored have no training rows, so it is not known how frequent each label was when the model was \
             trained; write `frequencies = { LABEL = COUNT, … }`"
        );
    }
}
