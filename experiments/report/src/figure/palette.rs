//! Colours: one for each flow, and two ramps for images.
//!
//! Okabe, Ito, *Color Universal Design*, 2008: colours that people with any colour vision can tell
//! apart. Their yellow is left out because it cannot be read on white.

use plotters::prelude::{RGBColor, ViridisRGB};
use plotters::style::colors::colormaps::ColorMap;

/// Text, axes and frames.
pub(crate) const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
/// Grid lines.
pub(crate) const GRID: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);
/// Cells of an image that hold no number.
const MISSING: [u8; 3] = [0x99, 0x99, 0x99];
/// Points of a scatter plot.
const POINT: RGBColor = RGBColor(0x0b, 0x2d, 0x5c);

const FLOWS: [RGBColor; 7] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0x00, 0x00, 0x00),
];

/// Colour of the flow at `index` of a comparison: darker when all have been used, and grey for black.
pub(crate) fn flow(index: usize) -> RGBColor {
    let RGBColor(r, g, b) = FLOWS[index % FLOWS.len()];
    let dark = |channel: u8| (f32::from(channel) * 0.55) as u8;
    match (index / FLOWS.len(), (r, g, b)) {
        (0, _) => RGBColor(r, g, b),
        (_, (0, 0, 0)) => RGBColor(0x80, 0x80, 0x80),
        _ => RGBColor(dark(r), dark(g), dark(b)),
    }
}

/// Index of the entry of [`density`] that stands for "no number".
pub(crate) const MISSING_INDEX: u8 = 255;
/// Index of the brightest entry of [`density`] and the darkest of [`points`].
pub(crate) const LAST_INDEX: u8 = 254;

/// Viridis in 255 steps, then grey.
pub(crate) fn density() -> Vec<u8> {
    ramp(|t| {
        let RGBColor(r, g, b) = ViridisRGB.get_color(t);
        [r, g, b]
    })
}

/// From white to the colour of a point in 255 steps, then grey.
pub(crate) fn points() -> Vec<u8> {
    let channel = |t: f32, ink: u8| (255.0 + t * (f32::from(ink) - 255.0)).round() as u8;
    ramp(|t| [channel(t, POINT.0), channel(t, POINT.1), channel(t, POINT.2)])
}

/// The colours of the first two flows over one another, each in `levels` steps from none of it: entry
/// `a * levels + b`.
pub(crate) fn two_inks(levels: usize) -> Vec<u8> {
    let share = |level: usize, ink: u8| {
        1.0 - level as f64 / (levels - 1) as f64 * (1.0 - f64::from(ink) / 255.0)
    };
    let inks = [flow(0), flow(1)].map(|RGBColor(r, g, b)| [r, g, b]);
    let mixed = |a: usize, b: usize| {
        [0, 1, 2].map(|c| (255.0 * share(a, inks[0][c]) * share(b, inks[1][c])).round() as u8)
    };
    (0..levels).flat_map(|a| (0..levels).flat_map(move |b| mixed(a, b))).collect()
}

/// From white to black in 255 steps, then grey.
pub(crate) fn ink() -> Vec<u8> {
    ramp(|t| [(255.0 * (1.0 - t)).round() as u8; 3])
}

/// White, then Viridis in 255 steps up to where it is still dark enough on white.
pub(crate) fn transport() -> Vec<u8> {
    const LIGHTEST: f32 = 0.85;
    let colours = (0..255).map(|i| ViridisRGB.get_color(LIGHTEST * i as f32 / 254.0));
    let bytes = colours.flat_map(|RGBColor(r, g, b)| [r, g, b]);
    [255; 3].into_iter().chain(bytes).collect()
}

fn ramp(colour: impl Fn(f32) -> [u8; 3]) -> Vec<u8> {
    let last = f32::from(LAST_INDEX);
    (0..=LAST_INDEX)
        .map(|i| colour(f32::from(i) / last))
        .chain(std::iter::once(MISSING))
        .flatten()
        .collect()
}
