//! Base distributions: what a flow transforms (review, Section 2.1).

mod full_normal;
mod laplace;
mod location_scale;
mod logistic;
mod mixture;
mod normal;
mod student_t;
mod uniform_box;

pub use self::full_normal::FullNormal;
pub use self::laplace::Laplace;
use self::laplace::StandardLaplace;
use self::location_scale::{LogDensity, Moments};
pub use self::logistic::Logistic;
use self::logistic::StandardLogistic;
pub use self::mixture::Mixture;
pub(crate) use self::normal::standard_normal_log_density;
pub use self::normal::{DiagonalNormal, StandardNormal};
use self::normal::{Normal, mean_and_log_deviation};
pub use self::student_t::StudentT;
use self::uniform_box::BoxLogDensity;
pub use self::uniform_box::UniformBox;
use crate::operation::{apply, column};
use crate::parameters::{Parameters, Visitor, VisitorMut};
use crate::tape::Tape;
use crate::tensor::{Batch, PerRow, Values, batch, check_columns};
use crate::{Error, Real, Result, Stream, normals};

/// The distribution that a flow transforms.
#[derive(Clone, Debug)]
pub enum Base<E: Real> {
    /// N(0, I)
    StandardNormal(StandardNormal),
    /// N(location, diag(scale)^2), both learned.
    DiagonalNormal(DiagonalNormal<E>),
    /// N(location, L L^T), both learned.
    FullNormal(FullNormal<E>),
    /// A mixture of diagonal normals, all learned.
    Mixture(Mixture<E>),
    /// t distributions with learned location and scale.
    StudentT(StudentT<E>),
    /// Laplace distributions with learned location and scale.
    Laplace(Laplace<E>),
    /// Logistic distributions with learned location and scale.
    Logistic(Logistic<E>),
    /// Uniform on a box.
    UniformBox(UniformBox),
}

impl<E: Real> Base<E> {
    /// N(0, I).
    #[must_use]
    pub fn standard_normal(dim: usize) -> Self {
        Self::StandardNormal(StandardNormal { dim })
    }

    /// A diagonal normal that starts as N(0, I).
    ///
    /// # Errors
    /// [`Error::Tensor`](crate::Error::Tensor) where there is no memory for it.
    pub fn diagonal_normal(dim: usize) -> Result<Self> {
        Ok(Self::DiagonalNormal(DiagonalNormal(Moments::new(dim)?)))
    }

    /// A normal with any covariance that starts as N(0, I).
    ///
    /// # Errors
    /// [`Error::Tensor`](crate::Error::Tensor) where there is no memory for it.
    pub fn full_normal(dim: usize) -> Result<Self> {
        Ok(Self::FullNormal(FullNormal::new(dim)?))
    }

    /// A mixture of as many normals, equally likely and of scale 1 around points drawn from N(0, I).
    ///
    /// # Errors
    /// [`Error::Parameter`] without a component.
    pub fn mixture(dim: usize, components: usize, rng: &mut Stream) -> Result<Self> {
        Ok(Self::Mixture(Mixture::new(dim, components, rng)?))
    }

    /// Independent t distributions of `nu` degrees of freedom, of location 0 and scale 1 at first.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless `nu` is positive and finite.
    pub fn student_t(dim: usize, nu: f64) -> Result<Self> {
        Ok(Self::StudentT(StudentT::new(dim, nu)?))
    }

    /// Independent Laplace distributions, of location 0 and scale 1 at first.
    ///
    /// # Errors
    /// [`Error::Tensor`](crate::Error::Tensor) where there is no memory for it.
    pub fn laplace(dim: usize) -> Result<Self> {
        Ok(Self::Laplace(Laplace(Moments::new(dim)?)))
    }

    /// Independent logistic distributions, of location 0 and scale 1 at first.
    ///
    /// # Errors
    /// [`Error::Tensor`](crate::Error::Tensor) where there is no memory for it.
    pub fn logistic(dim: usize) -> Result<Self> {
        Ok(Self::Logistic(Logistic(Moments::new(dim)?)))
    }

    /// Uniform on the box between `low` and `high`.
    ///
    /// # Errors
    /// [`Error::Dimension`] unless there are as many ends of either kind; [`Error::Parameter`]
    /// unless every low end is below its high end and both are finite.
    pub fn uniform_box(low: Vec<f64>, high: Vec<f64>) -> Result<Self> {
        Ok(Self::UniformBox(UniformBox::new(low, high)?))
    }

    /// Number of features.
    #[must_use]
    pub fn dim(&self) -> usize {
        match self {
            Self::StandardNormal(base) => base.dim,
            Self::DiagonalNormal(base) => base.0.dim(),
            Self::FullNormal(base) => base.dim(),
            Self::Mixture(base) => base.dim(),
            Self::StudentT(base) => base.moments.dim(),
            Self::Laplace(base) => base.0.dim(),
            Self::Logistic(base) => base.0.dim(),
            Self::UniformBox(base) => base.low.len(),
        }
    }

