//! Draws by each pair of parameters, with their marginals on the diagonal.

use anyhow::Result;
use plotters::prelude::{Color, PathElement, Text};
use plotters::style::FontTransform;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::axis::Axis;
use super::raster::Raster;
use super::samples::{Light, darkened};
use super::{Canvas, Figure, palette, shortened, text, text_width};
use crate::finding::Corner;

/// Sides of a cell and distances between cells, in units of the figure.
const CELL: u32 = 300;
const GAP: u32 = 24;
/// Pixels of a cell's image.
const PIXELS: usize = 220;
const LETTERS: f64 = 30.0;
/// Letters of a parameter's name that there is room for.
const NAME_LETTERS: usize = 16;
/// Room for names and labels of axes.
const LABELS: u32 = 130;
/// Height of one row of the key.
const ROW: u32 = 46;
const BINS: usize = 40;
/// Levels of each of two colours of an image.
const LEVELS: usize = 16;

/// Draws the corner plot of at most two samples.
pub(crate) fn draw(corner: &Corner) -> Result<Figure> {
    let count = corner.names.len() as u32;
    let grid = count * (CELL + GAP);
    let axes: Vec<Axis> =
        corner.limits.iter().map(|&[low, high]| Axis::linear(low, high, 3)).collect();
    let left =
        LABELS.max(axes.iter().map(|a| text_width(a.widest(), LETTERS)).max().unwrap_or(0) + 64);
    let size = (left + grid, grid + LABELS + ROW * corner.samples.len() as u32);
    let layout = Layout { corner, axes: &axes, left };
    let mut figure = Figure::paint(size, corner.title.clone(), |canvas| {
        for row in 0..corner.names.len() {
            layout.marginal(canvas, row)?;
            layout.labels(canvas, row)?;
        }
        layout.key(canvas, grid + LABELS)
    })?;
    for row in 0..corner.names.len() {
        for column in 0..=row {
            let (x, y) = layout.place(column, row);
            let place = format!("x=\"{x}\" y=\"{y}\" width=\"{CELL}\" height=\"{CELL}\"");
            if column < row {
                let raster = layout.scatter([column, row]);
                figure.add(&format!(
                    "<image {place} class=\"on-white\" preserveAspectRatio=\"none\" href=\"{}\"/>",
                    raster.data_uri()?
                ));
            }
            figure.add(&format!(
                "<rect {place} fill=\"none\" stroke=\"#222222\" stroke-width=\"2\"/>"
            ));
        }
    }
    Ok(figure)
}

struct Layout<'a> {
    corner: &'a Corner,
    axes: &'a [Axis],
    left: u32,
}

