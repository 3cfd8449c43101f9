//! What a `fit` does, resolved from file, preset and flags, or from the run that is resumed.

use anyhow::{Result, bail};
use flows_bench::targets::KnownTarget;
use flows_core::Estimator;
use flows_core::train::{Budget, Objective, ReverseKl};

use crate::Usage;
use crate::cli::{Fit, GradientName, ObjectiveName};
use crate::config::{RunConfig, support};
use crate::run::RunFolder;

/// The config from the run's folder, or from file, preset and flags.
pub(super) fn resolve(arguments: &Fit, folder: &RunFolder) -> Result<RunConfig> {
    let budget = budget(arguments)?;
    if arguments.resume {
        return resumed(arguments, folder, budget);
    }
    if folder.is_taken() {
        let path = arguments.out.display();
        bail!(Usage(format!("{path} holds a run; add --resume to go on, or name another --out")));
    }
    check_flags(arguments)?;
    let (file, preset) = (arguments.config.as_deref(), arguments.flow.as_deref());
    let mut config = RunConfig::read(file, preset, arguments.target)?;
    config.budget = budget.unwrap_or(config.budget);
    config.seed = arguments.seed.unwrap_or(config.seed);
    config.precision = arguments.precision.unwrap_or(config.precision);
    set_objective(arguments, &mut config)?;
    let place = place(arguments);
    config.budget.check().map_err(|error| Usage(format!("{place}: budget: {error}")))?;
    config.train.check().map_err(|error| Usage(format!("{place}: train: {error}")))?;
    support::check_ends(&config.support).map_err(|error| Usage(format!("{place}: {}", error.0)))?;
    check_target(&config).map_err(|error| Usage(format!("{place}: {}", error.0)))?;
    Ok(config)
}

/// Where the config comes from, for messages.
pub(super) fn place(arguments: &Fit) -> String {
    arguments.config.as_ref().map_or("config".into(), |path| path.display().to_string())
}

fn budget(arguments: &Fit) -> Result<Option<Budget>> {
    let budget = match (arguments.seconds, arguments.steps) {
        (Some(seconds), _) => Budget::Seconds { seconds },
        (None, Some(steps)) => Budget::Steps { steps },
        (None, None) => return Ok(None),
    };
    budget.check().map_err(|error| Usage(error.to_string()))?;
    Ok(Some(budget))
}

/// The run's own config, of which the budget alone may change.
fn resumed(arguments: &Fit, folder: &RunFolder, budget: Option<Budget>) -> Result<RunConfig> {
    let fixed = [
        (arguments.config.is_some(), "a config file"),
        (arguments.flow.is_some(), "--flow"),
        (arguments.seed.is_some(), "--seed"),
        (arguments.precision.is_some(), "--precision"),
        (arguments.objective.is_some(), "--objective"),
        (arguments.target.is_some(), "--target"),
        (arguments.gradient.is_some(), "--gradient"),
    ];
    if let Some((_, name)) = fixed.iter().find(|(given, _)| *given) {
        bail!(Usage(format!("{name} cannot be given with --resume: the run has its own config")));
    }
    let mut config = folder.config()?;
    config.budget = budget.unwrap_or(config.budget);
    Ok(config)
}

/// Refuses flags that contradict each other, whatever a file says.
fn check_flags(arguments: &Fit) -> Result<()> {
    let likelihood = arguments.objective == Some(ObjectiveName::MaximumLikelihood);
    if let (Some(target), true) = (arguments.target, likelihood) {
        bail!(Usage(format!(
            "--objective maximum-likelihood needs rows, and the target {target} has none; take \
             reverse-kl, or --data instead of --target"
        )));
    }
    if likelihood && arguments.gradient.is_some() {
        bail!(Usage("--gradient belongs to reverse-kl, not to maximum-likelihood".into()));
    }
    Ok(())
}

/// Puts what the flags say about the objective over what the config says.
fn set_objective(arguments: &Fit, config: &mut RunConfig) -> Result<()> {
    let settings = match config.train.objective {
        Objective::ReverseKl(settings) => Some(settings),
        _ => None,
    };
    match arguments.objective {
        Some(ObjectiveName::MaximumLikelihood) => {
            config.train.objective = Objective::MaximumLikelihood;
        }
        Some(ObjectiveName::ReverseKl) => {
            config.train.objective = Objective::ReverseKl(settings.unwrap_or_default());
        }
        None => {}
    }
    let Some(gradient) = arguments.gradient else { return Ok(()) };
    let Objective::ReverseKl(ReverseKl { estimator, .. }) = &mut config.train.objective else {
        bail!(Usage("--gradient belongs to --objective reverse-kl; add it, and --target".into()));
    };
    *estimator = match gradient {
        GradientName::Reparameterised => Estimator::Reparameterised,
        GradientName::Path => Estimator::Path,
    };
    Ok(())
}

/// Refuses a target without reverse KL, and the other way about.
fn check_target(config: &RunConfig) -> Result<(), Usage> {
    let reverse = matches!(config.train.objective, Objective::ReverseKl(_));
    match config.target {
        None if reverse => {
            let names = KnownTarget::ALL.map(KnownTarget::name).join(", ");
            Err(Usage(format!("reverse KL needs a target; add --target, one of {names}")))
        }
        Some(target) if !reverse => Err(Usage(format!(
            "the target {target} is fitted by reverse KL alone; drop train.objective"
        ))),
        Some(target) if config.support != RunConfig::support_of(target) => {
            Err(Usage(format!("support is that of the target {target} itself; leave it out")))
        }
        _ => Ok(()),
    }
}
