//! Both estimators of the gradient of the reverse divergence, through finite flows of learned bases.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::tensor::{batch, set_values};
use flows_core::testing::perturb;
use flows_core::{
    Architecture, Base, Bijector, Chain, Context, Estimator, Flow, Gradients, Layer, Parameters,
    Role, Tape, Target, Values, forward_kl, reverse_kl, stream,
};
use flows_finite::ActNorm;
use flows_finite::architecture::{
    Conditioner, CouplingFlow, RationalQuadraticConfig, SplineConfig, TransformerConfig,
};

const ROWS: usize = 20;

/// A crescent: exp(-(|x| - 2)^2 / 0.4 - (x_1 - 1)^2 / 8).
#[derive(Debug)]
struct Crescent;

impl Target for Crescent {
    fn dim(&self) -> usize {
        2
    }

    fn log_density(&self, x: &[f64], gradient: &mut [f64]) -> f64 {
        let radius = x[0].hypot(x[1]);
        for i in 0..2 {
            gradient[i] = -5.0 * (radius - 2.0) * x[i] / radius;
        }
        gradient[0] -= 0.25 * (x[0] - 1.0);
        -2.5 * (radius - 2.0).powi(2) - (x[0] - 1.0).powi(2) / 8.0
    }
}

fn flows() -> Vec<(&'static str, Flow<f64>)> {
    let conditioner = Conditioner::perceptron(vec![5]);
    let rng = &mut stream(1, "init");
    let real_nvp =
        CouplingFlow { layers: 2, conditioner: conditioner.clone(), ..CouplingFlow::real_nvp() };
    let transformer =
        RationalQuadraticConfig(SplineConfig { bins: 4, ..SplineConfig::default() }).shared();
    let spline = CouplingFlow { layers: 2, conditioner, transformer, ..CouplingFlow::nsf() };
    let all = [
        ("real-nvp", Base::full_normal(2).unwrap(), real_nvp.build(2, 0, rng).unwrap()),
        ("nsf-coupling", Base::student_t(2, 4.0).unwrap(), spline.build(2, 0, rng).unwrap()),
    ];
    let finished = |(name, base, chain)| {
        let mut flow = Flow::new(base, Box::new(chain)).unwrap();
        perturb(&mut flow, 0.2, &mut stream(2, "perturb")).unwrap();
        (name, flow)
    };
    all.into_iter().map(finished).collect()
}

fn learned(flow: &Flow<f64>, gradients: &mut Gradients<f64>) -> Vec<(String, Vec<f64>)> {
    let mut all = Vec::new();
    flow.visit(&mut |part, role, tensor| {
        if role == Role::Learned {
            all.push((part.to_owned(), gradients.take(tensor).unwrap()));
        }
    });
    all
}

/// Value and gradient over the same draws every time.
fn estimate(flow: &Flow<f64>, beta: f64, by: Estimator) -> (f64, Vec<(String, Vec<f64>)>) {
    let (tape, rng) = (Tape::recording(), &mut stream(3, "draws"));
    let mut loss =
        reverse_kl(flow, &Crescent, ROWS, beta, by, (&Context::none(), tape), rng).unwrap();
    (loss.value, learned(flow, &mut loss.gradient))
}

fn nudge(flow: &mut Flow<f64>, part: &str, at: usize, by: f64) {
    let result = flow.visit_mut(&mut |this, _, tensor| {
        if this != part {
            return Ok(());
        }
        let mut values = tensor.values();
        values[at] += by;
        set_values(tensor, &values)
    });
    result.unwrap();
}

#[test]
fn the_reparameterised_gradient_agrees_with_differences() {
    for (name, mut flow) in flows() {
        let (_, all) = estimate(&flow, 0.7, Estimator::Reparameterised);
        let mut norm = 0.0_f64;
        for (part, slopes) in all {
            for (i, exact) in slopes.iter().enumerate() {
                let mut at = |by: f64| {
                    nudge(&mut flow, &part, i, by);
                    let value = estimate(&flow, 0.7, Estimator::Reparameterised).0;
                    nudge(&mut flow, &part, i, -by);
                    value
                };
                // Step 1e-5: 1e-10 times third derivatives up to some hundreds, rounding of 1e-10.
                let numerical = (at(1e-5) - at(-1e-5)) / 2e-5;
                let error = (exact - numerical).abs();
                assert!(error < 1e-6 * (1.0 + numerical.abs()), "{name} {part} {i}: {exact}");
                norm = norm.hypot(*exact);
            }
        }
        assert!(norm > 0.1, "{name}: no gradient arrived");
    }
}

#[test]
fn the_path_gradient_is_the_other_one_without_the_score() {
    // d/dtheta log q(x(theta); theta) is the path's part and the score at x, which is minus the
    // gradient of the negative log-likelihood of the draws.
    for (name, flow) in flows() {
        let (value, reparameterised) = estimate(&flow, 0.7, Estimator::Reparameterised);
        let (same, path) = estimate(&flow, 0.7, Estimator::Path);
        assert_eq!(value, same, "{name}");
        let rng = &mut stream(3, "draws");
        let (x, _) = flow.sample(ROWS, &Context::none(), rng).unwrap();
        let score = forward_kl(&flow, &x, &Context::none(), Tape::recording());
        let score = learned(&flow, &mut score.unwrap().gradient);
        for ((part, path), ((_, whole), (_, score))) in
            path.iter().zip(reparameterised.iter().zip(&score))
        {
            for ((path, whole), score) in path.iter().zip(whole).zip(score) {
                let error = (path - (whole + score)).abs();
                // Slopes of order ten through both directions, whose round trip is 1e-14 off.
                assert!(error < 1e-10 * (1.0 + whole.abs()), "{name} {part}: {path} {whole}");
            }
        }
    }
}

/// N(m, diag(s^2)).
#[derive(Debug)]
struct Normals([[f64; 2]; 2]);

impl Target for Normals {
    fn dim(&self) -> usize {
        2
    }

    fn log_density(&self, x: &[f64], gradient: &mut [f64]) -> f64 {
        let mut total = 0.0;
        for i in 0..2 {
            let [m, s] = self.0[i];
            gradient[i] = -(x[i] - m) / (s * s);
            total += -0.5 * ((x[i] - m) / s).powi(2);
        }
        total
    }
}

#[test]
fn an_affine_flow_on_its_own_density_has_no_path_gradient() {
    let mut layer = Layer::new(ActNorm::new(2), &mut stream(1, "init")).unwrap();
    perturb(&mut layer, 0.5, &mut stream(4, "perturb")).unwrap();
    let image = |z: [f64; 2]| {
        let z = batch(z.to_vec(), 1, 2).unwrap();
        layer.forward(&z, &Context::none(), &mut Tape::none()).unwrap().value.values()
    };
    let (origin, one) = (image([0.0; 2]), image([1.0; 2]));
    let target = Normals([0, 1].map(|i| [origin[i], one[i] - origin[i]]));
    let chain = Chain::new(2, vec![Box::new(layer)]).unwrap();
    let flow = Flow::new(Base::standard_normal(2), Box::new(chain)).unwrap();
    for seed in 0..20 {
        for rows in [1, 5, 200] {
            let (tape, rng) = (Tape::recording(), &mut stream(seed, "draws"));
            let by = Estimator::Path;
            let loss = reverse_kl(&flow, &target, rows, 1.0, by, (&Context::none(), tape), rng);
            let all = learned(&flow, &mut loss.unwrap().gradient);
            let flat = all.iter().flat_map(|(_, slopes)| slopes).all(|g| g.abs() < 1e-13);
            assert!(flat, "{all:?}");
        }
    }
}
