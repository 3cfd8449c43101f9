//! C5: conditional distribution functions make any density uniform (review, Section 2.2).

use anyhow::Result;
use flows_core::{normals, stream};
use flows_report::finding::{Cell, Content, Findings, Panel, Panels, Table};

use crate::helper::known_conditionals::{Target, component};
use crate::helper::kolmogorov::p_value;
use crate::helper::statistics::{largest, mean};
use crate::{Check, Claim, Setting};

pub(crate) const C5: Claim = Claim {
    id: "C5",
    title: "Universality by conditional distribution functions",
    review: "z_i = Pr(x_i' <= x_i | x_<i) is uniform on the unit cube with a triangular Jacobian of \
             determinant p(x); one such map after the inverse of another takes any positive density to \
             any other (Section 2.2).",
    method: "For three densities in the plane with conditionals in closed form, the map F is built as \
             it is written, without training. Uniformity: exact Kolmogorov-Smirnov tests of both \
             coordinates of F(x) and their correlation; the determinant of differences of F against \
             the joint density. T = F^-1 of normal distribution functions: draws T(u) of normal u, \
             tested along an oblique direction, where the distribution is known too.",
    check: Check::Run(check),
};

const TARGETS: [(&str, Target); 3] = [
    ("correlated normal", Target::Mixture(&[component(1.0, [0.5, -0.5], [1.0, 0.7], 0.8)])),
    (
        "mixture of three",
        Target::Mixture(&[
            component(0.5, [-1.5, 0.0], [0.6, 0.8], 0.5),
            component(0.3, [1.5, 1.0], [0.7, 0.5], -0.6),
            component(0.2, [0.5, -1.8], [0.8, 0.6], 0.0),
        ]),
    ),
    ("crescent", Target::Crescent),
];

/// Chance that a test fails although what it tests holds.
const LEVEL: f64 = 1e-3;

/// |det J_F| by differences, extrapolated three times: error of order 8 in the step.
fn determinant(target: &Target, x: [f64; 2]) -> f64 {
    let slope = |output: usize, input: usize| {
        let at = |step: f64| {
            let mut moved = x;
            moved[input] += step;
            target.uniform(moved)[output]
        };
        let level = |i: i32| {
            let step = 0.04 * 0.5_f64.powi(i);
            (at(step) - at(-step)) / (2.0 * step)
        };
        let mut row = [0, 1, 2, 3].map(level);
        for order in 1..4 {
            let factor = 4.0_f64.powi(order);
            for i in 0..4 - order as usize {
                row[i] = (factor * row[i + 1] - row[i]) / (factor - 1.0);
            }
        }
        row[0]
    };
    (slope(0, 0) * slope(1, 1) - slope(0, 1) * slope(1, 0)).abs()
}

fn check(setting: &Setting) -> Result<Findings> {
    let mut findings = Findings::default();
    let mut table = Table::new(
        "Chance of a larger Kolmogorov-Smirnov statistic; correlation in standard errors; largest \
         difference of log |det J_F| and log p (nats).",
        &["density", "z_1", "z_2", "T(u), oblique", "correlation", "log-determinant"],
    );
    let (mut all, mut made, mut uniform) = (Vec::new(), Vec::new(), Vec::new());
    for (name, target) in TARGETS {
        let found = examine(name, &target, setting);
        let [a, b, c] = found.chances.map(Cell::from);
        table.row([name.into(), a, b, c, found.correlation.into(), found.apart.into()]);
        for (panels, points) in [(&mut made, &found.made), (&mut uniform, &found.uniform)] {
            let points: Vec<f64> = points.iter().take(2000).flatten().copied().collect();
            panels.push(Panel { title: name.into(), content: Content::points(&points) });
        }
        all.push(found);
    }
    demand(&all, &mut findings);
    findings.tables.push(table);
    let window = [-4.0, 4.0, -4.0, 4.0];
    let title = "Draws T(u) of normal u, without training.";
    findings.panels.push(panels_of(title, window, ["x_1", "x_2"], made));
    let title = "Draws of each density as F maps them: uniform.";
    findings.panels.push(panels_of(title, [0.0, 1.0, 0.0, 1.0], ["z_1", "z_2"], uniform));
    Ok(findings)
}

/// What was found of a density.
struct Found {
    /// Of a larger statistic, for both coordinates of F(x) and for T(u).
    chances: [f64; 3],
    /// Of the coordinates of F(x), in standard errors.
    correlation: f64,
    /// Of log |det J_F| and log p, the largest difference.
    apart: f64,
    made: Vec<[f64; 2]>,
    uniform: Vec<[f64; 2]>,
}

fn examine(name: &str, target: &Target, setting: &Setting) -> Found {
    let rows = setting.either(2_000, 10_000);
    let rng = &mut stream(setting.seed, name);
    let x: Vec<[f64; 2]> = (0..rows).map(|_| target.draw(rng)).collect();
    let uniform: Vec<[f64; 2]> = x.iter().map(|&x| target.uniform(x)).collect();
    let noise: Vec<f64> = normals(2 * rows, rng);
    let made: Vec<[f64; 2]> =
        noise.chunks_exact(2).map(|u| target.of_normal([u[0], u[1]])).collect();
    let column = |i: usize| uniform.iter().map(|z| z[i]).collect::<Vec<f64>>();
    let oblique = made.iter().map(|&x| target.oblique(x)).collect();
    let chances = [column(0), column(1), oblique].map(p_value);
    let products: Vec<f64> = uniform.iter().map(|z| 12.0 * (z[0] - 0.5) * (z[1] - 0.5)).collect();
    let (product, error) = mean(&products);
    let dense = x.iter().take(1000).filter(|&&x| target.density(x) > 0.01);
    let apart = dense.map(|&x| (determinant(target, x) / target.density(x)).ln().abs());
    Found { chances, correlation: product / error, apart: largest(apart), made, uniform }
}

fn demand(all: &[Found], findings: &mut Findings) {
    let chances = || all.iter().flat_map(|found| found.chances);
    findings.at_least(
        "least chance of a larger Kolmogorov-Smirnov statistic among all tests",
        chances().fold(1.0, f64::min),
        LEVEL / chances().count() as f64,
        "the statistics' exact distribution at a level of 1e-3 for all tests together",
    );
    findings.at_most(
        "largest correlation of z_1 and z_2 (standard errors)",
        largest(all.iter().map(|found| found.correlation.abs())),
        3.6,
        "one of three standard normals is farther out with a chance of 1e-3",
    );
    findings.at_most(
        "largest difference of log |det J_F| and log p where p > 0.01 (nats)",
        largest(all.iter().map(|found| found.apart)),
        1e-10,
        "the claim's demand: distribution functions are exact to 1e-16, differences over 0.005 to \
         some 1e-14, over a density of 0.01 to some 1e-12",
    );
}

fn panels_of(title: &str, window: [f64; 4], axes: [&str; 2], panels: Vec<Panel>) -> Panels {
    Panels { title: title.into(), window, axes: axes.map(Into::into), panels }
}
