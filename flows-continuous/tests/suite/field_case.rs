//! A field at drawn places, and what must hold of every field there: tangents, trace and gradients
//! agree with differences, and single precision with double.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::sync::Arc;

use flows_continuous::{FieldGradients, FieldInput, FieldKernel};
use flows_core::operation::LANES;
use flows_core::testing::distance_to_scale;
use flows_core::{LastLayer, Real, Scratch, normals, stream};

/// Step of the differences. With four points their error is h^4 = 1e-12 times a fifth derivative
/// over 30, beside rounding of 1e-16 / h = 1e-13 of the values.
const STEP: f64 = 1e-3;

/// A field in both precisions with parameters, and an instant of its own for each row.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) double: Arc<dyn FieldKernel<f64>>,
    pub(crate) single: Arc<dyn FieldKernel<f32>>,
    pub(crate) parameters: Vec<Vec<f64>>,
    pub(crate) time: Vec<f64>,
    pub(crate) tangents: usize,
    pub(crate) state: Vec<f64>,
    pub(crate) context: Vec<f64>,
    pub(crate) structure: Option<Vec<f64>>,
}

/// Gradients of the state, the time, the context and each parameter.
pub(crate) struct Gradients {
    pub(crate) state: Vec<f64>,
    pub(crate) time: Vec<f64>,
    pub(crate) context: Vec<f64>,
    pub(crate) parameters: Vec<Vec<f64>>,
}

fn cast<E: Real>(values: &[f64]) -> Vec<E> {
    values.iter().map(|&v| E::of(v)).collect()
}

fn wide<E: Real>(values: &[E]) -> Vec<f64> {
    values.iter().map(|v| v.as_f64()).collect()
}

/// The four-point difference of a function of a step.
pub(crate) fn slope(f: impl Fn(f64) -> f64) -> f64 {
    (8.0 * (f(STEP) - f(-STEP)) - (f(2.0 * STEP) - f(-2.0 * STEP))) / (12.0 * STEP)
}

/// The same of a block.
pub(crate) fn slopes(f: impl Fn(f64) -> Vec<f64>) -> Vec<f64> {
    let [a, b, c, d] = [1.0, -1.0, 2.0, -2.0].map(|step| f(step * STEP));
    let at = |i: usize| (8.0 * (a[i] - b[i]) - (c[i] - d[i])) / (12.0 * STEP);
    (0..a.len()).map(at).collect()
}

#[track_caller]
pub(crate) fn assert_near(what: &str, got: &[f64], expected: &[f64], tolerance: f64) {
    let far = distance_to_scale(got, expected);
    assert!(far <= tolerance, "{what}: {far:e} > {tolerance:e}");
}

/// The gradients of an evaluation from that of what it wrote.
fn pull<E: Real>(
    field: &dyn FieldKernel<E>,
    at: FieldInput<'_, E>,
    parameters: &[&[E]],
    scratch: &mut Scratch,
    mut velocity: Vec<E>,
) -> Gradients {
    let mut state = vec![E::nan(); at.state.len()];
    // What is added to starts at one: an overwritten sum shows.
    let [mut time, mut context] = [LANES, at.context.len()].map(|n| vec![E::one(); n]);
    let mut sums: Vec<Vec<E>> = parameters.iter().map(|p| vec![E::one(); p.len()]).collect();
    let mut views: Vec<&mut [E]> = sums.iter_mut().map(Vec::as_mut_slice).collect();
    let gradients = FieldGradients {
        velocity: &mut velocity,
        time: &mut time,
        state: &mut state,
        context: &mut context,
        parameters: &mut views,
        buffers: &mut Scratch::new(),
    };
    field.backward(at, parameters, scratch, gradients);
    let less_one = |sum: &[E]| wide(sum).iter().map(|v| v - 1.0).collect::<Vec<_>>();
    Gradients {
        state: wide(&state),
        time: less_one(&time),
        context: less_one(&context),
        parameters: sums.iter().map(|sum| less_one(sum)).collect(),
    }
}

