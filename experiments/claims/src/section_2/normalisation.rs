//! C1: the change of variables gives densities that integrate to one (review, Section 2.1).

use std::sync::Arc;

use anyhow::Result;
use flows_continuous::ContinuousFlow;
use flows_core::tensor::batch;
use flows_core::testing::perturb;
use flows_core::{Architecture, Context, Flow, Values, stream};
use flows_report::finding::{Findings, Plot, Scale, Stroke, Table};

use crate::helper::specimen::{self, Limit, Specimen};
use crate::helper::statistics::{distance, exponent, largest};
use crate::{Check, Claim, Setting};

pub(crate) const C1: Claim = Claim {
    id: "C1",
    title: "Change of variables",
    review: "The density of x = T(u) is that of u divided by the absolute determinant of the \
             Jacobian, and is again a density (Section 2.1).",
    method: "The sum of density times volume over the cells of a mesh that holds all but 1.2e-6 of \
             the mass, for one layer of every kind and for every preset, away from their start, in \
             f64, on the line and in the plane. The cells are images of squares of the base, their \
             volumes those of polygons, without a determinant. For a continuous flow, also at one \
             tolerance of its solver after another.",
    check: Check::Run(check),
};

/// Half the side of the square of the base that is cut into cells: 1.2e-6 of the mass is outside.
const RADIUS: f64 = 5.0;

/// What the claim asks for.
const DEMANDED: f64 = 1e-3;

/// Tolerance of continuous flows where it is not what is studied.
const TOLERANCE: f64 = 1e-6;

fn check(setting: &Setting) -> Result<Findings> {
    let mut findings = Findings::default();
    let mut table = Table::new(
        "Integral less one on the line, and in the plane on three grids, each of half the cells' side.",
        &["layer or flow", "slow direction", "line", "coarse", "finer", "finest"],
    );
    let (cells, side) = (setting.either(4_000, 20_000), setting.either(80, 240));
    let mut all = Vec::new();
    // A quick check takes every third of them.
    let pairs = both(1, setting)?.into_iter().zip(both(2, setting)?);
    for (one, two) in pairs.step_by(setting.either(3, 1)) {
        let cells = if two.limit == Limit::Solver { cells / 10 } else { cells };
        let mut off = [integral(&one.flow, cells)? - 1.0; 4];
        for (off, side) in off[1..].iter_mut().zip([side / 4, side / 2, side]) {
            *off = integral(&two.flow, side)? - 1.0;
        }
        let [line, coarse, finer, finest] = off.map(Into::into);
        table.row([two.name.into(), two.limit.name().into(), line, coarse, finer, finest]);
        all.push(off);
    }
    demand(&all, DEMANDED * (240.0 / side as f64).powi(2), &mut findings);
    findings.tables.push(table);
    by_tolerance(setting, &mut findings)?;
    findings.remark(
        "Images take 64 features, for which there is no grid; their log-determinants are examined \
         with C2.",
    );
    Ok(findings)
}

/// What the distances from one have to satisfy: that on the line, and those on three grids.
fn demand(all: &[[f64; 4]], on_plane: f64, findings: &mut Findings) {
    findings.at_most(
        "line: largest distance from one",
        largest(all.iter().map(|[line, ..]| line.abs())),
        DEMANDED,
        "the claim's demand",
    );
    let beyond = |[_, _, finer, finest]: &[f64; 4]| finest.abs() - (finest - finer).abs();
    findings.at_most(
        "plane: largest distance from one beyond the last change between grids",
        largest(all.iter().map(beyond)),
        on_plane,
        "the claim's demand, for cells three times as long nine times that; midpoints of cells are a rule of order 2, whose distance from its \
         limit is a third of the last change, or up to all of it where the density has kinks",
    );
    let growth =
        |[_, coarse, finer, finest]: &[f64; 4]| (finest - finer).abs() - (finer - coarse).abs();
    findings.at_most(
        "plane: largest growth of the change between grids",
        largest(all.iter().map(growth)),
        on_plane,
        "sums that converge change less and less",
    );
}

/// Layers, then presets.
fn both(dim: usize, setting: &Setting) -> Result<Vec<Specimen>> {
    let mut all = specimen::layers(dim, setting.seed)?;
    all.extend(specimen::flows(dim, TOLERANCE, setting)?);
    Ok(all)
}

/// The integral of the density by a mesh with `side` cells along each dimension, one or two.
fn integral(flow: &Flow<f64>, side: usize) -> Result<f64> {
    let mesh = Mesh::of(flow, side)?;
    Ok(mesh.integral(&flow.evaluate(&mesh.centres, &Context::none())?.0))
}

