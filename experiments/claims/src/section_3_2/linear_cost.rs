//! C21: linear flows by their decompositions (review, Section 3.2).

use anyhow::Result;
use flows_core::tensor::set_values;
use flows_core::testing::perturb;
use flows_core::{Bijector, Context, Layer, Parameters, Tape, Values, normals, stream, tensor};
use flows_finite::LuLinear;
use flows_finite::linear::{Generator, Orthogonal, qr};
use flows_report::finding::{Findings, Plot, Scale, Stroke, Table};
use nalgebra::DMatrix;

use crate::helper::statistics::larger;
use crate::helper::timing::medians;
use crate::{Check, Claim, Setting};

pub(crate) const C21: Claim = Claim {
    id: "C21",
    title: "Linear flows",
    review: "Decompositions PLU and QR give the determinant of a linear flow from a diagonal, in O(D) \
             where a dense matrix takes O(D^3); the exponential and the Cayley map give rotations, the \
             latter none with eigenvalue -1, and K reflections a determinant of (-1)^K (Section 3.2 and \
             Appendix B).",
    method: "The matrix of each layer is its image of the unit vectors. Log-determinants against dense \
             elimination, whose multiplications are counted; both timed. |Q^T Q - I| and det Q of all \
             generators. For the Cayley map of a plane the distance of the eigenvalues from -1 as the \
             generator grows, where tan of half the angle is its size.",
    check: Check::Run(check),
};

fn check(setting: &Setting) -> Result<Findings> {
    let mut findings = Findings::default();
    determinants(setting, &mut findings)?;
    orthogonality(setting, &mut findings)?;
    half_turn(setting.seed, &mut findings)?;
    Ok(findings)
}

/// The matrix of a linear layer without bias, and its log-determinant.
fn matrix(layer: &dyn Bijector<f64>) -> Result<(DMatrix<f64>, f64)> {
    let dim = layer.dim();
    let at = |values: Vec<f64>, rows| -> Result<_> {
        let points = tensor::batch(values, rows, dim)?;
        Ok(layer.forward(&points, &Context::none(), &mut Tape::none())?)
    };
    let bias = at(vec![0.0; dim], 1)?;
    let units = at(DMatrix::<f64>::identity(dim, dim).as_slice().to_vec(), dim)?.value.values();
    let bias_values = bias.value.values();
    let image = |i: usize, j: usize| units[j * dim + i] - bias_values[i];
    Ok((DMatrix::from_fn(dim, dim, image), bias.log_det.values()[0]))
}

fn determinants(setting: &Setting, findings: &mut Findings) -> Result<()> {
    let dims: &[usize] = setting.either(&[8, 16, 32, 64], &[8, 16, 32, 64, 128, 256, 512]);
    let mut table = Table::new(
        "Log-determinants of PLU layers by the sum over the diagonal, and by dense elimination.",
        &["D", "difference (nats)", "additions", "multiplications", "sum (s)", "dense (s)"],
    );
    let (mut worst, mut points) = (0.0, Vec::new());
    for &dim in dims {
        let layer = plu(dim, setting.seed)?;
        let (dense, log_det) = matrix(&layer)?;
        let (reference, multiplications) = eliminate(dense.clone());
        let difference = (log_det - reference).abs();
        worst = larger(worst, difference);
        let diagonal = normals::<f64>(dim, &mut stream(setting.seed, "diagonal"));
        let [sum, elimination] =
            medians([&|| std::hint::black_box(&diagonal).iter().sum::<f64>(), &|| {
                std::hint::black_box(&dense).clone().lu().determinant()
            }]);
        points.push([dim as f64, multiplications as f64]);
        let [a, b] = [(dim - 1).into(), multiplications.into()];
        table.row([dim.into(), difference.into(), a, b, sum.into(), elimination.into()]);
    }
    for dim in [2, 5, 16] {
        worst = larger(worst, qr_difference(dim, setting.seed)?);
    }
    findings.at_most(
        "PLU and QR: largest difference of log-determinants to elimination (nats)",
        worst,
        1e-10,
        "rounding of D^3 operations, 1e-16 each, over pivots of order 1",
    );
    power(&points, findings);
    findings.tables.push(table);
    findings.plots.push(operations(dims, points));
    Ok(())
}

fn power(points: &[[f64; 2]], findings: &mut Findings) {
    let last = points[points.len() - 2..].iter().map(|p| p[1].log2()).collect::<Vec<_>>();
    findings.between(
        "multiplications of elimination: power of D over the last doubling",
        last[1] - last[0],
        [3.0, 3.01],
        "(D^3 - D)/3, whose power is 3 plus 1.1/D^2; the sum over the diagonal takes D - 1 additions",
    );
}

/// Between the log-determinant of a QR layer and elimination.
fn qr_difference(dim: usize, seed: u64) -> Result<f64> {
    let rng = &mut stream(seed, "qr");
    let mut layer = qr::<f64>(dim, Generator::Householder(dim), rng)?;
    perturb(&mut layer, 0.3, rng)?;
    let (dense, log_det) = matrix(&layer)?;
    Ok((log_det - eliminate(dense).0).abs())
}

fn operations(dims: &[usize], multiplications: Vec<[f64; 2]>) -> Plot {
    let mut plot =
        Plot::new("Operations of a log-determinant.", Scale::log("D"), Scale::log("operations"));
    plot.series(
        "sum over the diagonal",
        Stroke::Measured,
        dims.iter().map(|&d| [d as f64, d as f64 - 1.0]),
    );
    plot.series("dense elimination", Stroke::Measured, multiplications);
    let cube = dims.iter().map(|&d| [d as f64, (d as f64).powi(3) / 3.0]);
    plot.series("D^3/3", Stroke::Reference, cube);
    plot
}

