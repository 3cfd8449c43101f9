//! Columns that are functions of others: totals, parts of a whole, other units, copies.
//!
//! Linear ones by a Cholesky factorisation of the correlation matrix with pivots (Golub, Van Loan,
//! *Matrix Computations*, 4.2.8): what is left of a column's variance, once those before it are
//! known, is its pivot. Whether nothing is left is decided by the residuals themselves, row by row,
//! against the rounding of the values.

use std::collections::HashMap;

use rayon::prelude::*;

use super::super::Table;
use super::column::Facts;
use super::precision::Precision;
use super::sample::{Standard, standardised};
use super::words::{self, number};
use super::{Oddity, OddityKind};

/// Columns that are compared with each other; more of them are taken in groups.
const MOST_COLUMNS: usize = 512;

/// Share of the variance left at which residuals are looked at, and at which a density is thin.
const LOOK: f64 = 1e-2;
const THIN: f64 = 1e-5;

/// Share of the variance left at which a column adds nothing to those before it.
const NOTHING: f64 = 1e-13;

/// A coefficient below this (of standardised columns) is rounding.
const NO_PART: f64 = 1e-6;

/// Rounding of sums over rows and columns, in units of f64's epsilon times the terms.
const SUMS: f64 = 64.0;

/// Columns told of; further ones are of the same making.
const MOST_TOLD: usize = 8;

/// Terms of a sum that are written out.
const MOST_TERMS: usize = 6;

/// Columns and rows for the comparison of orders.
const MOST_ORDERED: usize = 200;
const MOST_ORDER_ROWS: usize = 2000;
const FEWEST_ORDER_ROWS: usize = 200;

/// Columns that are, or nearly are, linear functions of others.
pub(super) fn linear(table: &Table, facts: &[Facts]) -> Vec<Oddity> {
    let starts = (0..table.columns()).step_by(MOST_COLUMNS);
    let groups = starts.map(|start| start..(start + MOST_COLUMNS).min(table.columns()));
    let found = groups.flat_map(|range| {
        let columns = standardised(table, facts, range);
        Factor::new(&columns).dependences(table)
    });
    found.take(MOST_TOLD).collect()
}

/// The factor as far as it has come: rows of L in the order of the pivots.
struct Factor<'a> {
    columns: &'a [Standard],
    precision: Vec<Precision>,
    /// Correlations; the rows of L take their place column by column.
    lower: Vec<Vec<f64>>,
    left: Vec<f64>,
    basis: Vec<usize>,
}

/// A column as a combination of the basis.
struct Fit {
    /// Coefficients of standardised columns.
    weights: Vec<f64>,
    /// Deviation of what is left, relative to that of the column.
    left: f64,
    /// Whether it is rounding alone.
    exact: bool,
}

impl<'a> Factor<'a> {
    fn new(columns: &'a [Standard]) -> Self {
        let precision = |column: &Standard| Precision::of(column.given.iter().copied());
        let precision = columns.iter().map(precision).collect();
        let lower = vec![Vec::new(); columns.len()];
        let left = vec![1.0; columns.len()];
        Self { columns, precision, lower, left, basis: Vec::new() }
    }

    fn dependences(mut self, table: &Table) -> Vec<Oddity> {
        let mut found = Vec::new();
        let mut waiting: Vec<usize> = (0..self.columns.len()).collect();
        let left = |left: &[f64], &(_, &column): &(usize, &usize)| left[column];
        while let Some((at, _)) = waiting
            .iter()
            .enumerate()
            .max_by(|a, b| left(&self.left, a).total_cmp(&left(&self.left, b)))
        {
            let column = waiting.swap_remove(at);
            let mut keep = self.left[column] > NOTHING;
            if self.left[column] < LOOK && found.len() < MOST_TOLD {
                let fit = self.fit(column);
                keep &= !fit.exact;
                if fit.exact || self.left[column] < THIN {
                    found.push(self.oddity(column, &fit, table));
                }
            }
            if keep {
                self.take_in(column, &waiting);
            }
        }
        found
    }

