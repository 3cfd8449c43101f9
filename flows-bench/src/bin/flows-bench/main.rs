//! Times the workloads: one JSON line for each workload and operation.
//!
//! `flows-bench trace` prints, for 2 to 256 features, what the trace of a Jacobian costs: one line each.
//! `flows-bench [NAME ..] [--repetitions N] [--seconds S]` runs all workloads, or those named, each
//! operation N times (5) for S seconds (1) from the initial weights, and prints median and minimum of
//! the mean milliseconds.

mod trace_cost;
mod workload;

use std::process::ExitCode;
use std::time::Instant;

use mimalloc::MiMalloc;
use serde::Serialize;

use crate::trace_cost::{DIMS, trace_cost};
use crate::workload::{Prepared, Workload};

/// Training frees and asks for some megabytes in every layer, which the system's allocator gives back
/// to the kernel each time: with it, a step of `maf-d43` takes a fifth longer.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// An operation that is timed.
type Operation = fn(&mut Prepared) -> flows_core::Result<()>;

#[derive(Serialize)]
struct Line {
    workload: &'static str,
    op: &'static str,
    ms_median: f64,
    ms_min: f64,
    params: usize,
    batch: usize,
    dim: usize,
}

struct Plan {
    workloads: Vec<Workload>,
    /// Whether the cost of the trace is timed too.
    trace: bool,
    repetitions: usize,
    seconds: f64,
}

fn main() -> ExitCode {
    let plan = match plan(std::env::args().skip(1)) {
        Ok(plan) => plan,
        Err(message) => {
            eprintln!("error: {message}");
            return ExitCode::from(2);
        }
    };
    // On a thread of the pool, so that handing work to the others needs no sleeping and waking.
    match rayon::join(|| run(&plan), || ()).0 {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn plan(mut arguments: impl Iterator<Item = String>) -> Result<Plan, String> {
    let mut plan = Plan { workloads: Vec::new(), trace: false, repetitions: 5, seconds: 1.0 };
    while let Some(argument) = arguments.next() {
        let mut value = || {
            let text = arguments.next().unwrap_or_default();
            let number = text.parse::<f64>().ok().filter(|v| *v > 0.0 && v.is_finite());
            number.ok_or_else(|| format!("{argument}: expected a positive number, got {text:?}"))
        };
        match argument.as_str() {
            "--repetitions" => plan.repetitions = (value()? as usize).max(1),
            "--seconds" => plan.seconds = value()?,
            "trace" => plan.trace = true,
            name => plan.workloads.push(name.parse()?),
        }
    }
    if plan.workloads.is_empty() && !plan.trace {
        plan.workloads = Workload::ALL.to_vec();
    }
    Ok(plan)
}

fn run(plan: &Plan) -> flows_core::Result<()> {
    let operations: [(&str, Operation); 3] = [
        ("train_step", Prepared::train_step),
        ("log_prob", Prepared::log_prob),
        ("sample", Prepared::sample),
    ];
    if plan.trace {
        for dim in DIMS {
            print(&trace_cost(dim, plan.repetitions)?);
        }
    }
    for &workload in &plan.workloads {
        for (op, operation) in operations {
            let mut means = Vec::with_capacity(plan.repetitions);
            let mut params = 0;
            for _ in 0..plan.repetitions {
                // From the initial weights each time: what is timed is the workload as defined, and
                // the solve of a continuous flow takes more steps the more it has learned.
                let mut prepared = workload.prepare()?;
                params = prepared.parameters();
                for _ in 0..2 {
                    operation(&mut prepared)?;
                }
                means.push(mean_milliseconds(&mut prepared, operation, plan.seconds)?);
            }
            means.sort_by(f64::total_cmp);
            print(&Line {
                workload: workload.name(),
                op,
                ms_median: rounded(means[means.len() / 2]),
                ms_min: rounded(means[0]),
                params,
                batch: workload.rows(),
                dim: workload.dim(),
            });
        }
    }
    Ok(())
}

fn mean_milliseconds(
    prepared: &mut Prepared,
    operation: Operation,
    seconds: f64,
) -> flows_core::Result<f64> {
    let (clock, mut count) = (Instant::now(), 0);
    while clock.elapsed().as_secs_f64() < seconds {
        operation(prepared)?;
        count += 1;
    }
    Ok(clock.elapsed().as_secs_f64() * 1e3 / f64::from(count))
}

fn rounded(milliseconds: f64) -> f64 {
    (milliseconds * 1e3).round() / 1e3
}

#[expect(clippy::print_stdout, reason = "the lines are the program's result")]
fn print(line: &impl Serialize) {
    if let Ok(text) = serde_json::to_string(line) {
        println!("{text}");
    }
}
