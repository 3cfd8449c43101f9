//! The grid that values lie on: offset + k · step, for a step of any size.
//!
//! The step is an approximate greatest common divisor of the gaps between the values. Rounding is
//! that of f64, or of f32 where every value is one; a step that rounding could feign is no step.

/// Unit roundoff of f32 and of f64.
const ROUNDOFF: [f64; 2] = [f32::EPSILON as f64 / 2.0, f64::EPSILON / 2.0];

/// Share of values that may lie off the grid: averaged readings ("9.5333") in a column of tenths.
const MOST_OFF_GRID: f64 = 0.01;

/// Shares of the rows, those of the most frequent values, whose gaps are tried one after the other:
/// what lies off the grid is rare, and spoils the later ones only.
const COVERAGE: [f64; 6] = [0.5, 0.75, 0.9, 0.95, 0.99, 1.0];

/// A step is at least so many times the rounding of the largest value: a value falls onto such a
/// grid by accident once in 250.
const LEAST_STEP: f64 = 500.0;

/// A remainder is told from rounding where the latter is below this share of the step.
const CLEAR: f64 = 0.125;

/// Whole numbers up to here are all represented: above it, every f64 is whole.
const LARGEST_WHOLE: f64 = (1_u64 << 53) as f64;

/// The values offset + k · step for whole k; 0 ≤ offset < step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Grid {
    pub(super) step: f64,
    pub(super) offset: f64,
}

impl Grid {
    /// The widest grid that 99 of 100 values lie on, apart from the most frequent one.
    ///
    /// `runs` are the distinct values, ascending, with their counts. There must be at least two
    /// of them, and the middle half of the values must not span more than two steps a value: on a
    /// finer grid values would hardly repeat. Whole numbers are on one in any case.
    pub(super) fn of(runs: &[(f64, usize)]) -> Option<Self> {
        let single = runs.iter().all(|&(value, _)| is_single(value));
        let [coarse, fine] = ROUNDOFF;
        // Where all values are f32, they are also multiples of a tiny power of two.
        let first = if single { Search { runs, unit: coarse }.grid() } else { None };
        first.or_else(|| Search { runs, unit: fine }.grid())
    }

    /// The grid of a column whose values repeat, or are all whole: the distinct ones are at most
    /// half as many as all.
    pub(super) fn of_repeated(runs: &[(f64, usize)]) -> Option<Self> {
        let rows: usize = runs.iter().map(|&(_, count)| count).sum();
        let whole = runs.iter().all(|&(value, _)| is_whole(value));
        let looked = runs.len() > 1 && (whole || 2 * runs.len() <= rows);
        let ones = Self { step: 1.0, offset: 0.0 };
        if looked { Self::of(runs).or(whole.then_some(ones)) } else { None }
    }

    /// The grid of `step` that `value` is on.
    pub(super) fn through(value: f64, step: f64) -> Self {
        let offset = value - (value / step).floor() * step;
        let doubt = 2.0 * f64::EPSILON * value.abs();
        let is_zero = offset <= doubt || step - offset <= doubt;
        Self { step, offset: if is_zero { 0.0 } else { offset } }
    }

    /// Where `value` lies, in steps from the offset.
    pub(super) fn steps(self, value: f64) -> f64 {
        // Dividing by 0.1 is not exact, multiplying by 10 nearly is.
        match self.per_unit() {
            Some(per_unit) => (value - self.offset) * per_unit,
            None => (value - self.offset) / self.step,
        }
    }

    /// The value at `steps` from the offset.
    pub(super) fn at(self, steps: f64) -> f64 {
        let distance = match self.per_unit() {
            Some(per_unit) => steps / per_unit,
            None => steps * self.step,
        };
        self.offset + distance
    }

    /// Steps to one unit, where that is a whole number.
    fn per_unit(self) -> Option<f64> {
        let per_unit = (1.0 / self.step).round();
        (per_unit >= 2.0 && 1.0 / per_unit == self.step).then_some(per_unit)
    }
}

/// Whether a value is a whole number that is not so by rounding alone.
pub(super) fn is_whole(value: f64) -> bool {
    value.fract() == 0.0 && value.abs() <= LARGEST_WHOLE
}

fn is_single(value: f64) -> bool {
    f64::from(value as f32) == value
}

struct Search<'a> {
    runs: &'a [(f64, usize)],
    unit: f64,
}

