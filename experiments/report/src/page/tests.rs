//! The report of a made-up comparison, checked against the files it was written from.

mod baseline;
mod doubts;
mod grids;
mod kinds;
mod published;
mod runs;

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::value::Value;
use super::{fixture, format};
use crate::figure::escape;
use crate::record::{Comparison, Folder, RunKey, RunSummary, Status};

/// A folder with a comparison of three flows, changed by `change`, and its report.
fn report(change: impl FnOnce(&Path)) -> (TempDir, String) {
    let dir = TempDir::new().unwrap();
    fixture::write(dir.path(), 3);
    change(dir.path());
    let path = crate::write(dir.path()).unwrap();
    let html = fs::read_to_string(path).unwrap();
    (dir, html)
}

/// Rewrites `comparison.json`.
fn change_comparison(dir: &Path, change: impl FnOnce(&mut Comparison)) {
    let mut comparison = Folder::new(dir).comparison().unwrap();
    change(&mut comparison);
    let text = serde_json::to_string(&comparison).unwrap();
    fs::write(dir.join("comparison.json"), text).unwrap();
}

/// Rewrites the summary of every run of three flows on `problem`.
fn change_runs(dir: &Path, problem: &str, change: impl Fn(&mut RunSummary)) {
    for flow in ["real-nvp", "ffjord", "nsf"] {
        for seed in [1, 2] {
            let mut run = Folder::new(dir).run(RunKey { problem, flow, seed }).unwrap();
            change(&mut run);
            let path = dir.join(format!("runs/{problem}/{flow}/seed-{seed}/summary.json"));
            fs::write(path, serde_json::to_string(&run).unwrap()).unwrap();
        }
    }
}

fn attributes<'a>(html: &'a str, name: &str) -> Vec<&'a str> {
    let start = format!(" {name}=\"");
    html.split(&start).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

#[test]
fn every_problem_flow_and_seed_is_named() {
    let (_dir, html) = report(|_| ());
    let comparison = fixture::comparison(3);
    for problem in &comparison.problems {
        assert!(html.contains(&format!("id=\"problem-{}\"", problem.name)));
        assert!(html.contains(&escape(&problem.title)));
    }
    for flow in &comparison.flows {
        assert!(html.contains(&escape(&flow.title)) && html.contains(&escape(&flow.description)));
    }
    assert!(html.contains("seeds (1 and 2)") || html.contains("seeds 1 and 2"));
    assert!(html.contains(&comparison.command) && html.contains(&comparison.host.cpu));
}

#[test]
fn numbers_are_those_of_the_files() {
    let (dir, html) = report(|_| ());
    let rows = Folder::new(dir.path()).summaries().unwrap();
    assert_eq!(rows.len(), 24);
    let values: HashSet<&str> = attributes(&html, "data-value").into_iter().collect();
    for row in &rows {
        let nll = Value::new(row.nll_nats, row.nll_standard_error);
        let kl = Value::new(row.kl_nats, row.kl_standard_error);
        for estimate in [nll, kl].into_iter().flatten() {
            assert!(html.contains(&format::estimate(estimate)), "{row:?}");
            assert!(values.contains(estimate.value.to_string().as_str()), "{row:?}");
        }
        let others = [row.train_seconds, row.normalisation, row.round_trip_error, row.evaluations];
        for value in others.into_iter().flatten() {
            assert!(values.contains(value.to_string().as_str()), "{row:?}");
        }
    }
}

#[test]
fn means_over_seeds_stand_in_the_verdict() {
    let (dir, html) = report(|_| ());
    let folder = Folder::new(dir.path());
    let kl = |seed| {
        let run = folder.run(RunKey { problem: "ring", flow: "ffjord", seed }).unwrap();
        run.kl_nats.unwrap()
    };
    let mean = (kl(1) + kl(2)) / 2.0;
    let verdict = html.split("id=\"verdict\"").nth(1).unwrap().split("</table>").next().unwrap();
    assert!(verdict.contains(&format!("data-value=\"{mean}\"")));
    assert!(verdict.contains(">best<") && verdict.contains(">tied<"));
    assert!(verdict.contains("1 of 2 seeds"));
}

#[test]
fn leaders_are_named_with_their_numbers_and_the_distance_of_the_other_family() {
    let (_dir, html) = report(|_| ());
    let section = html.split("id=\"verdict\"").nth(1).unwrap().split("</section>").next().unwrap();
    let ring = section.split("<li><strong>Ring of Gaussians").nth(1).unwrap();
    let ring = ring.split("</li>").next().unwrap();
    // The fixture's divergence grows with the square of the blur: 0.1, 0.14 and 0.3.
    for words in [
        "Neural spline flow (finite, ",
        " has the lowest KL divergence; the best continuous flow, FFJORD, is ",
        " nats above it.",
    ] {
        assert!(ring.contains(words), "{ring}");
    }
    let winners = section.split("id=\"winners-table\"").nth(1).unwrap();
    assert!(winners.contains("FFJORD<span class=\"sub\">continuous, 8\u{202f}771"), "{winners}");
    // By likelihood, by rates of densities and of draws, by parameters.
    let counts = winners.split("<tfoot>").nth(1).unwrap();
    assert!(counts.contains("<td>0 / 4 / 0</td></tr>"), "{counts}");
}

