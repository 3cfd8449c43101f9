//! Small maps, and what a pass over them gives and gives back, for the tests of what carries maps.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::lanes::{add, lanes, lanes_mut, named, named_mut};
use flows_core::map::{Block, Pull, Solve, implicit_gradient};
use flows_core::operation::LANES;
use flows_core::rowwise::sum;
use flows_core::tensor::{batch, columns, per_row};
use flows_core::{
    Batch, Bijector, Context, Cost, Costs, Direction, HasLayout, Layer, Layout, Map, Mapped,
    Parameters, Result, Scratch, Tape, Tensors, Values, Work, custom_gradient, normals, stream,
};

/// x = sinh z.
#[derive(Debug)]
pub(super) struct Sinh {
    pub(super) dim: usize,
}

impl HasLayout for Sinh {
    fn layout(&self) -> Vec<Layout> {
        Vec::new()
    }
}

impl Map<f64> for Sinh {
    fn name(&self) -> &'static str {
        "sinh"
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn forward(&self, at: Block<'_, f64>, _: &mut Scratch) -> Result<Work> {
        assert!(at.context.is_empty(), "a map that takes no context was handed one");
        for (i, (x, z)) in at.value.iter_mut().zip(at.input).enumerate() {
            *x = z.sinh();
            at.log_det[i % LANES] += z.cosh().ln();
        }
        Ok(Work::default())
    }

    fn inverse(&self, at: Block<'_, f64>, _: &mut Scratch) -> Result<Work> {
        for (i, (z, x)) in at.value.iter_mut().zip(at.input).enumerate() {
            *z = x.asinh();
            at.log_det[i % LANES] -= z.cosh().ln();
        }
        Ok(Work::default())
    }

    fn forward_gradient(&self, at: Pull<'_, '_, f64>, _: &mut Scratch) -> Result<()> {
        for (i, (d, z)) in at.d_input.iter_mut().zip(at.input).enumerate() {
            *d = z.cosh() * at.d_value[i] + z.tanh() * at.d_log_det[i % LANES];
        }
        Ok(())
    }

    fn inverse_gradient(&self, at: Pull<'_, '_, f64>, _: &mut Scratch) -> Result<()> {
        for (i, (d, z)) in at.d_input.iter_mut().zip(at.value).enumerate() {
            *d = (at.d_value[i] - z.tanh() * at.d_log_det[i % LANES]) / z.cosh();
        }
        Ok(())
    }
}

/// x = exp(s) z with one learned s a feature, the exponentials being prepared.
#[derive(Debug)]
pub(super) struct Scale {
    pub(super) dim: usize,
}

impl HasLayout for Scale {
    fn layout(&self) -> Vec<Layout> {
        vec![Layout::zeros("log_scale", 1, self.dim)]
    }
}

impl Map<f64> for Scale {
    fn name(&self) -> &'static str {
        "scale"
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn prepare(&self, tensors: Vec<Vec<f64>>) -> Result<Vec<Vec<f64>>> {
        Ok(vec![tensors[0].iter().map(|s| s.exp()).collect()])
    }

    /// ds = e^s times the gradient of e^s.
    fn pull_prepared(
        &self,
        _: &Tensors<f64>,
        prepared: &[Vec<f64>],
        gradient: &[Vec<f64>],
    ) -> Result<Option<Vec<Vec<f64>>>> {
        Ok(Some(vec![prepared[0].iter().zip(&gradient[0]).map(|(e, d)| e * d).collect()]))
    }

    fn forward(&self, at: Block<'_, f64>, _: &mut Scratch) -> Result<Work> {
        let [scale] = named(at.parameters);
        for (i, (x, z)) in at.value.iter_mut().zip(at.input).enumerate() {
            *x = scale[i / LANES] * z;
        }
        let total: f64 = scale.iter().map(|e| e.ln()).sum();
        at.log_det.iter_mut().for_each(|sum| *sum += total);
        Ok(Work::default())
    }

