//! C20: autoregressive models are autoregressive flows (review, Section 3.1.3).

use anyhow::Result;
use flows_core::{Base, Bijector, Context, Flow, Tape, Values, normals, stream, tensor};
use flows_finite::Scale;
use flows_finite::architecture::{AffineConfig, TransformerConfig};
use flows_report::finding::{Findings, Table};

use crate::helper::plain_conditioner::{self, PlainConditioner};
use crate::helper::statistics::{distance, larger};
use crate::{Check, Claim, Setting};

pub(crate) const C20: Claim = Claim {
    id: "C20",
    title: "Autoregressive models are autoregressive flows",
    review: "An autoregressive model with normal conditionals is one affine autoregressive flow layer on \
             a normal base: the same density, and ancestral sampling is its map (Section 3.1.3).",
    method: "A masked affine layer with random weights. Means and scales of the conditionals from its \
             weights by a network written out in a few lines; the product of the conditionals against \
             the flow's density, and mean + scale z, feature after feature, against its map of the \
             same z.",
    check: Check::Run(check),
};

/// Some thousand operations on numbers up to 100, each exact to 1e-16, fed forward through the
/// features.
const ROUNDING: f64 = 1e-10;

fn check(setting: &Setting) -> Result<Findings> {
    let rows = setting.either(200, 2000);
    let affine = AffineConfig { scale: Scale::Exp, inverted: true };
    let transformer = affine.shared();
    let mut findings = Findings::default();
    let mut table =
        Table::new("Largest differences over rows.", &["D", "log-density (nats)", "draw"]);
    let (mut densities, mut draws) = (0.0, 0.0);
    for dim in [1, 2, 5, 10] {
        let (chain, conditioner) = plain_conditioner::layer(dim, &transformer, setting.seed)?;
        let z = normals::<f64>(rows * dim, &mut stream(setting.seed, "draws"));
        let base = tensor::batch(z.clone(), rows, dim)?;
        let x = chain.forward(&base, &Context::none(), &mut Tape::none())?.value.values();
        let ancestral: Vec<f64> = z.chunks(dim).flat_map(|z| draw(&conditioner, z)).collect();
        let draw = distance(&x, &ancestral);
        let flow = Flow::new(Base::standard_normal(dim), Box::new(chain))?;
        let (density, _) = flow.evaluate(&x, &Context::none())?;
        let product: Vec<f64> = x.chunks(dim).map(|x| log_product(&conditioner, x)).collect();
        let density = distance(&density, &product);
        (densities, draws) = (larger(densities, density), larger(draws, draw));
        table.row([dim.into(), density.into(), draw.into()]);
    }
    let reason = "one number by two routes: rounding alone";
    findings.at_most("largest difference of log-densities (nats)", densities, ROUNDING, reason);
    findings.at_most("largest difference of draws", draws, ROUNDING, reason);
    findings.tables.push(table);
    Ok(findings)
}

/// x_i = mean_i + scale_i z_i, feature after feature.
fn draw(conditioner: &PlainConditioner, z: &[f64]) -> Vec<f64> {
    let mut x = vec![0.0; z.len()];
    for i in 0..z.len() {
        let theta = conditioner.theta(i, &x);
        x[i] = theta[1] + theta[0].exp() * z[i];
    }
    x
}

/// sum_i ln N(x_i; mean_i, scale_i^2)
fn log_product(conditioner: &PlainConditioner, x: &[f64]) -> f64 {
    let conditional = |i: usize| {
        let theta = conditioner.theta(i, x);
        let z = (x[i] - theta[1]) / theta[0].exp();
        -0.5 * z * z - theta[0] - 0.5 * std::f64::consts::TAU.ln()
    };
    (0..x.len()).map(conditional).sum()
}
