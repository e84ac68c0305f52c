//! The points of a finite space in order.

use super::domain::Value;
use super::space::{Point, Space};

impl Space {
    /// All points of a finite space, the last parameter changing fastest. Nothing if there is a range of floats.
    pub(super) fn points(&self) -> impl Iterator<Item = Point> {
        let first = self.size().map(|_| self.first_from(Vec::new()));
        std::iter::successors(first, |point| self.after(point))
    }

    /// The first point that begins with these values.
    fn first_from(&self, mut point: Point) -> Point {
        for index in point.len()..self.parameters.len() {
            let first = if self.is_active(index, &point) { self.parameters[index].domain.nth(0) } else { None };
            point.push(first);
        }
        point
    }

    fn after(&self, point: &[Option<Value>]) -> Option<Point> {
        (0..point.len()).rev().find_map(|index| {
            let next = self.parameters[index].domain.after(point[index]?)?;
            let mut changed = point[..index].to_vec();
            changed.push(Some(next));
            Some(self.first_from(changed))
        })
    }
}
