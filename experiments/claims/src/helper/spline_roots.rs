//! Formulas for the roots of one bin, in single precision.

/// A bin on the unit square with slopes at its ends, secant 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bin {
    pub(crate) left: f32,
    pub(crate) right: f32,
}

impl Bin {
    /// The rational-quadratic curve, in double precision.
    pub(crate) fn rational(self, xi: f64) -> f64 {
        let [left, right] = [self.left, self.right].map(f64::from);
        let q = xi * (1.0 - xi);
        (xi * xi + left * q) / (1.0 + (left + right - 2.0) * q)
    }

    /// The cubic, in double precision.
    pub(crate) fn cubic(self, xi: f64) -> f64 {
        let [left, right] = [self.left, self.right].map(f64::from);
        let rest = 1.0 - xi;
        left * xi * rest * rest + (3.0 - right) * xi * xi * rest + xi * xi * xi
    }

    /// Where the curve is y, by bisection in double precision.
    pub(crate) fn exact(self, y: f32, curve: fn(Self, f64) -> f64) -> f64 {
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            if curve(self, middle) < f64::from(y) {
                low = middle;
            } else {
                high = middle;
            }
        }
        0.5 * (low + high)
    }

    /// a, b, c of a xi^2 + b xi + c = 0 for the rational-quadratic curve.
    fn quadratic(self, y: f32) -> [f32; 3] {
        let bent = y * (self.left + self.right - 2.0);
        [1.0 - self.left + bent, self.left - bent, -y]
    }
}

/// (-b + sqrt(b^2 - 4 a c))/(2 a)
pub(crate) fn naive(bin: Bin, y: f32) -> f32 {
    let [a, b, c] = bin.quadratic(y);
    (-b + (b * b - 4.0 * a * c).sqrt()) / (2.0 * a)
}

/// 2 c/(-b - sqrt(b^2 - 4 a c)), in which nothing cancels for b > 0.
pub(crate) fn stable(bin: Bin, y: f32) -> f32 {
    let [a, b, c] = bin.quadratic(y);
    2.0 * c / (-b - (b * b - 4.0 * a * c).sqrt())
}

/// The root of the cubic in the unit interval by Cardano's formula, or by Viete's where there are
/// three, of which it is the one nearest to the middle.
pub(crate) fn cardano(bin: Bin, y: f32) -> f32 {
    let Bin { left, right } = bin;
    let (a, b, c, d) = (left + right - 2.0, 3.0 - 2.0 * left - right, left, -y);
    let p = (3.0 * a * c - b * b) / (3.0 * a * a);
    let q = (2.0 * b * b * b - 9.0 * a * b * c + 27.0 * a * a * d) / (27.0 * a * a * a);
    let shift = -b / (3.0 * a);
    let discriminant = (q / 2.0) * (q / 2.0) + (p / 3.0) * (p / 3.0) * (p / 3.0);
    if discriminant >= 0.0 {
        let root = discriminant.sqrt();
        return (-q / 2.0 + root).cbrt() + (-q / 2.0 - root).cbrt() + shift;
    }
    let radius = 2.0 * (-p / 3.0).sqrt();
    let angle = (3.0 * q / (p * radius)).clamp(-1.0, 1.0).acos() / 3.0;
    let roots = [0.0, 1.0, 2.0]
        .map(|turn| radius * (angle - turn * std::f32::consts::TAU / 3.0).cos() + shift);
    let from_middle = |root: f32| (root - 0.5).abs();
    roots.into_iter().fold(roots[0], |best, root| {
        if from_middle(root) < from_middle(best) { root } else { best }
    })
}
