//! Compares the kernels with plain integer sums and f64 products, on every path that the machine supports.

use super::path::Path;
use super::rows::Rows;
use super::tile::PANEL;
use super::*;

/// Reproducible pseudo-random numbers in ±1.
fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(next).take(count).collect()
}

fn integers(count: usize, seed: u64) -> Vec<i8> {
    numbers(count, seed).into_iter().map(|v| (v * 127.0).round() as i8).collect()
}

/// The expected product of rounded rows, bit for bit.
fn reference(x: &Rows, q: &[i8], scales: &[f32], bias: &[f32]) -> Vec<f32> {
    let mut y = Vec::new();
    for row in 0..x.len() {
        let a = x.some(row, 1);
        for (output, w) in q.chunks_exact(x.inputs()).enumerate() {
            let sum: i32 = a.bytes.iter().zip(w).map(|(b, w)| (i32::from(*b) - a.zeros[0]) * i32::from(*w)).sum();
            y.push(sum as f32 * (a.scales[0] * scales[output]) + bias[output]);
        }
    }
    y
}

/// The product with one weight.
fn one(path: Path, x: &Rows, weight: &Weight, bias: &[f32]) -> Vec<f32> {
    product::multiply(path, std::slice::from_ref(x), &[product::Term { weight, bias }])
}

/// Shapes around the sizes of tiles, panels, groups and tasks.
const SHAPES: [[usize; 3]; 12] = [
    [1, 1, 1],
    [1, 3, 2],
    [2, 4, 31],
    [3, 5, 32],
    [4, 63, 33],
    [5, 64, 64],
    [11, 65, 5],
    [12, 127, 95],
    [13, 768, 96],
    [25, 130, 257],
    [96, 33, 40],
    [109, 96, 130],
];

#[test]
fn every_path_gives_the_same_bits_as_plain_integers() {
    for [rows, inputs, outputs] in SHAPES {
        let (x, q) = (numbers(rows * inputs, 1), integers(outputs * inputs, 2));
        let (scales, bias) = (numbers(outputs, 3), numbers(outputs, 4));
        let (x, w) = (Rows::new(&x, inputs, Range::of), Weight::pack(&q, &scales, inputs));
        let expected = reference(&x, &q, &scales, &bias);
        for path in Path::all() {
            let y = one(path, &x, &w, &bias);
            assert!(y == expected, "{path:?} {rows} × {inputs} × {outputs}");
        }
    }
}

#[test]
fn layers_that_read_the_same_rows_give_what_each_gives_alone() {
    for ([rows, inputs, outputs], rounding) in
        SHAPES.into_iter().flat_map(|shape| [(shape, Rounding::Token8), (shape, Rounding::Token16)])
    {
        let x = numbers(rows * inputs, 1);
        let layer = |seed| {
            let weight = Weight::pack(&integers(outputs * inputs, seed), &numbers(outputs, seed + 1), inputs);
            (Layer { weight: weight.into(), rounding }, numbers(outputs, seed + 2))
        };
        let layers: Vec<(Layer, Vec<f32>)> = [3, 6, 9].map(layer).into();
        let pairs: Vec<(&Layer, &[f32])> = layers.iter().map(|(layer, bias)| (layer, &bias[..])).collect();
        let alone: Vec<f32> = pairs.iter().flat_map(|(layer, bias)| layer.forward(&x, bias)).collect();
        for path in Path::all() {
            assert!(
                Layer::forward_by(path, &pairs, &x) == alone,
                "{path:?} {rounding:?} {rows} × {inputs} × {outputs}"
            );
        }
    }
}

#[test]
fn the_largest_bytes_do_not_saturate() {
    // 255 · ±127 everywhere: the sum of two exceeds 16 bits, and the whole sum is close to the 32-bit limit.
    let inputs = weight::MOST_INPUTS;
    let x: Vec<f32> = (0..2 * inputs).map(|i| if i == 0 { -1.0 } else { 1.0 }).collect();
    let q: Vec<i8> = (0..3 * inputs).map(|i| [127, -127, if i % 2 == 0 { 127 } else { -127 }][i / inputs]).collect();
    let (scales, bias) = (vec![1.0; 3], vec![0.0; 3]);
    let (x, w) = (Rows::new(&x, inputs, Range::of), Weight::pack(&q, &scales, inputs));
    assert_eq!(x.some(1, 1).bytes[..inputs], vec![255; inputs]);
    let expected = reference(&x, &q, &scales, &bias);
    for path in Path::all() {
        assert!(one(path, &x, &w, &bias) == expected, "{path:?}");
    }
}

