//! Draws of each method in both spaces, and ranks of its chains.

use flows_core::{normals, stream};
use flows_inference::chain::Chains;
use flows_report::finding::{Findings, Plot, Scale, Stroke};

use super::sampled::Sampled;
use crate::npe::panels;

/// Bins of a histogram of ranks.
const BINS: usize = 20;

/// Draws of a panel's reference.
const DRAWS: usize = 2_000;

/// Exact draws of the density, row after row, and the part of the plane that shows them.
pub(super) struct Exact {
    pub(super) draws: Vec<f64>,
    pub(super) window: [f64; 4],
}

/// Adds all figures of the coordinates `shown`.
pub(super) fn draw(
    all: &[&Sampled],
    exact: Option<&Exact>,
    (names, shown): (&[String], [usize; 2]),
    findings: &mut Findings,
) {
    let dim = names.len();
    let drawn: Vec<(&str, Vec<f64>)> =
        all.iter().map(|sampled| (sampled.title.as_str(), thinned(&sampled.chains))).collect();
    let mut samples: Vec<(&str, &[f64])> =
        exact.iter().map(|exact| ("exact", exact.draws.as_slice())).collect();
    samples.extend(drawn.iter().rev().map(|(title, rows)| (*title, rows.as_slice())));
    let title = "Draws in the space of the density.";
    if let Some(mut row) = panels(title, (names, shown), &samples) {
        row.window = exact.map_or(row.window, |exact| exact.window);
        findings.panels.push(row);
    }

    let normal: Vec<f64> = normals(DRAWS * dim, &mut stream(0, "normal"));
    let base: Vec<(&str, Vec<f64>)> = all
        .iter()
        .filter_map(|sampled| Some((sampled.title.as_str(), thinned(sampled.base.as_ref()?))))
        .collect();
    let mut samples = vec![("standard normal", normal.as_slice())];
    samples.extend(base.iter().map(|(title, rows)| (*title, rows.as_slice())));
    let coordinates: Vec<String> = (1..=dim).map(|i| format!("u{i}")).collect();
    let title = "Draws in base space: where the flow fits, they are round.";
    findings.panels.extend(panels(title, (&coordinates, shown), &samples));

    for sampled in all {
        findings.plots.push(ranks(sampled, (&names[shown[0]], shown[0])));
    }
}

/// Draws of all chains, of each every so many.
fn thinned(chains: &Chains) -> Vec<f64> {
    let count: usize = chains.draws.iter().map(Vec::len).sum();
    let draws = chains.draws.iter().flatten().step_by(count.div_ceil(DRAWS).max(1));
    draws.flatten().copied().collect()
}

/// How the ranks of each chain's draws among those of all are distributed.
fn ranks(sampled: &Sampled, (name, coordinate): (&str, usize)) -> Plot {
    let chains = &sampled.chains.draws;
    let mut order: Vec<(f64, usize)> = chains
        .iter()
        .enumerate()
        .flat_map(|(chain, draws)| draws.iter().map(move |draw| (draw[coordinate], chain)))
        .collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut plot = Plot::new(
        &format!(
            "{}: ranks of {name} in each chain among the draws of all; chains that have mixed stay near 1.",
            sampled.title
        ),
        Scale::linear("rank (share of the draws)"),
        Scale::linear("draws over those expected"),
    );
    let expected = order.len() as f64 / (chains.len() * BINS) as f64;
    for chain in 0..chains.len() {
        let mut counts = [0.0; BINS];
        for (rank, _) in order.iter().enumerate().filter(|(_, (_, of))| *of == chain) {
            counts[rank * BINS / order.len()] += 1.0;
        }
        let points = counts.iter().enumerate();
        let points = points.map(|(bin, n)| [(bin as f64 + 0.5) / BINS as f64, n / expected]);
        plot.series(format!("chain {}", chain + 1), Stroke::Measured, points);
    }
    plot.series("as expected", Stroke::Reference, [[0.0, 1.0], [1.0, 1.0]]);
    plot
}
