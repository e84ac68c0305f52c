//! The parameters that a search varies, as a space and as values of stages.

use std::collections::BTreeMap;

use pipe_engine::contract::kind::Invalid;
use pipe_engine::contract::trial::{Override, Sample};
use pipe_ml::search;
use pipe_ml::search::{Domain, Method, Parameter, Point, Space};
use serde_json::{Number, Value};

use super::range::{Range, Values, When};

/// By stage and parameter.
pub(super) type Over = BTreeMap<String, BTreeMap<String, Range>>;

/// What the trials vary.
#[derive(Debug)]
pub(super) struct Varied {
    pub space: Space,
    /// The stage and the parameter of each parameter of the space.
    pub keys: Vec<(String, String)>,
    /// The choices of each parameter that has a list of them; empty for a range.
    pub choices: Vec<Vec<Value>>,
}

/// A parameter of the file on its way into the space.
struct Flat<'a> {
    stage: &'a str,
    key: &'a str,
    range: &'a Range,
}

impl Varied {
    /// The space of all parameters; one that depends on another comes after it. The order in the file plays no part.
    pub(super) fn of(over: &Over) -> Result<Self, Invalid> {
        let flat = |(stage, keys): (&'_ String, &'_ BTreeMap<String, Range>)| -> Vec<(String, String)> {
            keys.keys().map(|key| (stage.clone(), key.clone())).collect()
        };
        let all: Vec<(String, String)> = over.iter().flat_map(flat).collect();
        let mut left: Vec<Flat> =
            all.iter().map(|(stage, key)| Flat { stage, key, range: &over[stage.as_str()][key.as_str()] }).collect();
        let mut varied = Self { space: Space { parameters: Vec::new() }, keys: Vec::new(), choices: Vec::new() };
        while !left.is_empty() {
            let is_ready =
                |flat: &Flat| parents(&flat.range.when).iter().all(|parent| varied.position(*parent).is_some());
            let Some(at) = left.iter().position(is_ready) else { return Err(no_parent(&left, &all)) };
            let next = left.remove(at);
            varied.push(next)?;
        }
        Ok(varied)
    }

    fn position(&self, (stage, key): (&str, &str)) -> Option<usize> {
        self.keys.iter().position(|(s, k)| s == stage && k == key)
    }

    fn push(&mut self, Flat { stage, key, range }: Flat) -> Result<(), Invalid> {
        let name = format!("{stage}.{key}");
        let wrong = |what: String| Invalid::new("over", format!("over.{name}: {what}"));
        let (domain, choices) = match &range.values {
            Values::Of(values) => {
                if let Some((at, twice)) = values.iter().enumerate().find(|(at, value)| values[..*at].contains(value)) {
                    return Err(wrong(format!("{twice} is listed twice (value {})", at + 1)));
                }
                (Domain::Categories(values.len()), values.clone())
            }
            Values::Between { low, high, step, log } => (between(low, high, *step, *log).map_err(wrong)?, Vec::new()),
        };
        let when = match range
            .when
            .iter()
            .flat_map(|(s, keys)| keys.iter().map(move |(k, v)| (s, k, v)))
            .collect::<Vec<_>>()[..]
        {
            [] => None,
            [(stage, key, wanted)] => {
                let Some(parent) = self.position((stage, key)) else {
                    return Err(wrong("`when` has no parent".into()));
                };
                let wanted: &[Value] = match wanted {
                    Value::Array(all) => all,
                    one => std::slice::from_ref(one),
                };
                let of = |value: &Value| self.choices[parent].iter().position(|choice| same(choice, value));
                if let Some(unknown) = wanted.iter().find(|value| of(value).is_none()) {
                    return Err(wrong(format!("`when` asks for {unknown}, which is not a value of `{stage}.{key}`")));
                }
                Some(search::When { parameter: parent, categories: wanted.iter().filter_map(of).collect() })
            }
            _ => return Err(wrong("`when` names more than one parameter; name one".into())),
        };
        self.space.parameters.push(Parameter { name, domain, when });
        self.keys.push((stage.to_owned(), key.to_owned()));
        self.choices.push(choices);
        Ok(())
    }

    /// What is wrong with the space for a method.
    pub(super) fn problem(&self, method: Method) -> Option<Invalid> {
        let problem = self.space.problem(method)?;
        let name = self.space.parameters.get(problem.parameter).map(|p| format!(".{}", p.name)).unwrap_or_default();
        Some(Invalid::new("over", format!("over{name}: {}", problem.fault)))
    }

