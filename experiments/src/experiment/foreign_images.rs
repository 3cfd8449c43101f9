//! Images that are no digits, made from digits of 8 x 8 pixels with levels 0 to 16.

use flows_core::{Stream, normals};

const SIDE: usize = 8;
const PIXELS: usize = SIDE * SIDE;
const TOP: f64 = 16.0;

/// A kind of foreign image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Foreign {
    /// Ink for paper: 16 - x.
    Inverted,
    /// The pixels of each digit in a random order of its own, so that it has the digit's histogram.
    Shuffled,
    /// Means over 3 x 3 pixels.
    Blurred,
    /// One level in all pixels, each level as often.
    Constant,
    /// Half of the ink, to the nearest level: closer to the mean image in every pixel than digits are.
    Faint,
}

impl Foreign {
    pub(super) const ALL: [Self; 5] =
        [Self::Inverted, Self::Shuffled, Self::Blurred, Self::Constant, Self::Faint];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Inverted => "inverted digits",
            Self::Shuffled => "shuffled pixels",
            Self::Blurred => "blurred digits",
            Self::Constant => "constant images",
            Self::Faint => "faint digits",
        }
    }

    /// As many images as `digits`, in whole levels.
    pub(super) fn images(self, digits: &[f64], rng: &mut Stream) -> Vec<f64> {
        digits
            .chunks(PIXELS)
            .enumerate()
            .flat_map(|(index, digit)| self.image(index, digit, rng))
            .collect()
    }

    fn image(self, index: usize, digit: &[f64], rng: &mut Stream) -> Vec<f64> {
        match self {
            Self::Inverted => digit.iter().map(|level| TOP - level).collect(),
            Self::Shuffled => {
                // The order of random numbers is a random order.
                let keys = normals::<f64>(PIXELS, rng);
                let mut order: Vec<usize> = (0..PIXELS).collect();
                order.sort_by(|&a, &b| keys[a].total_cmp(&keys[b]));
                order.into_iter().map(|pixel| digit[pixel]).collect()
            }
            Self::Blurred => (0..PIXELS).map(|pixel| blurred(digit, pixel)).collect(),
            Self::Constant => vec![(index % (TOP as usize + 1)) as f64; PIXELS],
            Self::Faint => digit.iter().map(|level| (0.5 * level).round()).collect(),
        }
    }
}

/// The mean of a pixel and those around it, to the nearest level.
fn blurred(digit: &[f64], pixel: usize) -> f64 {
    let near = |at: usize| at.saturating_sub(1)..(at + 2).min(SIDE);
    let mut around = Vec::new();
    for row in near(pixel / SIDE) {
        around.extend(near(pixel % SIDE).map(|column| digit[row * SIDE + column]));
    }
    (around.iter().sum::<f64>() / around.len() as f64).round()
}
