//! Base distributions (review, Section 2.1).

mod distribution;
mod full_normal;
mod laplace;
mod location_scale;
mod logistic;
mod mixture;
mod normal;
mod student_t;
mod uniform_box;

use std::sync::Arc;

pub use self::distribution::Distribution;
use self::distribution::{Draw, LogDensity};
use self::full_normal::FullNormal;
use self::laplace::Laplace;
use self::location_scale::LocationScale;
use self::logistic::Logistic;
use self::mixture::Mixture;
use self::normal::Normal;
pub(crate) use self::normal::standard_normal_log_density;
use self::student_t::StudentT;
use self::uniform_box::UniformBox;
use crate::operation::{apply, column};
use crate::parameters::{Parameters, Visitor, VisitorMut};
use crate::tape::Tape;
use crate::tensor::{Batch, PerRow, Values, batch, check_columns, columns};
use crate::tensors::Tensors;
use crate::{Error, Real, Result, Space, Stream, stream};

/// A base distribution with its tensors.
#[derive(Clone, Debug)]
pub struct Base<E: Real> {
    distribution: Arc<dyn Distribution<E>>,
    tensors: Tensors<E>,
}

impl<E: Real> Base<E> {
    /// A distribution with its tensors at their initial values.
    ///
    /// # Errors
    /// [`Error::Tensors`] if these do not fit its layout.
    pub fn new(distribution: impl Distribution<E> + 'static, rng: &mut Stream) -> Result<Self> {
        let cast = |values: Vec<f64>| values.into_iter().map(E::of).collect();
        let values = distribution.start(rng).into_iter().map(cast).collect();
        let tensors = Tensors::new(distribution.layout(), values)?;
        Ok(Self { distribution: Arc::new(distribution), tensors })
    }

    /// A distribution whose initial values are not random.
    fn at_start(distribution: impl Distribution<E> + 'static) -> Result<Self> {
        Self::new(distribution, &mut stream(0, "base"))
    }

    /// N(0, I) in `dim` dimensions.
    #[must_use]
    pub fn standard_normal(dim: usize) -> Self {
        let distribution = Arc::new(LocationScale::standard(Normal, dim));
        Self { distribution, tensors: Tensors::default() }
    }

    /// Independent normals with learned location m and scale e^s, at first N(0, I). The fit is the
    /// mean and the standard deviation of every column.
    ///
    /// # Errors
    /// [`Error::Tensor`] if memory runs out.
    pub fn diagonal_normal(dim: usize) -> Result<Self> {
        Self::at_start(LocationScale::learned(Normal, dim))
    }

    /// N(m, L L^T) with learned location m and lower triangular factor L, at first N(0, I). The
    /// diagonal of L is the exponential of what is stored:
    ///
    /// ```text
    /// log p(z) = -|y|^2 / 2 - sum of l_ii - D ln(2 pi) / 2,   L y = z - m,   L_ii = e^l_ii
    /// ```
    ///
    /// The fit is closed: mean and covariance of the rows (review, Section 2.3.1), the latter by
    /// its Cholesky factor. A row costs D^2 operations, the fit D^2 a row and D^3.
    ///
    /// # Errors
    /// [`Error::Tensor`] if memory runs out.
    pub fn full_normal(dim: usize) -> Result<Self> {
        Self::at_start(FullNormal { dim })
    }

