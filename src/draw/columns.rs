//! Upright columns: how often values occur, and shares over time.

use super::area::Area;
use super::axis::Axis;
use super::bars::{Head, legend, rows};
use super::number::short;
use super::style::{COLORS, WIDTH};
use super::svg::{MARGIN, Svg, width};

const LEFT: f64 = 58.0;
const TALL: f64 = 170.0;

/// A histogram: how many values are in each column of equal width, from 0, and marks with names on the scale.
pub(crate) struct Histogram<'a> {
    pub width: usize,
    pub counts: &'a [u64],
    pub marks: &'a [(f64, String)],
    /// What is counted, and what the scale is.
    pub count: &'a str,
    pub scale: &'a str,
}

pub(crate) fn histogram(head: &Head, values: &Histogram) -> String {
    let top = 84.0;
    let field = Area { left: LEFT, top, right: WIDTH - MARGIN - 8.0, bottom: top + TALL };
    let mut svg = start(head, field.bottom + 44.0);
    let most = values.counts.iter().copied().max().unwrap_or(0).max(1) as f64;
    let end = (values.width.max(1) * values.counts.len().max(1)) as f64;
    let up = Axis { low: 0.0, high: most * 1.04, is_log: false, from: field.bottom, to: field.top };
    let across = Axis { low: 0.0, high: end, is_log: false, from: field.left, to: field.right };
    grid(&mut svg, &field, &up, &|text| text.to_owned());
    for (value, text) in across.ticks().into_iter().filter(|(value, _)| value.fract() == 0.0) {
        svg.text("faint", (across.place(value), field.bottom + 16.0), ("middle", &text));
    }
    for (at, count) in values.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let (from, to) = (at * values.width, (at + 1) * values.width);
        let (left, right) = (across.place(from as f64), across.place(to as f64));
        let gap = if right - left > 4.0 { 1.0 } else { 0.0 };
        let area = Area { left, top: up.place(*count as f64), right: right - gap, bottom: field.bottom };
        let last = at + 1 == values.counts.len();
        let until = if last { " and more".to_owned() } else { format!(" to {}", to - 1) };
        svg.rect("c0", area, &format!("{from}{until} {}: {count} {}", values.scale, values.count));
    }
    let mut free = [f64::NEG_INFINITY; 2];
    for (value, name) in values.marks.iter().filter(|(value, _)| *value <= end) {
        let x = across.place(*value);
        let half = width(name) / 2.0;
        let place = x.min(WIDTH - 4.0 - half);
        // A name that would lie on the last one stands a line higher.
        let line = usize::from(place - half < free[0] + 3.0);
        svg.line("level", (x, field.top - 4.0), (x, field.bottom));
        if place - half > free[line] {
            svg.text("faint", (place, field.top - 8.0 - 13.0 * line as f64), ("middle", name));
            free[line] = place + half;
        }
    }
    svg.text("faint", ((field.left + field.right) / 2.0, field.bottom + 34.0), ("middle", values.scale));
    svg.finish()
}

/// A period of [`over_time`].
pub(crate) struct Column {
    pub name: String,
    /// One value a series.
    pub parts: Vec<f64>,
}

