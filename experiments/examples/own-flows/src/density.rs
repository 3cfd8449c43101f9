//! A density of one's own: log-density, gradient, and its name in a config.

use experiments::density::{DensityConfig, Opened};
use flows_core::Target;
use serde::{Deserialize, Serialize};

/// Rosenbrock's density, exp(-(x - 1)^2 / 20 - steepness (y - x^2)^2 / 20).
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rosenbrock {
    /// Of the valley's sides, positive.
    pub(crate) steepness: f64,
}

impl Target for Rosenbrock {
    fn dim(&self) -> usize {
        2
    }

    fn log_density(&self, point: &[f64], gradient: &mut [f64]) -> f64 {
        let (x, y, a) = (point[0], point[1], self.steepness);
        let off = y - x * x;
        gradient[0] = -(x - 1.0) / 10.0 + a * off * x / 5.0;
        gradient[1] = -a * off / 10.0;
        -((x - 1.0).powi(2) + a * off * off) / 20.0
    }
}

#[typetag::serde(name = "rosenbrock")]
impl DensityConfig for Rosenbrock {
    fn name(&self) -> &str {
        "rosenbrock"
    }

    fn open(&self) -> anyhow::Result<Opened> {
        anyhow::ensure!(self.steepness > 0.0, "steepness must be above 0, got {}", self.steepness);
        Ok(Opened::new(*self))
    }
}

#[cfg(test)]
mod tests {
    use flows_core::testing::{close, differences};

    use super::*;

    #[test]
    fn the_gradient_is_that_of_the_density() {
        let density = Rosenbrock { steepness: 10.0 };
        for point in [[0.3, -0.7], [1.0, 1.0], [-1.5, 2.0]] {
            let mut gradient = [0.0; 2];
            density.log_density(&point, &mut gradient);
            let expected = differences(&point, |x| density.log_density(x, &mut [0.0; 2]));
            close("gradient", &gradient, &expected, 1e-8);
        }
    }
}
