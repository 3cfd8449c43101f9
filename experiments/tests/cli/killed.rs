//! Comparisons that are killed and resumed until they are done.

use std::process::Stdio;
use std::time::Duration;

use crate::Place;
use crate::compare::untimed;

#[test]
fn a_comparison_killed_three_times_ends_in_the_numbers_of_an_undisturbed_one() {
    let place = Place::new();
    let line = "compare --steps 40 --problems pinwheel --flows real-nvp,nsf-coupling,ffjord --out";
    for milliseconds in [150, 900, 2500] {
        let resume = if place.path("killed/comparison.json").exists() { "--resume" } else { "" };
        let mut command = place.command(&format!("{line} killed {resume}"));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(milliseconds));
        child.kill().unwrap();
        child.wait().unwrap();
    }
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
