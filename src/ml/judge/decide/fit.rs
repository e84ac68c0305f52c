//! Fits a decision on labelled rows: the temperature first, then what the method chooses by.

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::apply::Fitted;
use super::labelled::Labelled;
use super::posteriors::{Prior, posteriors};
use super::rule::Rule;
use super::{scaling, thresholds, weights};

/// How labels are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// The most probable label.
    Argmax,
    /// A threshold for each label and the class frequencies of the training rows.
    Covid,
    /// The label with the highest probability times weight; the weights make the macro F1 highest.
    MacroF1,
    /// The label with the least expected cost.
    Cost,
    /// The most probable label if classes are as frequent as `prior` says.
    Prior,
}

impl Method {
    /// The name in a pipeline file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Argmax => "argmax",
            Self::Covid => "covid",
            Self::MacroF1 => "macro-f1",
            Self::Cost => "cost",
            Self::Prior => "prior",
        }
    }
}

/// What to fit, and what is given.
#[derive(Debug, Clone)]
pub struct Fit {
    pub method: Method,
    /// None fits it.
    pub temperature: Option<f64>,
    /// `[C]`; None fits the threshold of that label. Only for [`Method::Covid`].
    pub thresholds: Vec<Option<f64>>,
    /// Shares of the classes in the training rows, `[C]`. [`Method::Covid`] needs them.
    pub frequencies: Option<Vec<f64>>,
    /// Only for [`Method::Prior`], which needs it, and [`Method::Cost`].
    pub prior: Option<Prior>,
    /// `[C, C]`. [`Method::Cost`] needs it.
    pub cost: Option<Vec<Vec<f64>>>,
}

impl Fit {
    pub(super) fn run(&self, rows: &Labelled) -> Result<Fitted> {
        let temperature = self.temperature.unwrap_or_else(|| scaling::temperature(rows));
        let log_p = || posteriors(rows.logits, rows.classes, (temperature, None));
        let rule = match self.method {
            Method::Argmax | Method::Prior => Rule::Argmax,
            Method::MacroF1 => Rule::Weights { weights: weights::best(rows, &log_p()) },
            Method::Covid => {
                let Some(frequencies) = self.frequencies.clone() else {
                    bail!("internal error: no class frequencies for the method covid")
                };
                let log_p = log_p();
                let fitted = (0..rows.classes).map(|class| match self.thresholds.get(class) {
                    Some(Some(given)) => *given,
                    _ => {
                        let probabilities = log_p.chunks(rows.classes).map(|row| row[class].exp());
                        let has = rows.labels.iter().map(|&label| label as usize == class);
                        thresholds::best(probabilities.zip(has).collect())
                    }
                });
                Rule::Thresholds { thresholds: fitted.collect(), frequencies }
            }
            Method::Cost => match &self.cost {
                Some(cost) => Rule::Cost { cost: cost.clone() },
                None => bail!("internal error: no costs for the method cost"),
            },
        };
        Ok(Fitted { temperature, prior: self.prior.clone(), rule })
    }
}
