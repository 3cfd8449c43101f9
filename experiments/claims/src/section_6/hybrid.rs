//! C49: a classifier on the base variables of a flow (review, Section 6.3).

use std::sync::Arc;

use anyhow::{Context as _, Result};
use flows_bench::metrics::auroc;
use flows_continuous::{Adaptive, ContinuousFlow, Solver};
use flows_core::train::{AdamConfig, Budget, SamplerSource, TrainConfig};
use flows_core::{Architecture, Base, Chain, Context, Flow, Purpose, Stream, normals, stream};
use flows_finite::architecture::{Conditioner, CouplingFlow};
use flows_inference::hybrid::{Hybrid, HybridEvaluation, HybridTrainer, HybridTraining};
use flows_report::finding::{
    Cell, Content, Criterion, Findings, Panel, Panels, Plot, Scale, Stroke, Table,
};
use flows_report::grid::{IMAGE_CELLS, centres};

use crate::helper::labelled_moons::{LabelledMoons, WINDOW, draw};
use crate::helper::short_training::{Course, ROWS};
use crate::helper::small_field::small_field;
use crate::helper::statistics::mean;
use crate::{Check, Claim, Setting};

pub(crate) const C49: Claim = Claim {
    id: "C49",
    title: "Hybrid models",
    review: "A flow's base variables can feed a classifier that shares its weights: one pass gives p(y | x) \
             and p(x), and inputs that are unlike the data are told by the latter (Section 6.3; Nalisnick \
             et al. 2019).",
    method: "Two half circles with noise as two classes, whose densities are known, by a finite and a \
             continuous flow with a linear classifier on z, trained by log p(y | x) + (weight / 2) log p(x). \
             Accuracy against that of weight 0, a network for the classes alone, and of Bayes' rule; \
             divergence from the truth against that of the flow without a classifier and of the best \
             normal. Inputs on a ring of radius 10 to 20, where no data are, against test rows: AUROC by \
             log p(x), and how sure the classifier is of them.",
    check: Check::Run(check),
};

/// The weight of the criteria: a feature's log-likelihood counts as much as a class's.
const SUITABLE: f64 = 1.0;

/// Radii of far inputs: the data end about 4 from the origin, so that they are more than 11 standard deviations
/// of the noise away.
const FAR: [f64; 2] = [10.0, 20.0];

fn check(setting: &Setting) -> Result<Findings> {
    let rows = Rows::new(setting)?;
    let mut findings = Findings::default();
    let mut table = Table::new(
        "Classes, density and far inputs by weight of log p(x).",
        &[
            "flow",
            "weight",
            "accuracy (%)",
            "KL (nats)",
            "AUROC of far inputs by log p(x)",
            "mean confidence, test rows",
            "mean confidence, far inputs",
        ],
    );
    let mut plot = Plot::new(
        "Accuracy against divergence from the truth, weights from left to right falling.",
        Scale::log("KL (nats)"),
        Scale::linear("accuracy (%)"),
    );
    let weights = setting.either(vec![0.0, SUITABLE], vec![0.0, 0.1, SUITABLE, 10.0]);
    for (name, architecture) in families() {
        let density = density_only(&*architecture, setting)
            .with_context(|| format!("{name}, density alone"))?;
        let log_prob = density.evaluate(&rows.test, &Context::none())?.0;
        let alone = rows.log_p.iter().zip(&log_prob).map(|(p, q)| p - q).collect::<Vec<_>>();
        let mut panels = vec![rows.truth()];
        panels.push(image("density alone", &density)?);
        let mut results = Vec::new();
        for &weight in weights.iter().rev() {
            let model = hybrid(flow_of(&*architecture, setting)?, weight, setting)
                .with_context(|| format!("{name}, weight {weight}"))?;
            let result = Judged::new(&model, weight, &rows)?;
            table.row(result.cells(name));
            panels.push(image(&format!("weight {weight}"), model.flow())?);
            results.push(result);
        }
        let (nats, error) = mean(&alone);
        table.row(of_density(name, (nats, error), &rows, &density)?);
        plot.series(
            name,
            Stroke::Measured,
            results.iter().map(|r| [mean(&r.gaps).0, 100.0 * mean(&r.hits).0]),
        );
        demand(name, &results, &alone, &rows, &mut findings);
        findings.panels.push(Panels {
            title: format!("{name}: log-density."),
            window: WINDOW,
            axes: ["x1".into(), "x2".into()],
            panels,
        });
    }
    table.row([
        "linear classifier, best normal".into(),
        "".into(),
        percent(rows.linear),
        rows.normal.into(),
        "".into(),
        "".into(),
        "".into(),
    ]);
    table.row([
        "the truth, by Bayes' rule".into(),
        "".into(),
        percent(mean(&rows.bayes)),
        0.0.into(),
        1.0.into(),
        "".into(),
        "".into(),
    ]);
    findings.tables.push(table);
    findings.plots.push(plot);
    Ok(findings)
}

fn percent((share, error): (f64, f64)) -> Cell {
    (100.0 * share, 100.0 * error).into()
}

