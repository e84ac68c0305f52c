//! Curves of several series, in panels below each other over one axis.

use super::area::{Area, At};
use super::axis::Axis;
use super::legend;
use super::legend::{Entry, Mark};
use super::number::{ends, short, spread};
use super::style::{COLORS, WIDTH, dashes};
use super::svg::{MARGIN, Svg, cut_apart, width};

const LEFT: f64 = 58.0;
const TALL: f64 = 170.0;
/// Above a panel: its title. Below: ticks; and below the last one also the title of the axis.
const ABOVE: f64 = 22.0;
const BELOW: f64 = 20.0;
/// Names at the ends of curves: the most columns, the least distance, and for how many series there is room.
const LONGEST: usize = 16;
const APART: f64 = 13.0;
const DIRECT: usize = 8;
/// A curve with more points is drawn as the means of so many parts.
const POINTS: usize = 240;

/// A curve.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    pub name: String,
    /// Its colour: series of the same number belong together.
    pub color: usize,
    /// Light and dashed: the lesser of two curves of one colour.
    pub is_lesser: bool,
    pub has_markers: bool,
    pub points: Vec<At>,
    /// A point to mark with a ring: the model that was kept.
    pub kept: Option<At>,
}

/// One field with curves.
#[derive(Debug, Clone)]
pub(crate) struct Panel {
    pub title: String,
    pub series: Vec<Series>,
}

/// The whole picture.
#[derive(Debug, Clone)]
pub(crate) struct Chart {
    pub title: String,
    pub subtitle: String,
    /// What the horizontal axis has: `epoch`.
    pub across: String,
    pub panels: Vec<Panel>,
    /// Entries of the legend that explain marks, after the names.
    pub marks: Vec<Entry>,
}

impl Series {
    fn class(&self) -> String {
        let dash = if self.is_lesser { "d2" } else { dashes(self.color) };
        format!("curve s{} {dash}", self.color % COLORS).trim_end().to_owned()
    }

    fn finite(&self) -> impl Iterator<Item = At> {
        self.points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite())
    }

    /// At most about [`POINTS`] points.
    fn drawn(&self) -> Vec<At> {
        let all: Vec<At> = self.finite().collect();
        let size = all.len().div_ceil(POINTS).max(1);
        let mean = |part: &[At]| {
            let n = part.len() as f64;
            (part.iter().map(|(x, _)| x).sum::<f64>() / n, part.iter().map(|(_, y)| y).sum::<f64>() / n)
        };
        all.chunks(size).map(mean).collect()
    }
}

/// Draw it. Values that are not finite are left out; a panel without points is left out.
pub(crate) fn lines(chart: &Chart) -> String {
    let panels: Vec<&Panel> =
        chart.panels.iter().filter(|panel| panel.series.iter().any(|s| s.finite().next().is_some())).collect();
    let mut names: Vec<(&str, usize)> = Vec::new();
    for series in panels.iter().flat_map(|panel| &panel.series).filter(|series| !series.is_lesser) {
        if !names.iter().any(|(_, color)| *color == series.color) {
            names.push((&series.name, series.color));
        }
    }
    let cuts = cut_apart(names.iter().map(|(name, _)| *name), LONGEST);
    let is_direct = (2..=DIRECT).contains(&names.len()) && cuts.iter().all(|name| width(name) <= 115.0);
    let right = if is_direct { cuts.iter().map(|name| width(name)).fold(0.0, f64::max) + 20.0 } else { 16.0 };
    let entry = |((_, color), name): (&(&str, usize), String)| {
        Entry::new(Mark::Line, format!("curve s{} {}", color % COLORS, dashes(*color)), name)
    };
    let mut entries: Vec<Entry> = Vec::new();
    if !is_direct && names.len() > 1 {
        entries.extend(names.iter().zip(cut_apart(names.iter().map(|(name, _)| *name), 40)).map(entry));
    }
    entries.extend(chart.marks.iter().cloned());
    let subtitle = if chart.subtitle.is_empty() { 0.0 } else { 17.0 };
    let top = 40.0 + subtitle + legend::height(&entries);
    let height = top + panels.len() as f64 * (ABOVE + TALL + BELOW) + 26.0;
    let mut svg = Svg::new(&chart.title, (WIDTH, height), ("", ""));
    if !chart.subtitle.is_empty() {
        svg.subtitle(&chart.subtitle);
    }
    legend::draw(&mut svg, &entries, 43.0 + subtitle);
    let all = || panels.iter().flat_map(|panel| &panel.series).flat_map(Series::finite);
    let (low, high) = ends(all().map(|(x, _)| x));
    let (low, high) = spread(low.min(0.0), high);
    let across = Axis { low, high, is_log: false, from: LEFT, to: WIDTH - right };
    for (at, panel) in panels.iter().enumerate() {
        let top = top + ABOVE + at as f64 * (ABOVE + TALL + BELOW);
        let field = Area { left: LEFT, top, right: WIDTH - right, bottom: top + TALL };
        draw_panel(&mut svg, panel, (&across, field));
        if is_direct {
            direct(&mut svg, panel, (field, &names, &cuts));
        }
    }
    svg.text("faint", ((LEFT + WIDTH - right) / 2.0, height - 10.0), ("middle", &chart.across));
    svg.finish()
}

fn up_axis(panel: &Panel, field: Area) -> Axis {
    let (low, high) = ends(panel.series.iter().flat_map(Series::finite).map(|(_, y)| y));
    let (low, high) = spread(low, high);
    let room = 0.06 * (high - low);
    Axis { low: low - room, high: high + room, is_log: false, from: field.bottom, to: field.top }
}

