//! Figures on paper: SVG and PDF in points, with letters of eight points.

use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result, anyhow};
use svg2pdf::usvg::{Options, Tree, fontdb::Database};
use svg2pdf::{ConversionOptions, PageOptions};

use super::width::points;
use super::{Figure, escape};

/// Units of a PDF page in an inch: points.
const DOTS: f32 = 72.0;

impl Figure {
    /// The content of an SVG file for paper.
    pub(crate) fn on_paper(&self) -> String {
        self.in_points("pt")
    }

    /// The content of a PDF file, with letters as letters.
    ///
    /// # Errors
    /// When the drawing cannot be converted.
    pub(crate) fn pdf(&self) -> Result<Vec<u8>> {
        static FONTS: OnceLock<Arc<Database>> = OnceLock::new();
        let fonts = FONTS.get_or_init(|| {
            let mut fonts = Database::new();
            fonts.load_font_data(epaint_default_fonts::UBUNTU_LIGHT.to_vec());
            let family = fonts.faces().find_map(|face| Some(face.families.first()?.0.clone()));
            fonts.set_sans_serif_family(family.unwrap_or_default());
            Arc::new(fonts)
        });
        let options = Options { fontdb: Arc::clone(fonts), dpi: DOTS, ..Options::default() };
        let tree = Tree::from_str(&self.in_points(""), &options).context("reading a figure")?;
        svg2pdf::to_pdf(&tree, ConversionOptions::default(), PageOptions { dpi: DOTS })
            .map_err(|error| anyhow!("a figure as PDF: {error}"))
    }

    fn in_points(&self, unit: &str) -> String {
        let [width, height] = [self.width, self.height];
        let [across, down] = [width, height].map(|length| points(f64::from(length)));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{across:.2}{unit}\" \
             height=\"{down:.2}{unit}\" viewBox=\"0 0 {width} {height}\">\n<title>{}</title>\n{}\n</svg>\n",
            escape(&self.description),
            self.body
        )
    }
}
