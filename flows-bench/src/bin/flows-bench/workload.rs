//! The workloads on which flow libraries are timed against each other, in single precision.

use std::sync::Arc;

use flows_continuous::{Accuracy, Adaptive, ContinuousFlow, Divergence, Hutchinson, Solver};
use flows_core::tensor::{Batch, batch};
use flows_core::train::{Adam, AdamConfig};
use flows_core::{
    Architecture, Base, Bijector, Context, Error, Flow, Loss, Parameters, Purpose, Result, Stream,
    Tape, forward_kl, normals, stream,
};
use flows_finite::architecture::{
    AffineConfig, AutoregressiveFlow, Conditioner, CouplingFlow, DeepSigmoidalConfig, Mixing,
    RationalQuadraticConfig, Residual, SplineConfig, TransformerConfig,
};

/// One flow with the size of its batch.
///
/// | workload | definition |
/// |---|---|
/// | `realnvp-d6` | 10 affine couplings, halves alternating, conditioner 2 x 128 ReLU |
/// | `nsf-c-d6` | 10 rational-quadratic couplings, 8 bins, bound 3, conditioner 4 x 256 ReLU |
/// | `nsf-c-d43` | 10 of them with an LU linear layer each, 4 bins, residual conditioner 1 x 32 |
/// | `maf-d6`, `maf-d43` | 5 masked affine layers, conditioner 2 x 128, 2 x 512 ReLU |
/// | `nsf-ar-d6` | 5 masked rational-quadratic layers, 8 bins, bound 3, conditioner 2 x 128 ReLU |
/// | `naf-d6` | 3 masked layers of deep sigmoidal maps, 16 units, conditioner 2 x 128 ReLU |
/// | `cnf-d2`, `cnf-d6` | field 3 x 64 tanh on state and time, Dopri5 1e-5, one Rademacher probe |
///
/// Batches of 512 rows, 128 for `nsf-c-d43`; nothing stands between the layers but where it is said,
/// and the order of masked layers is reversed each layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Workload {
    /// `realnvp-d6`
    RealNvpD6,
    /// `nsf-c-d6`
    NsfCouplingD6,
    /// `nsf-c-d43`
    NsfCouplingD43,
    /// `maf-d6`
    MafD6,
    /// `maf-d43`
    MafD43,
    /// `nsf-ar-d6`
    NsfAutoregressiveD6,
    /// `naf-d6`
    NafD6,
    /// `cnf-d2`
    CnfD2,
    /// `cnf-d6`
    CnfD6,
}

impl Workload {
    /// All of them.
    pub(crate) const ALL: [Self; 9] = [
        Self::RealNvpD6,
        Self::NsfCouplingD6,
        Self::NsfCouplingD43,
        Self::MafD6,
        Self::MafD43,
        Self::NsfAutoregressiveD6,
        Self::NafD6,
        Self::CnfD2,
        Self::CnfD6,
    ];

    /// Name on the command line and in results.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::RealNvpD6 => "realnvp-d6",
            Self::NsfCouplingD6 => "nsf-c-d6",
            Self::NsfCouplingD43 => "nsf-c-d43",
            Self::MafD6 => "maf-d6",
            Self::MafD43 => "maf-d43",
            Self::NsfAutoregressiveD6 => "nsf-ar-d6",
            Self::NafD6 => "naf-d6",
            Self::CnfD2 => "cnf-d2",
            Self::CnfD6 => "cnf-d6",
        }
    }

    /// Number of features.
    #[must_use]
    pub(crate) fn dim(self) -> usize {
        match self {
            Self::CnfD2 => 2,
            Self::NsfCouplingD43 | Self::MafD43 => 43,
            _ => 6,
        }
    }

    /// Rows of a batch.
    #[must_use]
    pub(crate) fn rows(self) -> usize {
        if self == Self::NsfCouplingD43 { 128 } else { 512 }
    }

    fn bijector(self, rng: &mut Stream) -> Result<Box<dyn Bijector<f32>>> {
        let dim = self.dim();
        Ok(match self {
            Self::RealNvpD6 => Box::new(
                CouplingFlow {
                    layers: 10,
                    conditioner: Conditioner::perceptron(vec![128; 2]),
                    mixing: Mixing::None,
                    act_norm: false,
                    ..CouplingFlow::real_nvp()
                }
                .build(dim, 0, rng)?,
            ),
            Self::NsfCouplingD6 => Box::new(
                CouplingFlow {
                    layers: 10,
                    conditioner: Conditioner::perceptron(vec![256; 4]),
                    transformer: spline(8),
                    mixing: Mixing::None,
                    act_norm: false,
                    ..CouplingFlow::nsf()
                }
                .build(dim, 0, rng)?,
            ),
            Self::NsfCouplingD43 => Box::new(
                CouplingFlow {
                    layers: 10,
                    conditioner: Conditioner::Residual(Residual {
                        width: 32,
                        blocks: 1,
                        ..Residual::default()
                    }),
                    transformer: spline(4),
                    act_norm: false,
                    ..CouplingFlow::nsf()
                }
                .build(dim, 0, rng)?,
            ),
            Self::MafD6 => masked(AffineConfig::inverted().shared(), (5, 128), dim, rng)?,
            Self::MafD43 => masked(AffineConfig::inverted().shared(), (5, 512), dim, rng)?,
            Self::NafD6 => {
                let naf = DeepSigmoidalConfig::default().shared();
                masked(naf, (3, 128), dim, rng)?
            }
            Self::NsfAutoregressiveD6 => masked(spline(8), (5, 128), dim, rng)?,
            Self::CnfD2 | Self::CnfD6 => {
                let accuracy = Accuracy {
                    solver: Solver::Dopri5(Adaptive::new(1e-5, 1e-5)),
                    divergence: Divergence::Hutchinson(Hutchinson::default()),
                };
                let (training, reporting) = (accuracy, accuracy);
                let config = ContinuousFlow {
                    training,
                    reporting,
                    act_norm: false,
                    ..ContinuousFlow::default()
                };
                Box::new(config.build(dim, 0, rng)?)
            }
        })
    }

    /// The workload with its initial weights and data, ready to be timed.
    ///
    /// # Errors
    /// [`Error::Tensor`] if memory runs out.
    pub(crate) fn prepare(self) -> Result<Prepared> {
        let mut rng = stream(1, "workload");
        let mut flow = Flow::new(Base::standard_normal(self.dim()), self.bijector(&mut rng)?)?;
        flow.bijector_mut().set_purpose(Purpose::Training)?;
        let adam = Adam::new(AdamConfig { learning_rate: 1e-4, ..AdamConfig::default() }, &flow);
        let data = batch(data(self.rows(), self.dim(), &mut rng), self.rows(), self.dim())?;
        Ok(Prepared { flow, adam, data, rng })
    }
}