    fn inverse(&self, at: Block<'_, f64>, _: &mut Scratch) -> Result<Work> {
        let [scale] = named(at.parameters);
        for (i, (z, x)) in at.value.iter_mut().zip(at.input).enumerate() {
            *z = x / scale[i / LANES];
        }
        let total: f64 = scale.iter().map(|e| e.ln()).sum();
        at.log_det.iter_mut().for_each(|sum| *sum -= total);
        Ok(Work::default())
    }

    fn forward_gradient(&self, at: Pull<'_, '_, f64>, _: &mut Scratch) -> Result<()> {
        let ([scale], [d_scale]) = (named(at.parameters), named_mut(at.gradients));
        for (i, (d, z)) in at.d_input.iter_mut().zip(at.input).enumerate() {
            let feature = i / LANES;
            *d = scale[feature] * at.d_value[i];
            d_scale[feature] += at.d_value[i] * z + at.d_log_det[i % LANES] / scale[feature];
        }
        Ok(())
    }

    fn inverse_gradient(&self, at: Pull<'_, '_, f64>, _: &mut Scratch) -> Result<()> {
        let ([scale], [d_scale]) = (named(at.parameters), named_mut(at.gradients));
        for (i, (d, z)) in at.d_input.iter_mut().zip(at.value).enumerate() {
            let feature = i / LANES;
            *d = at.d_value[i] / scale[feature];
            d_scale[feature] -= (at.d_value[i] * z + at.d_log_det[i % LANES]) / scale[feature];
        }
        Ok(())
    }
}

/// x_1 = z_1, x_2 = z_2 + tanh(w z_1 + c . context), w and c learned. The gradient of the inverse is
/// written out or implicit.
#[derive(Debug)]
pub(super) struct Shear {
    pub(super) context_dim: usize,
    pub(super) implicit: bool,
}

/// tanh(w z + c . context) of every lane.
fn turned(z: &[f64], context: &[f64], w: f64, c: &[f64]) -> Vec<f64> {
    let linear = |lane: usize| {
        let features = c.iter().enumerate();
        w * z[lane] + features.map(|(k, c)| c * lanes(context, k)[lane]).sum::<f64>()
    };
    (0..LANES).map(|lane| linear(lane).tanh()).collect()
}

/// From the gradient of w z + c . context to those of w, c and the context; returns that of z.
fn pull_linear(
    outer: &[f64],
    (z, context): (&[f64], &[f64]),
    (w, c): (f64, &[f64]),
    (d_w, d_c, d_context): (&mut [f64], &mut [f64], &mut [f64]),
) -> Vec<f64> {
    for (lane, outer) in outer.iter().enumerate() {
        d_w[0] += outer * z[lane];
        for (k, c) in c.iter().enumerate() {
            d_c[k] += outer * lanes(context, k)[lane];
            lanes_mut(d_context, k)[lane] += outer * c;
        }
    }
    outer.iter().map(|outer| w * outer).collect()
}

impl Shear {
    fn run(&self, at: Block<'_, f64>, scratch: &mut Scratch, sign: f64) -> Work {
        let [w, c] = named(at.parameters);
        let kept: &mut Vec<f64> = scratch.or_default();
        *kept = turned(lanes(at.input, 0), at.context, w[0], c);
        at.value.copy_from_slice(at.input);
        lanes_mut(at.value, 1).iter_mut().zip(kept).for_each(|(x, t)| *x += sign * *t);
        Work::passes(1)
    }

    fn pull(&self, at: Pull<'_, '_, f64>, scratch: &mut Scratch, sign: f64) {
        let ([w, c], [d_w, d_c]) = (named(at.parameters), named_mut(at.gradients));
        let kept: &mut Vec<f64> = scratch.left();
        let slope = |(g, t): (&f64, &f64)| sign * (1.0 - t * t) * g;
        let outer: Vec<f64> = lanes(at.d_value, 1).iter().zip(&*kept).map(slope).collect();
        let from = (lanes(at.input, 0), at.context);
        let inner = pull_linear(&outer, from, (w[0], c), (d_w, d_c, at.d_context));
        at.d_input.copy_from_slice(at.d_value);
        add(lanes_mut(at.d_input, 0), &inner);
    }
}

