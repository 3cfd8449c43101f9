//! C36: trajectories of a continuous flow do not cross (review, Section 4).

use anyhow::Result;
use flows_continuous::{Adaptive, Solver};
use flows_core::operation::{LANES, Operation, Recorded, apply, column};
use flows_core::rowwise::gradient_of_mean;
use flows_core::tensor::batch;
use flows_core::train::{Adam, AdamConfig};
use flows_core::{Architecture, Base, Context, Flow, Purpose, Scratch, Tape, Values, stream};
use flows_report::finding::{Findings, Plot, Scale, Stroke};

use crate::helper::small_field::small_field;
use crate::{Check, Claim, Setting};

pub(crate) const C36: Claim = Claim {
    id: "C36",
    title: "Trajectories do not cross",
    review: "The flow of a vector field is homeomorphic to the identity: on the line no such flow \
             takes 1 to -1 and -1 to 1; with extra dimensions the paths can pass each other \
             (Section 4).",
    method: "The field of a perceptron is trained to take x to -x for 101 numbers evenly on [-1, 1], \
             by the mean squared error: on the line, and in the plane, where x comes with a second \
             coordinate that is 0. The order of 2,001 images is examined after training.",
    check: Check::Run(check),
};

/// Numbers that are learned from.
const ROWS: usize = 101;

/// Tolerance of reported maps.
const TOLERANCE: f64 = 1e-9;

fn check(setting: &Setting) -> Result<Findings> {
    let steps = setting.either(150, 1500);
    let x = spread(ROWS);
    let floor = x.iter().map(|x| x * x).sum::<f64>() / ROWS as f64;
    let (line, losses) = train(1, steps, setting.seed)?;
    let (plane, augmented) = train(2, steps, setting.seed)?;
    let images = first(&line, &spread(2001))?;
    let exchanged = images.windows(2).filter(|pair| pair[1] <= pair[0]).count();
    let mut findings = Findings::default();
    findings.at_least(
        "line: least squared error in training",
        losses.iter().map(|p| p[1]).fold(f64::INFINITY, f64::min),
        floor - 100.0 * TOLERANCE,
        "the best increasing function of x for a falling target is a constant (isotonic \
         regression), with the mean square of x as its error; a solver's tolerance of 1e-9",
    );
    findings.at_most(
        "line: neighbours whose order is exchanged, of 2,000 pairs",
        exchanged as f64,
        0.0,
        "solutions of an ODE on the line do not meet",
    );
    findings.at_most(
        "plane: squared error after training",
        augmented.last().map_or(f64::NAN, |p| p[1]),
        floor,
        "below what is possible on the line; a half turn of the plane takes x to -x without error",
    );
    findings.plots.push(learning(losses, augmented, floor));
    findings.plots.push(images_of(&line, &plane)?);
    Ok(findings)
}

/// Both curves of the squared error.
fn learning(losses: Vec<[f64; 2]>, augmented: Vec<[f64; 2]>, floor: f64) -> Plot {
    let mut plot = Plot::new(
        "Squared error in training: on the line it stays above its floor.",
        Scale::log("steps"),
        Scale::log("mean squared error"),
    );
    plot.series("floor of the line", Stroke::Reference, losses.iter().map(|p| [p[0], floor]));
    plot.series("line", Stroke::Measured, losses);
    plot.series("plane", Stroke::Measured, augmented);
    plot
}

/// What both flows make of the numbers.
fn images_of(line: &Flow<f64>, plane: &Flow<f64>) -> Result<Plot> {
    let x = spread(ROWS);
    let mut plot = Plot::new(
        "What was learned.",
        Scale::linear("x"),
        Scale::linear("image of x, first coordinate"),
    );
    let pairs = |images: Vec<f64>| x.iter().zip(images).map(|(x, y)| [*x, y]).collect::<Vec<_>>();
    plot.series("-x", Stroke::Reference, x.iter().map(|x| [*x, -x]));
    plot.series("line", Stroke::Line, pairs(first(line, &x)?));
    plot.series("plane", Stroke::Line, pairs(first(plane, &x)?));
    Ok(plot)
}

