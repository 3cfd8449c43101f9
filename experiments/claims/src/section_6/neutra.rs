//! C46: Markov chains in the base space of a flow (review, Section 6.2.2).

use std::sync::Arc;

use anyhow::Result;
use flows_bench::targets::{Funnel, KnownTarget};
use flows_core::tensor::batch;
use flows_core::train::ReverseKl;
use flows_core::{Architecture, Bijector, Context, Flow, Tape, Values, normals, stream};
use flows_finite::Scale as LayerScale;
use flows_finite::architecture::{
    AffineConfig, AutoregressiveFlow, Conditioner, Direction, LayerOrder, TransformerConfig,
};
use flows_inference::chain::{Chains, Leapfrog, Nuts, NutsChains, Pullback};
use flows_report::finding::{Content, Findings, Panel, Panels, Table};
use nalgebra::DMatrix;

use crate::helper::short_training::{Course, ROWS};
use crate::helper::statistics::{distance, largest};
use crate::{Check, Claim, Setting};

pub(crate) const C46: Claim = Claim {
    id: "C46",
    title: "Markov chains in the base",
    review: "A flow reparametrises a target so that a Markov chain mixes faster; Hamiltonian Monte \
             Carlo itself is a map that preserves volume, on which flows that preserve it are modelled \
             (Section 6.2.2).",
    method: "Neal's funnel in ten dimensions, whose log-scale v has N(0, 3^2): chains of the no-U-turn \
             sampler in the base space of one autoregressive layer, trained by reverse KL, and in that \
             of the funnel. Effective draws a gradient evaluation after warm-up, of v and of the worst \
             feature; mean and variance of v against the exact ones. Twenty leapfrog steps \
             on two targets: determinants from differences of four points, and round trips.",
    check: Check::Run(check),
};

const CHAINS: usize = 4;

fn check(setting: &Setting) -> Result<Findings> {
    let mut findings = Findings::default();
    funnel(setting, &mut findings)?;
    volume(setting, &mut findings)?;
    Ok(findings)
}

fn funnel(setting: &Setting, findings: &mut Findings) -> Result<()> {
    let funnel = Funnel::DEFAULT;
    let (target, dim) = (KnownTarget::Funnel(funnel), funnel.dim());
    let steps = setting.either(400, 2000);
    let flow = trained(dim, steps, setting.seed, &target)?;
    let pullback = Pullback::new(&flow, &target)?;
    let (warm_up, draws) = setting.either((300, 500), (1000, 2000));
    let nuts = Nuts { warm_up, draws, ..Nuts::default() };
    let base: Vec<f64> = normals(CHAINS * dim, &mut stream(setting.seed, "starts"));
    let rows = |points: &[f64]| points.chunks(dim).map(<[f64]>::to_vec).collect::<Vec<_>>();
    let starts = pullback.push_points(&base)?;
    let inside =
        nuts.sample(&pullback, &rows(&base), &mut stream(setting.seed, "in base space"))?;
    let outside = nuts.sample(&target, &rows(&starts), &mut stream(setting.seed, "as it is"))?;
    let pushed = pullback.push(&inside.chains)?;
    let with = Mixing::of(&inside, &pushed)?;
    let without = Mixing::of(&outside, &outside.chains)?;
    let square = funnel.scale() * funnel.scale();
    let variance = pushed.diagnostics_of(|x| x[0] * x[0])?;
    let moments = [(with.mean, 0.0), ((variance.mean, variance.standard_error), square)];
    let scores =
        moments.map(|((mean, error), exact)| (mean - exact).abs() / error.unwrap_or(f64::NAN));
    demand(&with, &without, largest(scores), findings);
    let gradients = steps as f64 * ROWS as f64;
    findings.remark(format!(
        "The training evaluated {gradients:.0} gradients of the target, for which the chains without a \
         flow give {:.0} effective draws of v.",
        gradients * without.scale
    ));
    findings.tables.push(table(&[("base space", &with), ("funnel", &without)], square));
    findings.panels.push(panels(&pushed, &outside.chains));
    Ok(())
}

fn demand(with: &Mixing, without: &Mixing, score: f64, findings: &mut Findings) {
    findings.at_least(
        "effective draws of the log-scale a gradient evaluation, in base space over in the funnel",
        with.scale / without.scale,
        1.0,
        "the claim; the layer can be the funnel's own map, behind which there is a normal, on which the \
         sampler has the longest steps that it can have",
    );
    findings.at_least(
        "the same of the worst feature",
        with.worst / without.worst,
        1.0,
        "as above: the worst feature is what chains wait for",
    );
    findings.at_most(
        "in base space: distance of the mean and of the mean square of v from 0 and 9, the larger \
         (standard errors)",
        score,
        4.0,
        "mapped draws are draws of the funnel; four Monte Carlo standard errors",
    );
}

/// How chains of the funnel mix.
struct Mixing {
    /// Effective draws of v a gradient evaluation.
    scale: f64,
    /// The least of all features.
    worst: f64,
    /// Of v, with its standard error.
    mean: (f64, Option<f64>),
    square: (f64, Option<f64>),
    r_hat: f64,
    divergences: u64,
    gradients: u64,
}

impl Mixing {
    fn of(run: &NutsChains, chains: &Chains) -> Result<Self> {
        let gradients = run.sampling.iter().map(|counts| counts.gradient_evaluations).sum::<u64>();
        let all = chains.diagnostics()?;
        let share = |size: Option<f64>| size.unwrap_or(f64::NAN) / gradients as f64;
        let shares: Vec<f64> = all.iter().map(|feature| share(feature.bulk_ess)).collect();
        let scale = chains.diagnostics_of(|x| x[0])?;
        let square = chains.diagnostics_of(|x| x[0] * x[0])?;
        Ok(Self {
            scale: share(scale.bulk_ess),
            worst: shares.into_iter().reduce(smaller).unwrap_or(f64::NAN),
            mean: (scale.mean, scale.standard_error),
            square: (square.mean, square.standard_error),
            r_hat: all.iter().filter_map(|d| d.r_hat).fold(1.0, f64::max),
            divergences: run.divergences(),
            gradients,
        })
    }
}