/// The share of each series in each period, and above them how much there is in all.
pub(crate) fn over_time(head: &Head, columns: &[Column], count: &str) -> String {
    let top = 62.0 + rows(head.series).last().map_or(0.0, |(row, _)| 20.0 * (*row as f64 + 1.0));
    let right = WIDTH - MARGIN - 8.0;
    let amounts = Area { left: LEFT, top, right, bottom: top + 60.0 };
    let field = Area { left: LEFT, top: top + 76.0, right, bottom: top + 76.0 + TALL };
    let mut svg = start(head, field.bottom + 30.0);
    legend(&mut svg, head.series, 52.0);
    let total = |column: &Column| column.parts.iter().sum::<f64>();
    let most = columns.iter().map(total).fold(1.0, f64::max);
    let up = Axis { low: 0.0, high: most, is_log: false, from: amounts.bottom, to: amounts.top };
    svg.text("faint", (LEFT - 8.0, amounts.top + 8.0), ("end", &short(most)));
    svg.text("faint", (LEFT - 8.0, amounts.bottom), ("end", "0"));
    svg.line("grid", (LEFT, amounts.top), (right, amounts.top));
    svg.line("frame", (LEFT, amounts.bottom), (right, amounts.bottom));
    let share = Axis { low: 0.0, high: 1.0, is_log: false, from: field.bottom, to: field.top };
    let wide = (right - LEFT) / columns.len().max(1) as f64;
    let gap = if wide > 5.0 { 1.0 } else { 0.0 };
    let mut free = f64::NEG_INFINITY;
    for (at, column) in columns.iter().enumerate() {
        let left = LEFT + at as f64 * wide;
        let whole = total(column);
        let said = format!("{}: {} {count}", column.name, short(whole));
        let (from, to) = (left, left + wide - gap);
        if whole > 0.0 {
            svg.rect("amount", Area { left: from, top: up.place(whole), right: to, bottom: amounts.bottom }, &said);
        }
        let mut below = 0.0;
        for (series, part) in column.parts.iter().enumerate().filter(|(_, part)| **part > 0.0) {
            let above = below + part / whole;
            let area = Area { left: from, top: share.place(above), right: to, bottom: share.place(below) };
            let of = head.series.get(series).map_or("", String::as_str);
            let percent = 100.0 * part / whole;
            svg.rect(&format!("c{}", series % COLORS), area, &format!("{}, {of}: {percent:.1} %", column.name));
            below = above;
        }
        let middle = left + wide / 2.0;
        let half = width(&column.name) / 2.0;
        let place = middle.clamp(half + 4.0, WIDTH - 4.0 - half);
        if place - half > free + 10.0 {
            svg.text("faint", (place, field.bottom + 17.0), ("middle", &column.name));
            free = place + half;
        }
    }
    for (value, text) in [(0.0, "0 %"), (0.25, "25 %"), (0.5, "50 %"), (0.75, "75 %"), (1.0, "100 %")] {
        let y = share.place(value);
        svg.line("over", (LEFT, y), (right, y));
        svg.text("faint", (LEFT - 8.0, y + 4.0), ("end", text));
    }
    svg.finish()
}

fn start(head: &Head, height: f64) -> Svg {
    let own = (
        ".amount{fill:#9aa6b6}.over{stroke:#ffffff;stroke-opacity:.35}",
        ".amount{fill:#5d6b7e}.over{stroke:#12171f;stroke-opacity:.35}",
    );
    let mut svg = Svg::new(head.title, (WIDTH, height), own);
    svg.subtitle(head.subtitle);
    svg
}

fn grid(svg: &mut Svg, field: &Area, up: &Axis, name: &dyn Fn(&str) -> String) {
    for (value, text) in up.ticks().into_iter().filter(|(value, _)| value.fract() == 0.0) {
        let y = up.place(value);
        svg.line("grid", (field.left, y), (field.right, y));
        svg.text("faint", (field.left - 8.0, y + 4.0), ("end", &name(&text)));
    }
    svg.line("frame", (field.left, field.bottom), (field.right, field.bottom));
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Head = Head { title: "t", subtitle: "s", series: &[] };

    #[test]
    fn nothing_and_one_value_draw_without_numbers_that_are_none() {
        let marks = [(64.0, "64".to_owned()), (66.0, "66".to_owned())];
        for (width, counts) in [(0, vec![]), (1, vec![1]), (5, vec![0, 0, 7])] {
            let values = Histogram { width, counts: &counts, marks: &marks, count: "rows", scale: "words" };
            assert!(!histogram(&HEAD, &values).contains("NaN"));
        }
        let empty = Column { name: "2020-03-16".into(), parts: vec![0.0, 0.0] };
        assert!(!over_time(&HEAD, &[empty], "rows").contains("NaN"));
        assert!(!over_time(&HEAD, &[], "rows").contains("NaN"));
    }

    #[test]
    fn shares_fill_their_column() {
        let columns = [Column { name: "a".into(), parts: vec![1.0, 3.0] }];
        let svg = over_time(&HEAD, &columns, "rows");
        assert!(svg.contains("25.0 %") && svg.contains("75.0 %") && svg.contains("a: 4 rows"), "{svg}");
    }
}
