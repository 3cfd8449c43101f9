//! C48: likelihood-free inference by neural posterior estimation (review, Section 6.2.4).

use anyhow::Result;
use flows_core::train::{AdamConfig, Budget, TrainConfig};
use flows_core::{Parameters, Stream, normals, stream};
use flows_finite::architecture::{Conditioner, CouplingFlow};
use flows_inference::simulation::{
    Estimation, Invalid, Marginal, Posterior, Prior, ProductPrior, Simulations, Simulator, flow_of,
    npe, unreported,
};
use flows_report::finding::{
    Content, Criterion, Findings, Panel, Panels, Plot, Scale, Stroke, Table,
};
use flows_report::grid::{IMAGE_CELLS, centres};
use nalgebra::{Matrix2, Matrix3x2, Vector2, Vector3};

use crate::helper::statistics::mean;
use crate::{Check, Claim, Setting};

pub(crate) const C48: Claim = Claim {
    id: "C48",
    title: "Likelihood-free inference",
    review: "A conditional flow that is trained on pairs of parameters and simulated data learns the \
             posterior of a simulator whose likelihood is not known (Section 6.2.4).",
    method: "Neural posterior estimation with two affine couplings on theta ~ N(0, I) in two dimensions \
             and x = A theta + 0.5 noise in three, whose posterior is normal with known mean and \
             covariance. The divergence from the exact posterior to the learned one, over exact draws at \
             several observations and over fresh pairs, by number of simulations.",
    check: Check::Run(check),
};

/// Observations that are looked at one by one.
const OBSERVATIONS: usize = 6;

/// What of theta and x a panel shows.
const VIEW: [f64; 4] = [-3.0, 3.0, -3.0, 3.0];

fn check(setting: &Setting) -> Result<Findings> {
    let model = LinearNormal::new()?;
    let pairs = pairs(&model, setting.either(2000, 20_000), &mut stream(setting.seed, "pairs"))?;
    let information = model.information();
    let mut findings = Findings::default();
    let mut plot = Plot::new(
        "Mean divergence from the exact posterior by number of simulations.",
        Scale::log("simulations"),
        Scale::log("nats"),
    );
    let (mut curve, mut bounds) = (Vec::new(), Vec::new());
    for rows in setting.either(vec![1000, 10_000], vec![1000, 10_000, 100_000]) {
        let posterior = estimate(&model, rows, setting)?;
        let bound = estimation_error(&posterior, rows);
        let nats = model.divergences(&posterior, &pairs)?;
        let (kl, error) = mean(&nats);
        curve.push([rows as f64, kl, error]);
        bounds.push([rows as f64, bound]);
        if rows == 10_000 {
            demand((kl, error), bound, information, &mut findings);
            let (table, at) = one_by_one(&model, &posterior, setting)?;
            findings.demand(
                "mean divergence at the observations of the table (nats)",
                at,
                Criterion::AtMost(bound + 4.0 * at.1.unwrap_or(f64::NAN)),
                "as for fresh pairs: the observations are drawn like them",
            );
            findings.tables.push(table);
            findings.panels.push(panels(&model, &posterior, setting.seed)?);
        }
    }
    plot.series_with_errors("learned posterior", Stroke::Measured, curve);
    plot.series("weights / (2 simulations)", Stroke::Reference, bounds);
    findings.plots.push(plot);
    Ok(findings)
}

fn demand((kl, error): (f64, f64), bound: f64, information: f64, findings: &mut Findings) {
    findings.demand(
        "mean divergence over fresh pairs, 10,000 simulations (nats)",
        (kl, Some(error)),
        Criterion::Between(-4.0 * error, bound + 4.0 * error),
        "no divergence is negative; the couplings contain the exact posterior, and maximum likelihood \
         with k free weights from n independent pairs is off by k / (2 n) nats in the mean (Wilks); \
         four standard errors over the pairs",
    );
    findings.observed("what data tell about the parameters, I(theta; x) (nats)", information, None);
}

