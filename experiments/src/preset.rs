//! Flow presets: named configs with the training settings that suit them.

mod continuous;
mod uci;

use std::sync::{Arc, LazyLock};

use anyhow::Result;
use flows_claims::NamedFlow;
use flows_continuous::{ContinuousFlow, Penalties};
use flows_core::train::{AdamConfig, Annealing, Objective, ReverseKl, TrainConfig};
use flows_core::{Architecture, Bijector, Cost, Costs, Estimator, stream};
use flows_finite::architecture::{
    AutoregressiveFlow, BlockNaf, CouplingFlow, GaussianizationFlow, Glow, LemmaFlow,
    MultiScaleFlow, NormalFlow, RecurrentFlow, ResidualFlow,
};
use flows_report::record::Family;

use crate::Usage;

pub use continuous::accuracy;

/// A flow that can be asked for by name.
#[derive(Clone, Debug)]
pub struct Preset {
    /// Name on the command line.
    pub name: &'static str,
    /// Name for readers.
    pub title: &'static str,
    /// Finite or continuous.
    pub family: Family,
    /// One sentence: architecture and source.
    pub description: &'static str,
    /// The architecture.
    pub flow: Arc<dyn Architecture>,
    /// How it is trained.
    pub train: TrainConfig,
    /// Whether it is in a comparison that names no flows.
    pub quick: bool,
}

/// Presets of a size that suits any table, in the order of reports: those that claims go over.
pub static ALL: LazyLock<Vec<Preset>> = LazyLock::new(|| {
    couplings().into_iter().chain(others()).chain(continuous::presets()).collect()
});

/// Presets with the settings that papers state for the standard tables: large, and slow to train.
pub static UCI: LazyLock<Vec<Preset>> = LazyLock::new(uci::presets);

/// Normal distributions, which flows are compared with where there is only a density.
pub static NORMALS: LazyLock<[Preset; 2]> = LazyLock::new(|| {
    // A location can be many steps of an unconditional layer away.
    const LEARNING_RATE: f64 = 2e-2;
    [
        finite(
            [
                "mean-field",
                "Normal (mean-field)",
                "a normal of independent features, the baseline on densities (Kucukelbir et al. 2017)",
            ],
            Arc::new(NormalFlow::mean_field()),
            LEARNING_RATE,
        ),
        finite(
            [
                "full-rank",
                "Normal (full rank)",
                "a normal of any covariance, the baseline on densities (Kucukelbir et al. 2017)",
            ],
            Arc::new(NormalFlow::full_rank()),
            LEARNING_RATE,
        ),
    ]
});

/// Every preset that has a name.
pub fn every() -> impl Iterator<Item = &'static Preset> {
    ALL.iter().chain(UCI.iter()).chain(NORMALS.iter())
}

/// The presets as the claims about every flow take them.
pub fn named_flows() -> Vec<NamedFlow> {
    let named = |preset: &Preset| {
        let (title, family) = (preset.title, preset.family);
        NamedFlow { title, family, architecture: Arc::clone(&preset.flow) }
    };
    ALL.iter().map(named).collect()
}

fn train(learning_rate: f64) -> TrainConfig {
    TrainConfig {
        optimiser: AdamConfig { learning_rate, ..AdamConfig::default() },
        ema: Some(0.99),
        ..TrainConfig::default()
    }
}

