//! Rows that occur more than once, by their hashes.

use super::super::{Split, Table};
use super::column::Facts;
use super::words::percent;
use super::{Oddity, OddityKind};

/// Fewer repeated rows than this share are no matter.
const LEAST: f64 = 0.01;

/// From this share of copies on, a test likelihood is one of training rows.
const MANY: f64 = 0.05;

/// Rows were copied where so many more repeat than values written to few digits do by chance: a
/// number of them, and a multiple of the expected number of pairs (which counts columns as free of
/// each other, and so is too small).
const COPIED: (f64, f64) = (5.0, 10.0);

pub(super) struct Repeats {
    rows: usize,
    /// Number of distinct rows.
    pub(super) distinct: usize,
    test: usize,
    /// Test rows that are training rows too.
    copies: usize,
}

impl Repeats {
    /// Counts rows; columns that count the rows (`counters`) are left out.
    pub(super) fn of(table: &Table, split: &Split, counters: &[bool]) -> Self {
        let hash = |row: &[f64]| {
            let free = row.iter().zip(counters).filter(|&(_, &counter)| !counter);
            // 0 and −0 are one value.
            free.fold(0, |hash, (value, _)| mixed(hash ^ (value + 0.0).to_bits()))
        };
        let hashes: Vec<u64> = table.values().chunks_exact(table.columns()).map(hash).collect();
        let of = |rows: &[usize]| -> Vec<u64> {
            rows.iter().filter_map(|&row| hashes.get(row).copied()).collect()
        };
        let (mut training, test) = (of(&split.training), of(&split.test));
        training.sort_unstable();
        let copies = test.iter().filter(|hash| training.binary_search(hash).is_ok()).count();
        let (rows, mut distinct) = (hashes.len(), hashes);
        distinct.sort_unstable();
        distinct.dedup();
        Self { rows, distinct: distinct.len(), test: test.len(), copies }
    }

    pub(super) fn oddity(&self, facts: &[Facts]) -> Option<Oddity> {
        let tie: f64 = facts.iter().filter(|facts| !facts.counter).map(|facts| facts.tie).product();
        let pairs = tie * (self.rows as f64).powi(2) / 2.0;
        let (least, times) = COPIED;
        let repeats = (self.rows - self.distinct) as f64;
        if facts.iter().all(|facts| facts.counter) || repeats < least + times * pairs {
            return None;
        }
        let repeated = repeats / self.rows as f64;
        let copied = self.copies as f64 / self.test.max(1) as f64;
        if repeated < LEAST && copied < LEAST {
            return None;
        }
        let copies = match self.copies {
            0 => "no test row is a training row".to_owned(),
            all if all == self.test => "every test row is a training row".to_owned(),
            some => {
                format!("{some} of {} test rows ({}) are training rows", self.test, percent(copied))
            }
        };
        let kind =
            if copied >= MANY { OddityKind::TestRowsInTraining } else { OddityKind::RepeatedRows };
        let message = format!(
            "{} distinct rows of {}; {copies}, and a flow is rewarded for copying them: remove \
             the repeats, or split so that copies stay together",
            self.distinct, self.rows
        );
        Some(Oddity { kind, columns: Vec::new(), message })
    }
}

/// A bijection of 64 bits in which every bit depends on every other (the finaliser of SplitMix64;
/// Steele, Lea, Flood, *Fast splittable pseudorandom number generators*, OOPSLA 2014).
fn mixed(bits: u64) -> u64 {
    let bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
