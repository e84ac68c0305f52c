//! The values that one parameter may have.

use libm::{exp, exp10, floor, log, round};

/// Significant digits of a suggested float: enough for any hyper-parameter, and short enough to write by hand.
pub(super) const DIGITS: usize = 3;
/// The most digits that tell two floats apart.
pub(super) const MOST_DIGITS: usize = 17;
/// A range has at least about this many rounded floats; a narrow one therefore gets more digits.
const STEPS: f64 = 100.0;

/// The values that a parameter may have. Bounds are inclusive.
#[derive(Debug, Clone, PartialEq)]
pub enum Domain {
    /// A number, suggested with three significant digits (more if the range is narrow); `log`: uniform in its logarithm.
    Float { low: f64, high: f64, log: bool },
    /// `low`, `low + step`, … up to `high`; `log` needs a step of one.
    Integer { low: i64, high: i64, step: i64, log: bool },
    /// One of so many choices, which have no order.
    Categories(usize),
}

/// A value of a parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    Float(f64),
    Integer(i64),
    /// The position of the choice.
    Category(usize),
}

impl Domain {
    /// How many values there are, at most `u64::MAX`; `None` for a range of floats.
    pub fn size(&self) -> Option<u64> {
        match *self {
            Self::Float { low, high, .. } if low == high => Some(1),
            Self::Float { .. } => None,
            Self::Integer { low, high, step, .. } => {
                let wide = (i128::from(high) - i128::from(low)) / i128::from(step) + 1;
                Some(u64::try_from(wide).unwrap_or(u64::MAX))
            }
            Self::Categories(choices) => Some(choices as u64),
        }
    }

    pub(super) fn is_single(&self) -> bool {
        self.size() == Some(1)
    }

    pub fn contains(&self, value: Value) -> bool {
        match (self, value) {
            (&Self::Float { low, high, .. }, Value::Float(x)) => low <= x && x <= high,
            (&Self::Integer { low, high, step, .. }, Value::Integer(x)) => {
                low <= x && x <= high && (i128::from(x) - i128::from(low)) % i128::from(step) == 0
            }
            (&Self::Categories(choices), Value::Category(x)) => x < choices,
            _ => false,
        }
    }

    /// The value of position `index`; `None` behind the last one and for a range of floats.
    pub(super) fn nth(&self, index: u64) -> Option<Value> {
        if self.size().is_none_or(|size| index >= size) {
            return None;
        }
        Some(match *self {
            Self::Float { low, .. } => Value::Float(low),
            Self::Integer { low, step, .. } => {
                let value = i128::from(low) + i128::from(index) * i128::from(step);
                Value::Integer(i64::try_from(value).ok()?)
            }
            Self::Categories(_) => Value::Category(index as usize),
        })
    }

    /// The value after this one in the order of [`Self::nth`].
    pub(super) fn after(&self, value: Value) -> Option<Value> {
        match (self, value) {
            (&Self::Integer { high, step, .. }, Value::Integer(x)) => {
                x.checked_add(step).filter(|next| *next <= high).map(Value::Integer)
            }
            (&Self::Categories(choices), Value::Category(x)) => (x + 1 < choices).then_some(Value::Category(x + 1)),
            _ => None,
        }
    }

    /// The bounds of the values' density: in logarithms if `log`; half a step outside for integers. `None` for categories.
    pub(super) fn bounds(&self) -> Option<(f64, f64)> {
        let (low, high, is_log) = match *self {
            Self::Float { low, high, log } => (low, high, log),
            Self::Integer { low, step, log, .. } => {
                let half = step as f64 / 2.0;
                (low as f64 - half, self.last() as f64 + half, log)
            }
            Self::Categories(_) => return None,
        };
        Some(if is_log { (log(low), log(high)) } else { (low, high) })
    }

    /// The highest integer of the grid, which may be below `high`.
    pub(super) fn last(&self) -> i64 {
        match *self {
            Self::Integer { low, high, step, .. } => {
                let steps = (i128::from(high) - i128::from(low)) / i128::from(step);
                (i128::from(low) + steps * i128::from(step)) as i64
            }
            _ => 0,
        }
    }

    /// The first and the last number of a range of numbers.
    pub(super) fn ends(&self) -> Option<(f64, f64)> {
        match *self {
            Self::Float { low, high, .. } => Some((low, high)),
            Self::Integer { low, .. } => Some((low as f64, self.last() as f64)),
            Self::Categories(_) => None,
        }
    }

    pub(super) fn is_log(&self) -> bool {
        matches!(self, Self::Float { log: true, .. } | Self::Integer { log: true, .. })
    }

    /// The value at a share `u` of the domain, 0 ≤ u < 1: uniform values for uniform shares.
    pub(super) fn at(&self, u: f64, digits: usize) -> Value {
        match (self, self.bounds()) {
            (&Self::Categories(choices), _) => {
                Value::Category((floor(u * choices as f64) as usize).min(choices.saturating_sub(1)))
            }
            (_, Some((low, high))) => self.value(low + u * (high - low), digits),
            // Only categories have no bounds.
            (_, None) => Value::Category(0),
        }
    }

    /// The value nearest to a coordinate between the bounds of [`Self::bounds`].
    pub(super) fn value(&self, x: f64, digits: usize) -> Value {
        let number = if self.is_log() { exp(x) } else { x };
        match *self {
            Self::Float { low, high, .. } => Value::Float(rounded(number, (low, high), digits)),
            Self::Integer { low, step, .. } => {
                let steps = round((number - low as f64) / step as f64) as i128;
                let value = i128::from(low) + steps.max(0) * i128::from(step);
                Value::Integer(value.min(i128::from(self.last())) as i64)
            }
            Self::Categories(_) => Value::Category(0),
        }
    }

    /// The coordinate of a value between the bounds of [`Self::bounds`], moved inside if it is outside; `None` if the value
    /// is of another type or, for categories, is none of them.
    pub(super) fn coordinate(&self, value: Value) -> Option<f64> {
        let number = match (self, value) {
            (Self::Float { .. }, Value::Float(x)) => x,
            (Self::Integer { .. }, Value::Integer(x)) => x as f64,
            (&Self::Categories(choices), Value::Category(x)) if x < choices => return Some(x as f64),
            _ => return None,
        };
        let (low, high) = self.ends()?;
        let inside = number.max(low).min(high);
        Some(if self.is_log() { log(inside) } else { inside })
    }
}

/// `x` with so many significant digits, more if the range has fewer than a hundred such numbers, and inside the range.
///
/// The result is the float that a reader of the decimal number gets, so a value written by hand is the same value.
pub(super) fn rounded(x: f64, (low, high): (f64, f64), digits: usize) -> f64 {
    let inside = x.max(low).min(high);
    if inside == 0.0 || !inside.is_finite() {
        return if inside == 0.0 { 0.0 } else { low };
    }
    let text = format!("{inside:e}");
    let exponent = text.split_once('e').and_then(|(_, exponent)| exponent.parse::<i32>().ok()).unwrap_or(0);
    let mut digits = digits.clamp(1, MOST_DIGITS);
    let spacing = |digits: usize| exp10(f64::from(exponent + 1 - digits as i32));
    while digits < MOST_DIGITS && spacing(digits) > (high - low) / STEPS {
        digits += 1;
    }
    let short = format!("{inside:.*e}", digits - 1).parse().unwrap_or(inside);
    f64::max(short, low).min(high)
}
