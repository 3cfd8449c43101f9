//! Monotone splines: finding the bin of an element, and the chain rule between the bin and a curve
//! on the unit square.
//!
//! All loops run over LANES elements side by side: the bin of each is found by comparison and
//! selection while the knots are summed, not by a search, so that everything is vector code.
//! Elements are clamped to the interval before any arithmetic, so that those outside cannot leak
//! NaN into gradients.

use std::fmt::Debug;

use flows_core::elementwise::{clamp, ln, vectorised};
use flows_core::operation::LANES;
use flows_core::{Direction, Real, Result, Space};

use super::lanes::{Lanes, lanes, rows};
use super::spline_interval::SplineInterval;
use super::{Inner, Outer, Transformer};

/// A monotone spline: one kind of curve in every bin of an interval.
///
/// In a bin with left knot (x_k, y_k), width w, height h, secant s = h/w and slopes d at its knots
/// ```text
/// y = y_k + h f(xi),   xi = (x - x_k)/w,   log slope = ln(s f'(xi)),
/// f(0) = 0,   f(1) = 1,   f'(0) = d_k/s,   f'(1) = d_k+1/s
/// ```
pub(super) trait Spline: Debug + Send + Sync {
    /// The curve f.
    type Curve: Curve;
    /// The knots, by the parameters.
    type Knots<'a, E: Real>: Knots<E>;
    /// Name for messages.
    const NAME: &'static str;

    fn interval(&self) -> SplineInterval;

    /// Number of parameters of an element.
    fn rows(&self) -> usize;

    /// Parameters at which the spline is the identity.
    fn start(&self) -> Vec<f64>;

    fn knots<'a, E: Real>(&self, theta: &'a [E]) -> Self::Knots<'a, E>;
}

/// Argument, end slopes and, for some curves, shape parameter of a curve; or their gradients.
#[derive(Clone, Copy)]
pub(super) struct Unit<E> {
    pub(super) xi: E,
    pub(super) left: E,
    pub(super) right: E,
    pub(super) shape: E,
}

/// An increasing curve f from (0, 0) to (1, 1) with given end slopes.
pub(super) trait Curve {
    /// f and f' at xi.
    fn at<E: Real>(unit: Unit<E>) -> (E, E);

    /// The xi with f(xi) = `value`; the xi of `ends` is not read.
    fn solve<E: Real>(value: E, ends: Unit<E>) -> E;

    /// Backward pass: gradients from those of f and ln f'.
    fn gradient<E: Real>(unit: Unit<E>, value: E, log_slope: E) -> Unit<E>;
}

/// The knots of LANES splines.
pub(super) trait Knots<E: Real> {
    /// Width and height of a bin.
    fn size(&self, bin: usize, lane: usize) -> (E, E);

    /// Slopes at a knot, 0 to K.
    fn slopes(&self, knot: usize) -> Lanes<E>;

    /// Shape parameters of a bin's curve, if it has one.
    fn shapes(&self, _bin: usize) -> Option<Lanes<E>> {
        None
    }

    /// Backward pass: writes the gradients of the parameters, from those of each element's bin.
    fn gradient(&self, bin: &Bin<E>, theta: &mut [E]);
}

/// The bin of each element; or the gradients of bin `index`.
pub(super) struct Bin<E> {
    left: Lanes<E>,
    width: Lanes<E>,
    bottom: Lanes<E>,
    height: Lanes<E>,
    slope_left: Lanes<E>,
    slope_right: Lanes<E>,
    shape: Lanes<E>,
    index: Lanes<E>,
}

impl<E: Real> Bin<E> {
    #[inline(always)]
    fn starting_at(corner: E) -> Self {
        let zero = [E::zero(); LANES];
        Self {
            left: [corner; LANES],
            width: zero,
            bottom: [corner; LANES],
            height: zero,
            slope_left: zero,
            slope_right: zero,
            shape: zero,
            index: zero,
        }
    }

