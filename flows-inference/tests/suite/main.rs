//! Tests of the methods against closed forms and known targets.

mod amortised_likelihood;
mod amortised_linear;
mod amortised_models;
mod amortised_training;
mod annealed;
mod bootstrap;
mod diagnostics;
mod hybrid;
mod importance;
mod laplace;
mod leapfrog;
mod metropolis;
mod neutra;
mod nuts;
mod objective;
mod simulation_calibration;
mod simulation_models;
mod simulation_nle;
mod simulation_npe;
mod simulation_prior;
mod simulation_program;
mod simulation_snpe;
mod smc;
mod stochastic;
mod support;
