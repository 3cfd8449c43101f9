//! Runs that are missing or damaged.

use crate::{Place, assert_says};

/// Commands that use the run `run`.
const USES: [&str; 3] = [
    "log-prob run --data g.csv --out out.csv",
    "sample run --rows 3 --out out.csv",
    "transform run --direction inverse --data g.csv --out out.npz",
];

/// A file of a run, what is put in its place, and the exit code and words that follow.
type Damage = (&'static str, Option<Vec<u8>>, i32, &'static [&'static str]);

#[test]
fn a_folder_without_a_run_is_named() {
    let place = Place::new();
    place.gaussian("g.csv", 100);
    for line in USES {
        let message = place.fails(1, line);
        assert_says(&message, &["run/config.toml", "is this the folder of a run?"]);
    }
    assert_says(&place.fails(1, "sample g.csv --rows 3 --out out.csv"), &["g.csv/config.toml"]);
}

#[test]
fn a_file_of_the_run_that_is_missing_or_damaged_is_named() {
    let place = Place::with_run("real-nvp", 3);
    let double = Place::new();
    double.write("g.csv", place.bytes("g.csv"));
    double.succeeds("fit --flow real-nvp --steps 3 --precision f64 --data g.csv --out run");
    let model = place.bytes("run/model.safetensors");
    let data = place.text("run/data.json");
    let config = place.text("run/config.toml");
    let cases: Vec<Damage> = vec![
        ("config.toml", Some(b"seed = ".to_vec()), 2, &["run/config.toml"]),
        ("config.toml", Some(b"seed = 1\n".to_vec()), 2, &["run/config.toml", "missing field"]),
        ("config.toml", Some(b"\xff\xfe".to_vec()), 1, &["run/config.toml", "UTF-8"]),
        (
            "config.toml",
            Some(config.replace("layers = 10", "layers = 9").into_bytes()),
            1,
            &["model.safetensors", "another config"],
        ),
        ("data.json", None, 1, &["run/data.json", "cannot be read"]),
        ("data.json", Some(Vec::new()), 1, &["run/data.json", "damaged"]),
        ("data.json", Some(data[..data.len() / 2].into()), 1, &["run/data.json", "damaged"]),
        (
            "data.json",
            Some(data.replace("\"weight\"", "\"w\", \"x\"").into()),
            1,
            &["run/data.json"],
        ),
        (
            "data.json",
            Some(data.replace("\"weight\"", "").replace("\"length\",", "").into()),
            1,
            &["run/data.json"],
        ),
        ("model.safetensors", None, 1, &["run/model.safetensors", "--resume"]),
        ("model.safetensors", Some(Vec::new()), 1, &["run/model.safetensors", "safetensors file"]),
        (
            "model.safetensors",
            Some(model[..model.len() - 1].into()),
            1,
            &["run/model.safetensors", "damaged"],
        ),
        ("model.safetensors", Some(b"not a model at all".to_vec()), 1, &["run/model.safetensors"]),
        (
            "model.safetensors",
            Some(double.bytes("run/model.safetensors")),
            1,
            &["run/model.safetensors", "expected f32 tensors, got F64"],
        ),
    ];
    for (file, bytes, code, words) in cases {
        let name = format!("run/{file}");
        let before = place.bytes(&name);
        match bytes {
            Some(bytes) => place.write(&name, bytes),
            None => std::fs::remove_file(place.path(&name)).unwrap(),
        }
        for line in USES {
            assert_says(&place.fails(code, line), words);
        }
        place.write(&name, before);
    }
    USES.iter().for_each(|line| drop(place.succeeds(line)));
}

#[test]
fn the_model_of_another_architecture_or_dimension_is_refused() {
    let place = Place::with_run("real-nvp", 3);
    place.succeeds("fit --flow ffjord --steps 1 --data g.csv --out other");
    std::fs::copy(place.path("other/model.safetensors"), place.path("run/model.safetensors"))
        .unwrap();
    for line in USES {
        assert_says(&place.fails(1, line), &["run", "no tensor of this name"]);
    }
}
