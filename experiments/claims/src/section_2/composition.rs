//! C2: determinants multiply along a chain (review, Section 2.1 and the start of Section 3).

use anyhow::Result;
use flows_core::tensor::batch;
use flows_core::testing::perturb;
use flows_core::{Architecture, Batch, Bijector, Chain, Context, Tape, Values, normals, stream};
use flows_finite::architecture::{
    AffineConfig, CouplingFlow, Direction, LemmaFlow, RationalQuadraticConfig, SplineConfig,
    TransformerConfig,
};
use flows_report::finding::{Findings, Table};
use nalgebra::DMatrix;

use crate::helper::jacobian::{jacobians, log_det};
use crate::helper::specimen::{self, Limit, Specimen};
use crate::helper::statistics::{distance, largest};
use crate::{Check, Claim, Setting};

pub(crate) const C2: Claim = Claim {
    id: "C2",
    title: "Composition",
    review: "The Jacobian of a composition is the product of the Jacobians, so that \
             log-determinants add up; every layer's own follows from its structure in much less than \
             O(D^3) (Sections 2.1 and 3).",
    method: "For one layer of every kind and for every preset, away from their start, in f64 and \
             for one, two and three features (64 for images, at a quarter of their channels): the \
             reported log-determinant against LU decomposition of the whole Jacobian, which is put \
             together by automatic differentiation. \
             For a chain of layers: its log-determinant against the sum over its parts, its Jacobian \
             against the product of theirs, and the same backwards.",
    check: Check::Run(check),
};

/// What the claim asks for.
const DEMANDED: f64 = 1e-8;

/// Tolerance of continuous flows.
const TOLERANCE: f64 = 1e-10;

fn check(setting: &Setting) -> Result<Findings> {
    let mut findings = Findings::default();
    structures(setting, &mut findings)?;
    chain(setting, &mut findings)?;
    Ok(findings)
}

fn structures(setting: &Setting, findings: &mut Findings) -> Result<()> {
    let rows = setting.either(16, 256);
    let mut table = Table::new(
        "Largest difference of log-determinant and LU decomposition, over 1 + the log-determinant.",
        &["layer or flow", "features", "difference"],
    );
    let (mut formula, mut solver) = (Vec::new(), Vec::new());
    for dim in [1, 2, 3, 64] {
        let mut all = specimen::flows(dim, TOLERANCE, setting)?;
        if dim < 64 {
            all.extend(specimen::layers(dim, setting.seed)?);
        }
        for one in all {
            let found = difference(&one, if dim < 64 { rows } else { 8 }, setting.seed)?;
            let list = if one.limit == Limit::Solver { &mut solver } else { &mut formula };
            list.push(found);
            table.row([one.name.into(), dim.into(), found.into()]);
        }
    }
    findings.at_most(
        "finite layers and flows: largest relative difference",
        largest(formula),
        DEMANDED,
        "the claim's demand; rounding of some thousand operations with condition numbers up to \
         some thousands leaves 1e-9",
    );
    findings.at_most(
        "continuous flows: largest relative difference",
        largest(solver),
        100.0 * TOLERANCE,
        "the integral of the trace and the Jacobian of the steps are each exact to about the \
         solver's tolerance of 1e-10, in each of up to dim^2 entries",
    );
    findings.tables.push(table);
    Ok(())
}

fn difference(one: &Specimen, rows: usize, seed: u64) -> Result<f64> {
    let dim = one.flow.dim();
    let points = batch(normals(rows * dim, &mut stream(seed, "points")), rows, dim)?;
    let mapped = one.flow.bijector().forward(&points, &Context::none(), &mut Tape::none())?;
    let numerical = jacobians(one.flow.bijector(), &points)?;
    let pairs = mapped.log_det.values().into_iter().zip(&numerical);
    Ok(largest(pairs.map(|(exact, j)| (exact - log_det(j)).abs() / (1.0 + exact.abs()))))
}

