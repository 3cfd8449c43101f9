//! Draws on their way from base to data: one small image for each stage.

use anyhow::{Result, ensure};

use super::raster::Raster;
use super::{Figure, palette};
use crate::record::Matrix;

/// Pixels across an image.
const WIDTH: usize = 300;
/// Radius of a point in pixels.
const RADIUS: f64 = 2.1;
/// Between two images of a strip.
const GAP: u32 = 12;

/// The same draws at one stage of their way.
#[derive(Debug)]
pub(crate) struct Stage {
    /// How many parts of the map, or of the time, lie behind.
    pub(crate) index: usize,
    /// x1, x2 of each draw.
    pub(crate) points: Vec<[f64; 2]>,
}

/// The stages in a table of stage, x1, x2, in its order.
///
/// # Errors
/// For a table of another form, or without rows.
pub(crate) fn stages(table: &Matrix) -> Result<Vec<Stage>> {
    ensure!(table.columns == 3, "transport: expected 3 columns, got {}", table.columns);
    let mut stages: Vec<Stage> = Vec::new();
    for row in (0..table.rows).map(|row| table.row(row)) {
        let index = row[0].max(0.0) as usize;
        if stages.last().is_none_or(|last| last.index != index) {
            stages.push(Stage { index, points: Vec::new() });
        }
        if let Some(stage) = stages.last_mut() {
            stage.points.push([row[1], row[2]]);
        }
    }
    ensure!(stages.len() > 1, "transport: expected at least 2 stages, got {}", stages.len());
    Ok(stages)
}

/// An image of each stage inside `window`, and all of them in a row. A draw keeps the colour that it
/// has by its rank in x1 of the first stage.
pub(crate) fn draw(
    window: [f64; 4],
    stages: &[Stage],
    descriptions: &[String],
    title: String,
) -> Result<(Vec<Figure>, Figure)> {
    let colours = colours(&stages[0].points);
    let [x0, x1, y0, y1] = window;
    let aspect = ((y1 - y0) / (x1 - x0)).clamp(0.25, 4.0);
    let height = ((WIDTH as f64 * aspect).round() as usize).max(1);
    let size = [WIDTH as u32, u32::try_from(height)?];
    let (mut frames, mut strip) = (Vec::new(), String::new());
    for (position, (stage, description)) in stages.iter().zip(descriptions).enumerate() {
        let uri = raster(window, height, &stage.points, &colours).data_uri()?;
        strip += &image(position as u32 * (size[0] + GAP), size, &uri);
        let (body, description) = (image(0, size, &uri), description.clone());
        frames.push(Figure { width: size[0], height: size[1], body, description });
    }
    let width = (size[0] + GAP) * frames.len() as u32 - GAP;
    Ok((frames, Figure { width, height: size[1], body: strip, description: title }))
}

fn image(left: u32, [width, height]: [u32; 2], uri: &str) -> String {
    let place = format!("x=\"{left}\" y=\"0\" width=\"{width}\" height=\"{height}\"");
    format!(
        "<image {place} class=\"on-white\" href=\"{uri}\"/>\n\
         <rect {place} fill=\"none\" stroke=\"#222222\" stroke-width=\"2\"/>\n"
    )
}

/// Palette indices by rank of the first coordinate.
fn colours(points: &[[f64; 2]]) -> Vec<u8> {
    let mut order: Vec<usize> = (0..points.len()).collect();
    order.sort_by(|&a, &b| points[a][0].total_cmp(&points[b][0]));
    let mut colours = vec![0; points.len()];
    for (rank, index) in order.into_iter().enumerate() {
        colours[index] = 1 + (rank * 255 / points.len().max(1)).min(254) as u8;
    }
    colours
}

fn raster(
    [x0, x1, y0, y1]: [f64; 4],
    height: usize,
    points: &[[f64; 2]],
    colours: &[u8],
) -> Raster {
    let mut indices = vec![0; WIDTH * height];
    for ([x, y], &colour) in points.iter().zip(colours) {
        let across = (x - x0) / (x1 - x0) * WIDTH as f64;
        let down = (y1 - y) / (y1 - y0) * height as f64;
        disc(&mut indices, height, (across, down), colour);
    }
    Raster { width: WIDTH, height, indices, palette: palette::transport() }
}

/// Colours the pixels whose centres lie on a disc.
fn disc(indices: &mut [u8], height: usize, (x, y): (f64, f64), colour: u8) {
    if !(x.is_finite() && y.is_finite()) {
        return;
    }
    let span = |centre: f64, size: usize| {
        let end = (centre + RADIUS).clamp(0.0, size as f64).ceil() as usize;
        (centre - RADIUS).clamp(0.0, size as f64).floor() as usize..end
    };
    for row in span(y, height) {
        for column in span(x, WIDTH) {
            let (dx, dy) = (column as f64 + 0.5 - x, row as f64 + 0.5 - y);
            if dx.hypot(dy) <= RADIUS {
                indices[row * WIDTH + column] = colour;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_grouped_by_stage() {
        let values = vec![0., 1., 2., 0., 3., 4., 5., 6., 7., 5., 8., 9.];
        let table = Matrix { rows: 4, columns: 3, values };
        let found = stages(&table).unwrap();
        assert_eq!(found.iter().map(|stage| stage.index).collect::<Vec<_>>(), [0, 5]);
        assert_eq!(found[1].points, [[6., 7.], [8., 9.]]);
        let one = Matrix { rows: 1, columns: 3, values: vec![0., 1., 2.] };
        assert!(stages(&one).unwrap_err().to_string().contains("at least 2 stages"));
    }

    #[test]
    fn a_draw_keeps_its_colour_and_what_is_outside_is_not_drawn() {
        assert_eq!(colours(&[[3., 0.], [1., 0.], [2., 0.]]), [171, 1, 86]);
        let far = raster([-1., 1., -1., 1.], 10, &[[9., 9.], [f64::NAN, 0.]], &[1, 2]);
        assert!(far.indices.iter().all(|index| *index == 0));
        let near = raster([-1., 1., -1., 1.], WIDTH, &[[0., 0.]], &[7]);
        assert_eq!(near.indices[WIDTH / 2 * WIDTH + WIDTH / 2], 7);
    }
}
