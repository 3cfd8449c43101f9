//! Which flow and which family wins in what, problem by problem, in sentences made from the numbers.

use super::format;
use super::gather::{FlowResults, Measure, ProblemResults, Results};
use super::number::{self, Number};
use super::ranking::{Rank, ranks};
use super::table::scrolling;
use super::value::Value;
use crate::figure::escape;
use crate::record::Family;

/// Something that flows can win in.
struct Contest {
    head: &'static str,
    /// What the winner has.
    prize: fn(Measure) -> &'static str,
    /// What the first of the other family is called.
    first: &'static str,
    unit: &'static str,
    of: fn(Measure) -> &'static Number,
    more_is_better: bool,
}

const CONTESTS: [Contest; 4] = [
    Contest {
        head: "KL or NLL",
        prize: |measure| match measure {
            Measure::Divergence => "the lowest KL divergence",
            Measure::NegativeLogLikelihood => "the lowest negative log-likelihood",
        },
        first: "best",
        unit: " nats",
        of: Measure::number,
        more_is_better: false,
    },
    Contest {
        head: "Log-densities / s",
        prize: |_| "the fastest log-densities",
        first: "fastest",
        unit: " a second",
        of: |_| &number::LOG_PROB_RATE,
        more_is_better: true,
    },
    Contest {
        head: "Draws / s",
        prize: |_| "the fastest draws",
        first: "fastest",
        unit: " a second",
        of: |_| &number::SAMPLE_RATE,
        more_is_better: true,
    },
    Contest {
        head: "Parameters",
        prize: |_| "the fewest parameters",
        first: "smallest",
        unit: "",
        of: |_| &number::PARAMETERS,
        more_is_better: false,
    },
];

/// The outcome of a contest: flows in order, the best first, and how many share the lead.
struct Outcome<'a> {
    contest: &'a Contest,
    measure: Measure,
    ranked: Vec<(&'a FlowResults, Value)>,
    leaders: usize,
}

impl<'a> Outcome<'a> {
    fn of(contest: &'a Contest, results: &'a ProblemResults) -> Self {
        let measure = results.measure();
        let known = |flow: &'a FlowResults| {
            let estimate = flow.over_seeds((contest.of)(measure))?;
            // A count has no error.
            Some((flow, Value { error: estimate.error.or(Some(0.0)), ..estimate }))
        };
        let mut ranked: Vec<_> = results.flows.iter().filter_map(known).collect();
        let sign = if contest.more_is_better { -1.0 } else { 1.0 };
        ranked.sort_by(|a, b| (sign * a.1.value).total_cmp(&(sign * b.1.value)));
        let signed = |(_, e): &(_, Value)| Some(Value { value: sign * e.value, ..*e });
        let ranks = ranks(&ranked.iter().map(signed).collect::<Vec<_>>());
        let leads = |rank: &&Rank| **rank != Rank::Unmarked;
        let leaders = ranks.iter().filter(leads).count().max(ranked.len().min(1));
        Self { contest, measure, ranked, leaders }
    }

    /// The flows that are best or tied.
    fn leaders(&self) -> &[(&'a FlowResults, Value)] {
        &self.ranked[..self.leaders]
    }

    /// The family that leads, none where both do.
    fn family(&self) -> Option<Family> {
        let first = self.leaders().first()?.0.flow.family;
        self.leaders().iter().all(|(flow, _)| flow.flow.family == first).then_some(first)
    }

    /// Such as `FFJORD (continuous, 0.030 ± 0.001 nats) has the lowest KL divergence; the best finite
    /// flow, Real NVP, is 0.25 ± 0.01 nats above it.`
    fn sentence(&self) -> Option<String> {
        let (first, best) = self.ranked.first()?;
        let family = first.flow.family;
        let named = |(flow, estimate): &(&FlowResults, Value)| {
            format!(
                "{} ({}, {})",
                escape(&flow.flow.title),
                flow.flow.family,
                value(estimate, self.contest.unit)
            )
        };
        let names: Vec<String> = self.leaders().iter().map(named).collect();
        let prize = (self.contest.prize)(self.measure);
        let mut sentence = match names.as_slice() {
            [one] => format!("{one} has {prize}"),
            many => format!("{} are tied for {prize}", listed(many)),
        };
        let rival = self.ranked.iter().find(|(flow, _)| flow.flow.family != family);
        if let (Some((flow, other)), Some(leading)) = (rival, self.family()) {
            let title = escape(&flow.flow.title);
            sentence += &format!(
                "; the {} {} flow, {title}, {}",
                self.contest.first,
                if leading == Family::Finite { Family::Continuous } else { Family::Finite },
                self.distance(best, other)
            );
        }
        Some(sentence + ".")
    }

    /// How far `other` is behind `best`: a difference of nats, a ratio of anything else.
    fn distance(&self, best: &Value, other: &Value) -> String {
        if self.contest.unit == " nats" {
            let error = best.error.zip(other.error).map(|(a, b)| a.hypot(b));
            let gap = Value { value: other.value - best.value, error };
            return format!("is {} nats above it", format::estimate(gap));
        }
        let ratio = |a: &Value, b: &Value| {
            let relative = |e: &Value| e.error.unwrap_or(0.0) / e.value;
            let value = a.value / b.value;
            let error = Some(value * relative(a).hypot(relative(b)));
            format::estimate(Value { value, error })
        };
        if self.contest.more_is_better {
            format!("is {} times slower", ratio(best, other))
        } else {
            format!("has {} times as many", ratio(other, best))
        }
    }
}

