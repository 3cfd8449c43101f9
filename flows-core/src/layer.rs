//! Layers: a map with its tensors as a bijector.

use std::sync::{Arc, OnceLock};

use rand::Rng;

use crate::bijector::{Bijector, Costs, Exactness, Mapped, Purpose};
use crate::map::{Block, EvalMode, Map, Pull};
use crate::operation::LANES;
use crate::parameters::{Parameters, Visitor, VisitorMut};
use crate::pass::{Direction, Pass, Rows, RowsBack};
use crate::run_pass::{Pools, run_pass};
use crate::tape::{Gradients, Tape};
use crate::tensor::{Batch, check_columns};
use crate::tensors::Tensors;
use crate::{Context, Error, Real, Result, Scratch, Space, Stream, Work};

/// A [`Map`] with its tensors, as a [`Bijector`].
#[derive(Debug)]
pub struct Layer<E: Real> {
    map: Arc<dyn Map<E>>,
    tensors: Tensors<E>,
    /// The prepared values, cached until the tensors change.
    ready: OnceLock<Arc<Prepared<E>>>,
    mode: EvalMode,
    pools: Pools<E>,
}

/// A map with its prepared values.
#[derive(Debug)]
struct Prepared<E: Real> {
    map: Arc<dyn Map<E>>,
    tensors: Tensors<E>,
    parameters: Vec<Vec<E>>,
}

impl<E: Real> Layer<E> {
    /// The map with its tensors at their initial values, set for reporting.
    ///
    /// # Errors
    /// As [`with_values`](Self::with_values).
    pub fn new(map: impl Map<E> + 'static, rng: &mut Stream) -> Result<Self> {
        let values = map.start(rng)?;
        Self::with_values(map, values)
    }

    /// The map with given values of its tensors, a vector for each.
    ///
    /// # Errors
    /// [`Error::Tensors`] if their sizes are not those of the layout; errors of [`Map::prepare`].
    pub fn with_values(map: impl Map<E> + 'static, values: Vec<Vec<f64>>) -> Result<Self> {
        let cast = |values: Vec<f64>| values.into_iter().map(E::of).collect();
        let tensors = Tensors::new(map.layout(), values.into_iter().map(cast).collect())?;
        let mode = EvalMode { purpose: Purpose::Reporting, seed: 0 };
        let (map, pools) = (Arc::new(map), Pools::default());
        let mut layer = Self { map, tensors, ready: OnceLock::new(), mode, pools };
        layer.refresh(Purpose::Reporting)?;
        layer.ready()?;
        Ok(layer)
    }

    /// The map.
    #[must_use]
    pub fn map(&self) -> &dyn Map<E> {
        &*self.map
    }

    /// The prepared values, see [`Map::prepare`].
    ///
    /// # Errors
    /// As [`Map::prepare`].
    pub fn prepared(&self) -> Result<Vec<Vec<E>>> {
        Ok(self.ready()?.parameters.clone())
    }

    fn ready(&self) -> Result<Arc<Prepared<E>>> {
        if let Some(ready) = self.ready.get() {
            return Ok(Arc::clone(ready));
        }
        let (map, tensors) = (Arc::clone(&self.map), self.tensors.clone());
        let parameters = map.prepare(tensors.values())?;
        let ready = Prepared { map, tensors, parameters };
        Ok(Arc::clone(self.ready.get_or_init(|| Arc::new(ready))))
    }

    fn set(&mut self, values: &[Vec<E>]) -> Result<()> {
        self.ready.take();
        self.tensors.set(values)
    }

    fn refresh(&mut self, purpose: Purpose) -> Result<()> {
        match self.map.refresh(&self.tensors, purpose)? {
            Some(values) => self.set(&values),
            None => Ok(()),
        }
    }

    fn run(
        &self,
        direction: Direction,
        input: &Batch<E>,
        context: &Context<E>,
        tape: &mut Tape<E>,
    ) -> Result<Mapped<E>> {
        let pass = Arc::new(self.layer_pass(direction, crate::Values::rows(input))?);
        let name = (self.map.name(), self.map.context_dim());
        run_pass(name, pass, (input, context), (&self.pools, direction), tape)
    }

    fn layer_pass(&self, direction: Direction, rows: usize) -> Result<LayerPass<E>> {
        let (ready, mode) = (self.ready()?, self.mode);
        let noise = ready.map.noise(mode, rows);
        Ok(LayerPass { ready, direction, mode, noise, rows })
    }
}

impl<E: Real> Parameters<E> for Layer<E> {
    fn visit(&self, f: &mut Visitor<'_, E>) {
        self.tensors.visit(f);
    }

    fn visit_mut(&mut self, f: &mut VisitorMut<'_, E>) -> Result<()> {
        self.ready.take();
        self.tensors.visit_mut(f)
    }
}

impl<E: Real> Bijector<E> for Layer<E> {
    fn dim(&self) -> usize {
        self.map.dim()
    }

    fn context_dim(&self) -> usize {
        self.map.context_dim()
    }

    fn costs(&self) -> Costs {
        self.map.costs()
    }

    fn image_space(&self, from: Vec<Space>) -> Result<Vec<Space>> {
        self.map.image_space(from)
    }

