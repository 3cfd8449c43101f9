//! C44: an equivariant flow of an invariant base has an invariant density (review, Section 5.6).

use std::num::NonZeroUsize;

use anyhow::Result;
use flows_continuous::{
    Accuracy, ContinuousFlow, Divergence, EqualSteps, EquivariantConfig, FieldConfig,
    PerceptronField, Solver, TimeInput,
};
use flows_core::activation::Activation;
use flows_core::testing::perturb;
use flows_core::{Architecture, Base, Context, Flow, normals, stream};
use flows_report::finding::{Findings, Table};

use crate::helper::statistics::{distance, largest};
use crate::{Check, Claim, Setting};

pub(crate) const C44: Claim = Claim {
    id: "C44",
    title: "Equivariance",
    review: "If the base is invariant under a group and the transformation commutes with it, the \
             density is invariant; the flow of an equivariant vector field commutes (Section 5.6).",
    method: "Four particles in the plane with pairwise forces, away from their start: log-densities \
             of configurations before and after they are turned, reflected and their particles \
             exchanged, on a base that knows no direction and no order. A perceptron field on the \
             same features is the counter-example.",
    check: Check::Run(check),
};

/// What is done to a configuration.
type Symmetry = fn(&[f64]) -> Vec<f64>;

const SYMMETRIES: [(&str, Symmetry); 3] =
    [("rotation by 0.7", turned), ("reflection", reflected), ("exchange of two", exchanged)];

const PARTICLES: usize = 4;

fn check(setting: &Setting) -> Result<Findings> {
    let (rows, dim) = (setting.either(100, 2000), 2 * PARTICLES);
    let x: Vec<f64> = normals(rows * dim, &mut stream(setting.seed, "configurations"));
    let [symmetric, general] = flows(setting.seed)?;
    let mut table = Table::new(
        "Largest change of the log-density (nats).",
        &["symmetry", "pairwise forces", "perceptron"],
    );
    let (mut kept, mut broken) = (Vec::new(), Vec::new());
    let before = [log_density(&symmetric, &x)?, log_density(&general, &x)?];
    for (name, symmetry) in SYMMETRIES {
        let moved: Vec<f64> = x.chunks(dim).flat_map(symmetry).collect();
        let changes = [
            distance(&log_density(&symmetric, &moved)?, &before[0]),
            distance(&log_density(&general, &moved)?, &before[1]),
        ];
        kept.push(changes[0]);
        broken.push(changes[1]);
        table.row([name.into(), changes[0].into(), changes[1].into()]);
    }
    let spread = before[0].iter().copied().fold(f64::NEG_INFINITY, f64::max)
        - before[0].iter().copied().fold(f64::INFINITY, f64::min);
    let mut findings = Findings::default();
    findings.at_most(
        "pairwise forces: largest change of the log-density (nats)",
        largest(kept),
        1e-10,
        "the claim's demand: steps of equal length are equivariant like the field, so that rounding \
         of some thousand operations is left",
    );
    findings.at_least(
        "perceptron: least of the largest changes (nats)",
        broken.iter().copied().fold(f64::INFINITY, f64::min),
        1e-3,
        "a change that no rounding makes, seven orders above what the other field is held to",
    );
    findings.observed("pairwise forces: range of the log-density (nats)", spread, None);
    findings.tables.push(table);
    Ok(findings)
}

/// That of pairwise forces and that of a perceptron.
fn flows(seed: u64) -> Result<[Flow<f64>; 2]> {
    let forces = FieldConfig::Equivariant(EquivariantConfig { space: 2, functions: 8 });
    let (hidden, activation) = (vec![32, 32], Activation::Tanh);
    let perceptron =
        FieldConfig::Perceptron(PerceptronField { hidden, activation, time: TimeInput::Concat });
    Ok([flow(forces, Divergence::Closed, seed)?, flow(perceptron, Divergence::Exact, seed)?])
}

/// A flow away from its start, in equal steps: an adaptive solver's error norm would be changed by
/// rotations, if within its tolerance.
fn flow(field: FieldConfig, divergence: Divergence, seed: u64) -> Result<Flow<f64>> {
    let steps = EqualSteps { steps: NonZeroUsize::MIN.saturating_add(19) };
    let accuracy = Accuracy { solver: Solver::Rk4(steps), divergence };
    let config = ContinuousFlow {
        field,
        training: accuracy,
        reporting: accuracy,
        act_norm: false,
        ..Default::default()
    };
    let dim = 2 * PARTICLES;
    let mut bijector = config.build(dim, 0, &mut stream(seed, "init"))?;
    perturb(&mut bijector, 0.3, &mut stream(seed, "perturb"))?;
    Ok(Flow::new(Base::standard_normal(dim), Box::new(bijector))?)
}

fn log_density(flow: &Flow<f64>, x: &[f64]) -> Result<Vec<f64>> {
    Ok(flow.evaluate(x, &Context::none())?.0)
}

fn turned(x: &[f64]) -> Vec<f64> {
    let (sin, cos) = 0.7_f64.sin_cos();
    x.chunks(2).flat_map(|p| [cos * p[0] - sin * p[1], sin * p[0] + cos * p[1]]).collect()
}

fn reflected(x: &[f64]) -> Vec<f64> {
    x.chunks(2).flat_map(|p| [-p[0], p[1]]).collect()
}

fn exchanged(x: &[f64]) -> Vec<f64> {
    let mut y = x.to_vec();
    y.swap(0, 4);
    y.swap(1, 5);
    y
}
