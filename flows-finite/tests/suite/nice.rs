//! NICE leaves the normal that its couplings start from, where features are uncorrelated.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::train::{AdamConfig, Budget, SamplerSource, TrainConfig, Trainer};
use flows_core::{Architecture, Base, Context, Flow, Stream, stream};
use flows_finite::architecture::{Conditioner, CouplingFlow};
use rand::RngExt;

/// Eight narrow modes on a circle: every feature is symmetric whatever the other one is.
fn modes(rows: usize, rng: &mut Stream) -> Vec<f64> {
    let mut values = Vec::with_capacity(2 * rows);
    for _ in 0..rows {
        let angle = std::f64::consts::FRAC_PI_4 * f64::from(rng.random_range(0..8_u32));
        for side in [angle.cos(), angle.sin()] {
            values.push(1.4 * side + rng.random_range(-0.2..0.2));
        }
    }
    values
}

/// Mean negative log-likelihood after training.
fn trained(flow: CouplingFlow) -> f64 {
    let flow = CouplingFlow { conditioner: Conditioner::perceptron(vec![32; 3]), ..flow };
    let chain = flow.build::<f64>(2, 0, &mut stream(3, "init")).unwrap();
    let flow = Flow::new(Base::standard_normal(2), Box::new(chain)).unwrap();
    let optimiser = AdamConfig { learning_rate: 5e-3, ..AdamConfig::default() };
    let config = TrainConfig { optimiser, batch_rows: 256, ..TrainConfig::default() };
    let trainer = Trainer::new(flow, config, Budget::Steps { steps: 600 }, 1).unwrap();
    let flow = trainer.fit(&SamplerSource::new(modes, 2, 5)).unwrap();
    let rows = modes(4_000, &mut stream(9, "test"));
    let (log_prob, _) = flow.evaluate(&rows, &Context::none()).unwrap();
    -log_prob.iter().sum::<f64>() / log_prob.len() as f64
}

#[test]
fn a_random_start_leaves_the_symmetric_point() {
    // Both features have variance 0.98 + 0.4^2 / 12 and no correlation: the best normal.
    let normal = 1.0 + (2.0 * std::f64::consts::PI * (0.98 + 0.16 / 12.0)).ln();
    let nice = trained(CouplingFlow::nice());
    eprintln!("normal {normal:.4}, NICE {nice:.4}");
    assert!(nice < normal - 1.0, "{nice} {normal}");
}
