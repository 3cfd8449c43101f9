//! Multi-scale flows on small images: squeezes, couplings by checkerboards and channels, 1 x 1
//! convolutions, and features that leave early.

use std::sync::Arc;

use flows_core::activation::Activation;
use flows_core::architecture::scaled_width;
use flows_core::{
    Architecture, Bijector, Chain, ConvKernel, Error, ImageSplit, Layer, Part, Pixelwise, Real,
    Result, Shape, Stream,
};
use serde::{Deserialize, Serialize};

use super::mixing::Mixing;
use crate::transformer::{AffineConfig, RationalQuadraticConfig, SplineConfig, TransformerConfig};
use crate::{ActNorm, Coupling, LuLinear, Mask, Permutation, Scale, Transformer};

/// A multi-scale flow on images.
///
/// From data to base, each of `levels` levels transforms (C, H, W) by `checkerboards` couplings with a
/// checkerboard, squeezes it to (4C, H/2, W/2), applies `depth` couplings of the second half of the
/// channels with the first, or of the first with the second in every other one where nothing mixes
/// channels, and leaves the second half of its channels to the base, but for the last level. On the
/// data side of each coupling stand the 1 x 1 convolution of `mixing` and act-norm with one scale a
/// channel.
///
/// | field | default | meaning | range |
/// |---|---|---|---|
/// | `shape` | 1 x 8 x 8 | channels, height and width; features are channel-major | |
/// | `levels` | 2 | levels L; height and width are multiples of 2^L | >= 1 |
/// | `checkerboards` | 0 | couplings with a checkerboard, before the squeeze | |
/// | `depth` | 4 | couplings of channels, after the squeeze | >= 1 |
/// | `factor_out` | true | whether a level leaves half of its channels to the base | |
/// | `transformer` | affine, bounded 2 | see [`TransformerConfig`] | |
/// | `hidden` | 32 | channels of the conditioners' hidden layers | >= 1 |
/// | `activation` | relu | activation of the conditioners | |
/// | `mixing` | lu | the 1 x 1 convolution before each coupling of channels, see [`Mixing`] | |
/// | `act_norm` | true | act-norm before each coupling | |
///
/// A learned 1 x 1 convolution starts as a random permutation of the channels where it is `lu`. The
/// conditioner is that of Glow, see [`ConvKernel`]; unlike Glow's it has no act-norm of its own and
/// its last layer one bias an output, not a channel. The features that a level leaves are not
/// conditioned on the others: they are those of the base, as in Real NVP.
///
/// # Reference
/// Dinh, Sohl-Dickstein, Bengio, *Density estimation using Real NVP*, ICLR 2017, section 3.6, figures 3
/// and 4. <https://arxiv.org/abs/1605.08803>
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MultiScaleFlow {
    /// Size of an image.
    pub shape: Shape,
    /// Number of levels.
    pub levels: usize,
    /// Couplings with a checkerboard of each level.
    pub checkerboards: usize,
    /// Couplings of channels of each level.
    pub depth: usize,
    /// Whether a level leaves half of its channels to the base.
    pub factor_out: bool,
    /// The scalar map.
    pub transformer: Arc<dyn TransformerConfig>,
    /// Channels of the hidden layers of each conditioner.
    pub hidden: usize,
    /// Activation of the conditioners.
    pub activation: Activation,
    /// What mixes the channels before each of their couplings.
    pub mixing: Mixing,
    /// Whether act-norm stands on the data side of each coupling.
    pub act_norm: bool,
}

impl Default for MultiScaleFlow {
    fn default() -> Self {
        let affine =
            AffineConfig { scale: Scale::Bounded { bound: 2.0 }, ..AffineConfig::default() };
        Self {
            shape: Shape { channels: 1, height: 8, width: 8 },
            levels: 2,
            checkerboards: 0,
            depth: 4,
            factor_out: true,
            transformer: affine.shared(),
            hidden: 32,
            activation: Activation::Relu,
            mixing: Mixing::Lu,
            act_norm: true,
        }
    }
}

impl MultiScaleFlow {
    /// Glow for small images: the original for CIFAR-10 has 3 levels of 32 steps and 512 hidden
    /// channels, and the scale sigmoid(a + 2).
    ///
    /// # Reference
    /// Kingma, Dhariwal, *Glow: Generative flow with invertible 1x1 convolutions*, NeurIPS 2018.
    /// <https://arxiv.org/abs/1807.03039>
    #[must_use]
    pub fn glow() -> Self {
        Self::default()
    }

    /// Real NVP for small images: three couplings with a checkerboard and three of channels a level;
    /// its conditioners are residual networks with batch normalisation in the original.
    ///
    /// # Reference
    /// Dinh, Sohl-Dickstein, Bengio, *Density estimation using Real NVP*, ICLR 2017.
    /// <https://arxiv.org/abs/1605.08803>
    #[must_use]
    pub fn real_nvp() -> Self {
        Self { checkerboards: 3, depth: 3, mixing: Mixing::None, ..Self::default() }
    }

    /// RQ-NSF (C) for small images: Glow with rational-quadratic splines of 8 bins on [-4, 4]; the
    /// original has residual conditioners of 96 channels and bins on [-3, 3].
    ///
    /// # Reference
    /// Durkan, Bekasov, Murray, Papamakarios, *Neural Spline Flows*, NeurIPS 2019, section 5.3.
    /// <https://arxiv.org/abs/1906.04032>
    #[must_use]
    pub fn nsf() -> Self {
        let spline = SplineConfig { bins: 8, ..SplineConfig::default() };
        Self { transformer: RationalQuadraticConfig(spline).shared(), ..Self::default() }
    }
}

#[typetag::serde(name = "multi_scale")]
impl Architecture for MultiScaleFlow {
    flows_core::build_in_both_precisions!();