/// k / (2 n) nats, for k weights and the n pairs that are not held out for validation.
fn estimation_error(posterior: &Posterior<f64>, rows: usize) -> f64 {
    let trained_on = rows as f64 * (1.0 - Estimation::default().validation);
    posterior.flow().count() as f64 / (2.0 * trained_on)
}

fn estimate(model: &LinearNormal, rows: usize, setting: &Setting) -> Result<Posterior<f64>> {
    let conditioner = Conditioner::perceptron(vec![16, 16]);
    let config = CouplingFlow { layers: 2, conditioner, ..CouplingFlow::default() };
    let optimiser = AdamConfig { learning_rate: 5e-3, ..AdamConfig::default() };
    let train = TrainConfig { optimiser, ..Estimation::default().train };
    let budget = Budget::Steps { steps: setting.either(600, 5000) };
    let settings = Estimation { rows, train, budget, ..Estimation::default() };
    let rng = &mut stream(setting.seed, &format!("estimation from {rows}"));
    Ok(npe(model, &flow_of(&config), &settings, &mut unreported, rng)?)
}

fn pairs(model: &LinearNormal, rows: usize, rng: &mut Stream) -> Result<Simulations> {
    Ok(Simulations::of_prior(model, rows, Invalid::Refuse, &mut unreported, rng)?)
}

/// Divergence at each of a few observations, and their mean with its standard error.
fn one_by_one(
    model: &LinearNormal,
    posterior: &Posterior<f64>,
    setting: &Setting,
) -> Result<(Table, (f64, Option<f64>))> {
    let draws = setting.either(1000, 10_000);
    let mut table = Table::new(
        "Posteriors at single observations, from 10,000 simulations; means over draws of both.",
        &["x", "exact mean", "learned mean", "divergence (nats)"],
    );
    let (mut kl, mut square) = (0.0, 0.0);
    for (index, x) in observations(model, setting.seed)?.iter().enumerate() {
        let rng = &mut stream(setting.seed, &format!("posterior draws {index}"));
        let exact = model.posterior_draws(x, draws, rng);
        let learned = posterior.sample(x, draws, rng)?;
        let log_q = posterior.log_density(x, &exact)?;
        let gaps: Vec<f64> = exact
            .chunks_exact(2)
            .zip(log_q)
            .map(|(theta, q)| model.log_posterior(theta, x) - q)
            .collect();
        let (nats, error) = mean(&gaps);
        kl += nats / OBSERVATIONS as f64;
        square += (error / OBSERVATIONS as f64).powi(2);
        let centre = |k: usize| learned.iter().skip(k).step_by(2).sum::<f64>() / draws as f64;
        let m = model.mean(x);
        table.row([
            format!("({:.2}, {:.2}, {:.2})", x[0], x[1], x[2]).into(),
            format!("({:.3}, {:.3})", m[0], m[1]).into(),
            format!("({:.3}, {:.3})", centre(0), centre(1)).into(),
            (nats, error).into(),
        ]);
    }
    Ok((table, (kl, Some(square.sqrt()))))
}

fn observations(model: &LinearNormal, seed: u64) -> Result<Vec<Vec<f64>>> {
    let drawn = pairs(model, OBSERVATIONS, &mut stream(seed, "observations"))?;
    Ok(drawn.data.chunks(model.data_columns()).map(<[f64]>::to_vec).collect())
}

fn panels(model: &LinearNormal, posterior: &Posterior<f64>, seed: u64) -> Result<Panels> {
    let points = centres(VIEW, IMAGE_CELLS);
    let mut panels = Vec::new();
    for (index, x) in observations(model, seed)?.iter().take(2).enumerate() {
        let exact: Vec<f64> =
            points.chunks_exact(2).map(|theta| model.log_posterior(theta, x)).collect();
        let learned = posterior.log_density(x, &points)?;
        for (name, values) in [("exact", exact), ("learned", learned)] {
            let title = format!("observation {}, {name}", index + 1);
            panels.push(Panel { title, content: Content::log_density(&values) });
        }
    }
    Ok(Panels {
        title: "Exact and learned posterior at two observations.".into(),
        window: VIEW,
        axes: ["theta1".into(), "theta2".into()],
        panels,
    })
}