impl Search<'_> {
    fn grid(&self) -> Option<Grid> {
        let &(middle, most) = self.runs.iter().max_by_key(|&&(_, count)| count)?;
        let rows: usize = self.runs.iter().map(|&(_, count)| count).sum();
        let most_off = (MOST_OFF_GRID * (rows - most) as f64).floor();
        COVERAGE.iter().find_map(|&share| {
            let rough = self.divisor(&self.frequent(share * rows as f64))?;
            let (grid, off) = self.refined(rough, middle)?;
            (off as f64 <= most_off && self.is_dense(grid, rows)).then_some(grid)
        })
    }

    /// Bound on the difference of two values of a grid, less its whole number of steps: each has
    /// been rounded twice (the product with the step, and the sum with the offset).
    fn rounding(&self, a: f64, b: f64) -> f64 {
        2.0 * self.unit * (a.abs() + b.abs())
    }

    /// The most frequent values, as many as hold `rows` rows, ascending.
    fn frequent(&self, rows: f64) -> Vec<f64> {
        let mut order: Vec<usize> = (0..self.runs.len()).collect();
        order.sort_by_key(|&run| std::cmp::Reverse(self.runs[run].1));
        let mut covered = 0;
        let enough = order.iter().position(|&run| {
            covered += self.runs[run].1;
            covered as f64 >= rows
        });
        // At least three values: two have a gap, and nothing to compare it with.
        let kept = (enough.unwrap_or(order.len()) + 1).max(3).min(order.len());
        let mut runs = order[..kept].to_vec();
        runs.sort_unstable();
        runs.into_iter().map(|run| self.runs[run].0).collect()
    }

    /// The approximate greatest common divisor of the gaps between `values`, ascending.
    ///
    /// With a bound on its error.
    fn divisor(&self, values: &[f64]) -> Option<(f64, f64)> {
        let mut gaps: Vec<(f64, f64)> = values
            .windows(2)
            .map(|pair| (pair[1] - pair[0], self.rounding(pair[0], pair[1])))
            .collect();
        gaps.sort_by(|a, b| a.0.total_cmp(&b.0));
        let &(mut step, mut error) = gaps.first()?;
        for &(gap, rounding) in &gaps[1..] {
            (step, error) = common((gap, rounding), (step, error));
            if step < LEAST_STEP * error {
                return None;
            }
        }
        Some((step, error))
    }

    /// The step made precise over ever longer distances from `middle`, and the rows off the grid.
    fn refined(&self, rough: (f64, f64), middle: f64) -> Option<(Grid, usize)> {
        let mut runs = self.runs.to_vec();
        runs.sort_by(|a, b| (a.0 - middle).abs().total_cmp(&(b.0 - middle).abs()));
        let (mut step, mut error) = rough;
        for &(value, _) in &runs {
            let (distance, rounding) = (value - middle, self.rounding(value, middle));
            let steps = (distance / step).round();
            let doubt = rounding + steps.abs() * error;
            let clear = doubt < CLEAR * step && (distance - steps * step).abs() <= doubt;
            if clear && rounding < steps.abs() * error {
                (step, error) = (distance / steps, rounding / steps.abs());
            }
        }
        let step = plain(step, error);
        let offset = middle - (middle / step).floor() * step;
        let doubt = self.rounding(middle, middle) + (middle / step).abs() * error;
        let is_zero = offset <= doubt || step - offset <= doubt;
        let grid = Grid { step, offset: if is_zero { 0.0 } else { offset } };
        let doubt =
            |value: f64| self.rounding(value, middle) + ((value - middle) / step).abs() * error;
        let is_off = |&&(value, _): &&(f64, usize)| {
            let steps = ((value - middle) / step).round();
            (value - middle - steps * step).abs() > doubt(value)
        };
        let off = runs.iter().filter(is_off).map(|&(_, count)| count).sum();
        let widest = runs.last().map_or(0.0, |&(value, _)| self.rounding(value, middle));
        (step.is_finite() && step >= LEAST_STEP * widest).then_some((grid, off))
    }

    fn is_dense(&self, grid: Grid, rows: usize) -> bool {
        let quartile = |share: f64| {
            let mut below = 0;
            let reached = self.runs.iter().find(|&&(_, count)| {
                below += count;
                below as f64 >= share * rows as f64
            });
            reached.map_or(0.0, |&(value, _)| value)
        };
        let steps = (quartile(0.75) - quartile(0.25)) / grid.step;
        steps <= 2.0 * rows as f64 || self.runs.iter().all(|&(value, _)| is_whole(value))
    }
}

