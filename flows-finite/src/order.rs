//! Feature orders of autoregressive layers.

use flows_core::masked::Dependencies;
use flows_core::{Error, Result, Stream};
use rand::seq::SliceRandom;

/// The feature order of an autoregressive layer: `features[0]` depends on the context only, the
/// next one on it, and so on. Cut into parts, the features of a part depend on those of earlier
/// parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    features: Vec<usize>,
    parts: usize,
    /// Parents of each position, if a graph gives them.
    parents: Option<Vec<Vec<bool>>>,
}

impl Order {
    /// The natural order.
    #[must_use]
    pub fn natural(dim: usize) -> Self {
        Self { features: (0..dim).collect(), parts: dim, parents: None }
    }

    /// The reversed order.
    #[must_use]
    pub fn reversed(dim: usize) -> Self {
        Self { features: (0..dim).rev().collect(), parts: dim, parents: None }
    }

    /// A random order.
    #[must_use]
    pub fn random(dim: usize, rng: &mut Stream) -> Self {
        let mut order = Self::natural(dim);
        order.features.shuffle(rng);
        order
    }

    /// An order by its features.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless every number from 0 to dim - 1 occurs once.
    pub fn new(features: &[usize]) -> Result<Self> {
        let mut seen = vec![false; features.len()];
        for &feature in features {
            match seen.get_mut(feature) {
                Some(free) if !*free => *free = true,
                _ => {
                    let name = "order of an autoregressive layer";
                    let requirement = "a permutation of 0, 1, .. dim - 1";
                    return Err(Error::Parameter { name, requirement, value: feature as f64 });
                }
            }
        }
        Ok(Self { features: features.to_vec(), parts: features.len(), parents: None })
    }

    /// A topological order of a graph with `adjacency[i][j]` if feature i depends on feature j;
    /// other dependences are masked.
    ///
    /// # Errors
    /// [`Error::Dimension`] unless the table is square; [`Error::Parameter`] if the graph has a
    /// cycle.
    pub fn graph(adjacency: &[Vec<bool>]) -> Result<Self> {
        let dim = adjacency.len();
        if let Some(row) = adjacency.iter().find(|row| row.len() != dim) {
            let op = "adjacency of an autoregressive layer";
            return Err(Error::Dimension { op, expected: dim, got: row.len() });
        }
        let mut features: Vec<usize> = Vec::with_capacity(dim);
        while features.len() < dim {
            let ready = |i: &usize| {
                !features.contains(i)
                    && (0..dim).all(|j| !adjacency[*i][j] || features.contains(&j))
            };
            let Some(next) = (0..dim).find(ready) else {
                let left = (0..dim).find(|i| !features.contains(i)).unwrap_or(0);
                let (name, requirement) =
                    ("adjacency", "without a cycle; one goes through feature");
                return Err(Error::Parameter { name, requirement, value: left as f64 });
            };
            features.push(next);
        }
        let row = |&i: &usize| features.iter().map(|&j| adjacency[i][j]).collect();
        let parents = Some(features.iter().map(row).collect());
        Ok(Self { features, parts: dim, parents })
    }

    /// The same order cut into `parts` parts of nearly equal size: 2 make a coupling layer, one for
    /// each feature a fully autoregressive one.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless there are 1 to dim parts; for a graph, which has parts of its own.
    pub fn in_parts(self, parts: usize) -> Result<Self> {
        if parts == 0 || parts > self.features.len() || self.parents.is_some() {
            let name = "parts of an autoregressive layer";
            let requirement = "between 1 and the number of features, for an order without a graph";
            return Err(Error::Parameter { name, requirement, value: parts as f64 });
        }
        Ok(Self { parts, ..self })
    }

    /// The features in order.
    #[must_use]
    pub fn features(&self) -> &[usize] {
        &self.features
    }

    /// The dependency structure for a masked network, its inputs in this order.
    pub(crate) fn dependencies(&self, context: usize) -> Result<Dependencies> {
        if let Some(parents) = &self.parents {
            return Dependencies::graph(parents.clone(), context);
        }
        let dim = self.features.len();
        Dependencies::parts_of((0..dim).map(|i| 1 + i * self.parts / dim).collect(), context)
    }
}
