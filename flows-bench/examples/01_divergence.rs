//! Every toy density knows itself: a likelihood becomes a divergence in nats.
//!
//! For each toy: its entropy, which no model's negative log-likelihood can fall below, and how far
//! above it the best Gaussian stays.
//!
//! Run with `cargo run --release -p flows-bench --example 01_divergence`.
#![allow(clippy::print_stdout, reason = "an example shows what it found")]

use flows_bench::toys::Toy;
use flows_core::tensor::batch;
use flows_core::{Base, Result, Tape, Values, stream};

const ROWS: usize = 100_000;

fn main() -> Result<()> {
    println!("{:<14} {:>8} {:>9} {:>16}", "toy", "entropy", "measured", "KL of a Gaussian");
    for toy in Toy::ALL {
        let rows = toy.sample(ROWS, &mut stream(1, "rows"));
        let log_p = rows.chunks_exact(2).map(|x| toy.log_density([x[0], x[1]]));
        let measured = -log_p.sum::<f64>() / ROWS as f64;

        let mut gaussian = Base::<f64>::diagonal_normal(2)?;
        let x = batch(rows, ROWS, 2)?;
        gaussian.fit(&x)?;
        let log_q = gaussian.log_prob(&x, &mut Tape::none())?.values();
        let nats = -log_q.iter().sum::<f64>() / ROWS as f64;
        let entropy = toy.entropy().nats;
        println!("{:<14} {entropy:>8.4} {measured:>9.4} {:>16.4}", toy.name(), nats - entropy);
    }
    Ok(())
}