#[test]
fn films_are_strips_of_labelled_stills_and_audits_have_a_table() {
    let (_dir, html) = report(|_| ());
    assert_eq!(html.matches("<div class=\"film\">").count(), 3 * 3);
    for label in ["base draws", "after map 2 of 4", "time 2/3", "after the solve and a rescaling"] {
        assert!(html.contains(&format!("<span class=\"note\">{label}</span>")), "{label}");
    }
    // The worse of both seeds, which are alike.
    assert!(html.contains("Round trip f64") && html.contains("data-value=\"0.000031\""));
    assert!(html.contains("data-value=\"8.5\""));
}

#[test]
fn every_figure_says_how_to_get_it_again() {
    let (_dir, html) = report(|_| ());
    // Panels, learning curves and costs of four problems, and the films of three.
    assert_eq!(html.matches("<details class=\"again\">").count(), 4 * 3 + 3);
    let command = "compare --problems ring --flows real-nvp,ffjord,nsf --seeds 3 --seconds 20";
    assert_eq!(html.matches(command).count(), 4);
}

#[test]
fn anchors_resolve_and_figures_exist() {
    let (_dir, html) = report(|_| ());
    let ids = attributes(&html, "id");
    assert_eq!(ids.len(), ids.iter().collect::<HashSet<_>>().len(), "an id occurs twice");
    let ids: HashSet<&str> = ids.into_iter().collect();
    for target in attributes(&html, "href").into_iter().filter_map(|href| href.strip_prefix('#')) {
        assert!(ids.contains(target), "{target}");
    }
    for target in attributes(&html, "aria-labelledby") {
        assert!(ids.contains(target), "{target}");
    }
}

#[test]
fn every_figure_is_a_file_for_a_paper() {
    let (dir, _html) = report(|_| ());
    let figures = dir.path().join("figures");
    let list = fs::read_to_string(figures.join("README.md")).unwrap();
    let rows = list.lines().filter(|line| line.starts_with("| `"));
    let names = |row: &str| row.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    let files: Vec<String> = rows.flat_map(|row| -> Vec<String> { names(row) }).collect();
    // In each plane four sources have two panels each and every flow a film; a colour scale; of the table four
    // sources have three panels each. Learning curves and costs are charts.
    let (panels, charts) = (3 * (4 * 2 + 3) + 1 + 4 * 3, 4 * 2);
    assert_eq!(files.len(), 2 * panels + 5 * charts);
    for file in files {
        let bytes = fs::read(figures.join(&file)).unwrap();
        match file.strip_suffix(".pdf") {
            Some(_) => assert!(bytes.starts_with(b"%PDF-"), "{file}"),
            None => {
                let svg = String::from_utf8(bytes).unwrap();
                assert!(svg.starts_with("<svg xmlns=") && svg.ends_with("</svg>\n"), "{file}");
                assert!(svg.contains("<title>"), "{file}");
            }
        }
    }
    // 3.25 inches of 72 points, letters of 8.
    let single = fs::read_to_string(figures.join("ring-learning-single.svg")).unwrap();
    assert!(single.contains("width=\"234.12pt\"") && single.contains("viewBox=\"0 0 995 "));
    assert!(single.contains("font-size=\"34\""), "{single}");
}

#[test]
fn every_table_is_a_file_for_a_paper() {
    let (dir, _html) = report(|_| ());
    let file = |name: &str| fs::read_to_string(dir.path().join("tables").join(name)).unwrap();
    let results = file("results.tex");
    assert!(results.contains("Flow & {Ring of Gaussians, KL} & {Checkerboard, KL}"), "{results}");
    assert_eq!(
        results.matches("\\bfseries").count(),
        file("results.md").matches(" **").count() + 1
    );
    assert_eq!(file("results.csv").lines().count(), 4);
    for name in ["ring", "ring-numerics", "ring-audits", "wine-distances"] {
        for ending in ["csv", "md", "tex"] {
            assert!(file(&format!("{name}.{ending}")).contains("Neural spline flow"), "{name}");
        }
    }
    assert!(!dir.path().join("tables/ring-target.tex").exists(), "no target");
}

#[test]
fn nothing_is_fetched_and_every_figure_has_words() {
    let (dir, html) = report(|_| ());
    assert!(!html.contains("://") && !html.contains("src="));
    for href in attributes(&html, "href") {
        assert!(href.starts_with('#') || href.starts_with("data:image/png;base64,"));
    }
    assert_eq!(html.matches("<svg ").count(), html.matches("role=\"img\" aria-label=\"").count());
    for (open, close) in [("<section", "</section>"), ("<figure", "</figure>"), ("<td", "</td>")] {
        assert_eq!(html.matches(open).count(), html.matches(close).count(), "{open}");
    }
    assert!(!html.contains(&dir.path().display().to_string()));
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().ends_with(".tmp")), "{left:?}");
}

