//! The simulators that come along, with their priors.

use flows_bench::simulators::Simulator as Known;
use flows_core::{Error, Result, Stream};
use flows_inference::simulation::{Marginal, Prior, ProductPrior, Simulator};

/// Standard deviation of the priors that are normal, whose variance is 0.1.
const DEVIATION: f64 = 0.316_227_766_016_837_94;

/// A simulator of the benchmark of simulation-based inference.
#[derive(Debug)]
pub struct KnownSimulator {
    simulator: Known,
    prior: ProductPrior,
}

impl KnownSimulator {
    /// With its prior.
    ///
    /// # Errors
    /// None: its prior is in range.
    pub fn new(simulator: Known) -> Result<Self> {
        let marginal = |ends: Option<[f64; 2]>| match ends {
            Some([low, high]) => Marginal::Uniform { low, high },
            None => Marginal::Normal { mean: 0.0, deviation: DEVIATION },
        };
        let ends = simulator.support().into_iter();
        let parameters =
            ends.enumerate().map(|(i, ends)| (format!("theta{}", i + 1), marginal(ends)));
        Ok(Self { simulator, prior: ProductPrior::new(parameters.collect())? })
    }
}

impl Simulator for KnownSimulator {
    fn prior(&self) -> &dyn Prior {
        &self.prior
    }

    fn data_columns(&self) -> usize {
        self.simulator.features()
    }

    fn simulate(&self, parameters: &[f64], rng: &mut Stream) -> Result<Vec<f64>> {
        let expected = self.simulator.parameters();
        if !parameters.len().is_multiple_of(expected) {
            let (op, got) = ("last row of parameters", parameters.len() % expected);
            return Err(Error::Dimension { op, expected, got });
        }
        Ok(self.simulator.simulate(parameters, rng))
    }
}
