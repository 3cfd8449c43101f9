//! A linear layer by its PLU decomposition (review, Section 3.2 and Appendix B).

use flows_core::operation::{LANES, Operation, Recorded, apply, column};
use flows_core::parameters::{Visitor, VisitorMut};
use flows_core::tensor::{batch, check_columns, columns, set_values};
use flows_core::{
    Batch, Bijector, Context, Costs, Error, Mapped, Mode, Parameters, Real, Result, Role,
    SplitTape, Work,
};

use super::permutation::{indices, inverted};

/// x = P L U z + b, with P a fixed permutation, L unit lower and U upper triangular with positive
/// diagonal exp(s).
///
/// ```text
/// log |det| = sum of s_i
/// ```
/// Both directions cost O(D^2) a row; it starts as the identity.
///
/// # Reference
/// Oliva et al., *Transformation Autoregressive Networks*, ICML 2018; Kingma, Dhariwal, *Glow*,
/// 2018, eq. 10-11. <https://arxiv.org/abs/1807.03039>
#[derive(Debug)]
pub struct LuLinear<E: Real> {
    /// `(1, dim)`: row i of x is row `order[i]` of L U z.
    order: Batch<E>,
    /// `(dim, dim)`, used below the diagonal.
    lower: Batch<E>,
    /// `(dim, dim)`, used above the diagonal.
    upper: Batch<E>,
    /// `(1, dim)`
    log_diagonal: Batch<E>,
    /// `(1, dim)`
    bias: Batch<E>,
}

impl<E: Real> LuLinear<E> {
    /// The identity.
    ///
    /// # Errors
    /// [`Error::Parameter`] without features.
    pub fn new(dim: usize) -> Result<Self> {
        let identity: Vec<usize> = (0..dim).collect();
        let zeros = vec![0.0; dim * dim];
        Self::from_factors(&identity, &zeros, &zeros, &vec![1.0; dim])
    }

    /// From `order` (feature i of x is feature `order[i]` of L U z), the entries of L below and of
    /// U above the diagonal (row by row, other entries unused) and the diagonal of U.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless `order` is a permutation and the diagonal positive;
    /// [`Error::Dimension`] where sizes differ.
    pub fn from_factors(
        order: &[usize],
        lower: &[f64],
        upper: &[f64],
        diagonal: &[f64],
    ) -> Result<Self> {
        let dim = order.len();
        if dim == 0 {
            let (name, requirement) = ("features of a linear layer", "at least 1");
            return Err(Error::Parameter { name, requirement, value: 0.0 });
        }
        let sizes = [(lower.len(), dim * dim), (upper.len(), dim * dim), (diagonal.len(), dim)];
        for (got, expected) in sizes {
            if got != expected {
                return Err(Error::Dimension { op: "factors of a linear layer", expected, got });
            }
        }
        if let Some(&value) = diagonal.iter().find(|d| !(**d > 0.0 && d.is_finite())) {
            let (name, requirement) = ("diagonal of U", "positive and finite");
            return Err(Error::Parameter { name, requirement, value });
        }
        let cast = |values: &[f64]| values.iter().map(|&v| E::of(v)).collect();
        let layer = Self {
            order: batch(order.iter().map(|&i| E::of(i as f64)).collect(), 1, dim)?,
            lower: batch(cast(lower), dim, dim)?,
            upper: batch(cast(upper), dim, dim)?,
            log_diagonal: batch(diagonal.iter().map(|d| E::of(d.ln())).collect(), 1, dim)?,
            bias: batch(vec![E::zero(); dim], 1, dim)?,
        };
        indices("order of a linear layer", &layer.order)?;
        Ok(layer)
    }

    /// Replaces the bias b.
    ///
    /// # Errors
    /// [`Error::Tensors`] unless there are `dim` values.
    pub fn set_bias(&mut self, bias: &[E]) -> Result<()> {
        set_values(&mut self.bias, bias)
    }

    fn map<T: Mode<E>, const INVERSE: bool>(&self, input: Batch<E, T>) -> Result<Mapped<E, T>> {
        let dim = columns(&self.bias);
        check_columns("linear layer", &input, dim)?;
        let order = indices("order of a linear layer", &self.order)?;
        let operation = LuOperation::<INVERSE> { places: inverted(&order) };
        let (input, mut tape) = input.split_tape();
        let parameters =
            [&self.lower, &self.upper, &self.log_diagonal, &self.bias].map(Clone::clone);
        let mut outputs = apply(operation, &[&input], &parameters, &mut tape)?;
        let log_det = column(outputs.remove(1), &mut tape)?;
        Ok(Mapped { value: outputs.remove(0), log_det, tape, work: Work::default() })
    }
}