/// The smaller of two, where NaN counts as the smallest.
fn smaller(a: f64, b: f64) -> f64 {
    if a < b || a.is_nan() { a } else { b }
}

fn table(rows: &[(&str, &Mixing)], square: f64) -> Table {
    let square = format!("mean of v^2 (exact: {square})");
    let mut table = Table::new(
        "Chains of the no-U-turn sampler on the funnel.",
        &[
            "space",
            "gradient evaluations",
            "effective draws of v a gradient",
            "of the worst feature",
            "mean of v (exact: 0)",
            &square,
            "largest R-hat",
            "divergences",
        ],
    );
    for (name, mixing) in rows {
        table.row([
            (*name).into(),
            mixing.gradients.into(),
            mixing.scale.into(),
            mixing.worst.into(),
            mixing.mean.into(),
            mixing.square.into(),
            mixing.r_hat.into(),
            mixing.divergences.into(),
        ]);
    }
    table
}

/// One affine autoregressive layer whose scale is not bounded, so that it can be the funnel's map,
/// x_i = e^(v / 2) u_i.
fn trained(dim: usize, steps: u64, seed: u64, target: &KnownTarget) -> Result<Flow<f64>> {
    let config = AutoregressiveFlow {
        layers: 1,
        conditioner: Conditioner::perceptron(vec![32]),
        order: LayerOrder::Natural,
        transformer: AffineConfig { scale: LayerScale::Exp, inverted: false }.shared(),
        formula: Direction::Sampling,
        ..AutoregressiveFlow::default()
    };
    let bijector = config.build(dim, 0, &mut stream(seed, "init"))?;
    let course = Course { steps, learning_rate: 5e-3, seed };
    course.train_on_density(Box::new(bijector), ReverseKl::default(), target)
}

/// v and the first of the others, of at most 2,000 draws each.
fn panels(with: &Chains, without: &Chains) -> Panels {
    let content = |chains: &Chains| {
        let draws: Vec<&Vec<f64>> = chains.draws.iter().flatten().collect();
        let every = draws.len().div_ceil(2000).max(1);
        let pairs = draws.iter().step_by(every).flat_map(|x| x.iter().take(2).copied());
        Content::points(&pairs.collect::<Vec<_>>())
    };
    let panel = |title: &str, chains| Panel { title: title.into(), content: content(chains) };
    Panels {
        title: "Draws of both: without a flow the neck is hardly entered.".into(),
        window: KnownTarget::Funnel(Funnel::DEFAULT).window(),
        axes: ["v".into(), "x2".into()],
        panels: vec![panel("in base space, mapped", with), panel("in the funnel", without)],
    }
}

/// Leapfrog steps keep volume and can be taken back.
fn volume(setting: &Setting, findings: &mut Findings) -> Result<()> {
    let (mut volumes, mut round_trips) = (Vec::new(), Vec::new());
    for (target, step) in [(KnownTarget::Banana, 0.1), (KnownTarget::Cross, 0.05)] {
        let map = Leapfrog::new(Arc::new(target), step, 20)?;
        let rows = 20;
        let points: Vec<f64> =
            normals(rows * map.dim(), &mut stream(setting.seed, "positions and momenta"));
        let images = image(&map, &points)?;
        let x = batch(images, rows, map.dim())?;
        let back = map.inverse(&x, &Context::none(), &mut Tape::none())?.value.values();
        round_trips.push(distance(&back, &points));
        for point in points.chunks(map.dim()) {
            volumes.push((determinant(&map, point)?.abs() - 1.0).abs());
        }
    }
    findings.at_most(
        "leapfrog: largest distance of |det J| from 1",
        largest(volumes),
        1e-8,
        "each line of a step is a shear; rounding over the step of the differences is 1e-16 / 1e-4, \
         their own error as small, and products of derivatives of order 10 and more go into the \
         determinant",
    );
    findings.at_most(
        "leapfrog: largest error of a round trip",
        largest(round_trips),
        1e-12,
        "the inverse takes the same lines back: rounding of some hundred operations, times derivatives \
         of order 10 and more",
    );
    Ok(())
}

fn image(map: &Leapfrog, points: &[f64]) -> Result<Vec<f64>> {
    let z = batch(points.to_vec(), points.len() / map.dim(), map.dim())?;
    Ok(map.forward(&z, &Context::none(), &mut Tape::none())?.value.values())
}

/// det J by differences of four points in each direction, of fourth order.
fn determinant(map: &Leapfrog, point: &[f64]) -> Result<f64> {
    let (dim, step) = (point.len(), 1e-4);
    let mut moved = Vec::new();
    for j in 0..dim {
        for steps in [-2.0, -1.0, 1.0, 2.0] {
            moved.extend_from_slice(point);
            let at = moved.len() - dim + j;
            moved[at] += steps * step;
        }
    }
    let images = image(map, &moved)?;
    let columns: Vec<f64> = images
        .chunks(4 * dim)
        .flat_map(|column| {
            (0..dim).map(move |i| {
                let [a, b, c, d] = [0, 1, 2, 3].map(|k| column[k * dim + i]);
                (a - d + 8.0 * (c - b)) / (12.0 * step)
            })
        })
        .collect();
    Ok(DMatrix::from_column_slice(dim, dim, &columns).determinant())
}
