//! The figures of a report: each is a file of its own and an element of the page.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::figure::Figure;
use flows_core::train::write_atomically;

/// The folder that figures are written to.
#[derive(Debug)]
pub(super) struct Album {
    folder: PathBuf,
    names: Vec<String>,
}

impl Album {
    /// Makes `dir/figures` if there is none.
    pub(super) fn create(dir: &Path) -> Result<Self> {
        let folder = dir.join("figures");
        fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        Ok(Self { folder, names: Vec::new() })
    }

    /// Writes `figure` as `name.svg` and returns it as an element.
    pub(super) fn add(&mut self, name: &str, figure: &Figure) -> Result<String> {
        let path = self.folder.join(format!("{name}.svg"));
        write_atomically(&path, figure.document().as_bytes())
            .with_context(|| format!("writing {}", path.display()))?;
        let name = format!("figures/{name}.svg");
        if !self.names.contains(&name) {
            self.names.push(name);
        }
        Ok(figure.inline())
    }

    /// The files written so far, relative to the report.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }
}