impl<E: Real> Parameters<E> for LuLinear<E> {
    fn visit(&self, f: &mut Visitor<'_, E>) {
        f("order", Role::Fixed, &self.order);
        f("lower", Role::Learned, &self.lower);
        f("upper", Role::Learned, &self.upper);
        f("log_diagonal", Role::Learned, &self.log_diagonal);
        f("bias", Role::Learned, &self.bias);
    }

    fn visit_mut(&mut self, f: &mut VisitorMut<'_, E>) -> Result<()> {
        f("order", Role::Fixed, &mut self.order)?;
        f("lower", Role::Learned, &mut self.lower)?;
        f("upper", Role::Learned, &mut self.upper)?;
        f("log_diagonal", Role::Learned, &mut self.log_diagonal)?;
        f("bias", Role::Learned, &mut self.bias)
    }
}

impl<E: Real> Bijector<E> for LuLinear<E> {
    fn dim(&self) -> usize {
        columns(&self.bias)
    }

    fn costs(&self) -> Costs {
        Costs::CLOSED_FORM
    }

    fn forward<T: Mode<E>>(&self, z: Batch<E, T>, _: &Context<E>) -> Result<Mapped<E, T>> {
        self.map::<T, false>(z)
    }

    fn inverse<T: Mode<E>>(&self, x: Batch<E, T>, _: &Context<E>) -> Result<Mapped<E, T>> {
        self.map::<T, true>(x)
    }
}

/// `places[i]`: where feature i of L U z goes.
struct LuOperation<const INVERSE: bool> {
    places: Vec<usize>,
}

/// The triangular factors with their products, solves and outer products over LANES columns.
struct Factors<'a, E> {
    lower: &'a [E],
    upper: &'a [E],
    diagonal: Vec<E>,
}

impl<'a, E: Real> Factors<'a, E> {
    fn new(parameters: &[&'a [E]]) -> Self {
        let diagonal = parameters[2].iter().map(|s| s.exp()).collect();
        Self { lower: parameters[0], upper: parameters[1], diagonal }
    }

    fn dim(&self) -> usize {
        self.diagonal.len()
    }

    /// L v or L^T v in place.
    fn multiply_lower(&self, v: &mut [E], transposed: bool) {
        let n = self.dim();
        // In an order that reads only rows not yet overwritten.
        for step in 0..n {
            let i = if transposed { step } else { n - 1 - step };
            for j in if transposed { i + 1..n } else { 0..i } {
                let entry = if transposed { self.lower[j * n + i] } else { self.lower[i * n + j] };
                add_row(v, i, j, entry);
            }
        }
    }

    /// U v or U^T v in place.
    fn multiply_upper(&self, v: &mut [E], transposed: bool) {
        let n = self.dim();
        for step in 0..n {
            let i = if transposed { n - 1 - step } else { step };
            scale_row(v, i, self.diagonal[i]);
            for j in if transposed { 0..i } else { i + 1..n } {
                let entry = if transposed { self.upper[j * n + i] } else { self.upper[i * n + j] };
                add_row(v, i, j, entry);
            }
        }
    }

    /// Solves L w = v or L^T w = v in place.
    fn solve_lower(&self, v: &mut [E], transposed: bool) {
        let n = self.dim();
        for step in 0..n {
            let i = if transposed { n - 1 - step } else { step };
            for j in if transposed { i + 1..n } else { 0..i } {
                let entry = if transposed { self.lower[j * n + i] } else { self.lower[i * n + j] };
                add_row(v, i, j, -entry);
            }
        }
    }

    /// Solves U w = v or U^T w = v in place.
    fn solve_upper(&self, v: &mut [E], transposed: bool) {
        let n = self.dim();
        for step in 0..n {
            let i = if transposed { step } else { n - 1 - step };
            for j in if transposed { 0..i } else { i + 1..n } {
                let entry = if transposed { self.upper[j * n + i] } else { self.upper[i * n + j] };
                add_row(v, i, j, -entry);
            }
            scale_row(v, i, E::one() / self.diagonal[i]);
        }
    }
}

/// Row i += factor * row j.
fn add_row<E: Real>(v: &mut [E], i: usize, j: usize, factor: E) {
    let (low, high) = (i.min(j), i.max(j));
    let (head, tail) = v.split_at_mut(high * LANES);
    let (low, high) = (&mut head[low * LANES..(low + 1) * LANES], &mut tail[..LANES]);
    let (target, source) = if i < j { (low, high) } else { (high, low) };
    for (target, &source) in target.iter_mut().zip(source.iter()) {
        *target += factor * source;
    }
}

fn scale_row<E: Real>(v: &mut [E], i: usize, factor: E) {
    for value in &mut v[i * LANES..(i + 1) * LANES] {
        *value *= factor;
    }
}

fn dot<E: Real>(a: &[E], i: usize, b: &[E], j: usize) -> E {
    let pairs = a[i * LANES..(i + 1) * LANES].iter().zip(&b[j * LANES..(j + 1) * LANES]);
    pairs.map(|(&a, &b)| a * b).sum()
}

/// Adds `sign` a_i . b_j to entry (i, j) of `sum`, for i > j or for i < j.
fn add_outer<E: Real>(sum: &mut [E], a: &[E], b: &[E], sign: E, below: bool) {
    let n = a.len() / LANES;
    for i in 0..n {
        for j in if below { 0..i } else { i + 1..n } {
            sum[i * n + j] += sign * dot(a, i, b, j);
        }
    }
}

/// Row i of the result is row `places[i]` of `x`.
fn unpermuted<E: Real>(places: &[usize], x: &[E]) -> Vec<E> {
    places.iter().flat_map(|&p| x[p * LANES..(p + 1) * LANES].iter().copied()).collect()
}

impl<E: Real, const INVERSE: bool> Operation<E> for LuOperation<INVERSE> {
    type Workspace = ();