    /// The bin that holds each of `at`, counted by width (`by_width`) or by height.
    #[inline(always)]
    fn holding(
        at: &Lanes<E>,
        knots: &impl Knots<E>,
        SplineInterval { bins, bound, .. }: SplineInterval,
        by_width: bool,
    ) -> Self {
        let mut bin = Self::starting_at(E::of(-bound));
        let (mut x, mut y) = (bin.left, bin.bottom);
        let mut slope_left = knots.slopes(0);
        for k in 0..bins {
            let slope_right = knots.slopes(k + 1);
            let shapes = knots.shapes(k);
            for lane in 0..LANES {
                let knot = if by_width { x[lane] } else { y[lane] };
                let here = k == 0 || at[lane] >= knot;
                let (width, height) = knots.size(k, lane);
                bin.left[lane] = if here { x[lane] } else { bin.left[lane] };
                bin.width[lane] = if here { width } else { bin.width[lane] };
                bin.bottom[lane] = if here { y[lane] } else { bin.bottom[lane] };
                bin.height[lane] = if here { height } else { bin.height[lane] };
                bin.slope_left[lane] = if here { slope_left[lane] } else { bin.slope_left[lane] };
                bin.slope_right[lane] =
                    if here { slope_right[lane] } else { bin.slope_right[lane] };
                if let Some(shapes) = &shapes {
                    bin.shape[lane] = if here { shapes[lane] } else { bin.shape[lane] };
                }
                bin.index[lane] = if here { E::of(k as f64) } else { bin.index[lane] };
                x[lane] += width;
                y[lane] += height;
            }
            slope_left = slope_right;
        }
        bin
    }

    /// The curve of an element's bin.
    #[inline(always)]
    fn unit(&self, lane: usize, xi: E) -> Unit<E> {
        let flatness = self.width[lane] / self.height[lane];
        Unit {
            xi: clamp(xi, E::zero(), E::one()),
            left: self.slope_left[lane] * flatness,
            right: self.slope_right[lane] * flatness,
            shape: self.shape[lane],
        }
    }

    /// Slope of the tail at which an element lies.
    #[inline(always)]
    fn tail(&self, lane: usize, moved: E) -> E {
        if moved > E::zero() { self.slope_right[lane] } else { self.slope_left[lane] }
    }

    /// As gradients: sets those of lane `lane`, from the gradients of y and of the log-slope on the
    /// curve of the bin `at`, and returns that of x.
    #[inline(always)]
    fn through_curve<C: Curve>(
        &mut self,
        at: &Self,
        lane: usize,
        unit: Unit<E>,
        y: E,
        log: E,
    ) -> E {
        let (w, h) = (at.width[lane], at.height[lane]);
        let (value, _) = C::at(unit);
        let g = C::gradient(unit, y * h, log);
        // f'(0) = d w/h and f'(1) alike: the gradient of ln(w/h).
        let flatter = unit.left * g.left + unit.right * g.right;
        self.left[lane] = -g.xi / w;
        self.width[lane] = (flatter - log - unit.xi * g.xi) / w;
        self.bottom[lane] = y;
        self.height[lane] = y * value + (log - flatter) / h;
        self.slope_left[lane] = g.left * w / h;
        self.slope_right[lane] = g.right * w / h;
        self.shape[lane] = g.shape;
        g.xi / w
    }

    /// As gradients: adds that of the slope of the [`tail`](Self::tail).
    #[inline(always)]
    fn through_tail(&mut self, lane: usize, moved: E, slope: E) {
        let upper = moved > E::zero();
        self.slope_left[lane] += if upper { E::zero() } else { slope };
        self.slope_right[lane] += if upper { slope } else { E::zero() };
    }

    /// As a gradient: that of the width of bin `bin`.
    #[inline(always)]
    pub(super) fn of_width(&self, bin: usize, lane: usize) -> E {
        of_size(bin, self.index[lane], self.width[lane], self.left[lane])
    }

