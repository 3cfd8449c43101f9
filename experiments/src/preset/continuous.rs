//! Presets of continuous flows, and their accuracy in words.

use std::sync::Arc;

use flows_continuous::{
    Accuracy, ContinuousFlow, Divergence, HutchPlusPlus, Hutchinson, Probe, Solver,
};
use flows_core::Architecture;
use flows_core::train::{Objective, SimulationFree, TrainConfig};
use flows_report::record::{self, Family};

use super::{Preset, train};

fn continuous(
    [name, title, description]: [&'static str; 3],
    flow: ContinuousFlow,
    train: TrainConfig,
) -> Preset {
    let flow = Arc::new(flow);
    Preset { name, title, family: Family::Continuous, description, flow, train, quick: false }
}

/// A step costs dozens of evaluations of a small field: more of them on fewer rows learn faster.
fn small_batches() -> TrainConfig {
    TrainConfig { batch_rows: 256, ..train(2e-2) }
}

pub(super) fn presets() -> Vec<Preset> {
    let ffjord = continuous(
        [
            "ffjord",
            "FFJORD",
            "one ODE on [0, 1], field of 3 x 64 tanh on state and time, trained with one Rademacher \
             probe at tolerance 1e-3, reported with the exact trace at 1e-5 row by row (Grathwohl et \
             al. 2019, whose code has concatsquash, a learned end time and tolerance 1e-5)",
        ],
        ContinuousFlow::ffjord(),
        small_batches(),
    );
    let matching = SimulationFree { fine_tune: 0.7, ..SimulationFree::default() };
    let matching = Objective::FlowMatching(matching);
    vec![
        Preset { quick: true, ..ffjord },
        continuous(
            [
                "ffjord-hutchpp",
                "FFJORD, Hutch++",
                "as FFJORD, trained with the trace of Hutch++: one direction of a sketch and one \
                 probe off it (Meyer et al. 2021)",
            ],
            ContinuousFlow::ffjord_hutch_plus_plus(),
            small_batches(),
        ),
        continuous(
            [
                "rnode",
                "RNODE",
                "the field of FFJORD trained with eight RK4 steps, two orthogonal probes, and the \
                 kinetic energy and Jacobian norm weighted 0.01 (Finlay et al. 2020, who take four \
                 steps and one probe)",
            ],
            ContinuousFlow::rnode(),
            small_batches(),
        ),
        continuous(
            [
                "rnode-image",
                "RNODE (images)",
                "as RNODE with a convolutional field of 32 channels; columns are pixels, 1 x 8 x 8 unless \
                 flow.field.shape says otherwise (Finlay et al. 2020)",
            ],
            ContinuousFlow::rnode_image(),
            TrainConfig { batch_rows: 256, ..train(5e-3) },
        ),
        continuous(
            [
                "ot-flow",
                "OT-Flow",
                "the gradient field of a potential of width 32 with its exact trace, trained with \
                 eight RK4 steps, transport cost and Hamilton-Jacobi residual weighted 1/30 (Onken et \
                 al. 2021)",
            ],
            ContinuousFlow::ot_flow(),
            train(2e-2),
        ),
        continuous(
            [
                "flow-matching",
                "Flow matching",
                "the field of FFJORD trained by flow matching along straight paths, nothing solved, \
                 for the first 30 % of the budget, then by maximum likelihood as RNODE (Lipman et al. \
                 2023, who do not fine-tune)",
            ],
            ContinuousFlow::rnode(),
            // Without a solve a step is cheap, and on few rows at a high rate the field gets too stiff to
            // be fine-tuned.
            TrainConfig { objective: matching, batch_rows: 1024, ..train(1e-2) },
        ),
    ]
}

/// Solver and divergence of both purposes in words, for continuous flows.
pub fn accuracy(flow: &dyn Architecture) -> Option<record::Accuracy> {
    let config = flow.downcast_ref::<ContinuousFlow>()?;
    Some(record::Accuracy { train: words(config.training), report: words(config.reporting) })
}

fn words(Accuracy { solver, divergence }: Accuracy) -> String {
    let solver = match solver {
        Solver::Euler(s) => format!("{} Euler steps", s.steps),
        Solver::Midpoint(s) => format!("{} midpoint steps", s.steps),
        Solver::Heun(s) => format!("{} Heun steps", s.steps),
        Solver::Ralston(s) => format!("{} Ralston steps", s.steps),
        Solver::Rk4(s) => format!("{} RK4 steps", s.steps),
        Solver::Dopri5(s) => format!("Dopri5 rtol {:e} atol {:e}", s.rtol, s.atol),
        Solver::Dop853(s) => format!("Dop853 rtol {:e} atol {:e}", s.rtol, s.atol),
        Solver::RowWise(s) => format!("row-wise Dopri5 rtol {:e} atol {:e}", s.rtol, s.atol),
    };
    let trace = match divergence {
        Divergence::Exact => "exact trace".to_owned(),
        Divergence::Closed => "exact trace in closed form".to_owned(),
        Divergence::Hutchinson(Hutchinson { probes, distribution }) => {
            let kind = if distribution == Probe::Orthogonal { "orthogonal" } else { "Hutchinson" };
            format!("{probes} {kind} probe(s)")
        }
        Divergence::HutchPlusPlus(HutchPlusPlus { sketch, probes, .. }) => {
            format!("Hutch++ with {sketch} sketched and {probes} other direction(s)")
        }
        Divergence::Bottleneck(Hutchinson { probes, .. }) => {
            format!("{probes} probe(s) in the narrow layer")
        }
    };
    format!("{solver}, {trace}")
}
