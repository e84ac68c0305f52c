//! Learning curves: what a training measured, as a table that follows the model's scores, and as a picture.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::confusion::write;
use crate::draw::legend::{Entry, Mark};
use crate::draw::lines::{Chart, Panel, Series, lines};

/// The table.
const FILE: &str = "curve.csv";
/// Up to this many evaluations, each has a marker.
const MARKED: usize = 30;

/// A learning curve, by step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Curve(Vec<Point>);

/// What is known after a step; a line of `curve.csv`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Point {
    pub step: u64,
    pub epoch: f64,
    /// Mean over the steps since the last line with one.
    pub train_loss: Option<f64>,
    /// On the validation rows.
    pub validation_loss: Option<f64>,
    pub validation_accuracy: Option<f64>,
    pub validation_macro_f1: Option<f64>,
    /// Whether the model of this step is the one that was kept.
    pub kept: bool,
}

/// `training.json`, as far as it is needed. Another program's file of that name is not an error.
#[derive(Deserialize)]
struct Training {
    curve: Vec<Trained>,
    evaluations: Vec<Evaluated>,
    best: Option<Best>,
}

#[derive(Deserialize)]
struct Trained {
    step: u64,
    epoch: f64,
    loss: Option<f64>,
}

#[derive(Deserialize)]
struct Evaluated {
    step: u64,
    epoch: f64,
    validation: Option<Validation>,
}

#[derive(Deserialize)]
struct Validation {
    loss: Option<f64>,
    accuracy: Option<f64>,
    macro_f1: Option<f64>,
}

#[derive(Deserialize)]
struct Best {
    step: u64,
}

impl Curve {
    /// That of a model which was trained; None if its folder does not say.
    pub fn of_model(dir: &Path) -> Option<Self> {
        let text = std::fs::read(dir.join("training.json")).ok()?;
        let training: Training = serde_json::from_slice(&text).ok()?;
        let mut points: BTreeMap<u64, Point> = BTreeMap::new();
        for Trained { step, epoch, loss } in training.curve {
            points.insert(step, Point { step, epoch, train_loss: loss, ..Point::default() });
        }
        for Evaluated { step, epoch, validation } in training.evaluations {
            let point = points.entry(step).or_insert_with(|| Point { step, epoch, ..Point::default() });
            if let Some(Validation { loss, accuracy, macro_f1 }) = validation {
                (point.validation_loss, point.validation_accuracy) = (loss, accuracy);
                point.validation_macro_f1 = macro_f1;
            }
        }
        if let Some(point) = training.best.and_then(|best| points.get_mut(&best.step)) {
            point.kept = true;
        }
        (!points.is_empty()).then(|| Self(points.into_values().collect()))
    }

    /// Write `curve.csv` and `curve.svg`.
    pub fn write(&self, out: &Path) -> Result<()> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        for point in &self.0 {
            writer.serialize(point)?;
        }
        write(&out.join(FILE), &writer.into_inner().map_err(|e| e.into_error())?)?;
        write(&out.join("curve.svg"), svg(&[self.shown()]).as_bytes())
    }

    /// As the only curve of a picture.
    fn shown(&self) -> Shown {
        Shown { label: String::new(), name: String::new(), color: 0, curve: self.clone() }
    }

    /// The curve that [`Curve::write`] wrote; None if there is none, because the model was not trained here.
    pub fn read(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(FILE);
        if !path.exists() {
            return Ok(None);
        }
        let read = || -> Result<Self> {
            Ok(Self(csv::Reader::from_path(&path)?.deserialize().collect::<Result<Vec<Point>, _>>()?))
        };
        read().map(Some).with_context(|| format!("{} is not a learning curve", path.display()))
    }

    fn values(&self, value: impl Fn(&Point) -> Option<f64>) -> Vec<(f64, f64)> {
        self.0.iter().filter_map(|point| Some((point.epoch, value(point)?))).collect()
    }

    fn kept(&self, value: impl Fn(&Point) -> Option<f64>) -> Option<(f64, f64)> {
        let point = self.0.iter().find(|point| point.kept)?;
        Some((point.epoch, value(point)?))
    }
}

/// The curve of one of several models.
#[derive(Debug, Clone)]
pub struct Shown {
    pub label: String,
    /// Models that belong together have one name and one colour.
    pub name: String,
    pub color: usize,
    pub curve: Curve,
}

/// Write the curves of several models as `curves.csv` and, in one picture, `curves.svg`.
pub fn write_all(all: &[Shown], out: &Path) -> Result<()> {
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    writer.write_record([
        "variant",
        "step",
        "epoch",
        "train_loss",
        "validation_loss",
        "validation_accuracy",
        "validation_macro_f1",
        "kept",
    ])?;
    for Shown { label, curve, .. } in all {
        for point in &curve.0 {
            writer.serialize((label, point))?;
        }
    }
    write(&out.join("curves.csv"), &writer.into_inner().map_err(|e| e.into_error())?)?;
    write(&out.join("curves.svg"), svg(all).as_bytes())
}