    /// The next row of L for every column that waits.
    fn take_in(&mut self, pivot: usize, waiting: &[usize]) {
        let root = self.left[pivot].sqrt();
        let of_pivot = self.lower[pivot].clone();
        let (columns, rows) = (self.columns, self.columns[pivot].values.len() as f64);
        let entries: Vec<f64> = waiting
            .par_iter()
            .map(|&column| {
                let correlation = dot(&columns[column].values, &columns[pivot].values) / rows;
                (correlation - dot(&self.lower[column], &of_pivot)) / root
            })
            .collect();
        for (&column, entry) in waiting.iter().zip(entries) {
            self.lower[column].push(entry);
            self.left[column] = (self.left[column] - entry * entry).max(0.0);
        }
        self.lower[pivot].push(root);
        self.basis.push(pivot);
    }

    fn fit(&self, column: usize) -> Fit {
        let mut weights = vec![0.0; self.basis.len()];
        let mut rest = self.columns[column].values.clone();
        let rows = rest.len() as f64;
        // The second and third round take out what the first has lost to rounding.
        for round in 0..3 {
            let known = |&basis: &usize| dot(&self.columns[basis].values, &rest) / rows;
            let side = match round {
                0 => self.backward(self.lower[column].clone()),
                _ => self.backward(self.forward(self.basis.iter().map(known).collect())),
            };
            for ((weight, change), &basis) in weights.iter_mut().zip(side).zip(&self.basis) {
                *weight += change;
                for (rest, value) in rest.iter_mut().zip(&self.columns[basis].values) {
                    *rest -= change * value;
                }
            }
        }
        let left = (dot(&rest, &rest) / rows).sqrt();
        let exact = (0..rest.len()).all(|row| {
            rest[row].abs() * self.columns[column].deviation <= self.rounding(column, &weights, row)
        });
        Fit { weights, left, exact }
    }

    /// Bound on the residual of `row` if the column is a function of the others but for rounding.
    fn rounding(&self, column: usize, weights: &[f64], row: usize) -> f64 {
        let this = &self.columns[column];
        let part = |(&basis, weight): (&usize, &f64)| {
            let other = &self.columns[basis];
            (basis, weight.abs() * this.deviation / other.deviation)
        };
        let parts = self.basis.iter().zip(weights).map(part).chain([(column, 1.0)]);
        parts
            .map(|(index, weight)| {
                let (value, other) = (self.columns[index].given[row], &self.columns[index]);
                let sums = SUMS * f64::EPSILON * (value.abs() + other.mean.abs());
                let precision = &self.precision[index];
                let given = if precision.is_fine(other.deviation) {
                    precision.rounding(value)
                } else {
                    0.0
                };
                weight * (sums + given)
            })
            .sum()
    }

    /// L⁻¹ b.
    fn forward(&self, mut b: Vec<f64>) -> Vec<f64> {
        for (i, &basis) in self.basis.iter().enumerate() {
            let row = &self.lower[basis];
            b[i] = (b[i] - dot(&row[..i], &b[..i])) / row[i];
        }
        b
    }

    /// L⁻ᵀ b.
    fn backward(&self, mut b: Vec<f64>) -> Vec<f64> {
        for (i, &basis) in self.basis.iter().enumerate().rev() {
            let row = &self.lower[basis];
            b[i] /= row[i];
            let solved = b[i];
            for (b, entry) in b[..i].iter_mut().zip(row) {
                *b -= entry * solved;
            }
        }
        b
    }

