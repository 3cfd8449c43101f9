//! The interface that finite and continuous flows share.

use crate::tensor::{Batch, Mode, NoneTape, PerRow, Traced};
use crate::{Context, Parameters, Real, Result, Stream, Work};

/// The image of a batch, with the tape that recorded it.
///
/// `value` and `log_det` carry no tape of their own: there is exactly one, here, so no operation
/// can be recorded on a tape that is later dropped.
#[derive(Debug)]
pub struct Mapped<E: Real, T = NoneTape> {
    /// `(rows, dim)`
    pub value: Batch<E>,
    /// `log |det d value / d input|` in nats, `(rows,)`
    pub log_det: PerRow<E>,
    /// What the bijector adds to the training loss, nats a row; nothing outside training.
    pub penalty: Option<PerRow<E>>,
    /// The one tape.
    pub tape: T,
    /// What the computation took.
    pub work: Work,
}

impl<E: Real, T> Mapped<E, T> {
    /// Without a penalty.
    pub fn new(value: Batch<E>, log_det: PerRow<E>, tape: T, work: Work) -> Self {
        Self { value, log_det, penalty: None, tape, work }
    }
}

/// How a direction is computed, from cheap to unavailable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cost {
    /// One pass.
    ClosedForm,
    /// As many dependent passes as there are features.
    Sequential,
    /// An ODE solve, accurate to its tolerance.
    Integrated,
    /// A fixed point or a root search, accurate to its tolerance.
    Iterative,
    /// There is no way.
    Unavailable,
}

/// The cost class of both directions, so that a flow can be oriented for its use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Costs {
    /// Base to data, for sampling.
    pub forward: Cost,
    /// Data to base, for densities.
    pub inverse: Cost,
}

impl Costs {
    /// One pass in either direction.
    pub const CLOSED_FORM: Self = Self { forward: Cost::ClosedForm, inverse: Cost::ClosedForm };

    /// The same map with its directions exchanged.
    #[must_use]
    pub fn flipped(self) -> Self {
        Self { forward: self.inverse, inverse: self.forward }
    }

    /// What doing both of two maps costs.
    #[must_use]
    pub fn worst(self, other: Self) -> Self {
        Self { forward: self.forward.max(other.forward), inverse: self.inverse.max(other.inverse) }
    }
}

/// Whether log-determinants are exact or estimates, as set at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogDet {
    /// Exact but for rounding and, where there is one, a solver's tolerance.
    Exact,
    /// With noise from probes that stay fixed until they are drawn again; unbiased, unless the
    /// bijector says that it cuts off a series.
    Estimate,
}

/// What a computation is for, for bijectors that can trade accuracy for time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Gradients: estimates and looser tolerances are welcome, as the config says.
    Training,
    /// Numbers that people read: exact log-determinants and the tighter tolerance of the config.
    Reporting,
}

/// A differentiable bijection of R^d with a tractable Jacobian determinant.
///
/// `forward` maps base to data (z to x, the sampling direction); `inverse` maps data to base (x to
/// z, the density direction). [`Inverse`](crate::Inverse) exchanges them. `log_det` belongs to the
/// map just applied, so at matching points the two log-dets are negatives of each other. Both
/// directions act row by row and are deterministic.
///
/// Every recorded operation ends on the one tape that comes in on the input and goes out in
/// [`Mapped`].
pub trait Bijector<E: Real>: Parameters<E> {
    /// Number of features d.
    fn dim(&self) -> usize;

    /// How each direction is computed.
    fn costs(&self) -> Costs;

    /// Base to data.
    ///
    /// # Errors
    /// [`Error::Dimension`](crate::Error::Dimension) unless `z` has [`dim`](Self::dim) columns and
    /// the context the columns the bijector was built for; numerical events.
    fn forward<T: Mode<E>>(&self, z: Batch<E, T>, context: &Context<E>) -> Result<Mapped<E, T>>;

    /// Data to base.
    ///
    /// # Errors
    /// As [`forward`](Self::forward);
    /// [`Error::NotInvertible`](crate::Error::NotInvertible) where the cost is
    /// [`Cost::Unavailable`].
    fn inverse<T: Mode<E>>(&self, x: Batch<E, T>, context: &Context<E>) -> Result<Mapped<E, T>>;