fn finite(
    [name, title, description]: [&'static str; 3],
    flow: Arc<dyn Architecture>,
    learning_rate: f64,
) -> Preset {
    let family = Family::Finite;
    Preset { name, title, family, description, flow, train: train(learning_rate), quick: false }
}

/// Flows whose both directions are one pass.
fn couplings() -> Vec<Preset> {
    vec![
        Preset {
            quick: true,
            ..finite(
                [
                    "real-nvp",
                    "Real NVP",
                    "10 affine couplings with halves alternating and an LU linear layer before each, \
                 conditioners of 2 x 128 ReLU (Dinh et al. 2017)",
                ],
                Arc::new(CouplingFlow::real_nvp()),
                2e-3,
            )
        },
        Preset {
            quick: true,
            ..finite(
                [
                    "nsf-coupling",
                    "NSF (coupling)",
                    "6 rational-quadratic spline couplings, 16 bins on [-4, 4], with an LU linear layer \
                 before each, conditioners of 2 x 128 ReLU (Durkan et al. 2019)",
                ],
                Arc::new(CouplingFlow::nsf()),
                2e-3,
            )
        },
        finite(
            [
                "nice",
                "NICE",
                "4 additive couplings on alternating features, conditioners of 5 x 128 ReLU, a \
                 scale for each feature (Dinh et al. 2014)",
            ],
            Arc::new(CouplingFlow::nice()),
            1e-3,
        ),
        finite(
            [
                "glow",
                "Glow (vectors)",
                "8 steps of act-norm, LU linear layer and affine coupling, conditioners of 2 x 128 \
                 ReLU (Kingma and Dhariwal 2018)",
            ],
            Arc::new(Glow::default()),
            2e-3,
        ),
        finite(
            [
                "glow-image",
                "Glow (images)",
                "2 levels of 4 steps of act-norm, 1 x 1 convolution and affine channel coupling, \
                 convolutions of 32 channels; columns are pixels, 1 x 8 x 8 unless flow.shape says \
                 otherwise (Kingma and Dhariwal 2018)",
            ],
            Arc::new(MultiScaleFlow::glow()),
            1e-3,
        ),
        finite(
            [
                "real-nvp-image",
                "Real NVP (images)",
                "2 levels of 3 affine couplings with a checkerboard and 3 of channels, convolutions of \
                 32 channels; columns are pixels as for glow-image (Dinh et al. 2017)",
            ],
            Arc::new(MultiScaleFlow::real_nvp()),
            1e-3,
        ),
        finite(
            [
                "nsf-image",
                "NSF (images)",
                "as glow-image with rational-quadratic splines of 8 bins on [-4, 4] (Durkan et al. 2019)",
            ],
            Arc::new(MultiScaleFlow::nsf()),
            1e-3,
        ),
    ]
}

/// Flows with one direction in one pass, and flows without networks.
fn others() -> Vec<Preset> {
    vec![
        finite(
            [
                "maf",
                "MAF",
                "10 masked affine layers, order reversed each layer, 2 x 128 ReLU \
                 (Papamakarios et al. 2017)",
            ],
            Arc::new(AutoregressiveFlow::maf()),
            2e-3,
        ),
        finite(
            [
                "iaf",
                "IAF",
                "8 masked affine layers with a sigmoid gate, one pass for a draw, 2 x 128 ReLU \
                 (Kingma et al. 2016)",
            ],
            Arc::new(AutoregressiveFlow::iaf()),
            2e-3,
        ),
        finite(
            [
                "nsf-autoregressive",
                "NSF (autoregressive)",
                "4 masked rational-quadratic spline layers, 16 bins on [-4, 4], an LU linear layer \
                 after each, 2 x 128 ReLU (Durkan et al. 2019)",
            ],
            Arc::new(AutoregressiveFlow::nsf()),
            2e-3,
        ),
        finite(
            [
                "naf",
                "NAF",
                "5 masked layers of deep sigmoidal maps with 16 units, 2 x 128 ReLU \
                 (Huang et al. 2018)",
            ],
            Arc::new(AutoregressiveFlow::naf()),
            2e-3,
        ),
        finite(
            [
                "umnn-maf",
                "UMNN-MAF",
                "5 masked layers of integrated positive networks, 2 x 128 ReLU \
                 (Wehenkel and Louppe 2019)",
            ],
            Arc::new(AutoregressiveFlow::umnn()),
            2e-3,
        ),
        finite(
            [
                "sos",
                "SOS",
                "2 masked layers of sum-of-squares polynomials, 2 x 128 ReLU (Jaini et al. 2019)",
            ],
            Arc::new(AutoregressiveFlow::sum_of_squares()),
            1e-3,
        ),
        finite(
            [
                "tan",
                "TAN",
                "4 layers of a gated recurrent unit of 32 units with affine maps, an LU linear \
                 layer after each (Oliva et al. 2018)",
            ],
            Arc::new(RecurrentFlow::default()),
            2e-3,
        ),
        finite(
            [
                "b-naf",
                "B-NAF",
                "2 block autoregressive networks of 2 x 16 units a feature with leaky tanh \
                 (De Cao et al. 2019)",
            ],
            Arc::new(BlockNaf::default()),
            5e-3,
        ),
        finite(
            [
                "gaussianization",
                "Gaussianization flow",
                "8 layers of Householder rotations and mixtures of 20 logistic components, no \
                 networks (Meng et al. 2020)",
            ],
            Arc::new(GaussianizationFlow::default()),
            1e-2,
        ),
        finite(
            [
                "planar",
                "Planar flow",
                "32 planar layers, density by formula, draws by root search \
                 (Rezende and Mohamed 2015)",
            ],
            Arc::new(LemmaFlow::planar()),
            5e-3,
        ),
        finite(
            [
                "radial",
                "Radial flow",
                "32 radial layers (Tabak and Turner 2013, Rezende and Mohamed 2015)",
            ],
            Arc::new(LemmaFlow::radial()),
            5e-3,
        ),
        finite(
            [
                "sylvester",
                "Sylvester flow",
                "16 Sylvester layers with Householder bases, as many units as features \
                 (van den Berg et al. 2018)",
            ],
            Arc::new(LemmaFlow::sylvester()),
            5e-3,
        ),
        finite(
            [
                "residual-flow",
                "Residual flow",
                "10 contractive layers of 3 x 64 LipSwish, Lipschitz bound 0.9, log-det by Russian \
                 roulette in training and exact in reports (Chen et al. 2019)",
            ],
            Arc::new(ResidualFlow::default()),
            2e-3,
        ),
    ]
}

/// What `fit` takes if nothing is asked for.
const DEFAULT: &str = "nsf-coupling";

/// Hot at first, so that no mode is given up before the others are found, and for the second half
/// of the budget at the target's own temperature.
const ANNEALING: Annealing = Annealing { from: 0.1, until: 0.5 };

impl Preset {
    /// The preset called `name`, or the default one.
    ///
    /// # Errors
    /// [`Usage`] with all names, if there is none.
    pub fn named(name: Option<&str>) -> Result<&'static Self> {
        let name = name.unwrap_or(DEFAULT);
        let names = || every().map(|p| p.name).collect::<Vec<_>>().join(", ");
        let found = every().find(|preset| preset.name == name);
        found.ok_or_else(|| Usage(format!("unknown preset {name:?}; there are {}", names())).into())
    }
}

