//! Base distributions: what a flow transforms (review, Section 2.1).

mod location_scale;
mod normal;
mod uniform_box;

use self::location_scale::{Draw, LogDensity};
use self::normal::Normal;
pub(crate) use self::normal::standard_normal_log_density;
pub use self::normal::{DiagonalNormal, StandardNormal};
use self::uniform_box::BoxLogDensity;
pub use self::uniform_box::UniformBox;
use crate::operation::{apply, column};
use crate::parameters::{Parameters, Role, Visitor, VisitorMut};
use crate::tensor::{
    Batch, Mode, NoneTape, PerRow, SplitTape, Values, batch, check_columns, columns,
};
use crate::{Error, Real, Result, Stream, normals};

/// The distribution that a flow transforms.
#[derive(Clone, Debug)]
pub enum Base<E: Real> {
    /// N(0, I)
    StandardNormal(StandardNormal),
    /// N(location, diag(scale)^2), both learned.
    DiagonalNormal(DiagonalNormal<E>),
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
    /// Never in practice; [`Error::Tensor`] is the tensor library's.
    pub fn diagonal_normal(dim: usize) -> Result<Self> {
        Ok(Self::DiagonalNormal(DiagonalNormal::new(dim)?))
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
            Self::DiagonalNormal(base) => columns(&base.location),
            Self::UniformBox(base) => base.low.len(),
        }
    }

    /// Log-density in nats, a value a row.
    ///
    /// # Errors
    /// [`Error::Dimension`] unless `z` has as many columns as the base.
    pub fn log_prob<T: Mode<E>>(&self, z: Batch<E, T>) -> Result<(PerRow<E>, T)> {
        check_columns("base distribution", &z, self.dim())?;
        let (z, mut tape) = z.split_tape();
        let mut outputs = match self {
            Self::StandardNormal(_) => apply(LogDensity(Normal), &[&z], &[], &mut tape)?,
            Self::DiagonalNormal(base) => {
                let parameters = [base.location.clone(), base.log_scale.clone()];
                apply(LogDensity(Normal), &[&z], &parameters, &mut tape)?
            }
            Self::UniformBox(base) => apply(BoxLogDensity::of(base), &[&z], &[], &mut tape)?,
        };
        let log_prob = column(outputs.remove(0), &mut tape)?;
        Ok((log_prob, tape))
    }

    /// Independent draws, `(rows, dim)`.
    ///
    /// # Errors
    /// Never in practice; [`Error::Tensor`] is the tensor library's.
    pub fn sample(&self, rows: usize, rng: &mut Stream) -> Result<Batch<E>> {
        Ok(self.draw(rows, NoneTape, rng)?.0)
    }

    /// Independent draws, `(rows, dim)`, as differentiable functions of the parameters and of noise that
    /// stays fixed: z = location + scale * noise for learned location and scale.
    ///
    /// # Errors
    /// Never in practice; [`Error::Tensor`] is the tensor library's.
    pub fn draw<T: Mode<E>>(
        &self,
        rows: usize,
        mut tape: T,
        rng: &mut Stream,
    ) -> Result<(Batch<E>, T)> {
        let dim = self.dim();
        let draws = match self {
            Self::StandardNormal(_) => batch(normals(rows * dim, rng), rows, dim)?,
            Self::DiagonalNormal(base) => {
                let noise = batch(normals(rows * dim, rng), rows, dim)?;
                let parameters = [base.location.clone(), base.log_scale.clone()];
                apply(Draw { dim }, &[&noise], &parameters, &mut tape)?.remove(0)
            }
            Self::UniformBox(base) => batch(base.sample(rows, rng), rows, dim)?,
        };
        Ok((draws, tape))
    }

    /// Sets learnable parameters to their maximum-likelihood values for the rows `z` (review,
    /// Section 2.3.1); bases without parameters stay as they are.
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
            Self::DiagonalNormal(base) => base.fit(z),
            Self::StandardNormal(_) | Self::UniformBox(_) => Ok(()),
        }
    }
}

impl<E: Real> Parameters<E> for Base<E> {
    fn visit(&self, f: &mut Visitor<'_, E>) {
        if let Self::DiagonalNormal(base) = self {
            f("location", Role::Learned, &base.location);
            f("log_scale", Role::Learned, &base.log_scale);
        }
    }

    fn visit_mut(&mut self, f: &mut VisitorMut<'_, E>) -> Result<()> {
        if let Self::DiagonalNormal(base) = self {
            f("location", Role::Learned, &mut base.location)?;
            f("log_scale", Role::Learned, &mut base.log_scale)?;
        }
        Ok(())
    }
}
