//! `fit --resume`: a run that was cut off goes on as if it never had been.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Place, assert_says};

/// Every step validates often and averages, so that all of the training's state is in play.
const CONFIG: &str = "preset = \"real-nvp\"\n[train]\nbatch_rows = 256\nvalidate_every = 5\n\
                      patience = 1000\n";

/// Waits until `name` is there, or the process has ended.
pub(crate) fn wait_for(place: &Place, child: &mut Child, name: &str) {
    let clock = Instant::now();
    while !place.path(name).exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before {name} was written");
        assert!(clock.elapsed() < Duration::from_secs(60), "{name} does not come");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn signal(child: &Child, name: &str) {
    let mut kill = Command::new("kill");
    assert!(kill.arg(name).arg(child.id().to_string()).status().unwrap().success());
}

pub(crate) fn start(place: &Place, line: &str) -> Child {
    let mut command = place.command(line);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
#[cfg(unix)]
fn a_run_that_was_killed_and_resumed_ends_in_the_same_bits_as_an_undisturbed_one() {
    const STEPS: u64 = 400;
    let place = Place::new();
    place.gaussian("g.csv", 2_000);
    place.write("c.toml", CONFIG);
    let fit = |out: &str| format!("fit c.toml --steps {STEPS} --data g.csv --out {out}");
    let resume = format!("fit --resume --steps {STEPS} --data g.csv --out killed");
    let mut child = start(&place, &fit("killed"));
    wait_for(&place, &mut child, "killed/data.json");
    std::thread::sleep(Duration::from_millis(300));
    // Checkpoints are 10 seconds apart; a process that stands still takes them at no cost.
    signal(&child, "-STOP");
    std::thread::sleep(Duration::from_millis(10_100));
    signal(&child, "-CONT");
    wait_for(&place, &mut child, "killed/checkpoint.safetensors");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!place.path("killed/model.safetensors").exists(), "it was cut off");
    let message = place.fails(2, &fit("killed"));
    assert_says(&message, &["killed holds a run", "--resume"]);
    place.succeeds(&resume);
    place.succeeds(&fit("whole"));
    assert!(place.bytes("killed/model.safetensors") == place.bytes("whole/model.safetensors"));
    let steps = |run: &str| -> Vec<String> {
        let text = place.text(&format!("{run}/metrics.csv"));
        let cells = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
        cells.map(|cells| format!("{} {} {}", cells[0], cells[2], cells[3])).collect()
    };
    assert_eq!(steps("killed"), steps("whole"), "the learning curves are the same");
    let nats = |run: &str| place.json(&format!("{run}/summary.json"))["nll_nats"].clone();
    assert_eq!(nats("killed"), nats("whole"));
}

#[test]
#[cfg(unix)]
fn a_run_that_was_killed_before_its_first_checkpoint_starts_over() {
    let place = Place::new();
    place.gaussian("g.csv", 2_000);
    place.write("c.toml", CONFIG);
    let mut child = start(&place, "fit c.toml --steps 2000 --data g.csv --out killed");
    wait_for(&place, &mut child, "killed/config.toml");
    child.kill().unwrap();
    child.wait().unwrap();
    place.succeeds("fit --resume --steps 20 --data g.csv --out killed");
    place.succeeds("fit c.toml --steps 20 --data g.csv --out whole");
    assert!(place.bytes("killed/model.safetensors") == place.bytes("whole/model.safetensors"));
}

#[test]
fn a_finished_run_is_resumed_to_more_steps_and_keeps_its_curve() {
    let place = Place::with_run("real-nvp", 20);
    place.succeeds("fit --resume --steps 40 --data g.csv --out run");
    let metrics = place.text("run/metrics.csv");
    let steps: Vec<&str> =
        metrics.lines().skip(1).filter_map(|line| line.split(',').next()).collect();
    assert_eq!(steps, ["1", "20", "40"]);
    assert_eq!(place.json("run/summary.json")["steps"], 40);
    let config: toml::Table = place.text("run/config.toml").parse().unwrap();
    assert_eq!(config["budget"]["steps"].as_integer(), Some(40), "the config is what was done");
}

#[test]
fn the_same_command_with_resume_begins_goes_on_and_refuses_what_contradicts_the_run() {
    let place = Place::new();
    place.gaussian("g.csv", 600);
    place.write("c.toml", CONFIG);
    let same = "fit c.toml --set layers=3 --seed 4 --drop weight --data g.csv --out run --resume";
    for steps in [3, 3, 6] {
        place.succeeds(&format!("{same} --steps {steps}"));
        assert_eq!(place.json("run/summary.json")["steps"], steps);
    }
    let model = place.bytes("run/model.safetensors");
    for (flags, words) in [
        ("--seed 1", ["seed is 4", "1 is asked for"]),
        ("--precision f64", ["precision is \"f32\"", "\"f64\" is asked for"]),
        ("--flow real-nvp", ["flow.layers is 3", "10 is asked for"]),
        ("--set train.batch_rows=99", ["train.batch_rows is 256", "99 is asked for"]),
        ("--drop length --data g.csv", ["data.drop is [\"weight\"]", "[\"length\"] is asked for"]),
    ] {
        let message = place.fails(2, &format!("fit {flags} --resume --steps 9 --out run"));
        assert_says(&message, &words);
    }
    place.succeeds("fit --resume --out run");
    assert!(place.bytes("run/model.safetensors") == model, "the budget was spent");
    place.succeeds("fit --resume --steps 9 --out run");
    assert_eq!(place.json("run/summary.json")["steps"], 9);
}

#[test]
fn a_checkpoint_or_a_curve_that_cannot_be_read_is_named_and_the_model_kept() {
    let place = Place::with_run("real-nvp", 3);
    let checkpoint = place.bytes("run/checkpoint.safetensors");
    let model = place.bytes("run/model.safetensors");
    let cases: [(&str, &[u8], &[&str]); 5] = [
        ("checkpoint.safetensors", b"", &["damaged"]),
        ("checkpoint.safetensors", &checkpoint[..checkpoint.len() / 2], &["damaged"]),
        ("checkpoint.safetensors", &model, &["not from its model"]),
        ("metrics.csv", b"", &["expected rows up to step 3"]),
        ("metrics.csv", b"step,seconds\nx,y\n", &["line: 2"]),
    ];
    for (file, bytes, words) in cases {
        let name = format!("run/{file}");
        let before = place.bytes(&name);
        place.write(&name, bytes);
        let message = place.fails(1, "fit --resume --steps 5 --data g.csv --out run");
        assert_says(&message, &[&name]);
        assert_says(&message, words);
        place.write(&name, before);
        assert!(place.bytes("run/model.safetensors") == model, "{file}");
    }
}

#[test]
fn a_run_goes_on_with_its_own_table_alone() {
    let place = Place::with_run("real-nvp", 3);
    place.gaussian("other.csv", 600);
    place.gaussian("longer.csv", 601);
    for name in ["other.csv", "longer.csv"] {
        let line = format!("fit --resume --steps 5 --data {name} --out run");
        assert_says(&place.fails(1, &line), &[name, "expected the table that the run began with"]);
    }
}
