//! The digits table, embedded.

use rand::Rng;

use super::{Dequantisation, Result, Table};

/// Handwritten digits, dequantised.
#[derive(Clone, Debug, PartialEq)]
pub struct Digits {
    /// `(1797, 64)`: levels of 8 x 8 pixels, row by row, in [0, 17) with their noise.
    pub table: Table,
    /// The noise that was added to it.
    pub dequantisation: Dequantisation,
}

/// The 1,797 handwritten digits, 8 x 8 pixels of 17 levels each (the digit itself is left out), with
/// uniform noise of one level on every pixel, as for the discrete values that they are (review,
/// Section 5.3).
///
/// # Errors
/// [`TableError::Shape`](super::TableError::Shape) where the embedded data have changed.
///
/// # Reference
/// Alpaydin, Kaynak, *Optical Recognition of Handwritten Digits*, UCI Machine Learning Repository,
/// 1998: its test part.
pub fn digits(rng: &mut impl Rng) -> Result<Digits> {
    let data = smartcore::dataset::digits::load_dataset();
    let names = (0..64).map(|pixel| format!("p{}{}", pixel / 8, pixel % 8)).collect();
    let values = data.data.iter().map(|&level| f64::from(level)).collect();
    let table = Table::new(names, 64, values)?;
    // Some pixels at the rim are 0 in every image, and discrete all the same.
    let pixels: Vec<(usize, f64)> = (0..64).map(|pixel| (pixel, 1.0)).collect();
    let dequantisation = Dequantisation::listed(&table, &pixels)?;
    let table = dequantisation.apply(&table, rng)?;
    Ok(Digits { table, dequantisation })
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn every_pixel_is_its_level_and_noise() {
        let digits = digits(&mut rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(1));
        let Ok(Digits { table, dequantisation }) = digits else { unreachable!("{digits:?}") };
        assert_eq!([table.rows(), table.columns()], [1797, 64]);
        assert_eq!(dequantisation.columns.len(), 64);
        assert!(table.values().iter().all(|v| (0.0..17.0).contains(v)));
    }
}
