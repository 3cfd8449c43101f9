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
    /// What the winner has.
    prize: fn(Measure) -> &'static str,
    /// What the first of the other family is called.
    first: &'static str,
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
        let prize = (self.contest.prize)(self.results.measure());
        let mut sentence = match names.as_slice() {
            [] => return Some(self.nobody(prize)),
            [one] => format!("{one} has {prize}"),
            many => format!("{} are tied for {prize}", listed(many)),
        };
        let family = best.flow.flow.family;
        let rival = self.ranked.iter().find(|ranked| ranked.flow.flow.family != family);
        if let (Some(other), Some(leading)) = (rival, self.family()) {
            let title = escape(&other.flow.flow.title);
            sentence += &format!(
                "; the {} {} flow, {title}, {}",
                self.contest.first,
                if leading == Family::Finite { Family::Continuous } else { Family::Finite },
                self.distance(best, other)
            );
        }
        Some(sentence + ".")
    }

    /// Why flows with values have no leader.
    fn nobody(&self, prize: &str) -> String {
        if self.contest.is_likelihood() && self.results.problem.unbounded {
            return format!("Nobody has {prize}: {UNBOUNDED}.");
        }
        format!(
            "Who has {prize} cannot be said: the standard errors of the differences are unknown."
        )
    }

    /// How far `other` is behind `best`: a difference of nats, a ratio of anything else.
    fn distance(&self, best: &Ranked<'_>, other: &Ranked<'_>) -> String {
        if self.contest.is_likelihood() {
            let gap = self.results.difference(other.index, best.index);
            let gap = gap.map_or_else(|| "an unknown number of".to_owned(), format::estimate);
            return format!("is {gap} nats above it");
        }
        let ratio = |a: &Value, b: &Value| {
            let relative = |e: &Value| Some(e.error? / e.value);
            let value = a.value / b.value;
            let error = relative(a).zip(relative(b)).map(|(a, b)| value * a.hypot(b));
            format::estimate(Value { value, error })
        };
        if self.contest.more_is_better {
            format!("is {} times slower", ratio(&best.value, &other.value))
        } else {
            format!("has {} times as many", ratio(&other.value, &best.value))
        }
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
        let led = outcomes.iter().filter(|o| o.leaders().next().is_some());
        let shared = led.filter(|o| o.family().is_none()).count();
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
