//! Minibatch optimal transport: against every permutation, sorting, and a test of optimality.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::matching::{FlowMatching, MinibatchOt, OptimalTransport, Pairing, ProbabilityPath};
use flows_core::{Real, normals, stream};
use rayon::ThreadPoolBuilder;

fn minibatch_ot(group: usize) -> FlowMatching {
    let coupling = Pairing::MinibatchOt(MinibatchOt { group });
    let path = ProbabilityPath::OptimalTransport(OptimalTransport { sigma_min: 0.0 });
    FlowMatching { path, coupling }
}

fn squared_distance(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| (x - y).powi(2)).sum()
}

/// The row of `x0` that each row of `x1` meets: x - s u = x0 where sigma_min = 0.
fn partners<E: Real>(matching: FlowMatching, x0: &[E], x1: &[E], dim: usize) -> Vec<usize> {
    let pairs = matching.draw(x0, x1, dim, &mut stream(4, "times")).unwrap();
    let wide = |x: &[E]| x.iter().map(|x| x.as_f64()).collect::<Vec<f64>>();
    let [x0, points, velocities] = [x0, &pairs.points, &pairs.velocities].map(wide);
    let rows = points.chunks(dim).zip(velocities.chunks(dim)).zip(&pairs.times);
    rows.map(|((x, u), s)| {
        let start: Vec<f64> = x.iter().zip(u).map(|(x, u)| x - s.as_f64() * u).collect();
        let distance = |row: &usize| squared_distance(&x0[row * dim..(row + 1) * dim], &start);
        let nearest = |a: &usize, b: &usize| distance(a).total_cmp(&distance(b));
        (0..x0.len() / dim).min_by(nearest).unwrap()
    })
    .collect()
}

/// All orders of 0 .. n.
fn permutations(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![Vec::new()];
    }
    let shorter = permutations(n - 1);
    let grown = shorter.iter().flat_map(|order| {
        (0..n).map(move |at| {
            let mut order = order.clone();
            order.insert(at, n - 1);
            order
        })
    });
    grown.collect()
}

fn cost(x0: &[f64], x1: &[f64], dim: usize, partners: impl Iterator<Item = usize>) -> f64 {
    let rows = x1.chunks(dim).zip(partners);
    rows.map(|(x1, row)| squared_distance(x1, &x0[row * dim..(row + 1) * dim])).sum()
}

#[test]
fn minibatch_ot_is_the_best_of_all_permutations() {
    const GROUP: usize = 6;
    const ROWS: usize = 45; // The last group has 3.
    for dim in [1, 2, 5] {
        for seed in 0..10 {
            let [x0, x1] =
                ["base", "data"].map(|name| normals::<f64>(ROWS * dim, &mut stream(seed, name)));
            let partners = partners(minibatch_ot(GROUP), &x0, &x1, dim);
            for (index, partners) in partners.chunks(GROUP).enumerate() {
                let first = index * GROUP;
                let rows = first * dim..(first + partners.len()) * dim;
                let (x0, x1) = (&x0[rows.clone()], &x1[rows]);
                let of = |order: &[usize]| cost(x0, x1, dim, order.iter().copied());
                let orders = permutations(partners.len());
                let local: Vec<usize> = partners.iter().map(|row| row - first).collect();
                assert!(orders.contains(&local), "rows move within their group");
                let least = orders.iter().map(|order| of(order)).fold(f64::INFINITY, f64::min);
                // Sums of at most six terms.
                assert!(of(&local) <= least * (1.0 + 1e-14), "{dim} {seed}: {local:?}");
                assert!(of(&local) <= of(&(0..partners.len()).collect::<Vec<_>>()));
            }
        }
    }
}

#[test]
fn minibatch_ot_sorts_in_one_dimension() {
    const GROUP: usize = 100;
    let [x0, x1] = ["base", "data"].map(|name| normals::<f64>(250, &mut stream(5, name)));
    let partners = partners(minibatch_ot(GROUP), &x0, &x1, 1);
    let order = |x: &[f64]| {
        let mut order: Vec<usize> = (0..x.len()).collect();
        order.sort_by(|&a, &b| x[a].total_cmp(&x[b]));
        order
    };
    for first in [0, 100, 200] {
        let rows = first..(first + GROUP).min(250);
        for (a, b) in order(&x0[rows.clone()]).into_iter().zip(order(&x1[rows])) {
            assert_eq!(partners[first + b], first + a);
        }
    }
}

/// An assignment is optimal if and only if no cycle of exchanges gains: shortest paths between all
/// rows by Floyd and Warshall, row i taking what row k has at the difference of its costs.
fn largest_gain(x0: &[f64], x1: &[f64], dim: usize, partners: &[usize]) -> f64 {
    let n = partners.len();
    let row = |x: &[f64], i: usize| x[i * dim..(i + 1) * dim].to_vec();
    let price = |i: usize, k: usize| squared_distance(&row(x1, i), &row(x0, partners[k]));
    let mut change: Vec<Vec<f64>> =
        (0..n).map(|i| (0..n).map(|k| price(i, k) - price(i, i)).collect()).collect();
    for via in 0..n {
        let onward = change[via].clone();
        for from in &mut change {
            let first = from[via];
            for (direct, onward) in from.iter_mut().zip(&onward) {
                *direct = direct.min(first + onward);
            }
        }
    }
    (0..n).map(|i| -change[i][i]).fold(0.0, f64::max)
}

#[test]
fn no_cycle_of_exchanges_gains_in_large_groups() {
    for (dim, distance) in [(2, 0.0), (2, 6.0), (10, 1.0)] {
        let n = 128;
        let x0 = normals::<f64>(n * dim, &mut stream(6, "base"));
        // Three clusters, far from the base or not.
        let shifted = |(i, z): (usize, f64)| 0.2 * z + distance + (i / dim % 3) as f64;
        let z = normals::<f64>(n * dim, &mut stream(6, "data"));
        let x1: Vec<f64> = z.into_iter().enumerate().map(shifted).collect();
        let partners = partners(minibatch_ot(n), &x0, &x1, dim);
        // A cycle of 128 differences of costs below 1000.
        assert!(largest_gain(&x0, &x1, dim, &partners) < 128.0 * 1000.0 * f64::EPSILON);
        let identity: Vec<usize> = (0..n).collect();
        assert!(largest_gain(&x0, &x1, dim, &identity) > 1.0, "the check sees a poor assignment");
    }
}

#[test]
fn ties_and_far_data_are_assigned() {
    for x1 in [vec![0.0; 40], vec![1e150; 40]] {
        let x0 = normals::<f64>(40, &mut stream(7, "base"));
        let pairs = minibatch_ot(20).draw(&x0, &x1, 2, &mut stream(7, "times")).unwrap();
        assert!(pairs.points.iter().all(|x| x.is_finite()));
    }
}

#[test]
fn single_precision_draws_meet_the_same_rows() {
    let [x0, x1] = ["base", "data"].map(|name| normals::<f32>(60, &mut stream(8, name)));
    let wide = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
    let double = partners(minibatch_ot(16), &wide(&x0), &wide(&x1), 2);
    assert_eq!(partners(minibatch_ot(16), &x0, &x1, 2), double);
}

#[test]
fn draws_do_not_depend_on_the_number_of_threads() {
    let [x0, x1] = ["base", "data"].map(|name| normals::<f32>(600, &mut stream(9, name)));
    let drawn = |threads| {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let draw = || minibatch_ot(32).draw(&x0, &x1, 2, &mut stream(9, "times")).unwrap();
        pool.install(draw)
    };
    assert_eq!(drawn(1), drawn(3));
}
