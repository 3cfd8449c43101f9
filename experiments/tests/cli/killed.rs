//! Comparisons that are killed and resumed until they are done.
#![cfg(unix)]

use std::os::unix::process::ExitStatusExt;

use crate::Place;
use crate::compare::untimed;
use crate::resume::{start, wait_for};

#[test]
fn a_comparison_killed_three_times_ends_in_the_numbers_of_an_undisturbed_one() {
    let place = Place::new();
    let line = "compare --steps 40 --problems pinwheel --flows real-nvp,nsf-coupling,ffjord --out";
    // Before the first run has a result, between two runs, and between the training of one and its
    // evaluation.
    for (resume, reached) in [
        ("", "comparison.json"),
        ("--resume", "runs/pinwheel/real-nvp/seed-0/summary.json"),
        ("--resume", "runs/pinwheel/nsf-coupling/seed-0/model.safetensors"),
    ] {
        let mut child = start(&place, &format!("{line} killed {resume}"));
        wait_for(&place, &mut child, &format!("killed/{reached}"));
        child.kill().unwrap();
        let status = child.wait().unwrap();
        assert_eq!(status.signal(), Some(9), "{reached}: it ended by itself, {status}");
    }
    assert!(!place.path("killed/runs/pinwheel/ffjord/seed-0/summary.json").exists());
    place.succeeds(&format!("{line} killed --resume"));
    place.succeeds(&format!("{line} whole"));
    assert_eq!(untimed(&place, "killed/summary.csv"), untimed(&place, "whole/summary.csv"));
    for flow in ["real-nvp", "nsf-coupling", "ffjord"] {
        for file in ["samples.npy", "density.npy", "transport.npy", "model.safetensors"] {
            let name = |out: &str| format!("{out}/runs/pinwheel/{flow}/seed-0/{file}");
            assert!(place.bytes(&name("killed")) == place.bytes(&name("whole")), "{flow} {file}");
        }
    }
}
