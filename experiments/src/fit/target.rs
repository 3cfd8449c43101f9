//! `fit` on a density that is known up to a constant.

use anyhow::{Context as _, Result, bail};
use flows_bench::table::{Dequantisation, Standardiser};
use flows_bench::targets::KnownTarget;
use flows_core::{Parameters, Real, Target};
use flows_report::record::{Family, RunSummary, Stop};

use super::{place, preset_name, refuse_divergence};
use crate::cli::Fit;
use crate::config::RunConfig;
use crate::evaluate::target::{TargetEvaluation, evaluate};
use crate::run::{RunData, RunFolder};
use crate::training::{Place, on_density};
use crate::{preset, progress, say};

/// Trains by reverse KL, evaluates against the target, and writes the run.
pub(super) fn fit<E: Real>(
    arguments: &Fit,
    config: &RunConfig,
    folder: &RunFolder,
    target: KnownTarget,
) -> Result<()> {
    let record = record(target)?;
    let flow = config.build::<E>(target.dim()).with_context(|| place(arguments))?;
    if arguments.resume {
        let (file, got) = (folder.file("data.json"), folder.data()?.columns);
        if got != record.columns {
            bail!(
                "{}: expected the columns of {target}, {}, got {}; resume a run of this target",
                file.display(),
                record.columns.join(", "),
                got.join(", ")
            );
        }
    } else {
        folder.create()?;
        folder.write_json("data.json", &record)?;
    }
    folder.write_config(config)?;
    let resume = arguments.resume && folder.file("checkpoint.safetensors").exists();
    let bar = progress::training(&preset_name(config));
    let at = Place { folder, resume, bar: &bar };
    let mut trained = on_density(config, flow, target, &at)?;
    bar.finish_and_clear();
    refuse_divergence(&trained.outcome, arguments)?;
    let evaluation = evaluate(&mut trained.flow, config, target)?;
    let family = preset::family(&*config.flow);
    let accuracy = (family == Family::Continuous).then(|| preset::accuracy(&*config.flow));
    let summary = RunSummary {
        dim: Some(target.dim()),
        parameters: Some(Parameters::count(&trained.flow) as u64),
        train_seconds: Some(trained.seconds),
        steps: Some(trained.steps),
        stop: Stop::of(&trained.outcome),
        patience: config.train.patience,
        kl_nats: Some(evaluation.forward_kl.mean),
        kl_standard_error: Some(evaluation.forward_kl.standard_error),
        round_trip_error: Some(evaluation.round_trip_error),
        evaluations: Some(evaluation.evaluations),
        log_det: Some(trained.flow.bijector().exactness().into()),
        precision: Some(E::NAME.to_owned()),
        log_prob_rows_per_second: Some(evaluation.log_prob_rows_per_second),
        sample_rows_per_second: Some(evaluation.sample_rows_per_second),
        accuracy: accuracy.flatten(),
        solver_error_nats: evaluation.account.map(|account| account.solver),
        trace_noise_nats: evaluation.account.map(|account| account.trace),
        on_target: Some(evaluation.record(target)),
        ..RunSummary::finished([target.name(), &preset_name(config)], family, config.seed)
    };
    folder.write_json("summary.json", &summary)?;
    print(&summary, &evaluation, arguments)
}

/// There are no rows and nothing is standardised.
fn record(target: KnownTarget) -> Result<RunData> {
    let dim = target.dim();
    Ok(RunData {
        columns: (1..=dim).map(|i| format!("x{i}")).collect(),
        rows: [0; 3],
        standardiser: Standardiser::new(vec![0.0; dim], vec![1.0; dim])?,
        dequantisation: Dequantisation::default(),
    })
}

fn print(summary: &RunSummary, evaluation: &TargetEvaluation, arguments: &Fit) -> Result<()> {
    let TargetEvaluation { reverse_kl, forward_kl, log_normaliser, .. } = evaluation;
    say(&format!(
        "reverse KL {:.5} +- {:.5} nats, forward KL {:.5} +- {:.5} nats",
        reverse_kl.mean, reverse_kl.standard_error, forward_kl.mean, forward_kl.standard_error,
    ))?;
    say(&format!(
        "effective sample size {:.2} %, log Z {:.5} +- {:.5} (exactly {:.5})",
        100.0 * evaluation.effective_sample_size,
        log_normaliser.mean,
        log_normaliser.standard_error,
        summary.on_target.map_or(f64::NAN, |t| t.exact_log_normaliser_nats),
    ))?;
    say(&format!(
        "{} steps in {:.1} s, {} parameters",
        summary.steps.unwrap_or(0),
        summary.train_seconds.unwrap_or(0.0),
        summary.parameters.unwrap_or(0),
    ))?;
    say(&arguments.out.display().to_string())
}
