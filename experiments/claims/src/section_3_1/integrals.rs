//! C17: transformers by integration (review, Section 3.1.1).

use anyhow::Result;
use flows_finite::{Affine, Integrated, Scale as LogScale, SumOfSquares};
use flows_report::finding::{Findings, Plot, Scale, Stroke, Table};

use crate::helper::scalar_map::{ScalarMap, evenly};
use crate::helper::statistics::{distance, larger};
use crate::{Check, Claim, Setting};

pub(crate) const C17: Claim = Claim {
    id: "C17",
    title: "Transformers by integration",
    review: "An integral of a positive function has that function as its derivative, exactly; sums of \
             squared polynomials integrate in closed form and are affine for degree 0, general \
             integrands need quadrature (Section 3.1.1).",
    method: "Sum of squares of degree 0 against the affine transformer, and of degrees up to 4 against \
             the antiderivative written out. An integrated network with one hidden layer of tanh units, \
             positive throughout so that its integral is known in closed form: error by the number of \
             nodes, against the bound for functions analytic in an ellipse; and with an integrand that \
             has a kink. Log-slopes against the integrand.",
    check: Check::Run(check),
};

fn check(_: &Setting) -> Result<Findings> {
    let mut findings = Findings::default();
    degree_zero(&mut findings)?;
    antiderivative(&mut findings)?;
    quadrature(&mut findings)?;
    Ok(findings)
}

fn degree_zero(findings: &mut Findings) -> Result<()> {
    let coefficients = [0.7, -1.2, 0.4, 0.9];
    let total: f64 = coefficients[..3].iter().map(|a| a * a).sum();
    let squares = ScalarMap::identity(SumOfSquares::new(3, 0)?).with(|k, _| coefficients[k]);
    let affine = ScalarMap::identity(Affine::new(LogScale::Exp)?)
        .with(|k, _| [total.ln(), coefficients[3]][k]);
    let x = evenly([-5.0, 5.0], 201);
    let (a, b) = (squares.forward::<f64>(&x)?, affine.forward::<f64>(&x)?);
    let back = squares.inverse::<f64>(&a.value)?;
    let worst = [
        distance(&a.value, &b.value),
        distance(&a.log_slope, &b.log_slope),
        distance(&back.value, &x),
    ];
    findings.at_most(
        "sum of squares of degree 0 against the affine map: values, log-slopes, inverse",
        worst.into_iter().fold(0.0, larger),
        1e-14,
        "some ten operations on numbers up to 12: 1e-15 each",
    );
    findings.at_most(
        "its inverse: evaluations",
        back.iterations as f64,
        0.0,
        "a formula searches nothing",
    );
    Ok(())
}

/// y = c + sum over k, l, m of a_kl a_km x^(l+m+1)/(l+m+1)
fn antiderivative(findings: &mut Findings) -> Result<()> {
    let x = evenly([-2.0, 2.0], 101);
    let (mut values, mut slopes) = (0.0, 0.0);
    for degree in 0..=4 {
        let width = degree + 1;
        let a = |index: usize| (1.3 * index as f64 + 0.4).sin();
        let map = ScalarMap::identity(SumOfSquares::new(2, degree)?).with(|k, _| a(k));
        let image = map.forward::<f64>(&x)?;
        for ((&x, &y), &log_slope) in x.iter().zip(&image.value).zip(&image.log_slope) {
            let (mut value, mut slope) = (a(2 * width), 0.0);
            for (k, l) in (0..2).flat_map(|k| (0..width).map(move |l| (k, l))) {
                for m in 0..width {
                    let (product, power) = (a(k * width + l) * a(k * width + m), (l + m) as i32);
                    value += product * x.powi(power + 1) / f64::from(power + 1);
                    slope += product * x.powi(power);
                }
            }
            values = larger(values, (y - value).abs());
            slopes = larger(slopes, (log_slope.exp() - slope).abs());
        }
    }
    let reason =
        "2 x 25 terms of at most 2^9, each exact to 1e-16 of itself: 6e-12 in the worst case";
    findings.at_most("sum of squares, degrees 0 to 4: error of the value", values, 6e-12, reason);
    findings.at_most("error of the slope", slopes, 6e-12, reason);
    Ok(())
}

/// Weights of a network of tanh units: s(u) = w2 . tanh(w1 u + b1) + b2, integrand elu(s) + 1.
struct Integrand {
    w1: [f64; 3],
    b1: [f64; 3],
    w2: [f64; 3],
    b2: f64,
}

/// Positive throughout, as |w2| sums to less than b2.
const SMOOTH: Integrand =
    Integrand { w1: [1.5, -2.0, 1.0], b1: [0.3, -0.5, 0.0], w2: [0.6, -0.5, 0.4], b2: 2.0 };
/// Changes its sign within the interval, and is positive at its end.
const KINKED: Integrand = Integrand { b2: -0.8, ..SMOOTH };
/// The upper end of the integral.
const END: f64 = 3.0;

