//! Reference values of rational_quadratic_spline.json and masked_autoregressive_affine.json, made by
//! other systems.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::activation::Activation;
use flows_core::masked::Hidden;
use flows_core::tensor::{batch, set_values};
use flows_core::testing::{close, flat, golden};
use flows_core::{Bijector, Context, Layer, Parameters, Tape, Values, stream};
use flows_finite::architecture::{
    AffineConfig, RationalQuadraticConfig, SplineConfig, TransformerConfig,
};
use flows_finite::{Autoregressive, MaskedConditioner, Order, Scale, Tails};

use crate::elements::at;

const TOLERANCE: f64 = 1e-10;

#[test]
fn golden_rational_quadratic_spline() {
    for case in golden("rational_quadratic_spline") {
        let raw = &case["parameters"]["unconstrained"];
        let widths = flat(&raw["widths"]);
        let bound = case["parameters"]["bound"].as_f64().unwrap();
        let config = SplineConfig { bins: widths.len(), bound, tails: Tails::Linear };
        let spline = RationalQuadraticConfig(config).shared();
        let parameters = [widths, flat(&raw["heights"]), flat(&raw["derivatives"])].concat();
        let [inputs, outputs, log_det] = ["inputs", "outputs", "log_det"].map(|k| flat(&case[k]));
        let (y, slope) = at::<f64>(&spline, &parameters, &inputs, false).unwrap();
        close("outputs", &y, &outputs, TOLERANCE);
        close("log-det", &slope, &log_det, TOLERANCE);
        let (x, slope) = at::<f64>(&spline, &parameters, &outputs, true).unwrap();
        close("inverse", &x, &inputs, TOLERANCE);
        let negated: Vec<f64> = slope.iter().map(|s| -s).collect();
        close("inverse log-det", &negated, &log_det, TOLERANCE);
    }
}

/// Hidden units of the golden network in a layer that has room for six of each degree; those that
/// are left over have weight zero.
#[test]
fn golden_masked_autoregressive_affine() {
    for case in golden("masked_autoregressive_affine") {
        let parameter = |name: &str| flat(&case["parameters"][name]);
        let dim = case["inputs"][0].as_array().unwrap().len();
        let degrees = parameter("hidden_degrees");
        let places = 6;
        let width = places * (dim - 1);
        let conditioner = MaskedConditioner {
            hidden: Hidden::Perceptron(vec![width]),
            activation: Activation::Tanh,
        };
        let affine = AffineConfig { scale: Scale::Exp, inverted: true }.shared();
        let (order, affine) = (Order::natural(dim), affine.build::<f64>().unwrap());
        let map = Autoregressive::new(&order, 0, affine, &conditioner).unwrap();
        let mut layer = Layer::new(map, &mut stream(0, "init")).unwrap();

        let mut taken = vec![0; dim];
        let (mut weight0, mut bias0) = (vec![0.0; width * dim], vec![0.0; width]);
        let mut weight1 = vec![0.0; 2 * dim * width];
        for (unit, &degree) in degrees.iter().enumerate() {
            let place = (degree as usize - 1) * places + taken[degree as usize - 1];
            taken[degree as usize - 1] += 1;
            bias0[place] = parameter("b1")[unit];
            for i in 0..dim {
                weight0[place * dim + i] = parameter("W1")[unit * dim + i];
                let row = |r: usize| (2 * i + r) * width + place;
                weight1[row(0)] = parameter("W_log_scale")[i * degrees.len() + unit];
                weight1[row(1)] = parameter("W_shift")[i * degrees.len() + unit];
            }
        }
        assert!(taken.iter().all(|&taken| taken <= places), "room for every unit");
        let pairs = parameter("b_log_scale").into_iter().zip(parameter("b_shift"));
        let bias1: Vec<f64> = pairs.flat_map(|(s, t)| [s, t]).collect();
        let mut values = [weight0, bias0, weight1, bias1].into_iter();
        layer.visit_mut(&mut |_, _, tensor| set_values(tensor, &values.next().unwrap())).unwrap();

        let inputs = flat(&case["inputs"]);
        let x = batch(inputs.clone(), inputs.len() / dim, dim).unwrap();
        let (none, tape) = (Context::none(), &mut Tape::none());
        let out = layer.inverse(&x, &none, tape).unwrap();
        close("outputs", &out.value.values(), &flat(&case["outputs"]), TOLERANCE);
        close("log-det", &out.log_det.values(), &flat(&case["log_det"]), TOLERANCE);
        let back = layer.forward(&out.value, &none, tape).unwrap();
        close("inverse", &back.value.values(), &inputs, TOLERANCE);
    }
}
