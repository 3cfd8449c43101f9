//! Variational autoencoders of handwritten digits: what a flow posterior adds to a mean-field one.
//!
//! The 1,797 digits of 8 x 8 pixels are binarised anew in every step (a pixel of level k is 1 with probability
//! k / 16), or keep their 17 levels with a discretised logistic likelihood. All posteriors have the same
//! encoder and decoder, the same number of steps and the weights that validate best. Printed as CSV: the
//! evidence lower bound and the importance-weighted bound of 360 held-out digits in nats, with their standard
//! errors over the digits, then the differences to mean-field, paired by digits and averaged over the seeds.
//!
//! Run with `cargo run --release -p flows-inference --example 02_autoencoder`, which shows the way in 60 steps, or
//! with the number of steps, of seeds, `binary` or `levels` and names of posteriors:
//! `.. --example 02_autoencoder -- 3000 3 binary mean-field iaf nsf`. Differences need `mean-field` first.
#![allow(clippy::print_stdout, reason = "an example shows what it found")]

use std::ops::ControlFlow;
use std::sync::Arc;

use flows_bench::table::digits;
use flows_continuous::{ContinuousFlow, FieldConfig, PerceptronField};
use flows_core::train::{Budget, Minibatch, Source, StopReason, TableSource, TrainConfig};
use flows_core::{Architecture, Error, Result, Stream, stream};
use flows_finite::architecture::{
    AutoregressiveFlow, Conditioner, CouplingFlow, Direction, LemmaFlow, RationalQuadraticConfig,
    SplineConfig, TransformerConfig,
};
use flows_inference::amortised::{
    AutoencoderConfig, AutoencoderTrainer, AutoencoderTraining, Evaluation, Likelihood,
    bijector_of, mean_field, standard_normal_prior,
};
use rand::RngExt;
use rand::seq::SliceRandom;

const DIM: usize = 64;
const TEST: usize = 360;
const VALIDATION: usize = 180;
/// Draws of the importance-weighted bound.
const DRAWS: usize = 100;

/// Posteriors by name; none for mean-field.
fn posteriors() -> Vec<(&'static str, Option<Arc<dyn Architecture>>)> {
    let conditioner = || Conditioner::perceptron(vec![64, 64]);
    let formula = Direction::Sampling;
    let spline = SplineConfig { bins: 8, ..SplineConfig::default() };
    let transformer = RationalQuadraticConfig(spline).shared();
    let field = PerceptronField { hidden: vec![32, 32], ..PerceptronField::default() };
    vec![
        ("mean-field", None),
        ("planar", Some(Arc::new(LemmaFlow { layers: 16, formula, ..LemmaFlow::planar() }))),
        ("sylvester", Some(Arc::new(LemmaFlow { layers: 4, formula, ..LemmaFlow::sylvester() }))),
        (
            "iaf",
            Some(Arc::new(AutoregressiveFlow {
                layers: 4,
                conditioner: conditioner(),
                ..AutoregressiveFlow::iaf()
            })),
        ),
        (
            "nsf",
            Some(Arc::new(CouplingFlow {
                layers: 4,
                transformer,
                conditioner: conditioner(),
                ..CouplingFlow::nsf()
            })),
        ),
        (
            "rnode",
            Some(Arc::new(ContinuousFlow {
                field: FieldConfig::Perceptron(field),
                ..ContinuousFlow::rnode()
            })),
        ),
    ]
}

/// Levels of training, validation and test digits.
struct Parts {
    training: Vec<f32>,
    validation: Vec<f32>,
    test: Vec<f32>,
}

/// Pixels of level k of 16 that are 1 with probability k / 16.
fn binarised(levels: &[f32], rng: &mut Stream) -> Vec<f32> {
    levels.iter().map(|level| f32::from(u8::from(rng.random::<f32>() * 16.0 < *level))).collect()
}

impl Parts {
    fn new() -> Result<Self> {
        let table = digits().map_err(|error| Error::Caller(error.to_string()))?.table;
        let mut rows: Vec<&[f64]> = table.values().chunks(DIM).collect();
        rows.shuffle(&mut stream(0, "split"));
        let of = |rows: &[&[f64]]| rows.concat().iter().map(|&level| level as f32).collect();
        let (test, rest) = rows.split_at(TEST);
        let (validation, training) = rest.split_at(VALIDATION);
        Ok(Self { training: of(training), validation: of(validation), test: of(test) })
    }

    /// As levels or binarised; the held-out digits are binarised once.
    fn of(&self, binary: bool, seed: u64) -> Result<Data<'_>> {
        let table = TableSource::new(self.training.clone(), DIM, seed)?;
        let (validation, test) = (&self.validation, &self.test);
        if !binary {
            let source = Box::new(table);
            return Ok(Data { source, validation: validation.clone(), test: test.clone() });
        }
        let fixed = |levels: &[f32], name| binarised(levels, &mut stream(0, name));
        Ok(Data {
            source: Box::new(Binarised { table, seed }),
            validation: fixed(validation, "validation"),
            test: fixed(test, "test"),
        })
    }
}

/// Training rows, validation rows and test rows.
struct Data<'a> {
    source: Box<dyn Source<f32> + 'a>,
    validation: Vec<f32>,
    test: Vec<f32>,
}

/// Rows of a table, binarised anew in every step.
struct Binarised {
    table: TableSource<f32>,
    seed: u64,
}