#[test]
fn strings_are_escaped() {
    let evil = "<script>alert(\"1\")</script> & 'more'";
    let (_dir, html) = report(|dir| {
        change_comparison(dir, |comparison| {
            comparison.problems[0].title = evil.into();
            comparison.problems[3].columns[0] = evil.into();
            comparison.flows[0].title = evil.into();
            comparison.flows[0].description = evil.into();
            comparison.command = evil.into();
            comparison.host.cpu = evil.into();
        });
    });
    assert!(!html.contains("<script>alert") && !html.contains("alert(\"1\")"));
    assert!(
        html.contains("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; &#39;more&#39;")
    );
}

#[test]
fn runs_without_result_are_named_with_their_reason() {
    let (_dir, html) = report(|dir| {
        fs::remove_dir_all(dir.join("runs/ring/ffjord")).unwrap();
        fs::remove_file(dir.join("problems/pinwheel/truth.npy")).unwrap();
        fs::remove_file(dir.join("runs/pinwheel/nsf/seed-1/samples.npy")).unwrap();
        fs::remove_file(dir.join("runs/wine/nsf/seed-2/metrics.csv")).unwrap();
        fs::write(dir.join("runs/wine/real-nvp/seed-1/samples.npy"), b"no array").unwrap();
    });
    assert!(html.contains("seed 2 diverged: the loss is not finite at step 1874"));
    assert!(html.contains("numbers are from summary.csv"));
    assert!(html.contains("No density: problems/pinwheel/truth.npy is missing"));
    assert!(html.contains("No samples: runs/pinwheel/nsf/seed-1/samples.npy is missing"));
    assert!(html.contains("runs/wine/nsf/seed-2/metrics.csv is missing"));
    assert!(html.contains("No samples: cannot read runs/wine/real-nvp/seed-1/samples.npy"));
}

#[test]
fn a_comparison_with_no_run_at_all_still_has_a_report() {
    let (_dir, html) = report(|dir| {
        fs::remove_dir_all(dir.join("runs")).unwrap();
        fs::remove_dir_all(dir.join("problems")).unwrap();
        fs::remove_file(dir.join("summary.csv")).unwrap();
    });
    assert!(html.contains("summary.csv is missing") && html.contains("no result"));
    assert!(html.contains("No cost figure: no run finished"));
}

#[test]
fn a_name_that_leaves_the_folder_is_refused() {
    let dir = TempDir::new().unwrap();
    let mut comparison = fixture::comparison(1);
    comparison.flows[0].name = "../up".into();
    let json = serde_json::to_string(&comparison).unwrap();
    fs::write(dir.path().join("comparison.json"), json).unwrap();
    assert!(crate::write(dir.path()).unwrap_err().to_string().contains("\"../up\""));
}

#[test]
fn a_table_of_summaries_without_status_is_judged_by_its_losses() {
    let table = "problem,flow,family,seed,nll_nats\nwine,maf,finite,0,1.5\nwine,maf,finite,1,\n";
    let runs = crate::record::read_summaries(table.as_bytes()).unwrap();
    let found: Vec<_> = runs.iter().map(|run| (run.seed, run.nll_nats, run.status)).collect();
    assert_eq!(found, [(0, Some(1.5), Status::Finished), (1, None, Status::Failed)]);
}

#[test]
fn a_table_of_summaries_reads_back_what_was_written() {
    let (dir, _html) = report(|_| ());
    let bytes = fs::read(dir.path().join("summary.csv")).unwrap();
    let runs = crate::record::read_summaries(&bytes[..]).unwrap();
    assert!(runs.iter().any(|run| run.audit.is_some()) && runs.len() == 24);
    assert_eq!(crate::record::summary_csv(&runs).unwrap(), bytes);
    let broken = crate::record::read_summaries("seed,steps\n1,many\n".as_bytes()).unwrap_err();
    assert!(format!("{broken:#}").contains("steps: expected a number, got \"many\""));
}

#[test]
fn distances_stand_beside_their_bands_and_are_marked_outside_of_them() {
    let (_dir, html) = report(|_| ());
    let table = html.split("id=\"distances-wine\"").nth(1).unwrap();
    let table = table.split("</table>").next().unwrap();
    let cell = |value: f64, text: &str, band: &str| {
        format!(
            "<td class=\"number\" data-value=\"{value}\">{text}<span class=\"sub\">{band}</span></td>"
        )
    };
    assert!(table.contains(&cell(0.0021, "0.002100", "0.003400")), "{table}");
    assert!(table.contains(&cell(0.0042, "0.004200 *", "0.003400")), "{table}");
    assert!(table.contains("0.5030<span") && table.contains("0.5230 *<span"), "{table}");
    assert!(!table.contains("TARP"), "{table}");
}
