//! Which flow and which family wins in what, problem by problem, in sentences made from the numbers.

use super::flow_results::{FlowResults, Measure};
use super::format;
use super::gather::{ProblemResults, Results};
use super::number::{self, Number};
use super::ranking::{Rank, ranks};
use super::table::scrolling;
use super::value::Value;
use super::warnings::UNBOUNDED;
use crate::figure::escape;
use crate::record::Family;

/// Something that flows can win in.
struct Contest {
    head: &'static str,
    unit: &'static str,
    of: fn(Measure) -> &'static Number,
    more_is_better: bool,
}

impl Contest {
    /// Whether it is about likelihoods, which are paired row by row.
    fn is_likelihood(&self) -> bool {
        self.unit == " nats"
    }
}

const CONTESTS: [Contest; 4] = [
    Contest { head: "KL, ELBO or NLL", unit: " nats", of: Measure::number, more_is_better: false },
    Contest {
        head: "Log-densities / s",
        unit: " a second",
        of: |_| &number::LOG_PROB_RATE,
        more_is_better: true,
    },
    Contest {
        head: "Draws / s",
        unit: " a second",
        of: |_| &number::SAMPLE_RATE,
        more_is_better: true,
    },
    Contest { head: "Parameters", unit: "", of: |_| &number::PARAMETERS, more_is_better: false },
];

/// The outcome of a contest: flows in order, the best first, each with whether it leads.
struct Outcome<'a> {
    contest: &'a Contest,
    results: &'a ProblemResults,
    ranked: Vec<Ranked<'a>>,
}

struct Ranked<'a> {
    flow: &'a FlowResults,
    /// Its place among the flows of the problem.
    index: usize,
    value: Value,
    /// Whether it is best, tied, or alone.
    leads: bool,
}

impl<'a> Outcome<'a> {
    fn of(contest: &'a Contest, results: &'a ProblemResults) -> Self {
        let number = (contest.of)(results.measure());
        let values: Vec<_> = results.flows.iter().map(|flow| flow.over_seeds(number)).collect();
        let sign = if contest.more_is_better { -1.0 } else { 1.0 };
        let ranks = if contest.is_likelihood() {
            results.ranks()
        } else {
            let signed: Vec<_> = values.iter().map(|value| Some(sign * (*value)?.value)).collect();
            ranks(&signed, |flow, against| {
                let difference = values.get(flow)?.as_ref()?.less(values.get(against)?.as_ref()?);
                Some(Value { value: sign * difference.value, ..difference })
            })
        };
        let flows = results.flows.iter().zip(values).zip(ranks).enumerate();
        let known = |(index, ((flow, value), rank)): (usize, ((&'a FlowResults, _), Rank))| {
            Some(Ranked { flow, index, value: value?, leads: rank != Rank::Unmarked })
        };
        let mut ranked: Vec<_> = flows.filter_map(known).collect();
        ranked.sort_by(|a, b| (sign * a.value.value).total_cmp(&(sign * b.value.value)));
        let is_ranked = !(contest.is_likelihood() && results.problem.unbounded);
        if let [alone] = ranked.as_mut_slice() {
            alone.leads = is_ranked;
        }
        Self { contest, results, ranked }
    }

    /// The flows that are best or tied.
    fn leaders(&self) -> impl Iterator<Item = &Ranked<'a>> {
        self.ranked.iter().filter(|ranked| ranked.leads)
    }

    /// The family that leads, none where both do or nobody does.
    fn family(&self) -> Option<Family> {
        let first = self.leaders().next()?.flow.flow.family;
        self.leaders().all(|leader| leader.flow.flow.family == first).then_some(first)
    }

    /// Such as `FFJORD (continuous, 0.030 ± 0.001 nats) has the lowest KL divergence; the best finite
    /// flow, Real NVP, is 0.25 ± 0.01 nats above it.`
    fn sentence(&self) -> Option<String> {
        let best = self.ranked.first()?;
        let named = |ranked: &Ranked<'_>| {
            format!(
                "{} ({}, {})",
                escape(&ranked.flow.flow.title),
                ranked.flow.flow.family,
                value(&ranked.value, self.contest.unit)
            )
        };
        let names: Vec<String> = self.leaders().map(named).collect();
        let prize = &format!("the lowest {}", self.results.measure().words());
        let mut sentence = match names.as_slice() {
            [] => return Some(self.nobody(prize)),
            [one] => format!("{one} has {prize}"),
            many => format!("{} are tied for {prize}", listed(many)),
        };
        let family = best.flow.flow.family;
        let rival = self.ranked.iter().find(|ranked| ranked.flow.flow.family != family);
        if let (Some(other), Some(leading)) = (rival, self.family()) {
            let family =
                if leading == Family::Finite { Family::Continuous } else { Family::Finite };
            let title = escape(&other.flow.flow.title);
            let gap = self.results.difference(other.index, best.index);
            let gap = gap.map_or_else(|| "an unknown number of".to_owned(), format::estimate);
            sentence += &format!("; the best {family} flow, {title}, is {gap} nats above it");
        }
        Some(sentence + ".")
    }

