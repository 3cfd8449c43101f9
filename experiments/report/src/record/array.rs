//! Arrays of rank one and two from NPY files.

use std::io::Read;

use anyhow::{Context, Result, bail};
use npyz::{NpyFile, Order};

/// A matrix in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub columns: usize,
    /// `rows × columns` numbers.
    pub values: Vec<f64>,
}

impl Matrix {
    /// Logarithms of what these are the logarithms of, divided by the largest of their column.
    pub(crate) fn less_largest_of_columns(mut self) -> Self {
        for column in 0..self.columns {
            let cells = (column..self.values.len()).step_by(self.columns);
            let largest =
                cells.clone().map(|cell| self.values[cell]).fold(f64::NEG_INFINITY, f64::max);
            if largest.is_finite() {
                cells.for_each(|cell| self.values[cell] -= largest);
            }
        }
        self
    }

    /// Reads an array of rank two, f32 or f64, in either memory order.
    ///
    /// # Errors
    /// When the header or the data are malformed, or the array has another rank or type.
    pub fn from_npy(reader: impl Read) -> Result<Self> {
        let file = NpyFile::new(reader).context("the NPY header is malformed")?;
        let &[rows, columns] = file.shape() else {
            bail!("expected an array of rank 2, got shape {:?}", file.shape());
        };
        let (rows, columns) = (usize::try_from(rows)?, usize::try_from(columns)?);
        let order = file.order();
        let values = read_numbers(file)?;
        let values = match order {
            Order::C => values,
            Order::Fortran => transposed(&values, rows, columns),
        };
        Ok(Self { rows, columns, values })
    }

    /// Row `index`.
    pub fn row(&self, index: usize) -> &[f64] {
        &self.values[index * self.columns..(index + 1) * self.columns]
    }

    /// The matrix cut into `count` of equally many rows, from the top.
    ///
    /// # Errors
    /// When the rows cannot be shared out.
    pub fn parts(&self, count: usize) -> Result<Vec<Self>> {
        if count == 0 || !self.rows.is_multiple_of(count) {
            bail!("expected {count} parts of equally many rows, got {} rows", self.rows);
        }
        let (rows, columns) = (self.rows / count, self.columns);
        let part = |values: &[f64]| Self { rows, columns, values: values.to_vec() };
        Ok(self.values.chunks((rows * columns).max(1)).map(part).collect())
    }

    /// The numbers of one column, top to bottom.
    pub fn column(&self, index: usize) -> impl Iterator<Item = f64> + '_ {
        self.values.iter().skip(index).step_by(self.columns.max(1)).copied()
    }
}

/// Reads an array of rank one, f32 or f64.
///
/// # Errors
/// When the header or the data are malformed, or the array has another rank or type.
pub(super) fn vector(reader: impl Read) -> Result<Vec<f64>> {
    let file = NpyFile::new(reader).context("the NPY header is malformed")?;
    if file.shape().len() != 1 {
        bail!("expected an array of rank 1, got shape {:?}", file.shape());
    }
    read_numbers(file)
}

fn read_numbers<R: Read>(file: NpyFile<R>) -> Result<Vec<f64>> {
    let read = "the NPY file is shorter than its header says";
    let file = match file.try_data::<f64>() {
        Ok(data) => return data.collect::<std::io::Result<_>>().context(read),
        Err(file) => file,
    };
    match file.try_data::<f32>() {
        Ok(data) => {
            data.map(|number| number.map(f64::from)).collect::<std::io::Result<_>>().context(read)
        }
        Err(file) => bail!("expected numbers of type f32 or f64, got {}", file.dtype().descr()),
    }
}

fn transposed(values: &[f64], rows: usize, columns: usize) -> Vec<f64> {
    (0..rows * columns).map(|i| values[(i % columns) * rows + i / columns]).collect()
}

#[cfg(test)]
mod tests {
    use npyz::WriterBuilder;

    use super::*;

    fn npy(order: Order, shape: &[u64], numbers: &[f32]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = npyz::WriteOptions::new()
            .default_dtype()
            .order(order)
            .shape(shape)
            .writer(&mut bytes)
            .begin_nd()
            .unwrap();
        writer.extend(numbers.iter().copied()).unwrap();
        writer.finish().unwrap();
        bytes
    }

    #[test]
    fn both_memory_orders_give_the_same_matrix() {
        let c = Matrix::from_npy(&npy(Order::C, &[2, 3], &[0., 1., 2., 3., 4., 5.])[..]).unwrap();
        let f =
            Matrix::from_npy(&npy(Order::Fortran, &[2, 3], &[0., 3., 1., 4., 2., 5.])[..]).unwrap();
        assert_eq!(c, f);
        assert_eq!(c.row(1), [3.0, 4.0, 5.0]);
        assert_eq!(c.column(2).collect::<Vec<_>>(), [2.0, 5.0]);
    }

    #[test]
    fn parts_are_rows_from_the_top() {
        let whole = Matrix { rows: 4, columns: 1, values: vec![0., 1., 2., 3.] };
        let parts = whole.parts(2).unwrap();
        assert_eq!(parts.len(), 2);
        assert_eq!((parts[1].rows, &parts[1].values[..]), (2, &[2.0, 3.0][..]));
        assert!(whole.parts(3).unwrap_err().to_string().contains("3 parts"));
        assert!(whole.parts(0).is_err());
    }

    #[test]
    fn a_vector_or_a_cut_file_is_refused() {
        let vector = npy(Order::C, &[3], &[0., 1., 2.]);
        assert!(Matrix::from_npy(&vector[..]).unwrap_err().to_string().contains("rank 2"));
        assert_eq!(super::vector(&vector[..]).unwrap(), [0.0, 1.0, 2.0]);
        let matrix = npy(Order::C, &[2, 2], &[0., 1., 2., 3.]);
        assert!(Matrix::from_npy(&matrix[..matrix.len() - 3]).is_err());
        assert!(super::vector(&matrix[..]).unwrap_err().to_string().contains("rank 1"));
    }
}
