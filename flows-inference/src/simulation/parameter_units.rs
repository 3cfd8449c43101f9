//! Units of parameters: each on the line, of mean 0 and standard deviation 1.

use flows_core::{Error, Result, Space};

/// The change from parameters theta to the units u of a flow.
///
/// ```text
/// line:                  y = theta
/// interval or circle:    y = ln(theta - low) - ln(high - theta)           (logit)
/// u = (y - mean) / scale
/// ```
/// Mean and scale are the moments of y over the rows that it is fitted to. The image of the whole line
/// is the open interval, so that no draw of a flow leaves the prior's support.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ParameterUnits {
    supports: Vec<Space>,
    mean: Vec<f64>,
    scale: Vec<f64>,
}

/// Parameters of some units, and how they change with these.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct FromUnits {
    /// theta, row after row.
    pub(crate) parameters: Vec<f64>,
    /// ln |det dtheta/du| of each row.
    pub(crate) log_det: Vec<f64>,
    /// dtheta/du of each value.
    pub(crate) slopes: Vec<f64>,
    /// d(ln |det dtheta/du|)/du of each value.
    pub(crate) log_det_slopes: Vec<f64>,
}

impl ParameterUnits {
    /// Units in which rows of parameters have mean 0 and standard deviation 1 on the line.
    ///
    /// # Errors
    /// [`Error::Caller`] for a parameter that does not vary, or lies outside of its support.
    pub(crate) fn fit(supports: Vec<Space>, parameters: &[f64]) -> Result<Self> {
        let dim = supports.len();
        let count = (parameters.len() / dim.max(1)) as f64;
        let (mut mean, mut scale) = (Vec::with_capacity(dim), Vec::with_capacity(dim));
        for (column, &support) in supports.iter().enumerate() {
            let values = || parameters.iter().skip(column).step_by(dim);
            let line = || values().map(|&theta| onto_line(support, theta).0);
            let centre = line().sum::<f64>() / count;
            let variance = line().map(|y| (y - centre).powi(2)).sum::<f64>() / count;
            if !(variance > 0.0 && variance.is_finite()) {
                let some = values().next().copied().unwrap_or(f64::NAN);
                return Err(Error::Caller(format!(
                    "parameter {column} (from 0): expected values that vary on {support}, got a \
                     variance of {variance} on the line, and {some} in row 0; check the prior"
                )));
            }
            mean.push(centre);
            scale.push(variance.sqrt());
        }
        Ok(Self { supports, mean, scale })
    }

    pub(crate) fn dim(&self) -> usize {
        self.supports.len()
    }

    /// u of each row and ln |det du/dtheta|; outside of the support NaN, and minus infinity.
    pub(crate) fn apply(&self, parameters: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let dim = self.dim();
        let mut units = Vec::with_capacity(parameters.len());
        let mut log_dets = Vec::with_capacity(parameters.len() / dim);
        for row in parameters.chunks_exact(dim) {
            let start = units.len();
            let mut log_det = 0.0;
            let moments = self.mean.iter().zip(&self.scale);
            for ((&theta, &support), (mean, scale)) in row.iter().zip(&self.supports).zip(moments) {
                let (y, log_slope) = onto_line(support, theta);
                units.push((y - mean) / scale);
                log_det += log_slope - scale.ln();
            }
            if !log_det.is_finite() {
                units.truncate(start);
                units.resize(start + dim, f64::NAN);
                log_det = f64::NEG_INFINITY;
            }
            log_dets.push(log_det);
        }
        (units, log_dets)
    }

    /// The inverse of [`apply`](Self::apply), with its derivatives.
    pub(crate) fn undo(&self, units: &[f64]) -> FromUnits {
        let dim = self.dim();
        let mut result = FromUnits::default();
        for row in units.chunks_exact(dim) {
            let mut log_det = 0.0;
            let moments = self.mean.iter().zip(&self.scale);
            for ((u, &support), (mean, scale)) in row.iter().zip(&self.supports).zip(moments) {
                let (theta, log_slope, change) = off_line(support, mean + scale * u);
                result.parameters.push(theta);
                result.slopes.push(scale * log_slope.exp());
                result.log_det_slopes.push(scale * change);
                log_det += log_slope + scale.ln();
            }
            result.log_det.push(log_det);
        }
        result
    }
}

