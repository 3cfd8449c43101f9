//! How the cost of a flow grows with dimension, rows, depth and threads (review, Sections 3 and 4).

mod axis;
mod measure;
mod model;
mod page;
mod quantity;
mod review;
mod size;

use anyhow::Result;
use flows_report::finding::Findings;

use crate::{Check, Claim, Setting};
use axis::Axis;
use measure::sweep;
use page::Page;

/// The experiment `cost`.
pub const PART: Claim = Claim {
    id: "cost",
    title: "Growth of cost with dimension, rows, depth and threads",
    review: "A coupling needs one pass of its network in either direction, a masked layer one for a \
             density and D for a draw (Section 3.1.2); terms of a residual layer's series cost O(D) each \
             (Section 3.3.1); a continuous flow needs D products with the Jacobian for its trace, O(D^2), \
             or one for Hutchinson's estimate, O(D), and the adjoint's memory does not grow with the \
             steps of the solver (Section 4). Layers add up.",
    method: "One log-density pass, one draw and one training step (loss, gradient, update) of each flow \
             in single precision, networks with one hidden layer: 64 units, and D units where masks need \
             as many as there are features. Evaluations are passes of a conditioner or residual network \
             and evaluations of a vector field. Multiplications are counted within all matrix products, \
             forwards and backwards; bytes are the most in use at once from the building of a flow to the \
             end of its first step, counted by the allocator. Seconds are medians of runs taken in turn, \
             on one thread but where threads are the question. Exponents are slopes of logarithms over \
             the last factor of four of each range, and over all threads; ± is the standard error of the \
             fit. MAF draws by the review's plain method, a whole pass for each feature; NSF \
             (autoregressive) by the library's default, each hidden unit once. The residual flow takes \
             four terms of its series. Depth is layers, or steps of Euler's method, one evaluation each, \
             all of which are kept for the gradient unless it is the adjoint's. Finite flows keep the \
             values of 8,192 rows and compute those of further rows anew for the gradient: there, a step \
             goes from three passes a row towards four.",
    check: Check::Run(check),
};

/// A page for each axis.
fn check(setting: &Setting) -> Result<Findings> {
    let mut findings = Findings::default();
    for axis in Axis::ALL {
        let values = axis.values(setting);
        if values.len() < 2 {
            findings.remark(format!("Nothing is shown over {}: there is one.", axis.name()));
            continue;
        }
        let sizes: Vec<_> = values.iter().map(|&value| axis.size(value, setting)).collect();
        let mut page = Page::new(axis, setting);
        for &model in axis.models() {
            let costs = sweep(model, &sizes, setting)?;
            let values = values.iter().map(|&value| value as f64);
            page.add(model, &values.zip(costs).collect::<Vec<_>>());
        }
        page.close(&mut findings);
    }
    Ok(findings)
}
