//! What the numbers mean, and how to get them again.

use super::date;
use super::format;
use super::gather::Results;
use super::value::SEEDS_FOR_SPREAD;
use crate::figure::escape;
use crate::record::{Comparison, DistanceName, ProblemKind, distance_names};
use flows_core::train::Budget;

/// Terms of the tables, each with its meaning.
const TERMS: [(&str, &str); 15] = [
    (
        "KL",
        "Kullback-Leibler divergence from the truth to the flow: the mean of log p*(x) − log q(x) over \
         held-out draws x of the truth p*. Zero means equal densities. An estimate near zero may be \
         slightly negative. Known only where the true density is.",
    ),
    (
        "NLL",
        "Negative log-likelihood: the mean of −log q(x) over held-out rows, natural logarithm. Own units: \
         of the data as they are. Standardised: of features less their mean and over their standard \
         deviation, as papers print it; the two differ by the sum of the logarithms of these deviations. \
         For a toy density it cannot fall below the entropy, and KL is what is left above it.",
    ),
    (
        "Difference of two flows",
        "With d the log-density of a test row under the other flow less that under the first: the mean of \
         d over rows and the seeds that both finished. Its standard error is the root of the sum of two \
         squares: the standard error over rows of d averaged over seeds, and the standard error over \
         seeds of d averaged over rows (0 for one seed). What is hard for both flows cancels in d.",
    ),
    (
        "Normalisation",
        "Integral of exp(log q) over a window of the plane by a grid. It should be one, less the mass \
         that the flow puts outside the window; a value above one points to an error in the density.",
    ),
    (
        "Round-trip error",
        "Largest distance between a row and its image under the inverse and then the forward map.",
    ),
    (
        "Evaluations",
        "Network passes, for a continuous flow evaluations of its vector field. Counts do not depend on \
         the machine or its load.",
    ),
    (
        "Row passes",
        "Network passes, or evaluations of the vector field, in training, each times the rows that it \
         acted on; forwards only.",
    ),
    (
        "f32 against f64",
        "Difference of a row's log-density between the trained weights in single precision and the \
         same weights in double precision, solved to the same tolerance.",
    ),
    (
        "Lipschitz",
        "Largest singular value of the Jacobian of data to base over held-out rows, and one over the \
         smallest for base to data. The larger of the two is an estimate, from below, of the flow's \
         bi-Lipschitz constant: what joins separate modes must stretch.",
    ),
    (
        "Condition",
        "Largest over smallest singular value of that Jacobian at a row; the median over rows.",
    ),
    (
        "Solver error",
        "Change of the mean log-density when the tolerance of the solver is halved (the number of equal \
         steps doubled). A continuous flow whose solver error is not small against its KL has not been \
         measured.",
    ),
    (
        "Trace noise",
        "Standard deviation, over probes, of the log-density of one row with the trace that training \
         used; zero where that is exact. Reported densities carry it only where they use that trace.",
    ),
    (
        "Log-det",
        "Exact, or an unbiased estimate. Reported densities of continuous flows use the exact trace and a \
         tighter tolerance than training does wherever the column says exact; the remarks below each \
         table name both accuracies.",
    ),
    (
        "Log-densities and draws per second",
        "Rows a second in each direction on the machine named above, with the threads named above.",
    ),
    (
        "Status",
        "finished: trained for its budget and evaluated; stopped early: before that, because validation \
         had stopped improving, which is a finished run too. diverged: a loss or parameter became \
         non-finite. stopped: interrupted. failed: ended by an error. Only finished runs enter means.",
    ),
];

/// Terms of the tables of targets.
const ON_TARGET: [(&str, &str); 3] = [
    (
        "Forward and reverse KL",
        "Forward: the mean of log p*(x) − log q(x) over exact draws of the target p*; large where the flow \
         has no mass and the target has. Reverse: the mean of log q(x) − log p*(x) over draws of the \
         flow, which training minimises; it hardly sees what the flow has lost.",
    ),
    (
        "Effective sample size",
        "Share of the draws that the importance weights w = p*/q leave: (Σ w)² / (n Σ w²). It cannot \
         exceed exp(−forward KL), since E_p[w] ≥ exp(E_p[log w]); an estimate above that has missed a \
         part of the target.",
    ),
    (
        "log Z",
        "Logarithm of the target's integral: the log of the mean weight. Its standard error is that of the \
         draws and knows nothing of a mode that no draw fell into. A number is marked where it is more \
         than three standard errors off the exact one, where the effective sample size contradicts \
         the forward KL, or where that size is below 1 %.",
    ),
];

