//! Tests of the methods against closed forms and known targets.

mod amortised_likelihood;
mod amortised_linear;
mod amortised_models;
mod amortised_training;
mod importance;
mod simulation_calibration;
mod simulation_models;
mod simulation_nle;
mod simulation_npe;
mod simulation_prior;
mod simulation_program;
mod simulation_snpe;
