//! Densities of good and bad points: a kernel for each point and a wide one for what is not known yet.

use libm::log;

use super::domain::{Domain, Value};
use super::normal::{LOG_ROOT_TWO_PI, below, log_mass, log_sum_exp, quantile};
use super::space::{Point, Space};

/// Of more points than this, older ones count less.
const RECENT: usize = 25;
/// The narrowest kernel is the range over this, however many points there are.
const NARROWEST: f64 = 100.0;
/// Optuna's `narrow` of [`Mixture::of`].
#[cfg(test)]
pub(super) const OPTUNA: f64 = 2.0;

/// A density over the points of a space: a weighted sum of kernels, each a product over the parameters.
///
/// The kernels are those of Optuna 5's `_ParzenEstimator` (`optuna/samplers/_tpe/parzen_estimator.py`): normal distributions
/// cut off at the bounds, as wide as the larger gap to the neighbouring points; for integers the mass of a step; for choices
/// the share of one point and a prior. A parameter that is not active in a point has the wide kernel there, so that
/// conditional parameters need no model of their own: without them, the density is Optuna's.
pub(super) struct Mixture<'a> {
    space: &'a Space,
    /// One for each point in the order of time, and that of the wide kernel.
    weights: Vec<f64>,
    columns: Vec<Column>,
}

/// The kernels of one parameter.
enum Column {
    /// Only one value is possible.
    Single(Value),
    Float(Vec<Kernel>),
    Integer {
        shapes: Vec<Kernel>,
        shape: Vec<usize>,
    },
    Choices {
        /// The choice of each kernel's point; none for the wide kernel.
        chosen: Vec<Option<usize>>,
        /// How many choices there are.
        count: usize,
        shares: Shares,
        log_shares: Shares,
    },
}

/// The share of a choice in a kernel.
#[derive(Debug, Clone, Copy)]
struct Shares {
    /// Of the choice of the kernel's point.
    own: f64,
    /// Of another choice.
    other: f64,
    /// Of each choice in the wide kernel.
    wide: f64,
}

impl Shares {
    fn of(self, chosen: Option<usize>, choice: usize) -> f64 {
        match chosen {
            Some(own) if own == choice => self.own,
            Some(_) => self.other,
            None => self.wide,
        }
    }
}

/// A normal distribution that is cut off at the bounds of the parameter.
#[derive(Debug, Clone, Copy)]
struct Kernel {
    centre: f64,
    width: f64,
    /// The logarithm of its mass between the bounds.
    log_inside: f64,
    /// What a density's logarithm is at the centre.
    log_peak: f64,
}

impl<'a> Mixture<'a> {
    /// The density of these points, oldest first. A kernel is no narrower than the range over the number of points and `narrow`.
    pub(super) fn of(space: &'a Space, points: &[&Point], narrow: f64) -> Self {
        let mut weights = weights(points.len());
        weights.push(1.0);
        let sum: f64 = weights.iter().sum();
        weights.iter_mut().for_each(|weight| *weight /= sum);
        let column = |(index, domain)| {
            let coordinates: Vec<Option<f64>> =
                points.iter().map(|point| Domain::coordinate(domain, point[index]?)).collect();
            Column::of(domain, &coordinates, narrow)
        };
        let domains = space.parameters.iter().map(|parameter| &parameter.domain);
        Self { space, weights, columns: domains.enumerate().map(column).collect() }
    }

    /// A point from the kernel at a share `u` of the weights; `draw` gives uniform draws for a parameter.
    pub(super) fn sample(&self, u: f64, digits: usize, mut draw: impl FnMut(usize) -> f64) -> Point {
        let kernel = chosen(&self.weights, u);
        self.space.build(|index, parameter| {
            Some(self.columns[index].sample(&parameter.domain, kernel, (draw(index), digits)))
        })
    }

    /// The logarithm of the density at each of these points.
    pub(super) fn log_densities(&self, points: &[Point]) -> Vec<f64> {
        let mut terms = vec![self.weights.iter().map(|weight| log(*weight)).collect::<Vec<f64>>(); points.len()];
        for (index, column) in self.columns.iter().enumerate() {
            let domain = &self.space.parameters[index].domain;
            let mut known: Vec<(Value, Vec<f64>)> = Vec::new();
            for (terms, point) in terms.iter_mut().zip(points) {
                if let Some(value) = point[index] {
                    column.add(domain, value, terms, &mut known);
                }
            }
        }
        terms.iter().map(|terms| log_sum_exp(terms)).collect()
    }
}

impl Column {
    /// Kernels around the coordinates of the points at which the parameter is active, and the wide one for the others and last.
    fn of(domain: &Domain, coordinates: &[Option<f64>], narrow: f64) -> Self {
        if let (Some(value), true) = (domain.nth(0), domain.is_single()) {
            return Self::Single(value);
        }
        if let &Domain::Categories(choices) = domain {
            let prior = 1.0 / (coordinates.iter().flatten().count() + 1) as f64;
            let all = prior * choices as f64;
            let shares = Shares { own: (prior + 1.0) / (all + 1.0), other: prior / (all + 1.0), wide: prior / all };
            let log_shares = Shares { own: log(shares.own), other: log(shares.other), wide: log(shares.wide) };
            let chosen = coordinates.iter().chain([&None]).map(|coordinate| coordinate.map(|x| x as usize)).collect();
            return Self::Choices { chosen, count: choices, shares, log_shares };
        }
        let bounds = domain.bounds().unwrap_or_default();
        let kernels = kernels(coordinates, bounds, narrow);
        if matches!(domain, Domain::Float { .. }) {
            return Self::Float(kernels);
        }
        // Integers repeat, and so do their kernels; each mass takes four logarithms.
        let mut shapes: Vec<Kernel> = Vec::new();
        let mut shape = vec![0; kernels.len()];
        let mut order: Vec<usize> = (0..kernels.len()).collect();
        order.sort_by(|a, b| {
            let (a, b) = (kernels[*a], kernels[*b]);
            a.centre.total_cmp(&b.centre).then(a.width.total_cmp(&b.width))
        });
        for index in order {
            let next = kernels[index];
            if shapes.last().is_none_or(|last| (last.centre, last.width) != (next.centre, next.width)) {
                shapes.push(next);
            }
            shape[index] = shapes.len() - 1;
        }
        Self::Integer { shapes, shape }
    }

