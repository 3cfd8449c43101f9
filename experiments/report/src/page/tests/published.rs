//! Published log-likelihoods beside those of a comparison.

use std::fs;

use super::{change_comparison, report};
use crate::record::{Folder, RunKey};

#[test]
fn a_standard_table_has_what_is_published_and_no_other_problem_has() {
    let (dir, html) = report(|dir| {
        change_comparison(dir, |comparison| {
            let wine = comparison.problems.iter_mut().find(|problem| problem.name == "wine");
            wine.unwrap().published = Some("GAS".into());
        });
    });
    assert_eq!(html.matches("Published test log-likelihoods").count(), 1);
    let table = html.split("id=\"published-wine\"").nth(1).unwrap();
    let table = table.split("</table>").next().unwrap();
    let rows: Vec<&str> = table.split("<tr").skip(2).collect();
    assert_eq!(rows.len(), 3 + 22);
    let row = |flow: &str| *rows.iter().find(|row| row.contains(&format!(">{flow}</th>"))).unwrap();
    for (flow, words) in [
        ("RQ-NSF (coupling)", ["13.09 ± 0.02", "two standard errors over test rows", "Durkan"]),
        ("FFJORD", ["8.59 ± 0.12", "standard deviation over three runs", "Grathwohl"]),
        ("OT-Flow", [">9.20<", "none given", "secondary sources"]),
        ("UMNN-MAF", ["10.89 ± 0.70", "not stated", "secondary sources"]),
        ("Gaussian", ["\u{2212}3.58 ± 0.75", "data-value=\"-3.58\"", "Papamakarios"]),
    ] {
        let row = rows.iter().rfind(|row| row.contains(&format!(">{flow}</th>"))).unwrap();
        assert!(words.iter().all(|word| row.contains(word)), "{row}");
    }
    // Ours have the other sign, and come first.
    let mean = [1, 2].map(|seed| {
        let key = RunKey { problem: "wine", flow: "nsf", seed };
        Folder::new(dir.path()).run(key).unwrap().nll_nats.unwrap()
    });
    let ours = format!("data-value=\"{}\"", -(mean[0] + mean[1]) / 2.0);
    assert!(rows[..3].iter().any(|row| row.contains(&ours)), "{ours}: {:?}", &rows[..3]);
    assert!(rows[..3].iter().all(|row| row.contains("this comparison")));
    assert!(row("MADE").contains("3.56 ± 0.04"));
    assert!(html.contains("Residual flows publish no such table"));
    // No arguments of `compare` name the table.
    assert!(!html.contains("compare --problems wine"));
    let file = |ending: &str| {
        fs::read_to_string(dir.path().join(format!("tables/wine-published.{ending}"))).unwrap()
    };
    let csv = file("csv");
    let heads =
        "flow,source; what ± is,\"Test log-likelihood, nats\",\"Test log-likelihood, nats, ±\"";
    assert_eq!(csv.lines().next(), Some(heads));
    assert!(csv.contains("\nMADE,\"Papamakarios et al. 2017, table 1; two standard errors over test rows\",3.56,0.04\n"));
    assert!(file("md").contains("| MADE | Papamakarios et al. 2017, table 1; two standard errors over test rows | 3.56 ± 0.04 |"));
    assert!(file("tex").contains("\nMADE & 3.56 +- 0.04 \\\\"));
    assert!(!dir.path().join("tables/ring-published.csv").exists());
}
