//! The transformation of a run: an architecture, with an encoder of its context where one is asked for.

use std::ops::Deref;
use std::sync::Arc;

use flows_core::activation::Activation;
use flows_core::{
    Architecture, Bijector, Encoded, Error, LastLayer, MlpKernel, Network, Real, Result, Stream,
    architecture,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use toml::{Table, Value};

/// An architecture by its `kind` and, in `[flow.encoder]`, a network that reads the context once for
/// all of its layers.
#[derive(Clone, Debug)]
pub struct FlowConfig {
    architecture: Arc<dyn Architecture>,
    encoder: Option<EncoderConfig>,
}

/// A network between the context and the flow, trained with it.
///
/// | field | default | meaning | range |
/// |---|---|---|---|
/// | `features` | 16 | what the flow is conditioned on | >= 1 |
/// | `hidden` | 64 | widths of the hidden layers | >= 1 |
/// | `activation` | relu | | |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EncoderConfig {
    /// Outputs.
    pub features: usize,
    /// Widths of the hidden layers.
    pub hidden: Vec<usize>,
    /// Activation.
    pub activation: Activation,
}

impl Default for EncoderConfig {
    fn default() -> Self {
        Self { features: 16, hidden: vec![64], activation: Activation::Relu }
    }
}

impl From<Arc<dyn Architecture>> for FlowConfig {
    fn from(architecture: Arc<dyn Architecture>) -> Self {
        Self { architecture, encoder: None }
    }
}

impl Deref for FlowConfig {
    type Target = dyn Architecture;

    fn deref(&self) -> &Self::Target {
        &*self.architecture
    }
}

impl FlowConfig {
    /// Another architecture behind the same encoder.
    #[must_use]
    pub fn with(&self, architecture: Arc<dyn Architecture>) -> Self {
        Self { architecture, encoder: self.encoder.clone() }
    }

    /// The bijector for `dim` features and `context_dim` conditioning features.
    ///
    /// # Errors
    /// Those of the architecture; [`Error::Unavailable`] for an encoder without a context.
    pub fn transformation<E: Real>(
        &self,
        dim: usize,
        context_dim: usize,
        rng: &mut Stream,
    ) -> Result<Box<dyn Bijector<E>>> {
        let Some(EncoderConfig { features, hidden, activation }) = &self.encoder else {
            return Ok(Box::new(architecture::build(&*self.architecture, dim, context_dim, rng)?));
        };
        if context_dim == 0 {
            let (what, advice) = ("an encoder without a context", "add a context, or drop it");
            return Err(Error::Unavailable { what, advice });
        }
        let kernel = MlpKernel::new(context_dim, hidden, *features, *activation)?;
        let encoder = Network::new(kernel, LastLayer::Random, rng)?;
        let flow = Box::new(architecture::build(&*self.architecture, dim, *features, rng)?);
        Ok(Box::new(Encoded::new(encoder, flow)?))
    }
}

impl Serialize for FlowConfig {
    fn serialize<S: Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        let custom = serde::ser::Error::custom;
        let mut table = Table::try_from(&self.architecture).map_err(custom)?;
        if let Some(encoder) = &self.encoder {
            let encoder = Value::try_from(encoder).map_err(serde::ser::Error::custom)?;
            table.insert("encoder".into(), encoder);
        }
        table.serialize(to)
    }
}

impl<'de> Deserialize<'de> for FlowConfig {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        let custom = |error: toml::de::Error| serde::de::Error::custom(error.message());
        let mut table = Table::deserialize(from)?;
        let encoder = table.remove("encoder").map(EncoderConfig::deserialize);
        let encoder = encoder.transpose().map_err(custom)?;
        let architecture = Arc::<dyn Architecture>::deserialize(table).map_err(custom)?;
        Ok(Self { architecture, encoder })
    }
}
