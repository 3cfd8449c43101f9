//! The radial flow along a ray: r' = r (gamma + r)/(alpha + r).

use flows_core::Real;

/// The map at distance r from the centre.
pub(super) struct RadialMap<E> {
    /// alpha + r
    pub(super) base: E,
    /// gamma + r
    pub(super) image: E,
    /// alpha / (alpha + r) and r / (alpha + r)
    shares: (E, E),
    /// k = r'/r
    pub(super) scale: E,
    /// S = dr'/dr
    pub(super) slope: E,
}

impl<E: Real> RadialMap<E> {
    #[inline(always)]
    pub(super) fn new(r: E, radii: &[E]) -> Self {
        let (alpha, gamma) = (radii[0], radii[1]);
        let (base, image) = (alpha + r, gamma + r);
        let (near, far) = (alpha / base, r / base);
        // 1 + alpha beta / (alpha + r)^2 as a sum of positive terms.
        let slope = near * (gamma / base) + (near + near) * far + far * far;
        Self { base, image, shares: (near, far), scale: image / base, slope }
    }

    /// beta / (alpha + r)
    #[inline(always)]
    pub(super) fn pull(&self) -> E {
        (self.image - self.base) / self.base
    }

    /// (1/S - 1/k) / r = beta / ((alpha + r)^2 S k)
    #[inline(always)]
    pub(super) fn turn(&self) -> E {
        self.pull() / (self.base * self.slope * self.scale)
    }

    /// Backward pass: gradients of r, alpha and gamma from those of k, K, and of the log-det, l:
    /// ```text
    /// dk/dr = -beta/(alpha+r)^2      d log k/dr = -beta/((alpha+r)(gamma+r))
    /// dk/dalpha = -k/(alpha+r)       d log k/dalpha = -1/(alpha+r)
    /// dk/dgamma = 1/(alpha+r)        d log k/dgamma = 1/(gamma+r)
    /// d log S/dr = (2/(alpha+r)) (1/S - 1),   1 - S = -alpha beta/(alpha+r)^2
    /// d log S/dalpha = ((gamma+2r)/((alpha+r) S) - 2)/(alpha+r)
    /// d log S/dgamma = alpha/((alpha+r)^2 S)
    /// ```
    #[inline(always)]
    pub(super) fn gradient(&self, d_scale: E, across: E, l: E) -> (E, E, E) {
        let Self { base, image, shares: (near, far), scale, slope } = *self;
        let two = E::of(2.0);
        let (pull, spread) = (self.pull(), l * across);
        let d_r =
            -pull * (d_scale / base + spread / image) - l * two * near * pull / (slope * base);
        let bend = (scale + far) / slope - two;
        let d_alpha = (-d_scale * scale - spread + l * bend) / base;
        let d_gamma = d_scale / base + spread / image + l * near / (slope * base);
        (d_r, d_alpha, d_gamma)
    }
}

/// r from r': the positive root of r^2 + (gamma - r') r - alpha r' = 0, in the form that does not
/// cancel.
#[inline(always)]
pub(super) fn solve<E: Real>(length: E, radii: &[E]) -> E {
    let (alpha, gamma) = (radii[0], radii[1]);
    let (ahead, two) = (length - gamma, E::of(2.0));
    let (size, mean) = (ahead.abs(), two * alpha.sqrt() * length.sqrt());
    let (long, short) = if size > mean { (size, mean) } else { (mean, size) };
    let ratio = short / long.max(E::min_positive_value());
    let sum = size + long * (E::one() + ratio * ratio).sqrt();
    let direct = sum / two;
    let conjugate = two * alpha * (length / sum.max(E::min_positive_value()));
    if ahead > E::zero() { direct } else { conjugate }
}
