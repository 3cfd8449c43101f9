//! The look at a table before training: each kind of fault is named, and good tables are let pass.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::collections::HashSet;

use flows_bench::table::{
    EveryTenth, Oddity, OddityKind, SplitRule, Table, digits, inspect, red_wine,
};
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, StandardNormal, StudentT};
use rand_xoshiro::Xoshiro256PlusPlus;

const LINE: [f64; 2] = [f64::NEG_INFINITY, f64::INFINITY];

/// `rows` rows made one after the other.
fn table<const D: usize>(rows: usize, mut row: impl FnMut(usize, &mut Draw) -> [f64; D]) -> Table {
    let mut draw = Draw(Xoshiro256PlusPlus::seed_from_u64(3));
    Table::new(Vec::new(), D, (0..rows).flat_map(|i| row(i, &mut draw)).collect()).unwrap()
}

struct Draw(Xoshiro256PlusPlus);

impl Draw {
    fn normal(&mut self) -> f64 {
        StandardNormal.sample(&mut self.0)
    }

    fn uniform(&mut self) -> f64 {
        self.0.random()
    }
}

fn found(table: &Table, support: &[[f64; 2]], noisy: &[usize]) -> Vec<Oddity> {
    inspect(
        table,
        &SplitRule::EveryTenth(EveryTenth {}).split(table.rows()).unwrap(),
        support,
        noisy,
    )
}

/// The only oddity there is.
fn only(table: &Table) -> Oddity {
    let found = found(table, &[], &[]);
    assert_eq!(found.len(), 1, "{found:?}");
    let oddity = found.into_iter().next().unwrap();
    assert!(!oddity.message.contains('\n') && oddity.message.len() < 400, "{}", oddity.message);
    oddity
}

fn kinds(table: &Table) -> Vec<OddityKind> {
    found(table, &[], &[]).into_iter().map(|oddity| oddity.kind).collect()
}

#[track_caller]
fn assert_only(table: &Table, kind: OddityKind, columns: &[&str], says: &str) {
    let oddity = only(table);
    assert_eq!(
        (oddity.kind, &oddity.columns[..]),
        (kind, &columns.iter().map(ToString::to_string).collect::<Vec<_>>()[..])
    );
    assert!(oddity.message.contains(says), "{}", oddity.message);
}

#[test]
fn ordinary_tables_are_let_pass() {
    let t5 = StudentT::new(5.0).unwrap();
    let plain = |rows: usize, kind: usize, single: bool| {
        table(rows, |_, draw| {
            [(); 3].map(|()| {
                let value = match kind {
                    0 => draw.normal(),
                    1 if draw.uniform() < 0.3 => 0.1 * draw.normal() + 3.0,
                    1 => draw.normal() - 2.0,
                    2 => t5.sample(&mut draw.0),
                    3 => draw.uniform(),
                    4 => draw.normal().exp(),
                    5 => 1.7e9 + draw.uniform(),
                    6 => 1e-300 * draw.normal(),
                    _ => 1e150 * draw.normal(),
                };
                // What is near 1.7e9 or beyond 1e±38 has few values or none in single precision.
                if single && kind < 5 { f64::from(value as f32) } else { value }
            })
        })
    };
    for kind in 0..8 {
        for single in [false, true] {
            assert_eq!(kinds(&plain(1000, kind, single)), [], "{kind} {single}");
        }
        assert_eq!(
            kinds(&plain(30, kind, false)),
            [OddityKind::FewTestRows, OddityKind::FewTrainingRows]
        );
    }
}

#[test]
fn embedded_tables_are_let_pass_with_their_noise() {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(0);
    let (wine, digits) = (red_wine().unwrap(), digits().unwrap());
    assert_eq!(kinds(&wine.dequantisation.apply(&wine.table, &mut rng).unwrap()), []);
    assert_eq!(kinds(&digits.dequantisation.apply(&digits.table, &mut rng).unwrap()), []);
    // Without it they lie on grids, and some wines occur twice.
    let noisy: Vec<usize> = (0..11).collect();
    let found = found(&wine.table, &[], &noisy);
    assert_eq!(found.len(), 1, "{found:?}");
    let bits = |row: &[f64]| row.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    let distinct: HashSet<Vec<u64>> = wine.table.values().chunks(11).map(bits).collect();
    let says = format!("{} distinct rows of 1599", distinct.len());
    assert!(distinct.len() < 1400 && found[0].message.starts_with(&says), "{found:?}");
}