/// Numbers evenly on [-1, 1].
fn spread(count: usize) -> Vec<f64> {
    (0..count).map(|i| 2.0 * i as f64 / (count - 1) as f64 - 1.0).collect()
}

/// First coordinates of the images of the numbers.
fn first(flow: &Flow<f64>, x: &[f64]) -> Result<Vec<f64>> {
    let dim = flow.dim();
    let (image, _) = flow.bijector().image(&padded(x, dim)?, &Context::none())?;
    Ok(image.values().into_iter().step_by(dim).collect())
}

/// Numbers with zeros behind each.
fn padded(x: &[f64], dim: usize) -> Result<flows_core::Batch<f64>> {
    let mut values = vec![0.0; x.len() * dim];
    values.iter_mut().step_by(dim).zip(x).for_each(|(value, x)| *value = *x);
    Ok(batch(values, x.len(), dim)?)
}

/// The trained flow, and its reported error on the way.
fn train(dim: usize, steps: u64, seed: u64) -> Result<(Flow<f64>, Vec<[f64; 2]>)> {
    let config = small_field(32, Solver::RowWise(Adaptive::new(TOLERANCE, TOLERANCE)));
    let bijector = config.build(dim, 0, &mut stream(seed, "init"))?;
    let mut flow = Flow::new(Base::standard_normal(dim), Box::new(bijector))?;
    let rate = AdamConfig { learning_rate: 1e-2, ..AdamConfig::default() };
    let mut adam = Adam::new(rate, &flow);
    let (x, mut curve) = (spread(ROWS), Vec::new());
    let points = padded(&x, dim)?;
    let targets = batch(x.iter().map(|x| -x).collect(), ROWS, 1)?;
    for step in 1..=steps {
        flow.bijector_mut().set_purpose(Purpose::Training)?;
        let mut tape = Tape::recording();
        let mapped = flow.bijector().forward(&points, &Context::none(), &mut tape)?;
        let error = apply(NegativeSquare, &[&mapped.value, &targets], &[], &mut tape)?.remove(0);
        let error = column(error, &mut tape)?;
        adam.update(&mut flow, &mut gradient_of_mean(-1.0, &error, tape)?, 1.0, 1.0)?;
        if step.is_multiple_of((steps / 30).max(1)) {
            flow.bijector_mut().set_purpose(Purpose::Reporting)?;
            let squares = first(&flow, &x)?.into_iter().zip(&x).map(|(y, x)| (y + x).powi(2));
            curve.push([step as f64, squares.sum::<f64>() / ROWS as f64]);
        }
    }
    flow.bijector_mut().set_purpose(Purpose::Reporting)?;
    Ok((flow, curve))
}

/// -(y_1 - t)^2 of each row, whose gradient is -2 (y_1 - t).
struct NegativeSquare;

impl Operation<f64> for NegativeSquare {
    fn name(&self) -> &'static str {
        "squared error"
    }

    fn output_widths(&self) -> Vec<usize> {
        vec![1]
    }

    fn forward(
        &self,
        inputs: &[&[f64]],
        _: &[&[f64]],
        _: &mut Scratch,
        outputs: &mut [&mut [f64]],
    ) -> flows_core::Result<()> {
        for (output, (y, t)) in outputs[0].iter_mut().zip(inputs[0].iter().zip(inputs[1])) {
            *output = -(y - t).powi(2);
        }
        Ok(())
    }

    fn backward(
        &self,
        block: Recorded<'_, f64>,
        outer: &[&[f64]],
        inner: &mut [&mut [f64]],
        _: &mut [&mut [f64]],
    ) -> flows_core::Result<()> {
        let (values, targets) = (block.inputs[0], block.inputs[1]);
        for lane in 0..LANES {
            inner[0][lane] = -2.0 * (values[lane] - targets[lane]) * outer[0][lane];
        }
        Ok(())
    }
}
