//! What the numbers mean, and how to get them again.

use super::album::Album;
use super::date;
use super::estimate::SEEDS_FOR_SPREAD;
use super::gather::Results;
use crate::figure::escape;

/// Terms of the tables, each with its meaning.
const TERMS: [(&str, &str); 10] = [
    (
        "KL",
        "Kullback-Leibler divergence from the truth to the flow: the mean of log p*(x) − log q(x) over \
         held-out draws x of the truth p*. Zero means equal densities. An estimate near zero may be \
         slightly negative. Known only where the true density is.",
    ),
    (
        "NLL",
        "Negative log-likelihood: the mean of −log q(x) over held-out rows, natural logarithm. For a \
         toy density it cannot fall below the entropy, and KL is what is left above it.",
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
        "finished: trained for its budget and evaluated. diverged: a loss or parameter became \
         non-finite. stopped: interrupted. failed: ended by an error. Only finished runs enter means.",
    ),
];

/// The section "How to read this".
pub(super) fn section(results: &Results) -> String {
    let comparison = &results.comparison;
    let terms: String = TERMS
        .iter()
        .map(|(term, meaning)| format!("<dt>{term}</dt><dd>{meaning}</dd>\n"))
        .collect();
    format!(
        "<section id=\"reading\" aria-labelledby=\"reading-title\">\n\
         <h2 id=\"reading-title\">How to read this</h2>\n\
         <p>Equal budget: every run trains for the same {} of wall clock on {} and sees the same data \
         under the same seed. A flow with cheap steps makes more of them in that time. Evaluation is \
         not part of the budget.</p>\n\
         <p>± is a standard error. For one run it is that of the mean over held-out rows. A mean over \
         {SEEDS_FOR_SPREAD} or more seeds has the standard error over seeds; with two seeds, whose \
         spread is often small by chance, it is the larger of that and the error of a single run. \
         Held-out rows are the same for all flows.</p>\n<dl>\n{terms}</dl>\n</section>\n",
        date::duration(comparison.seconds_per_run),
        threads(comparison.threads),
    )
}

/// The section "Reproduce".
pub(super) fn reproduce(results: &Results, album: &Album) -> String {
    let comparison = &results.comparison;
    let figures: String = album
        .names()
        .iter()
        .map(|name| format!("<li><code>{}</code></li>\n", escape(name)))
        .collect();
    format!(
        "<section id=\"reproduce\" aria-labelledby=\"reproduce-title\">\n\
         <h2 id=\"reproduce-title\">Reproduce</h2>\n<pre tabindex=\"0\"><code>{}</code></pre>\n\
         <p>Version {}, seeds {}. With the same seeds the data, the initial parameters and the order of \
         batches are the same; the number of steps within a wall-clock budget depends on the \
         machine.</p>\n<p>This page was written from <code>comparison.json</code>, \
         <code>summary.csv</code> and the folders <code>problems</code> and <code>runs</code> beside \
         it.</p>\n<details><summary>Files of the figures</summary>\n<ul class=\"files\">\n{figures}\
         </ul></details>\n</section>\n",
        escape(&comparison.command),
        escape(&comparison.version),
        seeds(&comparison.seeds),
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
