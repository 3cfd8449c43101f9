//! The doubly reparameterised gradient of functions of importance weights.

use flows_core::{
    Context, Flow, Gradients, Real, Result, Sampled, Stream, Tape, Target, Values, Work,
};

use super::{check, checked};
use crate::annealed::density::FlowDensity;

/// The log-weights of draws and the gradient of minus the sum of their factors times log w, through the
/// draws x = T(u) alone:
///
/// ```text
/// - sum over i of c_i (d log w(x_i) / dx) . dx_i / dtheta
/// ```
///
/// The score of the flow, d log q(x) / dtheta at fixed x, is left out: it is a path gradient too, by the
/// reparameterisation of its expectation, which the factors account for.
///
/// The weights of a mixture base do not move draws and get no gradient.
///
/// # Reference
/// Tucker, Lawson, Gu, Maddison, *Doubly reparameterized gradient estimators for Monte Carlo objectives*,
/// ICLR 2019, Section 3. <https://arxiv.org/abs/1810.04152>
pub(super) fn path_gradient<E: Real>(
    flow: &Flow<E>,
    target: &dyn Target,
    rows: usize,
    rng: &mut Stream,
    factors: impl FnOnce(&[f64]) -> Vec<f64>,
) -> Result<(Vec<f64>, Gradients<E>, Work)> {
    check(flow, target, rows)?;
    let mut tape = Tape::recording();
    let drawn = flow.sample_and_log_prob(rows, &Context::none(), &mut tape, rng)?;
    let Sampled { value: x, penalty, mut work, .. } = drawn;
    let points: Vec<f64> = x.values().iter().map(|v| v.as_f64()).collect();
    let density = FlowDensity::new(flow);
    let (mut q_slopes, mut p_slopes) = (vec![0.0; points.len()], vec![0.0; points.len()]);
    let log_q = density.evaluate(&points, &mut q_slopes)?;
    let log_p = target.evaluate(&points, &mut p_slopes)?;
    work += density.work();
    let log_weights = checked(log_p.iter().zip(&log_q).map(|(p, q)| p - q).collect())?;
    let factors = factors(&log_weights);
    let slopes = p_slopes.chunks(flow.dim()).zip(q_slopes.chunks(flow.dim())).zip(&factors);
    let slopes: Vec<E> = slopes
        .flat_map(|((p, q), factor)| p.iter().zip(q).map(move |(p, q)| E::of(-factor * (p - q))))
        .collect();
    let gradient = tape.backward(|gradients| {
        if let Some(penalty) = &penalty {
            gradients.add(penalty, &vec![E::of(1.0 / rows as f64); rows])?;
        }
        gradients.add(&x, &slopes)
    })?;
    Ok((log_weights, gradient, work))
}