/// Losses above, quality on the validation rows below.
pub fn svg(all: &[Shown]) -> String {
    type Value = fn(&Point) -> Option<f64>;
    let has = |value: Value| all.iter().any(|one| !one.curve.values(value).is_empty());
    let series = |Shown { name, color, curve, .. }: &Shown, value: Value, is_lesser: bool| {
        let points = curve.values(value);
        Series {
            name: name.clone(),
            color: *color,
            is_lesser,
            has_markers: !is_lesser && points.len() <= MARKED,
            points,
            kept: if is_lesser { None } else { curve.kept(value) },
        }
    };
    let validated = has(|point| point.validation_loss);
    let losses = all.iter().flat_map(|one| {
        [series(one, |point| point.train_loss, validated), series(one, |point| point.validation_loss, false)]
    });
    let mut panels = vec![Panel { title: "loss".into(), series: losses.collect() }];
    let measured: [(&str, Value); 2] = [
        ("macro F1 on validation", |point| point.validation_macro_f1),
        ("accuracy on validation", |point| point.validation_accuracy),
    ];
    for (title, value) in measured {
        panels.push(Panel { title: title.into(), series: all.iter().map(|one| series(one, value, false)).collect() });
    }
    let mut marks = Vec::new();
    if validated {
        // The explanation has the colour of the only curve, or none.
        let color = if all.len() == 1 { "s0" } else { "s7" };
        marks.push(Entry::new(Mark::Line, format!("curve {color} d2"), "training"));
        marks.push(Entry::new(Mark::Line, format!("curve {color}"), "validation"));
    }
    if all.iter().any(|one| one.curve.kept(|point| point.validation_loss).is_some()) {
        marks.push(Entry::new(Mark::Ring, if all.len() == 1 { "s0" } else { "s7" }, "kept"));
    }
    let title = if all.len() == 1 { "Learning curve" } else { "Learning curves" };
    lines(&Chart { title: title.into(), subtitle: String::new(), across: "epoch".into(), panels, marks })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRAINING: &str = r#"{
        "curve": [{"step": 5, "epoch": 0.5, "loss": 1.5, "learning-rate": 1e-4, "grad-norm": 2}, {"step": 10, "epoch": 1, "loss": 1.25}],
        "evaluations": [{"step": 10, "epoch": 1, "train-loss": 1.4, "validation": {"loss": 1.3, "accuracy": 0.5, "macro_f1": 0.4}}],
        "best": {"step": 10, "epoch": 1, "value": 0.4}, "more": 1}"#;

    #[test]
    fn the_curve_of_a_model_is_written_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("training.json"), TRAINING).unwrap();
        let curve = Curve::of_model(dir.path()).unwrap();
        curve.write(dir.path()).unwrap();
        assert_eq!(
            std::fs::read_to_string(dir.path().join("curve.csv")).unwrap(),
            "step,epoch,train_loss,validation_loss,validation_accuracy,validation_macro_f1,kept\n\
             5,0.5,1.5,,,,false\n10,1.0,1.25,1.3,0.5,0.4,true\n"
        );
        assert_eq!(Curve::read(dir.path()).unwrap(), Some(curve.clone()));
        let shown = |label: &str, color| Shown { label: label.into(), name: label.into(), color, curve: curve.clone() };
        write_all(&[shown("a", 0), shown("b", 1)], dir.path()).unwrap();
        let table = std::fs::read_to_string(dir.path().join("curves.csv")).unwrap();
        assert!(table.contains("\nb,10,1.0,1.25,1.3,0.5,0.4,true\n"), "{table}");
        let svg = std::fs::read_to_string(dir.path().join("curves.svg")).unwrap();
        assert!(svg.contains(">training</text>") && svg.contains(">kept</text>") && !svg.contains("NaN"), "{svg}");
    }

    #[test]
    fn a_folder_without_a_curve_has_none() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Curve::of_model(dir.path()), None);
        assert_eq!(Curve::read(dir.path()).unwrap(), None);
        for text in ["", "[]", "{\"curve\": 1}", "{\"curve\": [], \"evaluations\": []}"] {
            std::fs::write(dir.path().join("training.json"), text).unwrap();
            assert_eq!(Curve::of_model(dir.path()), None, "{text}");
        }
        std::fs::write(dir.path().join("curve.csv"), "step,epoch\nx,1\n").unwrap();
        assert!(Curve::read(dir.path()).unwrap_err().to_string().ends_with("curve.csv is not a learning curve"));
    }
}