fn families() -> [(&'static str, Arc<dyn Architecture>); 2] {
    let couplings = CouplingFlow {
        layers: 4,
        conditioner: Conditioner::perceptron(vec![32, 32]),
        ..CouplingFlow::nsf()
    };
    let reporting = Solver::RowWise(Adaptive::new(1e-5, 1e-5));
    // Without a penalty a classifier alone makes the field as stiff as it likes.
    let penalties = ContinuousFlow::rnode().penalties;
    let continuous = ContinuousFlow { penalties, ..small_field(32, reporting) };
    [("finite", Arc::new(couplings)), ("continuous", Arc::new(continuous))]
}

/// Test rows and far inputs, with what is known of them.
struct Rows {
    test: Vec<f64>,
    classes: Vec<usize>,
    far: Vec<f64>,
    /// log p(x) of the test rows.
    log_p: Vec<f64>,
    /// Whether Bayes' rule finds each test row's class, 1 or 0.
    bayes: Vec<f64>,
    /// Accuracy of a linear classifier of x.
    linear: (f64, f64),
    /// Divergence from the truth of the best normal, nats.
    normal: f64,
    moons: LabelledMoons,
}

impl Rows {
    fn new(setting: &Setting) -> Result<Self> {
        let moons = LabelledMoons::new();
        let drawn = draw(setting.either(4000, 20_000), &mut stream(setting.seed, "test"));
        let classes: Vec<usize> = drawn.context.iter().map(|&class| class as usize).collect();
        let truth: Vec<(f64, usize)> = drawn.values.chunks(2).map(|x| moons.at(x)).collect();
        let hits = truth.iter().zip(&classes).map(|((_, best), class)| hit(*best, *class));
        let bayes = hits.collect();
        let log_p: Vec<f64> = truth.iter().map(|(log_p, _)| *log_p).collect();
        let identity = Flow::new(Base::standard_normal(2), Box::new(Chain::new(2, Vec::new())?))?;
        let linear = hybrid(identity, 0.0, setting)?.evaluate(&drawn.values)?;
        let linear = mean(&hits_of(&linear, &classes));
        let normal = mean(&log_p).0 + entropy_of_normal(&drawn.values);
        let far = ring(setting.either(1000, 5000), &mut stream(setting.seed, "far"));
        Ok(Self { test: drawn.values, classes, far, log_p, bayes, linear, normal, moons })
    }

    fn truth(&self) -> Panel {
        let cells = centres(WINDOW, IMAGE_CELLS);
        let log_p: Vec<f64> = cells.chunks(2).map(|x| self.moons.at(x).0).collect();
        Panel { title: "truth".into(), content: Content::log_density(&log_p) }
    }
}

fn hit(found: usize, class: usize) -> f64 {
    f64::from(u8::from(found == class))
}

fn hits_of(found: &HybridEvaluation, classes: &[usize]) -> Vec<f64> {
    found.predictions().iter().zip(classes).map(|(found, class)| hit(*found, *class)).collect()
}

/// Mean negative log-likelihood in nats of the normal with the moments of the rows: (1/2) ln det(2 pi e S).
fn entropy_of_normal(rows: &[f64]) -> f64 {
    let count = (rows.len() / 2) as f64;
    let axis = |axis: usize| rows.iter().skip(axis).step_by(2);
    let centre = [0, 1].map(|i| axis(i).sum::<f64>() / count);
    let second = |i: usize, j: usize| {
        axis(i).zip(axis(j)).map(|(a, b)| (a - centre[i]) * (b - centre[j])).sum::<f64>() / count
    };
    let determinant = second(0, 0) * second(1, 1) - second(0, 1).powi(2);
    0.5 * determinant.ln() + (std::f64::consts::TAU * std::f64::consts::E).ln()
}

/// Points in all directions, at evenly spaced radii.
fn ring(count: usize, rng: &mut Stream) -> Vec<f64> {
    let mut points = normals::<f64>(2 * count, rng);
    for (index, point) in points.chunks_mut(2).enumerate() {
        let radius = FAR[0] + (FAR[1] - FAR[0]) * (index as f64 + 0.5) / count as f64;
        let length = point[0].hypot(point[1]);
        point.iter_mut().for_each(|value| *value *= radius / length);
    }
    points
}

/// What a trained hybrid model says of the rows.
struct Judged {
    weight: f64,
    /// Whether each test row's class is found, 1 or 0.
    hits: Vec<f64>,
    /// log p - log q of each test row.
    gaps: Vec<f64>,
    /// How well log q tells far inputs from test rows.
    auroc: (f64, f64),
    confidence: (f64, f64),
    confidence_far: (f64, f64),
}

impl Judged {
    fn new(model: &Hybrid<f64>, weight: f64, rows: &Rows) -> Result<Self> {
        let (test, far) = (model.evaluate(&rows.test)?, model.evaluate(&rows.far)?);
        Ok(Self {
            weight,
            hits: hits_of(&test, &rows.classes),
            gaps: rows.log_p.iter().zip(&test.log_prob).map(|(p, q)| p - q).collect(),
            auroc: auroc(&test.log_prob, &far.log_prob),
            confidence: mean(&test.confidence()),
            confidence_far: mean(&far.confidence()),
        })
    }

    fn cells(&self, name: &str) -> [Cell; 7] {
        [
            name.into(),
            self.weight.into(),
            percent(mean(&self.hits)),
            mean(&self.gaps).into(),
            self.auroc.into(),
            self.confidence.into(),
            self.confidence_far.into(),
        ]
    }
}

fn of_density(name: &str, nats: (f64, f64), rows: &Rows, flow: &Flow<f64>) -> Result<[Cell; 7]> {
    let log_prob = |rows: &[f64]| flow.evaluate(rows, &Context::none());
    let area = auroc(&log_prob(&rows.test)?.0, &log_prob(&rows.far)?.0);
    let name = format!("{name}, density alone").into();
    Ok([name, "".into(), "".into(), nats.into(), area.into(), "".into(), "".into()])
}

fn demand(name: &str, results: &[Judged], alone: &[f64], rows: &Rows, findings: &mut Findings) {
    let of = |weight: f64| results.iter().find(|result| result.weight == weight);
    let (Some(both), Some(classes)) = (of(SUITABLE), of(0.0)) else { return };
    let difference =
        |a: &[f64], b: &[f64]| mean(&a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<_>>());
    for (what, hits) in
        [("Bayes' rule", &rows.bayes), ("the network for the classes alone", &classes.hits)]
    {
        let (lost, error) = difference(hits, &both.hits);
        findings.demand(
            &format!("{name}: accuracy lost to {what}"),
            (lost, Some(error)),
            Criterion::AtMost(0.5 * (mean(&rows.bayes).0 - rows.linear.0)),
            "half of what Bayes' rule gains over a linear classifier of x: nearer to the one than to the other",
        );
    }
    let (lost, error) = difference(&both.gaps, alone);
    findings.demand(
        &format!("{name}: KL with the classifier less that of the density alone (nats)"),
        (lost, Some(error)),
        Criterion::AtMost(0.5 * (rows.normal - mean(alone).0)),
        "half of what the density alone gains over the best normal: nearer to the one than to the other. Some has \
         to be lost: of a normal z the scores W z are normal, which the true ones are not",
    );
    let (nats, error) = mean(&classes.gaps);
    findings.demand(
        &format!("{name}: KL at weight 0 (nats)"),
        (nats, Some(error)),
        Criterion::AtLeast(rows.normal),
        "the divergence of the best normal: what nothing asked for is no density of the data",
    );
    findings.demand(
        &format!("{name}: AUROC of far inputs by log p(x)"),
        (both.auroc.0, Some(both.auroc.1)),
        Criterion::AtLeast(0.99),
        "the true densities give 1: one pair in a hundred may be in the wrong order",
    );
    let (sure, error) = (both.confidence_far.0, both.confidence_far.1.hypot(both.confidence.1));
    findings.demand(
        &format!("{name}: mean confidence on far inputs less that on test rows"),
        (sure - both.confidence.0, Some(error)),
        Criterion::AtLeast(-4.0 * error),
        "scores of a linear classifier grow with the distance from its boundary: of what it never saw it is \
         no less sure than of what it did; four standard errors",
    );
    findings.observed(
        &format!("{name}: AUROC of far inputs by log p(x) at weight 0"),
        classes.auroc.0,
        Some(classes.auroc.1),
    );
}

fn flow_of(architecture: &dyn Architecture, setting: &Setting) -> Result<Flow<f64>> {
    let bijector = architecture.build_f64(2, 0, &mut stream(setting.seed, "init"))?;
    Ok(Flow::new(Base::standard_normal(2), Box::new(bijector))?)
}

fn course(setting: &Setting) -> Course {
    let steps = setting.either(500, 2000);
    Course { steps, learning_rate: 5e-3, seed: setting.seed }
}

/// The flow by maximum likelihood, with as many steps as the hybrid models.
fn density_only(architecture: &dyn Architecture, setting: &Setting) -> Result<Flow<f64>> {
    let bijector = architecture.build_f64(2, 0, &mut stream(setting.seed, "init"))?;
    let mut flow = course(setting).train(Box::new(bijector), |rows, rng| draw(rows, rng).values)?;
    flow.bijector_mut().set_purpose(Purpose::Reporting)?;
    Ok(flow)
}

fn hybrid(flow: Flow<f64>, weight: f64, setting: &Setting) -> Result<Hybrid<f64>> {
    let Course { steps, learning_rate, seed } = course(setting);
    let optimiser = AdamConfig { learning_rate, ..AdamConfig::default() };
    let train = TrainConfig { batch_rows: ROWS, optimiser, ..TrainConfig::default() };
    let settings = HybridTraining { train, budget: Budget::Steps { steps }, weight };
    let source = SamplerSource::conditional(draw, 2, 1, seed);
    Ok(HybridTrainer::new(Hybrid::new(flow, 2)?, settings, seed)?.fit(&source)?)
}

fn image(title: &str, flow: &Flow<f64>) -> Result<Panel> {
    let density = flow.evaluate(&centres(WINDOW, IMAGE_CELLS), &Context::none())?.0;
    Ok(Panel { title: title.into(), content: Content::log_density(&density) })
}
