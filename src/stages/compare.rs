//! Put the metrics of several models side by side.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::evaluate::Scores;
use super::types::{METRICS, TABLE};
use crate::engine::kind::{Context, Port, Stage};

/// Puts the metrics of several models side by side: `comparison.csv` and `comparison.md`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Compare {
    /// The model that changes, sizes and speed-ups are relative to. Default: the first.
    #[serde(default)]
    baseline: Option<String>,
}

/// One variant's row. Sizes and speeds are relative to the baseline's.
#[derive(Debug, Serialize)]
struct Row {
    variant: String,
    accuracy: f64,
    accuracy_change: f64,
    macro_precision: f64,
    macro_recall: f64,
    macro_f1: f64,
    macro_auc: Option<f64>,
    loss: f64,
    parameters: u64,
    non_zero: u64,
    bytes: u64,
    size_ratio: f64,
    latency_p50_ms: f64,
    latency_p95_ms: f64,
    samples_per_second: f64,
    speed_up: f64,
}

impl Stage for Compare {
    const KIND: &'static str = "compare";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] = &[Port::many("metrics", METRICS)];
    const OUTPUTS: &'static [Port] = &[Port::one("table", TABLE)];

    fn run(&self, cx: &mut Context) -> Result<()> {
        let all: Vec<(String, Scores)> =
            cx.inputs("metrics").iter().map(|i| Ok((i.label.clone(), Scores::read(&i.dir)?))).collect::<Result<_>>()?;
        let rows = compare(&all, self.baseline.as_deref())?;
        let out = cx.output("table")?;
        write(&out.join("comparison.md"), markdown(&rows).as_bytes())?;
        write(&out.join("comparison.csv"), &csv(&rows)?)
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

fn compare(all: &[(String, Scores)], baseline: Option<&str>) -> Result<Vec<Row>> {
    let known = || all.iter().map(|(label, _)| label.as_str()).collect::<Vec<_>>().join(", ");
    let base = match baseline {
        Some(name) => all
            .iter()
            .find(|(label, _)| label == name)
            .with_context(|| format!("there is no variant `{name}` to be the baseline; variants: {}", known()))?,
        None => all.first().context("there is nothing to compare")?,
    };
    let base = &base.1;
    let row = |(label, s): &(String, Scores)| Row {
        variant: label.clone(),
        accuracy: s.metrics.accuracy,
        accuracy_change: s.metrics.accuracy - base.metrics.accuracy,
        macro_precision: s.metrics.macro_precision,
        macro_recall: s.metrics.macro_recall,
        macro_f1: s.metrics.macro_f1,
        macro_auc: s.metrics.macro_auc,
        loss: s.metrics.loss,
        parameters: s.size.parameters,
        non_zero: s.size.non_zero,
        bytes: s.size.bytes,
        size_ratio: s.size.bytes as f64 / base.size.bytes as f64,
        latency_p50_ms: s.speed.latency_p50_ms,
        latency_p95_ms: s.speed.latency_p95_ms,
        samples_per_second: s.speed.samples_per_second,
        speed_up: s.speed.samples_per_second / base.speed.samples_per_second,
    };
    Ok(all.iter().map(row).collect())
}

fn csv(rows: &[Row]) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.serialize(row)?;
    }
    Ok(writer.into_inner().map_err(|e| e.into_error())?)
}

fn markdown(rows: &[Row]) -> String {
    let mut text = String::from(
        "| variant | accuracy | change | macro F1 | precision | recall | AUC | loss | parameters | non-zero | MB | size | p50 ms | p95 ms | samples/s | speed-up |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for r in rows {
        let auc = r.macro_auc.map_or("–".to_string(), |a| format!("{a:.4}"));
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| {} | {:.4} | {:+.4} | {:.4} | {:.4} | {:.4} | {auc} | {:.4} | {} | {} | {:.2} | {:.2}× | {:.2} | {:.2} | {:.0} | {:.2}× |",
            r.variant.replace('|', "\\|"),
            r.accuracy,
            r.accuracy_change,
            r.macro_f1,
            r.macro_precision,
            r.macro_recall,
            r.loss,
            r.parameters,
            r.non_zero,
            r.bytes as f64 / 1e6,
            r.size_ratio,
            r.latency_p50_ms,
            r.latency_p95_ms,
            r.samples_per_second,
            r.speed_up
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::classifier::Size;
    use crate::ml::metrics::{Metrics, Speed};

    fn scores(accuracy: f64, bytes: u64, speed: f64) -> Scores {
        let metrics = Metrics {
            accuracy,
            macro_precision: 0.5,
            macro_recall: 0.25,
            macro_f1: 0.125,
            macro_auc: None,
            loss: 1.5,
            rows: 4,
            per_class: Vec::new(),
            confusion: Vec::new(),
        };
        let size = Size { parameters: 10, non_zero: 9, bytes };
        Scores {
            metrics,
            size,
            speed: Speed { latency_p50_ms: 1.0, latency_p95_ms: 2.0, samples_per_second: speed, batch_size: 32 },
        }
    }

    #[test]
    fn rows_are_relative_to_the_baseline() {
        let all = vec![
            ("teacher".to_string(), scores(0.75, 4_000_000, 100.0)),
            ("int8".to_string(), scores(0.5, 1_000_000, 250.0)),
        ];
        let rows = compare(&all, None).unwrap();
        assert_eq!(
            markdown(&rows).lines().nth(3).unwrap(),
            "| int8 | 0.5000 | -0.2500 | 0.1250 | 0.5000 | 0.2500 | – | 1.5000 | 10 | 9 | 1.00 | 0.25× | 1.00 | 2.00 | 250 | 2.50× |"
        );
        assert_eq!(
            String::from_utf8(csv(&rows).unwrap()).unwrap().lines().next().unwrap(),
            "variant,accuracy,accuracy_change,macro_precision,macro_recall,macro_f1,macro_auc,loss,parameters,non_zero,bytes,size_ratio,latency_p50_ms,latency_p95_ms,samples_per_second,speed_up"
        );
        let error = compare(&all, Some("techer")).unwrap_err();
        assert_eq!(error.to_string(), "there is no variant `techer` to be the baseline; variants: teacher, int8");
    }
}
