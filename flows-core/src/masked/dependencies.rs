//! The dependency structure of a masked network.

use crate::{Error, Result};

/// The dependency structure of a masked network: inputs in order, cut into parts. The outputs of an
/// input depend on the context and on the inputs of earlier parts, either all of them or those that
/// a graph names.
///
/// Parts of one input make a fully autoregressive network, two parts a coupling layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependencies {
    /// Part of each input, counted from 1 and never falling.
    parts: Vec<usize>,
    /// For each input, which earlier inputs are its parents; `None` if all of earlier parts are.
    parents: Option<Vec<Vec<bool>>>,
    context: usize,
}

/// Inputs that a unit may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    /// The largest part among them, 0 if there is none.
    pub(super) degree: usize,
    /// The inputs as a mask; `None` for all up to the degree.
    pub(super) inputs: Option<Vec<bool>>,
}

impl Dependencies {
    /// Dependencies by parts: `parts[i]` is the part of input i, 1, 2, .. without gaps and never
    /// falling. The `context` features precede the inputs, and every output depends on them.
    ///
    /// # Errors
    /// [`Error::Parameter`] without inputs or for other part numbers.
    pub fn parts_of(parts: Vec<usize>, context: usize) -> Result<Self> {
        let steps = std::iter::once(&0).chain(&parts).zip(&parts);
        if let Some((_, &part)) = steps.clone().find(|(a, b)| **b < **a || **b > **a + 1) {
            let (name, requirement) = ("parts of an autoregressive layer", "1, 2, .. in order");
            return Err(Error::Parameter { name, requirement, value: part as f64 });
        }
        if parts.first() != Some(&1) {
            let (name, requirement) = ("features of an autoregressive layer", "at least 1");
            return Err(Error::Parameter { name, requirement, value: 0.0 });
        }
        Ok(Self { parts, parents: None, context })
    }

    /// Dependencies by a graph: every input is its own part, and `parents[i]` says which of the
    /// earlier inputs its outputs depend on.
    ///
    /// # Errors
    /// [`Error::Parameter`] without inputs; [`Error::Dimension`] if the table is not square.
    pub fn graph(parents: Vec<Vec<bool>>, context: usize) -> Result<Self> {
        let dim = parents.len();
        if let Some(row) = parents.iter().find(|row| row.len() != dim) {
            let op = "adjacency of an autoregressive layer";
            return Err(Error::Dimension { op, expected: dim, got: row.len() });
        }
        let parents = (0..dim).map(|i| (0..dim).map(|j| j < i && parents[i][j]).collect());
        let parents = Some(parents.collect());
        Ok(Self { parents, ..Self::parts_of((1..=dim).collect(), context)? })
    }

    /// Number of parts.
    #[must_use]
    pub fn parts(&self) -> usize {
        self.parts.last().copied().unwrap_or(0)
    }

    /// The inputs of a part, counted from 1.
    #[must_use]
    pub fn part(&self, part: usize) -> std::ops::Range<usize> {
        self.parts.partition_point(|&p| p < part)..self.parts.partition_point(|&p| p <= part)
    }

    /// Number of inputs, the context left out.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.parts.len()
    }

    /// Number of context features.
    #[must_use]
    pub fn context(&self) -> usize {
        self.context
    }

    /// The columns of the first layer.
    pub(super) fn inputs(&self) -> Vec<Unit> {
        let alone = |i: usize| (0..self.dim()).map(|j| j == i).collect();
        let unit = |i: usize| Unit {
            degree: self.parts[i],
            inputs: self.parents.as_ref().map(|_| alone(i)),
        };
        let none = self.parents.as_ref().map(|_| vec![false; self.dim()]);
        let context = std::iter::repeat_n(Unit { degree: 0, inputs: none }, self.context);
        context.chain((0..self.dim()).map(unit)).collect()
    }

    /// The units of the output layer, `arity` for each input.
    pub(super) fn outputs(&self, arity: usize) -> Vec<Unit> {
        (0..self.dim()).flat_map(|i| std::iter::repeat_n(self.seen(i), arity)).collect()
    }

    fn seen(&self, input: usize) -> Unit {
        match &self.parents {
            None => Unit { degree: self.parts[input] - 1, inputs: None },
            // An output is computed with its part, whatever it sees.
            Some(parents) => Unit { degree: input, inputs: Some(parents[input].clone()) },
        }
    }

    /// A hidden layer of `width` units, sorted by degree, with every kind of unit that some output
    /// sees.
    ///
    /// # Errors
    /// [`Error::Parameter`] if `width` is too small for that.
    pub(super) fn hidden(&self, width: usize) -> Result<Vec<Unit>> {
        let mut kinds: Vec<Unit> = Vec::new();
        for unit in (0..self.dim()).map(|i| self.seen(i)) {
            // A hidden unit is computed as early as possible.
            let degree = unit.inputs.as_ref().map_or(unit.degree, |seen| {
                seen.iter().rposition(|&parent| parent).map_or(0, |last| self.parts[last])
            });
            let unit = Unit { degree, ..unit };
            if !kinds.contains(&unit) {
                kinds.push(unit);
            }
        }
        kinds.sort_by_key(|unit| unit.degree);
        // Units of degree 0 are useful only with a context, or if no output sees an input.
        if self.context == 0 && kinds.len() > 1 {
            kinds.retain(|unit| unit.degree > 0);
        }
        if width < kinds.len() {
            let name = "width of a masked layer";
            let requirement = "at least the number of degrees (features, less one without context)";
            return Err(Error::Parameter { name, requirement, value: width as f64 });
        }
        Ok((0..width).map(|unit| kinds[unit * kinds.len() / width].clone()).collect())
    }
}

impl Unit {
    /// Whether this unit may see `other`.
    pub(super) fn sees(&self, other: &Self) -> bool {
        other.degree <= self.degree
            && match (&self.inputs, &other.inputs) {
                (Some(own), Some(others)) => {
                    own.iter().zip(others).all(|(&own, &other)| own || !other)
                }
                _ => true,
            }
    }
}
