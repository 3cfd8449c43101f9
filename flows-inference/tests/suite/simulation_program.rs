//! Simulators that are programs, here small shell scripts.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use flows_core::testing::names;
use flows_core::{Error, Result, Stream, stream};
use flows_inference::Format;
use flows_inference::simulation::{
    Invalid, Marginal, Prior, ProductPrior, ProgramSettings, ProgramSimulator, Simulations,
    Simulator,
};

/// Answers a line `a b` with `a + b, a - b`, one at a time.
const SUM: &str = "while read -r a b; do awk \"BEGIN { printf \\\"%.17g, %.17g\\n\\\", \
                   ($a) + ($b), ($a) - ($b) }\"; done";

fn prior() -> ProductPrior {
    let side = Marginal::Uniform { low: -2.0, high: 3.0 };
    ProductPrior::new(vec![("a".into(), side), ("b".into(), side)]).unwrap()
}

fn start(command: &str) -> ProgramSimulator {
    let limit = ProgramSettings { limit_seconds: 20.0, ..ProgramSettings::new(command, 2) };
    ProgramSimulator::start(prior(), limit).unwrap()
}

fn ask(simulator: &dyn Simulator, rows: usize) -> Result<Vec<f64>> {
    let rng = &mut stream(0, "draws");
    let parameters = simulator.prior().sample(rows, rng);
    simulator.simulate(&parameters, rng)
}

/// The same simulator, written here.
#[derive(Debug)]
struct Sum(ProductPrior);

impl Simulator for Sum {
    fn prior(&self) -> &dyn Prior {
        &self.0
    }

    fn data_columns(&self) -> usize {
        2
    }

    fn simulate(&self, parameters: &[f64], _: &mut Stream) -> Result<Vec<f64>> {
        let (rows, _) = parameters.as_chunks::<2>();
        Ok(rows.iter().flat_map(|[a, b]| [a + b, a - b]).collect())
    }
}

#[test]
fn a_program_gives_what_the_same_simulator_in_rust_gives_in_order_and_again() {
    let program = start(SUM);
    let here = Sum(prior());
    for rows in [1, 30] {
        // All digits are sent and 17 come back: the same doubles.
        assert_eq!(ask(&program, rows).unwrap(), ask(&here, rows).unwrap());
    }
}

/// Rows far beyond what pipes hold: the program answers while it is still being written to.
#[test]
fn many_rows_do_not_block() {
    let program = start("cat");
    let rng = &mut stream(0, "draws");
    let parameters = prior().sample(50_000, rng);
    assert_eq!(program.simulate(&parameters, rng).unwrap(), parameters);
}

/// The program reads everything before it writes anything.
#[test]
fn binary_rows_come_back_bit_by_bit() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rows").display().to_string();
    let command = format!("head -c 320000 > {file}; cat {file}");
    let settings = ProgramSettings { format: Format::Binary, ..ProgramSettings::new(command, 2) };
    let program = ProgramSimulator::start(prior(), settings).unwrap();
    let rng = &mut stream(0, "draws");
    let mut parameters = prior().sample(20_000, rng);
    parameters[3] = f64::NEG_INFINITY;
    assert_eq!(program.simulate(&parameters, rng).unwrap(), parameters);
    // Half a block is no answer.
    let settings =
        ProgramSettings { format: Format::Binary, ..ProgramSettings::new("head -c 24", 2) };
    let program = ProgramSimulator::start(prior(), settings).unwrap();
    names(&program.simulate(&parameters[..4], rng).unwrap_err(), &["row 1", "exit status: 0"]);
}

#[test]
fn seeds_are_whole_numbers_and_those_of_the_stream() {
    let command = "while read -r a b seed; do echo $seed $seed; done";
    let settings = ProgramSettings { sends_seeds: true, ..ProgramSettings::new(command, 2) };
    let program = ProgramSimulator::start(prior(), settings).unwrap();
    let seeds = ask(&program, 5).unwrap();
    assert!(seeds.iter().all(|s| s.fract() == 0.0 && (0.0..2_147_483_648.0).contains(s)));
    assert_ne!(seeds[0], seeds[2]);
    assert_eq!(seeds, ask(&program, 5).unwrap());
}

#[test]
fn a_program_that_fails_is_quoted_with_row_and_status() {
    let program = start("read -r a b; echo 1 2; read -r a b; echo no memory >&2; exit 3");
    let error = ask(&program, 5).unwrap_err();
    names(&error, &["row 1", "exit status: 3", "no memory", "run it by hand"]);
    names(&ask(&program, 1).unwrap_err(), &["ended after an earlier error", "anew"]);
}

