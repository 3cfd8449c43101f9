//! Maps of the circle stand only where points lie on it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test reports by panicking")]

use std::f64::consts::PI;
use std::sync::Arc;

use flows_core::{Base, Bijector, Chain, Error, Flow, Inverse, Layer, Part, Space, stream};
use flows_finite::{
    CircularSpline, Elementwise, Interval, LuLinear, RationalQuadratic, Tails, Transformer,
};

fn layer(dim: usize, transformer: impl Transformer<f64> + 'static) -> Box<dyn Bijector<f64>> {
    let map = Elementwise::new(dim, Arc::new(transformer));
    Box::new(Layer::new(map, &mut stream(0, "init")).unwrap())
}

fn circle(dim: usize) -> Box<dyn Bijector<f64>> {
    layer(dim, CircularSpline::new(4, PI).unwrap())
}

fn linear(dim: usize) -> Box<dyn Bijector<f64>> {
    Box::new(Layer::new(LuLinear::new(dim).unwrap(), &mut stream(0, "init")).unwrap())
}

fn chain(dim: usize, parts: Vec<Box<dyn Bijector<f64>>>) -> Box<dyn Bijector<f64>> {
    Box::new(Chain::new(dim, parts).unwrap())
}

fn uniform(dim: usize, end: f64) -> Base<f64> {
    Base::uniform_box(vec![-end; dim], vec![end; dim]).unwrap()
}

/// Feature, expected and got, where the flow is refused.
fn refusal(base: Base<f64>, bijector: Box<dyn Bijector<f64>>) -> Option<(usize, Space, Space)> {
    match Flow::new(base, bijector) {
        Ok(_) => None,
        Err(Error::Space { feature, expected, got, .. }) => Some((feature, expected, got)),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_circle_takes_a_base_on_the_circle_only() {
    let on = Space::Circle([-PI, PI]);
    assert_eq!(refusal(uniform(2, PI), circle(2)), None);
    let normal = Base::standard_normal(2);
    assert_eq!(refusal(normal.clone(), circle(2)), Some((0, on, Space::Line)));
    let wide = Space::Interval([-4.0, 4.0]);
    assert_eq!(refusal(uniform(2, 4.0), circle(2)), Some((0, on, wide)));
    let tails = RationalQuadratic::new(4, PI, Tails::Circular).unwrap();
    assert_eq!(refusal(normal.clone(), layer(2, tails)), Some((0, on, Space::Line)));
    let error = Flow::new(normal, circle(2)).unwrap_err().to_string();
    assert!(error.contains("circular spline: feature 0") && error.contains("the real line"));
}

#[test]
fn spaces_pass_through_chains_parts_and_inverses() {
    let on = Space::Circle([-PI, PI]);
    let normal = || Base::standard_normal(2);
    let onto = || layer(2, Interval::new(-3.0, 3.0).unwrap());
    assert_eq!(refusal(normal(), chain(2, vec![onto(), circle(2), circle(2)])), None);
    assert_eq!(refusal(uniform(2, PI), chain(2, vec![circle(2), linear(2)])), None);
    let after_linear = chain(2, vec![linear(2), circle(2)]);
    assert_eq!(refusal(uniform(2, PI), after_linear), Some((0, on, Space::Line)));
    let part = Part::new(circle(1), 2, vec![1]).unwrap();
    assert_eq!(refusal(normal(), Box::new(part)), Some((1, on, Space::Line)));
    let inverse = Inverse::new(circle(2));
    assert_eq!(refusal(normal(), Box::new(inverse)), Some((0, on, Space::Line)));
    assert_eq!(refusal(uniform(2, PI), Box::new(Inverse::new(circle(2)))), None);
}
