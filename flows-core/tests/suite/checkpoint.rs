//! A model file that is damaged, foreign or of another model is refused with a sentence.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test reports by panicking")]

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use flows_core::activation::Activation;
use flows_core::testing::{assert_error, is_complete};
use flows_core::train::{
    Budget, Checkpoint, SamplerSource, TrainConfig, Trainer, write_atomically,
};
use flows_core::{
    Base, Chain, Error, Flow, LastLayer, Mlp, MlpKernel, Parameters, Real, Result, Values, normals,
    stream,
};
use rand::Rng;
use tempfile::{TempDir, tempdir};

fn network<E: Real>(hidden: &[usize], seed: u64) -> Mlp<E> {
    let kernel = MlpKernel::new(2, hidden, 3, Activation::Tanh).unwrap();
    Mlp::new(kernel, LastLayer::Random, &mut stream(seed, "init")).unwrap()
}

fn all_values<E: Real>(model: &impl Parameters<E>) -> Vec<(String, Vec<E>)> {
    let mut all = Vec::new();
    model.visit(&mut |name, _, tensor| all.push((name.to_owned(), tensor.values())));
    all
}

fn saved<E: Real>(model: &impl Parameters<E>, folder: &TempDir) -> PathBuf {
    let path = folder.path().join("model.safetensors");
    let mut file = Checkpoint::new();
    file.add_model("model", model);
    file.metadata.insert("config".into(), "{\"layers\": 2}".into());
    file.write(&path).unwrap();
    path
}

/// Reads a file into a model of the given layers; a failure must leave the model as it was and name
/// the file or the tensor at fault.
fn restore<E: Real>(path: &Path, hidden: &[usize]) -> Result<Mlp<E>> {
    let mut model = network(hidden, 99);
    let before = all_values(&model);
    let result = Checkpoint::read(path).and_then(|file| file.restore_model("model", &mut model));
    match result {
        Ok(()) => Ok(model),
        Err(error) => {
            assert_eq!(all_values(&model), before, "a failed restore changed the model: {error}");
            is_complete(&error);
            match &error {
                Error::File { path: at, .. } | Error::Checkpoint { path: at, .. } => {
                    assert_eq!(at, path);
                }
                Error::Tensors { .. } => {}
                _ => panic!("neither a file nor a tensor is at fault: {error:?}"),
            }
            Err(error)
        }
    }
}

fn listed(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_model_file_gives_back_every_bit_and_every_string() {
    fn check<E: Real>() {
        let folder = tempdir().unwrap();
        let model = network::<E>(&[4, 5], 1);
        let path = saved(&model, &folder);
        assert_eq!(all_values(&restore::<E>(&path, &[4, 5]).unwrap()), all_values(&model));
        let read = Checkpoint::<E>::read(&path).unwrap();
        assert_eq!(read.metadata["config"], "{\"layers\": 2}");
        assert_eq!(listed(folder.path()), ["model.safetensors"]);
    }
    check::<f32>();
    check::<f64>();
}

#[test]
fn values_that_are_not_numbers_and_subnormal_ones_survive_a_file() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("vectors");
    let odd = vec![f64::NAN, f64::INFINITY, -0.0, 5e-324, f64::MIN_POSITIVE, f64::MAX];
    let mut file = Checkpoint::new();
    file.add_vectors("odd", &[odd.clone(), Vec::new()]);
    file.write(&path).unwrap();
    let mut back = [vec![0.0; odd.len()], Vec::new()];
    Checkpoint::read(&path).unwrap().restore_vectors("odd", &mut back).unwrap();
    let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&back[0]), bits(&odd));
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let folder = tempdir().unwrap();
    let path = saved(&network::<f32>(&[4], 1), &folder);
    let whole = std::fs::read(&path).unwrap();
    for length in 0..whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert_error!(
            restore::<f32>(&path, &[4]),
            Error::Checkpoint { .. },
            ["not a complete safetensors file"],
            "{length} of {} bytes",
            whole.len()
        );
    }
    std::fs::write(&path, [whole.as_slice(), b"more"].concat()).unwrap();
    assert_error!(
        restore::<f32>(&path, &[4]),
        Error::Checkpoint { .. },
        ["not a complete safetensors file"],
        "bytes behind the end"
    );
}

