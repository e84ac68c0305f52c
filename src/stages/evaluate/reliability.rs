//! The reliability diagram: how often labels are right, by how sure the model is of them.

use anyhow::Result;

use crate::draw::area::Area;
use crate::draw::style::WIDTH;
use crate::draw::svg::Svg;
use pipe_ml::compute::numbers::thousands;
use pipe_ml::judge::calibration::{Bin, Calibration};

const HEIGHT: f64 = 452.0;
const FIELD: Area = Area { left: 52.0, top: 84.0, right: WIDTH - 18.0, bottom: 342.0 };
/// The base lines of the numbers of rows, below the field.
const ROWS: f64 = 398.0;
/// The radius of the bin with the most rows, and the least one.
const LARGEST: f64 = 8.0;
const SMALLEST: f64 = 2.5;

const LIGHT: &str = ".gap{stroke-opacity:.45;stroke-width:2}.before{fill-opacity:.55}.small{font-size:10px}";

/// A series of the picture: its name, its colours, and its bins.
struct Series<'a> {
    name: &'static str,
    color: usize,
    calibration: &'a Calibration,
}

/// What is drawn: the decision over the model, or the model alone.
fn series<'a>(now: &'a Calibration, before: Option<&'a Calibration>) -> Vec<Series<'a>> {
    let after = Series { name: if before.is_some() { "after" } else { "model" }, color: 0, calibration: now };
    before.map(|calibration| Series { name: "before", color: 7, calibration }).into_iter().chain([after]).collect()
}

/// One line a bin and series.
pub(super) fn csv(now: &Calibration, before: Option<&Calibration>) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(["series", "low", "high", "rows", "confidence", "accuracy"])?;
    let text = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
    for Series { name, calibration, .. } in series(now, before) {
        for Bin { low, high, rows, confidence, accuracy } in &calibration.bins {
            let [low, high] = [low, high].map(f64::to_string);
            writer.write_record([name, &low, &high, &rows.to_string(), &text(*confidence), &text(*accuracy)])?;
        }
    }
    Ok(writer.into_inner().map_err(|e| e.into_error())?)
}

pub(super) fn svg(now: &Calibration, before: Option<&Calibration>) -> String {
    let all = series(now, before);
    let mut svg = Svg::new("Reliability", (WIDTH, HEIGHT), (LIGHT, ""));
    let rows: usize = now.bins.iter().map(|bin| bin.rows).sum();
    let ece = match before {
        Some(before) => format!(
            "ECE {:.3} → {:.3}, adaptive {:.3} → {:.3}",
            before.ece, now.ece, before.adaptive_ece, now.adaptive_ece
        ),
        None => format!("ECE {:.3}, adaptive {:.3}", now.ece, now.adaptive_ece),
    };
    svg.subtitle(&format!("{ece} · {} rows", thousands(rows as u64)));
    legend(&mut svg, &all);
    axes(&mut svg);
    for series in &all {
        points(&mut svg, series);
    }
    numbers(&mut svg, &all);
    svg.finish()
}

fn x(value: f64) -> f64 {
    FIELD.left + value * FIELD.wide()
}

fn y(value: f64) -> f64 {
    FIELD.bottom - value * FIELD.tall()
}

fn legend(svg: &mut Svg, all: &[Series]) {
    let mut at = FIELD.left + 5.0;
    for Series { name, color, .. } in all {
        svg.circle(&format!("c{color} {name}"), (at, 62.0), 5.0, "");
        svg.text("faint", (at + 9.0, 66.0), ("start", name));
        at += 75.0;
    }
    svg.line("level", (at - 6.0, 62.0), (at + 12.0, 62.0));
    svg.text("faint", (at + 18.0, 66.0), ("start", "as sure as right"));
}

fn axes(svg: &mut Svg) {
    for tick in 0..=5 {
        let value = f64::from(tick) / 5.0;
        svg.line("grid", (FIELD.left, y(value)), (FIELD.right, y(value)));
        svg.line("grid", (x(value), FIELD.top), (x(value), FIELD.bottom));
        svg.text("faint", (FIELD.left - 7.0, y(value) + 4.0), ("end", &format!("{value:.1}")));
        svg.text("faint", (x(value), FIELD.bottom + 17.0), ("middle", &format!("{value:.1}")));
    }
    svg.rect("frame", FIELD, "");
    svg.line("level", (x(0.0), y(0.0)), (x(1.0), y(1.0)));
    let middle = (FIELD.left + FIELD.right) / 2.0;
    svg.text("", (middle, FIELD.bottom + 35.0), ("middle", "confidence: probability of the most probable label"));
    let centre = (FIELD.top + FIELD.bottom) / 2.0;
    svg.text_with("", (16.0, centre), ("middle", "accuracy"), &format!(" transform=\"rotate(-90 16 {centre})\""));
}