impl Layout<'_> {
    /// The upper left end of a cell.
    fn place(&self, column: usize, row: usize) -> (u32, u32) {
        (self.left + column as u32 * (CELL + GAP), row as u32 * (CELL + GAP) + 4)
    }

    /// Histograms of a parameter, of one height at their largest bin.
    fn marginal(&self, canvas: &Canvas<'_>, index: usize) -> Result<()> {
        let (x, y) = self.place(index, index);
        let [low, high] = self.corner.limits[index];
        let counts = |sample: usize| histogram(self.corner.column(sample, index), [low, high]);
        let all: Vec<Vec<f64>> = (0..self.corner.samples.len()).map(counts).collect();
        let largest = all.iter().flatten().copied().fold(f64::MIN_POSITIVE, f64::max);
        for (sample, shares) in all.iter().enumerate() {
            let point = |bin: usize, share: f64| {
                let across = f64::from(CELL) * bin as f64 / BINS as f64;
                let up = 0.92 * f64::from(CELL) * share / largest;
                (x as i32 + across as i32, (y + CELL) as i32 - up as i32)
            };
            let steps = shares.iter().enumerate();
            let path = steps.flat_map(|(bin, &share)| [point(bin, share), point(bin + 1, share)]);
            let style = palette::flow(sample).stroke_width(4);
            canvas.draw(&PathElement::new(path.collect::<Vec<_>>(), style))?;
        }
        Ok(())
    }

    /// The image of a pair of parameters, the first along the horizontal axis.
    fn scatter(&self, [i, j]: [usize; 2]) -> Raster {
        let ([x0, x1], [y0, y1]) = (self.corner.limits[i], self.corner.limits[j]);
        let lights: Vec<Light> = (0..self.corner.samples.len())
            .map(|sample| {
                let pairs = self.corner.column(sample, i).zip(self.corner.column(sample, j));
                let side = PIXELS as f64;
                let places =
                    pairs.map(|(x, y)| ((x - x0) / (x1 - x0) * side, (y1 - y) / (y1 - y0) * side));
                darkened((PIXELS, PIXELS), places.collect::<Vec<_>>().into_iter())
            })
            .collect();
        let level = |sample: usize, pixel: usize| {
            let light = lights.get(sample).map_or(1.0, |light| light[pixel]);
            ((1.0 - light) * (LEVELS - 1) as f64).round() as usize
        };
        let indices = (0..PIXELS * PIXELS)
            .map(|pixel| (level(0, pixel) * LEVELS + level(1, pixel)) as u8)
            .collect();
        Raster { width: PIXELS, height: PIXELS, indices, palette: palette::two_inks(LEVELS) }
    }

    /// Ticks and names at the ends of a row and of the column of the same parameter.
    fn labels(&self, canvas: &Canvas<'_>, index: usize) -> Result<()> {
        let axis = &self.axes[index];
        let name = shortened(&self.corner.names[index], NAME_LETTERS);
        let [low, high] = self.corner.limits[index];
        let share = |tick: f64| (tick - low) / (high - low) * f64::from(CELL);
        let side = text(LETTERS).pos(Pos::new(HPos::Right, VPos::Center));
        let below = text(LETTERS).pos(Pos::new(HPos::Center, VPos::Top));
        let bottom = self.place(0, self.corner.names.len()).1 as i32 - GAP as i32;
        let (x, y) = self.place(index, index);
        for &tick in &axis.ticks {
            let label = axis.label(tick);
            let across = x as i32 + share(tick) as i32;
            canvas.draw(&Text::new(label.clone(), (across, bottom + 10), below.clone()))?;
            // The first row is a marginal, whose vertical axis has no unit.
            if index > 0 {
                let up = (y + CELL) as i32 - share(tick) as i32;
                canvas.draw(&Text::new(label, (self.left as i32 - 10, up), side.clone()))?;
            }
        }
        let middle = CELL as i32 / 2;
        let place = (x as i32 + middle, bottom + 56);
        canvas.draw(&Text::new(name.clone(), place, below))?;
        if index > 0 {
            let turned = text(LETTERS)
                .transform(FontTransform::Rotate270)
                .pos(Pos::new(HPos::Center, VPos::Top));
            canvas.draw(&Text::new(name, (4, y as i32 + middle), turned))?;
        }
        Ok(())
    }

    fn key(&self, canvas: &Canvas<'_>, top: u32) -> Result<()> {
        let style = text(LETTERS).pos(Pos::new(HPos::Left, VPos::Center));
        for (index, sample) in self.corner.samples.iter().enumerate() {
            let (x, y) = (self.left as i32, (top + ROW * index as u32 + ROW / 2) as i32);
            let line = palette::flow(index).stroke_width(6);
            canvas.draw(&PathElement::new([(x, y), (x + 60, y)], line))?;
            canvas.draw(&Text::new(sample.name.as_str(), (x + 76, y), style.clone()))?;
        }
        Ok(())
    }
}

/// Shares of the values in equal bins between the limits.
fn histogram(values: impl Iterator<Item = f64>, [low, high]: [f64; 2]) -> Vec<f64> {
    let mut counts = vec![0.0; BINS];
    let mut all = 0.0_f64;
    for value in values {
        all += 1.0;
        let place = (value - low) / (high - low);
        if (0.0..1.0).contains(&place) {
            counts[(place * BINS as f64) as usize] += 1.0;
        }
    }
    counts.iter().map(|count| count / all.max(1.0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_all_values() {
        let values = [0.0, 0.01, 0.99, 1.0, -1.0, f64::NAN];
        let shares = histogram(values.into_iter(), [0.0, 1.0]);
        assert_eq!((shares[0], shares[BINS - 1]), (2.0 / 6.0, 1.0 / 6.0));
        assert_eq!(shares.iter().sum::<f64>(), 0.5);
    }

    #[test]
    fn every_pair_and_every_name_is_drawn() {
        let names: Vec<String> = ["mu", "tau", "theta"].map(str::to_owned).to_vec();
        let rows: Vec<f64> = (0..300).map(|i| f64::from(i * 37 % 101)).collect();
        let samples = [("draws", &rows[..]), ("reference", &rows[..150])];
        let corner = Corner::new("Draws.", &names, &samples).unwrap_or_else(|| unreachable!());
        let svg = draw(&corner).unwrap_or_else(|e| unreachable!("{e:#}")).document();
        assert_eq!(svg.matches("<image").count(), 3);
        for word in ["mu", "tau", "theta", "draws", "reference"] {
            assert!(svg.contains(word), "{word}");
        }
    }
}