/// Layers of three kinds over three features, the same in every call.
fn parts(repeats: usize, seed: u64) -> Result<Vec<Box<dyn Bijector<f64>>>> {
    let (dim, rng) = (3, &mut stream(seed, "parts"));
    let spline = SplineConfig { bins: 8, ..SplineConfig::default() };
    let kinds = [AffineConfig::default().shared(), RationalQuadraticConfig(spline).shared()];
    let planar = LemmaFlow {
        layers: 1,
        formula: Direction::Sampling,
        act_norm: false,
        ..LemmaFlow::default()
    };
    let mut parts: Vec<Box<dyn Bijector<f64>>> = Vec::new();
    for _ in 0..repeats {
        for transformer in kinds.clone() {
            let layer =
                CouplingFlow { layers: 1, transformer, act_norm: false, ..CouplingFlow::default() };
            parts.push(Box::new(layer.build(dim, 0, rng)?));
        }
        parts.push(Box::new(planar.build(dim, 0, rng)?));
    }
    for part in &mut parts {
        perturb(&mut **part, 0.05, rng)?;
    }
    Ok(parts)
}

fn chain(setting: &Setting, findings: &mut Findings) -> Result<()> {
    let (rows, repeats, none) = (64, setting.either(2, 8), Context::none());
    let parts = parts(repeats, setting.seed)?;
    let whole = Chain::new(3, self::parts(repeats, setting.seed)?)?;
    let z = batch(normals(rows * 3, &mut stream(setting.seed, "z")), rows, 3)?;
    let mapped = whole.forward(&z, &none, &mut Tape::none())?;
    let Steps { sum, size, product } = one_by_one(&parts, &z)?;
    let of_whole = mapped.log_det.values();
    let sums = of_whole.iter().zip(&sum).zip(&size);
    findings.at_most(
        "chain: largest difference from the sum over its parts, over the sum of magnitudes",
        largest(sums.map(|((whole, sum), size)| (whole - sum).abs() / size)),
        parts.len() as f64 * f64::EPSILON,
        "one rounding for each of the terms",
    );
    let pairs = jacobians(&whole, &z)?.into_iter().zip(&product);
    findings.at_most(
        "chain: largest relative difference of its Jacobian from the product",
        largest(pairs.map(|(whole, product)| (whole - product).norm() / product.norm())),
        1e-12 * parts.len() as f64,
        "some thousand roundings a part, which products of matrices pass on",
    );
    let back = parts.iter().rev().try_fold(mapped.value.clone(), |x, part| {
        Ok::<_, flows_core::Error>(part.inverse(&x, &none, &mut Tape::none())?.value)
    })?;
    let inverse = whole.inverse(&mapped.value, &none, &mut Tape::none())?.value.values();
    findings.at_most(
        "chain: largest difference of its inverse from those of its parts in reverse order",
        distance(&inverse, &back.values()),
        0.0,
        "the same operations in the same order",
    );
    Ok(())
}

/// What parts one after another do to each row.
struct Steps {
    /// Of their log-determinants.
    sum: Vec<f64>,
    /// Of their magnitudes.
    size: Vec<f64>,
    /// Of their Jacobians.
    product: Vec<DMatrix<f64>>,
}

fn one_by_one(parts: &[Box<dyn Bijector<f64>>], z: &Batch<f64>) -> Result<Steps> {
    let rows = z.values().len() / 3;
    let (mut sum, mut size) = (vec![0.0; rows], vec![0.0; rows]);
    let (mut value, mut product) = (z.clone(), vec![DMatrix::identity(3, 3); rows]);
    for part in parts {
        for (product, factor) in product.iter_mut().zip(jacobians(&**part, &value)?) {
            *product = factor * &*product;
        }
        let step = part.forward(&value, &Context::none(), &mut Tape::none())?;
        for ((sum, size), l) in sum.iter_mut().zip(&mut size).zip(step.log_det.values()) {
            (*sum, *size) = (*sum + l, *size + l.abs());
        }
        value = step.value;
    }
    Ok(Steps { sum, size, product })
}
