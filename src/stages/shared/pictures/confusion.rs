//! Confusion matrices: counts, and shares of each row.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::draw::matrix::{Cell, Matrix, counted, picture};
use crate::draw::style::WIDTH;
use crate::draw::svg::{MARGIN, Svg, cut_apart};

/// A line of `confusion.csv`.
#[derive(Debug, Serialize)]
struct Line<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<&'a str>,
    label: &'a str,
    predicted: &'a str,
    rows: u64,
    /// Of the rows with the label; empty if there are none.
    share: Option<f64>,
}

/// What a model predicted for rows of each label.
#[derive(Debug, Clone, Copy)]
pub struct Confusion<'a> {
    pub labels: &'a [String],
    /// `[label][predicted]`
    pub counts: &'a [Vec<u64>],
}

impl<'a> Confusion<'a> {
    fn lines(self, variant: Option<&'a str>) -> impl Iterator<Item = Line<'a>> {
        self.labels.iter().zip(self.counts).flat_map(move |(label, row)| {
            let all: u64 = row.iter().sum();
            self.labels.iter().zip(row).map(move |(predicted, rows)| Line {
                variant,
                label,
                predicted,
                rows: *rows,
                share: (all > 0).then(|| *rows as f64 / all as f64),
            })
        })
    }

    /// The picture: in each cell the rows and their share of the rows with that label.
    pub fn svg(self) -> String {
        let matrix = counted(self.labels, self.counts, ("label", "predicted"));
        picture(&matrix, "Confusion", "rows, and their share of the rows with that label")
    }

    /// Write `confusion.svg` and `confusion.csv`.
    pub fn write(self, out: &Path) -> Result<()> {
        write(&out.join("confusion.svg"), self.svg().as_bytes())?;
        table(&out.join("confusion.csv"), self.lines(None))
    }
}

/// Write the matrices of several models beside each other, with the same files as [`Confusion::write`].
pub fn write_all(all: &[(&str, Confusion)], out: &Path) -> Result<()> {
    write(&out.join("confusion.svg"), multiples(all).as_bytes())?;
    table(&out.join("confusion.csv"), all.iter().flat_map(|(variant, confusion)| confusion.lines(Some(variant))))
}

fn table<'a>(path: &Path, lines: impl Iterator<Item = Line<'a>>) -> Result<()> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for line in lines {
        writer.serialize(line)?;
    }
    write(path, &writer.into_inner().map_err(|e| e.into_error())?)
}

/// Write a file; the error names it.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// Shares of the row, one small matrix for each model. The labels stand at the left and below the last ones.
pub fn multiples(all: &[(&str, Confusion)]) -> String {
    const GAP: f64 = 18.0;
    /// The most labels of matrices that stand beside each other.
    const BESIDE: usize = 8;
    /// The most columns of a label's name: the cells need the room.
    const LONGEST: usize = 12;
    let count = all.len();
    // Matrices of many labels need the width.
    let is_small = all.iter().all(|(_, confusion)| confusion.labels.len() <= BESIDE);
    let columns = if count > 1 && is_small { 2 } else { 1 };
    let names = cut_apart(all.iter().map(|(name, _)| *name), 26);
    let labels: Vec<Vec<String>> =
        all.iter().map(|(_, confusion)| cut_apart(confusion.labels.iter().map(String::as_str), LONGEST)).collect();
    // The matrix of one model: its names are empty where a neighbour has them.
    let matrix = |at: usize| {
        let mut matrix = shares(&labels[at], all[at].1);
        if !at.is_multiple_of(columns) {
            matrix.rows.iter_mut().for_each(|name| *name = "");
        }
        if at + columns < count {
            matrix.columns.iter_mut().for_each(|name| *name = "");
        }
        matrix
    };
    let side = if count == 0 { 0.0 } else { matrix(0).side() };
    let wide = (WIDTH - 2.0 * MARGIN - side - GAP * (columns - 1) as f64) / columns as f64;
    let left = |at: usize| if at.is_multiple_of(columns) { MARGIN } else { MARGIN + side + wide + GAP - 8.0 };
    let right = |at: usize| if at.is_multiple_of(columns) { MARGIN + side + wide } else { WIDTH - MARGIN };
    let mut tops = Vec::new();
    let mut top = 84.0;
    for row in (0..count).step_by(columns) {
        tops.push(top);
        let lower = (row..count.min(row + columns)).map(|at| matrix(at).bottom((left(at), top), right(at)));
        top = lower.fold(top, f64::max) + 26.0;
    }
    let mut svg = Svg::new("Confusion", (WIDTH, top - 12.0), ("", ""));
    svg.subtitle("% of the rows with the label at the left, by prediction");
    for (at, name) in names.iter().enumerate() {
        let top = tops[at / columns];
        let indent = if at.is_multiple_of(columns) { side } else { 8.0 };
        svg.text("strong", (left(at) + indent, top - 8.0), ("start", name));
        matrix(at).draw(&mut svg, (left(at), top), right(at));
    }
    svg.finish()
}

/// Like [`counted`], with shares as the only texts.
fn shares<'a>(labels: &'a [String], confusion: Confusion<'a>) -> Matrix<'a> {
    let mut matrix = counted(labels, confusion.counts, ("", ""));
    for cell in matrix.cells.iter_mut().flatten() {
        let text = cell.share.map_or(String::new(), |share| format!("{:.0}", 100.0 * share));
        *cell = Cell { text, second: String::new(), said: std::mem::take(&mut cell.said), share: cell.share };
    }
    matrix
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_each_cell_with_its_share() {
        let dir = tempfile::tempdir().unwrap();
        let labels = ["no".to_owned(), "yes, \"sure\"".to_owned()];
        let counts = [vec![3, 1], vec![0, 0]];
        let confusion = Confusion { labels: &labels, counts: &counts };
        confusion.write(dir.path()).unwrap();
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        let quoted = "\"yes, \"\"sure\"\"\"";
        assert_eq!(
            read("confusion.csv"),
            format!(
                "label,predicted,rows,share\nno,no,3,0.75\nno,{quoted},1,0.25\n{quoted},no,0,\n{quoted},{quoted},0,\n"
            )
        );
        assert!(read("confusion.svg").contains(">75 %</text>"));
        write_all(&[("a", confusion), ("b", confusion), ("c", confusion)], dir.path()).unwrap();
        assert!(read("confusion.csv").starts_with("variant,label,predicted,rows,share\na,no,no,3,0.75\n"));
        let svg = read("confusion.svg");
        assert!(!svg.contains("NaN") && svg.contains(">c</text>") && svg.contains(">75</text>"), "{svg}");
    }

    #[test]
    fn any_number_of_models_and_labels_fits() {
        for (models, classes) in [(0, 2), (1, 2), (2, 5), (10, 5), (3, 40)] {
            let labels: Vec<String> = (0..classes).map(|i| format!("Extremely Long {i}")).collect();
            let counts: Vec<Vec<u64>> = (0..classes).map(|i| (0..classes).map(|j| i * j % 7).collect()).collect();
            let names: Vec<String> = (0..models).map(|i| format!("model[seed={i}]")).collect();
            let confusion = Confusion { labels: &labels, counts: &counts };
            let all: Vec<_> = names.iter().map(|name| (name.as_str(), confusion)).collect();
            let svg = multiples(&all);
            assert!(!svg.contains("NaN") && svg.ends_with("</svg>\n"));
            assert_eq!(svg.matches(" predicted as ").count() as u64, models * classes * classes);
        }
    }
}
