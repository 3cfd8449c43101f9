//! Time as an input of perceptron fields.

use flows_core::operation::LANES;
use flows_core::{Real, Result};
use serde::{Deserialize, Serialize};

use crate::requirement::require;

/// How time enters a perceptron field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TimeInput {
    /// Not at all: the field is autonomous.
    #[serde(deserialize_with = "flows_core::config::no_settings")]
    None,
    /// As one more input feature.
    #[default]
    #[serde(deserialize_with = "flows_core::config::no_settings")]
    Concat,
    /// In every layer: (W h + b) * sigmoid(g t + c) + d t.
    #[serde(deserialize_with = "flows_core::config::no_settings")]
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
    /// [`Error::Parameter`](flows_core::Error::Parameter) without frequencies, or with too many.
    pub(crate) fn check(self) -> Result<()> {
        let Self::Fourier(Fourier { frequencies }) = self else { return Ok(()) };
        let few = (1..=MOST_FREQUENCIES).contains(&frequencies);
        require(few, "frequencies", "between 1 and 64", frequencies as f64)
    }

    /// Number of time features.
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
            for (feature, &t) in row.iter_mut().zip(time) {
                *feature = E::of(wave(index, t.as_f64())[0]);
            }
        }
    }

    /// Backward pass: adds to the gradient of the time.
    pub(crate) fn pull<E: Real>(self, time: &[E], d_features: &[E], d_time: &mut [E]) {
        let mut rows = d_features.chunks_exact(LANES);
        if let Some(first) = rows.next() {
            flows_core::lanes::add(d_time, first);
        }
        for (index, row) in rows.enumerate() {
            for ((sum, &outer), &t) in d_time.iter_mut().zip(row).zip(time) {
                *sum += outer * E::of(wave(index, t.as_f64())[1]);
            }
        }
    }
}

/// sin(2 pi k t) for even indices, cos(2 pi k t) for odd ones, and the derivative by t.
fn wave(index: usize, t: f64) -> [f64; 2] {
    let rate = std::f64::consts::TAU * (index / 2 + 1) as f64;
    let (sine, cosine) = (rate * t).sin_cos();
    if index.is_multiple_of(2) { [sine, rate * cosine] } else { [cosine, -rate * sine] }
}
