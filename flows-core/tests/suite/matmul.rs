//! Matrix products of every form against three loops.

use flows_core::Real;
use flows_core::matmul::{Destination, Matrix, product, product_within};
use flows_core::operation::LANES;

fn ramp(count: usize) -> Vec<f64> {
    (0..count).map(|i| ((i * 37) % 101) as f64 / 50.0 - 1.0).collect()
}

fn plain(a: &[f64], b: &[f64], m: usize, k: usize, n: usize) -> Vec<f64> {
    (0..m * n).map(|e| (0..k).map(|l| a[e / n * k + l] * b[l * n + e % n]).sum()).collect()
}

fn transpose(a: &[f64], rows: usize, columns: usize) -> Vec<f64> {
    (0..rows * columns).map(|e| a[e % rows * columns + e / rows]).collect()
}

#[test]
fn products_of_every_form_agree_with_three_loops() {
    for (m, k, n) in
        [(1, 1, 1), (3, 5, 7), (64, 3, 128), (2, 64, 128), (69, 33, 128), (3, 1, 256), (1, 256, 1)]
    {
        let (a, b) = (ramp(m * k), ramp(k * n));
        let expected = plain(&a, &b, m, k, n);
        let (ta, tb) = (transpose(&a, m, k), transpose(&b, k, n));
        let forms = [
            (Matrix::new(&a, m, k), Matrix::new(&b, k, n)),
            (Matrix::new(&ta, k, m).transposed(), Matrix::new(&b, k, n)),
            (Matrix::new(&a, m, k), Matrix::new(&tb, n, k).transposed()),
        ];
        for (left, right) in forms {
            let mut out = vec![f64::NAN; m * n];
            product(left, right, &mut out, Destination::Replace);
            product(left, right, &mut out, Destination::Add);
            for (got, want) in out.iter().zip(&expected) {
                assert!((got - 2.0 * want).abs() < 1e-12 * k as f64, "{m} {k} {n}");
            }
        }
    }
}

#[test]
fn parts_multiply_like_copies_of_them() {
    let (rows, columns, n) = (9, 7, 4);
    let (a, b) = (ramp(rows * columns), ramp(columns * n));
    let (r, c) = (2..8, 1..6);
    let copy: Vec<f64> = r.clone().flat_map(|i| a[i * columns..][c.clone()].to_vec()).collect();
    let expected = plain(&copy, &b[n..6 * n], 6, 5, n);
    let part = Matrix::new(&a, rows, columns).part(r, c);
    let factor = Matrix::new(&b, columns, n).part(1..6, 0..n);
    let step = n + 3;
    let mut out = vec![f64::NAN; 6 * step];
    product_within(part, factor, &mut out, step, Destination::Replace);
    for (got, want) in out.chunks(step).zip(expected.chunks(n)) {
        assert!(got[..n].iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-12));
        assert!(got[n..].iter().all(|v| v.is_nan()), "beyond the part");
    }
}

/// A matrix whose column j is that of `place(j)` in a table of columns.
fn of_columns<E: Real>(k: usize, n: usize, place: impl Fn(usize) -> usize) -> Vec<E> {
    let value =
        |row: usize, column: usize| ((row * 37 + place(column) * 53) % 101) as f64 / 50.0 - 1.0;
    (0..k * n).map(|e| E::of(value(e / n, e % n))).collect()
}

fn of_columns_at_other_places<E: Real>() {
    for (m, k) in [(1, 1), (1, 10), (2, 2), (7, 3), (20, 128), (64, 10), (70, 45), (128, 300)] {
        let a: Vec<E> = ramp(m * k).into_iter().map(E::of).collect();
        let a = Matrix::new(&a, m, k);
        let multiplied = |n: usize, place: &dyn Fn(usize) -> usize, into| {
            let b = of_columns::<E>(k, n, place);
            // What is added to has columns of the same places.
            let mut out = of_columns::<E>(m, n, place);
            product(a, Matrix::new(&b, k, n), &mut out, into);
            out
        };
        for into in [Destination::Replace, Destination::Add] {
            let all = multiplied(2 * LANES, &|j| j, into);
            for rows in [1, 4, 15, 16, 17, 40, 100, LANES] {
                // The last row again and again, in two blocks side by side.
                let place = |j: usize| j / LANES * LANES + (j % LANES).min(rows - 1);
                let found = multiplied(2 * LANES, &place, into);
                for (found, all) in found.chunks(2 * LANES).zip(all.chunks(2 * LANES)) {
                    for (j, found) in found.iter().enumerate() {
                        assert!(*found == all[place(j)], "{m} {k} {rows} {into:?}: column {j}");
                    }
                }
            }
            for n in [1, 16, 32, 80, LANES] {
                let found = multiplied(n, &|j| n - 1 - j, into);
                for (found, all) in found.chunks(n).zip(all.chunks(2 * LANES)) {
                    let same = found.iter().rev().zip(all).all(|(found, all)| found == all);
                    assert!(same || n == 1, "{m} {k} {n} {into:?}");
                }
            }
        }
    }
}

/// So a row of a batch has the same image in any batch, to the bit.
#[test]
fn a_column_of_the_result_does_not_depend_on_its_place() {
    of_columns_at_other_places::<f32>();
    of_columns_at_other_places::<f64>();
}

#[test]
fn zero_lanes_add_nothing_to_a_sum_over_lanes() {
    let (m, k) = (30, 21);
    for rows in [1, 4, 16, 40, 100] {
        let lane = |e: usize| e % LANES;
        let mut outer = ramp(m * LANES);
        outer.iter_mut().enumerate().filter(|(e, _)| lane(*e) >= rows).for_each(|(_, v)| *v = 0.0);
        let source = ramp(k * LANES);
        let expected = plain(&outer, &transpose(&source, k, LANES), m, LANES, k);
        let mut out = ramp(m * k);
        let turned = Matrix::new(&source, k, LANES).transposed();
        product(Matrix::new(&outer, m, LANES), turned, &mut out, Destination::Add);
        for ((got, before), sum) in out.iter().zip(ramp(m * k)).zip(expected) {
            assert!((got - before - sum).abs() < 1e-12 * LANES as f64, "{rows}");
        }
    }
}
