//! Splines in plain double precision, written from the papers' formulas.

use flows_finite::Tails;

pub(super) const BOUND: f64 = 2.5;
const SMALLEST: f64 = 1e-3;
pub(super) const TAILS: [Tails; 3] = [Tails::Identity, Tails::Linear, Tails::Circular];

fn softmax(raw: &[f64]) -> Vec<f64> {
    let total: f64 = raw.iter().map(|r| r.exp()).sum();
    raw.iter().map(|r| r.exp() / total).collect()
}

fn sizes(raw: &[f64]) -> Vec<f64> {
    let rest = 1.0 - SMALLEST * raw.len() as f64;
    softmax(raw).iter().map(|p| 2.0 * BOUND * (SMALLEST + rest * p)).collect()
}

fn sigmoid(r: f64) -> f64 {
    1.0 / (1.0 + (-r).exp())
}

/// Slopes at all knots from those that are learned.
fn spread(mut learned: Vec<f64>, tails: Tails) -> Vec<f64> {
    match tails {
        Tails::Identity => [vec![1.0], learned, vec![1.0]].concat(),
        Tails::Linear => learned,
        Tails::Circular => {
            learned.push(learned[0]);
            learned
        }
    }
}

fn softplus_slopes(raw: &[f64], tails: Tails) -> Vec<f64> {
    spread(raw.iter().map(|r| SMALLEST + r.exp().ln_1p()).collect(), tails)
}

/// A spline as widths, heights, slopes and what else its bins have.
pub(super) struct Plain {
    widths: Vec<f64>,
    heights: Vec<f64>,
    slopes: Vec<f64>,
    shapes: Vec<f64>,
}

/// Value above the left knot and slope, at u beyond it, given width, height, both slopes and shape.
pub(super) type Piece = fn(f64, [f64; 5]) -> (f64, f64);

impl Plain {
    pub(super) fn at(&self, x: f64, piece: Piece, tails: Tails) -> (f64, f64) {
        let x =
            if tails == Tails::Circular { (x + BOUND).rem_euclid(2.0 * BOUND) - BOUND } else { x };
        let last = self.widths.len();
        if x < -BOUND {
            return (-BOUND + self.slopes[0] * (x + BOUND), self.slopes[0].ln());
        }
        if x > BOUND {
            return (BOUND + self.slopes[last] * (x - BOUND), self.slopes[last].ln());
        }
        let (mut left, mut bottom) = (-BOUND, -BOUND);
        for k in 0..last {
            let (w, h) = (self.widths[k], self.heights[k]);
            if x <= left + w || k + 1 == last {
                let all = [w, h, self.slopes[k], self.slopes[k + 1], self.shapes[k]];
                let (value, slope) = piece(x - left, all);
                return (bottom + value, slope.ln());
            }
            left += w;
            bottom += h;
        }
        unreachable!()
    }
}

pub(super) fn linear(raw: &[f64], _: usize, _: Tails) -> Plain {
    let k = raw.len();
    let widths = vec![2.0 * BOUND / k as f64; k];
    Plain { widths, heights: sizes(raw), slopes: vec![1.0; k + 1], shapes: vec![0.0; k] }
}

pub(super) fn linear_piece(u: f64, [w, h, ..]: [f64; 5]) -> (f64, f64) {
    (h / w * u, h / w)
}

pub(super) fn quadratic(raw: &[f64], bins: usize, tails: Tails) -> Plain {
    let widths = sizes(&raw[..bins]);
    let area = |v: &[f64]| -> f64 { (0..bins).map(|k| widths[k] * (v[k] + v[k + 1]) / 2.0).sum() };
    // Bisection for the one factor with which the area is that of the interval.
    let at = |factor: f64| {
        spread(raw[bins..].iter().map(|r| SMALLEST + factor * r.exp()).collect(), tails)
    };
    let (mut low, mut high) = (0.0, 1e9);
    for _ in 0..200 {
        let middle = (low + high) / 2.0;
        if area(&at(middle)) < 2.0 * BOUND { low = middle } else { high = middle }
    }
    let slopes = at(low);
    let heights = (0..bins).map(|k| widths[k] * (slopes[k] + slopes[k + 1]) / 2.0).collect();
    Plain { widths, heights, slopes, shapes: vec![0.0; bins] }
}

