//! The parameters of a search and the points of their space.

use super::domain::{Domain, Value};

/// Some parameters, in the order in which the file names them.
#[derive(Debug, Clone, PartialEq)]
pub struct Space {
    pub parameters: Vec<Parameter>,
}

/// A parameter that the search sets.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// The stage's and the parameter's name, `teacher.learning-rate`.
    pub name: String,
    pub domain: Domain,
    /// `None`: always active.
    pub when: Option<When>,
}

/// A parameter with this is active only if an earlier one is active and has one of these categories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct When {
    /// The position of the earlier parameter.
    pub parameter: usize,
    pub categories: Vec<usize>,
}

/// One value for each parameter; `None` for one that is not active.
pub type Point = Vec<Option<Value>>;

impl Space {
    /// How many points there are, at most `u64::MAX`; `None` if there is a range of floats.
    pub fn size(&self) -> Option<u64> {
        let mut sizes = vec![1u64; self.parameters.len()];
        let mut total = 1u64;
        // Later parameters first: the size of a parameter counts those that depend on it.
        for (index, parameter) in self.parameters.iter().enumerate().rev() {
            let children: Vec<(usize, &When)> = self.children(index).collect();
            sizes[index] = match parameter.domain {
                Domain::Categories(choices) if !children.is_empty() => (0..choices)
                    .map(|choice| {
                        let active = children.iter().filter(|(_, when)| when.categories.contains(&choice));
                        active.fold(1u64, |product, (child, _)| product.saturating_mul(sizes[*child]))
                    })
                    .fold(0, u64::saturating_add),
                _ => parameter.domain.size()?,
            };
            if parameter.when.is_none() {
                total = total.saturating_mul(sizes[index]);
            }
        }
        Some(total)
    }

    /// The parameters whose activity depends on this one.
    fn children(&self, index: usize) -> impl Iterator<Item = (usize, &When)> {
        let whens = self.parameters.iter().enumerate().filter_map(|(child, p)| Some((child, p.when.as_ref()?)));
        whens.filter(move |(_, when)| when.parameter == index)
    }

    /// Whether parameter `index` is active, given the values of those before it.
    pub fn is_active(&self, index: usize, before: &[Option<Value>]) -> bool {
        self.parameters[index].when.as_ref().is_none_or(|when| match before.get(when.parameter) {
            Some(Some(Value::Category(category))) => when.categories.contains(category),
            _ => false,
        })
    }

    /// Whether each active parameter, and no other, has a value of its domain.
    pub fn contains(&self, point: &[Option<Value>]) -> bool {
        point.len() == self.parameters.len()
            && self.parameters.iter().enumerate().all(|(index, parameter)| match point[index] {
                Some(value) => self.is_active(index, point) && parameter.domain.contains(value),
                None => !self.is_active(index, point),
            })
    }

    /// A point built one parameter after the other; `value` is asked for active parameters only.
    pub(super) fn build(&self, mut value: impl FnMut(usize, &Parameter) -> Option<Value>) -> Point {
        let mut point = Point::with_capacity(self.parameters.len());
        for (index, parameter) in self.parameters.iter().enumerate() {
            let next = if self.is_active(index, &point) { value(index, parameter) } else { None };
            point.push(next);
        }
        point
    }
}
