//! How the time enters a perceptron field.

use flows_core::operation::LANES;
use flows_core::{Error, Real, Result};
use serde::{Deserialize, Serialize};

/// How time enters the perceptron.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeInput {
    /// Not at all: the field is autonomous.
    None,
    /// As one more input feature.
    #[default]
    Concat,
    /// In every layer: (W h + b) * sigmoid(g t + c) + d t.
    ConcatSquash,
    /// As input features t, sin(2 pi k t) and cos(2 pi k t).
    Fourier(Fourier),
}

/// Fourier features of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fourier {
    /// k runs from 1 to this; at most 64.
    pub frequencies: usize,
}

/// Most frequencies of Fourier features.
const MOST_FREQUENCIES: usize = 64;

impl TimeInput {
    /// # Errors
    /// [`Error::Parameter`] without frequencies, or with too many.
    pub(crate) fn check(self) -> Result<()> {
        match self {
            Self::Fourier(Fourier { frequencies })
                if !(1..=MOST_FREQUENCIES).contains(&frequencies) =>
            {
                let (name, requirement) = ("frequencies", "between 1 and 64");
                Err(Error::Parameter { name, requirement, value: frequencies as f64 })
            }
            _ => Ok(()),
        }
    }

    /// Number of input features made of the time.
    pub(crate) fn features(self) -> usize {
        match self {
            Self::None | Self::ConcatSquash => 0,
            Self::Concat => 1,
            Self::Fourier(Fourier { frequencies }) => 1 + 2 * frequencies,
        }
    }

    /// Writes the features, `(features, LANES)`.
    pub(crate) fn write<E: Real>(self, time: &[E], features: &mut [E]) {
        let mut rows = features.chunks_exact_mut(LANES);
        if let Some(first) = rows.next() {
            first.copy_from_slice(time);
        }
        for (index, row) in rows.enumerate() {
            let wave = Wave::of(index);
            for (feature, &t) in row.iter_mut().zip(time) {
                *feature = E::of(wave.value(t.as_f64()));
            }
        }
    }

    /// From the gradient of the features to that of the time, which is added to.
    pub(crate) fn pull<E: Real>(self, time: &[E], d_features: &[E], d_time: &mut [E]) {
        let mut rows = d_features.chunks_exact(LANES);
        if let Some(first) = rows.next() {
            flows_core::lanes::add(d_time, first);
        }
        for (index, row) in rows.enumerate() {
            let wave = Wave::of(index);
            for ((sum, &outer), &t) in d_time.iter_mut().zip(row).zip(time) {
                *sum += outer * E::of(wave.slope(t.as_f64()));
            }
        }
    }
}

/// sin(2 pi k t) at even indices, cos(2 pi k t) at odd ones.
struct Wave {
    sine: bool,
    rate: f64,
}

impl Wave {
    fn of(index: usize) -> Self {
        let k = (index / 2 + 1) as f64;
        Self { sine: index.is_multiple_of(2), rate: std::f64::consts::TAU * k }
    }

    fn value(&self, t: f64) -> f64 {
        let angle = self.rate * t;
        if self.sine { angle.sin() } else { angle.cos() }
    }

    fn slope(&self, t: f64) -> f64 {
        let angle = self.rate * t;
        self.rate * if self.sine { angle.cos() } else { -angle.sin() }
    }
}
