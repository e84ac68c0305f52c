//! What all formats share: finding the columns, and turning the values of a row into a row or into a reason why not.

use std::sync::Arc;

use anyhow::Result;

use super::listed::short;
use super::missing::MissingColumn;
use super::raw::{Decoder, Raw};
use crate::text::data::declare::spec::{Column, Purpose, Source, Splitting};
use crate::text::data::report::Unusable;

/// Why a row is unusable whose split is not known.
const NO_SPLIT: &str = "its split is none of train, validation and test";

/// What to read of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// Texts and labels.
    Rows,
    /// Texts alone; a row needs no label.
    Texts,
}

/// The file that is being read, and what its name says about all its rows.
#[derive(Debug, Clone)]
pub(crate) struct Part<'a> {
    pub source: &'a Source,
    pub want: Want,
    pub name: Arc<str>,
    pub decoder: Decoder,
    pub purpose: Purpose,
    /// The label of all rows.
    pub label: Option<&'a str>,
    /// The labels of the rows, one each.
    pub labels: Option<&'a [String]>,
    /// The names of labels that are numbers.
    pub names: Option<&'a [String]>,
}

/// A column for each role; `T` is how a format refers to one.
#[derive(Debug, Clone)]
pub(crate) struct Roles<T> {
    pub text: T,
    pub pair: Option<T>,
    pub label: Option<T>,
    pub id: Option<T>,
    pub date: Option<T>,
    pub split: Option<T>,
    pub others: Vec<T>,
}

/// The values of a row, by role.
#[derive(Debug, Default)]
pub(crate) struct Values {
    pub text: Option<String>,
    pub pair: Option<String>,
    pub label: Option<String>,
    pub id: Option<String>,
    pub date: Option<String>,
    pub split: Option<String>,
    pub others: Vec<String>,
    /// Number of truncated characters in the text, or in both.
    pub cut: u64,
}

impl Values {
    /// The bytes that they take in memory.
    pub(crate) fn bytes(&self) -> usize {
        let Values { text, pair, label, id, date, split, others, .. } = self;
        let all = [text, pair, label, id, date, split].into_iter().flatten().chain(others);
        all.map(|value| value.len() + size_of::<String>()).sum()
    }
}

impl<T> Roles<T> {
    /// Find the columns that a source wants; `find` gets a column and its role.
    pub(crate) fn find(part: &Part, mut find: impl FnMut(&Column, &'static str) -> Result<T>) -> Result<Self> {
        let source = part.source;
        let labelled = part.want == Want::Rows && part.label.is_none() && part.labels.is_none();
        let text = find(&source.text_column(), "text")?;
        let pair = source.pair_column().map(|column| find(&column, "text-pair")).transpose()?;
        let label = labelled.then(|| find(&source.label_column(), "label")).transpose()?;
        let is_used = part.want == Want::Rows;
        let id = source.id.as_ref().filter(|_| is_used).map(|column| find(column, "id")).transpose()?;
        let date = match source.date_column().filter(|_| is_used).map(|column| find(&column, "date")) {
            // A file of the COVID-19 tweets without dates is used without.
            Some(Err(_)) if source.date.is_none() => None,
            found => found.transpose()?,
        };
        let split = match &source.split {
            Splitting::Column(column) if is_used => Some(find(column, "split")?),
            _ => None,
        };
        let others = if is_used { source.other_columns() } else { Vec::new() };
        let others = others.iter().map(|column| find(column, "where")).collect::<Result<_>>()?;
        Ok(Roles { text, pair, label, id, date, split, others })
    }
}

impl Roles<usize> {
    /// The last column that is wanted.
    pub(crate) fn highest(&self) -> usize {
        let Roles { text, pair, label, id, date, split, others } = self;
        let optional = [pair, label, id, date, split].into_iter().flatten();
        optional.chain(others).copied().max().unwrap_or(0).max(*text)
    }
}

/// Takes the rows of a source, file by file.
#[derive(Debug, Default)]
pub(crate) struct Sink {
    pub rows: Vec<Raw>,
    pub unusable: Vec<Unusable>,
    pub notes: Vec<String>,
    pub warnings: Vec<String>,
    /// Rows so far, unusable ones included.
    number: u64,
    /// Rows of this file so far.
    within: usize,
}

impl Sink {
    /// Begin the next file.
    pub(crate) fn begin(&mut self) {
        self.within = 0;
    }

    /// A row that cannot be read, or several that cannot be told from each other.
    pub(crate) fn reject(&mut self, part: &Part, line: u64, reason: &str, detail: String, rows: u64) {
        self.number += rows;
        self.within += rows as usize;
        self.unusable.push(Unusable::new(format!("{}:{line}", part.name), reason).detail(detail).rows(rows));
    }

    /// A row's values.
    pub(crate) fn take(&mut self, part: &Part, roles: &Roles<impl Sized>, line: u64, values: Values) {
        let label = match (part.want, part.label, part.labels) {
            (Want::Texts, ..) => Some(String::new()),
            (_, Some(label), _) => Some(label.to_owned()),
            (.., Some(labels)) => labels.get(self.within).cloned(),
            _ => values.label,
        };
        let label = label.map(|label| named(label, part.names));
        let purpose = match (&roles.split, &values.split) {
            (None, _) => Some(part.purpose),
            (Some(_), Some(split)) => Purpose::named(split),
            (Some(_), None) => None,
        };
        let wants_label = part.want == Want::Rows;
        let lacks = match (&values.text, &label, purpose) {
            (None, ..) => Some("no text"),
            (_, None, _) => Some("no label"),
            (_, Some(label), _) if wants_label && label.is_empty() => Some("no label"),
            (_, Some(label), _) if wants_label && part.names.is_some() && label == "-1" => {
                Some("the label is -1, which means that the row has none")
            }
            _ if roles.pair.is_some() && values.pair.is_none() => Some("no second text"),
            _ if roles.id.is_some() && values.id.as_deref().is_none_or(str::is_empty) => Some("no id"),
            (.., None) => Some(NO_SPLIT),
            _ => None,
        };
        let (Some(text), Some(label), Some(purpose), None) = (values.text, label, purpose, lacks) else {
            let detail = match (lacks, &values.split) {
                (Some(NO_SPLIT), Some(split)) => format!("it is `{}`", short(split)),
                _ => String::new(),
            };
            return self.reject(part, line, lacks.unwrap_or("no text"), detail, 1);
        };
        self.number += 1;
        self.within += 1;
        let Values { pair, id, date, others, cut, .. } = values;
        let (number, file) = (self.number, part.name.clone());
        self.rows.push(Raw { number, file, line, purpose, text, pair, label, id, date, others, cut });
    }
}

/// The name of a label that is a number, or the label itself.
fn named(label: String, names: Option<&[String]>) -> String {
    let Some(names) = names else { return label };
    let whole = label.strip_suffix(".0").unwrap_or(&label);
    match whole.parse::<usize>().ok().and_then(|number| names.get(number)) {
        Some(name) => name.clone(),
        None => label,
    }
}

/// The position of a column by name or number.
pub(crate) fn position(names: &[String], wanted: &Column, role: &'static str) -> Result<usize, MissingColumn> {
    let found = match wanted {
        Column::Name(wanted) => names.iter().position(|name| name == wanted),
        Column::Number(number) => number.checked_sub(1).filter(|at| *at < names.len()),
    };
    found.ok_or_else(|| MissingColumn::new(names, wanted, role))
}
