//! C7: gradients of both divergences from draws are unbiased (review, Sections 2.3.1 and 2.3.2).

use anyhow::Result;
use flows_bench::targets::KnownTarget;
use flows_core::activation::Activation;
use flows_core::tensor::{batch, cast, set_values};
use flows_core::testing::perturb;
use flows_core::{
    Architecture, Base, Context, Estimator, Flow, Loss, Parameters, Stream, Tape, Target, Values,
    forward_kl, normals, reverse_kl, stream,
};
use flows_finite::architecture::{Conditioner, CouplingFlow, Perceptron};
use flows_report::Estimate;
use flows_report::finding::{Cell, Criterion, Findings, Table};
use flows_report::grid::centres;

use crate::helper::statistics::larger;
use crate::{Check, Claim, Setting};

pub(crate) const C7: Claim = Claim {
    id: "C7",
    title: "Unbiased gradients of both divergences",
    review: "The forward divergence is fitted by the gradient of the mean log-likelihood of draws of \
             the target, the reverse divergence by the gradient through reparameterised draws of the \
             flow; both are unbiased (Sections 2.3.1 and 2.3.2).",
    method: "Two smooth affine couplings against the cross, in f64: the mean over minibatches of the \
             gradient along random directions of all weights, against central differences of the \
             exact divergence by quadrature over the plane. For the reverse divergence by the \
             reparameterised and by the path gradient.",
    check: Check::Run(check),
};

const TARGET: KnownTarget = KnownTarget::Cross;

/// The divergence is integrated over this square: ten standard deviations of target and flow, with
/// a step of a quarter of the smallest of them, where the midpoint rule is exact to rounding.
const WINDOW: [f64; 4] = [-20.0, 20.0, -20.0, 20.0];
const CELLS: usize = 520;

/// Step of the differences: its square times third derivatives is far below the standard errors.
const STEP: f64 = 1e-4;

const DIRECTIONS: usize = 4;
const ROWS: usize = 64;

/// Twelve comparisons of a standard normal exceed this once in a thousand runs.
const STANDARD_ERRORS: f64 = 4.0;

fn check(setting: &Setting) -> Result<Findings> {
    let batches = setting.either(2_000, 10_000);
    let flow = flow(setting.seed)?;
    let directions: Vec<Vec<f64>> = (0..DIRECTIONS)
        .map(|i| direction(&flow, &mut stream(setting.seed, &format!("direction {i}"))))
        .collect();
    let points = centres(WINDOW, CELLS);
    let log_p = TARGET.log_densities(&points)?;
    let exact: Vec<[f64; 2]> = directions
        .iter()
        .map(|along| slopes(along, (&points, &log_p), setting.seed))
        .collect::<Result<_>>()?;
    let mut findings = Findings::default();
    let mut table = Table::new(
        &format!("Slopes along random directions: mean over {batches} batches of {ROWS} draws."),
        &[
            "gradient",
            "direction",
            "mean of batches (nats)",
            "quadrature (nats)",
            "standard errors apart",
        ],
    );
    for kind in Kind::ALL {
        let mut rng = stream(setting.seed, kind.name());
        let mut samples = vec![Vec::new(); DIRECTIONS];
        for _ in 0..batches {
            let gradient = kind.gradient(&flow, &mut rng)?;
            for (samples, along) in samples.iter_mut().zip(&directions) {
                samples.push(gradient.iter().zip(along).map(|(g, v)| g * v).sum::<f64>());
            }
        }
        let mut worst = 0.0_f64;
        for (index, samples) in samples.iter().enumerate() {
            let found = Estimate::of(samples.iter().copied());
            let truth = exact[index][usize::from(kind != Kind::Forward)];
            let apart = (found.mean - truth).abs() / found.standard_error;
            // `max` would lose NaN.
            worst = larger(worst, apart);
            let estimate = Cell::from((found.mean, found.standard_error));
            table.row([
                kind.name().into(),
                (index + 1).into(),
                estimate,
                truth.into(),
                apart.into(),
            ]);
        }
        findings.demand(
            &format!("{}: largest distance from the exact slope (standard errors)", kind.name()),
            (worst, None),
            Criterion::AtMost(STANDARD_ERRORS),
            "twelve standard normals stay below it but for once in a thousand runs",
        );
    }
    findings.tables.push(table);
    Ok(findings)
}

