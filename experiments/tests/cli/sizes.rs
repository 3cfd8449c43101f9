//! Flows scaled to a number of weights.

use experiments::Usage;
use experiments::compare::size::sized;
use experiments::config::RunConfig;
use experiments::preset::{ALL, Preset};
use flows_core::Parameters;

#[test]
fn presets_come_within_a_tenth_of_a_size_or_say_what_they_reach() {
    for preset in ALL.iter().filter(|preset| preset.flow.weights(3).is_ok()) {
        let config = RunConfig::of(preset);
        match sized(&config, preset.name, (3, 0), 10_000) {
            Ok(flow) => {
                let count = RunConfig { flow, ..config }.build::<f32>(3, 0).unwrap().count();
                assert!((9_000..=11_000).contains(&count), "{}: {count}", preset.name);
            }
            Err(error) => {
                assert!(error.is::<Usage>(), "{error:#}");
                assert!(error.to_string().contains("the nearest is"), "{error:#}");
            }
        }
    }
}

#[test]
fn flows_with_networks_reach_any_size() {
    for name in ["real-nvp", "nsf-coupling", "maf", "ffjord", "rnode"] {
        let config = RunConfig::of(Preset::named(Some(name)).unwrap());
        for target in [5_000, 200_000] {
            let flow = sized(&config, name, (3, 0), target).unwrap();
            let config = RunConfig { flow, ..config.clone() };
            let count = config.build::<f32>(3, 0).unwrap().count() as f64;
            assert!((count / target as f64 - 1.0).abs() <= 0.1, "{name}: {count} for {target}");
        }
    }
}

#[test]
fn a_flow_without_networks_cannot_be_a_million_weights() {
    let preset = Preset::named(Some("planar")).unwrap();
    let error = sized(&RunConfig::of(preset), "planar", (2, 0), 1_000_000).unwrap_err();
    assert!(error.to_string().starts_with("planar: expected a size within 10 %"), "{error:#}");
}
