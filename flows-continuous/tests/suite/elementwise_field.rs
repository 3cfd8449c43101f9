//! A field of one formula for every feature, which counts how often it is asked.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use flows_continuous::{Accuracy, Continuous, FieldGradients, FieldInput, FieldKernel};
use flows_core::operation::LANES;
use flows_core::{HasLayout, LastLayer, Layout, Network, Scratch, stream};

use super::objective::replace;

/// f with dz/dt = f(z).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Law {
    /// z^2: z = z0 / (1 - z0 t), which explodes at t = 1 / z0, and log dz/dz0 = -2 ln(1 - z0 t).
    Square,
    /// -rate (z - 1)
    Relax(f64),
    /// 1 up to z = this, not a number beyond.
    Wall(f64),
}

impl Law {
    /// f, f' and f''.
    fn jet(self, z: f64) -> [f64; 3] {
        match self {
            Self::Square => [z * z, 2.0 * z, 2.0],
            Self::Relax(rate) => [-rate * (z - 1.0), -rate, 0.0],
            Self::Wall(end) if z <= end => [1.0, 0.0, 0.0],
            Self::Wall(_) => [f64::NAN; 3],
        }
    }
}

/// Calls of a field, of up to 128 rows each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calls(Arc<AtomicUsize>);

impl Calls {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn note(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// dz/dt = scale f(z), where the scale is a parameter.
#[derive(Clone, Debug)]
pub(crate) struct ElementwiseField {
    dim: usize,
    law: Law,
    calls: Calls,
}

impl HasLayout for ElementwiseField {
    fn layout(&self) -> Vec<Layout> {
        vec![Layout::uniform("scale", 1, 1, 1).in_last_layer(true)]
    }
}

impl FieldKernel<f64> for ElementwiseField {
    fn dim(&self) -> usize {
        self.dim
    }

    fn forward(
        &self,
        at: FieldInput<'_, f64>,
        parameters: &[&[f64]],
        _: &mut Scratch,
        velocity: &mut [f64],
    ) {
        self.calls.note();
        let (scale, stride) = (parameters[0][0], (1 + at.tangents) * LANES);
        for (out, state) in velocity.chunks_mut(stride).zip(at.state.chunks(stride)) {
            for index in 0..stride {
                let [f, slope, _] = self.law.jet(state[index % LANES]);
                out[index] = scale * if index < LANES { f } else { slope * state[index] };
            }
        }
    }

    fn backward(
        &self,
        at: FieldInput<'_, f64>,
        parameters: &[&[f64]],
        _: &mut Scratch,
        gradients: FieldGradients<'_, '_, f64>,
    ) {
        let (scale, stride) = (parameters[0][0], (1 + at.tangents) * LANES);
        let outer = gradients.velocity.chunks(stride);
        let rows = gradients.state.chunks_mut(stride).zip(at.state.chunks(stride)).zip(outer);
        for ((into, state), outer) in rows {
            into.fill(0.0);
            for index in 0..stride {
                let [f, slope, bend] = self.law.jet(state[index % LANES]);
                let of_scale = if index < LANES { f } else { slope * state[index] };
                gradients.parameters[0][0] += outer[index] * of_scale;
                into[index] += outer[index] * scale * slope;
                if index >= LANES {
                    into[index % LANES] += outer[index] * scale * bend * state[index];
                }
            }
        }
    }
}

/// The flow of a law between two times.
pub(crate) fn flow(
    dim: usize,
    law: Law,
    times: [f64; 2],
    accuracy: Accuracy,
) -> (Continuous<f64>, Calls) {
    let calls = Calls::default();
    let kernel = ElementwiseField { dim, law, calls: calls.clone() };
    let field = Network::new(kernel, LastLayer::Random, &mut stream(1, "init")).unwrap();
    let mut flow = Continuous::new(field, times, accuracy, accuracy).unwrap();
    replace(&mut flow, "field.scale", &[1.0]);
    (flow, calls)
}