    /// As a gradient: that of the height of bin `bin`.
    #[inline(always)]
    pub(super) fn of_height(&self, bin: usize, lane: usize) -> E {
        of_size(bin, self.index[lane], self.height[lane], self.bottom[lane])
    }

    /// As a gradient: that of the slope at knot `knot`.
    #[inline(always)]
    pub(super) fn of_slope(&self, knot: usize, lane: usize) -> E {
        let (here, below) = (E::of(knot as f64), E::of(knot as f64 - 1.0));
        let from_left = if self.index[lane] == here { self.slope_left[lane] } else { E::zero() };
        let from_right = if self.index[lane] == below { self.slope_right[lane] } else { E::zero() };
        from_left + from_right
    }

    /// As a gradient: that of the shape of bin `bin`.
    #[inline(always)]
    pub(super) fn of_shape(&self, bin: usize, lane: usize) -> E {
        if self.index[lane] == E::of(bin as f64) { self.shape[lane] } else { E::zero() }
    }
}

/// The gradient of a bin's size: that of its own elements, and of those to the right, whose left
/// knot it moves.
#[inline(always)]
fn of_size<E: Real>(bin: usize, index: E, size: E, corner: E) -> E {
    let this = E::of(bin as f64);
    let at = if this == index { size } else { E::zero() };
    if this < index { corner } else { at }
}

#[inline(always)]
fn forward<E: Real, S: Spline>(spline: &S, x: &[E], theta: &[E], y: &mut [E], log_slope: &mut [E]) {
    let (placed, moved) = spline.interval().place(x);
    let bin = Bin::holding(&moved, &spline.knots(theta), spline.interval(), true);
    let bound = E::of(spline.interval().bound);
    let (y, log_slope) = (&mut y[..LANES], &mut log_slope[..LANES]);
    for lane in 0..LANES {
        let inside = placed[lane] == moved[lane];
        let (w, h) = (bin.width[lane], bin.height[lane]);
        let (value, slope) = S::Curve::at(bin.unit(lane, (moved[lane] - bin.left[lane]) / w));
        let tail = bin.tail(lane, moved[lane]);
        let beyond = tail.mul_add(placed[lane] - moved[lane], moved[lane]);
        let within = clamp(h.mul_add(value, bin.bottom[lane]), -bound, bound);
        y[lane] = if inside { within } else { beyond };
        log_slope[lane] += ln(if inside { h / w * slope } else { tail });
    }
}

#[inline(always)]
fn inverse<E: Real, S: Spline>(spline: &S, y: &[E], theta: &[E], x: &mut [E], log_slope: &mut [E]) {
    let (placed, moved) = spline.interval().place(y);
    let bin = Bin::holding(&moved, &spline.knots(theta), spline.interval(), false);
    let bound = E::of(spline.interval().bound);
    let (x, log_slope) = (&mut x[..LANES], &mut log_slope[..LANES]);
    for lane in 0..LANES {
        let inside = placed[lane] == moved[lane];
        let (w, h) = (bin.width[lane], bin.height[lane]);
        let value = clamp((moved[lane] - bin.bottom[lane]) / h, E::zero(), E::one());
        let ends = bin.unit(lane, E::zero());
        let unit = bin.unit(lane, S::Curve::solve(value, ends));
        let (_, slope) = S::Curve::at(unit);
        let tail = bin.tail(lane, moved[lane]);
        let beyond = (placed[lane] - moved[lane]) / tail + moved[lane];
        let within = clamp(w.mul_add(unit.xi, bin.left[lane]), -bound, bound);
        x[lane] = if inside { within } else { beyond };
        log_slope[lane] -= ln(if inside { h / w * slope } else { tail });
    }
}

