//! A table of shaded cells: confusion matrices, figures by label and variant.

use super::area::{Area, At};
use super::style::{CHARACTER, WIDTH, scaled};
use super::svg::{MARGIN, Svg, cut_apart, width};

/// The most columns of names at the side and below.
const SIDE: usize = 18;
const BELOW: usize = 18;
/// Limits of a cell's width and height in pixels.
const WIDEST: f64 = 74.0;
const TALLEST: f64 = 44.0;
const LOWEST: f64 = 9.0;
/// Up to this number of cells a side, names have the usual size.
const LARGE: f64 = 13.0;

/// One cell.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cell {
    /// From 0 to 1: how dark it is. None: an empty cell.
    pub share: Option<f64>,
    /// The text, and a second line below it. Left out if the cell is too small.
    pub text: String,
    pub second: String,
    /// What a pointer over it shows.
    pub said: String,
}

/// A table of cells with names.
#[derive(Debug, Clone)]
pub(crate) struct Matrix<'a> {
    /// Of rows from top to bottom, of columns from left to right.
    pub rows: Vec<&'a str>,
    pub columns: Vec<&'a str>,
    /// What rows and columns are: `label`, `predicted`; may be empty.
    pub axes: (&'a str, &'a str),
    /// `[row][column]`
    pub cells: Vec<Vec<Cell>>,
}

/// Where a matrix lies and how large its parts are.
struct Sizes {
    /// The cells.
    field: Area,
    wide: f64,
    tall: f64,
    font: f64,
    names: Vec<String>,
    below: Vec<String>,
    /// Names of columns are turned if they are wider than a column.
    is_turned: bool,
    bottom: f64,
}

impl Matrix<'_> {
    fn sizes(&self, (left, top): At, right: f64) -> Sizes {
        let names = cut_apart(self.rows.iter().copied(), SIDE);
        let count = self.columns.len().max(1) as f64;
        let title = if self.axes.0.is_empty() { 0.0 } else { 18.0 };
        let side = |font: f64| names.iter().map(|name| width(name)).fold(0.0, f64::max) * font / 12.0 + 8.0 + title;
        // Turned names of columns begin to the left of them.
        let slanted = cut_apart(self.columns.iter().copied(), BELOW);
        let slant = slanted.iter().map(|name| width(name)).fold(0.0, f64::max);
        let is_narrow = |wide: f64| slant > wide - 4.0;
        let side = |font: f64| {
            if is_narrow((right - left) / count) {
                side(font).max(slant * font / 12.0 * 0.71 - 4.0)
            } else {
                side(font)
            }
        };
        let mut font = 12.0;
        let mut wide = ((right - left - side(font)) / count).min(WIDEST);
        if wide < LARGE {
            font = (wide * 0.85).clamp(6.5, 12.0);
            wide = ((right - left - side(font)) / count).min(WIDEST);
        }
        let tall = wide.clamp(LOWEST, TALLEST);
        let tall = if self.rows.len() < self.columns.len() { tall.max(20.0) } else { tall };
        let tall = if wide > 40.0 { tall.max(30.0) } else { tall };
        font = font.min((tall * 0.85).clamp(6.5, 12.0));
        let field_left = left + side(font);
        let field = Area {
            left: field_left,
            top,
            right: field_left + wide * self.columns.len() as f64,
            bottom: top + tall * self.rows.len() as f64,
        };
        let flat = cut_apart(self.columns.iter().copied(), SIDE);
        let is_turned = flat.iter().any(|name| width(name) * font / 12.0 > wide - 4.0);
        let below = if is_turned { cut_apart(self.columns.iter().copied(), BELOW) } else { flat };
        let longest = below.iter().map(|name| width(name)).fold(0.0, f64::max) * font / 12.0;
        let names_tall = if is_turned { longest * 0.71 + 16.0 } else { 20.0 };
        let title = if self.axes.1.is_empty() { 0.0 } else { 18.0 };
        Sizes { field, wide, tall, font, names, below, is_turned, bottom: field.bottom + names_tall + title }
    }

    /// Draw it with its upper left corner at a position, no wider than to `right`.
    pub(crate) fn draw(&self, svg: &mut Svg, at: At, right: f64) {
        let sizes = self.sizes(at, right);
        let Sizes { field, wide, tall, font, .. } = sizes;
        let size = format!(" font-size=\"{font:.1}\"");
        for (row, cells) in self.cells.iter().enumerate() {
            let top = field.top + row as f64 * tall;
            let middle = top + tall / 2.0;
            svg.text_with("", (field.left - 6.0, middle + font * 0.35), ("end", &sizes.names[row]), &size);
            for (column, cell) in cells.iter().enumerate() {
                let left = field.left + column as f64 * wide;
                // A gap of a pixel between cells, if they are large enough.
                let gap = if wide > 12.0 { 1.0 } else { 0.3 };
                let area = Area { left, top, right: left + wide - gap, bottom: top + tall - gap };
                self.cell(svg, cell, area);
            }
        }
        for (column, name) in sizes.below.iter().enumerate() {
            let x = field.left + (column as f64 + 0.5) * wide;
            match sizes.is_turned {
                true => {
                    let turn = format!("{size} transform=\"rotate(-45 {x:.1} {:.1})\"", field.bottom + 12.0);
                    svg.text_with("", (x + 4.0, field.bottom + 12.0), ("end", name), &turn);
                }
                false => svg.text_with("", (x, field.bottom + 15.0), ("middle", name), &size),
            }
        }
        if !self.axes.0.is_empty() {
            svg.turned("faint", (at.0 + 10.0, (field.top + field.bottom) / 2.0), ("middle", self.axes.0), -90.0);
        }
        if !self.axes.1.is_empty() {
            svg.text("faint", ((field.left + field.right) / 2.0, sizes.bottom - 4.0), ("middle", self.axes.1));
        }
    }

    fn cell(&self, svg: &mut Svg, cell: &Cell, area: Area) {
        let Some(share) = cell.share else {
            return svg.rect("grid plain hollow", area, &cell.said);
        };
        let (class, on) = scaled(share);
        svg.rect(&class, area, &cell.said);
        let (wide, tall) = (area.wide(), area.tall());
        // Texts as large as the cell allows, if they are readable then.
        let font =
            (wide / (cell.text.chars().count().max(1) as f64 * CHARACTER / 12.0) * 0.9).min(12.0).min(tall * 0.8);
        if font < 7.0 || cell.text.is_empty() {
            return;
        }
        let x = (area.left + area.right) / 2.0;
        let middle = (area.top + area.bottom) / 2.0;
        let has_second = !cell.second.is_empty() && tall >= 27.0 && width(&cell.second) * 10.0 / 12.0 <= wide;
        let y = if has_second { middle - 1.0 } else { middle + font * 0.35 };
        svg.text_with(on, (x, y), ("middle", &cell.text), &format!(" font-size=\"{font:.1}\""));
        if has_second {
            svg.text_with(on, (x, middle + 11.0), ("middle", &cell.second), " font-size=\"10\"");
        }
    }

    /// The width of the names at the side.
    pub(crate) fn side(&self) -> f64 {
        let names = cut_apart(self.rows.iter().copied(), SIDE);
        names.iter().map(|name| width(name)).fold(0.0, f64::max) + 8.0 + if self.axes.0.is_empty() { 0.0 } else { 18.0 }
    }

    /// The lower edge of the matrix drawn there.
    pub(crate) fn bottom(&self, at: At, right: f64) -> f64 {
        self.sizes(at, right).bottom
    }
}