/// y of theta and ln dy/dtheta. An end counts as the number next to it.
fn onto_line(support: Space, theta: f64) -> (f64, f64) {
    match support {
        Space::Line if theta.is_finite() => (theta, 0.0),
        Space::Interval([low, high]) | Space::Circle([low, high])
            if (low..=high).contains(&theta) =>
        {
            let (inside, width) = (theta.max(low.next_up()).min(high.next_down()), high - low);
            let (up, down) = (((inside - low) / width).ln(), ((high - inside) / width).ln());
            (up - down, -up - down - width.ln())
        }
        _ => (f64::NAN, f64::NEG_INFINITY),
    }
}

/// theta of y, ln dtheta/dy, and the derivative of the latter.
fn off_line(support: Space, y: f64) -> (f64, f64, f64) {
    match support {
        Space::Line => (y, 0.0, 0.0),
        Space::Interval([low, high]) | Space::Circle([low, high]) => {
            let width = high - low;
            let softplus = |y: f64| y.max(0.0) + (-y.abs()).exp().ln_1p();
            // From the nearer end, so that the distance to it keeps its digits.
            let share = (-softplus(y.abs())).exp();
            let theta = if y < 0.0 { low + width * share } else { high - width * share };
            let inside = theta.max(low.next_up()).min(high.next_down());
            (inside, width.ln() - softplus(y) - softplus(-y), -(0.5 * y).tanh())
        }
    }
}

#[cfg(test)]
mod tests {
    use flows_core::Space;
    use flows_core::testing::{close, close_number};

    use super::ParameterUnits;

    fn units() -> ParameterUnits {
        let supports = vec![Space::Line, Space::Interval([-1.0, 3.0]), Space::Circle([0.0, 2.0])];
        ParameterUnits::fit(supports, &[1.0, 0.0, 0.5, 4.0, 2.0, 1.5, 2.0, 2.9, 1.0]).unwrap()
    }

    #[test]
    fn units_come_back_with_the_opposite_log_det() {
        let units = units();
        let parameters = [0.3, -0.9, 0.1, 7.0, 2.999, 1.9];
        let (u, log_det) = units.apply(&parameters);
        let back = units.undo(&u);
        // A few roundings of numbers below 10.
        close("parameters", &back.parameters, &parameters, 1e-13);
        for (there, back) in log_det.iter().zip(&back.log_det) {
            close_number("log-det", there + back, 0.0, 1e-12);
        }
    }

    #[test]
    fn derivatives_are_those_of_differences() {
        let (units, step) = (units(), 1e-5);
        let u = [0.2, -1.3, 0.8];
        let here = units.undo(&u);
        for k in 0..3 {
            let moved = |by: f64| {
                let mut there = u;
                there[k] += by;
                units.undo(&there)
            };
            let (up, down) = (moved(step), moved(-step));
            // Truncation of step^2 and rounding of 1e-16 / step, times values below 10.
            let slope = (up.parameters[k] - down.parameters[k]) / (2.0 * step);
            close_number("slope", here.slopes[k], slope, 1e-8);
            let change = (up.log_det[0] - down.log_det[0]) / (2.0 * step);
            close_number("change of the log-det", here.log_det_slopes[k], change, 1e-8);
        }
        close_number("log-det", here.slopes.iter().map(|s| s.ln()).sum(), here.log_det[0], 1e-12);
    }

    #[test]
    fn ends_are_inside_and_what_is_beyond_them_is_not() {
        let units = units();
        let (u, log_det) = units.apply(&[0.0, -1.0, 2.0, 0.0, -1.1, 1.0]);
        assert!(u[..3].iter().all(|u| u.is_finite()) && log_det[0].is_finite());
        assert!(u[3..].iter().all(|u| u.is_nan()) && log_det[1] == f64::NEG_INFINITY);
        let far = units.undo(&[0.0, 1e6, -1e6]).parameters;
        assert!(far[1] < 3.0 && far[2] > 0.0);
    }

    #[test]
    fn a_parameter_that_does_not_vary_is_refused() {
        let error = ParameterUnits::fit(vec![Space::Line], &[2.0, 2.0]).unwrap_err();
        flows_core::testing::names(&error, &["parameter 0", "vary", "2 in row 0", "prior"]);
    }
}
