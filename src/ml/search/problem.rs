//! What is wrong with a space.

use std::collections::BTreeSet;
use std::fmt;

use super::domain::Domain;
use super::sampler::Method;
use super::space::{Parameter, Space, When};

/// What is wrong with one parameter of a space.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// The position of the parameter; its length if the space has none.
    pub parameter: usize,
    pub fault: Fault,
}

/// What can be wrong with a parameter. Its text goes after the name of the parameter and a colon.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    NoParameters,
    NoName,
    /// An earlier parameter has the same name.
    Twice,
    NotFinite,
    /// Bounds in the wrong order, as text.
    Reversed {
        low: String,
        high: String,
    },
    /// A logarithmic range that does not begin above zero.
    LogOf {
        low: String,
    },
    Step {
        step: i64,
    },
    LogStep {
        step: i64,
    },
    NoChoices,
    /// Enumerating needs a finite number of values.
    FloatInGrid,
    /// `when` names a parameter that is not before this one.
    NotBefore,
    /// `when` names a parameter that is no list of choices.
    NotChoices {
        parent: String,
    },
    /// `when` lists no choice, or one that is not there.
    NeverActive {
        parent: String,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::NoParameters => write!(f, "the search has no parameters"),
            Self::NoName => write!(f, "a parameter needs a name"),
            Self::Twice => write!(f, "the parameter is given twice"),
            Self::NotFinite => write!(f, "`low` and `high` must be finite"),
            Self::Reversed { low, high } => write!(f, "`low` ({low}) is above `high` ({high})"),
            Self::LogOf { low } => write!(f, "`log` needs a `low` above 0, not {low}"),
            Self::Step { step } => write!(f, "`step` must be 1 or more, not {step}"),
            Self::LogStep { step } => write!(f, "`log` and a `step` of {step} exclude each other"),
            Self::NoChoices => write!(f, "the list of choices is empty"),
            Self::FloatInGrid => write!(f, "a grid cannot enumerate a range of floats; list the values to try"),
            Self::NotBefore => write!(f, "`when` must name a parameter that is listed before this one"),
            Self::NotChoices { parent } => write!(f, "`when` needs a list of choices, and `{parent}` is a range"),
            Self::NeverActive { parent } => write!(f, "`when` names no choice of `{parent}`"),
        }
    }
}

impl Space {
    /// The first thing that is wrong with this space for a method. Other functions of this room expect a space without one.
    pub fn problem(&self, method: Method) -> Option<Problem> {
        let problem = |parameter, fault| Some(Problem { parameter, fault });
        if self.parameters.is_empty() {
            return problem(0, Fault::NoParameters);
        }
        let mut names = BTreeSet::new();
        for (index, parameter) in self.parameters.iter().enumerate() {
            if !names.insert(&parameter.name) {
                return problem(index, Fault::Twice);
            }
            let found = fault(parameter, method).or_else(|| self.dependence(index, parameter.when.as_ref()?));
            if let Some(fault) = found {
                return problem(index, fault);
            }
        }
        None
    }

    fn dependence(&self, index: usize, when: &When) -> Option<Fault> {
        let Some(parent) = self.parameters[..index].get(when.parameter) else { return Some(Fault::NotBefore) };
        let name = || parent.name.clone();
        let Domain::Categories(choices) = parent.domain else { return Some(Fault::NotChoices { parent: name() }) };
        let is_wrong = when.categories.is_empty() || when.categories.iter().any(|category| *category >= choices);
        is_wrong.then(|| Fault::NeverActive { parent: name() })
    }
}

fn fault(parameter: &Parameter, method: Method) -> Option<Fault> {
    if parameter.name.is_empty() {
        return Some(Fault::NoName);
    }
    match parameter.domain {
        Domain::Float { low, high, .. } if !(low.is_finite() && high.is_finite()) => Some(Fault::NotFinite),
        Domain::Float { low, high, .. } if low > high => {
            Some(Fault::Reversed { low: low.to_string(), high: high.to_string() })
        }
        Domain::Float { low, log: true, .. } if low <= 0.0 => Some(Fault::LogOf { low: low.to_string() }),
        Domain::Float { low, high, .. } if method == Method::Grid && low < high => Some(Fault::FloatInGrid),
        Domain::Integer { low, high, .. } if low > high => {
            Some(Fault::Reversed { low: low.to_string(), high: high.to_string() })
        }
        Domain::Integer { step, .. } if step < 1 => Some(Fault::Step { step }),
        Domain::Integer { step, log: true, .. } if step > 1 => Some(Fault::LogStep { step }),
        Domain::Integer { low, log: true, .. } if low < 1 => Some(Fault::LogOf { low: low.to_string() }),
        Domain::Categories(0) => Some(Fault::NoChoices),
        _ => None,
    }
}