/// A picture of one matrix.
pub(crate) fn picture(matrix: &Matrix, title: &str, subtitle: &str) -> String {
    let at = (MARGIN, if subtitle.is_empty() { 40.0 } else { 58.0 });
    let right = WIDTH - MARGIN;
    let mut svg = Svg::new(title, (WIDTH, matrix.bottom(at, right) + 10.0), ("", ""));
    if !subtitle.is_empty() {
        svg.subtitle(subtitle);
    }
    matrix.draw(&mut svg, at, right);
    svg.finish()
}

/// Counts `[label][predicted]` as cells: the count, and the share of its row, which also decides the shade.
pub(crate) fn counted<'a>(labels: &'a [String], counts: &[Vec<u64>], axes: (&'a str, &'a str)) -> Matrix<'a> {
    let names: Vec<&str> = labels.iter().map(String::as_str).collect();
    let row = |(label, row): (usize, &Vec<u64>)| {
        let all: u64 = row.iter().sum();
        let cell = |(predicted, count): (usize, &u64)| {
            let share = (all > 0).then(|| *count as f64 / all as f64);
            let percent = share.map_or(String::new(), percent);
            let of = |at: usize| names.get(at).copied().unwrap_or_default();
            let said = format!("{} predicted as {}: {count} of {all} ({percent})", of(label), of(predicted));
            Cell { share, text: count.to_string(), second: percent, said }
        };
        row.iter().enumerate().map(cell).collect()
    };
    Matrix { rows: names.clone(), columns: names.clone(), axes, cells: counts.iter().enumerate().map(row).collect() }
}

/// `87 %`; small shares are not rounded to nothing.
pub(crate) fn percent(share: f64) -> String {
    match 100.0 * share {
        0.0 => "0 %".into(),
        small if small < 1.0 => "< 1 %".into(),
        all => format!("{all:.0} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matrices_of_any_size_fit_the_page() {
        for classes in [1, 2, 5, 20, 40] {
            let labels: Vec<String> = (0..classes).map(|i| format!("a very long name of a label {i}")).collect();
            let counts: Vec<Vec<u64>> =
                (0..classes).map(|i| (0..classes).map(|j| (i * 31 + j * 7) % 190).collect()).collect();
            let matrix = counted(&labels, &counts, ("label", "predicted"));
            let sizes = matrix.sizes((MARGIN, 50.0), WIDTH - MARGIN);
            assert!(sizes.field.right <= WIDTH - MARGIN + 0.5 && sizes.field.left < 190.0, "{classes}");
            let svg = picture(&matrix, "Confusion", "");
            assert!(!svg.contains("NaN") && !svg.contains("inf"));
            let cells = svg.matches(" predicted as ").count() as u64;
            assert_eq!(cells, classes * classes);
        }
    }

    #[test]
    fn shares_are_of_the_row_and_small_ones_are_not_nothing() {
        let labels = ["no".to_owned(), "yes".to_owned()];
        let matrix = counted(&labels, &[vec![999, 1], vec![0, 0]], ("", ""));
        assert_eq!((matrix.cells[0][0].second.as_str(), matrix.cells[0][1].second.as_str()), ("100 %", "< 1 %"));
        assert_eq!(matrix.cells[1][0].share, None);
        assert_eq!(matrix.cells[0][1].said, "no predicted as yes: 1 of 1000 (< 1 %)");
    }
}
