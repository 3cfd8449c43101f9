//! A standard table with its published split as a problem of a comparison.

use std::path::Path;

use anyhow::{Result, anyhow, bail};
use flows_bench::table::PublishedTable;

use crate::config::TableFile;
use crate::data::TableData;

/// A standard table read from a folder of the published archive, with its published preparation and
/// split: likelihoods are in the units of publications.
#[derive(Clone, Debug)]
pub struct Published {
    table: PublishedTable,
    file: TableFile,
    data: TableData,
}

impl Published {
    /// Reads the files of a table in `folder`.
    ///
    /// # Errors
    /// Files that are missing or unusable; others than those with the hash `before`.
    pub fn read(table: PublishedTable, folder: &Path, before: Option<&str>) -> Result<Self> {
        let (title, place) = (table.title(), folder.display());
        let files = table.locate(folder).map_err(|missing| {
            anyhow!(
                "{place}: expected {} for {title}, got none; check the path",
                missing.join(" and ")
            )
        })?;
        let file = TableFile::of(folder, &files)?;
        if before.is_some_and(|hash| file.is_other(hash)) {
            bail!(
                "{place}: expected the files of {title} that the comparison began with, got others; resume \
                 with those"
            );
        }
        let data = TableData::in_parts(table.read(&files)?)?;
        Ok(Self { table, file, data })
    }

    /// Which table it is.
    pub fn table(&self) -> PublishedTable {
        self.table
    }

    /// Its folder, with the hash of all its files one after another.
    pub fn file(&self) -> &TableFile {
        &self.file
    }

    /// Its rows.
    pub fn data(&self) -> &TableData {
        &self.data
    }
}