/// Both gradients. For an inverse, `outer` being of x and -log slope at x, they are the forward
/// gradients for `outer` transformed by the implicit function theorem (see
/// [`Transformer::inverse_gradient`]).
#[inline(never)]
fn gradient<E: Real, S: Spline>(
    spline: &S,
    (x, theta): (&[E], &[E]),
    outer: Outer<'_, E>,
    inner: Inner<'_, E>,
    direction: Direction,
) {
    vectorised(
        #[inline(always)]
        || {
            let knots = spline.knots(theta);
            let (placed, moved) = spline.interval().place(x);
            let bin = Bin::holding(&moved, &knots, spline.interval(), true);
            let mut back = Bin { index: bin.index, ..Bin::starting_at(E::zero()) };
            let [mut gy, mut gl] = [outer.value, outer.log_slope].map(|outer| rows(outer)[0]);
            if direction == Direction::Inverse {
                for lane in 0..LANES {
                    let (w, h) = (bin.width[lane], bin.height[lane]);
                    let unit = bin.unit(lane, (moved[lane] - bin.left[lane]) / w);
                    let (_, slope) = S::Curve::at(unit);
                    let inside = placed[lane] == moved[lane];
                    let slope = if inside { slope * (h / w) } else { bin.tail(lane, moved[lane]) };
                    let bend = S::Curve::gradient(unit, E::zero(), E::one()).xi / w;
                    let bend = if inside { bend } else { E::zero() };
                    gy[lane] = (gl[lane] * bend - gy[lane]) / slope;
                    gl[lane] = -gl[lane];
                }
            }
            let inner_value = &mut inner.value[..LANES];
            for lane in 0..LANES {
                let inside = placed[lane] == moved[lane];
                let only_inside = |value: E| if inside { value } else { E::zero() };
                let unit = bin.unit(lane, (moved[lane] - bin.left[lane]) / bin.width[lane]);
                let (gy, gl) = (gy[lane], gl[lane]);
                let through = (only_inside(gy), only_inside(gl));
                let gx = back.through_curve::<S::Curve>(&bin, lane, unit, through.0, through.1);
                // The tail: y = end + slope (x - end), log slope.
                let tail = bin.tail(lane, moved[lane]);
                let of_tail = gy * (placed[lane] - moved[lane]) + gl / tail;
                back.through_tail(lane, moved[lane], if inside { E::zero() } else { of_tail });
                inner_value[lane] = if inside { gx } else { gy * tail };
            }
            if direction == Direction::Inverse {
                inner_value.copy_from_slice(&lanes(|lane| -gy[lane]));
            }
            knots.gradient(&back, inner.theta);
        },
    );
}

impl<E: Real, S: Spline> Transformer<E> for S {
    fn name(&self) -> &'static str {
        S::NAME
    }

    fn arity(&self) -> usize {
        self.rows()
    }

    fn image_space(&self, from: Space) -> std::result::Result<Space, Space> {
        self.interval().image_space(from)
    }

    fn initial(&self) -> Vec<f64> {
        self.start()
    }

    fn forward(&self, x: &[E], theta: &[E], y: &mut [E], log_slope: &mut [E]) -> Result<()> {
        vectorised(
            #[inline(always)]
            || forward(self, x, theta, y, log_slope),
        );
        Ok(())
    }

    fn inverse(&self, y: &[E], theta: &[E], x: &mut [E], log_slope: &mut [E]) -> Result<u64> {
        vectorised(
            #[inline(always)]
            || inverse(self, y, theta, x, log_slope),
        );
        Ok(0)
    }

    fn forward_gradient(&self, x: &[E], theta: &[E], outer: Outer<'_, E>, inner: Inner<'_, E>) {
        gradient(self, (x, theta), outer, inner, Direction::Forward);
    }

    fn inverse_gradient(&self, x: &[E], theta: &[E], outer: Outer<'_, E>, inner: Inner<'_, E>) {
        gradient(self, (x, theta), outer, inner, Direction::Inverse);
    }
}
