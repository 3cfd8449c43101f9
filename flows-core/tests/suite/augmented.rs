//! Bounds of an augmented flow whose density is known in closed form.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::tensor::{batch, per_row};
use flows_core::testing::assert_error;
use flows_core::train::{SamplerSource, Source};
use flows_core::{
    Augmented, AugmentedSource, Base, Batch, Bijector, Context, Error, Flow, Mapped, Parameters,
    Result, Stream, Tape, Values, Work, normals, stream,
};

/// (u, v) -> (u, v + s u): a normal with correlated halves, both directions in closed form.
#[derive(Debug)]
struct Shear(f64);

impl Parameters<f64> for Shear {
    fn visit(&self, _: &mut flows_core::parameters::Visitor<'_, f64>) {}

    fn visit_mut(&mut self, _: &mut flows_core::parameters::VisitorMut<'_, f64>) -> Result<()> {
        Ok(())
    }
}

impl Shear {
    /// Without gradients, which nobody asks for here.
    fn map(x: &Batch<f64>, s: f64) -> Result<Mapped<f64>> {
        let moved = x.values().chunks(2).flat_map(|r| [r[0], r[1] + s * r[0]]).collect();
        let log_det = per_row(vec![0.0; x.rows()])?;
        Ok(Mapped::new(batch(moved, x.rows(), 2)?, log_det, Work::default()))
    }
}

impl Bijector<f64> for Shear {
    fn dim(&self) -> usize {
        2
    }

    fn forward(&self, z: &Batch<f64>, _: &Context<f64>, _: &mut Tape<f64>) -> Result<Mapped<f64>> {
        Self::map(z, self.0)
    }

    fn inverse(&self, x: &Batch<f64>, _: &Context<f64>, _: &mut Tape<f64>) -> Result<Mapped<f64>> {
        Self::map(x, -self.0)
    }
}

fn model(shear: f64) -> Augmented<f64> {
    let flow = Flow::new(Base::standard_normal(2), Box::new(Shear(shear))).unwrap();
    Augmented::new(flow, 1).unwrap()
}

/// ln N(x; 0, 1)
fn normal(x: f64) -> f64 {
    -0.5 * x * x - 0.5 * (2.0 * std::f64::consts::PI).ln()
}

#[test]
fn the_bound_is_off_by_the_divergence_and_importance_weights_close_it() {
    // x is N(0, 1); e given x is N(s x, 1), which N(0, 1) misses by (s x)^2 / 2 nats.
    let (shear, draws) = (0.6, 20_000);
    let points = [-1.5, 0.0, 0.8];
    let x = batch(points.to_vec(), 3, 1).unwrap();
    let rng = &mut stream(1, "draws");
    let bounds = model(shear).log_prob_bound(&x, &Context::none(), draws, rng).unwrap();
    for (point, bound) in points.iter().zip(bounds) {
        let gap = 0.5 * (shear * point).powi(2);
        let error = 4.0 * bound.standard_error + 1e-12;
        assert!((bound.lower - (normal(*point) - gap)).abs() < error, "{point}: {bound:?}");
        // The weights have the variance exp((s x)^2) - 1 about their mean.
        let spread = ((shear * point).powi(2).exp() - 1.0).sqrt() / (draws as f64).sqrt();
        let error = 4.0 * spread + 1e-9;
        assert!((bound.importance - normal(*point)).abs() < error, "{point}: {bound:?}");
        // Jensen's inequality, an equality but for rounding where all weights are the same.
        assert!(bound.importance >= bound.lower - 1e-12);
    }
}

#[test]
fn draws_are_those_of_the_flow_without_the_extra_features() {
    let model = model(0.6);
    let (all, _) = model.flow().sample(50, &Context::none(), &mut stream(2, "x")).unwrap();
    let (own, _) = model.sample(50, &Context::none(), &mut stream(2, "x")).unwrap();
    let first: Vec<f64> = all.values().iter().step_by(2).copied().collect();
    assert_eq!(own.values(), first);
}

#[test]
fn a_source_appends_fresh_noise_behind_each_row() {
    let draw = |rows: usize, rng: &mut Stream| normals::<f64>(rows * 2, rng);
    let plain = SamplerSource::new(draw, 2, 5);
    let augmented = AugmentedSource::new(SamplerSource::new(draw, 2, 5), 3, 7);
    assert_eq!(Source::<f64>::dim(&augmented), 5);
    let (inner, outer): (_, flows_core::train::Minibatch<f64>) =
        (plain.minibatch(4, 600).unwrap(), augmented.minibatch(4, 600).unwrap());
    let kept: Vec<f64> = outer.values.chunks(5).flat_map(|row| row[..2].to_vec()).collect();
    assert_eq!(kept, inner.values);
    let noise: Vec<f64> = outer.values.chunks(5).flat_map(|row| row[2..].to_vec()).collect();
    // 1800 draws of N(0, 1): four standard errors of mean and second moment.
    let mean = noise.iter().sum::<f64>() / 1800.0;
    let square = noise.iter().map(|v| v * v).sum::<f64>() / 1800.0;
    assert!(mean.abs() < 4.0 / 1800.0_f64.sqrt(), "{mean}");
    assert!((square - 1.0).abs() < 4.0 * (2.0_f64 / 1800.0).sqrt(), "{square}");
    assert_ne!(outer.values, augmented.minibatch(5, 600).unwrap().values);
    assert_eq!(outer.values, augmented.minibatch(4, 600).unwrap().values);
}

#[test]
fn what_cannot_be_augmented_is_refused() {
    for extra in [0, 2, 9] {
        let flow = Flow::new(Base::standard_normal(2), Box::new(Shear(0.1))).unwrap();
        assert!(matches!(Augmented::new(flow, extra), Err(Error::Parameter { .. })), "{extra}");
    }
    let x = batch(vec![0.0; 2], 1, 2).unwrap();
    let rng = &mut stream(1, "draws");
    assert_error!(
        model(0.1).log_prob_bound(&x, &Context::none(), 3, rng),
        Error::Dimension { op: "augmented flow", expected: 1, got: 2 },
        [],
        "two features"
    );
    let x = batch(vec![0.0], 1, 1).unwrap();
    assert_error!(
        model(0.1).log_prob_bound(&x, &Context::none(), 0, rng),
        Error::Parameter { .. },
        ["draws", "at least 1", "got 0"],
        "no draws"
    );
    let pair = batch(vec![0.0; 2], 1, 2).unwrap();
    assert!(model(0.1).flow().log_prob(&pair, &Context::none(), &mut Tape::none()).is_ok());
}
