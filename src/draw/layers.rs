//! Places the boxes of a graph in columns so that no edge runs under a box.
//!
//! Source: the layered method of Sugiyama, Tagawa and Toda (1981): an edge over several columns gets a place of its own in each
//! of them, and columns are ordered by the mean place of their neighbours.

/// More places than this for edges, and they go straight: the picture is unreadable anyway.
const MOST: usize = 20_000;
const SWEEPS: usize = 8;

/// What takes a place in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spot {
    Box(usize),
    /// A part of an edge.
    Way(usize),
}

/// A graph in columns.
#[derive(Debug)]
pub(crate) struct Layers {
    /// From left to right, each from top to bottom.
    pub columns: Vec<Vec<Spot>>,
    /// The middle of each spot, by column.
    pub middles: Vec<Vec<f64>>,
    /// For each edge, the column and row of its spots between its ends.
    pub ways: Vec<Vec<(usize, usize)>>,
    /// For each box, its column and row.
    pub boxes: Vec<(usize, usize)>,
    pub height: f64,
}

/// How much room spots take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heights {
    pub one: f64,
    pub way: f64,
    pub gap: f64,
}

/// A spot while it is placed: its neighbours in the columns before and after it, as places there.
struct Placed {
    spot: Spot,
    before: Vec<usize>,
    after: Vec<usize>,
}