    /// Base to data without the log-det, for bijectors that save work by leaving it out.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    fn forward_value(&self, z: Batch<E>, context: &Context<E>) -> Result<(Batch<E>, Work)> {
        let mapped = self.forward(z, context)?;
        Ok((mapped.value, mapped.work))
    }

    /// The path of a batch from base to data: where it starts, what stands between the parts of the
    /// map or at equal distances of time, and its image.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    fn stages(&self, z: Batch<E>, context: &Context<E>) -> Result<Vec<Batch<E>>> {
        let image = self.forward_value(z.clone(), context)?.0;
        Ok(vec![z, image])
    }

    /// Whether log-dets are exact for the purpose set at present.
    fn log_det(&self) -> LogDet {
        LogDet::Exact
    }

    /// Chooses between the accuracies that the bijector was configured with.
    fn set_purpose(&mut self, _purpose: Purpose) {}

    /// Draws new probe noise for estimated log-dets; it then stays fixed.
    fn resample_probes(&mut self, _rng: &mut Stream) {}

    /// For the flow of a vector field, which can be trained without solving it (flow matching): the
    /// velocity at `points`, `(rows, dim)`, a fraction of the way from base to data each, per unit of
    /// that fraction. None for everything else.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    fn velocity(
        &self,
        _points: Batch<E, Traced<E>>,
        _fractions: &[E],
        _context: &Context<E>,
    ) -> Result<Option<Batch<E, Traced<E>>>> {
        Ok(None)
    }

    /// Data as the vector field sees them at its end: mapped back through what stands between.
    ///
    /// # Errors
    /// As [`inverse`](Self::inverse).
    fn to_field(&self, x: Batch<E>, _context: &Context<E>) -> Result<Batch<E>> {
        Ok(x)
    }

    /// Sets parameters that are initialised from data (act-norm) and returns the batch in base
    /// space, so that the next part of a chain can do the same.
    ///
    /// # Errors
    /// As [`inverse`](Self::inverse).
    fn initialise(&mut self, x: Batch<E>, context: &Context<E>) -> Result<Batch<E>> {
        Ok(self.inverse(x, context)?.value)
    }
}

/// A bijector whose type was chosen at run time.
#[derive(Debug)]
pub struct BoxBijector<E: Real>(Box<dyn erased::Erased<E>>);

impl<E: Real> BoxBijector<E> {
    /// Boxes a bijector.
    pub fn new(bijector: impl Bijector<E> + 'static) -> Self {
        Self(Box::new(bijector))
    }
}

impl<E: Real> Parameters<E> for BoxBijector<E> {
    fn visit(&self, f: &mut crate::parameters::Visitor<'_, E>) {
        self.0.visit(f);
    }

    fn visit_mut(&mut self, f: &mut crate::parameters::VisitorMut<'_, E>) -> Result<()> {
        self.0.visit_mut(f)
    }
}

impl<E: Real> Bijector<E> for BoxBijector<E> {
    fn dim(&self) -> usize {
        self.0.erased_dim()
    }

    fn costs(&self) -> Costs {
        self.0.erased_costs()
    }

    fn forward<T: Mode<E>>(&self, z: Batch<E, T>, context: &Context<E>) -> Result<Mapped<E, T>> {
        T::forward(&*self.0, z, context)
    }

    fn inverse<T: Mode<E>>(&self, x: Batch<E, T>, context: &Context<E>) -> Result<Mapped<E, T>> {
        T::inverse(&*self.0, x, context)
    }

    fn forward_value(&self, z: Batch<E>, context: &Context<E>) -> Result<(Batch<E>, Work)> {
        self.0.erased_forward_value(z, context)
    }

    fn stages(&self, z: Batch<E>, context: &Context<E>) -> Result<Vec<Batch<E>>> {
        self.0.erased_stages(z, context)
    }

    fn log_det(&self) -> LogDet {
        self.0.erased_log_det()
    }

    fn set_purpose(&mut self, purpose: Purpose) {
        self.0.erased_set_purpose(purpose);
    }

    fn resample_probes(&mut self, rng: &mut Stream) {
        self.0.erased_resample_probes(rng);
    }

    fn velocity(
        &self,
        points: Batch<E, Traced<E>>,
        fractions: &[E],
        context: &Context<E>,
    ) -> Result<Option<Batch<E, Traced<E>>>> {
        self.0.erased_velocity(points, fractions, context)
    }

    fn to_field(&self, x: Batch<E>, context: &Context<E>) -> Result<Batch<E>> {
        self.0.erased_to_field(x, context)
    }

    fn initialise(&mut self, x: Batch<E>, context: &Context<E>) -> Result<Batch<E>> {
        self.0.erased_initialise(x, context)
    }
}

/// The object-safe twin of [`Bijector`]: the only place that knows there are two tapes.
pub(crate) mod erased {
    use super::{
        Batch, Bijector, Context, Costs, LogDet, Mapped, NoneTape, Parameters, Purpose, Real,
        Result, Stream, Traced, Work,
    };

