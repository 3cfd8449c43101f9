//! The bridge between residual and continuous flows: the same weights as K residual layers and as
//! an ODE.
//!
//! The review (Section 4) derives continuous flows as residual flows of infinitely many layers: an
//! Euler step z + h f(t, z) is a residual layer, its log-det is h tr J + O(h^2), and so both its value
//! and its log-det tend to those of the ODE like 1 / K. Steps of order 4 tend there like 1 / K^4.
//!
//! Run with `cargo run --release -p flows-continuous --example 02_bridge`.
#![allow(clippy::print_stdout, reason = "an example shows what it found")]

use std::num::NonZeroUsize;

use flows_continuous::{
    Accuracy, Adaptive, Continuous, Divergence, EqualSteps, Field, MlpField, ResidualSteps, Solver,
    TimeInput,
};
use flows_core::activation::Activation;
use flows_core::tensor::batch;
use flows_core::{
    Batch, Bijector, Context, LastLayer, Network, Result, Tape, Values, normals, stream,
};

const TIMES: [f64; 2] = [0.0, 1.0];

/// Slopes are fitted where neither the next order nor rounding shows.
const FITTED: std::ops::RangeInclusive<usize> = 8..=64;

/// Value and log-det of a batch.
type Image = (Vec<f64>, Vec<f64>);

fn image(flow: &dyn Bijector<f64>, z: &Batch<f64>) -> Result<Image> {
    let out = flow.forward(z, &Context::none(), &mut Tape::none())?;
    Ok((out.value.values(), out.log_det.values()))
}

fn ode(field: &Field<f64>, solver: Solver) -> Result<Continuous<f64>> {
    let accuracy = Accuracy { solver, divergence: Divergence::Exact };
    Continuous::new(field.clone(), TIMES, accuracy, accuracy)
}

fn gap(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).fold(0.0, |largest, (a, b)| f64::max(largest, (a - b).abs()))
}

/// Slope of ln gap over ln K by least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    let mean = |f: fn(&(f64, f64)) -> f64| points.iter().map(f).sum::<f64>() / points.len() as f64;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let covariance: f64 = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
    covariance / points.iter().map(|p| (p.0 - x).powi(2)).sum::<f64>()
}

fn main() -> Result<()> {
    let kernel = MlpField::new(2, 0, &[32, 32], Activation::Tanh, TimeInput::Concat)?;
    let field = Network::new(kernel, LastLayer::Random, &mut stream(1, "weights"))?.into();
    let z = batch(normals(2 * 256, &mut stream(1, "points")), 256, 2)?;
    let flow = ode(&field, Solver::Dop853(Adaptive::new(1e-12, 1e-12)))?;
    let (value, log_det) = image(&flow, &z)?;

    println!("largest gap to the ODE; `trace`: from the log-det of the layers to that of Euler");
    println!("   K  layers: value  log-det    trace   RK4: value  log-det");
    let mut fits = vec![Vec::new(); 5];
    for steps in (0..=8).filter_map(|power| NonZeroUsize::new(1 << power)) {
        let layers = ResidualSteps::new(flow.field().clone(), TIMES, steps)?;
        let layers = image(&layers, &z)?;
        let euler = image(&ode(&field, Solver::Euler(EqualSteps { steps }))?, &z)?;
        let rk4 = image(&ode(&field, Solver::Rk4(EqualSteps { steps }))?, &z)?;
        let gaps = [
            gap(&layers.0, &value),
            gap(&layers.1, &log_det),
            gap(&layers.1, &euler.1),
            gap(&rk4.0, &value),
            gap(&rk4.1, &log_det),
        ];
        let [a, b, c, d, e] = gaps;
        println!("{steps:4}       {a:8.1e} {b:8.1e} {c:8.1e}     {d:8.1e} {e:8.1e}");
        for (fit, gap) in fits.iter_mut().zip(gaps) {
            if FITTED.contains(&steps.get()) {
                fit.push(((steps.get() as f64).ln(), gap.ln()));
            }
        }
    }
    let slopes: Vec<f64> = fits.iter().map(|fit| slope(fit)).collect();
    println!(
        "slope      {:8.2} {:8.2} {:8.2}     {:8.2} {:8.2}",
        slopes[0], slopes[1], slopes[2], slopes[3], slopes[4]
    );
    Ok(())
}
