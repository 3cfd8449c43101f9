//! What a conditional flow is conditioned on.

use crate::tensor::{
    Batch, Mode, NoneTape, PutTape, SplitTape, Traced, batch, check_columns, columns,
};
use crate::{Error, Real, Result, Values};

/// Nothing, or one row of features for every row of the batch.
///
/// A context may carry a tape, so that the encoder which computed it is trained through the flow:
/// [`join`](Self::join) puts the encoder's tape under the flow's input once, at the flow's edge, and
/// the bijectors then see features without a tape and write the features' gradient.
#[derive(Debug, Clone, Default)]
pub struct Context<E: Real, T = NoneTape> {
    features: Option<Batch<E, T>>,
}

impl<E: Real> Context<E> {
    /// No conditioning.
    #[must_use]
    pub fn none() -> Self {
        Self { features: None }
    }

    /// The features, if there are any.
    #[must_use]
    pub fn features(&self) -> Option<&Batch<E>> {
        self.features.as_ref()
    }

    /// The same features as the root of a tape.
    pub(crate) fn traced(self) -> Context<E, Traced<E>> {
        Context { features: self.features.map(|f| f.put_tape(Traced::default())) }
    }

    /// Checks the features against what a bijector was built for.
    ///
    /// # Errors
    /// [`Error::Dimension`] or [`Error::Rows`] where they do not fit.
    pub fn check(&self, op: &'static str, dim: usize, rows: usize) -> Result<()> {
        match &self.features {
            None if dim == 0 => Ok(()),
            None => Err(Error::Dimension { op, expected: dim, got: 0 }),
            Some(features) => {
                check_columns(op, features, dim)?;
                let got = features.rows();
                if got == rows { Ok(()) } else { Err(Error::Rows { op, expected: rows, got }) }
            }
        }
    }
}

impl<E: Real, T: Mode<E>> Context<E, T> {
    /// Conditions on `features`, `(rows, context dim)`.
    pub fn of(features: Batch<E, T>) -> Self {
        Self { features: Some(features) }
    }

    /// Number of features, 0 if there is nothing.
    pub fn dim(&self) -> usize {
        self.features.as_ref().map_or(0, columns)
    }

    /// The same features without a tape, so that nothing behind them is differentiated.
    pub(crate) fn detached(&self) -> Result<Context<E>> {
        let copy = |f: &Batch<E, T>| batch(f.values(), f.rows(), columns(f));
        Ok(Context { features: self.features.as_ref().map(copy).transpose()? })
    }

    /// Puts the tape of the context under `input`: what is recorded on the result from now on comes
    /// after what computed the features.
    pub fn join(self, input: Batch<E, T>) -> (Batch<E, T>, Context<E>) {
        let Some(features) = self.features else {
            return (input, Context::none());
        };
        let (features, below) = features.split_tape();
        let (input, own) = input.split_tape();
        (input.put_tape(below.merge(own)), Context { features: Some(features) })
    }
}