    pub trait Erased<E: Real>: Parameters<E> {
        fn erased_dim(&self) -> usize;
        fn erased_costs(&self) -> Costs;
        fn erased_log_det(&self) -> LogDet;
        fn erased_forward_value(
            &self,
            z: Batch<E>,
            context: &Context<E>,
        ) -> Result<(Batch<E>, Work)>;
        fn erased_stages(&self, z: Batch<E>, context: &Context<E>) -> Result<Vec<Batch<E>>>;
        fn erased_set_purpose(&mut self, purpose: Purpose);
        fn erased_resample_probes(&mut self, rng: &mut Stream);
        fn erased_velocity(
            &self,
            points: Batch<E, Traced<E>>,
            fractions: &[E],
            context: &Context<E>,
        ) -> Result<Option<Batch<E, Traced<E>>>>;
        fn erased_to_field(&self, x: Batch<E>, context: &Context<E>) -> Result<Batch<E>>;
        fn erased_initialise(&mut self, x: Batch<E>, context: &Context<E>) -> Result<Batch<E>>;
        fn forward_plain(&self, z: Batch<E>, context: &Context<E>) -> Result<Mapped<E>>;
        fn inverse_plain(&self, x: Batch<E>, context: &Context<E>) -> Result<Mapped<E>>;
        fn forward_traced(
            &self,
            z: Batch<E, Traced<E>>,
            context: &Context<E>,
        ) -> Result<Mapped<E, Traced<E>>>;
        fn inverse_traced(
            &self,
            x: Batch<E, Traced<E>>,
            context: &Context<E>,
        ) -> Result<Mapped<E, Traced<E>>>;
    }

    impl<E: Real, B: Bijector<E>> Erased<E> for B {
        fn erased_dim(&self) -> usize {
            self.dim()
        }

        fn erased_costs(&self) -> Costs {
            self.costs()
        }

        fn erased_log_det(&self) -> LogDet {
            self.log_det()
        }

        fn erased_forward_value(
            &self,
            z: Batch<E>,
            context: &Context<E>,
        ) -> Result<(Batch<E>, Work)> {
            self.forward_value(z, context)
        }

        fn erased_stages(&self, z: Batch<E>, context: &Context<E>) -> Result<Vec<Batch<E>>> {
            self.stages(z, context)
        }

        fn erased_set_purpose(&mut self, purpose: Purpose) {
            self.set_purpose(purpose);
        }

        fn erased_resample_probes(&mut self, rng: &mut Stream) {
            self.resample_probes(rng);
        }

        fn erased_velocity(
            &self,
            points: Batch<E, Traced<E>>,
            fractions: &[E],
            context: &Context<E>,
        ) -> Result<Option<Batch<E, Traced<E>>>> {
            self.velocity(points, fractions, context)
        }

        fn erased_to_field(&self, x: Batch<E>, context: &Context<E>) -> Result<Batch<E>> {
            self.to_field(x, context)
        }

        fn erased_initialise(&mut self, x: Batch<E>, context: &Context<E>) -> Result<Batch<E>> {
            self.initialise(x, context)
        }

        fn forward_plain(&self, z: Batch<E>, context: &Context<E>) -> Result<Mapped<E>> {
            self.forward(z, context)
        }

        fn inverse_plain(&self, x: Batch<E>, context: &Context<E>) -> Result<Mapped<E>> {
            self.inverse(x, context)
        }

        fn forward_traced(
            &self,
            z: Batch<E, Traced<E>>,
            context: &Context<E>,
        ) -> Result<Mapped<E, Traced<E>>> {
            self.forward(z, context)
        }

        fn inverse_traced(
            &self,
            x: Batch<E, Traced<E>>,
            context: &Context<E>,
        ) -> Result<Mapped<E, Traced<E>>> {
            self.inverse(x, context)
        }
    }

    /// Which of the four methods a tape calls.
    pub trait Dispatch<E: Real>: Sized {
        fn forward(
            bijector: &dyn Erased<E>,
            z: Batch<E, Self>,
            context: &Context<E>,
        ) -> Result<Mapped<E, Self>>;
        fn inverse(
            bijector: &dyn Erased<E>,
            x: Batch<E, Self>,
            context: &Context<E>,
        ) -> Result<Mapped<E, Self>>;
    }

    impl<E: Real> Dispatch<E> for NoneTape {
        fn forward(
            bijector: &dyn Erased<E>,
            z: Batch<E>,
            context: &Context<E>,
        ) -> Result<Mapped<E>> {
            bijector.forward_plain(z, context)
        }

        fn inverse(
            bijector: &dyn Erased<E>,
            x: Batch<E>,
            context: &Context<E>,
        ) -> Result<Mapped<E>> {
            bijector.inverse_plain(x, context)
        }
    }

    impl<E: Real> Dispatch<E> for Traced<E> {
        fn forward(
            bijector: &dyn Erased<E>,
            z: Batch<E, Self>,
            context: &Context<E>,
        ) -> Result<Mapped<E, Self>> {
            bijector.forward_traced(z, context)
        }

        fn inverse(
            bijector: &dyn Erased<E>,
            x: Batch<E, Self>,
            context: &Context<E>,
        ) -> Result<Mapped<E, Self>> {
            bijector.inverse_traced(x, context)
        }
    }
}
