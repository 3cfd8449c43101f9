//! What is varied, from where to where, and what is shown of it.

use super::model::Model;
use super::quantity::{Operation, Quantity};
use super::size::Size;
use crate::{Effort, Setting};

/// What is varied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Axis {
    Dimension,
    Rows,
    Depth,
    Threads,
}

impl Axis {
    pub(super) const ALL: [Self; 4] = [Self::Dimension, Self::Rows, Self::Depth, Self::Threads];

    /// Its name, as an axis of a figure has it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Dimension => "features D",
            Self::Rows => "rows",
            Self::Depth => "layers, or steps of the solver",
            Self::Threads => "threads",
        }
    }

    /// Where it is measured, in ascending order.
    pub(super) fn values(self, setting: &Setting) -> Vec<usize> {
        let powers = |first: u32, last: u32| (first..=last).map(|power| 1 << power);
        let mut values: Vec<usize> = match self {
            Self::Dimension => setting.either(vec![8, 32, 64, 128, 256], powers(1, 9).collect()),
            Self::Rows => powers(6, setting.either(12, 16)).collect(),
            Self::Depth => powers(0, setting.either(4, 6)).collect(),
            Self::Threads => {
                let cores = std::thread::available_parallelism().map_or(1, Into::into);
                return powers(0, 16).take_while(|&n| n < cores).chain([cores]).collect();
            }
        };
        if setting.effort == Effort::Full {
            // Three quarters of the last two, for a fit over five points.
            let last = values.len() - 2;
            let between: Vec<usize> = values[last..].iter().map(|value| value / 4 * 3).collect();
            values.extend(between);
            values.sort_unstable();
        }
        values
    }

    /// All sizes where this one has this value.
    pub(super) fn size(self, value: usize, setting: &Setting) -> Size {
        let plain = Size { dim: 8, rows: 512, depth: 2, threads: 1 };
        match self {
            Self::Dimension => Size { dim: value, rows: 128, ..plain },
            Self::Rows => Size { rows: value, ..plain },
            Self::Depth => Size { depth: value, ..plain },
            Self::Threads => Size { threads: value, rows: setting.either(4_096, 16_384), ..plain },
        }
    }

    /// The flows that are measured: those that a figure has colours for.
    pub(super) fn models(self) -> &'static [Model] {
        use Model::{
            Adjoint, ExactTrace, Hutchinson, Maf, NsfAutoregressive, NsfCoupling, RealNvp, Residual,
        };
        match self {
            Self::Depth => &[RealNvp, Maf, NsfCoupling, Residual, ExactTrace, Hutchinson, Adjoint],
            _ => &[RealNvp, Maf, NsfCoupling, NsfAutoregressive, Residual, ExactTrace, Hutchinson],
        }
    }

    /// The points that exponents are fitted to: those within a factor of four of the last, where the
    /// leading term leads; of threads all.
    pub(super) fn fitted(self, points: &[[f64; 2]]) -> &[[f64; 2]] {
        match points.last() {
            Some(last) if self != Self::Threads => {
                &points[points.partition_point(|p| 4.0 * p[0] < last[0])..]
            }
            _ => points,
        }
    }

    /// The figures.
    pub(super) fn figures(self) -> &'static [(Operation, Quantity)] {
        use Operation::{Density, Draw, Step};
        use Quantity::{Bytes, Evaluations, Multiplications, Seconds};
        match self {
            Self::Dimension => &[
                (Draw, Evaluations),
                (Density, Multiplications),
                (Draw, Multiplications),
                (Step, Multiplications),
                (Density, Seconds),
                (Draw, Seconds),
                (Step, Seconds),
                (Step, Bytes),
            ],
            Self::Rows => &[
                (Step, Multiplications),
                (Density, Seconds),
                (Draw, Seconds),
                (Step, Seconds),
                (Step, Bytes),
            ],
            Self::Depth => &[
                (Draw, Evaluations),
                (Step, Multiplications),
                (Density, Seconds),
                (Draw, Seconds),
                (Step, Seconds),
                (Step, Bytes),
            ],
            Self::Threads => &[(Density, Seconds), (Draw, Seconds), (Step, Seconds)],
        }
    }

    /// What stays the same.
    pub(super) fn fixed(self, setting: &Setting) -> String {
        let Size { dim, rows, depth, threads } = self.size(0, setting);
        let parts = [
            (Self::Dimension, format!("D = {dim}")),
            (Self::Rows, format!("{rows} rows")),
            (Self::Depth, format!("depth {depth}")),
            (Self::Threads, format!("{threads} thread")),
        ];
        let others = parts.into_iter().filter(|(axis, _)| *axis != self);
        others.map(|(_, words)| words).collect::<Vec<_>>().join(", ")
    }
}