    fn sample(&self, domain: &Domain, kernel: usize, (u, digits): (f64, usize)) -> Value {
        let kernel = match self {
            Self::Single(value) => return *value,
            Self::Choices { chosen: of, count, shares, .. } => {
                let shares: Vec<f64> = (0..*count).map(|choice| shares.of(of[kernel], choice)).collect();
                return Value::Category(chosen(&shares, u));
            }
            Self::Float(kernels) => kernels[kernel],
            Self::Integer { shapes, shape } => shapes[shape[kernel]],
        };
        let (low, high) = domain.bounds().unwrap_or_default();
        let (first, last) = (below(kernel.scaled(low)), below(kernel.scaled(high)));
        let share = (first + u * (last - first)).clamp(f64::MIN_POSITIVE, 1.0 - f64::EPSILON);
        let x = kernel.centre + kernel.width * quantile(share);
        domain.value(x.clamp(low, high), digits)
    }

    /// Add the logarithm of each kernel's density at a value. `known` has those of former integers.
    fn add(&self, domain: &Domain, value: Value, terms: &mut [f64], known: &mut Vec<(Value, Vec<f64>)>) {
        let Some(x) = domain.coordinate(value) else { return };
        match self {
            Self::Single(_) => {}
            Self::Choices { chosen, log_shares, .. } => {
                let choice = x as usize;
                terms.iter_mut().zip(chosen).for_each(|(term, chosen)| *term += log_shares.of(*chosen, choice));
            }
            Self::Float(kernels) => {
                for (term, kernel) in terms.iter_mut().zip(kernels) {
                    let scaled = kernel.scaled(x);
                    *term += kernel.log_peak - 0.5 * scaled * scaled;
                }
            }
            Self::Integer { shapes, shape } => {
                let at = known.iter().position(|(other, _)| *other == value).unwrap_or_else(|| {
                    known.push((value, shapes.iter().map(|kernel| kernel.log_step(domain, value)).collect()));
                    known.len() - 1
                });
                let masses = &known[at].1;
                terms.iter_mut().zip(shape).for_each(|(term, shape)| *term += masses[*shape]);
            }
        }
    }
}

impl Kernel {
    fn scaled(&self, x: f64) -> f64 {
        (x - self.centre) / self.width
    }

    /// The logarithm of the mass of an integer's step.
    fn log_step(&self, domain: &Domain, value: Value) -> f64 {
        let (&Domain::Integer { step, log: is_log, .. }, Value::Integer(x)) = (domain, value) else { return 0.0 };
        let half = step as f64 / 2.0;
        let ends = [x as f64 - half, x as f64 + half];
        let [left, right] = if is_log { ends.map(log) } else { ends };
        log_mass(self.scaled(left), self.scaled(right)) - self.log_inside
    }
}

/// Weights of so many points, oldest first: a ramp, then 1 for the last 25.
fn weights(points: usize) -> Vec<f64> {
    let old = points.saturating_sub(RECENT);
    let first = 1.0 / points as f64;
    let ramp = |index: usize| match old {
        1 => first,
        _ => first + (1.0 - first) * index as f64 / (old - 1) as f64,
    };
    (0..points).map(|index| if index < old { ramp(index) } else { 1.0 }).collect()
}

/// A kernel around each coordinate and the wide one, which also stands for `None`.
fn kernels(coordinates: &[Option<f64>], (low, high): (f64, f64), narrow: f64) -> Vec<Kernel> {
    let range = high - low;
    let mut order: Vec<(f64, usize)> =
        coordinates.iter().enumerate().filter_map(|(index, x)| Some(((*x)?, index))).collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0));
    let wide = kernel((low + high) / 2.0, range, (low, high));
    let mut kernels = vec![wide; coordinates.len() + 1];
    let narrowest = range / f64::min(NARROWEST, order.len() as f64 + narrow);
    for (place, &(x, index)) in order.iter().enumerate() {
        let left = place.checked_sub(1).map(|before| x - order[before].0);
        let right = order.get(place + 1).map(|after| after.0 - x);
        // The gap to a bound counts only for a point that is alone.
        let gap = match (left, right) {
            (None, None) => f64::max(x - low, high - x),
            (left, right) => f64::max(left.unwrap_or(0.0), right.unwrap_or(0.0)),
        };
        kernels[index] = kernel(x, gap.clamp(narrowest, range), (low, high));
    }
    kernels
}

fn kernel(centre: f64, width: f64, (low, high): (f64, f64)) -> Kernel {
    let log_inside = log_mass((low - centre) / width, (high - centre) / width);
    Kernel { centre, width, log_inside, log_peak: -LOG_ROOT_TWO_PI - log(width) - log_inside }
}

/// The position at a share `u` of weights that sum to one.
fn chosen(weights: &[f64], u: f64) -> usize {
    let mut sum = 0.0;
    let found = weights.iter().position(|weight| {
        sum += weight;
        u < sum
    });
    found.unwrap_or(weights.len() - 1)
}