    fn oddity(&self, column: usize, fit: &Fit, table: &Table) -> Oddity {
        let this = &self.columns[column];
        let parts =
            self.basis.iter().zip(&fit.weights).filter(|(_, weight)| weight.abs() > NO_PART);
        // Σ aₖ xₖ = constant, over the column itself and those that make it.
        let part = |(&basis, weight): (&usize, &f64)| {
            let other = &self.columns[basis];
            (other, -weight * this.deviation / other.deviation)
        };
        let mut terms: Vec<(&Standard, f64)> = parts.map(part).chain([(this, 1.0)]).collect();
        terms.sort_by_key(|(other, _)| other.column);
        let constant: f64 = terms.iter().map(|(other, weight)| weight * other.mean).sum();
        let size: f64 = terms.iter().map(|(other, weight)| (weight * other.deviation).abs()).sum();
        let (last, others) = match terms.split_last() {
            Some((last, others)) => (*last, others),
            None => ((this, 1.0), &[][..]),
        };
        let name = |standard: &Standard| table.names()[standard.column].clone();
        let mut made: Vec<String> = others
            .iter()
            .map(|(other, weight)| match -weight / last.1 {
                1.0 => format!("{:?}", name(other)),
                weight if number(weight) == "1" => format!("{:?}", name(other)),
                weight => format!("{} {:?}", number(weight), name(other)),
            })
            .collect();
        if (constant / last.1).abs() > NO_PART * size / last.1.abs() {
            made.push(number(constant / last.1));
        }
        let (kind, how, so) = match fit.exact {
            true => (
                OddityKind::Dependent,
                "to rounding".to_owned(),
                "so that no density exists and a likelihood has no upper bound; remove one of \
                 these columns",
            ),
            false => (
                OddityKind::NearlyDependent,
                format!("but for {} of its deviation", number(fit.left)),
                "so that the density is thin, and flows need long to find it; take the difference \
                 as a column instead",
            ),
        };
        let more = made.len().saturating_sub(MOST_TERMS);
        made.truncate(MOST_TERMS);
        if more > 0 {
            made.push(format!("{more} terms more"));
        }
        let message = format!(
            "{} is {} {how}, {so}",
            words::column(&name(last.0)),
            made.join(" + ").replace("+ -", "- ")
        );
        let others = others.iter().map(|(other, _)| name(other));
        let columns = [name(last.0)].into_iter().chain(others).collect();
        Oddity { kind, columns, message }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    // Four sums at a time: one alone would wait for every addition.
    let (a4, a_rest) = a.as_chunks::<4>();
    let (b4, b_rest) = b.as_chunks::<4>();
    let mut sums = [0.0; 4];
    for (a, b) in a4.iter().zip(b4) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f64>() + rest
}

/// Continuous columns whose values stand in the same order, or in the opposite one: a logarithm, a
/// rank, a magnitude of a flux.
pub(super) fn same_order(table: &Table, facts: &[Facts], found: &[Oddity]) -> Vec<Oddity> {
    let rows = table.rows().min(MOST_ORDER_ROWS);
    if rows < FEWEST_ORDER_ROWS || table.columns() > MOST_ORDERED {
        return Vec::new();
    }
    let rows: Vec<usize> = (0..rows).map(|i| i * table.rows() / rows).collect();
    let told = |column: usize| {
        let name = &table.names()[column];
        let linear = |oddity: &&Oddity| {
            matches!(oddity.kind, OddityKind::Dependent | OddityKind::NearlyDependent)
        };
        found.iter().filter(linear).any(|oddity| oddity.columns.contains(name))
    };
    let mut orders: HashMap<Vec<usize>, usize> = HashMap::new();
    let mut oddities = Vec::new();
    let free = facts.iter().enumerate().filter(|(_, facts)| !(facts.counter || facts.discrete));
    for (column, _) in free.filter(|&(column, _)| !told(column)) {
        let value = |at: usize| table.row(rows[at])[column];
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by(|&a, &b| value(a).total_cmp(&value(b)));
        if order.windows(2).any(|pair| value(pair[0]) == value(pair[1])) {
            continue;
        }
        let backward: Vec<usize> = order.iter().rev().copied().collect();
        let known = orders.get(&order).map(|&other| (other, "rises"));
        let known = known.or_else(|| orders.get(&backward).map(|&other| (other, "falls")));
        let Some((other, moves)) = known else {
            orders.insert(order, column);
            continue;
        };
        let columns = [column, other].map(|column| table.names()[column].clone());
        let message = format!(
            "{} {moves} wherever {:?} rises, so that one is a function of the other, and a \
             likelihood has no upper bound; remove one of them",
            words::column(&columns[0]),
            columns[1]
        );
        oddities.push(Oddity { kind: OddityKind::Dependent, columns: columns.to_vec(), message });
    }
    oddities
}