    /// A mixture of K normals with diagonal covariance, all learned (review, Section 5.5); at first
    /// with equal weights, scale 1 and locations drawn from N(0, I).
    ///
    /// ```text
    /// log p(z) = ln sum_k w_k N(z; m_k, diag(e^s_k)^2),   w = softmax(logits)
    /// ```
    ///
    /// A diffeomorphism of one mode onto several leaves mass between them; a base with as many
    /// modes leaves none.
    ///
    /// A draw is m_k + e^s_k u for a random component k: differentiable in location and scale, but
    /// not in the weights. Their gradient is the score-function estimate f(z) d/dw log p(z), which
    /// [`reverse_kl`](crate::reverse_kl) and [`mmd`](crate::objective::mmd) add (unbiased; the mean
    /// of f over the other rows is the baseline).
    ///
    /// The fit is expectation-maximisation, from the present parameters and from a k-means++ start;
    /// it keeps the best and never lowers the likelihood. A row costs K D operations, a fit at most
    /// 400 times that. Scales stay above 1e-3 of a column's deviation, so that no component
    /// collapses onto a single row.
    ///
    /// # Errors
    /// [`Error::Parameter`] for 0 components.
    ///
    /// # Reference
    /// Dempster, Laird, Rubin, *Maximum likelihood from incomplete data via the EM algorithm*, Journal
    /// of the Royal Statistical Society B 1977; Arthur, Vassilvitskii, *k-means++*, SODA 2007.
    pub fn mixture(dim: usize, components: usize, rng: &mut Stream) -> Result<Self> {
        Self::new(Mixture::new(dim, components)?, rng)
    }

    /// Independent Student t distributions with fixed degrees of freedom nu, learned location m and
    /// scale e^s, at first 0 and 1; with u = e^-s (z - m)
    ///
    /// ```text
    /// log p(z) = sum of -(nu + 1)/2 ln(1 + u^2/nu) - s + ln G((nu + 1)/2) - ln G(nu/2) - ln(nu pi)/2
    /// ```
    ///
    /// whose tails fall like |z|^-(nu + 1), so that a flow with bounded slopes can have heavy tails.
    /// The fit is by expectation-maximisation for m and s, to 1e-12.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless `nu` is positive and finite.
    ///
    /// # Reference
    /// Kent, Tyler, Vardi, *A curious likelihood identity for the multivariate t-distribution*,
    /// Communications in Statistics 1994 (the update of the fit); Alexanderson, Henter, *Robust model
    /// training and generalisation with Studentising flows*, 2020,
    /// <https://arxiv.org/abs/2006.06599>.
    pub fn student_t(dim: usize, nu: f64) -> Result<Self> {
        Self::at_start(LocationScale::learned(StudentT::new(nu)?, dim))
    }

    /// Independent Laplace distributions with learned location m and scale e^s, at first 0 and 1,
    ///
    /// ```text
    /// log p(z) = sum of -|z - m| e^-s - s - ln 2
    /// ```
    ///
    /// whose tails are heavier than a normal's. The fit is closed: the median of every column and
    /// the mean absolute deviation from it. The derivative at z = m is taken as 0.
    ///
    /// # Errors
    /// [`Error::Tensor`] if memory runs out.
    pub fn laplace(dim: usize) -> Result<Self> {
        Self::at_start(LocationScale::learned(Laplace, dim))
    }

    /// Independent logistic distributions with learned location m and scale e^s, at first 0 and 1; with
    /// u = e^-s (z - m)
    ///
    /// ```text
    /// log p(z) = sum of -u - 2 ln(1 + e^-u) - s
    /// ```
    ///
    /// the density whose distribution function is the sigmoid. The fit is Newton's method in e^-s and
    /// m e^-s, in which the likelihood is concave.
    ///
    /// # Errors
    /// [`Error::Tensor`] if memory runs out.
    pub fn logistic(dim: usize) -> Result<Self> {
        Self::at_start(LocationScale::learned(Logistic, dim))
    }

    /// The uniform distribution on the box between `low` and `high`; log-density minus infinity
    /// outside.
    ///
    /// # Errors
    /// [`Error::Dimension`] unless `low` and `high` have the same length; [`Error::Parameter`]
    /// unless each low end is below its high end and both are finite.
    pub fn uniform_box(low: Vec<f64>, high: Vec<f64>) -> Result<Self> {
        let distribution = Arc::new(UniformBox::new(low, high)?);
        Ok(Self { distribution, tensors: Tensors::default() })
    }

