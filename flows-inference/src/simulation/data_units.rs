//! Units of simulated data: robustly standardised columns.

/// Interquartile range of a standard normal.
const NORMAL_RANGE: f64 = 1.348_979_500_392_163_6;

/// The change of data to the units of a flow: (x - median) / scale, for each column.
///
/// The scale is the interquartile range, in units of a normal's standard deviation, since simulators can
/// give values that no mean withstands. Where half of the rows are equal it is the standard deviation,
/// and 1 where all are.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DataUnits {
    centre: Vec<f64>,
    scale: Vec<f64>,
}

impl DataUnits {
    /// Units of rows of `columns` finite values.
    pub(crate) fn fit(data: &[f64], columns: usize) -> Self {
        let (mut centre, mut scale) = (Vec::new(), Vec::new());
        for column in 0..columns {
            let mut values: Vec<f64> = data.iter().skip(column).step_by(columns).copied().collect();
            values.sort_unstable_by(f64::total_cmp);
            let last = values.len().saturating_sub(1) as f64;
            let quantile = |share: f64| {
                values.get((share * last).round() as usize).copied().unwrap_or_default()
            };
            let range = (quantile(0.75) - quantile(0.25)) / NORMAL_RANGE;
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let square = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
            let deviation = (square / values.len() as f64).sqrt();
            let usable = |scale: &f64| *scale > 0.0 && scale.is_finite();
            centre.push(quantile(0.5));
            scale.push([range, deviation].into_iter().find(usable).unwrap_or(1.0));
        }
        Self { centre, scale }
    }

    pub(crate) fn columns(&self) -> usize {
        self.centre.len()
    }

    /// Rows in these units.
    pub(crate) fn apply(&self, data: &[f64]) -> Vec<f64> {
        let rows = data.chunks_exact(self.columns());
        let moments = || self.centre.iter().zip(&self.scale);
        rows.flat_map(|row| row.iter().zip(moments()).map(|(x, (c, s))| (x - c) / s)).collect()
    }

    /// ln |det| of [`apply`](Self::apply), the same for every row.
    pub(crate) fn log_det(&self) -> f64 {
        -self.scale.iter().map(|scale| scale.ln()).sum::<f64>()
    }
}

/// Limits values to [-limit, limit] and counts those beyond.
pub(crate) fn clip(values: &mut [f64], limit: f64) -> usize {
    let beyond = values.iter().filter(|value| value.abs() > limit).count();
    values.iter_mut().for_each(|value| *value = value.max(-limit).min(limit));
    beyond
}

#[cfg(test)]
mod tests {
    use flows_core::testing::close;
    use flows_core::{normals, stream};

    use super::{DataUnits, clip};

    #[test]
    fn outliers_do_not_move_the_units_and_are_clipped_and_counted() {
        let (rows, mut rng) = (10_000, stream(0, "draws"));
        let mut data: Vec<f64> =
            normals::<f64>(rows, &mut rng).into_iter().map(|z| 5.0 + 2.0 * z).collect();
        data[7] = 1e300;
        data[9] = -1e9;
        let mut units = DataUnits::fit(&data, 1).apply(&data);
        assert_eq!(clip(&mut units, 10.0), 2);
        let square = units.iter().map(|u| u * u).sum::<f64>() / rows as f64;
        // The quartiles of n normals have standard error 1.36 / sqrt(n), so that the scale has 1.17
        // / sqrt(n), and its square twice that; the two clipped values add 200 / n.
        let error = 4.0 * 2.0 * 1.17 / (rows as f64).sqrt() + 200.0 / rows as f64;
        assert!((square - 1.0).abs() < error, "{square}");
    }

    #[test]
    fn columns_that_are_mostly_or_always_equal_have_a_scale() {
        let data = [0.0, 3.0, 0.0, 3.0, 0.0, 3.0, 0.0, 3.0, 8.0, 3.0];
        let units = DataUnits::fit(&data, 2);
        // The deviation of 0, 0, 0, 0, 8 is 3.2.
        close("units", &units.apply(&data[6..]), &[0.0, 0.0, 2.5, 0.0], 1e-14);
        assert!((units.log_det() + 3.2_f64.ln()).abs() < 1e-14);
    }
}