/// Euclid's algorithm for two lengths, each `(length, error)`; stops where the remainder is rounding.
fn common(mut a: (f64, f64), mut b: (f64, f64)) -> (f64, f64) {
    loop {
        let times = (a.0 / b.0).round();
        let rest = ((a.0 - times * b.0).abs(), a.1 + times.abs() * b.1);
        if rest.1 > CLEAR * b.0 || rest.0 <= rest.1 {
            // Nothing left, or nothing that could be told: the divisor stays as it is.
            return b;
        }
        (a, b) = (b, rest);
    }
}

/// The decimal of fewest digits within `error` of `step`.
fn plain(step: f64, error: f64) -> f64 {
    let error = error.max(f64::EPSILON * step);
    let candidates = (0..15).filter_map(|digits| format!("{step:.digits$e}").parse::<f64>().ok());
    let mut close = candidates.filter(|decimal| (decimal - step).abs() <= error);
    close.next().unwrap_or(step)
}

/// The distinct values of `sorted`, with their counts.
pub(super) fn runs(sorted: &[f64]) -> Vec<(f64, usize)> {
    let equal = sorted.chunk_by(|a, b| a == b);
    equal.filter_map(|run| run.first().map(|&value| (value, run.len()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(values: impl IntoIterator<Item = f64>) -> Option<Grid> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        Grid::of(&runs(&values))
    }

    /// 2,000 whole numbers of a bell around 0, deviation 20.
    fn bell() -> impl Iterator<Item = f64> {
        (0..2000).map(|i| {
            let turns = |n: usize| f64::from(u32::try_from(i * n % 1000).unwrap_or(0)) / 1000.0;
            ((turns(7) + turns(31) + turns(113) - 1.5) * 40.0).round()
        })
    }

    #[test]
    fn steps_of_any_size_are_found() {
        for step in [0.25, 0.5, 2.0, 5.0, 10.0, 250.0, 0.1, 0.01, 1e-5, 2.5e-4, 0.3, 1.0 / 3.0] {
            let found = grid(bell().map(|k| k * step)).unwrap();
            assert!((found.step / step - 1.0).abs() < 1e-12, "{step} {found:?}");
            assert_eq!(found.offset, 0.0, "{step}");
        }
        for step in [0.1, 0.025, 10.0 / 4096.0, 5.0 / 4096.0] {
            let found = grid(bell().map(|k| f64::from((k * step) as f32))).unwrap();
            assert!((found.step / step - 1.0).abs() < 1e-6, "{step} {found:?}");
        }
        // Whatever the most frequent value, and however far from 0.
        for mode in [-7.0, 0.0, 1.0, 3.0, 700.0, 7032.0] {
            let values = || bell().map(move |k| (k + mode) / 10.0).chain([mode / 10.0; 300]);
            assert_eq!(grid(values()), Some(Grid { step: 0.1, offset: 0.0 }), "{mode}");
            let single = grid(values().map(|value| f64::from(value as f32)));
            assert_eq!(single, Some(Grid { step: 0.1, offset: 0.0 }), "{mode} in f32");
        }
    }

    #[test]
    fn an_offset_is_found() {
        for (step, offset) in [(5.0 / 4096.0, 0.001), (0.2, 0.1), (1.0, 0.5), (7.0, 3.0)] {
            let found = grid(bell().map(|k| k * step + offset)).unwrap();
            assert!((found.step / step - 1.0).abs() < 1e-12, "{found:?}");
            assert!((found.offset - offset).abs() < 1e-13, "{found:?}");
        }
    }

    #[test]
    fn values_go_to_their_step_and_back() {
        let tenths = Grid { step: 0.1, offset: 0.0 };
        assert_eq!((tenths.at(3.0), tenths.steps(0.3)), (0.3, 3.0));
        let sevens = Grid { step: 7.0, offset: 3.0 };
        assert_eq!((sevens.at(-2.0), sevens.steps(-11.0)), (-11.0, -2.0));
    }

    #[test]
    fn repeated_values_are_no_grid() {
        let irrational = |i: usize| (i as f64).sqrt();
        assert_eq!(grid((2..202).chain(2..202).map(irrational)), None);
        let single = |i: usize| f64::from(irrational(i) as f32);
        assert_eq!(grid((2..202).chain(2..202).map(single)), None);
        assert_eq!(grid((0..2000).map(|i| ((i % 40) as f64).ln_1p())), None);
        assert_eq!(grid([1.0; 9]), None);
        assert_eq!(grid([]), None);
    }
}
