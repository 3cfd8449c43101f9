//! `run npe`: finite and continuous flows as estimators of posteriors, on the same simulations.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, bail};
use flows_bench::simulators::Simulator as Known;
use flows_claims::{Effort, Setting};
use flows_core::train::Budget;
use flows_core::{Parameters, stream};
use flows_inference::simulation::{Posterior, Simulations, Simulator, npe_of, unreported};
use flows_report::Estimate;
use flows_report::finding::{Cell, Criterion, Findings, Table};
use flows_report::study::{Outcome, Section};

use super::Experiment;
use crate::cli::Run;
use crate::npe::{KnownSimulator, NpeConfig, builder, distance_to_reference, panels};
use crate::run::write_json;
use crate::study::begin;
use crate::{Usage, preset, say};

/// Both families, and flow matching, which solves no ODE in training.
const FLOWS: [&str; 4] = ["nsf-coupling", "nsf-autoregressive", "rnode", "flow-matching"];

/// Published observations that posteriors are compared for.
const OBSERVATIONS: usize = 3;

/// Draws of each posterior.
const DRAWS: usize = 10_000;

/// Trains all flows on each simulator and writes the page.
pub(super) fn run(experiment: &Experiment, arguments: &Run, folder: PathBuf) -> Result<()> {
    let published = match &arguments.data[..] {
        [] => None,
        [folder] => Some(folder.as_path()),
        more => {
            let got = more.len();
            bail!(Usage(format!("npe --data: expected one folder of simulators, got {got}")));
        }
    };
    let effort = if arguments.quick { Effort::Quick } else { Effort::Full };
    let flows = preset::named_flows();
    let seconds = arguments.seconds;
    let setting = Setting { effort, seed: arguments.seed, flows: &flows, seconds };
    let mut study = begin(experiment.title, &setting);
    for simulator in Known::ALL {
        let task = Task { simulator, published, setting: &setting };
        let Some(cases) = task.cases()? else { continue };
        let clock = Instant::now();
        let outcome = match task.findings(&cases) {
            Ok(findings) => Outcome::Found(findings),
            Err(error) => Outcome::Failed(format!("{error:#}")),
        };
        study.sections.push(Section {
            id: simulator.name().into(),
            title: simulator.name().replace('_', " "),
            review: "Flows of the parameters given the data estimate posteriors of simulators without a \
                     likelihood (Section 6.2.4)."
                .into(),
            method: format!(
                "{}. All flows are trained on the same {} simulations, for the same time, until validation \
                 no longer improves. Draws of each posterior are told from reference draws by a classifier \
                 (C2ST): 0.5 where it cannot, 1 where it always can.",
                simulator.description(),
                task.simulations()
            ),
            seconds: clock.elapsed().as_secs_f64(),
            outcome,
        });
        std::fs::create_dir_all(&folder)?;
        write_json(&folder.join("study.json"), &study)?;
        if let Some(section) = study.sections.last() {
            let (verdict, name) = (section.outcome.verdict(), simulator.name());
            say(&format!("{name:<24} {verdict:<9} {:>7.1} s", section.seconds))?;
        }
    }
    let page = flows_report::write(&folder)?;
    say(&page.display().to_string())?;
    match study.count("error") {
        0 => Ok(()),
        failed => bail!("{failed} of {} simulators failed", study.sections.len()),
    }
}

struct Task<'a> {
    simulator: Known,
    published: Option<&'a Path>,
    setting: &'a Setting<'a>,
}

/// An observation with draws of its posterior.
struct Case {
    observation: Vec<f64>,
    reference: Vec<f64>,
}

