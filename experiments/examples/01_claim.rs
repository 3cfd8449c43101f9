//! A claim of the review checked from a program of your own.
//!
//! Run with `cargo run --release -p experiments --example 01_claim`.
#![allow(clippy::print_stdout, reason = "an example shows what it found")]

use experiments::preset::named_flows;
use flows_claims::{ALL, Check, Effort, Setting};

fn main() -> anyhow::Result<()> {
    let built = ALL.iter().filter(|claim| matches!(claim.check, Check::Run(_)));
    println!("{} of {} claims have a check", built.count(), ALL.len());
    let flows = named_flows();
    let setting = Setting { effort: Effort::Quick, seed: 0, flows: &flows, seconds: None };
    for claim in ALL.iter().filter(|claim| claim.id == "C6") {
        let Check::Run(check) = claim.check else { continue };
        println!("{}: {}", claim.id, claim.review);
        let findings = check(&setting)?;
        findings.measures.iter().for_each(|measure| println!("  {}", measure.sentence()));
        println!("  {}", if findings.pass() { "pass" } else { "fail" });
    }
    Ok(())
}
