//! Transformers at given points under one set of parameters.

use flows_core::operation::LANES;
use flows_core::{Real, Result, normals, stream};
use flows_finite::Transformer;

/// Raw parameters of spread `scale` around the start.
pub(crate) fn raw(map: &dyn Transformer<f64>, seed: u64, scale: f64) -> Vec<f64> {
    let noise = normals::<f64>(map.arity(), &mut stream(seed, "raw"));
    map.initial().iter().zip(noise).map(|(start, n)| start + scale * n).collect()
}

pub(crate) fn repeated<E: Real>(raw: &[f64]) -> Vec<E> {
    raw.iter().flat_map(|&p| vec![E::of(p); LANES]).collect()
}

/// Values and log-slopes at up to LANES points under one set of parameters, and the iterations.
pub(crate) fn at<E: Real>(
    map: &dyn Transformer<E>,
    raw: &[f64],
    points: &[f64],
    inverse: bool,
) -> Result<(Vec<f64>, Vec<f64>, u64)> {
    let theta: Vec<E> = repeated(raw);
    let mut input = vec![E::zero(); LANES];
    for (input, &point) in input.iter_mut().zip(points) {
        *input = E::of(point);
    }
    let (mut value, mut slope) = (vec![E::zero(); LANES], vec![E::zero(); LANES]);
    let mut iterations = 0;
    if inverse {
        iterations = map.inverse(&input, &theta, &mut value, &mut slope)?;
    } else {
        map.forward(&input, &theta, &mut value, &mut slope)?;
    }
    let wide = |values: &[E]| values[..points.len()].iter().map(|v| v.as_f64()).collect();
    Ok((wide(&value), wide(&slope), iterations))
}
