//! Tests of the methods against closed forms and known targets.

mod annealed;
mod bootstrap;
mod importance;
mod objective;
mod simulation_calibration;
mod simulation_models;
mod simulation_nle;
mod simulation_npe;
mod simulation_prior;
mod simulation_program;
mod simulation_snpe;
mod stochastic;