    fn name(&self) -> &'static str {
        "linear layer"
    }

    fn output_widths(&self) -> Vec<usize> {
        vec![self.places.len(), 1]
    }

    fn forward(
        &self,
        inputs: &[&[E]],
        parameters: &[&[E]],
        _: &mut (),
        outputs: &mut [&mut [E]],
    ) -> Result<()> {
        let [value, log_det] = outputs else {
            return Ok(());
        };
        let factors = Factors::new(parameters);
        let bias = parameters[3];
        let total: E = parameters[2].iter().copied().sum();
        log_det.fill(if INVERSE { -total } else { total });
        if INVERSE {
            for (i, &place) in self.places.iter().enumerate() {
                let source = &inputs[0][place * LANES..(place + 1) * LANES];
                for (v, &x) in value[i * LANES..(i + 1) * LANES].iter_mut().zip(source) {
                    *v = x - bias[place];
                }
            }
            factors.solve_lower(value, false);
            factors.solve_upper(value, false);
        } else {
            let mut v = inputs[0].to_vec();
            factors.multiply_upper(&mut v, false);
            factors.multiply_lower(&mut v, false);
            for (source, &place) in v.chunks_exact(LANES).zip(&self.places) {
                let target = &mut value[place * LANES..(place + 1) * LANES];
                for (x, &v) in target.iter_mut().zip(source) {
                    *x = v + bias[place];
                }
            }
        }
        Ok(())
    }

    fn backward(
        &self,
        block: Recorded<'_, E, ()>,
        output_gradients: &[&[E]],
        input_gradients: &mut [&mut [E]],
        parameter_gradients: &mut [&mut [E]],
    ) {
        let [d_lower, d_upper, d_log_diagonal, d_bias] = parameter_gradients else {
            return;
        };
        let factors = Factors::new(block.parameters);
        let n = factors.dim();
        let total: E = output_gradients[1].iter().copied().sum();
        let (minus, plus) = (-E::one(), E::one());
        if INVERSE {
            // z = U^-1 v, v = L^-1 (x - b): dv = U^-T dz, dU = -dv z^T; dx = L^-T dv, dL = -dx v^T.
            let mut v = unpermuted(&self.places, block.inputs[0]);
            for (i, &place) in self.places.iter().enumerate() {
                for value in &mut v[i * LANES..(i + 1) * LANES] {
                    *value -= block.parameters[3][place];
                }
            }
            factors.solve_lower(&mut v, false);
            let mut z = v.clone();
            factors.solve_upper(&mut z, false);
            let mut gradient = output_gradients[0].to_vec();
            factors.solve_upper(&mut gradient, true);
            add_outer(d_upper, &gradient, &z, minus, false);
            for i in 0..n {
                d_log_diagonal[i] -= dot(&gradient, i, &z, i) * factors.diagonal[i] + total;
            }
            factors.solve_lower(&mut gradient, true);
            add_outer(d_lower, &gradient, &v, minus, true);
            for (row, &place) in gradient.chunks_exact(LANES).zip(&self.places) {
                d_bias[place] -= row.iter().copied().sum();
                input_gradients[0][place * LANES..(place + 1) * LANES].copy_from_slice(row);
            }
        } else {
            // u = U z, v = L u, x = P v + b.
            let z = block.inputs[0];
            let mut u = z.to_vec();
            factors.multiply_upper(&mut u, false);
            let mut gradient = unpermuted(&self.places, output_gradients[0]);
            for (row, &place) in gradient.chunks_exact(LANES).zip(&self.places) {
                d_bias[place] += row.iter().copied().sum();
            }
            add_outer(d_lower, &gradient, &u, plus, true);
            factors.multiply_lower(&mut gradient, true);
            add_outer(d_upper, &gradient, z, plus, false);
            for i in 0..n {
                d_log_diagonal[i] += dot(&gradient, i, z, i) * factors.diagonal[i] + total;
            }
            factors.multiply_upper(&mut gradient, true);
            input_gradients[0].copy_from_slice(&gradient);
        }
    }
}