impl HasLayout for Shear {
    fn layout(&self) -> Vec<Layout> {
        vec![Layout::uniform("slope", 1, 1, 1), Layout::uniform("weight", 1, self.context_dim, 1)]
    }
}

impl Map<f64> for Shear {
    fn name(&self) -> &'static str {
        "shear"
    }

    fn dim(&self) -> usize {
        2
    }

    fn context_dim(&self) -> usize {
        self.context_dim
    }

    fn forward(&self, at: Block<'_, f64>, scratch: &mut Scratch) -> Result<Work> {
        Ok(self.run(at, scratch, 1.0))
    }

    fn inverse(&self, at: Block<'_, f64>, scratch: &mut Scratch) -> Result<Work> {
        Ok(self.run(at, scratch, -1.0))
    }

    fn forward_gradient(&self, at: Pull<'_, '_, f64>, scratch: &mut Scratch) -> Result<()> {
        self.pull(at, scratch, 1.0);
        Ok(())
    }

    fn inverse_gradient(&self, at: Pull<'_, '_, f64>, scratch: &mut Scratch) -> Result<()> {
        if self.implicit {
            return implicit_gradient(self, at, scratch);
        }
        self.pull(at, scratch, -1.0);
        Ok(())
    }

    fn solve_transposed(
        &self,
        at: Solve<'_, f64>,
        scratch: &mut Scratch,
        gradient: &mut [f64],
    ) -> Result<()> {
        let ([w, _], kept) = (named(at.parameters), scratch.left::<Vec<f64>>());
        let (first, second) = gradient.split_at_mut(LANES);
        for ((g, h), t) in first.iter_mut().zip(second).zip(kept) {
            *g -= w[0] * (1.0 - *t * *t) * *h;
        }
        Ok(())
    }
}

/// x_1 = z_1 + e^a z_1^3, x_2 = z_2 exp(tanh(w z_1 + c . context)), all learned. The inverse takes
/// Newton's method, and its gradient is implicit.
#[derive(Debug)]
pub(super) struct Bend {
    pub(super) context_dim: usize,
}

impl HasLayout for Bend {
    fn layout(&self) -> Vec<Layout> {
        let shear = Shear { context_dim: self.context_dim, implicit: false };
        let linear = shear.layout().into_iter().map(|layout| layout.within("inner"));
        [Layout::given("log_cubic", 1, 1, vec![-2.0])].into_iter().chain(linear).collect()
    }
}