fn value(estimate: &Value, unit: &str) -> String {
    match estimate.error.filter(|error| *error > 0.0) {
        None => format!("{}{unit}", format::count(estimate.value)),
        Some(_) => format!("{}{unit}", format::estimate(*estimate)),
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

/// The table of winners, and a paragraph for each problem.
pub(super) fn section(results: &Results) -> String {
    let heads: String =
        CONTESTS.iter().map(|c| format!("<th scope=\"col\">{}</th>", c.head)).collect();
    let rows: String = results.problems.iter().map(row).collect();
    let table = format!(
        "<table class=\"sortable winners\" aria-labelledby=\"winners-table\">\n<thead><tr>\
         <th scope=\"col\">Problem</th>{heads}</tr></thead>\n<tbody>\n{rows}</tbody></table>"
    );
    let sentences: String = results.problems.iter().map(sentences).collect();
    format!(
        "{}{}<ul class=\"sentences\">\n{sentences}</ul>\n",
        overall(results),
        scrolling("winners-table", CAPTION, &table)
    )
}

fn row(results: &ProblemResults) -> String {
    let cells = CONTESTS.iter().map(|contest| {
        let outcome = Outcome::of(contest, results);
        let named = |(flow, estimate): &(&FlowResults, Value)| {
            format!(
                "<div>{}<span class=\"sub\">{}, {}</span></div>",
                escape(&flow.flow.title),
                flow.flow.family,
                value(estimate, contest.unit)
            )
        };
        let names: Vec<String> = outcome.leaders().iter().map(named).collect();
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

fn sentences(results: &ProblemResults) -> String {
    let outcomes = CONTESTS.iter().map(|contest| Outcome::of(contest, results).sentence());
    let said: String = outcomes.flatten().map(|said| format!("<li>{said}</li>\n")).collect();
    let title = escape(&results.problem.title);
    if said.is_empty() {
        return format!("<li><strong>{title}</strong>: no run finished.</li>\n");
    }
    format!("<li><strong>{title}</strong>\n<ul>\n{said}</ul></li>\n")
}

/// How often each family leads in each contest.
fn overall(results: &Results) -> String {
    let counts = CONTESTS.iter().map(|contest| {
        let outcomes: Vec<_> =
            results.problems.iter().map(|problem| Outcome::of(contest, problem)).collect();
        let lead = |family| outcomes.iter().filter(|o| o.family() == Some(family)).count();
        let shared = outcomes.iter().filter(|o| o.family().is_none() && o.leaders > 0).count();
        format!(
            "{}: finite {}, continuous {}, both {shared}",
            contest.head,
            lead(Family::Finite),
            lead(Family::Continuous)
        )
    });
    let counts: Vec<String> = counts.collect();
    format!(
        "<p>Problems on which a family leads, by what it leads in. {}.</p>\n",
        counts.join("; ")
    )
}