impl Source<f32> for Binarised {
    fn dim(&self) -> usize {
        DIM
    }

    fn minibatch(&self, step: u64, rows: usize) -> Result<Minibatch<f32>> {
        let levels = self.table.minibatch(step, rows)?.values;
        let rng = &mut stream(self.seed, &format!("binarise {step}"));
        Ok(Minibatch { values: binarised(&levels, rng), context: Vec::new() })
    }
}

/// A trained posterior on the test digits, with the seconds of its training.
fn run(
    parts: &Parts,
    architecture: Option<&dyn Architecture>,
    (binary, steps, seed): (bool, u64, u64),
) -> Result<(Evaluation, f64)> {
    let Data { source, validation, test } = parts.of(binary, seed)?;
    let unconditional = architecture.is_some_and(|a| a.downcast_ref::<LemmaFlow>().is_some());
    let config = AutoencoderConfig {
        latent: 8,
        context: if unconditional { 0 } else { 16 },
        encoder: vec![128, 128],
        decoder: vec![128, 128],
        likelihood: match binary {
            true => Likelihood::Bernoulli,
            false => Likelihood::DiscretisedLogistic { levels: 17 },
        },
        ..AutoencoderConfig::default()
    };
    let rng = &mut stream(seed, "weights");
    let model = match architecture {
        None => config.build(DIM, mean_field, standard_normal_prior, rng)?,
        Some(flow) => config.build(DIM, bijector_of(flow), standard_normal_prior, rng)?,
    };
    let train = TrainConfig {
        batch_rows: 128,
        validate_every: 100,
        patience: Some(u64::MAX),
        ..TrainConfig::default()
    };
    let budget = Budget::Steps { steps };
    let settings = AutoencoderTraining { train, budget, ..AutoencoderTraining::default() };
    let mut trainer = AutoencoderTrainer::new(model, settings, seed)?;
    let stopped = trainer.run(&*source, &validation, |_, _| Ok(ControlFlow::Continue(())))?;
    if let StopReason::Diverged { step, reason } = stopped {
        return Err(Error::Caller(format!("training stopped at step {step}: {reason}")));
    }
    let seconds = trainer.seconds();
    let model = trainer.into_model()?;
    Ok((model.evaluate(&test, DRAWS, &mut stream(seed, "test draws"))?, seconds))
}

/// Mean and standard error.
fn mean(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    (mean, (squares / (count - 1.0) / count).sqrt())
}

/// The bound of each digit, averaged over seeds.
fn over_seeds(runs: &[Evaluation], bound: impl Fn(&Evaluation) -> Vec<f64>) -> Vec<f64> {
    let mut sums = vec![0.0; TEST];
    for run in runs {
        sums.iter_mut().zip(bound(run)).for_each(|(sum, v)| *sum += v / runs.len() as f64);
    }
    sums
}

fn main() -> Result<()> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut number = |default: u64| match arguments.first().and_then(|a| a.parse().ok()) {
        Some(given) => {
            arguments.remove(0);
            given
        }
        None => default,
    };
    let (steps, seeds) = (number(60), number(1));
    let wanted = |group: &[&str], name: &str| {
        !arguments.iter().any(|a| group.contains(&a.as_str()))
            || arguments.iter().any(|a| a == name)
    };
    let posteriors = posteriors();
    let names: Vec<&str> = posteriors.iter().map(|(name, _)| *name).collect();
    let parts = Parts::new()?;
    let kinds = ["binary", "levels"];
    println!(
        "data,posterior,seed,steps,seconds,reconstruction,kl,elbo,elbo_error,weighted,weighted_error"
    );
    let mut differences = Vec::new();
    for kind in kinds.into_iter().filter(|kind| wanted(&kinds, kind)) {
        let mut reference: Option<[Vec<f64>; 2]> = None;
        for (name, architecture) in posteriors.iter().filter(|(name, _)| wanted(&names, name)) {
            let mut runs = Vec::new();
            for seed in 1..=seeds {
                let settings = (kind == "binary", steps, seed);
                let (bounds, seconds) = run(&parts, architecture.as_deref(), settings)?;
                let (reconstruction, _) = mean(&bounds.reconstruction);
                let (kl, _) = mean(&bounds.kl);
                let (elbo, elbo_error) = mean(&bounds.elbo());
                let (weighted, weighted_error) = mean(&bounds.importance_weighted);
                println!(
                    "{kind},{name},{seed},{steps},{seconds:.1},{reconstruction:.3},{kl:.3},\
                     {elbo:.3},{elbo_error:.3},{weighted:.3},{weighted_error:.3}"
                );
                runs.push(bounds);
            }
            let averages = [
                over_seeds(&runs, Evaluation::elbo),
                over_seeds(&runs, |run| run.importance_weighted.clone()),
            ];
            match &reference {
                Some(reference) => {
                    let less = |i: usize| -> Vec<f64> {
                        averages[i].iter().zip(&reference[i]).map(|(a, b)| a - b).collect()
                    };
                    differences.push((kind, *name, mean(&less(0)), mean(&less(1))));
                }
                None if *name == "mean-field" => reference = Some(averages),
                None => {}
            }
        }
    }
    println!("data,posterior,elbo_difference,error,weighted_difference,error");
    for (kind, name, (elbo, elbo_error), (weighted, weighted_error)) in differences {
        println!("{kind},{name},{elbo:.3},{elbo_error:.3},{weighted:.3},{weighted_error:.3}");
    }
    Ok(())
}