    /// Why flows with values have no leader.
    fn nobody(&self, prize: &str) -> String {
        if self.results.problem.unbounded {
            return format!("Nobody has {prize}: {UNBOUNDED}.");
        }
        format!(
            "Who has {prize} cannot be said: the standard errors of the differences are unknown."
        )
    }
}

fn value(estimate: &Value, unit: &str) -> String {
    match estimate.error {
        Some(0.0) => format!("{}{unit}", format::count(estimate.value)),
        _ => format!("{}{unit}", format::estimate(*estimate)),
    }
}

/// `a, b and c`.
fn listed(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

const CAPTION: &str =
    "Who leads in what: flows that are best, or within two standard errors of it.";

/// A sentence for each problem: who has the lowest divergence or likelihood.
pub(super) fn sentences(results: &Results) -> String {
    let items: String = results.problems.iter().map(sentence).collect();
    format!("<ul class=\"sentences\">\n{items}</ul>\n")
}

/// The table of winners.
pub(super) fn section(results: &Results) -> String {
    let heads: String =
        CONTESTS.iter().map(|c| format!("<th scope=\"col\">{}</th>", c.head)).collect();
    let rows: String = results.problems.iter().map(row).collect();
    let table = format!(
        "<table class=\"sortable winners\" aria-labelledby=\"winners-table\">\n<thead><tr>\
         <th scope=\"col\">Problem</th>{heads}</tr></thead>\n<tbody>\n{rows}</tbody>\n<tfoot>{}</tfoot>\
         </table>",
        counts(results)
    );
    scrolling("winners-table", CAPTION, &table)
}

fn row(results: &ProblemResults) -> String {
    let cells = CONTESTS.iter().map(|contest| {
        let outcome = Outcome::of(contest, results);
        let named = |ranked: &Ranked<'_>| {
            format!(
                "<div>{}<span class=\"sub\">{}, {}</span></div>",
                escape(&ranked.flow.flow.title),
                ranked.flow.flow.family,
                value(&ranked.value, contest.unit)
            )
        };
        let names: Vec<String> = outcome.leaders().map(named).collect();
        format!("<td>{}</td>", if names.is_empty() { "–".into() } else { names.join("") })
    });
    let problem = &results.problem;
    format!(
        "<tr><th scope=\"row\"><a href=\"#problem-{}\">{}</a></th>{}</tr>\n",
        problem.name,
        escape(&problem.title),
        cells.collect::<String>()
    )
}

fn sentence(results: &ProblemResults) -> String {
    let [likelihood, ..] = &CONTESTS;
    let said = Outcome::of(likelihood, results).sentence();
    format!(
        "<li><strong>{}</strong>: {}</li>\n",
        escape(&results.problem.title),
        said.unwrap_or_else(|| "no run finished.".into())
    )
}

/// On how many problems each family leads in each contest.
fn counts(results: &Results) -> String {
    let cell = |contest: &Contest| {
        let outcomes: Vec<_> =
            results.problems.iter().map(|problem| Outcome::of(contest, problem)).collect();
        let lead = |family| outcomes.iter().filter(|o| o.family() == Some(family)).count();
        let led = outcomes.iter().filter(|o| o.leaders().next().is_some());
        let shared = led.filter(|o| o.family().is_none()).count();
        let [finite, continuous] = [Family::Finite, Family::Continuous].map(lead);
        format!("<td>{finite} / {continuous} / {shared}</td>")
    };
    let cells: String = CONTESTS.iter().map(cell).collect();
    format!("<tr><th scope=\"row\">Finite / continuous / both</th>{cells}</tr>")
}