impl Map<f64> for Bend {
    fn name(&self) -> &'static str {
        "bend"
    }

    fn dim(&self) -> usize {
        2
    }

    fn context_dim(&self) -> usize {
        self.context_dim
    }

    fn costs(&self) -> Costs {
        Costs { forward: Cost::ClosedForm, inverse: Cost::Iterative }
    }

    fn forward(&self, at: Block<'_, f64>, scratch: &mut Scratch) -> Result<Work> {
        let [a, w, c] = named(at.parameters);
        let kept: &mut Vec<f64> = scratch.or_default();
        *kept = turned(lanes(at.input, 0), at.context, w[0], c);
        for (lane, s) in kept.iter().enumerate() {
            let (z, cubic) = (at.input[lane], a[0].exp());
            at.value[lane] = z + cubic * z.powi(3);
            at.value[LANES + lane] = at.input[LANES + lane] * s.exp();
            at.log_det[lane] += (1.0 + 3.0 * cubic * z * z).ln() + s;
        }
        Ok(Work::default())
    }

    fn inverse(&self, at: Block<'_, f64>, scratch: &mut Scratch) -> Result<Work> {
        let [a, w, c] = named(at.parameters);
        let cubic = a[0].exp();
        let mut most = 0;
        for lane in 0..LANES {
            let (x, mut z) = (at.input[lane], at.input[lane]);
            // From outside, the iterates fall towards the root until rounding stops them.
            for step in 1..100 {
                most = most.max(step);
                let next = z - (z + cubic * z.powi(3) - x) / (1.0 + 3.0 * cubic * z * z);
                if next.abs() < z.abs() {
                    z = next;
                } else {
                    break;
                }
            }
            at.value[lane] = z;
        }
        let kept: &mut Vec<f64> = scratch.or_default();
        *kept = turned(lanes(at.value, 0), at.context, w[0], c);
        for (lane, s) in kept.iter().enumerate() {
            let z = at.value[lane];
            at.value[LANES + lane] = at.input[LANES + lane] * (-s).exp();
            at.log_det[lane] -= (1.0 + 3.0 * cubic * z * z).ln() + s;
        }
        Ok(Work::iterations(most))
    }

    fn forward_gradient(&self, at: Pull<'_, '_, f64>, scratch: &mut Scratch) -> Result<()> {
        let ([a, w, c], [d_a, d_w, d_c]) = (named(at.parameters), named_mut(at.gradients));
        let (kept, cubic) = (scratch.left::<Vec<f64>>(), a[0].exp());
        let mut outer = vec![0.0; LANES];
        for (lane, s) in kept.iter().enumerate() {
            let (z, y) = (at.input[lane], at.input[LANES + lane]);
            let (g, h, l) = (at.d_value[lane], at.d_value[LANES + lane], at.d_log_det[lane]);
            let slope = 1.0 + 3.0 * cubic * z * z;
            d_a[0] += cubic * (g * z.powi(3) + l * 3.0 * z * z / slope);
            at.d_input[lane] = g * slope + l * 6.0 * cubic * z / slope;
            at.d_input[LANES + lane] = h * s.exp();
            outer[lane] = (1.0 - s * s) * (h * y * s.exp() + l);
        }
        let from = (lanes(at.input, 0), at.context);
        let inner = pull_linear(&outer, from, (w[0], c), (d_w, d_c, at.d_context));
        add(lanes_mut(at.d_input, 0), &inner);
        Ok(())
    }

    fn solve_transposed(
        &self,
        at: Solve<'_, f64>,
        scratch: &mut Scratch,
        gradient: &mut [f64],
    ) -> Result<()> {
        let ([a, w, _], kept) = (named(at.parameters), scratch.left::<Vec<f64>>());
        let (first, second) = gradient.split_at_mut(LANES);
        for (lane, s) in kept.iter().enumerate() {
            let (z, y) = (at.input[lane], at.input[LANES + lane]);
            second[lane] /= s.exp();
            first[lane] -= second[lane] * y * s.exp() * (1.0 - s * s) * w[0];
            first[lane] /= 1.0 + 3.0 * a[0].exp() * z * z;
        }
        Ok(())
    }
}

/// The features in reverse order, as a bijector of the whole batch that is no map; with a penalty.
#[derive(Debug)]
pub(super) struct Flip {
    pub(super) dim: usize,
}

impl Flip {
    fn run(
        &self,
        input: &Batch<f64>,
        context: &Context<f64>,
        tape: &mut Tape<f64>,
    ) -> Result<Mapped<f64>> {
        let (dim, rows) = (self.dim, input.rows());
        context.check("flip", 0, rows)?;
        let flipped = move |values: &[f64]| -> Vec<f64> {
            values.chunks(dim).flat_map(|row| row.iter().rev().copied()).collect()
        };
        let values = flipped(&input.values());
        let penalty = per_row(values.iter().step_by(dim).map(|v| v * v).collect())?;
        let back = move |gradient: &[f64]| vec![flipped(gradient)];
        let value = custom_gradient(&[input], (values, rows, dim), back, tape)?;
        let log_det = per_row(vec![0.0; rows])?;
        Ok(Mapped { penalty: Some(penalty), ..Mapped::new(value, log_det, Work::passes(1)) })
    }
}

impl Parameters<f64> for Flip {
    fn visit(&self, _: &mut flows_core::parameters::Visitor<'_, f64>) {}

    fn visit_mut(&mut self, _: &mut flows_core::parameters::VisitorMut<'_, f64>) -> Result<()> {
        Ok(())
    }
}

impl Bijector<f64> for Flip {
    fn dim(&self) -> usize {
        self.dim
    }

