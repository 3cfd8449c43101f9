//! Grids over a window of the plane.

/// Cells of a density's image along each side.
pub const IMAGE_CELLS: usize = 160;

/// Area of one of `cells` x `cells` cells of a window.
pub fn cell_area([x0, x1, y0, y1]: [f64; 4], cells: usize) -> f64 {
    (x1 - x0) * (y1 - y0) / (cells * cells) as f64
}

/// Midpoint rule for the integral of a density, from its logarithm at the [`centres`].
pub fn integral(log_density: &[f64], window: [f64; 4], cells: usize) -> f64 {
    cell_area(window, cells) * log_density.iter().map(|l| l.exp()).sum::<f64>()
}

/// Centres of `cells` x `cells` cells of a window, lowest row first.
pub fn centres(window: [f64; 4], cells: usize) -> Vec<f64> {
    let [x0, x1, y0, y1] = window;
    let at = |low: f64, high: f64, i: usize| low + (high - low) * (i as f64 + 0.5) / cells as f64;
    (0..cells * cells).flat_map(|i| [at(x0, x1, i % cells), at(y0, y1, i / cells)]).collect()
}