impl Task<'_> {
    fn simulations(&self) -> usize {
        self.setting.either(2_000, 10_000)
    }

    /// The published observations, or, where the posterior can be drawn from, some of the simulator's.
    fn cases(&self) -> Result<Option<Vec<Case>>> {
        let count = self.setting.either(1, OBSERVATIONS);
        let simulator = self.simulator;
        if let Some(folder) = self.published {
            let read = |number| -> Result<Case> {
                let observation = simulator.observation(folder, number)?;
                let reference = simulator.reference_draws(folder, number)?.into_values();
                Ok(Case { observation, reference })
            };
            return Ok(Some((1..=count).map(read).collect::<Result<_>>()?));
        }
        let rng = &mut stream(self.setting.seed, "observations");
        let mut cases = Vec::new();
        for _ in 0..count {
            let theta = simulator.sample_prior(1, rng);
            let observation = simulator.simulate(&theta, rng);
            let Some(reference) = simulator.sample_posterior(&observation, DRAWS, rng) else {
                return Ok(None);
            };
            cases.push(Case { observation, reference });
        }
        Ok(Some(cases))
    }

    fn findings(&self, cases: &[Case]) -> Result<Findings> {
        let simulator = KnownSimulator::new(self.simulator)?;
        let seed = self.setting.seed;
        let simulations = Simulations::of_prior(
            &simulator,
            self.simulations(),
            Default::default(),
            &mut unreported,
            &mut stream(seed, "simulations"),
        )?;
        let mut findings = Findings::default();
        let mut table = Table::new(
            "Classifier two-sample test of draws of the estimated and the reference posterior.",
            &[
                "flow",
                "family",
                "C2ST",
                "of single observations",
                "training (s)",
                "steps",
                "parameters",
            ],
        );
        let dim = self.simulator.parameters();
        let mut shown = vec![("reference".to_owned(), cases[0].reference.clone())];
        for name in FLOWS {
            let (posterior, title, family) = self.fit(name, &simulator, &simulations)?;
            let mut rng = stream(seed, "posterior");
            let mut values = Vec::new();
            for (index, case) in cases.iter().enumerate() {
                let drawn = posterior.sample(&case.observation, DRAWS, &mut rng)?;
                values.push(distance_to_reference(&drawn, &case.reference, dim)?.value);
                if index == 0 {
                    shown.push((title.clone(), drawn));
                }
            }
            let mean = Estimate::of(values.iter().copied());
            findings.demand(
                &format!("{name}: C2ST, mean over observations"),
                (mean.mean, mean.known_error()),
                Criterion::AtMost(1.0 - 1e-3),
                "a posterior that a classifier always tells from the reference has been lost",
            );
            let each: Vec<String> = values.iter().map(|value| format!("{value:.3}")).collect();
            let training = posterior.training();
            table.row([
                title.into(),
                family.into(),
                Cell::from((mean.mean, mean.known_error())),
                each.join(", ").into(),
                training.seconds.into(),
                training.steps.into(),
                posterior.flow().count().into(),
            ]);
        }
        findings.tables.push(table);
        let shown: Vec<(&str, &[f64])> =
            shown.iter().map(|(title, rows)| (title.as_str(), rows.as_slice())).collect();
        let title = "Draws of the posterior of the first observation: its first two parameters.";
        findings.panels.extend(panels(title, (&simulator.prior().names(), [0, 1]), &shown));
        Ok(findings)
    }

    /// The posterior by a preset, with the preset's title and family.
    fn fit(
        &self,
        name: &str,
        simulator: &KnownSimulator,
        simulations: &Simulations,
    ) -> Result<(Posterior<f32>, String, String)> {
        let seconds = self.setting.seconds.unwrap_or(self.setting.either(4.0, 60.0));
        let config = NpeConfig {
            flow: name.into(),
            simulations: self.simulations(),
            budget: Budget::Seconds { seconds },
            seed: self.setting.seed,
            ..NpeConfig::of(self.simulator)
        };
        let flow = config.flow()?;
        let settings = config.estimation(&flow)?;
        let build = builder(&flow);
        let mut rng = stream(config.seed, "npe");
        let posterior = npe_of(
            simulations,
            simulator.prior(),
            &build,
            &settings.estimation,
            &mut unreported,
            &mut rng,
        )?;
        let preset = preset::Preset::named(Some(name))?;
        Ok((posterior, preset.title.to_owned(), preset.family.to_string()))
    }
}
