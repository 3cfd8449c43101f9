//! Variational autoencoders with flows as posteriors and priors (review, Section 6.2.3).

mod digits;

use std::ops::ControlFlow;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use flows_claims::{Check, Claim, Setting};
use flows_continuous::{ContinuousFlow, FieldConfig, PerceptronField};
use flows_core::train::{Budget, StopReason, TrainConfig};
use flows_core::{Architecture, Base, Flow, Shape, Stream, Values, architecture, stream};
use flows_finite::architecture::{
    AutoregressiveFlow, Conditioner, CouplingFlow, Direction, LemmaFlow, RationalQuadraticConfig,
    SplineConfig, TransformerConfig,
};
use flows_inference::amortised::{
    Autoencoder, AutoencoderConfig, AutoencoderTrainer, AutoencoderTraining, Evaluation,
    bijector_of, mean_field, standard_normal_prior,
};
use flows_report::Estimate;
use flows_report::finding::{
    Cell, Content, Criterion, Findings, Images, Panel, Panels, Plot, Scale, Stroke, Table,
};

use self::digits::{DIM, Digits, Pixels, TEST};
use crate::interrupt;

/// By kind of pixels.
pub(super) const PARTS: &[Claim] = &[
    part("binary", "Autoencoders of binary digits", METHOD_OF_BINARY, Check::Run(of_binary)),
    part("levels", "Autoencoders of digits of 17 levels", METHOD_OF_LEVELS, Check::Run(of_levels)),
];

const METHOD_OF_BINARY: &str = "Pixels of 8 x 8 digits are black with probability level / 16, drawn anew in every \
     step. Autoencoders with 8 latent variables, whose encoder gives location, scale and context of a \
     posterior by each kind of flow. All have the same networks, steps and seeds, and the weights that \
     validate best. Bounds in nats on 360 held-out digits, the importance-weighted one by 100 draws; gains \
     over the mean-field posterior are paired by digit and seed.";

const METHOD_OF_LEVELS: &str = "The same autoencoders of digits that keep their 17 levels, with a discretised \
     logistic likelihood of each pixel.";

const fn part(id: &'static str, title: &'static str, method: &'static str, check: Check) -> Claim {
    let review = "A flow makes the posterior of an amortised latent-variable model richer than a normal, and so \
                  the evidence lower bound tighter; a flow can also be its prior (Section 6.2.3).";
    Claim { id, title, review, method, check }
}

/// Draws of the importance-weighted bound.
const DRAWS: usize = 100;

/// Digits of a picture.
const SHOWN: usize = 40;

/// The baseline, first of all models.
const BASELINE: &str = "mean-field";

/// A kind of posterior and prior.
struct Model {
    name: &'static str,
    posterior: Option<Arc<dyn Architecture>>,
    prior: Option<Arc<dyn Architecture>>,
}

/// All models; without a posterior it is a diagonal normal, without a prior N(0, I).
fn models() -> Vec<Model> {
    let conditioner = || Conditioner::perceptron(vec![64, 64]);
    // Posteriors are drawn from: their formulas are in that direction.
    let formula = Direction::Sampling;
    let spline = SplineConfig { bins: 8, ..SplineConfig::default() };
    let nsf: Arc<dyn Architecture> = Arc::new(CouplingFlow {
        layers: 4,
        transformer: RationalQuadraticConfig(spline).shared(),
        conditioner: conditioner(),
        ..CouplingFlow::nsf()
    });
    let iaf: Arc<dyn Architecture> = Arc::new(AutoregressiveFlow {
        layers: 4,
        conditioner: conditioner(),
        ..AutoregressiveFlow::iaf()
    });
    let field = PerceptronField { hidden: vec![32, 32], ..PerceptronField::default() };
    let rnode: Arc<dyn Architecture> = Arc::new(ContinuousFlow {
        field: FieldConfig::Perceptron(field),
        ..ContinuousFlow::rnode()
    });
    let posterior = |name, posterior| Model { name, posterior: Some(posterior), prior: None };
    vec![
        Model { name: BASELINE, posterior: None, prior: None },
        posterior("planar", Arc::new(LemmaFlow { layers: 16, formula, ..LemmaFlow::planar() })),
        posterior(
            "sylvester",
            Arc::new(LemmaFlow { layers: 4, formula, ..LemmaFlow::sylvester() }),
        ),
        posterior("iaf", iaf),
        posterior("nsf", Arc::clone(&nsf)),
        posterior("rnode", rnode),
        Model { name: "nsf as prior", posterior: None, prior: Some(nsf) },
    ]
}