    fn weights(&self, dim: usize) -> Result<f64> {
        self.check_dim(dim)?;
        let (hidden, arity) = (self.hidden as f64, self.transformer.arity()? as f64);
        let network = |channels: f64| hidden * (hidden + 9.0 * channels * (1.0 + arity));
        let mut channels = self.shape.channels as f64;
        let mut weights = 0.0;
        // A config may ask for more levels than an image has.
        for _ in 0..self.levels.min(64) {
            weights += self.checkerboards as f64 * network(channels);
            channels *= 4.0;
            let mixing = self.mixing.weights(channels as usize);
            weights += self.depth as f64 * (network(channels / 2.0) + mixing);
            if self.factor_out {
                channels /= 2.0;
            }
        }
        Ok(weights)
    }

    fn scaled(&self, factor: f64) -> Arc<dyn Architecture> {
        Arc::new(Self { hidden: scaled_width(self.hidden, factor), ..self.clone() })
    }
}

impl MultiScaleFlow {
    fn compose<E: Real>(
        &self,
        dim: usize,
        context_dim: usize,
        rng: &mut Stream,
    ) -> Result<Chain<E>> {
        self.check_dim(dim)?;
        self.check()?;
        let transformer = self.transformer.build()?;
        let mut levels: Vec<Box<dyn Bijector<E>>> = Vec::with_capacity(self.levels);
        let mut left = self.shape;
        for _ in 0..self.levels {
            let level = Box::new(self.level(left, (context_dim, &transformer), rng)?);
            // The channels that are left are the first ones, and so are their features.
            levels.push(Box::new(Part::new(level, dim, (0..left.dim()).collect())?));
            left = left.squeezed()?;
            if self.factor_out {
                left.channels /= 2;
            }
        }
        levels.reverse();
        Chain::new(dim, levels)
    }

    fn check_dim(&self, dim: usize) -> Result<()> {
        let expected = self.shape.dim();
        if expected != dim {
            return Err(Error::Dimension {
                op: "multi-scale flow (flow.shape)",
                expected,
                got: dim,
            });
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        let sizes = [
            ("levels", self.levels),
            ("depth", self.depth),
            ("hidden channels", self.hidden),
            ("channels of an image", self.shape.channels),
        ];
        if let Some((name, _)) = sizes.into_iter().find(|(_, size)| *size == 0) {
            return Err(Error::Parameter { name, requirement: "at least 1", value: 0.0 });
        }
        Ok(())
    }

    /// A level without its split; in base-to-data order the image is put together last.
    fn level<E: Real>(
        &self,
        shape: Shape,
        (context_dim, transformer): (usize, &Arc<dyn Transformer<E>>),
        rng: &mut Stream,
    ) -> Result<Chain<E>> {
        let squeezed = shape.squeezed()?;
        let mut parts: Vec<Box<dyn Bijector<E>>> = Vec::new();
        for step in 0..self.depth {
            // Where channels are mixed, each step transforms others anyway.
            let mask = Mask::channels(squeezed, self.mixing == Mixing::None && step % 2 == 1)?;
            let coupling = self.coupling(squeezed, &mask, (context_dim, transformer), rng)?;
            parts.push(Box::new(coupling));
            parts.extend(self.convolution(squeezed, rng)?);
            parts.extend(self.normalisation(squeezed, rng)?);
        }
        parts.push(Box::new(Layer::new(Permutation::squeeze(shape)?, rng)?));
        for step in 0..self.checkerboards {
            let mask = Mask::checkerboard(shape, step % 2 == 1)?;
            let coupling = self.coupling(shape, &mask, (context_dim, transformer), rng)?;
            parts.push(Box::new(coupling));
            parts.extend(self.normalisation(shape, rng)?);
        }
        Chain::new(shape.dim(), parts)
    }

    /// The 1 x 1 convolution, if there is one.
    fn convolution<E: Real>(
        &self,
        shape: Shape,
        rng: &mut Stream,
    ) -> Result<Option<Box<dyn Bijector<E>>>> {
        let matrix: Option<Box<dyn Bijector<E>>> = match self.mixing {
            Mixing::Lu => {
                Some(Box::new(Layer::new(LuLinear::shuffled(shape.channels, rng)?, rng)?))
            }
            other => other.build(shape.channels, rng)?,
        };
        matrix.map(|matrix| pixelwise(matrix, shape)).transpose()
    }

    /// Act-norm with one scale a channel, if it is asked for.
    fn normalisation<E: Real>(
        &self,
        shape: Shape,
        rng: &mut Stream,
    ) -> Result<Option<Box<dyn Bijector<E>>>> {
        if !self.act_norm {
            return Ok(None);
        }
        let layer = Layer::new(ActNorm::new(shape.channels), rng)?;
        pixelwise(Box::new(layer), shape).map(Some)
    }

    fn coupling<E: Real>(
        &self,
        shape: Shape,
        mask: &Mask,
        (context_dim, transformer): (usize, &Arc<dyn Transformer<E>>),
        rng: &mut Stream,
    ) -> Result<Layer<E>> {
        let (kept, transformed) = (mask.kept(), mask.transformed());
        let Shape { height, width, .. } = shape;
        let split = ImageSplit { height, width, kept: &kept, transformed: &transformed };
        let kernel =
            |inputs, outputs| ConvKernel::new(inputs, split, self.hidden, outputs, self.activation);
        Layer::new(Coupling::new(mask, context_dim, Arc::clone(transformer), kernel)?, rng)
    }
}

fn pixelwise<E: Real>(matrix: Box<dyn Bijector<E>>, shape: Shape) -> Result<Box<dyn Bijector<E>>> {
    Ok(Box::new(Pixelwise::new(matrix, shape.pixels())?))
}