#[test]
fn a_program_that_ends_without_a_word_is_an_early_end() {
    names(&ask(&start("exit 0"), 1).unwrap_err(), &["row 0", "exit status: 0"]);
}

#[test]
fn a_program_that_cannot_be_run_has_not_started() {
    let error = ask(&start("/nowhere/simulator"), 1).unwrap_err();
    names(&error, &["/nowhere/simulator", "does not start", "check the command"]);
}

#[test]
fn a_program_that_hangs_is_given_up_and_ended() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let command = format!("sh -c 'echo $$ > {}; sleep 100' & wait", file.display());
    let settings = ProgramSettings { limit_seconds: 2.0, ..ProgramSettings::new(command, 2) };
    let program = ProgramSimulator::start(prior(), settings).unwrap();
    let clock = Instant::now();
    let error = ask(&program, 3).unwrap_err();
    names(&error, &["row 0", "2 seconds", "flush", "raise the limit"]);
    assert!(clock.elapsed() < Duration::from_secs(20));
    assert!(has_ended(&std::fs::read_to_string(file).unwrap()));
}

#[test]
fn a_dropped_program_is_ended_with_what_it_has_started() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    // Neither reads, so that the end of their input would not end them.
    let script = format!("sh -c 'echo $$ > {}; echo 1 2; sleep 100' & wait", file.display());
    let program = start(&script);
    assert_eq!(ask(&program, 1).unwrap(), [1.0, 2.0]);
    drop(program);
    assert!(has_ended(&std::fs::read_to_string(file).unwrap()));
}

/// Whether a process is gone, or waits for whoever inherited it to notice.
fn has_ended(pid: &str) -> bool {
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        let state =
            std::process::Command::new("ps").args(["-o", "stat=", "-p", pid.trim()]).output();
        let state = String::from_utf8(state.unwrap().stdout).unwrap();
        if state.trim().is_empty() || state.trim().starts_with('Z') {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

#[test]
fn wrong_columns_and_words_are_named_with_their_row() {
    let error = ask(&start("echo 1 2; echo 3 4 5; cat > /dev/null"), 3).unwrap_err();
    names(&error, &["row 1", "expected 2 numbers, got 3", "3 4 5", "one line"]);
    let error = ask(&start("echo 1 2; echo 3,x7; cat > /dev/null"), 3).unwrap_err();
    names(&error, &["row 1, column 1", "expected a number, got \"x7\"", "numbers only"]);
}

#[test]
fn lines_that_nobody_asked_for_are_refused() {
    let program = start("read -r a b; printf '1 2\\n3 4\\n'; cat");
    // The second line comes with the first one, or is there when the next row is sent.
    let first = ask(&program, 1);
    std::thread::sleep(Duration::from_millis(500));
    let error = first.and_then(|_| ask(&program, 1)).unwrap_err();
    names(&error, &["got \"3 4\" beyond", "standard error"]);
}

#[test]
fn rows_that_are_no_numbers_are_refused_or_left_out_as_the_setting_says() {
    let command = "i=0; while read -r a b; do i=$((i + 1)); \
                   if [ $((i % 3)) = 0 ]; then echo nan 1; else echo $i 1; fi; done";
    let draw = |invalid| {
        let report = &mut |_: &_| Ok(ControlFlow::Continue(()));
        Simulations::of_prior(&start(command), 300, invalid, report, &mut stream(0, "draws"))
    };
    let error = draw(Invalid::Refuse).unwrap_err();
    assert!(matches!(error, Error::NonFinite { row: 2, .. }), "{error}");
    let kept = draw(Invalid::LeaveOut).unwrap();
    assert_eq!((kept.left_out, kept.rows(2), kept.data.len()), (100, 200, 400));
    assert_eq!(kept.data[..6], [1.0, 1.0, 2.0, 1.0, 4.0, 1.0]);
    // Parameters stay with their data: row 3 of those kept is row 4 of all.
    let all = prior().sample(300, &mut stream(0, "draws"));
    assert_eq!(kept.parameters[4..6], all[6..8]);
}

#[test]
fn settings_out_of_range_are_refused() {
    let settings = ProgramSettings { limit_seconds: 0.0, ..ProgramSettings::new("cat", 2) };
    let error = ProgramSimulator::start(prior(), settings).unwrap_err();
    names(&error, &["seconds for an answer", "positive", "got 0"]);
    let error = ProgramSimulator::start(prior(), ProgramSettings::new("cat", 0)).unwrap_err();
    names(&error, &["numbers of an answer", "at least 1"]);
}
