//! C29: what traces and determinants cost (review, Section 4).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use flows_continuous::{
    Accuracy, Continuous, Divergence, FieldGradients, FieldInput, FieldKernel, Hutchinson,
    MlpField, ResidualSteps, Solver, TimeInput,
};
use flows_core::activation::Activation;
use flows_core::tensor::batch;
use flows_core::{
    Bijector, Context, HasLayout, LastLayer, Layout, Network, Scratch, Tape, normals, stream,
};
use flows_report::finding::{Findings, Plot, Scale, Stroke, Table};

use crate::helper::perceptron::equal;
use crate::helper::statistics::{exponent, largest};
use crate::helper::timing::medians;
use crate::{Check, Claim, Setting};

pub(crate) const C29: Claim = Claim {
    id: "C29",
    title: "Trace against determinant",
    review: "A continuous flow needs the trace of a Jacobian where a layer needs its determinant: D \
             products with the Jacobian, O(D^2), exactly, or one, O(D), by Hutchinson's estimator, against \
             O(D^3) (Section 4).",
    method: "One evaluation of a perceptron field with 16 hidden units, for 128 rows and D from 4 to 256: \
             Jacobian products counted inside the field, and medians of times taken in turn, for the exact \
             trace, one probe, and the log-determinant of the same step as a residual layer.",
    check: Check::Run(check),
};

const ROWS: usize = 128;

/// A field that counts the Jacobian-vector products asked of it.
#[derive(Clone, Debug)]
struct Counted {
    field: MlpField,
    products: Arc<AtomicU64>,
}

impl HasLayout for Counted {
    fn layout(&self) -> Vec<Layout> {
        self.field.layout()
    }
}

impl FieldKernel<f64> for Counted {
    fn dim(&self) -> usize {
        FieldKernel::<f64>::dim(&self.field)
    }

    fn context_dim(&self) -> usize {
        FieldKernel::<f64>::context_dim(&self.field)
    }

    fn forward(
        &self,
        at: FieldInput<'_, f64>,
        parameters: &[&[f64]],
        scratch: &mut Scratch,
        velocity: &mut [f64],
    ) {
        self.products.fetch_add(at.tangents as u64, Ordering::Relaxed);
        self.field.forward(at, parameters, scratch, velocity);
    }

    fn backward(
        &self,
        at: FieldInput<'_, f64>,
        parameters: &[&[f64]],
        scratch: &mut Scratch,
        gradients: FieldGradients<'_, '_, f64>,
    ) {
        self.field.backward(at, parameters, scratch, gradients);
    }
}

/// The three ways, with the exponent of D that the review gives.
const WAYS: [(&str, f64); 3] = [("exact trace", 2.0), ("one probe", 1.0), ("determinant", 3.0)];

fn check(setting: &Setting) -> Result<Findings> {
    let sizes: &[usize] = setting.either(&[4, 16, 64, 128], &[4, 8, 16, 32, 64, 128, 256]);
    let mut findings = Findings::default();
    let mut table = Table::new(
        "One evaluation for 128 rows: Jacobian products counted, and time.",
        &["D", "way", "products", "milliseconds"],
    );
    let mut curves = [(); 3].map(|()| Vec::new());
    let mut wrong = Vec::new();
    for &dim in sizes {
        let (products, seconds) = measure(dim, setting)?;
        let expected = [dim, 1, dim];
        for (way, (name, _)) in WAYS.iter().enumerate() {
            wrong.push((products[way] as f64 - expected[way] as f64).abs());
            let milliseconds = 1e3 * seconds[way];
            table.row([dim.into(), (*name).into(), products[way].into(), milliseconds.into()]);
            curves[way].push([dim as f64, milliseconds]);
        }
    }
    findings.at_most(
        "largest deviation of the products counted from D, 1 and D",
        largest(wrong),
        0.0,
        "the exact trace takes D products with the Jacobian, a probe one, the dense Jacobian D: a count",
    );
    demands(&mut findings, &curves);
    show(&mut findings, curves);
    findings.tables.push(table);
    Ok(findings)
}

/// Points D, milliseconds.
type Curve = Vec<[f64; 2]>;

fn demands(findings: &mut Findings, curves: &[Curve; 3]) {
    let last = curves.each_ref().map(|curve| curve.last().map_or(f64::NAN, |p| p[1]));
    let reason = "D + 1 passes against two, 64 times the work at D = 128; a factor 20 is left to the \
                  clock and to what a wide pass gains by vector instructions";
    findings.at_least(
        "time of the exact trace over one probe, largest D",
        last[0] / last[1],
        3.0,
        reason,
    );
    findings.at_least(
        "time of the determinant over the exact trace, largest D",
        last[2] / last[0],
        1.0,
        "it takes the same D products and an elimination besides",
    );
}

fn show(findings: &mut Findings, curves: [Curve; 3]) {
    let mut plot = Plot::new(
        "Time of one step with its log-det; dashed, the slopes of the review through the last points.",
        Scale::log("features D"),
        Scale::log("milliseconds for 128 rows"),
    );
    for ((name, order), curve) in WAYS.into_iter().zip(curves) {
        let half = &curve[curve.len() / 2 - 1..];
        findings.observed(
            &format!("exponent of the time over D, {name}, upper half"),
            exponent(half),
            None,
        );
        if let Some(&[dim, time]) = curve.last() {
            let slope = half.iter().map(|&[d, _]| [d, time * (d / dim).powf(order)]);
            plot.series(format!("D^{order}"), Stroke::Reference, slope.collect::<Vec<_>>());
        }
        plot.series(name, Stroke::Measured, curve);
    }
    findings.plots.push(plot);
}

/// Products that one evaluation asks for, and seconds that it takes, each way.
fn measure(dim: usize, setting: &Setting) -> Result<([u64; 3], [f64; 3])> {
    let products = Arc::new(AtomicU64::new(0));
    let field = MlpField::new(dim, 0, &[16], Activation::Tanh, TimeInput::None)?;
    let field = Counted { field, products: Arc::clone(&products) };
    let network = || {
        let rng = &mut stream(setting.seed, "init");
        Network::<f64, _>::new(field.clone(), LastLayer::Random, rng)
    };
    let times = [0.0, 0.1];
    let continuous = |network, divergence| {
        let accuracy = Accuracy { solver: Solver::Euler(equal(1)), divergence };
        Continuous::new(network, times, accuracy, accuracy)
    };
    let exact = continuous(network()?, Divergence::Exact)?;
    let probe = continuous(network()?, Divergence::Hutchinson(Hutchinson::default()))?;
    let layer = ResidualSteps::new(network()?, times, equal(1).steps)?;
    let z = batch(normals(ROWS * dim, &mut stream(setting.seed, "points")), ROWS, dim)?;
    let (z, none) = (&z, &Context::none());
    let bijectors: [&dyn Bijector<f64>; 3] = [&exact, &probe, &layer];
    let calls = bijectors.map(|bijector| move || bijector.forward(z, none, &mut Tape::none()));
    let mut counts = [0; 3];
    for (count, way) in counts.iter_mut().zip(&calls) {
        products.store(0, Ordering::Relaxed);
        drop(way()?);
        *count = products.load(Ordering::Relaxed);
    }
    Ok((counts, medians(calls.each_ref().map(|call| call as &dyn Fn() -> _))))
}