fn of_binary(setting: &Setting) -> Result<Findings> {
    found(setting, Pixels::Binary)
}

fn of_levels(setting: &Setting) -> Result<Findings> {
    found(setting, Pixels::Levels)
}

fn found(setting: &Setting, pixels: Pixels) -> Result<Findings> {
    let mut findings = Findings::default();
    let digits = Digits::new(setting.seed)?;
    Comparison { setting, digits: &digits, pixels }.run(&mut findings)?;
    Ok(findings)
}

/// All models on one kind of pixels.
struct Comparison<'a> {
    setting: &'a Setting<'a>,
    digits: &'a Digits,
    pixels: Pixels,
}

/// A model after all of its trainings.
struct Trained {
    /// Of every seed.
    evaluations: Vec<Evaluation>,
    seconds: f64,
    /// Of the first seed.
    draws: Vec<f64>,
}

impl Comparison<'_> {
    fn run(&self, findings: &mut Findings) -> Result<()> {
        let name = self.pixels.name();
        let mut table = Table::new(
            &format!("{name}: bounds of log p(x) on held-out digits (nats), means over seeds."),
            &[
                "posterior",
                "reconstruction",
                "KL of the posterior",
                "lower bound",
                "gain over mean-field",
                "importance-weighted",
                "gain over mean-field",
                "training (s)",
            ],
        );
        let mut plot = Plot::new(
            &format!("{name}: importance-weighted bound by seconds of training."),
            Scale::log("training (seconds)"),
            Scale::linear("importance-weighted bound (nats)"),
        );
        let mut panels = Vec::new();
        let mut baseline: Option<Trained> = None;
        let mut gains = Vec::new();
        for model in models() {
            let trained = self.train(&model).with_context(|| format!("{name}, {}", model.name))?;
            let over = baseline.as_ref().unwrap_or(&trained);
            let gain = |bound: fn(&Evaluation) -> Vec<f64>| trained.gain(over, bound);
            let weighted = |e: &Evaluation| e.importance_weighted.clone();
            let (of_bound, of_weighted) = (gain(Evaluation::elbo), gain(weighted));
            let mean = |of: fn(&Evaluation) -> Vec<f64>| trained.mean(of);
            let is_baseline = model.name == BASELINE;
            let cell = |gain: Gain| match is_baseline {
                true => Cell::from(""),
                false => (gain.nats, Some(gain.error())).into(),
            };
            table.row([
                model.name.into(),
                mean(|e| e.reconstruction.clone()).into(),
                mean(|e| e.kl.clone()).into(),
                mean(Evaluation::elbo).into(),
                cell(of_bound),
                mean(weighted).into(),
                cell(of_weighted),
                trained.seconds.into(),
            ]);
            plot.series(model.name, Stroke::Measured, [[trained.seconds, mean(weighted)]]);
            let label = format!("{name}, {}", model.name);
            jensen(&label, &trained, findings);
            if model.posterior.is_some() {
                gains.push(of_weighted);
            }
            panels.push(Panel { title: model.name.into(), content: self.images(&trained.draws) });
            if is_baseline {
                baseline = Some(trained);
            }
        }
        if let Some(best) = gains.into_iter().max_by(|a, b| a.nats.total_cmp(&b.nats)) {
            findings.demand(
                &format!("{name}: gain in the importance-weighted bound of the best flow posterior (nats)"),
                (best.nats, Some(best.error())),
                Criterion::AtLeast(2.0 * best.error()),
                "the claim; two standard errors, the larger of that over digits and that over seeds",
            );
        }
        findings.tables.push(table);
        findings.plots.push(plot);
        let title = format!("{name}: digits drawn from each model after its first training.");
        findings.panels.push(Panels::of_images(title, panels));
        Ok(())
    }

    fn train(&self, model: &Model) -> Result<Trained> {
        let seeds = self.setting.either(1, 3);
        let (mut evaluations, mut seconds, mut draws) = (Vec::new(), 0.0, Vec::new());
        for seed in (self.setting.seed..).take(seeds) {
            let parts = self.digits.parts(self.pixels, seed)?;
            let autoencoder = self.build(model, &mut stream(seed, "weights"))?;
            let settings = self.training();
            let mut trainer = AutoencoderTrainer::new(autoencoder, settings, seed)?;
            let go_on = |_: &AutoencoderTrainer<f32>, _: &_| {
                let go_on = !interrupt::asked();
                Ok(if go_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
            };
            let stopped = trainer.run(&*parts.source, &parts.validation, go_on)?;
            interrupt::check()?;
            if let StopReason::Diverged { step, reason } = stopped {
                bail!("training stopped at step {step}: {reason}");
            }
            seconds += trainer.seconds() / seeds as f64;
            let trained = trainer.into_model()?;
            let rng = &mut stream(seed, "test draws");
            evaluations.push(trained.evaluate(&parts.test, DRAWS, rng)?);
            if draws.is_empty() {
                let drawn = trained.sample(SHOWN, &mut stream(seed, "shown"))?;
                draws = drawn.values().into_iter().map(f64::from).collect();
            }
        }
        Ok(Trained { evaluations, seconds, draws })
    }

    fn build(&self, model: &Model, rng: &mut Stream) -> flows_core::Result<Autoencoder<f32>> {
        let is_lemma = |flow: &Arc<dyn Architecture>| flow.downcast_ref::<LemmaFlow>().is_some();
        let config = AutoencoderConfig {
            latent: 8,
            // Planar and Sylvester layers have parameters of their own.
            context: if model.posterior.as_ref().is_some_and(is_lemma) { 0 } else { 16 },
            encoder: vec![128, 128],
            decoder: vec![128, 128],
            likelihood: self.pixels.likelihood(),
            ..AutoencoderConfig::default()
        };
        let prior = |latent: usize, rng: &mut Stream| match &model.prior {
            None => standard_normal_prior(latent, rng),
            Some(flow) => {
                let chain = architecture::build(&**flow, latent, 0, rng)?;
                Flow::new(Base::standard_normal(latent), Box::new(chain))
            }
        };
        match &model.posterior {
            None => config.build(DIM, mean_field, prior, rng),
            Some(flow) => config.build(DIM, bijector_of(&**flow), prior, rng),
        }
    }

    fn training(&self) -> AutoencoderTraining {
        let train = TrainConfig {
            batch_rows: 128,
            validate_every: 100,
            // The whole budget, and the weights that validated best.
            patience: Some(u64::MAX),
            ..TrainConfig::default()
        };
        let budget = Budget::Steps { steps: self.setting.either(100, 8_000) };
        AutoencoderTraining { train, budget, ..AutoencoderTraining::default() }
    }

    fn images(&self, draws: &[f64]) -> Content {
        let shape = Shape { channels: 1, height: 8, width: 8 };
        let values = draws.iter().map(|&value| value as f32).collect();
        Content::Images(Images { shape, values, range: [0.0, self.pixels.black()] })
    }
}