    fn forward(
        &self,
        z: &Batch<f64>,
        context: &Context<f64>,
        tape: &mut Tape<f64>,
    ) -> Result<Mapped<f64>> {
        self.run(z, context, tape)
    }

    fn inverse(
        &self,
        x: &Batch<f64>,
        context: &Context<f64>,
        tape: &mut Tape<f64>,
    ) -> Result<Mapped<f64>> {
        self.run(x, context, tape)
    }
}

pub(super) type Boxed = Box<dyn Bijector<f64>>;

/// Features of the context of those layers below that take one.
pub(super) const CONTEXT: usize = 3;

fn layer(map: impl Map<f64> + 'static, values: Vec<Vec<f64>>) -> Boxed {
    Box::new(Layer::with_values(map, values).unwrap())
}

pub(super) fn sinh(dim: usize) -> Boxed {
    layer(Sinh { dim }, Vec::new())
}

pub(super) fn scale(dim: usize) -> Boxed {
    layer(Scale { dim }, vec![(0..dim).map(|i| 0.4 * (i as f64 + 1.0).sin() - 0.3).collect()])
}

pub(super) fn shear(implicit: bool) -> Boxed {
    let map = Shear { context_dim: CONTEXT, implicit };
    layer(map, vec![vec![0.8], vec![0.3, -0.6, 0.2]])
}

pub(super) fn bend() -> Boxed {
    layer(Bend { context_dim: CONTEXT }, vec![vec![-1.5], vec![-0.7], vec![0.5, 0.1, -0.4]])
}

pub(super) fn chain(dim: usize, parts: Vec<Boxed>) -> flows_core::Chain<f64> {
    flows_core::Chain::new(dim, parts).unwrap()
}

pub(super) const DIRECTIONS: [Direction; 2] = [Direction::Forward, Direction::Inverse];

pub(super) fn run(
    bijector: &dyn Bijector<f64>,
    direction: Direction,
    input: &Batch<f64>,
    context: &Context<f64>,
    tape: &mut Tape<f64>,
) -> Result<Mapped<f64>> {
    match direction {
        Direction::Forward => bijector.forward(input, context, tape),
        Direction::Inverse => bijector.inverse(input, context, tape),
    }
}

/// N(0, 1) for every feature.
pub(super) fn points(rows: usize, dim: usize) -> Batch<f64> {
    batch(normals(rows * dim, &mut stream(1, "points")), rows, dim).unwrap()
}

pub(super) fn context(rows: usize) -> Context<f64> {
    let features = normals(rows * CONTEXT, &mut stream(2, "context"));
    Context::of(batch(features, rows, CONTEXT).unwrap())
}

/// Rows of a tensor.
pub(super) fn cut(tensor: &Batch<f64>, rows: std::ops::Range<usize>) -> Batch<f64> {
    let dim = columns(tensor);
    let values = tensor.values()[rows.start * dim..rows.end * dim].to_vec();
    batch(values, rows.len(), dim).unwrap()
}

/// What a pass gives, and what its tape gives back for [`weight`]s of value and log-det.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Outcome {
    pub(super) value: Vec<f64>,
    pub(super) log_det: Vec<f64>,
    pub(super) penalty: Option<Vec<f64>>,
    pub(super) work: Work,
    pub(super) d_input: Vec<f64>,
    /// Empty without a context.
    pub(super) d_context: Vec<f64>,
    /// Of every tensor.
    pub(super) d_tensors: Vec<Vec<f64>>,
}

/// Gradient of the `index`-th value, and of the log-det of row `index`.
pub(super) fn weight(index: usize) -> [f64; 2] {
    let index = index as f64;
    [1.0 + (0.7 * index).sin(), 1.0 + (0.9 * index + 2.0).sin()]
}

