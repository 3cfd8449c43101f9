//! Configs of transformers, of every kind that is registered.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_finite::architecture::{AffineConfig, TransformerConfig};
use serde_json::{Value, json};

use crate::elements::{Config, registered};

#[test]
fn every_transformer_survives_writing_and_refuses_what_it_does_not_know() {
    let all = registered();
    assert!(all.len() >= 15);
    for config in all {
        let written = serde_json::to_value(&config).unwrap();
        assert_eq!(written["kind"], config.typetag_name());
        let read: Config = serde_json::from_value(written.clone()).unwrap();
        assert_eq!(*read, *config);
        let mut wrong = written;
        wrong["wrong"] = json!(1);
        let error = serde_json::from_value::<Config>(wrong).unwrap_err().to_string();
        assert!(error.contains("unknown field `wrong`"), "{error}");
    }
}

#[test]
fn every_transformer_is_the_same_in_both_precisions() {
    for config in registered() {
        let (single, double) = (config.build_f32().unwrap(), config.build_f64().unwrap());
        assert_eq!(single.name(), double.name());
        assert_eq!(single.arity(), config.arity().unwrap());
        assert_eq!(single.initial(), double.initial());
    }
}

#[test]
fn settings_tell_configs_of_a_kind_apart() {
    let [one, other] = [AffineConfig::default(), AffineConfig::inverted()];
    assert_ne!(*one.shared(), *other.shared());
    assert_eq!(*one.shared(), *one.shared());
    let text = r#"{ "inverted": true, "kind": "affine" }"#;
    let read: Config = serde_json::from_str(text).unwrap();
    assert_eq!(*read, *other.shared());
    let unknown = serde_json::from_value::<Config>(json!({ "kind": "cubic" })).unwrap_err();
    assert!(unknown.to_string().contains("`cubic_spline`"), "{unknown}");
    assert!(serde_json::from_value::<Config>(Value::from("affine")).is_err());
}