/// Cells in data space: the images of the cells of a square grid in the base, so that they are small
/// where the density varies. Their volumes are those of the polygons between the images of their
/// corners; no determinant takes part.
struct Mesh {
    centres: Vec<f64>,
    volumes: Vec<f64>,
}

impl Mesh {
    fn of(flow: &Flow<f64>, side: usize) -> Result<Self> {
        let image = |points: Vec<f64>| -> Result<Vec<f64>> {
            let z = batch(points.clone(), points.len() / flow.dim(), flow.dim())?;
            Ok(flow.bijector().image(&z, &Context::none())?.0.values())
        };
        let step = 2.0 * RADIUS / side as f64;
        let at = |index: usize, offset: f64| step * (index as f64 + offset) - RADIUS;
        if flow.dim() == 1 {
            let corners = image((0..=side).map(|i| at(i, 0.0)).collect())?;
            let volumes = corners.windows(2).map(|pair| (pair[1] - pair[0]).abs()).collect();
            return Ok(Self { centres: image((0..side).map(|i| at(i, 0.5)).collect())?, volumes });
        }
        let points = |count: usize, offset: f64| -> Vec<f64> {
            let both = |i: usize| [at(i % count, offset), at(i / count, offset)];
            (0..count * count).flat_map(both).collect()
        };
        let corners = image(points(side + 1, 0.0))?;
        let corner = |i: usize, j: usize| -> [f64; 2] {
            let place = 2 * (j * (side + 1) + i);
            [corners[place], corners[place + 1]]
        };
        // Half the cross product of the diagonals.
        let area = |cell: usize| {
            let (i, j) = (cell % side, cell / side);
            let diagonal = |a: [f64; 2], b: [f64; 2]| [b[0] - a[0], b[1] - a[1]];
            let one = diagonal(corner(i, j), corner(i + 1, j + 1));
            let other = diagonal(corner(i + 1, j), corner(i, j + 1));
            0.5 * (one[0] * other[1] - one[1] * other[0]).abs()
        };
        let volumes = (0..side * side).map(area).collect();
        Ok(Self { centres: image(points(side, 0.5))?, volumes })
    }

    fn integral(&self, log_density: &[f64]) -> f64 {
        log_density.iter().zip(&self.volumes).map(|(l, volume)| l.exp() * volume).sum()
    }
}

/// A continuous flow further from its start, solved more and more accurately.
fn by_tolerance(setting: &Setting, findings: &mut Findings) -> Result<()> {
    let ffjord: Arc<dyn Architecture> = Arc::new(ContinuousFlow::ffjord());
    let solver = |tolerance: f64| -> Result<Flow<f64>> {
        let one = specimen::of_architecture("FFJORD", &ffjord, 2, tolerance, setting.seed)?;
        let mut flow = one.flow;
        perturb(&mut flow, 0.3, &mut stream(setting.seed, "further away"))?;
        Ok(flow)
    };
    let reference = solver(1e-11)?;
    let mesh = Mesh::of(&reference, setting.either(30, 60))?;
    let (exact, _) = reference.evaluate(&mesh.centres, &Context::none())?;
    let (mut integrals, mut densities) = (Vec::new(), Vec::new());
    for exponent in 2..=9 {
        let tolerance = 10.0_f64.powi(-exponent);
        let (log_density, _) = solver(tolerance)?.evaluate(&mesh.centres, &Context::none())?;
        let change = mesh.integral(&log_density) - mesh.integral(&exact);
        integrals.push([tolerance, change.abs()]);
        densities.push([tolerance, distance(&log_density, &exact)]);
    }
    let slope = exponent(&densities);
    findings.between(
        "slope of the log-density's largest error over the tolerance, logarithmic",
        slope,
        [0.8, 1.2],
        "the error of a step is held to the tolerance and steps grow with its fifth root, so that \
         the error of order 5 that is left is proportional to it; a fifth for the constants that \
         change along the way",
    );
    let mut plot = Plot::new(
        "A continuous flow: the integral is off by no more than the solver's error.",
        Scale::log("tolerance of the solver"),
        Scale::log("error"),
    );
    plot.series("change of the integral", Stroke::Measured, integrals);
    plot.series("log-density, largest error (nats)", Stroke::Measured, densities.clone());
    plot.series("tolerance", Stroke::Reference, densities.iter().map(|[x, _]| [*x, *x]));
    findings.plots.push(plot);
    Ok(())
}
