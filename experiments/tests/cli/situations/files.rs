//! Files, state and resources.

use super::{Rows, nll, small};
use crate::{Place, assert_says};

/// Situation 46, 47, 48. Other programs' dress of one table gives the same bits.
#[test]
fn one_table_in_other_dress_is_scored_alike() {
    let place = Place::with_run("real-nvp", 3);
    place.write("plain.csv", "length,weight\n3.5,-50.25\n2.5,1234.5\n");
    place.write("decimal.csv", "length;weight\n3,5;-50,25\n2,5;1234,5\n");
    place.write("comma.csv", "\"length\";weight\n3.5;-50.25\n2.5;1234.5\n");
    place.write("minus.csv", "length,weight\n3.5,\u{2212}50.25\n2.5,1234.5\n");
    place.write("fortran.csv", "length,weight\n3.5D0,-5.025D+01\n2.5,0.12345D4\n");
    place.write("comment.csv", "#length,weight\n3.5,-50.25\n2.5,1234.5\n");
    place.succeeds("log-prob run --data plain.csv --out plain.npy");
    for name in ["decimal", "comma", "minus", "fortran", "comment"] {
        place.succeeds(&format!("log-prob run --data {name}.csv --out {name}.npy"));
        assert!(place.bytes("plain.npy") == place.bytes(&format!("{name}.npy")), "{name}");
    }
    for (name, text, words) in [
        ("thousands", "length,weight\n3.5,\"1,234.5\"\n", ["line 2", "thousands"]),
        ("units", "length,weight\nmm,kg\n3.5,1\n", ["line 2", "units or names"]),
        ("footer", "length,weight\n3.5,1\nTotal,1\n", ["line 3", "remove the line"]),
        ("trailing", "length,weight,\n3.5,1,\n", ["line 2", "ends in a comma"]),
    ] {
        place.write(&format!("{name}.csv"), text);
        let message = place.fails(1, &format!("log-prob run --data {name}.csv --out l.npy"));
        assert_says(&message, &[name]);
        assert_says(&message, &words);
    }
}

/// Situation 49. Nothing is dropped or filled in, and nothing is written.
#[test]
fn a_missing_value_is_named_by_line_and_column_and_nothing_is_written() {
    let place = Place::with_run("real-nvp", 3);
    let rows = "1,2\n".repeat(7);
    for value in ["", "NaN"] {
        place.write("t.csv", format!("length,weight\n{rows}1,{value}\n{rows}"));
        for line in
            ["fit --flow real-nvp --data t.csv --out new", "log-prob run --data t.csv --out l.npy"]
        {
            assert_says(
                &place.fails(1, line),
                &["t.csv, line 9", "\"weight\"", "fill in the value"],
            );
        }
    }
    assert!(!place.path("new").exists() && !place.path("l.npy").exists());
}

/// Situation 50, 51. Using a run changes no file of it, a new process has its numbers, and training goes on as if it had
/// not been used.
#[test]
fn using_a_run_changes_nothing_of_it() {
    let place = Place::new();
    let table = Rows(400).write(&place, "t.npy", &["a", "b"], |_, z| [z[0], z[0] * z[1]]);
    let test: Vec<usize> = (0..400).step_by(10).collect();
    flows_bench::table::write(&place.path("test.npy"), &table.select_rows(&test).unwrap()).unwrap();
    for preset in ["glow", "maf", "nsf-coupling", "ffjord"] {
        small(&place, "c.toml", preset, "");
        for run in ["used", "left"] {
            let line =
                format!("fit c.toml --split every-tenth --steps 10 --data t.npy --out {run}");
            place.succeeds(&line);
        }
        let files = || -> Vec<Vec<u8>> {
            let names = place.files("used").into_iter().map(|name| format!("used/{name}"));
            let files = names.filter(|name| place.path(name).is_file());
            files.map(|name| place.bytes(&name)).collect()
        };
        let before = files();
        place.succeeds("sample used --rows 10 --out s.csv");
        place.succeeds("log-prob used --data test.npy --out l.npy");
        assert!(files() == before, "{preset}: a file changed");
        let mean = -place.table("l.npy").values().iter().sum::<f64>() / 40.0;
        // The same rows in single precision; chunks of another size may round otherwise.
        assert!((mean - nll(&place, "used")[0]).abs() < 1e-6 * (1.0 + mean.abs()), "{preset}");
        for run in ["used", "left"] {
            place.succeeds(&format!("fit --resume --steps 20 --data t.npy --out {run}"));
        }
        let model = |run| place.bytes(&format!("{run}/model.safetensors"));
        assert!(model("used") == model("left"), "{preset}");
        for run in ["used", "left"] {
            std::fs::remove_dir_all(place.path(run)).unwrap();
        }
    }
}

