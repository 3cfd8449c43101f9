//! C43: flows on a manifold (review, Section 5.4), here on the torus.

use std::f64::consts::{PI, TAU};

use anyhow::Result;
use flows_core::activation::Activation;
use flows_core::tensor::batch;
use flows_core::testing::perturb;
use flows_core::{Architecture, Base, Chain, Context, Flow, Tape, Values, stream};
use flows_finite::architecture::{
    AutoregressiveFlow, CircularSplineConfig, Conditioner, Perceptron, SplineConfig,
    TransformerConfig,
};
use flows_report::finding::{Content, Findings, Panel, Panels, Plot, Scale, Stroke};

use crate::helper::statistics::{distance, largest};
use crate::{Check, Claim, Setting};

pub(crate) const C43: Claim = Claim {
    id: "C43",
    title: "Flows on the torus",
    review: "A flow can live on a manifold: tori by maps of circles onto themselves, and the density \
             on an embedded manifold carries sqrt(det J^T J) in place of |det J| (Section 5.4).",
    method: "Two angles with a uniform base and masked layers of circular splines, away from their \
             start, in f64: the integral over the torus by the midpoint rule; the integral over the \
             surface of a ring in space, put together from flat triangles, of the density over \
             sqrt(det J^T J); that factor against differences; and values and slopes of a layer on \
             either side of the seam.",
    check: Check::Run(check),
};

/// Radii of the ring in space.
const RING: [f64; 2] = [2.0, 0.7];

fn check(setting: &Setting) -> Result<Findings> {
    let mut findings = Findings::default();
    let flow = flow(3, setting.seed)?;
    normalisation(&flow, setting, &mut findings)?;
    findings.at_most(
        "largest relative difference of sqrt(det J^T J) from r (R + r cos a)",
        embedding(),
        1e-8,
        "central differences over 1e-4: 1e-8 / 6 of third derivatives, and rounding of 1e-12",
    );
    seam(setting, &mut findings)?;
    image(&flow, &mut findings)?;
    findings.remark(
        "The sphere is not built. Conditioners read an angle as a number, so that the maps of the \
         other angles may jump where it passes from pi to -pi; the density is normalised all the \
         same, but continuous across the seam only for the first angle of each layer.",
    );
    Ok(findings)
}

/// Both integrals on finer and finer grids.
fn normalisation(flow: &Flow<f64>, setting: &Setting, findings: &mut Findings) -> Result<()> {
    let (mut flat, mut curved) = (Vec::new(), Vec::new());
    for side in setting.either(vec![50, 100, 200], vec![50, 100, 200, 400, 800]) {
        let [angles, surface] = integrals(flow, side)?;
        flat.push([side as f64, (1.0 - angles).abs()]);
        curved.push([side as f64, (1.0 - surface).abs()]);
    }
    let finest = |curve: &[[f64; 2]]| curve.last().map_or(f64::NAN, |point| point[1]);
    findings.at_most(
        "integral over the angles: distance from one on the finest grid",
        finest(&flat),
        1e-3,
        "the midpoint rule for a density whose slope jumps at knots: some squares of a cell",
    );
    findings.at_most(
        "integral over the ring in space: distance from one on the finest grid",
        finest(&curved),
        1e-3,
        "flat triangles miss the area of the surface by some squares of their sides",
    );
    let mut plot = Plot::new(
        "Distance of both integrals from one.",
        Scale::log("cells along a side"),
        Scale::log("|1 - integral|"),
    );
    let square = |[x, _]: &[f64; 2]| [*x, (TAU / x).powi(2) / 24.0];
    plot.series("square of a cell / 24", Stroke::Reference, flat.iter().map(square));
    plot.series("over the angles", Stroke::Measured, flat);
    plot.series("over the ring", Stroke::Measured, curved);
    findings.plots.push(plot);
    Ok(())
}

/// Masked layers of circular splines on the angles in [-pi, pi).
fn flow(layers: usize, seed: u64) -> Result<Flow<f64>> {
    let transformer =
        CircularSplineConfig(SplineConfig { bins: 8, bound: PI, ..SplineConfig::default() })
            .shared();
    let conditioner =
        Conditioner::Perceptron(Perceptron { hidden: vec![16, 16], activation: Activation::Tanh });
    let config = AutoregressiveFlow {
        layers,
        transformer,
        conditioner,
        act_norm: false,
        ..AutoregressiveFlow::default()
    };
    let chain: Chain<f64> = config.build(2, 0, &mut stream(seed, "torus"))?;
    let base = Base::uniform_box(vec![-PI; 2], vec![PI; 2])?;
    let mut flow = Flow::new(base, Box::new(chain))?;
    perturb(&mut flow, 0.2, &mut stream(seed, "perturb"))?;
    Ok(flow)
}

