//! Gaussian mixtures: bases with several modes (review, Section 5.5).

mod expectation;
mod log_density;

use rand::RngExt;

use crate::lanes::named_mut;
use crate::layout::{HasLayout, Layout};
use crate::operation::{LANES, Recorded};
use crate::{Distribution, Error, Real, Result, Scratch, Stream, normals};

/// A Gaussian mixture of K components in d dimensions; tensors: logits `(1, K)`, location and
/// log-scale `(K, d)`.
#[derive(Debug)]
pub(super) struct Mixture {
    dim: usize,
    components: usize,
}

impl Mixture {
    pub(super) fn new(dim: usize, components: usize) -> Result<Self> {
        if components == 0 {
            let name = "components of a mixture";
            return Err(Error::Parameter { name, requirement: "at least 1", value: 0.0 });
        }
        Ok(Self { dim, components })
    }
}

impl HasLayout for Mixture {
    fn layout(&self) -> Vec<Layout> {
        let (k, dim) = (self.components, self.dim);
        let tensors = [("logits", 1, k), ("location", k, dim), ("log_scale", k, dim)];
        tensors.map(|(name, rows, columns)| Layout::zeros(name, rows, columns)).to_vec()
    }
}

/// ln w = log-softmax of the logits.
fn log_weights(logits: &[f64]) -> Vec<f64> {
    let total = expectation::log_sum_exp(logits);
    logits.iter().map(|logit| logit - total).collect()
}

impl<E: Real> Distribution<E> for Mixture {
    fn dim(&self) -> usize {
        self.dim
    }

    fn start(&self, rng: &mut Stream) -> Vec<Vec<f64>> {
        let (k, entries) = (self.components, self.components * self.dim);
        vec![vec![0.0; k], normals(entries, rng), vec![0.0; entries]]
    }

    fn log_density(&self, z: &[E], parameters: &[&[E]], scratch: &mut Scratch, sums: &mut [E]) {
        log_density::forward(z, parameters, scratch.or_default(), sums);
    }

    fn pull_log_density(
        &self,
        at: Recorded<'_, E>,
        outer: &[E],
        d_z: &mut [E],
        d_parameters: &mut [&mut [E]],
    ) {
        log_density::pull(at, outer, d_z, d_parameters);
    }

    /// d standard normals and the index of a component.
    fn noise_width(&self) -> usize {
        self.dim + 1
    }

    fn noise(&self, rows: usize, parameters: &[Vec<E>], rng: &mut Stream) -> Vec<E> {
        let logits: Vec<f64> = parameters[0].iter().map(|v| v.as_f64()).collect();
        let weights: Vec<f64> = log_weights(&logits).into_iter().map(f64::exp).collect();
        let component = |rng: &mut Stream| {
            let mut left: f64 = rng.random();
            let mut passed = |weight: &f64| {
                left -= weight;
                left >= 0.0
            };
            // If rounded weights sum to less than 1, the last component takes the rest.
            E::of(weights.iter().position(|w| !passed(w)).unwrap_or(weights.len() - 1) as f64)
        };
        let mut noise = Vec::with_capacity(rows * (self.dim + 1));
        // Row by row, so that fewer draws are the first ones of more.
        for _ in 0..rows {
            let component = component(rng);
            noise.extend(normals::<E>(self.dim, rng));
            noise.push(component);
        }
        noise
    }

    fn draw(&self, noise: &[E], parameters: &[&[E]], z: &mut [E]) {
        let (normals, components) = noise.split_at(self.dim * LANES);
        let features = normals.chunks_exact(LANES).zip(z.chunks_exact_mut(LANES));
        for (i, (noise, z)) in features.enumerate() {
            for ((z, &noise), &k) in z.iter_mut().zip(noise).zip(components) {
                let at = k.as_f64() as usize * self.dim + i;
                *z = noise * parameters[2][at].exp() + parameters[1][at];
            }
        }
    }

    /// For fixed u and k: d/dm_k = g, d/ds_k = g u e^s_k.
    fn pull_draw(
        &self,
        noise: &[E],
        parameters: &[&[E]],
        outer: &[E],
        d_parameters: &mut [&mut [E]],
    ) {
        let [_, d_location, d_log_scale] = named_mut(d_parameters);
        let (normals, components) = noise.split_at(self.dim * LANES);
        let features = normals.chunks_exact(LANES).zip(outer.chunks_exact(LANES));
        for (i, (noise, outer)) in features.enumerate() {
            for ((&noise, &outer), &k) in noise.iter().zip(outer).zip(components) {
                let at = k.as_f64() as usize * self.dim + i;
                d_location[at] += outer;
                d_log_scale[at] += outer * noise * parameters[2][at].exp();
            }
        }
    }

    /// The logits.
    fn unmoved(&self) -> Option<usize> {
        Some(0)
    }

    fn fit(&self, z: &[f64], now: Vec<Vec<f64>>) -> Result<Vec<Vec<f64>>> {
        let [logits, location, log_scale]: [Vec<f64>; 3] = std::array::from_fn(|i| now[i].clone());
        let now =
            expectation::Components { log_weights: log_weights(&logits), location, log_scale };
        let best = expectation::fit(z, self.dim, now)?;
        Ok(vec![best.log_weights, best.location, best.log_scale])
    }
}
