//! A claim of the review checked from a program of one's own.
//!
//! Run with `cargo run --release -p experiments --example 01_claim`.
#![allow(clippy::print_stdout, reason = "an example shows what it found")]

use experiments::claim::{self, Check, Effort, Setting};

fn main() -> anyhow::Result<()> {
    let built = claim::ALL.iter().filter(|claim| matches!(claim.check, Check::Run(_)));
    println!("{} of {} claims have a check", built.count(), claim::ALL.len());
    let setting = Setting { effort: Effort::Quick, seed: 0 };
    for claim in claim::ALL.iter().filter(|claim| claim.id == "C6") {
        let Check::Run(check) = claim.check else { continue };
        println!("{}: {}", claim.id, claim.review);
        let findings = check(&setting)?;
        findings.measures.iter().for_each(|measure| println!("  {}", measure.sentence()));
        println!("  {}", if findings.pass() { "pass" } else { "fail" });
    }
    Ok(())
}
