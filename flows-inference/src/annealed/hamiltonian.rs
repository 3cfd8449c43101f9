//! Hamiltonian transitions of many chains at once.

use flows_core::{Result, Stream, normals};
use rand::RngExt;

use super::path::{GeometricPath, States};

/// A Hamiltonian transition that leaves f^(1-t) g^t invariant, t is `at`, with identity mass.
#[derive(Clone, Copy)]
pub(super) struct Hamiltonian {
    pub(super) at: f64,
    pub(super) step_size: f64,
    pub(super) leapfrog_steps: usize,
}

/// Moves every state by one trajectory, accepted or not; the mean probability of acceptance.
///
/// # Reference
/// Neal, *MCMC using Hamiltonian dynamics*, Handbook of Markov Chain Monte Carlo, 2011, Section 5.3.
pub(super) fn transition(
    path: &GeometricPath<'_>,
    settings: Hamiltonian,
    states: &mut States,
    rng: &mut Stream,
) -> Result<f64> {
    let Hamiltonian { at, step_size, leapfrog_steps } = settings;
    let rows = states.from.len();
    let start: Vec<f64> = normals(states.points.len(), rng);
    let mut momenta = start.clone();
    let mut proposed = states.clone();
    for _ in 0..leapfrog_steps {
        kick(&mut momenta, 0.5 * step_size, &proposed, at);
        let mut points = std::mem::take(&mut proposed.points);
        points.iter_mut().zip(&momenta).for_each(|(x, p)| *x += step_size * p);
        let stopped = states.hold_runaways(&mut points);
        proposed = path.evaluate(points)?;
        for row in stopped {
            // The trajectory has left what numbers can hold: it is rejected.
            proposed.to[row] = f64::NEG_INFINITY;
            momenta[row * states.dim] = f64::INFINITY;
        }
        kick(&mut momenta, 0.5 * step_size, &proposed, at);
    }
    let kinetic = |momenta: &[f64]| 0.5 * momenta.iter().map(|p| p * p).sum::<f64>();
    let (before, after) = (states.log_density(at), proposed.log_density(at));
    let mut total = 0.0;
    for row in 0..rows {
        let columns = row * states.dim..(row + 1) * states.dim;
        let change = after[row] - before[row] + kinetic(&start[columns.clone()])
            - kinetic(&momenta[columns]);
        // A chain that starts where the density is zero goes wherever it is not.
        let probability = match (before[row], after[row]) {
            (_, f64::NEG_INFINITY) => 0.0,
            (f64::NEG_INFINITY, _) => 1.0,
            _ if change.is_nan() => 0.0,
            _ => change.exp().min(1.0),
        };
        let uniform: f64 = rng.random();
        if uniform < probability {
            states.replace(row, &proposed);
        }
        total += probability;
    }
    Ok(total / rows as f64)
}

fn kick(momenta: &mut [f64], step: f64, states: &States, at: f64) {
    momenta.iter_mut().zip(states.slopes(at)).for_each(|(p, slope)| *p += step * slope);
}
