//! Signals: training ends at the next step, with everything that is needed to go on.
#![cfg(unix)]

use std::process::{Child, Command};

use crate::compare::untimed;
use crate::resume::{start, wait_for};
use crate::{Place, assert_says};

fn signal(child: &Child, name: &str) {
    let mut kill = Command::new("kill");
    assert!(kill.arg(name).arg(child.id().to_string()).status().unwrap().success());
}

/// Training that takes long enough to be interrupted, and is cheap to finish: a validation each few
/// steps ends in the curve, so that its rows tell how far it has come.
const FIT: &str = "fit --flow real-nvp --set train.batch_rows=64 --steps 600 --data g.csv --out";

#[test]
fn a_fit_that_is_told_to_end_keeps_its_model_and_goes_on_to_the_same_bits() {
    let place = Place::new();
    place.gaussian("g.csv", 2_000);
    for name in ["-INT", "-TERM"] {
        let mut child = start(&place, &format!("{FIT} cut --resume"));
        wait_for(&place, &mut child, "cut/config.toml");
        std::thread::sleep(std::time::Duration::from_millis(150));
        signal(&child, name);
        assert_eq!(child.wait().unwrap().code(), Some(130), "{name}");
        assert!(!place.path("cut/summary.json").exists());
        place.succeeds("sample cut --rows 3 --out s.csv");
    }
    place.succeeds(&format!("{FIT} cut --resume"));
    place.succeeds(&format!("{FIT} whole"));
    assert!(place.bytes("cut/model.safetensors") == place.bytes("whole/model.safetensors"));
    let nats = |run: &str| place.json(&format!("{run}/summary.json"))["nll_nats"].clone();
    assert_eq!(nats("cut"), nats("whole"));
}

#[test]
fn a_comparison_that_is_told_to_end_says_how_to_go_on() {
    let place = Place::new();
    let line = "compare --problems moons --flows real-nvp,nice --steps 150 --out";
    let mut child = place.command(&format!("{line} cut"));
    let child = child.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
    let mut child = child.spawn().unwrap();
    wait_for(&place, &mut child, "cut/runs/moons/real-nvp/seed-0/config.toml");
    signal(&child, "-INT");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let message = String::from_utf8(output.stderr).unwrap();
    assert_says(&message, &["everything so far is kept", "compare --resume --out cut"]);
    place.succeeds("compare --resume --out cut");
    place.succeeds(&format!("{line} whole"));
    assert_eq!(untimed(&place, "cut/summary.csv"), untimed(&place, "whole/summary.csv"));
}