#[test]
fn counters_of_rows_are_named() {
    for (start, step) in [(0.0, 1.0), (1.0, 1.0), (9.5, -0.25), (0.0, 0.1)] {
        let counted = table(400, |i, draw| [start + step * i as f64, draw.normal()]);
        assert_only(&counted, OddityKind::Index, &["x0"], "counts the rows");
    }
    // Two files, one below the other; rows that were removed; shuffled rows.
    let joined = table(400, |i, draw| [draw.normal(), (i % 200) as f64]);
    assert_only(&joined, OddityKind::Index, &["x1"], "changes by 1 in 99.7 %");
    let gaps = table(400, |i, draw| [(i + i * i / 50) as f64, draw.normal()]);
    assert_only(&gaps, OddityKind::Index, &["x0"], "in the order of the rows, from 0 to 3583");
    let shuffled = table(401, |i, draw| [(i * 190 % 401) as f64, draw.normal()]);
    assert_only(&shuffled, OddityKind::Index, &["x0"], "from 0 to 400 in steps of 1 once");
    let drawn = table(1000, |i, draw| [draw.normal(), (i * 7919 % 10_007) as f64]);
    assert_only(&drawn, OddityKind::Index, &["x1"], "at most once: it numbers the rows");
}

#[test]
fn grids_of_any_step_are_named_and_noise_mends_them() {
    for (step, offset, says) in [
        (1.0, 0.0, "integers only"),
        (0.25, 0.0, "multiples of 0.25 only"),
        (5.0, 0.0, "multiples of 5 only"),
        (0.1, 0.0, "multiples of 0.1 only"),
        (5.0 / 4096.0, 0.001, "multiples of 0.0012207 from 0.001 on"),
    ] {
        let read = |draw: &mut Draw| (30.0 * draw.normal()).round() * step + offset;
        let grid = table(2000, |_, draw| [draw.normal(), read(draw)]);
        assert_only(&grid, OddityKind::Grid, &["x1"], says);
        assert_eq!(found(&grid, &[], &[1]), []);
        let single = table(2000, |_, draw| [draw.normal(), f64::from(read(draw) as f32)]);
        assert_eq!(only(&single).columns, ["x1"]);
    }
    let counts = table(900, |_, draw| {
        [(9.0 * draw.uniform()).floor(), draw.normal(), (9.0 * draw.uniform()).floor()]
    });
    assert_only(
        &counts,
        OddityKind::Grid,
        &["x0", "x2"],
        "columns \"x0\" and \"x2\" hold integers",
    );
    let logs = table(900, |_, draw| [(9.0 * draw.uniform()).floor().ln_1p(), draw.normal()]);
    assert_only(&logs, OddityKind::FewValues, &["x0"], "has 9 distinct values in 900 rows");
}

#[test]
fn atoms_and_rare_values_are_named() {
    let rain = table(1000, |i, draw| [if i % 5 < 3 { 0.0 } else { draw.normal().exp() }]);
    assert_only(&rain, OddityKind::Atom, &["x0"], "is 0 in 600 of 1000 rows (60.0 %)");
    assert!(OddityKind::Atom.unbounded());
    let spikes =
        table(2000, |i, draw| [if i % 250 == 7 { draw.normal() } else { 0.5 }, draw.normal()]);
    assert_only(&spikes, OddityKind::RareValues, &["x0"], "is 0.5 in all but 8 of 2000 rows");
    let clipped = table(1000, |_, draw| [(0.5 + 0.4 * draw.normal()).clamp(0.0, 1.0)]);
    let ends = found(&clipped, &[[0.0, 1.0]], &[]);
    assert_eq!(ends.len(), 1, "{ends:?}");
    assert_eq!(ends[0].kind, OddityKind::SupportEnd);
    let share = |end: f64| clipped.values().iter().filter(|&&value| value == end).count();
    for end in [0.0, 1.0] {
        assert!(ends[0].message.contains(&format!("{end} in {} of 1000 rows", share(end))));
    }
    assert_eq!(found(&clipped, &[LINE], &[])[0].kind, OddityKind::Atom);
}

#[test]
fn values_far_from_all_others_are_named() {
    let missing =
        table(1000, |i, draw| [draw.normal(), if i % 300 == 5 { -9999.0 } else { draw.normal() }]);
    assert_only(&missing, OddityKind::Sentinel, &["x1"], "-9999 in 4 of 1000 rows (0.4 %)");
    let counts =
        table(1000, |i, draw| [if i % 300 == 5 { 999.0 } else { (9.0 * draw.uniform()).floor() }]);
    let noisy = found(&counts, &[], &[0]);
    assert_eq!((noisy.len(), noisy[0].kind), (1, OddityKind::Sentinel), "{noisy:?}");
    let one = table(1000, |i, draw| [if i == 12 { 1e12 } else { draw.normal() }, draw.normal()]);
    assert_only(&one, OddityKind::Outliers, &["x0"], "row 12 is 1e12, all others from -3.");
    let cauchy = table(2000, |_, draw| [draw.normal() / draw.normal(), draw.normal()]);
    assert_only(&cauchy, OddityKind::HeavyTail, &["x0"], "base = { kind = \"student_t\", nu = 2 }");
}