    /// The ends of each range and each value of each list, for a look at them before anything runs.
    pub(super) fn samples(&self) -> Vec<Sample> {
        let mut samples = Vec::new();
        for (at, (stage, key)) in self.keys.iter().enumerate() {
            let path = |more: String| vec!["over".into(), stage.clone(), key.clone(), more];
            let mut add = |more: String, value: Value| {
                let set = Override { stage: stage.clone(), key: key.clone(), value };
                samples.push(Sample { path: path(more), set });
            };
            match self.space.parameters[at].domain {
                Domain::Float { low, high, .. } => {
                    add("low".into(), low.into());
                    add("high".into(), high.into());
                }
                Domain::Integer { low, high, .. } => {
                    add("low".into(), low.into());
                    add("high".into(), high.into());
                }
                Domain::Categories(_) => {
                    self.choices[at].iter().enumerate().for_each(|(n, choice)| add(n.to_string(), choice.clone()));
                }
            }
        }
        samples
    }

    /// The values that a point sets.
    pub(super) fn overrides(&self, point: &Point) -> Vec<Override> {
        let set = |(at, (stage, key)): (usize, &(String, String))| {
            let value = self.value(at, point[at]?);
            Some(Override { stage: stage.clone(), key: key.clone(), value })
        };
        self.keys.iter().enumerate().filter_map(set).collect()
    }

    /// A value of the space as the file would have it.
    pub(super) fn value(&self, at: usize, value: search::Value) -> Value {
        match value {
            search::Value::Float(x) => x.into(),
            search::Value::Integer(n) => n.into(),
            search::Value::Category(choice) => self.choices[at].get(choice).cloned().unwrap_or(Value::Null),
        }
    }

    /// The point of the values that the file has; a parameter has no value in it if the file leaves it to the stage, or if
    /// its value is none of the list.
    pub(super) fn point(&self, value_of: impl Fn(&str, &str) -> Option<Value>) -> Point {
        let mut point = Point::new();
        for (at, (stage, key)) in self.keys.iter().enumerate() {
            let value = value_of(stage, key).filter(|_| self.space.is_active(at, &point));
            point.push(value.and_then(|value| match self.space.parameters[at].domain {
                Domain::Float { .. } => value.as_f64().map(search::Value::Float),
                Domain::Integer { .. } => value.as_i64().map(search::Value::Integer),
                Domain::Categories(_) => {
                    self.choices[at].iter().position(|choice| same(choice, &value)).map(search::Value::Category)
                }
            }));
        }
        point
    }
}

/// Numbers are the same if they are equal: `1` and `1.0`.
fn same(a: &Value, b: &Value) -> bool {
    a == b || a.as_f64().is_some_and(|x| Some(x) == b.as_f64())
}

fn between(low: &Number, high: &Number, step: Option<i64>, log: bool) -> Result<Domain, String> {
    match (low.as_i64(), high.as_i64()) {
        (Some(low), Some(high)) => Ok(Domain::Integer { low, high, step: step.unwrap_or(1), log }),
        _ if step.is_some() => Err("`step` is for whole numbers; list the values instead".into()),
        _ => {
            let float = |number: &Number| number.as_f64().unwrap_or(f64::NAN);
            Ok(Domain::Float { low: float(low), high: float(high), log })
        }
    }
}

fn parents(when: &When) -> Vec<(&str, &str)> {
    when.iter().flat_map(|(stage, keys)| keys.keys().map(|key| (stage.as_str(), key.as_str()))).collect()
}

/// The error for a `when` whose parameter is not varied, or that depends on itself.
fn no_parent(left: &[Flat], all: &[(String, String)]) -> Invalid {
    let is_known = |parent: &(&str, &str)| all.iter().any(|(s, k)| (s.as_str(), k.as_str()) == *parent);
    for flat in left {
        let name = format!("{}.{}", flat.stage, flat.key);
        if let Some((stage, key)) = parents(&flat.range.when).into_iter().find(|parent| !is_known(parent)) {
            return Invalid::new(
                "over",
                format!("over.{name}: `when` names `{stage}.{key}`, which the search does not vary"),
            );
        }
    }
    let names: Vec<String> = left.iter().map(|flat| format!("{}.{}", flat.stage, flat.key)).collect();
    Invalid::new("over", format!("the `when` of {} depend on each other", names.join(" and ")))
}