/// Terms with their meanings, as the items of a list.
pub(super) fn terms(on_target: bool) -> String {
    let more: &[_] = if on_target { &ON_TARGET } else { &[] };
    let term = |(term, meaning): &(&str, &str)| format!("<dt>{term}</dt><dd>{meaning}</dd>\n");
    let distance = |name: DistanceName| {
        let (title, compares) = (name.title.replace('\u{ad}', ""), name.compares);
        format!("<dt>{title}</dt><dd>Of draws and held-out rows: {compares}.</dd>\n")
    };
    let terms = TERMS.iter().chain(more).map(term);
    terms.chain(distance_names().map(distance)).collect()
}

/// The section "How to read this".
pub(super) fn section(results: &Results) -> String {
    let comparison = &results.comparison;
    let terms = terms(comparison.problems.iter().any(|p| p.kind == ProblemKind::Target));
    format!(
        "<section id=\"reading\" aria-labelledby=\"reading-title\">\n\
         <h2 id=\"reading-title\">How to read this</h2>\n\
         <p>Equal terms: runs are matched by {}, on {}, and see the same data under the same seed. {} \
         Evaluation is not part of the budget.</p>\n\
         <p>± is a standard error. For one run it is that of the mean over held-out rows. A mean over \
         {SEEDS_FOR_SPREAD} or more seeds has the standard error over seeds; with two seeds, whose \
         spread is often small by chance, it is the larger of that and the error of a single run. \
         Held-out rows are the same for all flows, so that a difference of two flows has an error of its \
         own, mostly smaller than those of the two means. One held-out row has no standard error: ± \
         unknown.</p>\n<dl>\n{terms}</dl>\n</section>\n",
        matched(comparison),
        threads(comparison.threads),
        consequence(comparison),
    )
}

/// What every run was given the same amount of.
pub(super) fn matched(comparison: &Comparison) -> String {
    let seconds = || format!("wall-clock time: {}", date::duration(comparison.seconds_per_run));
    let Some(matching) = &comparison.matched else {
        return format!(
            "{} for each run (budget <q>{}</q>)",
            seconds(),
            escape(&comparison.budget)
        );
    };
    let budget = match matching.budget {
        Budget::Seconds { .. } => seconds(),
        Budget::Steps { steps } => format!("optimiser steps: {}", format::count(steps as f64)),
        Budget::Work { work } => format!(
            "work: {} row passes, network passes and evaluations of vector fields times the rows \
             they act on",
            format::count(work as f64)
        ),
    };
    match matching.parameters {
        Some(count) => format!(
            "parameters: about {} each, and by {budget} of training",
            format::count(count as f64)
        ),
        None => format!("{budget} for each run"),
    }
}

/// What the reader should keep in mind about the matching.
fn consequence(comparison: &Comparison) -> &'static str {
    match comparison.matched.map(|matching| matching.budget) {
        Some(Budget::Steps { .. }) => {
            "A flow with cheap steps is done earlier; time and work are in the tables."
        }
        Some(Budget::Work { .. }) => {
            "Passes are counted forwards, each as one whatever the width of its network; the gradient \
             costs every flow about twice as much again. Time is in the tables."
        }
        _ => "A flow with cheap steps makes more of them in that time.",
    }
}

/// The section "Reproduce".
pub(super) fn reproduce(results: &Results) -> String {
    let comparison = &results.comparison;
    format!(
        "<section id=\"reproduce\" aria-labelledby=\"reproduce-title\">\n\
         <h2 id=\"reproduce-title\">Reproduce</h2>\n<pre tabindex=\"0\"><code>{}</code></pre>\n\
         <p>Version {}, seeds {}, {}, {}. It began {} and took {} on {} ({} cores). With the same seeds the data, the initial parameters and the order of \
         batches are the same; the number of steps within a wall-clock budget depends on the \
         machine.</p>\n<p>This page was written from <code>comparison.json</code>, \
         <code>summary.csv</code> and the folders <code>problems</code> and <code>runs</code> beside \
         it.</p>\n<p>Every figure is a file for a paper, too, \
         which <code>figures/README.md</code> lists; so is every table, in <code>tables</code>.</p>\n</section>\n",
        escape(&comparison.command),
        escape(&comparison.version),
        seeds(&comparison.seeds),
        threads(comparison.threads),
        escape(&comparison.precision),
        escape(&date::started(&comparison.started)),
        date::duration(comparison.wall_seconds),
        escape(&comparison.host.cpu),
        comparison.host.cores,
    )
}

/// `1, 2 and 3`.
pub(super) fn seeds(seeds: &[u64]) -> String {
    let words: Vec<String> = seeds.iter().map(u64::to_string).collect();
    match words.as_slice() {
        [] => "none".into(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// `1 thread` or `2 threads`.
pub(super) fn threads(count: usize) -> String {
    format!("{count} thread{}", if count == 1 { "" } else { "s" })
}
