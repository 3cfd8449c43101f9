//! Matrix products of every form against three loops.

use flows_core::matmul::{Destination, Matrix, product, product_within};

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
    for (m, k, n) in [(1, 1, 1), (3, 5, 7), (64, 3, 128), (2, 64, 128), (69, 33, 128)] {
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

#[test]
fn a_column_of_the_result_does_not_depend_on_its_place() {
    let (m, k, n) = (70, 45, 128);
    let a: Vec<f32> = ramp(m * k).iter().map(|&v| v as f32).collect();
    let column: Vec<f32> = ramp(k).iter().map(|&v| v as f32).collect();
    let b: Vec<f32> = column.iter().flat_map(|&v| std::iter::repeat_n(v, n)).collect();
    let mut out = vec![0.0; m * n];
    product(Matrix::new(&a, m, k), Matrix::new(&b, k, n), &mut out, Destination::Replace);
    for row in out.chunks(n) {
        assert!(row.iter().all(|v| v.to_bits() == row[0].to_bits()));
    }
}
