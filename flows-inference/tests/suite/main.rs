//! Tests of the methods against closed forms and known targets.

mod diagnostics;
mod importance;
mod leapfrog;
mod metropolis;
mod neutra;
mod nuts;
mod smc;
mod support;