    /// Number of features.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.distribution.dim()
    }

    /// Where each feature lies.
    pub(crate) fn space(&self) -> Vec<Space> {
        self.distribution.space()
    }

    /// Log-density of each row, in nats.
    ///
    /// # Errors
    /// [`Error::Dimension`] unless `z` has as many columns as the base.
    pub fn log_prob(&self, z: &Batch<E>, tape: &mut Tape<E>) -> Result<PerRow<E>> {
        check_columns("base distribution", z, self.dim())?;
        self.log_density(z, self.tensors.all(), tape)
    }

    fn log_density(
        &self,
        z: &Batch<E>,
        parameters: &[Batch<E>],
        tape: &mut Tape<E>,
    ) -> Result<PerRow<E>> {
        let operation = LogDensity(Arc::clone(&self.distribution));
        column(apply(operation, &[z], parameters, tape)?.remove(0), tape)
    }

    /// Independent draws, `(rows, dim)`; from the same stream the first rows of a longer draw.
    ///
    /// # Errors
    /// [`Error::Tensor`] if memory runs out.
    pub fn sample(&self, rows: usize, rng: &mut Stream) -> Result<Batch<E>> {
        self.draw(rows, &mut Tape::none(), rng)
    }

    /// Reparameterised draws, `(rows, dim)`: z = location + scale * noise, differentiable in the
    /// parameters for fixed noise. Only the weights of a mixture get no gradient this way, see
    /// [`mixture`](Self::mixture).
    ///
    /// # Errors
    /// [`Error::Tensor`] if memory runs out.
    pub fn draw(&self, rows: usize, tape: &mut Tape<E>, rng: &mut Stream) -> Result<Batch<E>> {
        let (distribution, parameters) = (&self.distribution, self.tensors.all());
        let noise = distribution.noise(rows, &self.tensors.values(), rng);
        let noise = batch(noise, rows, distribution.noise_width())?;
        if parameters.is_empty() {
            return Ok(noise);
        }
        Ok(apply(Draw(Arc::clone(distribution)), &[&noise], parameters, tape)?.remove(0))
    }

    /// Log-density at fixed points as a function of only those parameters that [`draw`](Self::draw)
    /// carries no gradient for; `None` if it carries all.
    pub(crate) fn score(&self, z: &Batch<E>, tape: &mut Tape<E>) -> Result<Option<PerRow<E>>> {
        let Some(unmoved) = self.distribution.unmoved() else { return Ok(None) };
        let fixed = |t: &Batch<E>| batch(t.values(), t.rows(), columns(t));
        let mut parameters =
            self.tensors.all().iter().map(fixed).collect::<Result<Vec<Batch<E>>>>()?;
        parameters[unmoved] = self.tensors.all()[unmoved].clone();
        Ok(Some(self.log_density(&fixed(z)?, &parameters, tape)?))
    }

    /// Sets learnable parameters to their maximum-likelihood values for the rows `z` (review,
    /// Section 2.3.1), as each constructor describes; without parameters it does nothing.
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
        let wide = |values: &[E]| values.iter().map(|v| v.as_f64()).collect::<Vec<f64>>();
        let narrow = |values: Vec<f64>| values.into_iter().map(E::of).collect::<Vec<E>>();
        let now = self.tensors.values().iter().map(|values| wide(values)).collect();
        let best = self.distribution.fit(&wide(&z.values()), now)?;
        self.tensors.set(&best.into_iter().map(narrow).collect::<Vec<_>>())
    }
}

impl<E: Real> Parameters<E> for Base<E> {
    fn visit(&self, f: &mut Visitor<'_, E>) {
        self.tensors.visit(f);
    }

    fn visit_mut(&mut self, f: &mut VisitorMut<'_, E>) -> Result<()> {
        self.tensors.visit_mut(f)
    }
}