/// A gradient from a minibatch.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Forward,
    Reparameterised,
    Path,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Forward, Self::Reparameterised, Self::Path];

    fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward KL, likelihood",
            Self::Reparameterised => "reverse KL, reparameterised",
            Self::Path => "reverse KL, path",
        }
    }

    fn gradient(self, flow: &Flow<f64>, rng: &mut Stream) -> Result<Vec<f64>> {
        let (none, tape) = (Context::none(), Tape::recording());
        let Loss { gradient: mut gradients, .. } = match self {
            Self::Forward => {
                let x = batch(cast(&TARGET.sample(ROWS, rng)), ROWS, 2)?;
                forward_kl(flow, &x, &none, tape)?
            }
            Self::Reparameterised => {
                let estimator = Estimator::Reparameterised;
                reverse_kl(flow, &TARGET, ROWS, 1.0, estimator, (&none, tape), rng)?
            }
            Self::Path => {
                reverse_kl(flow, &TARGET, ROWS, 1.0, Estimator::Path, (&none, tape), rng)?
            }
        };
        let mut all = Vec::new();
        for tensor in learned(flow) {
            all.extend_from_slice(gradients.of(&tensor)?);
        }
        Ok(all)
    }
}

fn learned(flow: &Flow<f64>) -> Vec<flows_core::Batch<f64>> {
    let mut tensors = Vec::new();
    flow.visit(&mut |_, role, tensor| {
        if role == flows_core::Role::Learned {
            tensors.push(tensor.clone());
        }
    });
    tensors
}

/// Two affine couplings with smooth conditioners, moved away from the identity.
fn flow(seed: u64) -> Result<Flow<f64>> {
    let perceptron = Perceptron { hidden: vec![8], activation: Activation::Tanh };
    let conditioner = Conditioner::Perceptron(perceptron);
    let config =
        CouplingFlow { layers: 2, conditioner, act_norm: false, ..CouplingFlow::real_nvp() };
    let chain = config.build::<f64>(2, 0, &mut stream(seed, "init"))?;
    let mut flow = Flow::new(Base::standard_normal(2), Box::new(chain))?;
    perturb(&mut flow, 0.1, &mut stream(seed, "perturb"))?;
    Ok(flow)
}

/// A random unit vector over all learned weights.
fn direction(flow: &Flow<f64>, rng: &mut Stream) -> Vec<f64> {
    let vector: Vec<f64> = normals(flow.count(), rng);
    let norm = vector.iter().map(|v| v * v).sum::<f64>().sqrt();
    vector.iter().map(|v| v / norm).collect()
}

/// Central differences along a direction of the forward and the reverse divergence.
fn slopes(along: &[f64], (points, log_p): (&[f64], &[f64]), seed: u64) -> Result<[f64; 2]> {
    let at = |step: f64| -> Result<[f64; 2]> {
        let mut moved = self::flow(seed)?;
        let mut offset = 0;
        moved.visit_mut(&mut |_, role, tensor| {
            if role != flows_core::Role::Learned {
                return Ok(());
            }
            let mut values = tensor.values();
            let count = values.len();
            for (value, v) in values.iter_mut().zip(&along[offset..offset + count]) {
                *value += step * v;
            }
            offset += count;
            set_values(tensor, &values)
        })?;
        divergences(&moved, points, log_p)
    };
    let ([up, reverse_up], [down, reverse_down]) = (at(STEP)?, at(-STEP)?);
    Ok([(up - down) / (2.0 * STEP), (reverse_up - reverse_down) / (2.0 * STEP)])
}

/// Both divergences by the midpoint rule.
fn divergences(flow: &Flow<f64>, points: &[f64], log_p: &[f64]) -> Result<[f64; 2]> {
    let log_q = flow.evaluate(points, &Context::none())?.0;
    let cell = (WINDOW[1] - WINDOW[0]) * (WINDOW[3] - WINDOW[2]) / (CELLS * CELLS) as f64;
    let sums = log_p.iter().zip(&log_q).fold([0.0; 2], |[forward, reverse], (&p, &q)| {
        [forward + p.exp() * (p - q), reverse + q.exp() * (q - p)]
    });
    Ok(sums.map(|sum| sum * cell))
}
