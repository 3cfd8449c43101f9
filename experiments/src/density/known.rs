//! Densities that come along, with known normalisers and exact draws.

use flows_bench::targets::KnownTarget;
use flows_core::Stream;

use super::{DensityConfig, Opened};
use crate::config::Support;

pub(super) fn opened(target: KnownTarget) -> Opened {
    Opened { log_normaliser: Some(target.log_normaliser().nats), ..Opened::new(target) }
}

#[typetag::serde(name = "known")]
impl DensityConfig for KnownTarget {
    fn name(&self) -> &str {
        (*self).name()
    }

    fn open(&self) -> anyhow::Result<Opened> {
        Ok(opened(*self))
    }

    fn description(&self) -> String {
        (*self).description().to_owned()
    }

    fn support(&self) -> Option<Vec<Support>> {
        let ends = (*self).support();
        if ends.iter().all(Option::is_none) {
            return Some(Vec::new());
        }
        let support = |[from, to]: [f64; 2]| Support::Interval { from, to };
        Some(ends.into_iter().map(|ends| ends.map_or(Support::Real, support)).collect())
    }

    fn sample(&self, rows: usize, rng: &mut Stream) -> Option<Vec<f64>> {
        Some((*self).sample(rows, rng))
    }
}
