//! Tests of the methods against closed forms and known targets.

mod importance;
mod simulation_prior;
mod simulation_program;