#[test]
fn random_bytes_are_refused_and_flipped_bits_never_panic() {
    let folder = tempdir().unwrap();
    let path = saved(&network::<f32>(&[4], 1), &folder);
    let whole = std::fs::read(&path).unwrap();
    let mut rng = stream(1, "bytes");
    for _ in 0..300 {
        let mut bytes = vec![0; (rng.next_u64() % 600) as usize];
        rng.fill_bytes(&mut bytes);
        std::fs::write(&path, &bytes).unwrap();
        assert_error!(
            restore::<f32>(&path, &[4]),
            Error::Checkpoint { .. },
            ["not a complete safetensors file"]
        );
        // A believable length of the header before the noise.
        if let Some(length) = bytes.get_mut(..8) {
            length.copy_from_slice(&64_u64.to_le_bytes());
            std::fs::write(&path, &bytes).unwrap();
            assert_error!(
                restore::<f32>(&path, &[4]),
                Error::Checkpoint { .. },
                ["not a complete safetensors file"]
            );
        }
    }
    for _ in 0..1000 {
        let mut bytes = whole.clone();
        let at = (rng.next_u64() % whole.len() as u64) as usize;
        bytes[at] ^= 1 << (rng.next_u64() % 8);
        std::fs::write(&path, &bytes).unwrap();
        // A bit of a weight is beyond anyone's notice; a bit of the header is not.
        let _ = restore::<f32>(&path, &[4]);
    }
}

