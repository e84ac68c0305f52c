//! Places the labels of a plot beside their points without overlap.

use super::area::{Area, At};

/// A placed label.
#[derive(Debug, PartialEq)]
pub(crate) struct Label {
    /// The horizontal position of the label's start, middle or end, depending on `anchor`.
    pub x: f64,
    pub top: f64,
    pub anchor: &'static str,
    /// A line from the point to a label at a distance.
    pub leader: Option<(At, At)>,
}

/// The occupied areas so far.
pub(crate) struct Layout {
    field: Area,
    taken: Vec<Area>,
}

/// Pixels between a bubble and its label; beyond the first, a line connects them.
const GAPS: [f64; 4] = [6.0, 20.0, 40.0, 64.0];
/// Directions to try, the most readable first: right, left, above, below, then diagonal.
const DIRECTIONS: [At; 8] =
    [(1.0, 0.0), (-1.0, 0.0), (0.0, -1.0), (0.0, 1.0), (0.8, -0.8), (0.8, 0.8), (-0.8, -0.8), (-0.8, 0.8)];
/// The cost of one pixel of distance, in square pixels of overlap; and the factor for area outside the field.
const DISTANCE: f64 = 2.0;
const OUTSIDE: f64 = 20.0;

impl Layout {
    pub(crate) fn new(field: Area) -> Self {
        Self { field, taken: Vec::new() }
    }

    pub(crate) fn taken(&mut self, area: Area) {
        self.taken.push(area);
    }

    /// Find the position with the least overlap for a label near a bubble.
    pub(crate) fn place(&mut self, (x, y): At, radius: f64, (wide, tall): At) -> Label {
        let mut best: Option<(f64, Area, Label)> = None;
        for (gap, (dx, dy)) in GAPS.iter().flat_map(|gap| DIRECTIONS.map(|direction| (*gap, direction))) {
            let (px, py) = (x + dx * (radius + gap), y + dy * (radius + gap));
            let (anchor, left) = match dx {
                d if d > 0.0 => ("start", px),
                d if d < 0.0 => ("end", px - wide),
                _ => ("middle", px - wide / 2.0),
            };
            let top = py - tall / 2.0 + dy.signum() * if dy == 0.0 { 0.0 } else { tall / 2.0 };
            let area = Area { left, top, right: left + wide, bottom: top + tall };
            let cost = self.taken.iter().map(|other| area.overlap(other)).sum::<f64>()
                + OUTSIDE * (area.size() - area.overlap(&self.field))
                + DISTANCE * gap;
            let edge = (x + dx * radius, y + dy * radius);
            let leader = (gap > GAPS[0]).then_some((edge, (px, py)));
            if best.as_ref().is_none_or(|(least, ..)| cost < *least) {
                best = Some((cost, area, Label { x: px, top, anchor, leader }));
            }
        }
        let (area, label) = best.map_or_else(
            || (Area::around((x, y), 0.0, 0.0), Label { x, top: y, anchor: "start", leader: None }),
            |(_, area, label)| (area, label),
        );
        self.taken(area);
        label
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELD: Area = Area { left: 0.0, top: 0.0, right: 400.0, bottom: 300.0 };

    #[test]
    fn a_label_is_placed_to_the_right_and_inside() {
        let label = Layout::new(FIELD).place((100.0, 100.0), 10.0, (80.0, 30.0));
        assert_eq!(label, Label { x: 116.0, top: 85.0, anchor: "start", leader: None });
        let label = Layout::new(FIELD).place((390.0, 100.0), 10.0, (80.0, 30.0));
        assert_eq!((label.anchor, label.x), ("end", 374.0));
    }

    #[test]
    fn labels_of_close_points_do_not_overlap() {
        let mut layout = Layout::new(FIELD);
        let points: Vec<At> = (0..6).map(|i| (190.0 + 4.0 * f64::from(i), 150.0 + 3.0 * f64::from(i))).collect();
        points.iter().for_each(|&point| layout.taken(Area::around(point, 6.0, 6.0)));
        let before = layout.taken.len();
        for &point in &points {
            layout.place(point, 6.0, (70.0, 29.0));
        }
        let labels = &layout.taken[before..];
        for (i, one) in labels.iter().enumerate() {
            assert!(labels[i + 1..].iter().all(|other| one.overlap(other) == 0.0), "{labels:?}");
            assert_eq!(one.overlap(&FIELD), one.size());
        }
    }
}
