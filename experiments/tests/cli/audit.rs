//! The audit of a flow, and where draws stand on their way.

use experiments::audit::{audit, singular_values};
use experiments::config::RunConfig;
use experiments::integral::Integral;
use experiments::preset::Preset;
use experiments::rows::Rows;
use experiments::transport::transport;
use flows_core::parameters::Role;
use flows_core::tensor::set_values;
use flows_core::{ActNorm, Base, Context, Flow, Layer, Parameters, Values, stream};

fn preset(name: &str) -> RunConfig {
    RunConfig::of(Preset::named(Some(name)).unwrap())
}

#[test]
fn a_scaling_has_its_factors_for_singular_values() {
    let layer = Layer::new(ActNorm::new(2), &mut stream(0, "init")).unwrap();
    let mut flow = Flow::new(Base::standard_normal(2), Box::new(layer)).unwrap();
    flow.visit_mut(&mut |name, role, tensor| {
        // x = exp(s) z + t, so dz/dx = exp(-s).
        let values = if name.contains("scale") { [4f64.ln(), -2f64.ln()] } else { [3.0, 1.0] };
        if role == Role::Learned { set_values(tensor, &values) } else { Ok(()) }
    })
    .unwrap();
    for [high, low] in singular_values(&flow, &Rows::new(vec![0.0, 0.0, 5.0, -3.0], 2)).unwrap() {
        // Rounding of images of size 3 divided by the step.
        assert!((high - 2.0).abs() < 1e-10 && (low - 0.25).abs() < 1e-10, "{high} {low}");
    }
}

#[test]
fn both_precisions_of_new_flows_agree_to_rounding_and_tolerance() {
    for name in ["real-nvp", "ffjord"] {
        let config = preset(name);
        let flow = config.build::<f32>(2, 0).unwrap();
        let rows = (0..64).map(|i| (0.7 * f64::from(i)).sin()).collect();
        let rows = Rows::new(rows, 2);
        let integral = Integral::of(&flow, [-9.0, 9.0, -9.0, 9.0], 200).unwrap();
        let found = audit(&flow, &config, &rows, Some(integral)).unwrap();
        // The run's own precision, but for the rounding of a sum.
        let own = found.normalisation_f32.unwrap();
        assert!((own - integral.value).abs() < 1e-12, "{name}: {found:?}");
        // Some hundred roundings of single precision; the reporting solver's 1e-5 for ffjord.
        assert!(found.precision_gap_largest < 1e-4, "{name}: {found:?}");
        assert!(found.precision_gap_median <= found.precision_gap_largest);
        assert!(found.round_trip_f64 <= found.round_trip_f32 + 1e-5, "{name}: {found:?}");
        let integral = found.normalisation_f64.unwrap();
        assert!((integral - 1.0).abs() < 1e-3, "{name}: {found:?}");
        assert!(found.lipschitz * found.inverse_lipschitz >= found.condition_median);
        assert!(found.condition_median >= 1.0);
    }
}

#[test]
fn the_path_of_draws_ends_where_the_map_does() {
    // Ten couplings, each behind a linear layer, and act-norm; twelve times and act-norm.
    for (name, stages, tolerance) in [("real-nvp", 22, 0.0), ("ffjord", 14, 1e-4)] {
        let flow = preset(name).build::<f64>(2, 0).unwrap();
        let start = flow.base().sample(50, &mut stream(3, "start")).unwrap();
        let path = flow.bijector().stages(&start, &Context::none()).unwrap();
        let image = flow.bijector().image(&start, &Context::none()).unwrap().0;
        assert_eq!(path.len(), stages, "{name}");
        assert_eq!(path[0].values(), start.values());
        for (a, b) in path[stages - 1].values().into_iter().zip(image.values()) {
            // The solve is cut into twelve, each accurate to its tolerance of 1e-5.
            assert!((a - b).abs() <= tolerance, "{name}: {a} {b}");
        }
    }
}

#[test]
fn of_many_stages_twelve_are_kept_with_the_first_and_the_last() {
    let flow = preset("real-nvp").build::<f64>(2, 0).unwrap();
    let rows = transport(&flow, &mut stream(3, "transport")).unwrap();
    let mut stages: Vec<f32> = rows.chunks(3).map(|row| row[0]).collect();
    stages.dedup();
    assert_eq!((stages.len(), stages[0], stages[11]), (12, 0.0, 21.0));
    assert!(stages.windows(2).all(|pair| pair[0] < pair[1]));
}