/// The format by hand: length of the header, header, data.
fn by_hand(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

#[test]
fn files_of_other_programs_and_precisions_are_refused() {
    let folder = tempdir().unwrap();
    let path = saved(&network::<f64>(&[4], 1), &folder);
    assert_error!(restore::<f32>(&path, &[4]), Error::Checkpoint { .. }, ["f32", "F64"]);
    let (damaged, empty) = ("not a complete safetensors file", "no tensor of this name");
    let foreign = [
        (by_hand(r#"{"a":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}}"#, &[0; 8]), "I64"),
        (by_hand(r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, &[0; 4]), empty),
        (by_hand(r#"{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,4]}}"#, &[0; 4]), damaged),
        (by_hand(r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#, &[0; 4]), damaged),
        (by_hand(r#"{"__metadata__":{}}"#, &[]), empty),
        (by_hand("{}", &[]), empty),
        (u64::MAX.to_le_bytes().to_vec(), damaged),
        (b"PK\x03\x04 an archive of another kind, long enough to have a header".to_vec(), damaged),
    ];
    for (bytes, word) in foreign {
        std::fs::write(&path, &bytes).unwrap();
        assert_error!(
            restore::<f32>(&path, &[4]),
            Error::Checkpoint { .. } | Error::Tensors { .. },
            [word]
        );
    }
}

#[test]
fn tensors_that_are_missing_or_of_another_shape_are_named() {
    let folder = tempdir().unwrap();
    let path = saved(&network::<f32>(&[4], 1), &folder);
    assert_error!(
        restore::<f32>(&path, &[4, 4]),
        Error::Tensors { .. },
        ["model.weight1", "shape [4, 4]"]
    );
    assert_error!(
        restore::<f32>(&path, &[5]),
        Error::Tensors { .. },
        ["model.weight0", "expected shape [5, 2]", "got shape [4, 2]"]
    );
    let mut model = network::<f32>(&[4], 2);
    let result = Checkpoint::read(&path).unwrap().restore_model("other", &mut model);
    assert_error!(result, Error::Tensors { .. }, ["other.", "no tensor of this name"]);
}

#[test]
fn files_that_cannot_be_reached_are_named() {
    let folder = tempdir().unwrap();
    let model = network::<f32>(&[4], 1);
    let existing = saved(&model, &folder);
    let mut file = Checkpoint::new();
    file.add_model("model", &model);
    for path in [folder.path().join("no/such/folder/model"), existing.join("below a file")] {
        let name = path.display().to_string();
        assert_error!(file.write(&path), Error::File { .. }, [&name]);
        assert_error!(restore::<f32>(&path, &[4]), Error::File { .. }, [&name]);
    }
    assert_error!(
        restore::<f32>(folder.path(), &[4]),
        Error::File { .. },
        [],
        "a folder is not a model"
    );
}

#[test]
fn a_write_that_fails_leaves_what_was_there() {
    let folder = tempdir().unwrap();
    let target = folder.path().join("taken");
    std::fs::create_dir(&target).unwrap();
    std::fs::write(target.join("old"), "old").unwrap();
    assert_error!(
        write_atomically(&target, b"new"),
        Error::File { .. },
        [],
        "a folder was replaced by a file"
    );
    assert_eq!(std::fs::read_to_string(target.join("old")).unwrap(), "old");
    assert_eq!(listed(folder.path()), ["taken"], "a temporary file was left behind");
}

#[cfg(unix)]
#[test]
fn a_folder_that_refuses_new_files_keeps_the_old_one() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempdir().unwrap();
    let path = saved(&network::<f32>(&[4], 1), &folder);
    let old = std::fs::read(&path).unwrap();
    let allow = |mode| {
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    allow(0o555);
    // The superuser may write everywhere; then there is nothing to see.
    let refused = std::fs::write(folder.path().join("probe"), "").is_err();
    let result = write_atomically(&path, b"new");
    allow(0o755);
    if refused {
        assert_error!(result, Error::File { .. }, [&path.display().to_string()]);
        assert_eq!(std::fs::read(&path).unwrap(), old);
    }
}

fn trainer(seed: u64) -> Trainer<f64> {
    let chain = Box::new(Chain::new(2, Vec::new()).unwrap());
    let flow = Flow::new(Base::diagonal_normal(2).unwrap(), chain).unwrap();
    let config = TrainConfig { ema: Some(0.9), ..TrainConfig::default() };
    let mut trainer = Trainer::new(flow, config, Budget::Steps { steps: 10 }, seed).unwrap();
    let source = SamplerSource::new(|rows, rng: &mut _| normals::<f64>(rows * 2, rng), 2, seed);
    let few = |_: &_, p: &flows_core::train::Progress| {
        Ok(if p.step < seed { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    };
    trainer.run(&source, None, few).unwrap();
    trainer
}

#[test]
fn a_checkpoint_without_the_optimiser_leaves_the_trainer_as_it_was() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("run");
    let other = trainer(5);
    other.save(&path).unwrap();
    let whole = Checkpoint::<f64>::read(&path).unwrap();
    let mut part = Checkpoint::<f64>::new();
    part.metadata = whole.metadata;
    part.add_model("flow", other.flow());
    part.write(&path).unwrap();
    let mut trainer = trainer(3);
    let before = (trainer.steps(), all_values(trainer.flow()));
    let error = trainer.resume(&path).unwrap_err();
    assert!(matches!(error, Error::Tensors { .. }), "{error}");
    assert_eq!((trainer.steps(), all_values(trainer.flow())), before, "{error}");
}

#[test]
fn a_model_file_is_not_taken_for_the_checkpoint_of_a_run() {
    let folder = tempdir().unwrap();
    let mut trainer = trainer(3);
    let path = saved(trainer.flow(), &folder);
    let before = (trainer.steps(), all_values(trainer.flow()));
    let sentence = trainer.resume(&path).unwrap_err().to_string();
    assert!(sentence.contains("training"), "{sentence}");
    assert_eq!((trainer.steps(), all_values(trainer.flow())), before);
}
