//! Glow for small images: a multi-scale chain of channel-wise layers and channel couplings.

use std::sync::Arc;

use flows_core::activation::Activation;
use flows_core::architecture::scaled_width;
use flows_core::{
    Architecture, Bijector, Chain, ConvKernel, Error, ImageSplit, Layer, Part, Pixelwise, Real,
    Result, Shape, Stream,
};
use serde::{Deserialize, Serialize};

use crate::{ActNorm, Affine, Coupling, LuLinear, Mask, Permutation, Scale};

/// Glow.
///
/// From data to base, each of `levels` levels squeezes (C, H, W) to (4C, H/2, W/2), applies `depth`
/// steps of act-norm, 1 x 1 convolution and affine coupling of the second half of the channels with
/// the first, and, but for the last one, leaves the second half of its channels to the base.
///
/// | field | default | original | meaning | range |
/// |---|---|---|---|---|
/// | `shape` | 1 x 8 x 8 | 3 x 32 x 32 | channels, height and width; features are channel-major | |
/// | `levels` | 2 | 3 | levels L; height and width are multiples of 2^L | >= 1 |
/// | `depth` | 4 | 32 | steps K of a level | >= 1 |
/// | `hidden` | 32 | 512 | channels of the conditioners' hidden layers | >= 1 |
/// | `activation` | relu | relu | activation of the conditioners | |
/// | `scale` | bounded 2 | sigmoid(a + 2) | map of the raw log-scale | exp, bounded |
///
/// The defaults are for images of 8 x 8 pixels, the originals for CIFAR-10 (32 x 32). Beside the
/// scale, it differs from the original in that a 1 x 1 convolution starts as a random permutation of
/// the channels, not as a random rotation; that conditioners have no act-norm of their own and their
/// last layer one bias an output, not a channel; and that the features a level leaves are not
/// conditioned on the others: they are those of the base, as in Real NVP.
///
/// # Reference
/// Kingma, Dhariwal, *Glow: Generative flow with invertible 1x1 convolutions*, NeurIPS 2018.
/// <https://arxiv.org/abs/1807.03039>
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GlowImage {
    /// Size of an image.
    pub shape: Shape,
    /// Number of levels.
    pub levels: usize,
    /// Steps of each level.
    pub depth: usize,
    /// Channels of the hidden layers of each conditioner.
    pub hidden: usize,
    /// Activation of the conditioners.
    pub activation: Activation,
    /// Map of the raw log-scale.
    pub scale: Scale,
}

impl Default for GlowImage {
    fn default() -> Self {
        Self {
            shape: Shape { channels: 1, height: 8, width: 8 },
            levels: 2,
            depth: 4,
            hidden: 32,
            activation: Activation::Relu,
            scale: Scale::Bounded { bound: 2.0 },
        }
    }
}

#[typetag::serde(name = "glow_image")]
impl Architecture for GlowImage {
    flows_core::build_in_both_precisions!();

    fn weights(&self, dim: usize) -> Result<f64> {
        self.check_dim(dim)?;
        let hidden = self.hidden as f64;
        // Of the first level; each later one has twice the channels of the one before.
        let channels = 4.0 * self.shape.channels as f64;
        let deepest = channels * 2.0_f64.powi(self.levels.min(64) as i32);
        let steps = (self.levels * self.depth.min(1 << 40)) as f64;
        Ok(steps * (hidden * (hidden + 14.0 * deepest) + 2.0 * deepest * deepest))
    }

    fn scaled(&self, factor: f64) -> Arc<dyn Architecture> {
        Arc::new(Self { hidden: scaled_width(self.hidden, factor), ..self.clone() })
    }
}

impl GlowImage {
    fn compose<E: Real>(
        &self,
        dim: usize,
        context_dim: usize,
        rng: &mut Stream,
    ) -> Result<Chain<E>> {
        self.check_dim(dim)?;
        self.check()?;
        let mut levels: Vec<Box<dyn Bijector<E>>> = Vec::with_capacity(self.levels);
        let mut left = self.shape;
        for _ in 0..self.levels {
            let level = Box::new(self.level(left, context_dim, rng)?);
            // The channels that are left are the first ones, and so are their features.
            levels.push(Box::new(Part::new(level, dim, (0..left.dim()).collect())?));
            let Shape { channels, height, width } = left.squeezed()?;
            left = Shape { channels: channels / 2, height, width };
        }
        levels.reverse();
        Chain::new(dim, levels)
    }

    fn check_dim(&self, dim: usize) -> Result<()> {
        let expected = self.shape.dim();
        if expected != dim {
            return Err(Error::Dimension { op: "Glow (flow.shape)", expected, got: dim });
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
        context_dim: usize,
        rng: &mut Stream,
    ) -> Result<Chain<E>> {
        let squeezed = shape.squeezed()?;
        let (channels, pixels) = (squeezed.channels, squeezed.pixels());
        let mut parts: Vec<Box<dyn Bijector<E>>> = Vec::with_capacity(3 * self.depth + 1);
        for _ in 0..self.depth {
            parts.push(Box::new(self.coupling(squeezed, context_dim, rng)?));
            let convolution = Layer::new(LuLinear::shuffled(channels, rng)?, rng)?;
            parts.push(Box::new(Pixelwise::new(Box::new(convolution), pixels)?));
            let act_norm = Layer::new(ActNorm::new(channels), rng)?;
            parts.push(Box::new(Pixelwise::new(Box::new(act_norm), pixels)?));
        }
        parts.push(Box::new(Layer::new(Permutation::squeeze(shape)?, rng)?));
        Chain::new(shape.dim(), parts)
    }

    fn coupling<E: Real>(
        &self,
        shape: Shape,
        context_dim: usize,
        rng: &mut Stream,
    ) -> Result<Layer<E>> {
        let mask = Mask::channels(shape, false)?;
        let (kept, transformed) = (mask.kept(), mask.transformed());
        let Shape { height, width, .. } = shape;
        let split = ImageSplit { height, width, kept: &kept, transformed: &transformed };
        let kernel =
            |inputs, outputs| ConvKernel::new(inputs, split, self.hidden, outputs, self.activation);
        let affine = Arc::new(Affine::new(self.scale)?);
        Layer::new(Coupling::new(&mask, context_dim, affine, kernel)?, rng)
    }
}