/// The bins of a series: a dot each, as large as it has rows, and its distance from the diagonal.
fn points(svg: &mut Svg, Series { name, color, calibration }: &Series) {
    let most = calibration.bins.iter().map(|bin| bin.rows).max().unwrap_or(1).max(1) as f64;
    let known = || calibration.bins.iter().filter_map(|bin| Some((bin, bin.confidence?, bin.accuracy?)));
    for (_, confidence, accuracy) in known() {
        svg.line(&format!("gap s{color}"), (x(confidence), y(confidence)), (x(confidence), y(accuracy)));
    }
    svg.curve(&format!("s{color}"), known().map(|(_, confidence, accuracy)| (x(confidence), y(accuracy))), "");
    for (bin, confidence, accuracy) in known() {
        let radius = (LARGEST * (bin.rows as f64 / most).sqrt()).max(SMALLEST);
        let said = format!(
            "{name}: {} rows from {:.2} to {:.2}, confidence {confidence:.3}, accuracy {accuracy:.3}",
            bin.rows, bin.low, bin.high
        );
        svg.circle(&format!("c{color} {name}"), (x(confidence), y(accuracy)), radius, &said);
    }
}

/// How many rows each bin has.
fn numbers(svg: &mut Svg, all: &[Series]) {
    svg.text("faint", (FIELD.left, ROWS), ("start", "rows in each of the 15 bins of equal width"));
    for (line, Series { name, calibration, .. }) in all.iter().enumerate() {
        let base = ROWS + 18.0 + 16.0 * line as f64;
        for bin in calibration.bins.iter().filter(|bin| bin.rows > 0) {
            let middle = (bin.low + bin.high) / 2.0;
            svg.text("small", (x(middle), base), ("middle", &brief(bin.rows)));
        }
        if all.len() > 1 {
            svg.text("faint small", (FIELD.left - 7.0, base), ("end", name));
        }
    }
}

/// A count in at most four characters.
fn brief(rows: usize) -> String {
    match rows {
        0..10_000 => rows.to_string(),
        10_000..1_000_000 => format!("{}k", (rows + 500) / 1000),
        _ => format!("{}M", (rows + 500_000) / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calibration(turn: f64) -> Calibration {
        let p: Vec<f64> = (0..60)
            .flat_map(|i| {
                let p = 0.5 + turn * f64::from(i % 20) / 45.0;
                [p, 1.0 - p]
            })
            .collect();
        let log_p: Vec<f64> = p.iter().map(|p| p.ln()).collect();
        let labels: Vec<u32> = (0..60).map(|i| u32::from(i % 3 == 0)).collect();
        Calibration::of(&log_p, &labels, 2).unwrap()
    }

    #[test]
    fn every_bin_with_rows_is_a_dot_with_its_number_of_rows() {
        let now = calibration(1.0);
        let picture = svg(&now, None);
        let filled = now.bins.iter().filter(|bin| bin.rows > 0).count();
        assert!(filled > 3);
        assert_eq!(picture.matches("<circle").count(), filled + 1, "and one in the legend");
        assert_eq!(picture.matches("class=\"small\"").count(), filled);
        let both = svg(&now, Some(&calibration(0.5)));
        assert!(both.contains(">before</text>") && both.contains(">after</text>"));
        let table = String::from_utf8(csv(&now, Some(&calibration(0.5))).unwrap()).unwrap();
        assert_eq!(table.lines().count(), 31);
        assert!(
            table.starts_with("series,low,high,rows,confidence,accuracy\nbefore,0,0.06666666666666667,0,,\n"),
            "{table}"
        );
    }

    #[test]
    fn counts_are_short() {
        assert_eq!([7, 9999, 10_000, 41_157, 2_600_000].map(brief), ["7", "9999", "10k", "41k", "3M"]);
    }
}
