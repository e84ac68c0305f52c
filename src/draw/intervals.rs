//! Values with intervals, one row each: slices, variants.

use super::area::Area;
use super::axis::Axis;
use super::legend;
use super::legend::Entry;
use super::number::{ends, spread};
use super::style::{COLORS, WIDTH};
use super::svg::{MARGIN, Svg, cut_apart, width};

const ROW: f64 = 22.0;
/// The most columns of a name.
const LONGEST: usize = 25;
/// The least and the greatest value of an axis of shares stay within these.
const SHARES: (f64, f64) = (0.0, 1.0);

/// One row.
#[derive(Debug, Clone, Default)]
pub(crate) struct Row {
    pub name: String,
    /// At the right: `412 rows`.
    pub detail: String,
    pub interval: Option<(f64, f64)>,
    /// Values with the number of their colour and what a pointer over them shows.
    pub values: Vec<(f64, usize, String)>,
    pub is_strong: bool,
}

/// A picture of rows over one axis.
#[derive(Debug, Clone)]
pub(crate) struct Intervals {
    pub title: String,
    pub subtitle: String,
    /// What the values are: `accuracy`.
    pub across: String,
    pub legend: Vec<Entry>,
    pub rows: Vec<Row>,
    /// A dashed line at a value that the rows are compared with.
    pub level: Option<f64>,
    /// The title of the details.
    pub detail: String,
}

/// Draw it.
pub(crate) fn intervals(chart: &Intervals) -> String {
    let names = cut_apart(chart.rows.iter().map(|row| row.name.as_str()), LONGEST);
    let widest = |texts: &mut dyn Iterator<Item = f64>| texts.fold(0.0, f64::max);
    let left = MARGIN + widest(&mut names.iter().map(|name| width(name) * 1.1)) + 12.0;
    let details = chart.rows.iter().map(|row| row.detail.as_str()).chain([chart.detail.as_str()]);
    let detail = widest(&mut details.map(width));
    let right = WIDTH - MARGIN - if detail > 0.0 { detail + 10.0 } else { 0.0 };
    let subtitle = if chart.subtitle.is_empty() { 0.0 } else { 17.0 };
    let titles = if chart.detail.is_empty() { 0.0 } else { 14.0 };
    let top = 38.0 + subtitle + legend::height(&chart.legend) + titles;
    let bottom = top + ROW * chart.rows.len() as f64;
    let mut svg = Svg::new(&chart.title, (WIDTH, bottom + 44.0), ("", ""));
    if !chart.subtitle.is_empty() {
        svg.subtitle(&chart.subtitle);
    }
    legend::draw(&mut svg, &chart.legend, 43.0 + subtitle);
    if titles > 0.0 {
        svg.text("faint", (WIDTH - MARGIN, top - 5.0), ("end", &chart.detail));
    }
    let axis = axis(chart, (left + 6.0, right - 6.0));
    let field = Area { left, top, right, bottom };
    ticks(&mut svg, &axis, field);
    svg.rect("frame", field, "");
    if let Some(level) = chart.level {
        svg.line("level", (axis.place(level), top), (axis.place(level), bottom));
    }
    for (at, row) in chart.rows.iter().enumerate() {
        let y = top + ROW * (at as f64 + 0.5);
        svg.text(if row.is_strong { "strong" } else { "" }, (left - 8.0, y + 4.0), ("end", &names[at]));
        if let Some((low, high)) = row.interval {
            svg.whisker((0.0, y), (axis.place(low), axis.place(high)), true);
        }
        for (value, color, said) in row.values.iter().filter(|(value, ..)| value.is_finite()) {
            svg.circle(&format!("c{} halo", color % COLORS), (axis.place(*value), y), 5.0, said);
        }
        svg.text("faint", (WIDTH - MARGIN, y + 4.0), ("end", &row.detail));
    }
    svg.text("faint", ((left + right) / 2.0, bottom + 34.0), ("middle", &chart.across));
    svg.finish()
}

fn axis(chart: &Intervals, (from, to): (f64, f64)) -> Axis {
    let intervals = chart.rows.iter().filter_map(|row| row.interval).flat_map(|(low, high)| [low, high]);
    let values = chart.rows.iter().flat_map(|row| row.values.iter().map(|(value, ..)| *value));
    let all = intervals.chain(values).chain(chart.level).filter(|value| value.is_finite());
    let (least, most) = ends(all);
    let (low, high) = spread(least, most);
    let room = 0.04 * (high - low);
    let keep = |end: f64, within: bool| if within { end.clamp(SHARES.0, SHARES.1) } else { end };
    let is_share = least >= SHARES.0 && most <= SHARES.1;
    Axis { low: keep(low - room, is_share), high: keep(high + room, is_share), is_log: false, from, to }
}

/// As many ticks as there is room for.
fn ticks(svg: &mut Svg, axis: &Axis, field: Area) {
    let all = axis.ticks();
    let widest = all.iter().map(|(_, text)| width(text)).fold(1.0, f64::max) + 10.0;
    let fit = ((field.wide() / widest) as usize).max(1);
    for (value, text) in all.iter().step_by(all.len().div_ceil(fit).max(1)) {
        let x = axis.place(*value);
        svg.line("grid", (x, field.top), (x, field.bottom));
        svg.text("faint", (x, field.bottom + 16.0), ("middle", text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(values: &[f64]) -> String {
        let row = |(at, value): (usize, &f64)| Row {
            name: format!("row {at}"),
            detail: "12 rows".into(),
            interval: Some((value - 0.1, value + 0.1)),
            values: vec![(*value, 0, String::new())],
            is_strong: at == 0,
        };
        intervals(&Intervals {
            title: "t".into(),
            subtitle: "s".into(),
            across: "accuracy".into(),
            legend: Vec::new(),
            rows: values.iter().enumerate().map(row).collect(),
            level: Some(0.5),
            detail: "rows".into(),
        })
    }

    #[test]
    fn rows_keep_to_the_page_whatever_the_values() {
        for values in [&[][..], &[0.5], &[0.5, 0.5], &[0.0, 1.0], &[f64::NAN, 0.2]] {
            let svg = chart(values);
            assert!(!svg.contains("NaN") || values.iter().any(|v| v.is_nan()), "{svg}");
            assert_eq!(svg.matches("<circle").count(), values.iter().filter(|v| v.is_finite()).count());
        }
    }
}
