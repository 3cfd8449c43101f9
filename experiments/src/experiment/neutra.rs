//! Markov chains in the base spaces of flows of both families, beside chains in the spaces of densities
//! (review, Section 6.2.2).

mod contender;
mod figures;
mod sampled;

use anyhow::Result;
use flows_bench::posteriors::Posterior;
use flows_bench::targets::{Funnel, KnownTarget};
use flows_claims::{Check, Claim, Setting};
use flows_core::{Target, stream};
use flows_report::finding::Findings;

use contender::contenders;
use sampled::{Sampled, in_base_space, in_space};

/// Exact draws that moments are compared with.
const EXACT: usize = 200_000;

const REVIEW: &str =
    "A flow reparametrises a target so that a Markov chain mixes faster (Section 6.2.2).";

pub(super) const PARTS: &[Claim] = &[
    Claim {
        id: "funnel",
        title: "Neal's funnel in ten dimensions",
        review: REVIEW,
        method: "Nine normals whose common log-variance v is N(0, 3^2). Four chains of the no-U-turn \
                 sampler in the space of the funnel, and in the base spaces of a finite and a continuous \
                 flow that were fitted to it by reverse KL. An effective draw is one of the coordinate that \
                 mixes worst; the gradients of the flow's training are counted apart.",
        check: Check::Run(funnel),
    },
    Claim {
        id: "eight-schools",
        title: "The eight schools, centred",
        review: REVIEW,
        method: "The effects of eight schools, their mean and their scale tau: a funnel again, and one that \
                 is met in practice. Chains as above, over log tau and the other nine parameters.",
        check: Check::Run(eight_schools),
    },
    Claim {
        id: "banana",
        title: "A banana",
        review: REVIEW,
        method: "A density in the plane along a parabola. Chains as above.",
        check: Check::Run(banana),
    },
];

/// A density on which chains are compared.
struct Problem {
    target: Box<dyn Target>,
    /// Independent exact draws, where there are any.
    exact: Option<KnownTarget>,
    names: Vec<String>,
    /// The coordinate that is hard, and another one.
    shown: [usize; 2],
    /// How many times as many effective draws a gradient chains in base space are to give.
    goal: f64,
}

fn funnel(setting: &Setting) -> Result<Findings> {
    let funnel = Funnel::DEFAULT;
    let names = (1..=funnel.dim()).map(|i| if i == 1 { "v".into() } else { format!("x{i}") });
    Problem { names: names.collect(), ..known(KnownTarget::Funnel(funnel), 5.0) }.check(setting)
}

fn banana(setting: &Setting) -> Result<Findings> {
    known(KnownTarget::Banana, 1.0).check(setting)
}

fn known(target: KnownTarget, goal: f64) -> Problem {
    let names = (1..=target.dim()).map(|i| format!("x{i}")).collect();
    Problem { target: Box::new(target), exact: Some(target), names, shown: [0, 1], goal }
}

fn eight_schools(setting: &Setting) -> Result<Findings> {
    let posterior = Posterior::embedded("eight_schools_centered")?;
    let mut names = posterior.parameters().to_vec();
    let tau = names.iter().position(|name| name == "tau").unwrap_or_default();
    names[tau] = "log tau".into();
    let target = Box::new(posterior);
    Problem { target, exact: None, names, shown: [tau, 0], goal: 3.0 }.check(setting)
}

impl Problem {
    fn check(&self, setting: &Setting) -> Result<Findings> {
        let mut findings = Findings::default();
        let mut all = Vec::new();
        for contender in contenders(self.target.dim(), setting) {
            all.push(in_base_space(&*self.target, &contender, setting)?);
        }
        let starts = all.first().map(|sampled| sampled.starts.clone()).unwrap_or_default();
        let plain = in_space(&*self.target, &starts, setting)?;
        self.demand(&plain, &all, setting, &mut findings)?;
        plain.warn(&mut findings);
        findings.tables.push(sampled::table(&plain, &all)?);
        let all: Vec<&Sampled> = [&plain].into_iter().chain(&all).collect();
        let exact = self.exact.map(|target| figures::Exact {
            draws: target.sample(2_000, &mut stream(0, "exact draws")),
            window: target.window(),
        });
        figures::draw(&all, exact.as_ref(), (&self.names, self.shown), &mut findings);
        Ok(findings)
    }

    fn demand(
        &self,
        plain: &Sampled,
        all: &[Sampled],
        setting: &Setting,
        findings: &mut Findings,
    ) -> Result<()> {
        let without = plain.mixing()?.per_gradient();
        for (index, sampled) in all.iter().enumerate() {
            let ratio = sampled.mixing()?.per_gradient() / without;
            let quantity = format!(
                "{}: effective draws a gradient evaluation, over those of chains without a flow",
                sampled.title
            );
            // The continuous flow is shown for what it is.
            if index == 0 {
                let reason =
                    "set before it was measured, for a training that has to be made up for";
                findings.at_least(&quantity, ratio, self.goal, reason);
            } else {
                findings.observed(&quantity, ratio, None);
            }
        }
        let Some(exact) = self.exact else { return Ok(()) };
        let draws = exact.sample(EXACT, &mut stream(setting.seed, "moments"));
        let (hard, dim) = (self.shown[0], self.target.dim());
        for (index, sampled) in all.iter().enumerate() {
            let mut farthest = 0.0_f64;
            for power in [1, 2] {
                let found = sampled.chains.diagnostics_of(|x| x[hard].powi(power))?;
                let values = draws.iter().skip(hard).step_by(dim).map(|x| x.powi(power));
                let exact = flows_report::Estimate::of(values);
                let error = found.standard_error.unwrap_or(f64::NAN).hypot(exact.standard_error);
                // NaN counts as far.
                let distance = (found.mean - exact.mean).abs() / error;
                farthest = if distance <= farthest { farthest } else { distance };
            }
            let quantity = format!(
                "{}: mean and mean square of {}, farthest from exact draws (standard errors)",
                sampled.title, self.names[hard]
            );
            if index == 0 {
                let reason = "images of draws in base space are draws of the density";
                findings.at_most(&quantity, farthest, 4.0, reason);
            } else {
                findings.observed(&quantity, farthest, None);
            }
        }
        Ok(())
    }
}
