//! A transformer of a user's own, which nothing in the program names.

use std::sync::Arc;

use experiments::config::RunConfig;
use experiments::stated::Stated;
use flows_core::operation::LANES;
use flows_core::testing::{Tolerance, check_bijector, normal_point, perturb};
use flows_core::{Parameters, Real, Result, stream};
use flows_finite::transformer::{Inner, Outer, SharedTransformer, TransformerConfig};
use flows_finite::{Transformer, architecture::AutoregressiveFlow};
use serde::{Deserialize, Serialize};

/// Its name in files.
pub(crate) const KIND: &str = "stretch";

/// y = factor x + t, the shift t being its parameter; it is its own config.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stretch {
    factor: f64,
}

#[typetag::serde(name = "stretch")]
impl TransformerConfig for Stretch {
    flows_core::build_in_both_precisions!(|self| -> SharedTransformer { Ok(Arc::new(*self)) });
}

impl<E: Real> Transformer<E> for Stretch {
    fn name(&self) -> &'static str {
        "stretch"
    }

    fn arity(&self) -> usize {
        1
    }

    fn initial(&self) -> Vec<f64> {
        vec![0.0]
    }

    fn forward(&self, x: &[E], theta: &[E], y: &mut [E], log_slope: &mut [E]) -> Result<()> {
        for lane in 0..LANES {
            y[lane] = E::of(self.factor) * x[lane] + theta[lane];
            log_slope[lane] += E::of(self.factor.ln());
        }
        Ok(())
    }

    fn inverse(&self, y: &[E], theta: &[E], x: &mut [E], log_slope: &mut [E]) -> Result<u64> {
        for lane in 0..LANES {
            x[lane] = (y[lane] - theta[lane]) / E::of(self.factor);
            log_slope[lane] -= E::of(self.factor.ln());
        }
        Ok(0)
    }

    fn forward_gradient(&self, _: &[E], _: &[E], outer: Outer<'_, E>, inner: Inner<'_, E>) {
        inner.theta.copy_from_slice(outer.value);
        for (gradient, &value) in inner.value.iter_mut().zip(outer.value) {
            *gradient = E::of(self.factor) * value;
        }
    }
}

fn read(text: &str) -> anyhow::Result<RunConfig> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), text)?;
    Stated { file: Some(file.path()), ..Stated::default() }.read().map(|read| read.config)
}

#[test]
fn a_config_names_it_in_every_wiring() {
    for (wiring, small) in [
        ("coupling", "conditioner = { hidden = [6], activation = \"tanh\" }"),
        ("autoregressive", "conditioner = { hidden = [6], activation = \"tanh\" }"),
        ("recurrent", "hidden = 3"),
        ("gaussianization", "reflections = 2"),
    ] {
        let transformer = "transformer = { kind = \"stretch\", factor = 1.5 }";
        let text = format!(
            "[flow]\nkind = \"{wiring}\"\nlayers = 2\nact_norm = false\n{transformer}\n{small}\n"
        );
        let config = read(&text).unwrap();
        let mut flow = config.flow.build_f64(3, 1, &mut stream(1, "init")).unwrap();
        perturb(&mut flow, 0.1, &mut stream(2, "perturb")).unwrap();
        check_bijector(&mut flow, normal_point(1.0), Tolerance::default());
        assert_eq!(
            config.build::<f32>(3, 0).unwrap().count(),
            config.build::<f64>(3, 0).unwrap().count()
        );
        let written = toml::to_string(&config).unwrap();
        assert_eq!(read(&written).unwrap(), config, "{written}");
    }
    let flow = |factor| AutoregressiveFlow {
        transformer: Stretch { factor }.shared(),
        ..AutoregressiveFlow::default()
    };
    assert_eq!(*flow(2.0).transformer, *flow(2.0).transformer);
    assert_ne!(*flow(2.0).transformer, *flow(3.0).transformer);
}

#[test]
fn a_kind_or_a_setting_that_is_not_there_is_refused_with_those_that_are() {
    let flow = "[flow]\nkind = \"coupling\"\n";
    for (transformer, says) in [
        ("{ kind = \"strech\", factor = 2 }", "`rational_quadratic`, `stretch`"),
        ("{ kind = \"stretch\", factr = 2 }", "unknown field `factr`, expected `factor`"),
        ("{ kind = \"stretch\" }", "missing field `factor`"),
        ("3", "expected the `kind` of a transformer"),
        ("\"stretch\"", "write transformer = { kind = \"stretch\" }"),
        ("{ stretch = { factor = 2 } }", "write transformer = { kind = \"stretch\", factor = 2 }"),
    ] {
        let error = read(&format!("{flow}transformer = {transformer}\n")).unwrap_err();
        assert!(error.is::<experiments::Usage>(), "{error:#}");
        let message = error.to_string();
        assert!(message.contains(says), "{transformer}: {message}");
        assert!(!message.contains("dyn"), "{message}");
    }
}