impl Integrand {
    fn map(&self, steps: usize) -> Result<ScalarMap> {
        let theta = [&self.w1[..], &self.b1, &self.w2, &[self.b2, 0.0]].concat();
        Ok(ScalarMap::identity(Integrated::new(3, steps)?).with(|k, _| theta[k]))
    }

    fn exponent(&self, u: f64) -> f64 {
        (0..3).map(|k| self.w2[k] * (self.w1[k] * u + self.b1[k]).tanh()).sum::<f64>() + self.b2
    }

    /// The integral from 0 where s > 0: of 1 + s, with that of tanh(w u + b) = ln cosh(w u + b)/w.
    fn integral(&self, x: f64) -> f64 {
        let ln_cosh = |v: f64| v.abs() + (-2.0 * v.abs()).exp().ln_1p() - std::f64::consts::LN_2;
        let unit = |k: usize| {
            let (w, b) = (self.w1[k], self.b1[k]);
            self.w2[k] / w * (ln_cosh(w * x + b) - ln_cosh(b))
        };
        (1.0 + self.b2) * x + (0..3).map(unit).sum::<f64>()
    }

    /// Bound of the error of Clenshaw-Curtis with N + 1 nodes on [0, x], N even: (x/2)(64/15)
    /// M rho^-N/(1 - rho^-2), where |g| <= M in the ellipse around [0, x] with sum of semi-axes rho
    /// (relative to x/2). Its smaller semi-axis is taken such that |Im(w u)| <= c = 1.4 < pi/2; there
    /// |tanh| <= tan c.
    fn bound(&self, x: f64, steps: usize) -> f64 {
        const C: f64 = 1.4;
        let steepest = self.w1.iter().fold(0.0_f64, |w, v| w.max(v.abs()));
        let r = 2.0 * C / (steepest * x);
        let rho = r + (1.0 + r * r).sqrt();
        let largest = 1.0 + self.b2 + self.w2.iter().map(|w| w.abs()).sum::<f64>() * C.tan();
        x / 2.0 * 64.0 / 15.0 * largest * rho.powi(-(steps as i32)) / (1.0 - rho.powi(-2))
    }
}

fn quadrature(findings: &mut Findings) -> Result<()> {
    let kinked = KINKED.map(10_000)?.forward::<f64>(&[END])?.value[0];
    let mut table = Table::new(
        "Error of the integral from 0 to 3 by Clenshaw-Curtis.",
        &["nodes", "smooth integrand", "its bound", "integrand with a kink"],
    );
    let (mut excess, mut slope) = (f64::NEG_INFINITY, 0.0);
    let mut curves = [const { Vec::new() }; 3];
    for n in (2..=100).step_by(2) {
        let (errors, slope_error) = errors(n, kinked)?;
        slope = larger(slope, slope_error);
        // Rounding of a sum of n terms of order 10 is below 1e-13.
        excess = larger(excess, (errors[0] - 1e-13) / errors[1]);
        for (curve, error) in curves.iter_mut().zip(errors) {
            curve.push([n as f64, error]);
        }
        if n.is_power_of_two() {
            let [a, b, c] = errors.map(Into::into);
            table.row([(n + 1).into(), a, b, c]);
        }
    }
    findings.tables.push(table);
    findings.plots.push(decay(curves));
    findings.at_most(
        "smooth integrand: error over its bound, largest over 3 to 101 nodes",
        excess,
        1.0,
        "theorem on Clenshaw-Curtis for functions analytic in an ellipse (Trefethen, SIAM Review 2008): \
         exponential in the number of nodes",
    );
    findings.at_most(
        "log-slope against that of the integrand, any number of nodes",
        slope,
        1e-14,
        "the integrand itself, not the slope of the sum: rounding",
    );
    Ok(())
}

/// Error of the smooth integral, its bound, error of the one with a kink; and the larger error of
/// both log-slopes.
fn errors(steps: usize, kinked: f64) -> Result<([f64; 3], f64)> {
    let smooth = SMOOTH.map(steps)?.forward::<f64>(&[END])?;
    let rough = KINKED.map(steps)?.forward::<f64>(&[END])?;
    let of_smooth = (smooth.log_slope[0] - SMOOTH.exponent(END).ln_1p()).abs();
    let of_rough = (rough.log_slope[0] - KINKED.exponent(END).ln_1p()).abs();
    let error = (smooth.value[0] - SMOOTH.integral(END)).abs();
    let errors = [error, SMOOTH.bound(END, steps), (rough.value[0] - kinked).abs()];
    Ok((errors, larger(of_smooth, of_rough)))
}

fn decay(curves: [Vec<[f64; 2]>; 3]) -> Plot {
    let mut plot = Plot::new(
        "Error of the integral by the number of steps: exponential where the integrand is smooth.",
        Scale::linear("steps"),
        Scale::log("error"),
    );
    let names = ["smooth", "bound of the smooth one", "with a kink"];
    let strokes = [Stroke::Measured, Stroke::Reference, Stroke::Measured];
    for ((name, stroke), points) in names.into_iter().zip(strokes).zip(curves) {
        plot.series(name, stroke, points);
    }
    plot
}