/// A difference between bounds in nats, with two standard errors of it: over digits, the seeds taken
/// as they are, and over seeds, the digits taken as they are.
#[derive(Clone, Copy)]
struct Gain {
    nats: f64,
    over_digits: f64,
    over_seeds: Option<f64>,
}

impl Gain {
    /// The larger one.
    fn error(self) -> f64 {
        self.over_seeds.map_or(self.over_digits, |error| error.max(self.over_digits))
    }
}

impl Trained {
    /// The mean over digits and seeds.
    fn mean(&self, of: fn(&Evaluation) -> Vec<f64>) -> f64 {
        Estimate::of(self.evaluations.iter().flat_map(of)).mean
    }

    fn gain(&self, over: &Self, bound: fn(&Evaluation) -> Vec<f64>) -> Gain {
        let pairs = self.evaluations.iter().zip(&over.evaluations);
        let differences: Vec<Vec<f64>> = pairs
            .map(|(own, other)| bound(own).iter().zip(bound(other)).map(|(a, b)| a - b).collect())
            .collect();
        let seeds = differences.len() as f64;
        let of_digit = |digit: usize| differences.iter().map(|run| run[digit]).sum::<f64>() / seeds;
        let digits = Estimate::of((0..TEST).map(of_digit));
        let of_seed = |run: &Vec<f64>| run.iter().sum::<f64>() / TEST as f64;
        let over_seeds = Estimate::of(differences.iter().map(of_seed)).known_error();
        Gain { nats: digits.mean, over_digits: digits.standard_error, over_seeds }
    }
}

/// What holds for any model.
fn jensen(name: &str, trained: &Trained, findings: &mut Findings) {
    let above = trained.evaluations.iter().flat_map(|e| {
        e.importance_weighted.iter().zip(e.elbo()).map(|(weighted, bound)| weighted - bound)
    });
    findings.at_least(
        &format!("{name}: least importance-weighted bound of a digit less its lower bound (nats)"),
        above.fold(f64::INFINITY, f64::min),
        -1e-9,
        "the logarithm of a mean is not below the mean of logarithms, up to rounding",
    );
}