/// Of a pass by `forth` over a model.
pub(super) fn outcome_of(
    models: &[&dyn Bijector<f64>],
    input: &Batch<f64>,
    context: &Context<f64>,
    forth: impl FnOnce(&mut Tape<f64>) -> Result<Mapped<f64>>,
) -> Result<Outcome> {
    let mut tape = Tape::recording();
    let Mapped { value, log_det, penalty, work } = forth(&mut tape)?;
    let weights = |count: usize, which: usize| -> Vec<f64> {
        (0..count).map(|index| weight(index)[which]).collect()
    };
    let mut gradients = tape.backward(|gradients| {
        gradients.add(&value, &weights(value.values().len(), 0))?;
        gradients.add(&log_det, &weights(log_det.rows(), 1))
    })?;
    let d_input = gradients.take(input)?;
    let d_context = context.features().map(|f| gradients.take(f)).transpose()?.unwrap_or_default();
    let mut d_tensors = Vec::new();
    for model in models {
        model.visit(&mut |_, _, tensor| d_tensors.push(gradients.take(tensor).unwrap()));
    }
    let (value, log_det) = (value.values(), log_det.values());
    let penalty = penalty.map(|p| p.values());
    Ok(Outcome { value, log_det, penalty, work, d_input, d_context, d_tensors })
}

pub(super) fn outcome(
    bijector: &dyn Bijector<f64>,
    direction: Direction,
    input: &Batch<f64>,
    context: &Context<f64>,
) -> Outcome {
    let forth = |tape: &mut Tape<f64>| run(bijector, direction, input, context, tape);
    outcome_of(&[bijector], input, context, forth).unwrap()
}

/// Of parts in base-to-data order, each with its own entry on the tape.
pub(super) fn one_by_one(
    parts: &[&dyn Bijector<f64>],
    direction: Direction,
    input: &Batch<f64>,
    context: &Context<f64>,
) -> Outcome {
    let forth = |tape: &mut Tape<f64>| {
        let log_det = per_row(vec![0.0; input.rows()])?;
        let mut all = Mapped::new(input.clone(), log_det, Work::default());
        let mut order = parts.to_vec();
        if direction == Direction::Inverse {
            order.reverse();
        }
        for part in order {
            let own = if part.context_dim() > 0 { context } else { &Context::none() };
            let next = run(part, direction, &all.value, own, tape)?;
            let penalties: Vec<_> = [all.penalty, next.penalty].into_iter().flatten().collect();
            let log_det = sum(vec![all.log_det, next.log_det], tape)?;
            let penalty = if penalties.is_empty() { None } else { Some(sum(penalties, tape)?) };
            all = Mapped { value: next.value, log_det, penalty, work: all.work + next.work };
        }
        Ok(all)
    };
    outcome_of(parts, input, context, forth).unwrap()
}

/// Relative to 1 + |expected|.
pub(super) fn close(what: &str, got: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        let error = (got - expected).abs();
        assert!(error <= tolerance * (1.0 + expected.abs()), "{what} [{i}]: {got} {expected}");
    }
}

impl Outcome {
    /// Equal but for the order in which terms of log-dets and of sums over rows are added.
    pub(super) fn assert_close(&self, expected: &Self, what: &str) {
        assert_eq!(self.value, expected.value, "{what}: values");
        assert_eq!(self.d_input, expected.d_input, "{what}: gradient of the input");
        assert_eq!((&self.penalty, self.work), (&expected.penalty, expected.work), "{what}");
        close(&format!("{what}: log-det"), &self.log_det, &expected.log_det, 1e-13);
        close(&format!("{what}: context"), &self.d_context, &expected.d_context, 1e-13);
        assert_eq!(self.d_tensors.len(), expected.d_tensors.len(), "{what}: tensors");
        for (got, expected) in self.d_tensors.iter().zip(&expected.d_tensors) {
            // Sums of 700 terms of order one, relative to their result.
            close(&format!("{what}: tensor"), got, expected, 1e-13);
        }
    }

    /// Equal values, and gradients that are equal but for rounding.
    pub(super) fn assert_close_gradients(&self, expected: &Self) {
        assert_eq!((&self.value, &self.log_det), (&expected.value, &expected.log_det));
        let all = |outcome: &Self| {
            let Self { d_input, d_context, d_tensors, .. } = outcome;
            [d_input, d_context].into_iter().chain(d_tensors).flatten().copied().collect::<Vec<_>>()
        };
        close("gradients", &all(self), &all(expected), 1e-13);
    }
}