pub(super) fn quadratic_piece(u: f64, [w, _, left, right, _]: [f64; 5]) -> (f64, f64) {
    let alpha = u / w;
    let value = alpha * alpha / 2.0 * (right - left) * w + alpha * left * w;
    (value, left + alpha * (right - left))
}

pub(super) fn cubic(raw: &[f64], bins: usize, tails: Tails) -> Plain {
    let widths = sizes(&raw[..bins]);
    let mut smallest = vec![2.0 * BOUND * SMALLEST; bins];
    if tails == Tails::Identity {
        (smallest[0], smallest[bins - 1]) = (0.35 * widths[0], 0.35 * widths[bins - 1]);
    }
    let room = 2.0 * BOUND - smallest.iter().sum::<f64>();
    let parts = softmax(&raw[bins..2 * bins]);
    let heights: Vec<f64> = (0..bins).map(|k| smallest[k] + room * parts[k]).collect();
    let secants: Vec<f64> = (0..bins).map(|k| heights[k] / widths[k]).collect();
    let steffen = |i: usize, j: usize| {
        let p = (secants[i] * widths[j] + secants[j] * widths[i]) / (widths[i] + widths[j]);
        2.0 * secants[i].min(secants[j]).min(p / 2.0)
    };
    let mut slopes = vec![1.0];
    slopes.extend((1..bins).map(|k| steffen(k - 1, k)));
    slopes.push(1.0);
    let end = |r: f64| 1e-3 + 2.998 * sigmoid(r);
    match tails {
        Tails::Identity => {}
        Tails::Linear => {
            slopes[0] = secants[0] * end(raw[2 * bins]);
            slopes[bins] = secants[bins - 1] * end(raw[2 * bins + 1]);
        }
        Tails::Circular => (slopes[0], slopes[bins]) = (steffen(bins - 1, 0), steffen(bins - 1, 0)),
    }
    Plain { widths, heights, slopes, shapes: vec![0.0; bins] }
}

/// Steffen's coefficients in powers of u.
pub(super) fn cubic_piece(u: f64, [w, h, left, right, _]: [f64; 5]) -> (f64, f64) {
    let s = h / w;
    let a = (left + right - 2.0 * s) / (w * w);
    let b = (3.0 * s - 2.0 * left - right) / w;
    (((a * u + b) * u + left) * u, (3.0 * a * u + 2.0 * b) * u + left)
}

pub(super) fn rational_quadratic(raw: &[f64], bins: usize, tails: Tails) -> Plain {
    let (widths, heights) = (sizes(&raw[..bins]), sizes(&raw[bins..2 * bins]));
    let slopes = softplus_slopes(&raw[2 * bins..], tails);
    Plain { widths, heights, slopes, shapes: vec![0.0; bins] }
}

pub(super) fn rational_quadratic_piece(u: f64, [w, h, left, right, _]: [f64; 5]) -> (f64, f64) {
    let (xi, s) = (u / w, h / w);
    let (q, r) = (xi * (1.0 - xi), 1.0 - xi);
    let den = s + (right + left - 2.0 * s) * q;
    let slope = s * s * (right * xi * xi + 2.0 * s * q + left * r * r) / (den * den);
    (h * (s * xi * xi + left * q) / den, slope)
}

pub(super) fn linear_rational(raw: &[f64], bins: usize, tails: Tails) -> Plain {
    let (free, cuts) = raw.split_at(raw.len() - bins);
    let shapes = cuts.iter().map(|r| 0.025 + 0.95 * sigmoid(*r)).collect();
    Plain { shapes, ..rational_quadratic(free, bins, tails) }
}

/// The paper's weights w_a = 1, w_b, w_c, the height y_c of the cut, and its two ratios.
pub(super) fn linear_rational_piece(u: f64, [w, h, da, db, cut]: [f64; 5]) -> (f64, f64) {
    let phi = u / w;
    let (wa, wb) = (1.0, (da / db).sqrt());
    let wc = (cut * wa * da + (1.0 - cut) * wb * db) * w / h;
    let yc = cut * wb * h / ((1.0 - cut) * wa + cut * wb);
    if phi <= cut {
        let den = wa * (cut - phi) + wc * phi;
        (wc * yc * phi / den, cut * wa * wc * yc / (den * den) / w)
    } else {
        let den = wc * (1.0 - phi) + wb * (phi - cut);
        let value = (wc * yc * (1.0 - phi) + wb * h * (phi - cut)) / den;
        (value, (1.0 - cut) * wb * wc * (h - yc) / (den * den) / w)
    }
}