/// Situation 52. Memory does not grow with the steps. A kept minibatch of 512 rows of 60 columns in single precision would
/// take 123 kB, and 600 of them 74 MB.
#[test]
#[cfg(target_os = "linux")]
fn memory_does_not_grow_with_the_steps() {
    let place = Place::new();
    let draws = flows_core::normals(700 * 60, &mut flows_core::stream(12, "memory"));
    let table = flows_bench::table::Table::new(Vec::new(), 60, draws).unwrap();
    flows_bench::table::write(&place.path("t.npy"), &table).unwrap();
    place.write(
        "c.toml",
        "preset = \"maf\"\n[flow]\nlayers = 2\nbatch_norm = true\n\
         conditioner = { kind = \"perceptron\", hidden = [64] }\n[train]\nbatch_rows = 512\npatience = 10000\n",
    );
    // Megabytes at the most, as the system counts them until the process ends.
    let peak = |steps: u32| -> f64 {
        let line = format!("fit c.toml --steps {steps} --data t.npy --out run{steps}");
        let mut command = place.command(&line);
        command.env("RAYON_NUM_THREADS", "1").stdout(std::process::Stdio::null());
        let mut child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
        let status = format!("/proc/{}/status", child.id());
        let mut kilobytes = 0.0_f64;
        while child.try_wait().unwrap().is_none() {
            let text = std::fs::read_to_string(&status).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
            kilobytes = number.unwrap_or(kilobytes);
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert!(child.wait().unwrap().success());
        kilobytes / 1_000.0
    };
    let (few, many) = (peak(20), peak(620));
    assert!(many < few + 0.5 * 74.0, "{few} MB, {many} MB");
}

/// Situation 53. Axes without width: one run, one test row, one step, equal numbers.
#[test]
fn figures_of_single_equal_and_negative_numbers_are_drawn() {
    let place = Place::new();
    Rows(9).write(&place, "few.csv", &["a", "b"], |_, z| [z[0], z[1]]);
    Rows(60).write(&place, "tiny.csv", &["a"], |_, z| [1e-6 * z[0]]);
    place.succeeds("compare --data few.csv,tiny.csv --flows planar --steps 1 --out out");
    place.succeeds("report out");
    let mut figures = place.files("out/figures");
    figures.retain(|name| name.ends_with(".svg"));
    let drawn = |name: &String| {
        let text = place.text(&format!("out/figures/{name}"));
        text.contains("<svg") && !text.contains("NaN")
    };
    assert!(figures.len() > 2 && figures.iter().all(drawn), "{figures:?}");
}

/// Situation 54. What the effective sample size and log Z of a poor fit are worth is printed beside them.
#[test]
fn an_effective_sample_size_that_cannot_be_trusted_says_so() {
    let place = Place::new();
    let line = "fit --flow planar --objective reverse-kl --target many-well --steps 20 --out run";
    let shown = place.succeeds(line);
    assert_says(&shown, &["effective sample size", "cannot be trusted"]);
}

/// Situation 55, 56. A base with parameters learns them, that of the flow without has none, and fewer draws are the first
/// of more for every base.
#[test]
fn bases_learn_their_parameters_and_draw_prefixes() {
    let place = Place::new();
    Rows(500).write(&place, "t.npy", &["a", "b"], |_, z| [z[0], z[0] + 0.3 * z[1]]);
    let weights = |run: &str| -> Vec<(String, Vec<u8>)> {
        let bytes = place.bytes(&format!("{run}/model.safetensors"));
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
        let tensor = |(name, entry): (&String, &serde_json::Value)| {
            let end = |i: usize| 8 + length + entry["data_offsets"][i].as_u64().unwrap() as usize;
            (name.clone(), bytes[end(0)..end(1)].to_vec())
        };
        let header = header.as_object().unwrap().iter();
        header.filter(|(name, _)| name.starts_with("flow.base")).map(tensor).collect()
    };
    for (name, base) in [
        ("standard_normal", "{ kind = \"standard_normal\" }"),
        ("diagonal_normal", "{ kind = \"diagonal_normal\" }"),
        ("full_normal", "{ kind = \"full_normal\" }"),
        ("mixture", "{ kind = \"mixture\", components = 3 }"),
        ("student_t", "{ kind = \"student_t\", nu = 4.0 }"),
    ] {
        small(&place, "c.toml", "nice", &format!("base = {base}\n"));
        for steps in [1, 60] {
            place.succeeds(&format!("fit c.toml --steps {steps} --data t.npy --out {name}{steps}"));
        }
        let (start, end) = (weights(&format!("{name}1")), weights(&format!("{name}60")));
        assert_eq!(start.is_empty(), name == "standard_normal", "{name}");
        assert!(start.iter().zip(&end).all(|(a, b)| a.0 == b.0 && a.1 != b.1), "{name}");
        for rows in [10, 300] {
            place.succeeds(&format!("sample {name}60 --rows {rows} --seed 1 --out {rows}.npy"));
        }
        assert!(
            place.table("300.npy").values().starts_with(place.table("10.npy").values()),
            "{name}"
        );
    }
}

/// Situation 57. The number of a bad row is that of the file, in whatever batches a flow takes it.
#[test]
fn a_bad_row_has_its_number_in_the_file() {
    let place = Place::new();
    Rows(300).write(&place, "t.npy", &["a", "b"], |_, z| [z[0], z[1]]);
    Rows(6_000).write(&place, "far.npy", &["a", "b"], |i, z| {
        [z[0], if i == 5_000 { 1e300 } else { z[1] }]
    });
    for preset in ["real-nvp", "planar", "naf", "residual-flow", "ffjord"] {
        place.succeeds(&format!("fit --flow {preset} --steps 2 --data t.npy --out {preset}"));
        for line in [
            format!("log-prob {preset} --data far.npy --out out.npz"),
            format!("transform {preset} --direction inverse --data far.npy --out out.npz"),
        ] {
            let output = place.command(&line).output().unwrap();
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_says(&stderr, &["far.npy", "row 5000"]);
        }
    }
}
