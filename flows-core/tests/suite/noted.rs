//! A map that notes what it is asked for, in a layer.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::sync::{Arc, Mutex};

use flows_core::lanes::{lanes, lanes_mut, named};
use flows_core::map::{Block, Pull};
use flows_core::tensor::set_values;
use flows_core::{
    Batch, Error, EvalMode, Exactness, HasLayout, Layer, Layout, Map, Parameters, Purpose, Result,
    Role, Scratch, Tensors, Values, Work, stream,
};

/// x = z + location, which notes what it is asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Noted {
    calls: Arc<Mutex<Vec<String>>>,
}

impl Noted {
    pub(super) fn note(&self, call: impl Into<String>) {
        self.calls.lock().unwrap().push(call.into());
    }

    /// What it was asked for since this was called last.
    pub(super) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }
}

impl HasLayout for Noted {
    fn layout(&self) -> Vec<Layout> {
        vec![
            Layout::zeros("location", 1, 2),
            Layout::uniform("mixing", 3, 4, 16),
            Layout::given("corner", 2, 1, vec![1.5, -2.5]),
            Layout::zeros("refreshed", 1, 1).fixed(),
            Layout::given("seen", 1, 1, vec![-1.0]).fixed().within("inner"),
        ]
    }
}

/// Prepared are the location alone and minus the number of refreshments.
impl Map<f64> for Noted {
    fn name(&self) -> &'static str {
        "noted"
    }

    fn dim(&self) -> usize {
        2
    }

    fn exactness(&self, purpose: Purpose) -> Exactness {
        match purpose {
            Purpose::Training => Exactness::Estimated,
            Purpose::Reporting => Exactness::Exact,
        }
    }

    fn prepare(&self, tensors: Vec<Vec<f64>>) -> Result<Vec<Vec<f64>>> {
        self.note("prepare");
        if tensors[0].iter().any(|t| t.is_nan()) {
            return Err(Error::NonFinite { quantity: "location", row: 0, advice: "none" });
        }
        Ok(vec![tensors[0].clone(), vec![-tensors[3][0]]])
    }

    /// Of the tensors that are not learned something as well, which nobody may see.
    fn pull_prepared(
        &self,
        tensors: &Tensors<f64>,
        prepared: &[Vec<f64>],
        gradient: &[Vec<f64>],
    ) -> Result<Option<Vec<Vec<f64>>>> {
        self.note("pull");
        let values = tensors.values();
        assert_eq!(prepared, [values[0].clone(), vec![-values[3][0]]]);
        let mut all: Vec<Vec<f64>> = values.iter().map(|t| vec![7.0; t.len()]).collect();
        all[0].clone_from(&gradient[0]);
        Ok(Some(all))
    }

    /// The mean of the first batch, once.
    fn initialise(&self, tensors: &Tensors<f64>, x: &Batch<f64>) -> Result<Option<Vec<Vec<f64>>>> {
        self.note("initialise");
        let mut values = tensors.values();
        if values[4] == [1.0] {
            return Ok(None);
        }
        let mean = |i| x.values().iter().skip(i).step_by(2).sum::<f64>() / x.rows() as f64;
        (values[0], values[4]) = (vec![mean(0), mean(1)], vec![1.0]);
        Ok(Some(values))
    }

    fn refresh(&self, tensors: &Tensors<f64>, purpose: Purpose) -> Result<Option<Vec<Vec<f64>>>> {
        self.note(format!("refresh for {purpose:?}"));
        let mut values = tensors.values();
        values[3][0] += 1.0;
        Ok(Some(values))
    }

    /// For each row its place and the seed.
    fn noise(&self, mode: EvalMode, rows: usize) -> Vec<f64> {
        match mode.purpose {
            Purpose::Reporting => Vec::new(),
            Purpose::Training => {
                (0..rows).flat_map(|row| [row as f64, (mode.seed % 1000) as f64]).collect()
            }
        }
    }

    /// What is no log-det in training is the noise, by which it can be told apart.
    fn forward(&self, at: Block<'_, f64>, _: &mut Scratch) -> Result<Work> {
        let [location, refreshed] = named(at.parameters);
        for (i, &t) in location.iter().enumerate() {
            let pairs = lanes_mut(at.value, i).iter_mut().zip(lanes(at.input, i));
            pairs.for_each(|(x, z)| *x = z + t);
        }
        if at.mode.purpose == Purpose::Training {
            for (lane, sum) in at.log_det.iter_mut().enumerate() {
                *sum += lanes(at.noise, 0)[lane] + 1e6 * lanes(at.noise, 1)[lane];
            }
        } else {
            assert!(at.noise.is_empty());
        }
        assert!(refreshed[0] < 0.0, "never refreshed");
        Ok(Work::default())
    }

    fn inverse(&self, at: Block<'_, f64>, _: &mut Scratch) -> Result<Work> {
        let [location, _] = named(at.parameters);
        for (i, &t) in location.iter().enumerate() {
            let pairs = lanes_mut(at.value, i).iter_mut().zip(lanes(at.input, i));
            pairs.for_each(|(z, x)| *z = x - t);
        }
        Ok(Work::default())
    }

    fn forward_gradient(&self, at: Pull<'_, '_, f64>, _: &mut Scratch) -> Result<()> {
        at.d_input.copy_from_slice(at.d_value);
        for (i, sum) in at.gradients[0].iter_mut().enumerate() {
            *sum += lanes(at.d_value, i).iter().sum::<f64>();
        }
        Ok(())
    }

    fn inverse_gradient(&self, at: Pull<'_, '_, f64>, _: &mut Scratch) -> Result<()> {
        at.d_input.copy_from_slice(at.d_value);
        for (i, sum) in at.gradients[0].iter_mut().enumerate() {
            *sum -= lanes(at.d_value, i).iter().sum::<f64>();
        }
        Ok(())
    }
}

/// Values of the right sizes.
pub(super) fn start() -> Vec<Vec<f64>> {
    Noted::default().layout().iter().map(|l| vec![f64::NAN; l.rows * l.columns]).collect()
}

pub(super) fn noted() -> (Noted, Layer<f64>) {
    let map = Noted::default();
    let layer = Layer::new(map.clone(), &mut stream(5, "init")).unwrap();
    (map, layer)
}

pub(super) fn tensors(model: &(impl Parameters<f64> + ?Sized)) -> Vec<(String, Role, Batch<f64>)> {
    let mut all = Vec::new();
    model.visit(&mut |name, role, tensor| all.push((name.to_owned(), role, tensor.clone())));
    all
}

pub(super) fn values(model: &(impl Parameters<f64> + ?Sized), name: &str) -> Vec<f64> {
    let all = tensors(model);
    all.iter().find(|(this, ..)| this == name).unwrap().2.values()
}

pub(super) fn set(model: &mut (impl Parameters<f64> + ?Sized), name: &str, values: &[f64]) {
    let result = model.visit_mut(&mut |this, _, tensor| {
        if this == name { set_values(tensor, values) } else { Ok(()) }
    });
    result.unwrap();
}
