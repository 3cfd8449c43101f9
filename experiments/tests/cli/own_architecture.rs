//! An architecture of a user's own, which nothing in the program names.

use std::sync::Arc;

use experiments::config::RunConfig;
use experiments::stated::Stated;
use flows_core::architecture::scaled_width;
use flows_core::{
    ActNorm, Architecture, Chain, Layer, Parameters, Real, Result, Stream, Values, stream,
};
use serde::{Deserialize, Serialize};

/// Its name in files.
pub(crate) const KIND: &str = "scales";

/// Act-norm, some times over.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scales {
    layers: usize,
}

impl Scales {
    fn compose<E: Real>(&self, dim: usize, _: usize, rng: &mut Stream) -> Result<Chain<E>> {
        let layer = |_| Ok(Box::new(Layer::new(ActNorm::new(dim), rng)?) as _);
        Chain::new(dim, (0..self.layers).map(layer).collect::<Result<_>>()?)
    }
}

#[typetag::serde(name = "scales")]
impl Architecture for Scales {
    flows_core::build_in_both_precisions!();

    fn weights(&self, dim: usize) -> Result<f64> {
        Ok((2 * self.layers * dim) as f64)
    }

    fn scaled(&self, factor: f64) -> Arc<dyn Architecture> {
        Arc::new(Self { layers: scaled_width(self.layers, factor) })
    }
}

fn read(text: &str) -> anyhow::Result<RunConfig> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), text)?;
    Stated { file: Some(file.path()), ..Stated::default() }.read().map(|read| read.config)
}

#[test]
fn a_config_names_it_and_the_program_builds_scales_and_writes_it() {
    let config = read("[flow]\nkind = \"scales\"\nlayers = 3\n").unwrap();
    let flow = config.build::<f32>(2, 0).unwrap();
    assert_eq!(flow.count(), 3 * 2 * 2);
    let mut tensors = 0;
    flow.visit(&mut |_, _, tensor| tensors += tensor.values().len());
    // And a mark in each layer that its statistics are set.
    assert_eq!(tensors, 3 * (2 * 2 + 1));
    let twice = config.flow.scaled(2.0).build_f64(2, 0, &mut stream(0, "init")).unwrap();
    assert_eq!(twice.count(), 2 * flow.count());
    let written = toml::to_string(&config).unwrap();
    assert_eq!(read(&written).unwrap(), config, "{written}");
    let other = read("[flow]\nkind = \"scales\"\nlayers = 4\n").unwrap();
    assert_ne!(other, config);
}

#[test]
fn a_kind_that_is_not_there_is_refused_with_those_that_are() {
    let error = read("[flow]\nkind = \"scale\"\nlayers = 3\n").unwrap_err();
    assert!(error.is::<experiments::Usage>(), "{error:#}");
    let message = error.to_string();
    for name in ["scale", "coupling", "continuous", "scales"] {
        assert!(message.contains(&format!("`{name}`")), "{message}");
    }
    let error = read("[flow]\nkind = \"scales\"\nlayer = 3\n").unwrap_err();
    assert!(error.to_string().contains("unknown field `layer`"), "{error:#}");
    let wrong = [
        ("[flow]\nkind = 3\n", "expected the `kind` of an architecture"),
        ("flow = \"coupling\"\n", "write flow = { kind = \"coupling\" }"),
    ];
    for (text, says) in wrong {
        let message = read(text).unwrap_err().to_string();
        assert!(message.contains(says) && !message.contains("dyn"), "{message}");
    }
}