/// theta ~ N(0, I) and x = A theta + s noise, so that the posterior has precision I + A^T A / s^2.
#[derive(Debug)]
struct LinearNormal {
    prior: ProductPrior,
    precision: Matrix2<f64>,
    covariance: Matrix2<f64>,
}

/// A
const DESIGN: Matrix3x2<f64> = Matrix3x2::new(1.0, 0.0, 0.6, 0.8, -0.5, 1.0);

/// s
const NOISE: f64 = 0.5;

impl LinearNormal {
    fn new() -> Result<Self> {
        let normal = Marginal::Normal { mean: 0.0, deviation: 1.0 };
        let prior = ProductPrior::new(vec![("theta1".into(), normal), ("theta2".into(), normal)])?;
        let precision = Matrix2::identity() + DESIGN.transpose() * DESIGN / (NOISE * NOISE);
        let covariance = precision
            .try_inverse()
            .ok_or_else(|| anyhow::anyhow!("the precision of the posterior is singular"))?;
        Ok(Self { prior, precision, covariance })
    }

    fn mean(&self, x: &[f64]) -> Vector2<f64> {
        self.covariance * DESIGN.transpose() * Vector3::from_column_slice(x) / (NOISE * NOISE)
    }

    /// log p(theta | x) in nats.
    fn log_posterior(&self, theta: &[f64], x: &[f64]) -> f64 {
        let off = Vector2::from_column_slice(theta) - self.mean(x);
        let square = (off.transpose() * self.precision * off).x;
        0.5 * (self.precision.determinant().ln() - square) - std::f64::consts::TAU.ln()
    }

    /// By the symmetric root of the covariance.
    fn posterior_draws(&self, x: &[f64], rows: usize, rng: &mut Stream) -> Vec<f64> {
        let eigen = self.covariance.symmetric_eigen();
        let root = eigen.eigenvectors * Matrix2::from_diagonal(&eigen.eigenvalues.map(f64::sqrt));
        let (noise, mean) = (normals::<f64>(2 * rows, rng), self.mean(x));
        let draw = |n: &[f64]| mean + root * Vector2::from_column_slice(n);
        noise.chunks_exact(2).map(draw).flat_map(|theta| [theta.x, theta.y]).collect()
    }

    /// I(theta; x): the mean divergence of the prior from the posterior.
    fn information(&self) -> f64 {
        0.5 * self.precision.determinant().ln()
    }

    /// log p(theta | x) - log q(theta | x) of pairs, whose mean is the expected divergence.
    fn divergences(&self, posterior: &Posterior<f64>, pairs: &Simulations) -> Result<Vec<f64>> {
        let log_q = posterior.log_density_each(&pairs.data, &pairs.parameters, 1)?;
        let rows = pairs.parameters.chunks_exact(2).zip(pairs.data.chunks_exact(3)).zip(log_q);
        Ok(rows.map(|((theta, x), q)| self.log_posterior(theta, x) - q).collect())
    }
}

impl Simulator for LinearNormal {
    fn prior(&self) -> &dyn Prior {
        &self.prior
    }

    fn data_columns(&self) -> usize {
        3
    }

    fn simulate(&self, parameters: &[f64], rng: &mut Stream) -> flows_core::Result<Vec<f64>> {
        let rows = parameters.len() / 2;
        let noise: Vec<f64> = normals(3 * rows, rng);
        let row = |(theta, n): (&[f64], &[f64])| {
            DESIGN * Vector2::from_column_slice(theta) + NOISE * Vector3::from_column_slice(n)
        };
        let data = parameters.chunks_exact(2).zip(noise.chunks_exact(3)).map(row);
        Ok(data.flat_map(|x| [x.x, x.y, x.z]).collect())
    }
}
