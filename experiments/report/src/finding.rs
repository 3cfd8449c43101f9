//! What a check or an experiment found, as its result file holds it: measures with their criteria,
//! tables, curves and panels. Pages and figures are drawn from these and from nothing else.

mod corner;
mod number;
mod panels;
mod plot;
mod table;

use serde::{Deserialize, Serialize};

pub use corner::{Corner, Sample};
pub use panels::{Content, Images, Panel, Panels};
pub use plot::{Plot, Scale, Series, Stroke};
pub use table::{Cell, Table};

/// Everything that one check found, in the order of its page.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Findings {
    /// Numbers, each with what was demanded of it.
    pub measures: Vec<Measure>,
    /// Sentences about what came out, made from measured numbers.
    pub remarks: Vec<String>,
    /// Tables.
    pub tables: Vec<Table>,
    /// Curves.
    pub plots: Vec<Plot>,
    /// Rows of panels in the plane.
    pub panels: Vec<Panels>,
    /// Draws by pairs of parameters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub corners: Vec<Corner>,
}

/// A measured number and what was demanded of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measure {
    /// What was measured, with its unit.
    pub quantity: String,
    /// The number.
    #[serde(with = "number")]
    pub value: f64,
    /// Its standard error, where it is an estimate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standard_error: Option<f64>,
    /// What it has to satisfy.
    pub criterion: Criterion,
    /// Where the bound comes from.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// What a number has to satisfy; no comparison holds for NaN.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Criterion {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
    /// Between the two.
    Between(f64, f64),
    /// Nothing: the number is shown for orientation.
    Observed,
}

impl Measure {
    /// The number, what was demanded of it, and whether that holds.
    #[must_use]
    pub fn sentence(&self) -> String {
        let error = self.standard_error.map_or_else(String::new, |e| format!(" +- {e:.1e}"));
        let value = format!("{}: {:.6e}{error}", self.quantity, self.value);
        let fails = if self.criterion.holds(self.value) { "" } else { "  FAILS" };
        match self.criterion {
            Criterion::Observed => value,
            Criterion::AtMost(bound) => format!("{value}, at most {bound:e}{fails}"),
            Criterion::AtLeast(bound) => format!("{value}, at least {bound:e}{fails}"),
            Criterion::Between(low, high) => {
                format!("{value}, between {low:e} and {high:e}{fails}")
            }
        }
    }
}

impl Criterion {
    /// Whether `value` satisfies it.
    #[must_use]
    pub fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(bound) => value <= bound,
            Self::AtLeast(bound) => value >= bound,
            Self::Between(low, high) => low <= value && value <= high,
            Self::Observed => true,
        }
    }
}

impl Findings {
    /// Whether something was demanded, and every demand is satisfied.
    #[must_use]
    pub fn pass(&self) -> bool {
        let demanded = self.measures.iter().any(|m| m.criterion != Criterion::Observed);
        demanded && self.measures.iter().all(|m| m.criterion.holds(m.value))
    }

    /// `value` may be at most `bound`, because of `reason`.
    pub fn at_most(&mut self, quantity: &str, value: f64, bound: f64, reason: &str) {
        self.demand(quantity, (value, None), Criterion::AtMost(bound), reason);
    }

    /// `value` must be at least `bound`, because of `reason`.
    pub fn at_least(&mut self, quantity: &str, value: f64, bound: f64, reason: &str) {
        self.demand(quantity, (value, None), Criterion::AtLeast(bound), reason);
    }

    /// `value` must lie between the two, because of `reason`.
    pub fn between(&mut self, quantity: &str, value: f64, [low, high]: [f64; 2], reason: &str) {
        self.demand(quantity, (value, None), Criterion::Between(low, high), reason);
    }

    /// An estimate with its standard error that has to satisfy a criterion.
    pub fn demand(
        &mut self,
        quantity: &str,
        (value, standard_error): (f64, Option<f64>),
        criterion: Criterion,
        reason: &str,
    ) {
        let (quantity, reason) = (quantity.to_owned(), reason.to_owned());
        self.measures.push(Measure { quantity, value, standard_error, criterion, reason });
    }

    /// A number for orientation.
    pub fn observed(&mut self, quantity: &str, value: f64, standard_error: Option<f64>) {
        self.demand(quantity, (value, standard_error), Criterion::Observed, "");
    }

    /// A sentence made from measured numbers.
    pub fn remark(&mut self, sentence: impl Into<String>) {
        self.remarks.push(sentence.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_without_demands_does_not_pass() {
        let mut findings = Findings::default();
        findings.observed("seconds", 1.0, None);
        assert!(!findings.pass());
        findings.at_most("error", 1e-9, 1e-8, "rounding");
        assert!(findings.pass());
        findings.at_least("slope", 0.9, 1.0, "");
        assert!(!findings.pass());
    }

    #[test]
    fn nothing_holds_for_nan() {
        let all = [Criterion::AtMost(1.0), Criterion::AtLeast(1.0), Criterion::Between(0.0, 1.0)];
        assert!(all.iter().all(|criterion| !criterion.holds(f64::NAN)));
    }

    #[test]
    fn numbers_that_json_lacks_survive_a_file() {
        let mut findings = Findings::default();
        findings.at_most("infinite", f64::INFINITY, 1.0, "");
        let mut table = Table::new("title", &["a", "b"]);
        table.row([Cell::from(f64::NEG_INFINITY), Cell::from((0.1, 1e-3))]);
        findings.tables.push(table);
        let text = serde_json::to_string(&findings).unwrap_or_default();
        let back: Findings = serde_json::from_str(&text).unwrap_or_default();
        assert_eq!(back, findings);
    }
}
