//! Figures, table of exponents and demands of one axis.

use flows_report::finding::{Cell, Findings, Plot, Scale, Table};

use super::axis::Axis;
use super::measure::Cost;
use super::model::Model;
use super::quantity::{Operation, Quantity};
use crate::Setting;
use crate::helper::statistics::{PowerLaw, larger};

/// How far a counted exponent may be from the review's.
const TOLERANCE: f64 = 0.15;

/// Costs by the value of what is varied, in ascending order.
pub(super) type Course = [(f64, [Cost; 3])];

/// What is shown of one axis.
pub(super) struct Page {
    axis: Axis,
    plots: Vec<(Operation, Quantity, Plot)>,
    table: Table,
    /// Of each quantity that is demanded: the largest distance from the review, and whose it is.
    distances: Vec<(Quantity, f64, String)>,
}

impl Page {
    pub(super) fn new(axis: Axis, setting: &Setting) -> Self {
        let fixed = axis.fixed(setting);
        let plot = |&(operation, quantity): &(Operation, Quantity)| {
            let (what, of) = (quantity.name(), operation.name());
            let title = format!("{what} of a {of}; {fixed}.");
            let plot = Plot::new(&capital(&title), Scale::log(axis.name()), Scale::log(what));
            (operation, quantity, plot)
        };
        let title = format!("Exponents over {}; {fixed}.", axis.name());
        let columns = [
            "flow",
            "operation",
            "evaluations",
            "review: evaluations",
            "multiplications",
            "review: multiplications",
            "seconds",
            "review: seconds",
            "bytes",
        ];
        Self {
            axis,
            plots: axis.figures().iter().map(plot).collect(),
            table: Table::new(&title, &columns),
            distances: Vec::new(),
        }
    }

    /// Adds a flow.
    pub(super) fn add(&mut self, model: Model, course: &Course) {
        for (index, operation) in Operation::ALL.into_iter().enumerate() {
            let points = |quantity| -> Vec<[f64; 2]> {
                course.iter().map(|(value, costs)| [*value, costs[index].of(quantity)]).collect()
            };
            let review = |quantity| model.review(self.axis, operation, quantity);
            let law = |quantity| PowerLaw::of(self.axis.fitted(&points(quantity)));
            for quantity in [Quantity::Evaluations, Quantity::Multiplications, Quantity::Bytes] {
                if let Some(expected) = review(quantity) {
                    let distance = (law(quantity).exponent - expected).abs();
                    note(&mut self.distances, quantity, distance, || {
                        format!("{}, {}", model.name(), operation.name())
                    });
                }
            }
            let given = |quantity| review(quantity).map_or("".into(), Cell::from);
            let counted = |quantity| exponent(law(quantity).exponent);
            let clock = law(Quantity::Seconds);
            self.table.row([
                model.name().into(),
                operation.name().into(),
                counted(Quantity::Evaluations),
                given(Quantity::Evaluations),
                counted(Quantity::Multiplications),
                given(Quantity::Multiplications),
                match clock.standard_error.is_finite() {
                    true => (clock.exponent, clock.standard_error).into(),
                    false => exponent(clock.exponent),
                },
                given(Quantity::Seconds),
                counted(Quantity::Bytes),
            ]);
            for (of, quantity, plot) in &mut self.plots {
                if *of == operation {
                    let (points, law) = (points(*quantity), law(*quantity));
                    let name = legend(model.name(), &law, *quantity, review(*quantity));
                    let fitted = self.axis.fitted(&points).iter();
                    let fitted: Vec<_> = fitted.map(|p| [p[0], law.at(p[0])]).collect();
                    plot.fitted(name, points, fitted);
                }
            }
        }
    }

    /// Writes it all down.
    pub(super) fn close(self, findings: &mut Findings) {
        let over = self.axis.name();
        for (quantity, distance, whose) in self.distances {
            let what = quantity.name();
            let whose = if distance == 0.0 { String::new() } else { format!(" ({whose})") };
            findings.at_most(
                &format!("exponent of {what} over {over}: largest distance from the review{whose}"),
                distance,
                TOLERANCE,
                "counts repeat exactly; what is left is for terms of lower order, such as the masked \
                 weights that the blocks of a masked matrix multiply in vain",
            );
        }
        findings.tables.push(self.table);
        findings.plots.extend(self.plots.into_iter().map(|(_, _, plot)| plot));
    }
}

/// Keeps the largest distance of each quantity.
fn note(
    distances: &mut Vec<(Quantity, f64, String)>,
    quantity: Quantity,
    distance: f64,
    whose: impl FnOnce() -> String,
) {
    match distances.iter_mut().find(|(of, ..)| *of == quantity) {
        None => distances.push((quantity, distance, whose())),
        Some((_, largest, name)) => {
            if larger(*largest, distance).to_bits() != largest.to_bits() {
                (*largest, *name) = (distance, whose());
            }
        }
    }
}

/// A cell without the last bits, or empty.
fn exponent(value: f64) -> Cell {
    if value.is_finite() { rounded(value).into() } else { "".into() }
}

fn rounded(value: f64) -> f64 {
    // Adding zero leaves no minus before it.
    (1e4 * value).round() / 1e4 + 0.0
}

fn legend(name: &str, law: &PowerLaw, quantity: Quantity, review: Option<f64>) -> String {
    let review = review.map_or_else(String::new, |exponent| format!(" (review {exponent})"));
    let exponent = rounded(law.exponent);
    match (exponent.is_finite(), quantity) {
        (false, _) => name.to_owned(),
        (true, Quantity::Seconds) if law.standard_error.is_finite() => {
            format!("{name}: {exponent:.2} ± {:.2}{review}", law.standard_error)
        }
        (true, _) => format!("{name}: {exponent:.2}{review}"),
    }
}

fn capital(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
