//! A finished search as a journal of Optuna, which its library and its dashboard open.

use serde::{Serialize, Serializer};
use serde_json::{Value as Json, json};

use super::domain::{Domain, Value};
use super::history::{Observed, Outcome};
use super::space::Space;

/// What a journal says of the whole search.
#[derive(Debug, Clone)]
pub struct Study<'a> {
    pub name: &'a str,
    /// What is optimized, such as `macro-f1`.
    pub metric: &'a str,
    pub maximize: bool,
    pub space: &'a Space,
    /// The choices of each parameter, empty for ranges. Optuna knows strings, numbers, booleans and null.
    pub choices: &'a [Vec<Json>],
}

/// What a journal says of one trial.
#[derive(Debug, Clone)]
pub struct Trial<'a> {
    pub observed: &'a Observed,
    /// Values on the way: the epoch or rung, and the value. If empty, a cut trial has that of its rung.
    pub reports: Vec<(u64, f64)>,
    /// More to know, `user_attrs` in Optuna: `fingerprint`, for example.
    pub attributes: Vec<(String, Json)>,
}

/// The states of `optuna.trial.TrialState`.
const RUNNING: u8 = 0;
const COMPLETE: u8 = 1;
const PRUNED: u8 = 2;
const FAIL: u8 = 3;

/// Operations of `optuna/storages/journal/_storage.py`.
const CREATE_STUDY: u8 = 0;
const SET_STUDY_SYSTEM_ATTRIBUTE: u8 = 3;
const CREATE_TRIAL: u8 = 4;

/// Whoever wrote the records. Optuna takes those of others as they are.
const WORKER: &str = "pipe";

/// A record that creates a whole trial, as `Study.add_trial` writes it.
#[derive(Serialize)]
struct Record<'a> {
    op_code: u8,
    worker_id: &'static str,
    study_id: u8,
    datetime_start: String,
    state: u8,
    value: Option<f64>,
    values: Option<Vec<f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    datetime_complete: Option<String>,
    distributions: Pairs<&'a str, String>,
    params: Pairs<&'a str, Json>,
    user_attrs: Pairs<&'a str, &'a Json>,
    system_attrs: Pairs<&'a str, Json>,
    intermediate_values: Pairs<u64, f64>,
}

/// A JSON object whose members keep their order.
struct Pairs<K, V>(Vec<(K, V)>);

impl<K: Serialize, V: Serialize> Serialize for Pairs<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

/// A distribution as `optuna.distributions.distribution_to_json` writes it.
#[derive(Serialize)]
struct Distribution<A> {
    name: &'static str,
    attributes: A,
}

#[derive(Serialize)]
struct Range<T> {
    log: bool,
    step: Option<T>,
    low: T,
    high: T,
}

#[derive(Serialize)]
struct Choices<'a> {
    choices: &'a [Json],
}

/// The text of the journal: JSON lines, complete and ending with a line break, so that Optuna can append to it.
///
/// The same search gives the same bytes: trial k lasts from second k to second k + 1 of 1970, since how long it took is not
/// part of the result.
pub fn journal(study: &Study, trials: &[Trial]) -> serde_json::Result<String> {
    let direction = if study.maximize { 2 } else { 1 };
    let create = json!({"study_name": study.name, "directions": [direction]});
    let metric = json!({"study_id": 0, "system_attr": {"study:metric_names": [study.metric]}});
    let mut out = String::new();
    for (code, fields) in [(CREATE_STUDY, create), (SET_STUDY_SYSTEM_ATTRIBUTE, metric)] {
        let mut record = vec![("op_code".to_owned(), json!(code)), ("worker_id".to_owned(), json!(WORKER))];
        record.extend(fields.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())));
        record[2..].sort_by(|a, b| a.0.cmp(&b.0));
        out += &serde_json::to_string(&Pairs(record))?;
        out.push('\n');
    }
    for (number, trial) in trials.iter().enumerate() {
        out += &serde_json::to_string(&record(study, number as u64, trial)?)?;
        out.push('\n');
    }
    Ok(out)
}

fn record<'a>(study: &Study<'a>, number: u64, trial: &'a Trial) -> serde_json::Result<Record<'a>> {
    let (state, value) = match trial.observed.outcome {
        Outcome::Value(value) if !value.is_nan() => (COMPLETE, Some(value)),
        Outcome::Cut { value, .. } => (PRUNED, Some(value)),
        Outcome::Pending => (RUNNING, None),
        Outcome::Failed | Outcome::Value(_) => (FAIL, None),
    };
    let mut reports = trial.reports.clone();
    if let (Outcome::Cut { rung, value }, true) = (trial.observed.outcome, reports.is_empty()) {
        reports.push((rung as u64, value));
    }
    let (mut distributions, mut params) = (Vec::new(), Vec::new());
    for (index, parameter) in study.space.parameters.iter().enumerate() {
        let Some(value) = trial.observed.point[index] else { continue };
        let name = parameter.name.as_str();
        distributions.push((name, distribution(&parameter.domain, &study.choices[index])?));
        params.push((
            name,
            match value {
                Value::Float(x) => json!(x),
                Value::Integer(x) => json!(x),
                Value::Category(x) => json!(x),
            },
        ));
    }
    Ok(Record {
        op_code: CREATE_TRIAL,
        worker_id: WORKER,
        study_id: 0,
        datetime_start: moment(number),
        state,
        value,
        values: None,
        datetime_complete: (state != RUNNING).then(|| moment(number + 1)),
        distributions: Pairs(distributions),
        params: Pairs(params),
        user_attrs: Pairs(trial.attributes.iter().map(|(key, value)| (key.as_str(), value)).collect()),
        system_attrs: Pairs(Vec::new()),
        intermediate_values: Pairs(reports),
    })
}

fn distribution(domain: &Domain, choices: &[Json]) -> serde_json::Result<String> {
    match *domain {
        Domain::Float { low, high, log } => serde_json::to_string(&Distribution {
            name: "FloatDistribution",
            attributes: Range { log, step: None, low, high },
        }),
        Domain::Integer { low, step, log, .. } => serde_json::to_string(&Distribution {
            name: "IntDistribution",
            attributes: Range { log, step: Some(step), low, high: domain.last() },
        }),
        Domain::Categories(_) => {
            serde_json::to_string(&Distribution { name: "CategoricalDistribution", attributes: Choices { choices } })
        }
    }
}

/// So many seconds after the beginning of 1970, in ISO 8601. Trials are far fewer than the seconds of a month.
fn moment(seconds: u64) -> String {
    let (day, hour, minute) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    format!("1970-01-{:02}T{hour:02}:{minute:02}:{:02}.000000+00:00", day.min(30) + 1, seconds % 60)
}