#[test]
fn columns_that_others_determine_are_named() {
    let total = |round: fn(f64) -> f64| {
        table(1000, |_, draw| {
            let (a, b) = (round(draw.normal()), round(draw.normal()));
            [a, b, round(a + b)]
        })
    };
    let expected = "\"x2\" is \"x0\" + \"x1\" to rounding";
    for round in [|v| v, |v| f64::from(v as f32), |v: f64| (v * 1e6).round() / 1e6] {
        assert_only(&total(round), OddityKind::Dependent, &["x2", "x0", "x1"], expected);
    }
    let units = table(500, |_, draw| {
        let celsius = 20.0 + 5.0 * draw.normal();
        [celsius, draw.normal(), 1.8 * celsius + 32.0]
    });
    assert_only(&units, OddityKind::Dependent, &["x2", "x0"], "\"x2\" is 1.8 \"x0\" + 32 to");
    let shares = table(500, |_, draw| {
        let parts = [(); 3].map(|()| -draw.uniform().ln());
        parts.map(|part| part / parts.iter().sum::<f64>())
    });
    assert_only(&shares, OddityKind::Dependent, &["x2", "x0", "x1"], "-1 \"x0\" - 1 \"x1\" + 1 to");
    let logarithm = table(500, |_, draw| {
        let flux = draw.normal().exp();
        [flux, draw.normal(), -2.5 * flux.log10()]
    });
    assert_only(&logarithm, OddityKind::Dependent, &["x2", "x0"], "falls wherever \"x0\" rises");
    for width in [1e-3, 1e-5, 1e-7] {
        let ribbon = table(500, |_, draw| {
            let along = draw.normal();
            [along, along + width * draw.normal()]
        });
        assert_only(&ribbon, OddityKind::NearlyDependent, &["x1", "x0"], "of its deviation");
    }
    assert!(!OddityKind::NearlyDependent.unbounded() && OddityKind::Dependent.unbounded());
}

#[test]
fn columns_with_common_outliers_do_not_depend_on_each_other() {
    let both = table(1000, |i, draw| [(); 2].map(|()| if i == 7 { 1e9 } else { draw.normal() }));
    assert_eq!(kinds(&both), [OddityKind::Outliers; 2]);
}

#[test]
fn repeated_rows_are_counted() {
    let mut row = [0.0; 3];
    let repeated = table(1000, |i, draw| {
        row = if i % 10 == 0 { [(); 3].map(|()| draw.normal()) } else { row };
        row
    });
    let says = "100 distinct rows of 1000; every test row is a training row";
    assert_only(&repeated, OddityKind::TestRowsInTraining, &[], says);
    // Rows of few values repeat by chance, and so do those of few digits.
    let flags = table(1000, |_, draw| [(); 2].map(|()| (2.0 * draw.uniform()).floor()));
    assert_eq!(found(&flags, &[], &[0, 1]), []);
    let digits = table(3000, |_, draw| [(draw.normal() * 1e4).round() / 1e4]);
    assert_eq!(kinds(&digits), []);
}

#[test]
fn parts_that_differ_are_named() {
    let in_turn = table(1000, |i, draw| [10.0 * (i % 10) as f64 + draw.normal(), draw.normal()]);
    let found = found(&in_turn, &[], &[]);
    let kinds: Vec<OddityKind> = found.iter().map(|oddity| oddity.kind).collect();
    assert_eq!(kinds, [OddityKind::TestDiffers, OddityKind::ValidationDiffers]);
    assert!(
        found[0].message.starts_with("test rows differ from training rows in column \"x0\" by")
    );
    assert!(found[0].message.contains("kind \"random\""), "{}", found[0].message);
    assert!(found[1].message.contains("validation says nothing"), "{}", found[1].message);
    let spread = table(1000, |i, draw| [draw.normal() * if i % 10 == 0 { 9.0 } else { 1.0 }]);
    assert_only(&spread, OddityKind::TestDiffers, &["x0"], "test rows differ");
}

#[test]
fn a_header_of_numbers_is_told_from_a_row() {
    let below = |first: [f64; 3]| {
        table(500, move |i, draw| if i == 0 { first } else { [(); 3].map(|()| draw.normal()) })
    };
    let says = "the first row (400, 410 and 420) is at least";
    assert_only(&below([400.0, 410.0, 420.0]), OddityKind::HeaderRow, &[], says);
    let says = "the first row (0, 1 and 2) alone holds whole numbers";
    assert_only(&below([0.0, 1.0, 2.0]), OddityKind::HeaderRow, &[], says);
    let names = ["a", "b", "c"].map(str::to_owned).to_vec();
    let named = Table::new(names, 3, below([0.0, 1.0, 2.0]).into_values()).unwrap();
    assert_eq!(kinds(&named), []);
}

#[test]
fn an_oddity_goes_through_json() {
    let rain = table(1000, |_, draw| [if draw.uniform() < 0.6 { 0.0 } else { draw.normal() }]);
    let text = serde_json::to_string(&only(&rain)).unwrap();
    assert!(text.starts_with(r#"{"kind":"atom","columns":["x0"],"message":"#), "{text}");
    assert_eq!(serde_json::from_str::<Oddity>(&text).unwrap(), only(&rain));
}