impl Case {
    /// A standard normal state, tangents and context, times in [-1, 1]; parameters as a network
    /// draws them. The structure is not asked for.
    pub(crate) fn new(
        field: impl FieldKernel<f64> + FieldKernel<f32> + Clone + 'static,
        tangents: usize,
        seed: u64,
    ) -> Self {
        let (double, single): (Arc<dyn FieldKernel<f64>>, Arc<dyn FieldKernel<f32>>) =
            (Arc::new(field.clone()), Arc::new(field));
        let rng = &mut stream(seed, "case");
        let parameters = LastLayer::Random.start(&double.layout(), rng);
        let time = normals::<f64>(LANES, rng).iter().map(|t| t.tanh()).collect();
        let state = normals(double.dim() * (1 + tangents) * LANES, rng);
        let context = normals(double.context_dim() * LANES, rng);
        Self { double, single, parameters, time, tangents, state, context, structure: None }
    }

    pub(crate) fn asking(self, structure: Vec<f64>) -> Self {
        Self { structure: Some(structure), ..self }
    }

    pub(crate) fn dim(&self) -> usize {
        self.double.dim()
    }

    fn stride(&self) -> usize {
        (1 + self.tangents) * LANES
    }

    /// Values that follow the velocity.
    fn own(&self) -> usize {
        match self.structure {
            Some(_) => self.double.structure().rows() * LANES,
            None => 0,
        }
    }

    fn run<E: Real>(
        &self,
        field: &dyn FieldKernel<E>,
        outer: Option<&[f64]>,
    ) -> (Vec<f64>, Option<Gradients>) {
        let time = cast::<E>(&self.time);
        let (state, context) = (cast::<E>(&self.state), cast::<E>(&self.context));
        let structure = self.structure.as_deref().map(cast::<E>);
        let at = FieldInput {
            time: &time,
            tangents: self.tangents,
            state: &state,
            context: &context,
            structure: structure.as_deref(),
        };
        let parameters: Vec<Vec<E>> = self.parameters.iter().map(|p| cast(p)).collect();
        let parameters: Vec<&[E]> = parameters.iter().map(Vec::as_slice).collect();
        let mut scratch = Scratch::new();
        let mut out = vec![E::nan(); self.dim() * self.stride() + self.own()];
        field.forward(at, &parameters, &mut scratch, &mut out);
        let first = wide(&out);
        field.forward(at, &parameters, &mut scratch, &mut out);
        assert_eq!(first, wide(&out), "an evaluation in a used scratch");
        let gradients = outer.map(|outer| pull(field, at, &parameters, &mut scratch, cast(outer)));
        (first, gradients)
    }

    /// Velocity, tangents and the field's own rows.
    pub(crate) fn evaluate(&self) -> Vec<f64> {
        self.run(&*self.double, None).0
    }

    /// Velocity of each row alone, without tangents and structure.
    pub(crate) fn velocity(&self) -> Vec<f64> {
        self.plain_case().evaluate()
    }

    /// Without tangents and structure.
    pub(crate) fn plain_case(&self) -> Self {
        let state = self.state.chunks(self.stride()).flat_map(|row| &row[..LANES]);
        let state = state.copied().collect();
        Self { state, tangents: 0, structure: None, ..self.clone() }
    }

    /// State, time and context of a lane.
    pub(crate) fn row(&self, lane: usize) -> (Vec<f64>, f64, Vec<f64>) {
        let state = self.state.chunks(self.stride()).map(|row| row[lane]).collect();
        (state, self.time[lane], self.context.chunks(LANES).map(|row| row[lane]).collect())
    }

    /// The velocity against a plain function of parameters, state, time and context.
    #[track_caller]
    pub(crate) fn check_velocity(
        &self,
        tolerance: f64,
        plain: impl Fn(&[Vec<f64>], &[f64], f64, &[f64]) -> Vec<f64>,
    ) {
        let got = self.velocity();
        for lane in 0..LANES {
            let (state, time, context) = self.row(lane);
            let expected = plain(&self.parameters, &state, time, &context);
            let got: Vec<f64> = got.chunks(LANES).map(|row| row[lane]).collect();
            let far = distance_to_scale(&got, &expected);
            assert!(far <= tolerance, "velocity of lane {lane}: {far:e}");
        }
    }

    /// Tangents of the velocity against differences along those of the state.
    #[track_caller]
    pub(crate) fn check_tangents(&self) {
        let (out, stride) = (self.evaluate(), self.stride());
        let values: Vec<f64> = out.chunks(stride).flat_map(|row| row[..LANES].to_vec()).collect();
        assert_eq!(values[..self.dim() * LANES], self.velocity()[..], "tangents change no value");
        for tangent in 1..=self.tangents {
            let part = |rows: &[f64]| -> Vec<f64> {
                rows.chunks(stride).flat_map(|r| r[tangent * LANES..][..LANES].to_vec()).collect()
            };
            let direction = part(&self.state);
            let moved = |step: f64| {
                let mut case = self.plain_case();
                for (state, along) in case.state.iter_mut().zip(&direction) {
                    *state += step * along;
                }
                case.evaluate()
            };
            assert_near("tangent", &part(&out), &slopes(moved), 1e-9);
        }
    }

