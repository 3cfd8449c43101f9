//! Densities in the plane whose conditional distribution functions have closed forms.

use flows_core::{Stream, normals};

use crate::helper::standard_normal;

/// A normal in the plane and its share of a mixture.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Component {
    weight: f64,
    mean: [f64; 2],
    deviation: [f64; 2],
    correlation: f64,
}

/// A density with conditionals in closed form.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    Mixture(&'static [Component]),
    /// x_1 ~ N(0, 1), x_2 ~ N(x_1^2 / 2 - 1/2, 1/4).
    Crescent,
}

/// A direction in which nothing is aligned.
const OBLIQUE: [f64; 2] = [0.6, 0.8];

/// A component from its numbers.
pub(crate) const fn component(
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
    pub(crate) fn uniform(&self, x: [f64; 2]) -> [f64; 2] {
        [self.first(x[0]), self.second(x)]
    }

    fn first(&self, x1: f64) -> f64 {
        match self {
            Self::Crescent => standard_normal::cdf(x1),
            Self::Mixture(components) => {
                let one = |c: &Component| {
                    c.weight * standard_normal::cdf((x1 - c.mean[0]) / c.deviation[0])
                };
                components.iter().map(one).sum()
            }
        }
    }

    fn second(&self, [x1, x2]: [f64; 2]) -> f64 {
        match self {
            Self::Crescent => standard_normal::cdf((x2 - 0.5 * x1 * x1 + 0.5) / 0.5),
            Self::Mixture(components) => {
                let share = |c: &Component| {
                    c.weight * standard_normal::density((x1 - c.mean[0]) / c.deviation[0])
                        / c.deviation[0]
                };
                let below = |c: &Component| {
                    let [mean, deviation] = c.conditional(x1);
                    share(c) * standard_normal::cdf((x2 - mean) / deviation)
                };
                let total: f64 = components.iter().map(share).sum();
                components.iter().map(below).sum::<f64>() / total
            }
        }
    }

    /// T = F^-1 of normal distribution functions.
    pub(crate) fn of_normal(&self, u: [f64; 2]) -> [f64; 2] {
        let x1 = root(|x1| self.first(x1), standard_normal::cdf(u[0]));
        [x1, root(|x2| self.second([x1, x2]), standard_normal::cdf(u[1]))]
    }

    pub(crate) fn density(&self, x: [f64; 2]) -> f64 {
        match self {
            Self::Crescent => {
                standard_normal::density(x[0])
                    * standard_normal::density((x[1] - 0.5 * x[0] * x[0] + 0.5) / 0.5)
                    / 0.5
            }
            Self::Mixture(all) => all.iter().map(|c| c.weight * c.density(x)).sum(),
        }
    }

    /// A draw that uses no distribution function.
    pub(crate) fn draw(&self, rng: &mut Stream) -> [f64; 2] {
        let noise = normals::<f64>(3, rng);
        match self {
            Self::Crescent => [noise[0], 0.5 * noise[0] * noise[0] - 0.5 + 0.5 * noise[1]],
            Self::Mixture(components) => {
                let mut rest = standard_normal::cdf(noise[2]);
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
    pub(crate) fn oblique(&self, x: [f64; 2]) -> f64 {
        let along = |v: [f64; 2]| OBLIQUE[0] * v[0] + OBLIQUE[1] * v[1];
        match self {
            Self::Crescent => {
                let across = [x[0], (x[1] - 0.5 * x[0] * x[0] + 0.5) / 0.5];
                standard_normal::cdf(along(across))
            }
            Self::Mixture(components) => {
                let one = |c: &Component| {
                    let [a, b] = [0, 1].map(|i| OBLIQUE[i] * c.deviation[i]);
                    let deviation = (a * a + b * b + 2.0 * c.correlation * a * b).sqrt();
                    c.weight * standard_normal::cdf((along(x) - along(c.mean)) / deviation)
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
