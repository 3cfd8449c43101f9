//! Calibration of conditional flows: ranks of truths among draws, as figures.

use anyhow::Result;

use super::figures::Figures;
use super::gather::ProblemResults;
use crate::figure::calibration::{self, Ranks};
use crate::figure::{Look, escape};
use crate::record::{Folder, Matrix, Problem, RunFiles, RunKey, RunSummary};

/// A run with the ranks of its truths: by each feature, by density, by distance.
struct Ranked<'a> {
    look: Look,
    ranks: Matrix,
    run: &'a RunSummary,
}

/// One of the figures.
struct Kind {
    /// The distance that says how far the ranks are from uniform.
    distance: &'static str,
    title: &'static str,
    axes: [&'static str; 2],
    reading: &'static str,
}

const KINDS: [Kind; 3] = [
    Kind {
        distance: "rank_histograms",
        title: "Ranks by the worst feature",
        axes: ["rank of the truth (share)", "share below it, less rank"],
        reading: "above zero on the left and below it on the right: too narrow; on one side throughout: shifted",
    },
    Kind {
        distance: "expected_coverage",
        title: "Expected coverage",
        axes: ["credibility of a region", "coverage less credibility"],
        reading: "above zero: regions of highest density hold more truths than they claim; below: fewer, the \
                  density is overconfident",
    },
    Kind {
        distance: "tarp",
        title: "TARP",
        axes: ["credibility of a ball", "coverage less credibility"],
        reading: "the same for balls around random points",
    },
];

/// Of a problem with contexts; nothing without them.
pub(super) fn section(
    folder: &Folder,
    results: &ProblemResults,
    figures: &mut Figures,
) -> Result<String> {
    let problem = &results.problem;
    let mut runs = Vec::new();
    for flow in &results.flows {
        for run in flow.finished() {
            let key = RunKey { problem: &problem.name, flow: &flow.flow.name, seed: run.seed };
            if let Ok(ranks) = folder.calibration(key) {
                runs.push(Ranked { look: flow.look.clone(), ranks, run });
            }
        }
    }
    let drawn = charts(problem, &runs, figures)?;
    if drawn.is_empty() {
        return Ok(drawn);
    }
    let names: Vec<String> = KINDS.iter().map(|kind| file(problem, kind)).collect();
    Ok(format!("<div class=\"charts\">\n{drawn}</div>\n{}", figures.command(problem, None, &names)))
}

/// Of a single run.
pub(super) fn of_run(
    files: &RunFiles,
    (run, problem): (&RunSummary, &Problem),
    figures: &mut Figures,
) -> Result<String> {
    let Ok(ranks) = files.matrix("calibration.npy") else { return Ok(String::new()) };
    let look = Look { title: run.flow.clone(), family: run.family, index: 0 };
    let drawn = charts(problem, &[Ranked { look, ranks, run }], figures)?;
    Ok(format!("<div class=\"charts\">\n{drawn}</div>\n"))
}

fn charts(problem: &Problem, runs: &[Ranked<'_>], figures: &mut Figures) -> Result<String> {
    let mut charts = String::new();
    for kind in &KINDS {
        let band = |ranked: &Ranked<'_>| Some(ranked.run.distances.get(kind.distance)?.null_95);
        let bands: Vec<f64> = runs.iter().filter_map(band).collect();
        let Some(band) = super::value::mean(bands.into_iter()) else { continue };
        let of = |ranked: &Ranked<'_>| Ranks {
            look: ranked.look.clone(),
            shares: shares(&ranked.ranks, kind.distance),
        };
        let curves: Vec<Ranks> = runs.iter().map(of).collect();
        let words = format!("{}: {} of all flows", problem.title, kind.title.to_lowercase());
        let draw = |width| calibration::draw(&curves, band, (kind.axes, words.clone()), width);
        let element = figures.add_chart(&file(problem, kind), draw)?;
        charts += &format!(
            "<figure class=\"chart\"><div class=\"scroll\" tabindex=\"0\" role=\"region\" \
             aria-label=\"{title}: {problem}\">{element}</div>\n<figcaption>{title}: {}. Between the dotted lines lie \
             95 of 100 curves of calibrated densities.</figcaption>\n</figure>\n",
            kind.reading,
            title = kind.title,
            problem = escape(&problem.title),
        );
    }
    Ok(charts)
}

fn file(problem: &Problem, kind: &Kind) -> String {
    format!("{}-{}", problem.name, kind.distance.replace('_', "-"))
}

/// The column of a distance; of features, the one that is furthest from uniform.
fn shares(ranks: &Matrix, distance: &str) -> Vec<f64> {
    let features = ranks.columns.saturating_sub(2);
    let column = |index: usize| -> Vec<f64> {
        ranks.values.iter().skip(index).step_by(ranks.columns).copied().collect()
    };
    match distance {
        "expected_coverage" => column(features),
        "tarp" => column(features + 1),
        _ => {
            let all = (0..features).map(column);
            let gap = |shares: &Vec<f64>| calibration::largest_difference(shares);
            all.max_by(|a, b| gap(a).total_cmp(&gap(b))).unwrap_or_default()
        }
    }
}