    /// Trace of the Jacobian of each row by differences of the velocity.
    pub(crate) fn trace(&self) -> Vec<f64> {
        let mut trace = vec![0.0; LANES];
        for feature in 0..self.dim() {
            let moved = |step: f64| {
                let mut case = self.plain_case();
                case.state[feature * LANES..][..LANES].iter_mut().for_each(|z| *z += step);
                case.evaluate()[feature * LANES..][..LANES].to_vec()
            };
            trace.iter_mut().zip(slopes(moved)).for_each(|(trace, part)| *trace += part);
        }
        trace
    }

    /// Random weights of everything that an evaluation writes.
    fn outgoing(&self) -> Vec<f64> {
        normals(self.dim() * self.stride() + self.own(), &mut stream(77, "outgoing"))
    }

    /// The weighted sum over what belongs to each lane.
    fn loss(&self) -> Vec<f64> {
        let mut loss = vec![0.0; LANES];
        let rows = self.evaluate();
        for (row, weights) in rows.chunks(LANES).zip(self.outgoing().chunks(LANES)) {
            for lane in 0..LANES {
                loss[lane] += row[lane] * weights[lane];
            }
        }
        loss
    }

    /// All gradients of all that is written, weighed at random, against differences.
    #[track_caller]
    pub(crate) fn check_gradients(&self) {
        let gradients = self.run(&*self.double, Some(&self.outgoing())).1.unwrap();
        let along = |pick: fn(&mut Self) -> &mut Vec<f64>, row: usize| {
            slopes(|step| {
                let mut case = self.clone();
                pick(&mut case)[row * LANES..][..LANES].iter_mut().for_each(|v| *v += step);
                case.loss()
            })
        };
        let rows = |pick: fn(&mut Self) -> &mut Vec<f64>, count: usize| -> Vec<f64> {
            (0..count).flat_map(|row| along(pick, row)).collect()
        };
        let count = self.state.len() / LANES;
        assert_near("d state", &gradients.state, &rows(|c| &mut c.state, count), 1e-9);
        assert_near("d time", &gradients.time, &rows(|c| &mut c.time, 1), 1e-9);
        let count = self.context.len() / LANES;
        assert_near("d context", &gradients.context, &rows(|c| &mut c.context, count), 1e-9);
        for (index, part) in gradients.parameters.iter().enumerate() {
            let expected: Vec<f64> = (0..part.len())
                .map(|entry| {
                    slope(|step| {
                        let mut case = self.clone();
                        case.parameters[index][entry] += step;
                        case.loss().iter().sum()
                    })
                })
                .collect();
            let name = &self.double.layout()[index].name;
            assert_near(&format!("d {name}"), part, &expected, 1e-9);
            if self.structure.is_some() {
                assert!(part.iter().all(|&g| g != 0.0), "{name}: an entry without a gradient");
            }
        }
    }

    /// Single against double precision, on what single precision can hold: `units` of 6e-8 of the
    /// largest value.
    #[track_caller]
    pub(crate) fn check_single(&self, units: f64) {
        let round = |values: &[f64]| wide(&cast::<f32>(values));
        let case = Self {
            parameters: self.parameters.iter().map(|p| round(p)).collect(),
            time: round(&self.time),
            state: round(&self.state),
            context: round(&self.context),
            structure: self.structure.as_deref().map(round),
            ..self.clone()
        };
        let outer = round(&self.outgoing());
        let (single, d_single) = case.run(&*self.single, Some(&outer));
        let (double, d_double) = case.run(&*self.double, Some(&outer));
        let (d_single, d_double) = (d_single.unwrap(), d_double.unwrap());
        let tolerance = units * 6e-8;
        assert_near("f32", &single, &double, tolerance);
        assert_near("f32 d state", &d_single.state, &d_double.state, tolerance);
        assert_near("f32 d time", &d_single.time, &d_double.time, tolerance);
        assert_near("f32 d context", &d_single.context, &d_double.context, tolerance);
        for (single, double) in d_single.parameters.iter().zip(&d_double.parameters) {
            assert_near("f32 d parameter", single, double, tolerance);
        }
    }
}