impl Preset {
    /// The architecture that fits a density instead of rows: without penalties on the path, which
    /// would keep a continuous flow from it.
    #[must_use]
    pub fn flow_on_target(&self) -> Arc<dyn Architecture> {
        match self.flow.downcast_ref::<ContinuousFlow>() {
            Some(flow) => {
                let penalties = Penalties::default();
                Arc::new(ContinuousFlow { penalties, ..flow.clone() })
            }
            None => Arc::clone(&self.flow),
        }
    }

    /// How it is trained on a density of `dim` features instead of rows: every batch is drawn anew
    /// and cannot be overfitted. By the path gradient, unless a direction that it needs is sequential
    /// or a search.
    #[must_use]
    pub fn train_on_target(&self, dim: usize) -> TrainConfig {
        let direct = |cost| matches!(cost, Cost::ClosedForm | Cost::Integrated);
        let chain = self.flow.build_f32(dim, 0, &mut stream(0, "costs"));
        // What cannot be built is refused where the run builds it.
        let path = chain.is_ok_and(|chain| {
            let Costs { forward, inverse } = chain.costs();
            direct(forward) && direct(inverse)
        });
        let estimator = if path { Estimator::Path } else { Estimator::Reparameterised };
        let slower = if self.family == Family::Continuous { 0.5 } else { 1.0 };
        let learning_rate = slower * self.train.optimiser.learning_rate;
        TrainConfig {
            objective: Objective::ReverseKl(ReverseKl { estimator, annealing: Some(ANNEALING) }),
            optimiser: AdamConfig { learning_rate, ..self.train.optimiser },
            validate_every: 100,
            ..self.train.clone()
        }
    }

    /// The first preset of the architecture that configs call `kind`.
    pub fn of_kind(kind: Option<&str>) -> Option<&'static Self> {
        ALL.iter().find(|preset| Some(preset.flow.typetag_name()) == kind)
    }
}

/// The family of an architecture.
pub fn family(flow: &dyn Architecture) -> Family {
    if flow.is_continuous() { Family::Continuous } else { Family::Finite }
}
