//! The report in a browser, where there is one.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Place;

/// A headless browser on the path. Without one it says so past the capture of test output, and fails
/// where `BROWSER_REQUIRED` is set.
fn browser() -> Option<PathBuf> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let found = std::env::split_paths(&paths)
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .find(|path| path.is_file());
    if found.is_none() {
        let names = names.join(", ");
        let message = format!("PAGES WERE NOT TESTED: none of {names} is on the path; install one");
        assert!(std::env::var_os("BROWSER_REQUIRED").is_none(), "{message}");
        // Not by a macro, whose output a passing test keeps to itself.
        std::io::stderr().write_all(format!("\n{message}\n").as_bytes()).unwrap();
    }
    found
}

/// The page in a frame of a width that no window of the browser goes down to, and what became of it
/// in the title: width, width of its content, films that were set up, tables that can be sorted.
fn framed(report: &str, width: u32) -> String {
    let escaped = report.replace('&', "&amp;").replace('"', "&quot;");
    format!(
        "<!DOCTYPE html><body style=\"margin:0\"><iframe id=\"frame\" style=\"border:0;\
         width:{width}px;height:900px\" srcdoc=\"{escaped}\"></iframe><script>\n\
         frame.onload = () => {{\n\
         const page = frame.contentDocument;\n\
         const count = (selector) => page.querySelectorAll(selector).length;\n\
         page.querySelector('.sortable th button').click();\n\
         document.title = [frame.contentWindow.innerWidth, page.documentElement.scrollWidth,\n\
         count('figure.moving .now'), count('th[aria-sort]')].join(' ');\n\
         }};\n</script>"
    )
}

/// The title of a page once its scripts have run; nothing is said on the console.
fn loaded(browser: &Path, place: &Place, page: &str, flags: &[&str]) -> String {
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"])
        .args(["--enable-logging=stderr", "--v=0", "--dump-dom"])
        .args(flags)
        .arg(format!("--user-data-dir={}", place.path("profile").display()))
        .arg(format!("file://{}", place.path(page).display()))
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let said: Vec<&str> = errors.lines().filter(|line| line.contains("CONSOLE")).collect();
    assert!(said.is_empty(), "{said:?}");
    let page = String::from_utf8_lossy(&output.stdout);
    let title = page.split("<title>").nth(1).and_then(|rest| rest.split("</title>").next());
    title.unwrap_or_else(|| panic!("the page was not loaded: {errors}")).to_owned()
}

/// Contrast, labels and structure by axe-core, whose script `AXE_CORE` names, in both themes. Without it a test
/// says so.
fn check_accessibility(browser: &Path, place: &Place, report: &str) {
    let Some(axe) = std::env::var_os("AXE_CORE") else {
        let message = "\nACCESSIBILITY WAS NOT TESTED: AXE_CORE names no axe.min.js\n";
        return std::io::stderr().write_all(message.as_bytes()).unwrap();
    };
    let axe = std::fs::read_to_string(axe).unwrap().replace("</script", "<\\/script");
    let run = "axe.run().then((found) => { document.title = 'violations ' + found.violations.map(\
               (rule) => rule.id + ' ' + rule.nodes.map((node) => node.target).join(' ')).join('; '); });";
    let scripts = format!("<script>{axe}</script><script>{run}</script></body>");
    place.write("axe.html", place.text(report).replace("</body>", &scripts));
    let dark = "--blink-settings=preferredColorScheme=0";
    for theme in [&[][..], &["--force-dark-mode", dark]] {
        let flags = [&["--virtual-time-budget=60000"][..], theme].concat();
        assert_eq!(loaded(browser, place, "axe.html", &flags).trim(), "violations", "{theme:?}");
    }
}

/// Loads the page at both widths: nothing is said on the console, nothing reaches beyond the frame,
/// there are as many films, and a column can be sorted.
fn check(browser: &Path, place: &Place, report: &str, films: u32) {
    for width in [390, 1280] {
        place.write("framed.html", framed(&place.text(report), width));
        let title = loaded(browser, place, "framed.html", &["--virtual-time-budget=2000"]);
        let numbers: Vec<u32> = title.split(' ').map(|number| number.parse().unwrap()).collect();
        assert_eq!(numbers[0], width);
        assert!(numbers[1] <= width, "{} of {width} pixels", numbers[1]);
        assert_eq!(numbers[2..], [films, 1], "films, sorted columns");
    }
}

#[test]
fn the_report_runs_in_a_browser_and_fits_a_phone() {
    let Some(browser) = browser() else { return };
    let place = Place::new();
    place.succeeds("compare --steps 5 --problems moons,red-wine --flows real-nvp,ffjord --out out");
    check(&browser, &place, "out/report.html", 2);
    check_accessibility(&browser, &place, "out/report.html");
}

#[test]
fn the_page_of_a_study_runs_in_a_browser_and_fits_a_phone() {
    let Some(browser) = browser() else { return };
    let place = Place::new();
    place.succeeds("verify C5 C6 C14 C30 C41 --quick --out out");
    check(&browser, &place, "out/report.html", 0);
    check_accessibility(&browser, &place, "out/report.html");
}
