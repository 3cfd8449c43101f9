//! What a report says about errors: paired, unpaired, unknown, and warnings.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::{change_comparison, change_runs, report};
use crate::record::{Pair, Problem, Stop};

/// A comparison of three flows on the table alone, changed by `change`, and its report.
fn report_of_table(change: impl FnOnce(&Path)) -> (TempDir, String) {
    report(|dir| {
        change_comparison(dir, |c| c.problems.retain(|problem| problem.name == "wine"));
        change(dir);
    })
}

/// Changes the table of the comparison.
fn change_wine(dir: &Path, change: impl FnOnce(&mut Problem)) {
    change_comparison(dir, |comparison| change(comparison.problems.last_mut().unwrap()));
}

/// The table's row of the verdict.
fn verdict(html: &str) -> &str {
    let verdict = html.split("id=\"verdict-table\"").nth(1).unwrap();
    verdict.split("#problem-wine").nth(1).unwrap().split("</tr>").next().unwrap()
}

/// The table's section.
fn section(html: &str) -> &str {
    html.split("<section id=\"problem-wine\"").nth(1).unwrap().split("</section>").next().unwrap()
}

/// The sentences on who leads on the table.
fn sentences(html: &str) -> &str {
    html.split("<li><strong>Red wine").nth(1).unwrap().split("</ul>").next().unwrap()
}

#[test]
fn what_all_flows_find_hard_is_left_out_of_the_error_of_a_difference() {
    let (dir, html) = report(|_| ());
    let mut reader = csv::Reader::from_path(dir.path().join("pairs.csv")).unwrap();
    let pairs: Vec<Pair> = reader.deserialize().collect::<Result<_, _>>().unwrap();
    assert_eq!(pairs.len(), 4 * 3);
    let pair = pairs.iter().find(|p| (&p.problem[..], &p.against[..]) == ("wine", "nsf")).unwrap();
    assert_eq!((&pair.flow[..], pair.rows, pair.seeds), ("real-nvp", 2500, 2));
    // Losses of the fixture are 9.9 + 2 blur: 10.5 and 10.1.
    assert!((pair.difference_nats - 0.4).abs() < 1e-5, "{pair:?}");
    // Either flow has a noise of 0.1 on a row that is not the other's, halved in variance by two
    // seeds: 0.1 / sqrt(2500), known to 1 / sqrt(2 x 2499) or 1.4 %. The rows' own 4 nats are gone.
    let error = pair.paired_standard_error.unwrap();
    assert!((error / 0.002 - 1.0).abs() < 5.0 * 0.0142, "{pair:?}");
    assert!(verdict(&html).contains(">best<") && !verdict(&html).contains(">tied<"));
    assert!(verdict(&html).contains("+0.400 ± 0.002"), "{}", verdict(&html));
    // A seed that one of the flows lost is left out of the pair.
    let lost = pairs.iter().filter(|pair| pair.seeds == 1);
    let lost: Vec<_> = lost.map(|p| (&p.problem[..], &p.flow[..], &p.against[..])).collect();
    assert_eq!(lost, [("checkerboard", "real-nvp", "nsf"), ("checkerboard", "ffjord", "nsf")]);
}

#[test]
fn without_log_densities_of_the_rows_the_larger_error_decides_and_the_report_says_so() {
    let (_dir, html) = report_of_table(|dir| {
        for seed in [1, 2] {
            let name = format!("runs/wine/nsf/seed-{seed}/test_log_prob.npy");
            fs::remove_file(dir.join(name)).unwrap();
        }
    });
    // 10.18 and 10.1 with an error of 0.083 each.
    assert!(verdict(&html).contains(">tied<") && !verdict(&html).contains(">best<"));
    assert!(verdict(&html).contains("+0.08 ± 0.12") && verdict(&html).contains("1 warning"));
    let said = "Some differences have the error of unpaired rows, which is larger, or leave out seeds: \
        runs/wine/nsf/seed-1/test_log_prob.npy is missing (and 1 more).";
    assert!(section(&html).contains(said), "{}", section(&html));
}

#[test]
fn nobody_is_best_on_one_test_row() {
    let (_dir, html) = report_of_table(|dir| {
        change_wine(dir, |problem| problem.test_rows = 1);
        change_runs(dir, "wine", |run| run.nll_standard_error = None);
        for flow in ["real-nvp", "ffjord", "nsf"] {
            for seed in [1, 2] {
                let name = format!("runs/wine/{flow}/seed-{seed}/test_log_prob.npy");
                fs::remove_file(dir.join(name)).unwrap();
            }
        }
    });
    assert!(!verdict(&html).contains("class=\"mark"), "{}", verdict(&html));
    assert!(verdict(&html).contains("10.12 ± unknown"), "{}", verdict(&html));
    assert!(section(&html).contains("1 test row, which has no standard error"));
    assert!(sentences(&html).contains("Who has the lowest negative log-likelihood cannot be said"));
    assert!(html.contains("On 1 no flow can be said to lead."));
}

