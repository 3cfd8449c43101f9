//! Stochastic normalizing flows: their weights have the expectation Z.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_bench::targets::{KnownTarget, ManyWell};
use flows_core::testing::{names, perturb};
use flows_core::{Architecture, Base, Bijector, Error, Flow, Real, Target, stream};
use flows_finite::architecture::{Conditioner, CouplingFlow};
use flows_inference::Weighted;
use flows_inference::stochastic::{Langevin, Metropolis, StochasticFlow, StochasticLayer};

use crate::annealed::plain;

/// Couplings that move points by some tenths.
fn couplings(dim: usize, name: &str) -> Box<dyn Bijector<f64>> {
    let conditioner = Conditioner::perceptron(vec![8]);
    let architecture = CouplingFlow { layers: 2, conditioner, ..CouplingFlow::default() };
    let mut chain = architecture.build(dim, 0, &mut stream(1, name)).unwrap();
    perturb(&mut chain, 0.1, &mut stream(1, name)).unwrap();
    Box::new(chain)
}

fn metropolis<E: Real>(fraction: f64) -> StochasticLayer<E> {
    StochasticLayer::Metropolis(Metropolis { steps: 5, scale: 0.4, fraction })
}

fn langevin<E: Real>(fraction: f64) -> StochasticLayer<E> {
    StochasticLayer::Langevin(Langevin { steps: 5, step_size: 0.02, fraction })
}

fn check_normaliser(flow: &StochasticFlow<'_, f64>, target: KnownTarget, largest_error: f64) {
    let weighted = flow.draw(&target, 60_000, &mut stream(2, "paths")).unwrap();
    let log_z = weighted.log_weights.log_normaliser();
    let (error, exact) = (log_z.standard_error.unwrap(), target.log_normaliser().nats);
    assert!(error < largest_error, "{error}");
    assert!((log_z.nats - exact).abs() < 4.0 * error, "{log_z:?}, not {exact}");
}

#[test]
fn weights_of_paths_have_the_expectation_z() {
    let wells = KnownTarget::ManyWell(ManyWell::new(1).unwrap());
    // Langevin steps of this size are too coarse for the walls of a double well.
    let cross = KnownTarget::Cross;
    let mixed = vec![
        StochasticLayer::Bijector(couplings(2, "first")),
        metropolis(0.3),
        StochasticLayer::Bijector(couplings(2, "second")),
        langevin(0.6),
        metropolis(1.0),
    ];
    for (target, layers) in [
        (wells, vec![metropolis(0.5), metropolis(1.0)]),
        (cross, vec![langevin(0.3), langevin(0.7)]),
        (cross, mixed),
    ] {
        // Tails that the couplings cannot make lighter than the target's.
        let flow = Flow::new(Base::student_t(2, 5.0).unwrap(), couplings(2, "flow")).unwrap();
        check_normaliser(&StochasticFlow::new(&flow, layers).unwrap(), target, 0.1);
    }
}

/// `u2` is restricted to a strip, which some draws leave.
#[test]
fn a_bounded_support_keeps_the_expectation() {
    let layers = vec![metropolis(0.5), metropolis(1.0)];
    let flow = Flow::new(Base::student_t(2, 3.0).unwrap(), plain_chain()).unwrap();
    check_normaliser(&StochasticFlow::new(&flow, layers).unwrap(), KnownTarget::U2, 0.1);
}

fn plain_chain() -> Box<dyn Bijector<f64>> {
    Box::new(flows_core::Chain::new(2, vec![]).unwrap())
}

/// Steps at the target's own temperature raise the effective share of the weights by moving mass.
#[test]
fn stochastic_layers_raise_the_effective_share() {
    let wells = KnownTarget::ManyWell(ManyWell::new(1).unwrap());
    let layers = (1..=8).map(|i| metropolis(f64::from(i) / 8.0)).collect();
    let flow = plain(2);
    let flow = StochasticFlow::new(&flow, layers).unwrap();
    let share = |weighted: Weighted| weighted.log_weights.effective_share();
    let with = share(flow.draw(&wells, 10_000, &mut stream(3, "paths")).unwrap());
    let without =
        share(Weighted::draw(flow.flow(), &wells, 10_000, &mut stream(3, "paths")).unwrap());
    assert!(with > 1.5 * without, "{with}, without {without}");
}

#[test]
fn without_layers_the_weights_are_those_of_the_flow_bit_for_bit() {
    let architecture = CouplingFlow { identity_start: false, ..CouplingFlow::nsf() };
    let chain = architecture.build(8, 0, &mut stream(4, "init")).unwrap();
    let flow = Flow::<f32>::new(Base::standard_normal(8), Box::new(chain)).unwrap();
    let target = KnownTarget::ManyWell(ManyWell::DEFAULT);
    let expected = Weighted::draw(&flow, &target, 5000, &mut stream(4, "draws")).unwrap();
    let flow = StochasticFlow::new(&flow, vec![]).unwrap();
    let got = flow.draw(&target, 5000, &mut stream(4, "draws")).unwrap();
    assert_eq!(got.draws, expected.draws);
    assert_eq!(got.log_proposal, expected.log_proposal);
    assert_eq!(got.log_weights.values(), expected.log_weights.values());
    assert_eq!(got.work, expected.work);
}

#[test]
fn layers_out_of_range_are_named() {
    let new = |layer| StochasticFlow::new(&plain(3), vec![layer]).unwrap_err();
    let error = new(StochasticLayer::Bijector(couplings(2, "first")));
    assert!(matches!(error, Error::Dimension { expected: 3, got: 2, .. }));
    names(&new(metropolis(1.5)), &["fraction", "between 0 and 1", "1.5"]);
    names(&new(langevin(f64::NAN)), &["fraction", "NaN"]);
    let still = Langevin { steps: 5, step_size: 0.0, fraction: 1.0 };
    names(&new(StochasticLayer::Langevin(still)), &["step size", "positive"]);
    let none = Metropolis { steps: 0, scale: 1.0, fraction: 1.0 };
    names(&new(StochasticLayer::Metropolis(none)), &["steps", "at least 1"]);
    let flow = plain(3);
    let flow = StochasticFlow::new(&flow, vec![]).unwrap();
    let error = flow.draw(&KnownTarget::Cross, 5, &mut stream(5, "paths")).unwrap_err();
    assert!(
        matches!(error, Error::Dimension { expected: 3, got, .. } if got == KnownTarget::Cross.dim())
    );
}
