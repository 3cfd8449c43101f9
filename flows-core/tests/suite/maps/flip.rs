//! A bijector that is no map.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::tensor::per_row;
use flows_core::{
    Batch, Bijector, Context, Mapped, Parameters, Result, Tape, Values, Work, custom_gradient,
};

/// The features in reverse order, as a bijector of the whole batch that is no map; with a penalty.
#[derive(Debug)]
pub(crate) struct Flip {
    pub(crate) dim: usize,
}

impl Flip {
    fn run(
        &self,
        input: &Batch<f64>,
        context: &Context<f64>,
        tape: &mut Tape<f64>,
    ) -> Result<Mapped<f64>> {
        let (dim, rows) = (self.dim, input.rows());
        context.check("flip", 0, rows)?;
        let flipped = move |values: &[f64]| -> Vec<f64> {
            values.chunks(dim).flat_map(|row| row.iter().rev().copied()).collect()
        };
        let values = flipped(&input.values());
        let penalty = per_row(values.iter().step_by(dim).map(|v| v * v).collect())?;
        let back = move |gradient: &[f64]| vec![flipped(gradient)];
        let value = custom_gradient(&[input], (values, rows, dim), back, tape)?;
        let log_det = per_row(vec![0.0; rows])?;
        Ok(Mapped { penalty: Some(penalty), ..Mapped::new(value, log_det, Work::passes(1)) })
    }
}

impl Parameters<f64> for Flip {
    fn visit(&self, _: &mut flows_core::parameters::Visitor<'_, f64>) {}

    fn visit_mut(&mut self, _: &mut flows_core::parameters::VisitorMut<'_, f64>) -> Result<()> {
        Ok(())
    }
}

impl Bijector<f64> for Flip {
    fn dim(&self) -> usize {
        self.dim
    }

    fn forward(
        &self,
        z: &Batch<f64>,
        context: &Context<f64>,
        tape: &mut Tape<f64>,
    ) -> Result<Mapped<f64>> {
        self.run(z, context, tape)
    }

    fn inverse(
        &self,
        x: &Batch<f64>,
        context: &Context<f64>,
        tape: &mut Tape<f64>,
    ) -> Result<Mapped<f64>> {
        self.run(x, context, tape)
    }
}