/// The longest path from a box without inputs, for each box. In a graph with a cycle it ends all the same.
pub(crate) fn depths(count: usize, edges: &[(usize, usize)]) -> Vec<usize> {
    let mut depths = vec![0; count];
    for _ in 0..count {
        let mut changed = false;
        for (from, to) in edges {
            if depths[*to] < depths[*from] + 1 && depths[*from] < count {
                depths[*to] = depths[*from] + 1;
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    depths
}

impl Layers {
    /// Place `count` boxes, with edges from producer to consumer.
    pub(crate) fn of(count: usize, edges: &[(usize, usize)], heights: Heights) -> Self {
        let depths = depths(count, edges);
        let mut columns: Vec<Vec<Placed>> = Vec::new();
        columns.resize_with(depths.iter().max().map_or(0, |deepest| deepest + 1), Vec::new);
        let mut at = vec![0; count];
        for (node, depth) in depths.iter().enumerate() {
            at[node] = columns[*depth].len();
            columns[*depth].push(Placed { spot: Spot::Box(node), before: Vec::new(), after: Vec::new() });
        }
        let long: usize = edges.iter().map(|(from, to)| depths[*to].saturating_sub(depths[*from] + 1)).sum();
        for (edge, (from, to)) in edges.iter().enumerate() {
            let mut last = (depths[*from], at[*from]);
            if long <= MOST {
                for column in depths[*from] + 1..depths[*to] {
                    let place = columns[column].len();
                    columns[column].push(Placed { spot: Spot::Way(edge), before: Vec::new(), after: Vec::new() });
                    link(&mut columns, last, (column, place));
                    last = (column, place);
                }
            }
            if last.0 + 1 == depths[*to] {
                link(&mut columns, last, (depths[*to], at[*to]));
            }
        }
        let orders = order(&columns);
        let middles = middles(&columns, &orders, heights);
        let mut layers = Self {
            columns: Vec::new(),
            middles: Vec::new(),
            ways: vec![Vec::new(); edges.len()],
            boxes: vec![(0, 0); count],
            height: 0.0,
        };
        for (column, order) in orders.iter().enumerate() {
            let spots: Vec<Spot> = order.iter().map(|place| columns[column][*place].spot).collect();
            for (row, spot) in spots.iter().enumerate() {
                match spot {
                    Spot::Box(node) => layers.boxes[*node] = (column, row),
                    Spot::Way(edge) => layers.ways[*edge].push((column, row)),
                }
            }
            layers.columns.push(spots);
            layers.middles.push(order.iter().map(|place| middles[column][*place]).collect());
        }
        layers.shift(heights);
        layers
    }

    /// Let the uppermost spot begin at 0.
    fn shift(&mut self, heights: Heights) {
        let half = |spot: &Spot| size(*spot, heights) / 2.0;
        let spots = || self.columns.iter().flatten().zip(self.middles.iter().flatten());
        let top = spots().map(|(spot, middle)| middle - half(spot)).fold(f64::INFINITY, f64::min);
        let bottom = spots().map(|(spot, middle)| middle + half(spot)).fold(f64::NEG_INFINITY, f64::max);
        if top.is_finite() {
            self.middles.iter_mut().flatten().for_each(|middle| *middle -= top);
            self.height = bottom - top;
        }
    }
}

fn link(columns: &mut [Vec<Placed>], from: (usize, usize), to: (usize, usize)) {
    columns[from.0][from.1].after.push(to.1);
    columns[to.0][to.1].before.push(from.1);
}

fn size(spot: Spot, heights: Heights) -> f64 {
    match spot {
        Spot::Box(_) => heights.one,
        Spot::Way(_) => heights.way,
    }
}

/// The order of the places of each column: by the mean rank of their neighbours, from the left and from the right in turn.
fn order(columns: &[Vec<Placed>]) -> Vec<Vec<usize>> {
    let mut orders: Vec<Vec<usize>> = columns.iter().map(|column| (0..column.len()).collect()).collect();
    for sweep in 0..SWEEPS {
        let is_forward = sweep % 2 == 0;
        for step in 1..columns.len() {
            let column = if is_forward { step } else { columns.len() - 1 - step };
            let beside = if is_forward { column - 1 } else { column + 1 };
            let mut rank = vec![0.0; columns[beside].len()];
            orders[beside].iter().enumerate().for_each(|(at, place)| rank[*place] = at as f64);
            let own: Vec<f64> = {
                let mut own = vec![0.0; columns[column].len()];
                orders[column].iter().enumerate().for_each(|(at, place)| own[*place] = at as f64);
                own
            };
            let key = |place: usize| {
                let near = if is_forward { &columns[column][place].before } else { &columns[column][place].after };
                match near.len() {
                    0 => own[place],
                    n => near.iter().map(|at| rank[*at]).sum::<f64>() / n as f64,
                }
            };
            let keys: Vec<f64> = (0..columns[column].len()).map(key).collect();
            // Stable: equal ones keep their order.
            orders[column].sort_by(|a, b| keys[*a].total_cmp(&keys[*b]));
        }
    }
    orders
}

/// The middle of each place: near its neighbours, and apart from the others of its column.
fn middles(columns: &[Vec<Placed>], orders: &[Vec<usize>], heights: Heights) -> Vec<Vec<f64>> {
    let apart = |a: Spot, b: Spot| (size(a, heights) + size(b, heights)) / 2.0 + heights.gap;
    let mut middles: Vec<Vec<f64>> = Vec::new();
    for (column, order) in columns.iter().zip(orders) {
        let mut own = vec![0.0; column.len()];
        for two in order.windows(2) {
            own[two[1]] = own[two[0]] + apart(column[two[0]].spot, column[two[1]].spot);
        }
        let middle = order.last().map_or(0.0, |last| own[*last]) / 2.0;
        own.iter_mut().for_each(|place| *place -= middle);
        middles.push(own);
    }
    for sweep in 0..SWEEPS {
        let is_forward = sweep % 2 == 0;
        for step in 1..columns.len() {
            let at = if is_forward { step } else { columns.len() - 1 - step };
            let beside = if is_forward { at - 1 } else { at + 1 };
            let (column, order) = (&columns[at], &orders[at]);
            let wanted: Vec<f64> = order
                .iter()
                .map(|place| {
                    let near = if is_forward { &column[*place].before } else { &column[*place].after };
                    match near.len() {
                        0 => middles[at][*place],
                        n => near.iter().map(|one| middles[beside][*one]).sum::<f64>() / n as f64,
                    }
                })
                .collect();
            let gaps: Vec<f64> = order.windows(2).map(|two| apart(column[two[0]].spot, column[two[1]].spot)).collect();
            for (place, middle) in order.iter().zip(kept_apart(&wanted, &gaps)) {
                middles[at][*place] = middle;
            }
        }
    }
    middles
}

/// Near the wanted positions, in their order, at least `gaps` apart: the mean of what pushing down and pushing up give.
fn kept_apart(wanted: &[f64], gaps: &[f64]) -> Vec<f64> {
    let (mut down, mut up) = (wanted.to_vec(), wanted.to_vec());
    for i in 1..down.len() {
        down[i] = down[i].max(down[i - 1] + gaps[i - 1]);
    }
    for i in (1..up.len()).rev() {
        up[i - 1] = up[i - 1].min(up[i] - gaps[i - 1]);
    }
    down.iter().zip(&up).map(|(a, b)| (a + b) / 2.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEIGHTS: Heights = Heights { one: 40.0, way: 8.0, gap: 14.0 };

    #[test]
    fn spots_of_a_column_do_not_overlap_and_long_edges_have_a_way() {
        let edges = [(0, 1), (1, 2), (1, 3), (2, 4), (3, 5), (1, 5), (4, 6), (1, 6), (5, 7), (6, 7), (0, 7)];
        let layers = Layers::of(8, &edges, HEIGHTS);
        assert_eq!(layers.columns.len(), 6);
        for (spots, middles) in layers.columns.iter().zip(&layers.middles) {
            for i in 1..spots.len() {
                let least = (size(spots[i], HEIGHTS) + size(spots[i - 1], HEIGHTS)) / 2.0 + HEIGHTS.gap;
                assert!(middles[i] - middles[i - 1] >= least - 1e-6, "{spots:?} {middles:?}");
            }
            assert!(middles.iter().all(|middle| (0.0..=layers.height).contains(middle)));
        }
        let ways: Vec<usize> = layers.ways.iter().map(Vec::len).collect();
        assert_eq!(ways, [0, 0, 0, 0, 0, 1, 0, 2, 1, 0, 4]);
    }

    #[test]
    fn odd_graphs_end() {
        assert_eq!(Layers::of(0, &[], HEIGHTS).columns.len(), 0);
        assert_eq!(Layers::of(3, &[], HEIGHTS).columns.len(), 1);
        // A cycle cannot occur; it ends all the same.
        assert!(!Layers::of(2, &[(0, 1), (1, 0)], HEIGHTS).columns.is_empty());
        let chain: Vec<(usize, usize)> = (0..999).map(|i| (i, i + 1)).chain((2..900).map(|i| (0, i))).collect();
        assert_eq!(Layers::of(1000, &chain, HEIGHTS).columns.len(), 1000);
    }
}
