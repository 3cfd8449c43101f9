//! Conditional flows.

use super::{Rows, exact_normal, excess, small};
use crate::Place;

/// The draws of a row: c and x given c.
fn row(scale: f64) -> impl Fn(usize, &[f64]) -> [f64; 2] {
    move |_, z| [scale * z[0], 3.0 * z[0] + 0.1 * z[1]]
}

/// Situation 43, 44. x | c ~ N(3 c, 0.1^2): the only feature of an autoregressive flow sees the context, without
/// which it would be ln(sqrt(9.01) / 0.1) = 3.4 nats off. A context of size 2^20 is standardised like any
/// other, to the same bits.
#[test]
fn the_first_feature_of_an_autoregressive_flow_sees_a_context_of_any_size() {
    let place = Place::new();
    let large = f64::from(1 << 20);
    let names = &["c", "x"];
    for (name, scale) in [("plain", 1.0), ("large", large)] {
        // One name of the draws for both.
        for file in ["t.npz", "fresh.npz"] {
            Rows(3_000).write(&place, file, names, row(scale));
            std::fs::rename(place.path(file), place.path(&format!("{name}-{file}"))).unwrap();
        }
        small(&place, "c.toml", "maf", "");
        place.succeeds(&format!(
            "fit c.toml --steps 300 --context 0 --data {name}-t.npz --out {name}"
        ));
    }
    assert!(place.bytes("plain/samples.npy") == place.bytes("large/samples.npy"));
    let truth = |x: &[f64]| exact_normal(x[1], 3.0 * x[0], 0.1);
    let [mean, error] = excess(&place, "plain", "plain-fresh.npz", truth);
    let ignored = (9.01_f64.sqrt() / 0.1).ln();
    assert!(mean > -4.0 * error && mean < 0.1 * ignored, "{mean} +- {error}");
    let [other, _] = excess(&place, "large", "large-fresh.npz", |x| truth(&[x[0] / large, x[1]]));
    assert!((mean - other).abs() < f64::from(f32::EPSILON), "{mean} {other}");
}
