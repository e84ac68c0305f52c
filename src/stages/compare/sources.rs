//! The quality on the rows of each source: a table beside the others, if the rows have several sources.

use anyhow::Result;

use super::markdown::{aligned, name};
use pipe_ml::judge::by_source::SourceQuality;
use pipe_ml::judge::repeated::Spread;

/// The quality of all runs of all variants on each source.
#[derive(Debug, Default)]
pub(super) struct Sources {
    /// A variant with its runs.
    variants: Vec<(String, Vec<Vec<SourceQuality>>)>,
}

/// One variant on one source: mean and spread of its runs.
struct Line<'a> {
    source: &'a str,
    variant: &'a str,
    labels: usize,
    rows: u64,
    accuracy: Spread,
    macro_f1: Spread,
}

impl Sources {
    /// Add a run of a variant.
    pub(super) fn add(&mut self, variant: &str, of: &[SourceQuality]) {
        match self.variants.iter_mut().find(|(known, _)| known == variant) {
            Some((_, runs)) => runs.push(of.to_vec()),
            None => self.variants.push((variant.to_owned(), vec![of.to_vec()])),
        }
    }

    /// By source, in the order in which they occur.
    fn lines(&self) -> Vec<Line<'_>> {
        let mut names: Vec<&str> = Vec::new();
        for of in self.variants.iter().flat_map(|(_, runs)| runs).flatten() {
            if !names.contains(&of.source.as_str()) {
                names.push(&of.source);
            }
        }
        let mut lines = Vec::new();
        for source in names {
            for (variant, runs) in &self.variants {
                let of: Vec<&SourceQuality> = runs.iter().flatten().filter(|of| of.source == source).collect();
                let spread =
                    |value: fn(&SourceQuality) -> f64| Spread::of(&of.iter().map(|of| value(of)).collect::<Vec<_>>());
                let (Some(first), Some(accuracy), Some(macro_f1)) =
                    (of.first(), spread(|of| of.accuracy), spread(|of| of.macro_f1))
                else {
                    continue;
                };
                let (labels, rows) = (first.labels.len(), first.rows);
                lines.push(Line { source, variant, labels, rows, accuracy, macro_f1 });
            }
        }
        lines
    }

    /// A section of `comparison.md`; empty if the rows have one source.
    pub(super) fn document(&self) -> String {
        let lines = self.lines();
        if lines.is_empty() {
            return String::new();
        }
        let titles = ["source", "variant", "labels", "rows", "accuracy", "macro F1"];
        let mut cells = vec![titles.map(str::to_owned).to_vec()];
        let value = |spread: &Spread| match spread.sd {
            Some(sd) if sd > 0.0 => format!("{:.4} ± {sd:.4}", spread.mean),
            _ => format!("{:.4}", spread.mean),
        };
        for line in &lines {
            cells.push(vec![
                name(line.source),
                name(line.variant),
                line.labels.to_string(),
                line.rows.to_string(),
                value(&line.accuracy),
                value(&line.macro_f1),
            ]);
        }
        format!(
            "\n{}\nBy source: macro F1 is over the labels that rows of the source have. If a label comes from one source alone, only these\n\
             lines show whether a model knows the label or the source.\n",
            aligned(&cells, 2)
        )
    }

    /// `sources.csv`; None if the rows have one source.
    pub(super) fn csv(&self) -> Result<Option<Vec<u8>>> {
        let lines = self.lines();
        if lines.is_empty() {
            return Ok(None);
        }
        let mut writer = csv::Writer::from_writer(Vec::new());
        let columns =
            ["source", "variant", "runs", "labels", "rows", "accuracy", "accuracy_sd", "macro_f1", "macro_f1_sd"];
        writer.write_record(columns)?;
        for line in &lines {
            let sd = |spread: &Spread| spread.sd.map_or(String::new(), |sd| sd.to_string());
            writer.write_record([
                line.source.to_owned(),
                line.variant.to_owned(),
                line.accuracy.runs.to_string(),
                line.labels.to_string(),
                line.rows.to_string(),
                line.accuracy.mean.to_string(),
                sd(&line.accuracy),
                line.macro_f1.mean.to_string(),
                sd(&line.macro_f1),
            ])?;
        }
        Ok(Some(writer.into_inner().map_err(|e| e.into_error())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(source: &str, rows: u64, accuracy: f64, labels: u32) -> SourceQuality {
        let labels = (0..labels).collect();
        SourceQuality { source: source.into(), rows, accuracy, macro_f1: accuracy - 0.125, labels }
    }

    #[test]
    fn a_comparison_has_a_line_for_each_source_and_variant() {
        let mut all = Sources::default();
        for accuracy in [0.5, 0.75] {
            all.add("full", &[of("imdb", 10, accuracy, 2), of("a|b", 30, 0.25, 3)]);
        }
        all.add("adapted", &[of("imdb", 10, 0.625, 2), of("a|b", 30, 0.5, 3)]);
        assert_eq!(
            all.document(),
            "
| source | variant | labels | rows |        accuracy |        macro F1 |
| ------ | ------- | -----: | ---: | --------------: | --------------: |
| imdb   | full    |      2 |   10 | 0.6250 ± 0.1768 | 0.5000 ± 0.1768 |
| imdb   | adapted |      2 |   10 |          0.6250 |          0.5000 |
| a\\|b   | full    |      3 |   30 |          0.2500 |          0.1250 |
| a\\|b   | adapted |      3 |   30 |          0.5000 |          0.3750 |

By source: macro F1 is over the labels that rows of the source have. If a label comes from one source alone, only these
lines show whether a model knows the label or the source.
"
        );
        let table = String::from_utf8(all.csv().unwrap().unwrap()).unwrap();
        assert_eq!(
            table.lines().take(3).collect::<Vec<_>>(),
            [
                "source,variant,runs,labels,rows,accuracy,accuracy_sd,macro_f1,macro_f1_sd",
                "imdb,full,2,2,10,0.625,0.1767766952966369,0.5,0.1767766952966369",
                "imdb,adapted,1,2,10,0.625,,0.5,",
            ]
        );
        assert_eq!((Sources::default().document().as_str(), Sources::default().csv().unwrap()), ("", None));
        let mut single = Sources::default();
        single.add("full", &[]);
        assert_eq!(single.document(), "");
    }
}
