//! Values that repeat: grids, a handful of values, and single ones among continuous values.

use super::super::grid::{Grid, is_whole};
use super::column::Column;
use super::words::{self, number, share};
use super::{Oddity, OddityKind};

/// Values repeat where the distinct ones are at most this share of the rows.
const MOST_DISTINCT: f64 = 0.5;

/// A column is constant but for a few rows where one value holds this share of them.
const RARE: f64 = 0.99;

/// An atom holds at least this share of the rows, and this number of them.
const LEAST_ATOM: (f64, usize) = (0.005, 5);

/// Atoms told of one column.
const MOST_ATOMS: usize = 3;

const UNBOUNDED: &str = "a likelihood has no upper bound";

/// What repeated values make of the column, and whether its values are few.
///
/// `told` are values that another finding names. In a table of `distinct_rows` distinct rows,
/// values that repeat with their rows are no sign of a grid.
pub(super) fn values(
    column: &Column<'_>,
    told: &[f64],
    distinct_rows: usize,
) -> (Option<Oddity>, bool) {
    if column.runs.len() < 2 {
        return (None, true);
    }
    let (rows, distinct) = (column.rows(), column.runs.len());
    let repeats = |distinct: usize, rows: usize| distinct as f64 <= MOST_DISTINCT * rows as f64;
    if let Some(grid) = Grid::of_repeated(&column.runs) {
        let oddity = (!column.noisy).then(|| on_grid(column, grid));
        return (oddity, true);
    }
    let ends = |value: f64| column.ends.contains(&value);
    let atoms: Vec<(f64, usize)> = atoms(&column.runs, rows);
    let others = rows - atoms.iter().map(|&(_, count)| count).sum::<usize>();
    let few = repeats(distinct - atoms.len(), others) && 2 * distinct < distinct_rows;
    if column.noisy {
        return (None, few);
    }
    let odd = |kind: OddityKind, message: String| {
        let columns = vec![column.name.to_owned()];
        Some(Oddity { kind, columns, message })
    };
    let place = words::column(column.name);
    let most = atoms.first().copied().filter(|&(_, count)| count as f64 >= RARE * rows as f64);
    if let Some((value, count)) = most {
        let message = format!(
            "{place} is {} in all but {} of {rows} rows, so that {UNBOUNDED}; remove it, or model \
             these rows apart",
            number(value),
            rows - count
        );
        return (odd(OddityKind::RareValues, message), true);
    }
    if few && others > 0 {
        let message = format!(
            "{place} has {distinct} distinct values in {rows} rows, on no grid, so that \
             {UNBOUNDED}; undo the transform that made it and set dequantise, or add noise"
        );
        return (odd(OddityKind::FewValues, message), true);
    }
    let new: Vec<String> = atoms
        .iter()
        .filter(|&&(value, _)| !told.contains(&value) && !ends(value))
        .map(|&(value, count)| format!("{} in {}", number(value), share(count, rows)))
        .collect();
    if new.is_empty() {
        return (None, false);
    }
    let message = format!(
        "{place} is {} and continuous elsewhere, so that {UNBOUNDED}; model these rows apart, or \
         add noise to them",
        words::list(&new)
    );
    (odd(OddityKind::Atom, message), false)
}

fn on_grid(column: &Column<'_>, grid: Grid) -> Oddity {
    let Grid { step, offset } = grid;
    let what = match (step, column.sorted.iter().all(|&value| is_whole(value))) {
        (1.0, true) => "integers only".to_owned(),
        _ if offset != 0.0 => {
            format!("multiples of {} from {} on", number(step), number(offset))
        }
        _ => format!("multiples of {} only", number(step)),
    };
    let columns = vec![column.name.to_owned()];
    Oddity { kind: OddityKind::Grid, columns, message: what }
}

/// Brings columns on the same grid into one sentence: `found` says of each what it lies on only.
pub(super) fn together(found: Vec<Oddity>) -> Vec<Oddity> {
    let mut together: Vec<Oddity> = Vec::new();
    for oddity in found {
        let same = |other: &&mut Oddity| {
            oddity.kind == OddityKind::Grid
                && other.kind == OddityKind::Grid
                && other.message == oddity.message
        };
        match together.iter_mut().find(same) {
            Some(other) => other.columns.extend(oddity.columns),
            None => together.push(oddity),
        }
    }
    for oddity in together.iter_mut().filter(|oddity| oddity.kind == OddityKind::Grid) {
        let verb = if oddity.columns.len() == 1 { "holds" } else { "hold" };
        oddity.message = format!(
            "{} {verb} {}, so that {UNBOUNDED}; set dequantise to add noise of one step",
            words::columns(&oddity.columns),
            oddity.message
        );
    }
    together
}

/// Values that hold far more rows than the others, the largest first.
///
/// Values written to few digits tie by chance. Their counts are about Poisson, at the mode of a bell
/// with up to some four times the mean; what lies six deviations above that is no chance.
fn atoms(runs: &[(f64, usize)], rows: usize) -> Vec<(f64, usize)> {
    let (share, fewest) = LEAST_ATOM;
    let least = fewest.max((share * rows as f64).ceil() as usize);
    let mut large: Vec<(f64, usize)> =
        runs.iter().copied().filter(|&(_, count)| count >= least).collect();
    large.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    let (mut left, mut distinct) = (rows, runs.len());
    let mut atoms = Vec::new();
    for (value, count) in large.into_iter().take(MOST_ATOMS) {
        let others = (left - count) as f64 / (distinct - 1).max(1) as f64;
        let by_chance = 8.0 * (others - 1.0).max(0.0);
        if (count as f64) < 4.0 + by_chance + 6.0 * by_chance.sqrt() {
            break;
        }
        (left, distinct) = (left - count, distinct - 1);
        atoms.push((value, count));
    }
    atoms
}
