//! Images: data, draws, the training images nearest to them, and the way between two images.

use anyhow::Result;
use flows_core::Shape;

use super::super::gallery_source::Source;
use super::{Gallery, card, gallery, missing};
use crate::figure::mosaic::Mosaic;
use crate::record::{INTERPOLATION_STEPS, Matrix};

/// Images in a panel.
const SHOWN: usize = 40;

/// Images beside each other.
const COLUMNS: usize = 8;

impl Gallery<'_> {
    /// Images of each source, and what shows whether draws are copies and what lies between.
    pub(super) fn images(&mut self, shape: Shape, sources: &[Source]) -> Result<String> {
        let data = match sources.first().map(|source| &source.table) {
            Some(Ok(data)) => data,
            Some(Err(reason)) => return Ok(missing("panels", reason)),
            None => return Ok(String::new()),
        };
        let values = || data.values.iter().copied();
        let range =
            [values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max)];
        let mut cards = String::new();
        for source in sources {
            let mut panels =
                self.mosaic((shape, COLUMNS, range), ("images", &source.table), source)?;
            if let Some([nearest, between]) = &source.images {
                let titles = ["nearest training images", "from one test image to another"];
                let nearest = self.mosaic((shape, COLUMNS, range), ("nearest", nearest), source)?;
                let between = self.mosaic(
                    (shape, INTERPOLATION_STEPS, range),
                    ("interpolations", between),
                    source,
                )?;
                for (title, panel) in titles.into_iter().zip([nearest, between]) {
                    panels += &format!("<p class=\"note\">{title}</p>\n{panel}");
                }
            }
            cards.push_str(&card(source, &panels));
        }
        let caption = "Above: held-out images and draws, without ink at the least value of the data \
                       and with all of it at the largest. Below: for each draw the training image at the least Euclidean \
                       distance, which it would equal if it were a copy; then lines from one held-out \
                       image (left) to another (right) along a quarter of a circle in base space.";
        Ok(gallery(sources.len(), &cards, caption))
    }

    fn mosaic(
        &mut self,
        (shape, columns, range): (Shape, usize, [f64; 2]),
        (what, table): (&str, &Result<Matrix, String>),
        source: &Source,
    ) -> Result<String> {
        let table = match table {
            Ok(table) => table,
            Err(reason) => return Ok(missing(what, reason)),
        };
        let words = format!("{}: {what} of {}", self.problem.title, source.title);
        let figure = Mosaic { table, shape, columns, most: SHOWN, range }.draw(words)?;
        self.add(format!("{}-{}-{what}", self.problem.name, source.name), &figure)
    }
}