/// Random factors, the diagonal between 1/2 and 2, entries such that products stay of order 1.
fn plu(dim: usize, seed: u64) -> Result<Layer<f64>> {
    let mut rng = stream(seed, "factors");
    let scale = 0.5 / (dim as f64).sqrt();
    let mut entries =
        || -> Vec<f64> { normals::<f64>(dim * dim, &mut rng).iter().map(|v| scale * v).collect() };
    let (lower, upper) = (entries(), entries());
    let diagonal: Vec<f64> =
        normals::<f64>(dim, &mut rng).iter().map(|v| (0.5 * v.clamp(-1.0, 1.0)).exp()).collect();
    let order: Vec<usize> = (0..dim).map(|i| (i + dim / 2) % dim).collect();
    Ok(LuLinear::from_factors(&order, &lower, &upper, &diagonal)?)
}

/// ln |det| by elimination with row exchanges, and the multiplications of the rows' updates.
fn eliminate(mut matrix: DMatrix<f64>) -> (f64, usize) {
    let n = matrix.nrows();
    let (mut log_det, mut multiplications) = (0.0, 0);
    for k in 0..n {
        let pivot = (k..n).max_by(|&a, &b| matrix[(a, k)].abs().total_cmp(&matrix[(b, k)].abs()));
        matrix.swap_rows(k, pivot.unwrap_or(k));
        log_det += matrix[(k, k)].abs().ln();
        for i in k + 1..n {
            let factor = matrix[(i, k)] / matrix[(k, k)];
            for j in k + 1..n {
                matrix[(i, j)] -= factor * matrix[(k, j)];
            }
            multiplications += n - k;
        }
    }
    (log_det, multiplications)
}

/// Generators with their determinants.
const GENERATORS: [(&str, Generator, f64); 5] = [
    ("exponential", Generator::Exponential, 1.0),
    ("Cayley", Generator::Cayley, 1.0),
    ("1 reflection", Generator::Householder(1), -1.0),
    ("4 reflections", Generator::Householder(4), 1.0),
    ("7 reflections", Generator::Householder(7), -1.0),
];

fn orthogonality(setting: &Setting, findings: &mut Findings) -> Result<()> {
    let dims: &[usize] = setting.either(&[2, 5, 16], &[2, 5, 16, 64]);
    let mut table = Table::new(
        "Orthogonal layers with random parameters.",
        &["generator", "D", "largest entry of Q^T Q - I", "det Q", "expected"],
    );
    let (mut gram, mut sign) = (0.0, 0.0);
    for &dim in dims {
        for (name, generator, expected) in GENERATORS {
            let rng = &mut stream(setting.seed, name);
            let mut layer = Layer::<f64>::new(Orthogonal::new(dim, generator)?, rng)?;
            perturb(&mut layer, 1.0, rng)?;
            let (q, _) = matrix(&layer)?;
            let off = (q.tr_mul(&q) - DMatrix::identity(dim, dim)).amax();
            let determinant = q.determinant();
            gram = larger(gram, off);
            sign = larger(sign, (determinant - expected).abs());
            table.row([name.into(), dim.into(), off.into(), determinant.into(), expected.into()]);
        }
    }
    findings.at_most(
        "largest entry of Q^T Q - I",
        gram,
        1e-14,
        "64 products of at most 1 in all, 1e-16 each",
    );
    findings.at_most(
        "det Q against +1, +1 and (-1)^K: largest difference",
        sign,
        1e-12,
        "rounding of 64^3/3 operations on numbers below 1",
    );
    findings.tables.push(table);
    Ok(())
}

/// Rotations of the plane by the skew matrix of entry a.
fn half_turn(seed: u64, findings: &mut Findings) -> Result<()> {
    let distance = |generator, a: f64| -> Result<f64> {
        let map = Orthogonal::new(2, generator)?;
        let mut layer = Layer::<f64>::new(map, &mut stream(seed, "plane"))?;
        layer.visit_mut(&mut |_, _, tensor| set_values(tensor, &[0.0, 0.0, a, 0.0]))?;
        let (q, _) = matrix(&layer)?;
        // |e^(i angle) + 1|
        Ok((q[(0, 0)] + 1.0).hypot(q[(1, 0)]))
    };
    let sizes: Vec<f64> = (0..=6).map(|power| 10.0_f64.powi(power)).collect();
    let (mut worst, mut points) = (0.0, Vec::new());
    for &a in &sizes {
        let measured = distance(Generator::Cayley, a)?;
        worst = larger(worst, (measured * (1.0 + a * a).sqrt() / 2.0 - 1.0).abs());
        points.push([a, measured]);
    }
    findings.at_most(
        "Cayley map of the plane: distance of the eigenvalues from -1 against 2/sqrt(1 + a^2), relative",
        worst,
        1e-9,
        "rounding of 1e-16 over a distance of 2e-6",
    );
    findings.at_most(
        "exponential with a = pi: distance of the eigenvalues from -1",
        distance(Generator::Exponential, std::f64::consts::PI)?,
        1e-14,
        "a half turn is exp of a finite generator: rounding",
    );
    let mut plot = Plot::new(
        "Cayley map: eigenvalues come near -1 only as the generator grows without bound.",
        Scale::log("size of the generator"),
        Scale::log("distance of the eigenvalues from -1"),
    );
    plot.series("measured", Stroke::Measured, points);
    let reference = sizes.iter().map(|a| [*a, 2.0 / (1.0 + a * a).sqrt()]);
    plot.series("2/sqrt(1 + a^2)", Stroke::Reference, reference);
    findings.plots.push(plot);
    Ok(())
}