fn draw_panel(svg: &mut Svg, panel: &Panel, (across, field): (&Axis, Area)) {
    let up = up_axis(panel, field);
    svg.text("strong", (MARGIN, field.top - 9.0), ("start", &panel.title));
    // A panel is low: every second of many ticks is enough.
    let ticks = up.ticks();
    for (at, text) in ticks.iter().step_by(if ticks.len() > 6 { 2 } else { 1 }) {
        let y = up.place(*at);
        svg.line("grid", (field.left, y), (field.right, y));
        svg.text("faint", (field.left - 6.0, y + 4.0), ("end", text));
    }
    for (at, _) in across.ticks() {
        let x = across.place(at);
        svg.line("frame", (x, field.bottom), (x, field.bottom + 4.0));
        svg.text("faint", (x, field.bottom + 17.0), ("middle", &short(at)));
    }
    svg.line("frame", (field.left, field.bottom), (field.right, field.bottom));
    // The lesser curves first, so that they do not hide the others.
    for is_lesser in [true, false] {
        for series in panel.series.iter().filter(|series| series.is_lesser == is_lesser) {
            let points: Vec<At> = series.drawn().into_iter().map(|(x, y)| (across.place(x), up.place(y))).collect();
            svg.curve(&series.class(), points.iter().copied(), &series.name);
            if series.has_markers || points.len() == 1 {
                for point in &points {
                    svg.circle(&format!("c{}", series.color % COLORS), *point, 2.5, "");
                }
            }
        }
    }
    for series in &panel.series {
        if let Some((x, y)) = series.kept {
            let said = format!("{}: {} at {} {}", series.name, short(y), "kept", short(x));
            svg.circle(&format!("hollow s{}", series.color % COLORS), (across.place(x), up.place(y)), 4.5, &said);
        }
    }
}

/// Names beside the ends of the curves, moved apart where they would overlap.
fn direct(svg: &mut Svg, panel: &Panel, (field, names, cuts): (Area, &[(&str, usize)], &[String])) {
    let up = up_axis(panel, field);
    let mut labels: Vec<(f64, usize)> = Vec::new();
    for (at, (_, color)) in names.iter().enumerate() {
        let of = panel.series.iter().filter(|series| series.color == *color && !series.is_lesser);
        if let Some((_, y)) = of.rev().find_map(|series| series.finite().last()) {
            labels.push((up.place(y), at));
        }
    }
    labels.sort_by(|a, b| a.0.total_cmp(&b.0));
    let wanted: Vec<f64> = labels.iter().map(|(y, _)| *y).collect();
    for ((_, at), y) in labels.iter().zip(apart(&wanted, APART, (field.top, field.bottom))) {
        let color = names[*at].1;
        svg.circle(&format!("c{}", color % COLORS), (field.right + 7.0, y), 3.0, "");
        svg.text("", (field.right + 13.0, y + 4.0), ("start", &cuts[*at]));
    }
}

/// Positions in order at least `gap` apart, near the wanted ones, which are sorted; within the ends if there is room.
pub(crate) fn apart(wanted: &[f64], gap: f64, (low, high): (f64, f64)) -> Vec<f64> {
    let mut down = wanted.to_vec();
    for i in 1..down.len() {
        down[i] = down[i].max(down[i - 1] + gap);
    }
    let mut up = wanted.to_vec();
    for i in (1..up.len()).rev() {
        up[i - 1] = up[i - 1].min(up[i] - gap);
    }
    // Both keep the distances, so their mean does.
    let mut places: Vec<f64> = down.iter().zip(&up).map(|(a, b)| (a + b) / 2.0).collect();
    if let (Some(first), Some(last)) = (places.first().copied(), places.last().copied()) {
        let shift = if first < low { low - first } else { (high - last).min(0.0) };
        places.iter_mut().for_each(|place| *place += shift);
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(count: usize) -> String {
        let series = |at: usize| Series {
            name: format!("variant-{at}"),
            color: at,
            is_lesser: false,
            has_markers: true,
            points: (0..5).map(|x| (f64::from(x), at as f64 / (1.0 + f64::from(x)))).collect(),
            kept: Some((2.0, 0.5)),
        };
        let panel = Panel { title: "loss".into(), series: (0..count).map(series).collect() };
        lines(&Chart {
            title: "Learning curves".into(),
            subtitle: String::new(),
            across: "epoch".into(),
            panels: vec![panel],
            marks: Vec::new(),
        })
    }

    #[test]
    fn every_series_has_its_name() {
        for count in [1, 2, 8, 9, 20] {
            let svg = chart(count);
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            if count > 1 {
                for at in 0..count {
                    assert!(svg.contains(&format!(">variant-{at}</text>")), "{count} {at}");
                }
            }
        }
        assert!(chart(0).ends_with("</svg>\n"));
    }

    #[test]
    fn long_curves_are_drawn_with_few_points_and_odd_values_are_left_out() {
        let points: Vec<At> =
            (0..100_000).map(|x| (f64::from(x), if x == 7 { f64::NAN } else { 1.0 / f64::from(x + 1) })).collect();
        let series = Series { name: "a".into(), color: 0, is_lesser: false, has_markers: false, points, kept: None };
        assert!(series.drawn().len() <= POINTS + 1);
        assert!(series.drawn().iter().all(|(x, y)| x.is_finite() && y.is_finite()));
    }

    #[test]
    fn labels_move_apart_and_stay_inside() {
        let places = apart(&[10.0, 10.0, 11.0, 50.0], 13.0, (10.0, 100.0));
        assert!(places.windows(2).all(|two| two[1] - two[0] >= 13.0 - 1e-9) && places[0] >= 10.0, "{places:?}");
    }
}
