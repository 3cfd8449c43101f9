//! The red wine table, embedded.

use rand::Rng;

use super::{Dequantisation, Result, Table};

/// Red *vinho verde* wines, dequantised.
#[derive(Clone, Debug, PartialEq)]
pub struct RedWine {
    /// `(1599, 11)`: physicochemical measurements, each in its own unit.
    pub table: Table,
    /// The noise that was added to it.
    pub dequantisation: Dequantisation,
}

/// The 1,599 red wines, 11 features (the quality score is left out), with noise of one step on
/// every column that lies on a decimal grid ([`decimal_step`](super::decimal_step)); all are.
///
/// # Errors
/// [`TableError::Shape`](super::TableError::Shape) or [`TableError::Names`](super::TableError::Names)
/// where the embedded data have changed.
///
/// # Reference
/// Cortez, Cerdeira, Almeida, Matos, Reis, *Modeling wine preferences by data mining from
/// physicochemical properties*, Decision Support Systems 47, 2009.
pub fn red_wine(rng: &mut impl Rng) -> Result<RedWine> {
    let wine = linfa_datasets::winequality();
    let columns = wine.records.ncols();
    let values = wine.records.iter().copied().collect();
    let names = wine.feature_names().iter().map(ToString::to_string).collect();
    let table = Table::new(names, columns, values)?;
    let rows: Vec<usize> = (0..table.rows()).collect();
    let dequantisation = Dequantisation::grids(&table, &rows)?;
    let table = dequantisation.apply(&table, rng)?;
    Ok(RedWine { table, dequantisation })
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::*;

    #[test]
    fn every_column_of_the_wines_has_its_step() {
        let wine = red_wine(&mut Xoshiro256PlusPlus::seed_from_u64(0)).unwrap();
        assert_eq!((wine.table.rows(), wine.table.columns()), (1599, 11));
        assert_eq!(
            (&wine.table.names()[0][..], &wine.table.names()[10][..]),
            ("fixed acidity", "alcohol")
        );
        let steps: Vec<f64> = wine.dequantisation.columns.iter().map(|noise| noise.step).collect();
        // The decimals of the published table, column by column.
        let published = [0.1, 0.001, 0.01, 0.01, 0.001, 1.0, 1.0, 1e-5, 0.01, 0.01, 0.1];
        assert_eq!(steps, published);
        // First published row: 7.4, 0.7, 0, 1.9, 0.076, 11, 34, 0.9978, 3.51, 0.56, 9.4.
        let first = [7.4, 0.7, 0.0, 1.9, 0.076, 11.0, 34.0, 0.9978, 3.51, 0.56, 9.4];
        for ((value, published), step) in wine.table.row(0).iter().zip(first).zip(steps) {
            assert!((published..=published + step).contains(value), "{value} {published}");
        }
    }
}
