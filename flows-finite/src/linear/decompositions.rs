//! Linear layers by QR and singular value decomposition (review, Section 3.2 and Appendix B).

use flows_core::{Bijector, Chain, Layer, Real, Result, Stream};

use super::{Generator, Orthogonal, Triangle, Triangular};
use crate::ActNorm;

/// A linear layer by its QR decomposition: x = Q (R z + b), Q orthogonal, R upper triangular with
/// positive diagonal exp(s).
///
/// ```text
/// log |det| = sum of s_i
/// ```
/// Every invertible matrix has such a factorisation (Q of either determinant). The usual generator
/// of Q is [`Generator::Householder`]. It starts at the identity, except with an odd number of
/// reflections. A row costs O(D^2) in either direction.
///
/// # Errors
/// [`Error::Parameter`](flows_core::Error::Parameter) without features or without reflections.
///
/// # Reference
/// Hoogeboom, van den Berg, Welling, *Emerging Convolutions for Generative Normalizing Flows*, ICML
/// 2019, section 3.3. <https://arxiv.org/abs/1901.11137>
pub fn qr<E: Real>(dim: usize, generator: Generator, rng: &mut Stream) -> Result<Chain<E>> {
    let parts: Vec<Box<dyn Bijector<E>>> = vec![
        Box::new(Layer::new(Triangular::new(dim, Triangle::Upper)?, rng)?),
        Box::new(Layer::new(Orthogonal::new(dim, generator)?, rng)?),
    ];
    Chain::new(dim, parts)
}

/// A linear layer by its singular value decomposition: x = U (exp(s) V^T z + b), U and V
/// orthogonal, the singular values exp(s) in any order.
///
/// ```text
/// log |det| = sum of s_i
/// ```
/// The diagonal part is an [`ActNorm`], initialised from the first batch. A row costs O(D^2) in
/// either direction.
///
/// # Errors
/// [`Error::Parameter`](flows_core::Error::Parameter) without features or without reflections.
///
/// # Reference
/// Zhang, Lei, Dhillon, *Stabilizing Gradients for Deep Neural Networks via Efficient SVD
/// Parameterization*, ICML 2018. <https://arxiv.org/abs/1803.09327>
pub fn svd<E: Real>(dim: usize, generator: Generator, rng: &mut Stream) -> Result<Chain<E>> {
    let orthogonal = Orthogonal::new(dim, generator)?;
    let parts: Vec<Box<dyn Bijector<E>>> = vec![
        Box::new(Layer::new(orthogonal, rng)?),
        Box::new(Layer::new(ActNorm::new(dim), rng)?),
        Box::new(Layer::new(orthogonal, rng)?),
    ];
    Chain::new(dim, parts)
}