/// Over the angles, and over the surface of the ring in space.
fn integrals(flow: &Flow<f64>, side: usize) -> Result<[f64; 2]> {
    let step = TAU / side as f64;
    let angle = |i: usize, offset: f64| (i as f64 + offset) * step - PI;
    let cells = || (0..side * side).map(|cell| [cell % side, cell / side]);
    let centres: Vec<f64> = cells().flat_map(|cell| cell.map(|i| angle(i, 0.5))).collect();
    let (log_density, _) = flow.evaluate(&centres, &Context::none())?;
    let flat = step * step * log_density.iter().map(|l| l.exp()).sum::<f64>();
    let surface = cells().zip(&log_density).map(|([i, j], l)| {
        let corner = |i: usize, j: usize| place([angle(i, 0.0), angle(j, 0.0)]);
        let (a, b) = (corner(i, j), corner(i + 1, j + 1));
        let area = triangle(a, corner(i + 1, j), b) + triangle(a, corner(i, j + 1), b);
        l.exp() / factor([angle(i, 0.5), angle(j, 0.5)]) * area
    });
    Ok([flat, surface.sum()])
}

/// The point of the ring at two angles: along it and around its tube.
fn place([along, around]: [f64; 2]) -> [f64; 3] {
    let [ring, tube] = RING;
    let distance = ring + tube * around.cos();
    [distance * along.cos(), distance * along.sin(), tube * around.sin()]
}

/// sqrt(det J^T J) of the ring.
fn factor([_, around]: [f64; 2]) -> f64 {
    RING[1] * (RING[0] + RING[1] * around.cos())
}

fn triangle(a: [f64; 3], b: [f64; 3], c: [f64; 3]) -> f64 {
    let [u, v] = [b, c].map(|p| [0, 1, 2].map(|i| p[i] - a[i]));
    let cross =
        [0, 1, 2].map(|i| u[(i + 1) % 3] * v[(i + 2) % 3] - u[(i + 2) % 3] * v[(i + 1) % 3]);
    0.5 * cross.iter().map(|c| c * c).sum::<f64>().sqrt()
}

/// The factor against that of differences, over a grid of angles.
fn embedding() -> f64 {
    let step = 1e-4;
    let error = |cell: usize| {
        let at = [cell % 20, cell / 20].map(|i| 0.3 * i as f64);
        let slope = |axis: usize| {
            let moved = |by: f64| {
                let mut angles = at;
                angles[axis] += by;
                place(angles)
            };
            let (up, down) = (moved(step), moved(-step));
            [0, 1, 2].map(|i| (up[i] - down[i]) / (2.0 * step))
        };
        let (u, v) = (slope(0), slope(1));
        let dot = |a: [f64; 3], b: [f64; 3]| (0..3).map(|i| a[i] * b[i]).sum::<f64>();
        let volume = (dot(u, u) * dot(v, v) - dot(u, v).powi(2)).sqrt();
        (volume / factor(at) - 1.0).abs()
    };
    largest((0..400).map(error))
}

/// Both sides of the seam of the first angle of one layer.
fn seam(setting: &Setting, findings: &mut Findings) -> Result<()> {
    let flow = flow(1, setting.seed)?;
    let side = |first: f64| -> Result<(Vec<f64>, Vec<f64>)> {
        let rows: Vec<f64> = (0..100).flat_map(|i| [first, 0.06 * f64::from(i) - 3.0]).collect();
        let rows = batch(rows, 100, 2)?;
        let mapped = flow.bijector().forward(&rows, &Context::none(), &mut Tape::none())?;
        let angles = mapped.value.values();
        // One angle as a point of the circle, so that whole turns make no difference.
        let circle = angles.iter().step_by(2).flat_map(|a| [a.cos(), a.sin()]).collect();
        Ok((circle, mapped.log_det.values()))
    };
    let (left, right) = (side(-PI)?, side(PI.next_down())?);
    findings.at_most(
        "largest jump of the first angle's image at the seam (radians)",
        distance(&left.0, &right.0),
        1e-12,
        "the images of -pi and of the number below pi are one point of the circle; rounding",
    );
    Ok(())
}

/// The density over the torus.
fn image(flow: &Flow<f64>, findings: &mut Findings) -> Result<()> {
    let window = [-PI, PI, -PI, PI];
    let centres = flows_report::grid::centres(window, 120);
    let (log_density, _) = flow.evaluate(&centres, &Context::none())?;
    let content = Content::log_density(&log_density);
    findings.panels.push(Panels {
        title: "The density over both angles.".into(),
        window,
        axes: ["first angle".into(), "second angle".into()],
        panels: vec![Panel { title: "three layers".into(), content }],
    });
    Ok(())
}