    /// Log-density in nats, a value a row.
    ///
    /// # Errors
    /// [`Error::Dimension`] unless `z` has as many columns as the base.
    pub fn log_prob(&self, z: &Batch<E>, tape: &mut Tape<E>) -> Result<PerRow<E>> {
        check_columns("base distribution", z, self.dim())?;
        let wide = match self {
            Self::StandardNormal(_) => apply(LogDensity(Normal), &[z], &[], tape)?.remove(0),
            Self::DiagonalNormal(base) => base.0.log_density(Normal, z, tape)?,
            Self::FullNormal(base) => base.log_density(z, tape)?,
            Self::Mixture(base) => base.log_density(z, tape)?,
            Self::StudentT(base) => base.moments.log_density(base.standard.clone(), z, tape)?,
            Self::Laplace(base) => base.0.log_density(StandardLaplace, z, tape)?,
            Self::Logistic(base) => base.0.log_density(StandardLogistic, z, tape)?,
            Self::UniformBox(base) => apply(BoxLogDensity::of(base), &[z], &[], tape)?.remove(0),
        };
        column(wide, tape)
    }

    /// Independent draws, `(rows, dim)`.
    ///
    /// # Errors
    /// [`Error::Tensor`](crate::Error::Tensor) where there is no memory for it.
    pub fn sample(&self, rows: usize, rng: &mut Stream) -> Result<Batch<E>> {
        self.draw(rows, &mut Tape::none(), rng)
    }

    /// Independent draws, `(rows, dim)`, as differentiable functions of the parameters and of noise that
    /// stays fixed: z = location + scale * noise. Only the weights of a mixture do not move its draws:
    /// their gradient is that of the score, see [`Mixture`].
    ///
    /// # Errors
    /// [`Error::Tensor`](crate::Error::Tensor) where there is no memory for it.
    pub fn draw(&self, rows: usize, tape: &mut Tape<E>, rng: &mut Stream) -> Result<Batch<E>> {
        match self {
            Self::StandardNormal(base) => batch(normals(rows * base.dim, rng), rows, base.dim),
            Self::DiagonalNormal(base) => base.0.draw(&Normal, rows, tape, rng),
            Self::FullNormal(base) => base.draw(rows, tape, rng),
            Self::Mixture(base) => base.draw(rows, tape, rng),
            Self::StudentT(base) => base.moments.draw(&base.standard, rows, tape, rng),
            Self::Laplace(base) => base.0.draw(&StandardLaplace, rows, tape, rng),
            Self::Logistic(base) => base.0.draw(&StandardLogistic, rows, tape, rng),
            Self::UniformBox(base) => batch(base.sample(rows, rng), rows, base.low.len()),
        }
    }

    /// Log-density at points that are held fixed, as a function of those parameters alone that
    /// [`draw`](Self::draw) carries no gradient for; none where it carries all.
    pub(crate) fn score(&self, z: &Batch<E>, tape: &mut Tape<E>) -> Result<Option<PerRow<E>>> {
        match self {
            Self::Mixture(base) => {
                let wide = base.weight_score(z, tape)?;
                Ok(Some(column(wide, tape)?))
            }
            _ => Ok(None),
        }
    }

    /// Sets learnable parameters to their maximum-likelihood values for the rows `z` (review,
    /// Section 2.3.1): in closed form for normals and Laplace, by expectation-maximisation for t and
    /// mixtures (whose optimum is a local one), by Newton's method for logistic distributions. Bases
    /// without parameters stay as they are.
    ///
    /// # Errors
    /// [`Error::Dimension`] unless the columns fit; [`Error::Parameter`] with fewer than 2 rows;
    /// [`Error::NonFinite`] if a column is constant or not finite.
    pub fn fit(&mut self, z: &Batch<E>) -> Result<()> {
        check_columns("base distribution", z, self.dim())?;
        if self.count() > 0 && z.rows() < 2 {
            let (name, requirement) = ("number of rows to fit a base to", "at least 2");
            return Err(Error::Parameter { name, requirement, value: z.rows() as f64 });
        }
        match self {
            Self::DiagonalNormal(base) => base.0.fit(z, mean_and_log_deviation),
            Self::FullNormal(base) => base.fit(z),
            Self::Mixture(base) => base.fit(z),
            Self::StudentT(StudentT { standard, moments }) => {
                moments.fit(z, |column| standard.estimate(column))
            }
            Self::Laplace(base) => base.0.fit(z, laplace::estimate),
            Self::Logistic(base) => base.0.fit(z, logistic::estimate),
            Self::StandardNormal(_) | Self::UniformBox(_) => Ok(()),
        }
    }
}

impl<E: Real> Parameters<E> for Base<E> {
    fn visit(&self, f: &mut Visitor<'_, E>) {
        match self {
            Self::StandardNormal(_) | Self::UniformBox(_) => {}
            Self::DiagonalNormal(base) => base.0.visit(f),
            Self::FullNormal(base) => base.visit(f),
            Self::Mixture(base) => base.visit(f),
            Self::StudentT(base) => base.moments.visit(f),
            Self::Laplace(base) => base.0.visit(f),
            Self::Logistic(base) => base.0.visit(f),
        }
    }

    fn visit_mut(&mut self, f: &mut VisitorMut<'_, E>) -> Result<()> {
        match self {
            Self::StandardNormal(_) | Self::UniformBox(_) => Ok(()),
            Self::DiagonalNormal(base) => base.0.visit_mut(f),
            Self::FullNormal(base) => base.visit_mut(f),
            Self::Mixture(base) => base.visit_mut(f),
            Self::StudentT(base) => base.moments.visit_mut(f),
            Self::Laplace(base) => base.0.visit_mut(f),
            Self::Logistic(base) => base.0.visit_mut(f),
        }
    }
}
