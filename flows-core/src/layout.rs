//! Layout of the tensors of a network, layer or field: names, shapes, roles and initial values.

use std::fmt::Debug;

use rand::RngExt;

use crate::Stream;
use crate::parameters::Role;

/// Name, shape, role and initial values of one tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// Name, such as `weight0`.
    pub name: String,
    /// Rows; for a weight, the units it feeds.
    pub rows: usize,
    /// Columns; for a weight, the units it reads.
    pub columns: usize,
    /// Whether training changes it.
    pub role: Role,
    /// Initial values.
    pub start: Start,
    /// Whether it belongs to the last layer of a network.
    pub last: bool,
}

/// Initial values of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub enum Start {
    /// Zeros.
    Zeros,
    /// U(-1, 1) / sqrt(fan in), the fan in being the number of inputs of a unit.
    Uniform {
        /// Number of inputs of a unit.
        fan_in: usize,
    },
    /// The given values, row by row.
    Given(Vec<f64>),
}

impl Layout {
    /// A learned tensor that starts at zero.
    pub fn zeros(name: impl Into<String>, rows: usize, columns: usize) -> Self {
        let (role, start) = (Role::Learned, Start::Zeros);
        Self { name: name.into(), rows, columns, role, start, last: false }
    }

    /// A learned tensor that starts from U(-1, 1) / sqrt(fan in).
    pub fn uniform(name: impl Into<String>, rows: usize, columns: usize, fan_in: usize) -> Self {
        Self { start: Start::Uniform { fan_in }, ..Self::zeros(name, rows, columns) }
    }

    /// A learned tensor that starts at the given values.
    pub fn given(name: impl Into<String>, rows: usize, columns: usize, values: Vec<f64>) -> Self {
        Self { start: Start::Given(values), ..Self::zeros(name, rows, columns) }
    }

    /// The same, saved with the model but not trained.
    #[must_use]
    pub fn fixed(self) -> Self {
        Self { role: Role::Fixed, ..self }
    }

    /// The same as a part of the last layer of a network, if `last`.
    #[must_use]
    pub fn in_last_layer(self, last: bool) -> Self {
        Self { last, ..self }
    }

    /// The same with `prefix.` before its name.
    #[must_use]
    pub fn within(self, prefix: &str) -> Self {
        Self { name: format!("{prefix}.{}", self.name), ..self }
    }

    /// Draws the initial values, row by row.
    pub fn draw(&self, rng: &mut Stream) -> Vec<f64> {
        let count = self.rows * self.columns;
        match &self.start {
            Start::Zeros => vec![0.0; count],
            Start::Uniform { fan_in } => {
                let bound = 1.0 / ((*fan_in).max(1) as f64).sqrt();
                (0..count).map(|_| rng.random_range(-bound..bound)).collect()
            }
            Start::Given(values) => values.clone(),
        }
    }
}

/// The tensors that parametrise a kernel.
pub trait HasLayout: Debug + Send + Sync {
    /// The tensors, in the order in which the kernel takes them.
    fn layout(&self) -> Vec<Layout>;
}