#[test]
fn few_test_rows_are_warned_of() {
    let rows = |count| {
        let (_dir, html) =
            report_of_table(|dir| change_wine(dir, |problem| problem.test_rows = count));
        section(&html).contains(&format!("The likelihoods are means over {count} test rows"))
    };
    assert_eq!([rows(29), rows(30)], [true, false]);
}

#[test]
fn a_lead_of_one_seed_says_so_beside_its_badge() {
    let (_dir, html) =
        report(|dir| change_comparison(dir, |comparison| comparison.seeds = vec![1]));
    let badge = "<span class=\"mark best\">best</span> <span class=\"seeds\">one seed</span>";
    assert!(verdict(&html).contains(badge), "{}", verdict(&html));
    let (_dir, html) = report_of_table(|_| ());
    assert!(!html.contains("one seed</span>"));
}

#[test]
fn a_likelihood_without_bound_ranks_nobody() {
    let (_dir, html) = report_of_table(|dir| change_wine(dir, |problem| problem.unbounded = true));
    assert!(!verdict(&html).contains("class=\"mark") && verdict(&html).contains("not ranked"));
    let said = "its likelihood has no upper bound, so flows are not ranked by it.";
    assert!(sentences(&html).contains(said) && section(&html).contains(said));
    assert!(html.contains(&format!("Red wine: {said}")));
    // The other contests go on.
    let winners = html.split("id=\"winners-table\"").nth(1).unwrap();
    assert!(winners.contains("<td>0 / 1 / 0</td></tr></tfoot>"), "{winners}");
    assert!(!section(&html).contains("+0.400"));
}

#[test]
fn warnings_stand_once_where_all_runs_share_them_and_else_name_their_runs() {
    let (_dir, html) = report_of_table(|dir| {
        change_wine(dir, |problem| problem.warnings = vec!["pH counts <its rows>".into()]);
        change_runs(dir, "wine", |run| {
            run.warnings = vec!["alcohol is 0 in half of the rows.".into()];
            if run.flow == "nsf" && run.seed == 2 {
                run.warnings.push("validation says nothing".into());
            }
        });
    });
    let section = section(&html);
    for item in [
        "<li>pH counts &lt;its rows&gt;.</li>",
        "<li>alcohol is 0 in half of the rows.</li>",
        "<li>Neural spline flow, seed 2: validation says nothing.</li>",
    ] {
        assert_eq!(section.matches(item).count(), 1, "{item}");
    }
    assert!(verdict(&html).contains("3 warnings"));
}

#[test]
fn a_run_that_stopped_early_is_a_finished_run_with_a_remark() {
    let (_dir, html) = report_of_table(|dir| {
        change_runs(dir, "wine", |run| {
            if run.flow == "nsf" && run.seed == 1 {
                (run.stop, run.steps, run.patience) = (Some(Stop::EarlyStop), Some(740), Some(5));
            }
        });
    });
    let remark = "<strong>Neural spline flow</strong>: seed 1 stopped early at step 740: validation \
        had not improved for 5 validations.";
    assert!(section(&html).contains(remark));
    assert!(section(&html).contains("2 of 2 done"));
    assert_eq!(html.matches("<td>finished, stopped early</td>").count(), 1);
}

#[test]
fn both_units_have_a_column_and_files_with_one_are_read() {
    let (_dir, html) = report_of_table(|dir| {
        change_runs(dir, "wine", |run| {
            run.nll_standardised_nats = run.nll_nats.map(|nll| nll - 4.25)
        });
        let path = dir.join("runs/wine/nsf/seed-1/metrics.csv");
        let old = "step,seconds,train_nats,validation_nats,learning_rate,gradient_norm,evaluations\n\
            20,0.5,9.0,12.0,0.001,1.0,20\n40,1.0,8.0,11.0,0.001,1.0,40\n";
        fs::write(path, old).unwrap();
    });
    let table = html.split("id=\"table-wine\"").nth(1).unwrap().split("</table>").next().unwrap();
    assert!(table.contains("NLL, own units (nats)") && table.contains("ised (nats)"));
    // Real NVP: 9.9 + 0.6 + 20 x 0.0007 x 1.5 = 10.521 less 4.25.
    assert!(table.contains(">10.52 ± 0.08<") && table.contains(">6.27 ± 0.08<"), "{table}");
    assert!(!html.contains("metrics.csv is missing") && !html.contains("cannot read"));
}