    fn forward(&self, z: &Batch<E>, context: &Context<E>, tape: &mut Tape<E>) -> Result<Mapped<E>> {
        self.run(Direction::Forward, z, context, tape)
    }

    fn inverse(&self, x: &Batch<E>, context: &Context<E>, tape: &mut Tape<E>) -> Result<Mapped<E>> {
        self.run(Direction::Inverse, x, context, tape)
    }

    fn pass(&self, direction: Direction, rows: usize) -> Result<Option<Arc<dyn Pass<E>>>> {
        Ok(Some(Arc::new(self.layer_pass(direction, rows)?)))
    }

    fn exactness(&self) -> Exactness {
        self.map.exactness(self.mode.purpose)
    }

    fn set_purpose(&mut self, purpose: Purpose) -> Result<()> {
        self.mode.purpose = purpose;
        if purpose == Purpose::Reporting { self.refresh(purpose) } else { Ok(()) }
    }

    fn begin_step(&mut self, rng: &mut Stream) -> Result<()> {
        // Exact layers take nothing from the stream, so adding one does not change the others.
        if self.map.exactness(Purpose::Training) == Exactness::Estimated {
            self.mode.seed = rng.next_u64();
        }
        self.refresh(Purpose::Training)
    }

    fn initialise(&mut self, x: &Batch<E>, context: &Context<E>) -> Result<Batch<E>> {
        check_columns(self.map.name(), x, self.map.dim())?;
        context.check(self.map.name(), self.map.context_dim(), crate::Values::rows(x))?;
        if let Some(values) = self.map.initialise(&self.tensors, x)? {
            self.set(&values)?;
        }
        Ok(self.inverse(x, context, &mut Tape::none())?.value)
    }
}

/// LayerPass direction of a layer, as a pass.
struct LayerPass<E: Real> {
    ready: Arc<Prepared<E>>,
    direction: Direction,
    mode: EvalMode,
    /// Row by row.
    noise: Vec<E>,
    rows: usize,
}

impl<E: Real> LayerPass<E> {
    fn parameters(&self) -> Vec<&[E]> {
        self.ready.parameters.iter().map(Vec::as_slice).collect()
    }

    /// The noise of a block, feature by feature.
    fn noise(&self, first: usize) -> Vec<E> {
        let width = self.noise.len().checked_div(self.rows).unwrap_or(0);
        let mut lanes = vec![E::zero(); width * LANES];
        for lane in 0..LANES {
            let row = (first + lane).min(self.rows.saturating_sub(1));
            for (value, &noise) in self.noise[row * width..(row + 1) * width].iter().enumerate() {
                lanes[value * LANES + lane] = noise;
            }
        }
        lanes
    }

    /// The part of the context that the map takes: all of it or nothing.
    fn context<'a>(&self, context: &'a [E]) -> &'a [E] {
        if self.ready.map.context_dim() > 0 { context } else { &[] }
    }
}

impl<E: Real> Pass<E> for LayerPass<E> {
    fn dim(&self) -> usize {
        self.ready.map.dim()
    }

    fn sum_lengths(&self) -> Vec<usize> {
        self.ready.parameters.iter().map(Vec::len).collect()
    }

    fn forward(&self, rows: Rows<'_, E>, scratch: &mut Scratch) -> Result<Work> {
        let Rows { first, input, context, value, log_det } = rows;
        let at = Block {
            input,
            context: self.context(context),
            noise: &self.noise(first),
            parameters: &self.parameters(),
            mode: self.mode,
            value,
            log_det,
        };
        match self.direction {
            Direction::Forward => self.ready.map.forward(at, scratch),
            Direction::Inverse => self.ready.map.inverse(at, scratch),
        }
    }

    fn backward(&self, rows: RowsBack<'_, '_, E>, scratch: &mut Scratch) -> Result<()> {
        let RowsBack { first, input, value, context, d_value, d_log_det, d_input, d_context, sums } =
            rows;
        let context = self.context(context);
        let at = Pull {
            input,
            value,
            context,
            noise: &self.noise(first),
            parameters: &self.parameters(),
            mode: self.mode,
            d_value,
            d_log_det,
            d_input,
            d_context: &mut d_context[..context.len()],
            gradients: sums,
        };
        match self.direction {
            Direction::Forward => self.ready.map.forward_gradient(at, scratch),
            Direction::Inverse => self.ready.map.inverse_gradient(at, scratch),
        }
    }

    fn deliver(&self, sums: &mut [Vec<E>], gradients: &mut Gradients<E>) -> Result<()> {
        let Prepared { map, tensors, parameters } = &*self.ready;
        let mut pulled = map.pull_prepared(tensors, parameters, sums)?;
        if pulled.is_none() && parameters.len() != tensors.all().len() {
            let (what, advice) =
                ("the gradient of what a layer prepares", "give its map a pull_prepared");
            return Err(Error::Unavailable { what, advice });
        }
        let own = pulled.as_deref_mut().unwrap_or(&mut *sums);
        for ((learned, tensor), gradient) in tensors.learned().zip(tensors.all()).zip(own) {
            if learned {
                gradients.move_in(tensor, gradient)?;
            } else {
                gradient.fill(E::zero());
            }
        }
        if pulled.is_some() {
            sums.iter_mut().for_each(|sum| sum.fill(E::zero()));
        }
        Ok(())
    }
}
