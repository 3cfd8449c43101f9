//! The red wine table, embedded.

use super::{Dequantisation, Result, Table};

/// Red *vinho verde* wines.
#[derive(Clone, Debug, PartialEq)]
pub struct RedWine {
    /// `(1599, 11)`: physicochemical measurements, each in its own unit.
    pub table: Table,
    /// Uniform noise of one unit of the last published decimal on every column.
    pub dequantisation: Dequantisation,
}

/// The last decimal of each column of the published table.
const STEPS: [f64; 11] = [0.1, 0.001, 0.01, 0.01, 0.001, 1.0, 1.0, 1e-5, 0.01, 0.01, 0.1];

/// The 1,599 red wines, 11 features (the quality score is left out).
///
/// # Errors
/// [`TableError::Shape`](super::TableError::Shape) or [`TableError::Names`](super::TableError::Names)
/// where the embedded data have changed.
///
/// # Reference
/// Cortez, Cerdeira, Almeida, Matos, Reis, *Modeling wine preferences by data mining from
/// physicochemical properties*, Decision Support Systems 47, 2009.
pub fn red_wine() -> Result<RedWine> {
    let wine = linfa_datasets::winequality();
    let columns = wine.records.ncols();
    let values = wine.records.iter().copied().collect();
    let names = wine.feature_names().iter().map(ToString::to_string).collect();
    let table = Table::new(names, columns, values)?;
    let steps: Vec<(usize, f64)> = STEPS.into_iter().enumerate().collect();
    let dequantisation = Dequantisation::listed(&table, &steps)?;
    Ok(RedWine { table, dequantisation })
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::*;

    #[test]
    fn every_column_of_the_wines_has_its_step() {
        let wine = red_wine().unwrap();
        assert_eq!((wine.table.rows(), wine.table.columns()), (1599, 11));
        assert_eq!(
            (&wine.table.names()[0][..], &wine.table.names()[10][..]),
            ("fixed acidity", "alcohol")
        );
        // Off their decimals by the noise, and back on them without it.
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(0);
        let noisy = wine.dequantisation.apply(&wine.table, &mut rng).unwrap();
        let mut values = noisy.values().to_vec();
        wine.dequantisation.restore(&mut values, 11);
        let given = Table::new(Vec::new(), 11, values).unwrap();
        let rows: Vec<usize> = (0..1599).collect();
        let found = Dequantisation::grids(&given, &rows).unwrap();
        // A few columns were read off a coarser scale than they are printed with.
        for (noise, published) in found.columns.iter().zip(STEPS) {
            let times = noise.step / published;
            assert!(times >= 1.0 && (times - times.round()).abs() < 1e-9, "{noise:?}");
        }
        assert_eq!(found.columns.len(), 11);
        // First published row: 7.4, 0.7, 0, 1.9, 0.076, 11, 34, 0.9978, 3.51, 0.56, 9.4.
        let first = [7.4, 0.7, 0.0, 1.9, 0.076, 11.0, 34.0, 0.9978, 3.51, 0.56, 9.4];
        for ((value, published), step) in noisy.row(0).iter().zip(first).zip(STEPS) {
            assert!((published..=published + step).contains(value), "{value} {published}");
        }
    }
}