/// A rational-quadratic spline on [-3, 3].
fn spline(bins: usize) -> Arc<dyn TransformerConfig> {
    RationalQuadraticConfig(SplineConfig { bins, bound: 3.0, ..Default::default() }).shared()
}

/// Masked layers with two hidden layers of `width` ReLU, the order reversed each layer.
fn masked(
    transformer: Arc<dyn TransformerConfig>,
    (layers, width): (usize, usize),
    dim: usize,
    rng: &mut Stream,
) -> Result<Box<dyn Bijector<f32>>> {
    let conditioner = Conditioner::perceptron(vec![width; 2]);
    let flow = AutoregressiveFlow { transformer, conditioner, ..AutoregressiveFlow::default() };
    let flow = AutoregressiveFlow { layers, act_norm: false, ..flow };
    Ok(Box::new(flow.build(dim, 0, rng)?))
}

impl std::str::FromStr for Workload {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|workload| workload.name() == name);
        found.ok_or_else(|| format!("unknown workload {name:?}; there are {}", names()))
    }
}

/// tanh(N(0, I) A) + 0.1 N(0, I) with A of entries N(0, 1/dim).
fn data(rows: usize, dim: usize, rng: &mut Stream) -> Vec<f32> {
    let mixing: Vec<f64> = normals(dim * dim, rng);
    let (sources, noise): (Vec<f64>, Vec<f64>) =
        (normals(rows * dim, rng), normals(rows * dim, rng));
    (0..rows * dim)
        .map(|index| {
            let (row, column) = (index / dim, index % dim);
            let mixed: f64 =
                (0..dim).map(|k| sources[row * dim + k] * mixing[k * dim + column]).sum();
            ((mixed / (dim as f64).sqrt()).tanh() + 0.1 * noise[index]) as f32
        })
        .collect()
}

/// A workload that can be run.
#[derive(Debug)]
pub(crate) struct Prepared {
    flow: Flow<f32>,
    adam: Adam<f32>,
    data: Batch<f32>,
    rng: Stream,
}

impl Prepared {
    /// Number of learned scalars.
    #[must_use]
    pub(crate) fn parameters(&self) -> usize {
        self.flow.count()
    }

    /// Mean negative log-likelihood, its gradient, and an Adam update.
    ///
    /// # Errors
    /// [`Error::NonFinite`] if the loss is not finite.
    pub(crate) fn train_step(&mut self) -> Result<()> {
        let Loss { value, mut gradient, .. } =
            forward_kl(&self.flow, &self.data, &Context::none(), Tape::recording())?;
        if !value.is_finite() {
            let (quantity, advice) = ("loss", "the workload is fixed: this is a defect");
            return Err(Error::NonFinite { quantity, row: 0, advice });
        }
        self.adam.update(&mut self.flow, &mut gradient, 1.0, 1.0)
    }

    /// Log-densities without gradient.
    ///
    /// # Errors
    /// Numerical events.
    pub(crate) fn log_prob(&mut self) -> Result<()> {
        self.flow.log_prob(&self.data, &Context::none(), &mut Tape::none()).map(drop)
    }

    /// As many draws as a batch has rows.
    ///
    /// # Errors
    /// Numerical events.
    pub(crate) fn sample(&mut self) -> Result<()> {
        let rows = flows_core::Values::rows(&self.data);
        self.flow.sample(rows, &Context::none(), &mut self.rng).map(drop)
    }
}
