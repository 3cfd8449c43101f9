//! C5: conditional distribution functions make any density uniform (review, Section 2.2).

use anyhow::Result;
use flows_core::{Stream, normals, stream};

use super::kolmogorov::p_value;
use super::normal;
use super::statistic::{largest, mean};
use super::{Check, Claim, Setting};
use crate::finding::{Content, Findings, Panel, Panels, Table};

pub(super) const C5: Claim = Claim {
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

/// A normal in the plane and its share of a mixture.
#[derive(Clone, Copy, Debug)]
struct Component {
    weight: f64,
    mean: [f64; 2],
    deviation: [f64; 2],
    correlation: f64,
}

/// A density with conditionals in closed form.
#[derive(Clone, Copy, Debug)]
enum Target {
    Mixture(&'static [Component]),
    /// x_1 ~ N(0, 1), x_2 ~ N(x_1^2 / 2 - 1/2, 1/4).
    Crescent,
}

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

/// A direction in which nothing is aligned.
const OBLIQUE: [f64; 2] = [0.6, 0.8];

/// Chance that a test fails although what it tests holds.
const LEVEL: f64 = 1e-3;

const fn component(
    weight: f64,
    mean: [f64; 2],
    deviation: [f64; 2],
    correlation: f64,
) -> Component {
    Component { weight, mean, deviation, correlation }
}

impl Component {
    /// Mean and deviation of x_2 where x_1 is known.
    fn conditional(&self, x1: f64) -> [f64; 2] {
        let [s1, s2] = self.deviation;
        let slope = self.correlation * s2 / s1;
        let deviation = s2 * (1.0 - self.correlation.powi(2)).sqrt();
        [self.mean[1] + slope * (x1 - self.mean[0]), deviation]
    }

    /// The joint density by its quadratic form, without the conditional.
    fn density(&self, x: [f64; 2]) -> f64 {
        let [a, b] = [0, 1].map(|i| (x[i] - self.mean[i]) / self.deviation[i]);
        let rest = 1.0 - self.correlation.powi(2);
        let square = (a * a - 2.0 * self.correlation * a * b + b * b) / rest;
        let area = self.deviation[0] * self.deviation[1] * rest.sqrt();
        (-0.5 * square).exp() / (std::f64::consts::TAU * area)
    }
}

impl Target {
    /// F: both conditional distribution functions.
    fn uniform(&self, x: [f64; 2]) -> [f64; 2] {
        [self.first(x[0]), self.second(x)]
    }

    fn first(&self, x1: f64) -> f64 {
        match self {
            Self::Crescent => normal::cdf(x1),
            Self::Mixture(components) => {
                let one = |c: &Component| c.weight * normal::cdf((x1 - c.mean[0]) / c.deviation[0]);
                components.iter().map(one).sum()
            }
        }
    }

    fn second(&self, [x1, x2]: [f64; 2]) -> f64 {
        match self {
            Self::Crescent => normal::cdf((x2 - 0.5 * x1 * x1 + 0.5) / 0.5),
            Self::Mixture(components) => {
                let share = |c: &Component| {
                    c.weight * normal::density((x1 - c.mean[0]) / c.deviation[0]) / c.deviation[0]
                };
                let below = |c: &Component| {
                    let [mean, deviation] = c.conditional(x1);
                    share(c) * normal::cdf((x2 - mean) / deviation)
                };
                let total: f64 = components.iter().map(share).sum();
                components.iter().map(below).sum::<f64>() / total
            }
        }
    }

    /// T = F^-1 of normal distribution functions.
    fn from_normal(&self, u: [f64; 2]) -> [f64; 2] {
        let x1 = root(|x1| self.first(x1), normal::cdf(u[0]));
        [x1, root(|x2| self.second([x1, x2]), normal::cdf(u[1]))]
    }

    fn density(&self, x: [f64; 2]) -> f64 {
        match self {
            Self::Crescent => {
                normal::density(x[0]) * normal::density((x[1] - 0.5 * x[0] * x[0] + 0.5) / 0.5)
                    / 0.5
            }
            Self::Mixture(all) => all.iter().map(|c| c.weight * c.density(x)).sum(),
        }
    }

    /// A draw that uses no distribution function.
    fn draw(&self, rng: &mut Stream) -> [f64; 2] {
        let noise = normals::<f64>(3, rng);
        match self {
            Self::Crescent => [noise[0], 0.5 * noise[0] * noise[0] - 0.5 + 0.5 * noise[1]],
            Self::Mixture(components) => {
                let mut rest = normal::cdf(noise[2]);
                let chosen = components.iter().find(|c| {
                    rest -= c.weight;
                    rest < 0.0
                });
                let c = chosen.unwrap_or(&components[0]);
                let x1 = c.mean[0] + c.deviation[0] * noise[0];
                let [mean, deviation] = c.conditional(x1);
                [x1, mean + deviation * noise[1]]
            }
        }
    }

    /// A number whose distribution function is known without F, and that function's value: for
    /// mixtures along an oblique direction, for the crescent across it.
    fn oblique(&self, x: [f64; 2]) -> f64 {
        let along = |v: [f64; 2]| OBLIQUE[0] * v[0] + OBLIQUE[1] * v[1];
        match self {
            Self::Crescent => {
                let across = [x[0], (x[1] - 0.5 * x[0] * x[0] + 0.5) / 0.5];
                normal::cdf(along(across))
            }
            Self::Mixture(components) => {
                let one = |c: &Component| {
                    let [a, b] = [0, 1].map(|i| OBLIQUE[i] * c.deviation[i]);
                    let deviation = (a * a + b * b + 2.0 * c.correlation * a * b).sqrt();
                    c.weight * normal::cdf((along(x) - along(c.mean)) / deviation)
                };
                components.iter().map(one).sum()
            }
        }
    }
}

/// Where an increasing function takes a value, by bisection to the last bit.
fn root(function: impl Fn(f64) -> f64, value: f64) -> f64 {
    let (mut low, mut high) = (-20.0, 20.0);
    loop {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            return middle;
        }
        if function(middle) < value { low = middle } else { high = middle }
    }
}

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
    let rows = setting.either(2_000, 10_000);
    let mut findings = Findings::default();
    let mut table = Table::new(
        "Chance of a larger Kolmogorov-Smirnov statistic; correlation in standard errors; largest \
         difference of log |det J_F| and log p (nats).",
        &["density", "z_1", "z_2", "T(u), oblique", "correlation", "log-determinant"],
    );
    let (mut chances, mut correlations, mut apart) = (Vec::new(), Vec::new(), Vec::new());
    let mut panels = [Vec::new(), Vec::new()];
    for (name, target) in TARGETS {
        let rng = &mut stream(setting.seed, name);
        let x: Vec<[f64; 2]> = (0..rows).map(|_| target.draw(rng)).collect();
        let z: Vec<[f64; 2]> = x.iter().map(|&x| target.uniform(x)).collect();
        let normal = |rng: &mut Stream| -> [f64; 2] {
            let u = normals::<f64>(2, rng);
            [u[0], u[1]]
        };
        let made: Vec<[f64; 2]> = (0..rows).map(|_| target.from_normal(normal(rng))).collect();
        let column = |i: usize| z.iter().map(|z| z[i]).collect::<Vec<f64>>();
        let oblique = made.iter().map(|&x| target.oblique(x)).collect();
        let tests = [column(0), column(1), oblique].map(p_value);
        let product: Vec<f64> = z.iter().map(|z| 12.0 * (z[0] - 0.5) * (z[1] - 0.5)).collect();
        let (correlation, error) = mean(&product);
        let dense = x.iter().take(1000).filter(|&&x| target.density(x) > 0.01);
        let errors = dense.map(|&x| (determinant(&target, x) / target.density(x)).ln().abs());
        let worst = largest(errors);
        chances.extend(tests);
        correlations.push((correlation / error).abs());
        apart.push(worst);
        let [a, b, c] = tests.map(Into::into);
        table.row([name.into(), a, b, c, (correlation / error).into(), worst.into()]);
        for (panels, points) in panels.iter_mut().zip([&made, &z]) {
            let points: Vec<f64> = points.iter().take(2000).flatten().copied().collect();
            panels.push(Panel { title: name.into(), content: Content::points(&points) });
        }
    }
    let tests = chances.len() as f64;
    findings.at_least(
        "least chance of a larger Kolmogorov-Smirnov statistic among all tests",
        chances.iter().copied().fold(1.0, f64::min),
        LEVEL / tests,
        "the statistics' exact distribution at a level of 1e-3 for all tests together",
    );
    findings.at_most(
        "largest correlation of z_1 and z_2 (standard errors)",
        largest(correlations),
        3.6,
        "a standard normal is farther out with a chance of 1e-3 in three tests",
    );
    findings.at_most(
        "largest difference of log |det J_F| and log p where p > 0.01 (nats)",
        largest(apart),
        1e-10,
        "the claim's demand: distribution functions are exact to 1e-16, differences over 0.005 to \
         some 1e-14, over a density of 0.01 to some 1e-12",
    );
    findings.tables.push(table);
    let [made, uniform] = panels;
    findings.panels.push(panels_of(
        "Draws T(u) of normal u, without training.",
        [-4.0, 4.0, -4.0, 4.0],
        ["x_1", "x_2"],
        made,
    ));
    findings.panels.push(panels_of(
        "Draws of each density as F maps them: uniform.",
        [0.0, 1.0, 0.0, 1.0],
        ["z_1", "z_2"],
        uniform,
    ));
    Ok(findings)
}

fn panels_of(title: &str, window: [f64; 4], axes: [&str; 2], panels: Vec<Panel>) -> Panels {
    Panels { title: title.into(), window, axes: axes.map(Into::into), panels }
}
