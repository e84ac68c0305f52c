//! Positions and rectangles.

/// A rectangle, in pixels from the upper left corner.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Area {
    pub left: f64,
    pub top: f64,
    pub right: f64,
    pub bottom: f64,
}

/// A position in pixels.
pub(crate) type At = (f64, f64);

impl Area {
    pub(crate) fn around((x, y): At, wide: f64, tall: f64) -> Self {
        Self { left: x - wide, top: y - tall, right: x + wide, bottom: y + tall }
    }

    pub(crate) fn wide(&self) -> f64 {
        self.right - self.left
    }

    pub(crate) fn tall(&self) -> f64 {
        self.bottom - self.top
    }

    pub(crate) fn overlap(&self, other: &Self) -> f64 {
        let wide = self.right.min(other.right) - self.left.max(other.left);
        let tall = self.bottom.min(other.bottom) - self.top.max(other.top);
        wide.max(0.0) * tall.max(0.0)
    }

    pub(crate) fn size(&self) -> f64 {
        (self.right - self.left) * (self.bottom - self.top)
    }
}
