//! Which direction of an autoregressive flow is cheap: MAF, IAF and a coupling flow.
//!
//! The same masked network gives a flow whose densities take one pass and whose draws go feature by
//! feature (MAF), or the other way round (IAF); a coupling takes one pass either way (review, Section
//! 3.1.2). Counts are exact; a draw that keeps what is final costs one pass in multiplications.
//!
//! Run with `cargo run --release -p flows-finite --example 02_directions`.
#![allow(clippy::print_stdout, reason = "an example shows what it found")]

use std::time::Instant;

use flows_core::{Architecture, Base, Chain, Context, Flow, Result, Values, normals, stream};
use flows_finite::architecture::{AutoregressiveFlow, CouplingFlow};

const DIM: usize = 16;
const ROWS: usize = 2_000;

fn show(name: &str, chain: Chain<f32>) -> Result<()> {
    let flow = Flow::new(Base::standard_normal(DIM), Box::new(chain))?;
    let costs = flow.bijector().costs();
    let rows = normals(ROWS * DIM, &mut stream(1, "rows"));
    let clock = Instant::now();
    let (_, density) = flow.evaluate(&rows, &Context::none())?;
    let density_seconds = clock.elapsed().as_secs_f64();
    let clock = Instant::now();
    let (draws, sampling) = flow.sample(ROWS, &Context::none(), &mut stream(2, "draws"))?;
    let ratio = clock.elapsed().as_secs_f64() / density_seconds;
    println!(
        "{name:8} density {:?} ({} passes), draws {:?} ({} passes), time of {} draws over densities {ratio:.1}",
        costs.inverse,
        density.network_passes,
        costs.forward,
        sampling.network_passes,
        draws.rows()
    );
    Ok(())
}

fn main() -> Result<()> {
    let rng = &mut stream(1, "init");
    show("MAF", AutoregressiveFlow::maf().build(DIM, 0, rng)?)?;
    show("IAF", AutoregressiveFlow::iaf().build(DIM, 0, rng)?)?;
    show("Real NVP", CouplingFlow::real_nvp().build(DIM, 0, rng)?)
}