#[test]
fn nothing_times_something_is_the_bias() {
    let w = Weight::pack(&integers(40 * 8, 1), &[1.0; 40], 8);
    for path in Path::all() {
        assert_eq!(one(path, &Rows::new(&[], 8, Range::of), &w, &[0.5; 40]), Vec::<f32>::new());
        let zeros = Rows::new(&[0.0; 16], 8, Range::of);
        assert_eq!(one(path, &zeros, &w, &[0.5; 40]), vec![0.5; 80]);
    }
}

/// The relative error of a layer's result.
fn beside_exact(layer: &Layer, x: &[f32], q: &[i8], scales: &[f32]) -> f64 {
    let inputs = layer.weight.inputs();
    let y = layer.forward(x, &vec![0.0; scales.len()]);
    let (mut difference, mut norm) = (0f64, 0f64);
    for (row, y) in x.chunks_exact(inputs).zip(y.chunks_exact(scales.len())) {
        for (output, w) in q.chunks_exact(inputs).enumerate() {
            let exact: f64 = row.iter().zip(w).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum();
            let exact = exact * f64::from(scales[output]);
            difference += (f64::from(y[output]) - exact).powi(2);
            norm += exact.powi(2);
        }
    }
    (difference / norm).sqrt()
}

#[test]
fn sixteen_bits_are_close_where_an_outlier_takes_the_eight() {
    let (inputs, outputs) = (96, PANEL + 5);
    let (mut x, q, scales) = (numbers(20 * inputs, 5), integers(outputs * inputs, 6), vec![0.01; outputs]);
    let error = |x: &[f32], rounding| {
        let layer = Layer { weight: Weight::pack(&q, &scales, inputs).into(), rounding };
        beside_exact(&layer, x, &q, &scales)
    };
    let plain = error(&x, Rounding::Token8);
    // A channel with large values in every row, as in DeBERTa, and zero weights.
    let q: Vec<i8> = q.iter().enumerate().map(|(i, q)| if i % inputs == 7 { 0 } else { *q }).collect();
    x.iter_mut().skip(7).step_by(inputs).for_each(|v| *v = 300.0);
    let error = |rounding| {
        let layer = Layer { weight: Weight::pack(&q, &scales, inputs).into(), rounding };
        beside_exact(&layer, &x, &q, &scales)
    };
    let (eight, sixteen) = (error(Rounding::Token8), error(Rounding::Token16));
    println!("relative errors: {plain:.1e}; with outliers {eight:.1e}, and in 16 bits {sixteen:.1e}");
    assert!(plain < 0.01 && eight > 0.3 && sixteen < 0.01, "{plain} {eight} {sixteen}");
}

#[test]
fn a_fixed_range_cuts_off_what_is_beyond_it() {
    let weight = Weight::pack(&[100], &[0.01], 1).into();
    let layer = Layer { weight, rounding: Rounding::Fixed(Range { low: -1.0, high: 1.55 }) };
    let y = layer.forward(&[-5.0, -1.0, 0.0, 0.5, 1.55, 9.0], &[0.0]);
    let expected = [-1.0, -1.0, 0.0, 0.5, 1.55, 1.55];
    assert!(y.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{y:?}");
}

#[test]
fn a_row_with_what_is_no_number_gives_none_and_spoils_no_other() {
    let inputs = 40;
    let fixed = Rounding::Fixed(Range { low: -1.0, high: 1.0 });
    for (rounding, bad) in
        [Rounding::Token8, Rounding::Token16, fixed].into_iter().zip([f32::NAN, f32::INFINITY, f32::NAN])
    {
        let layer = Layer { weight: Weight::pack(&integers(3 * inputs, 1), &[1.0; 3], inputs).into(), rounding };
        let mut x = numbers(3 * inputs, 2);
        x[inputs + 39] = bad;
        let y = layer.forward(&x, &[0.0; 3]);
        let none: Vec<bool> = y.iter().map(|y| y.is_nan()).collect();
        assert_eq!(none, [false, false, false, true, true, true, false, false, false], "{rounding:?}");
    }
}

#[test]
fn tiny_values_are_zeros_and_not_infinite() {
    let layer = Layer { weight: Weight::pack(&[1, 2], &[1.0], 2).into(), rounding: Rounding::Token8 };
    assert_eq!(layer.forward(&[1e-42, 0.0], &[3.0]), [3.0]);
}

#[test]
fn packing_loses_nothing() {
    for (outputs, inputs) in [(1, 1), (5, 3), (32, 4), (33, 130)] {
        let (q, scales) = (integers(outputs * inputs, 1), numbers(outputs, 2));
        let weight = Weight::pack(&q, &scales, inputs);
        let floats = weight.to_floats();
        for (at, q) in q.iter().enumerate() {
            let (output, input) = (at / inputs, at % inputs);
            assert_eq!(floats[input * outputs + output], f32::from(*q) * scales[output]);
        }
        assert_eq!(weight.non_zero(), floats.iter().filter(|v| **v != 0.0).count());
    }
}
