//! The digits table, embedded.

use super::{Dequantisation, Result, Table};

/// Handwritten digits.
#[derive(Clone, Debug, PartialEq)]
pub struct Digits {
    /// `(1797, 64)`: levels 0 to 16 of 8 x 8 pixels, row by row.
    pub table: Table,
    /// Uniform noise of one level on every pixel, as for the discrete values that they are (review,
    /// Section 5.3).
    pub dequantisation: Dequantisation,
    /// The digit that each row shows, which is no column of the table.
    pub classes: Vec<usize>,
}

/// The 1,797 handwritten digits, 8 x 8 pixels of 17 levels each.
///
/// # Errors
/// [`TableError::Shape`](super::TableError::Shape) where the embedded data have changed.
///
/// # Reference
/// Alpaydin, Kaynak, *Optical Recognition of Handwritten Digits*, UCI Machine Learning Repository,
/// 1998: its test part.
pub fn digits() -> Result<Digits> {
    let data = smartcore::dataset::digits::load_dataset();
    let names = (0..64).map(|pixel| format!("p{}{}", pixel / 8, pixel % 8)).collect();
    let values = data.data.iter().map(|&level| f64::from(level)).collect();
    let table = Table::new(names, 64, values)?;
    // Some pixels at the rim are 0 in every image, and discrete all the same.
    let pixels: Vec<(usize, f64)> = (0..64).map(|pixel| (pixel, 1.0)).collect();
    let dequantisation = Dequantisation::listed(&table, &pixels)?;
    // Whole numbers from 0 to 9.
    let classes = data.target.iter().map(|&digit| digit as usize).collect();
    Ok(Digits { table, dequantisation, classes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pixel_has_seventeen_levels_and_noise_of_one() {
        let Digits { table, dequantisation, classes } = digits().unwrap();
        assert_eq!([table.rows(), table.columns()], [1797, 64]);
        assert_eq!(dequantisation.columns.len(), 64);
        assert!(dequantisation.columns.iter().all(|noise| noise.step == 1.0));
        let mut levels: Vec<f64> = table.values().to_vec();
        levels.sort_unstable_by(f64::total_cmp);
        levels.dedup();
        assert_eq!(levels, (0..17).map(f64::from).collect::<Vec<_>>());
        // As many of each as its description counts.
        let count = |digit| classes.iter().filter(|&&class| class == digit).count();
        assert_eq!(
            [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map(count),
            [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
        );
    }
}
