//! The five standard tables by name, and their files in a folder.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Benchmark, Result, TableError, bsds300, gas, hepmass, miniboone, power};

/// A standard table of density estimation, with the preparation and the split of Papamakarios et
/// al., *Masked Autoregressive Flow for Density Estimation*, NeurIPS 2017, appendix D.
///
/// | table | features | rows to train, validate and test | files, in a folder of the published archive |
/// |---|---|---|---|
/// | POWER | 6 | 1,659,917, 184,435, 204,928 | `power/data.npy` |
/// | GAS | 8 | 852,174, 94,685, 105,206 | `gas/ethylene_CO.csv`, `.csv.gz` or `.npy` |
/// | HEPMASS | 21 | 315,123, 35,013, 174,987 | `hepmass/1000_train.csv` and `1000_test.csv`, or `.csv.gz` |
/// | MINIBOONE | 43 | 29,556, 3,284, 3,648 | `miniboone/data.npy` |
/// | BSDS300 | 63 | 1,000,000, 50,000, 250,000 | `BSDS300/train`, `validation` and `test`, each `.npy`, `.csv` or `.csv.gz` |
///
/// The archive has GAS as a pickle and BSDS300 in HDF5, which are not read and have to be converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PublishedTable {
    /// Electric power of a household.
    Power,
    /// Gas sensors.
    Gas,
    /// Simulated particle collisions.
    Hepmass,
    /// Neutrino events.
    Miniboone,
    /// Patches of grey photographs.
    Bsds300,
}

/// A file by its name without the ending, and the endings that are read.
struct Part(&'static str, &'static [&'static str]);

const CSV: &[&str] = &["csv", "csv.gz"];
const NPY: &[&str] = &["npy"];
const ARRAY: &[&str] = &["npy", "csv", "csv.gz"];

impl PublishedTable {
    /// All of them, in the usual order.
    pub const ALL: [Self; 5] =
        [Self::Power, Self::Gas, Self::Hepmass, Self::Miniboone, Self::Bsds300];

    /// Name in files and of folders.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Power => "power",
            Self::Gas => "gas",
            Self::Hepmass => "hepmass",
            Self::Miniboone => "miniboone",
            Self::Bsds300 => "bsds300",
        }
    }

    /// Name in publications.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Power => "POWER",
            Self::Gas => "GAS",
            Self::Hepmass => "HEPMASS",
            Self::Miniboone => "MINIBOONE",
            Self::Bsds300 => "BSDS300",
        }
    }

    /// The folder as the archive writes it.
    fn folder(self) -> &'static str {
        if self == Self::Bsds300 { "BSDS300" } else { self.name() }
    }

    fn parts(self) -> &'static [Part] {
        match self {
            Self::Power | Self::Miniboone => &[Part("data", NPY)],
            Self::Gas => &[Part("ethylene_CO", &["csv", "csv.gz", "npy"])],
            Self::Hepmass => &[Part("1000_train", CSV), Part("1000_test", CSV)],
            Self::Bsds300 => {
                &[Part("train", ARRAY), Part("validation", ARRAY), Part("test", ARRAY)]
            }
        }
    }

    /// Its files in `folder`, in the order that [`read`](Self::read) takes them. Upper and lower
    /// case are the same; of several endings the first of the table above is taken.
    ///
    /// # Errors
    /// The files that are missing, such as `gas/ethylene_CO.csv, .csv.gz or .npy`.
    pub fn locate(self, folder: &Path) -> Result<Vec<PathBuf>, Vec<String>> {
        let inner = entry(folder, self.folder());
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for Part(stem, endings) in self.parts() {
            let file = inner.as_ref().and_then(|inner| {
                endings.iter().find_map(|ending| entry(inner, &format!("{stem}.{ending}")))
            });
            match file {
                Some(file) => found.push(file),
                None => missing.push(format!("{}/{stem}.{}", self.folder(), either(endings))),
            }
        }
        if missing.is_empty() { Ok(found) } else { Err(missing) }
    }

    /// Reads and prepares the files that [`locate`](Self::locate) found.
    ///
    /// # Errors
    /// As [`power`], [`gas`], [`hepmass`], [`miniboone`] and [`bsds300`]; [`TableError::Missing`] with the
    /// name of the folder for another number of files than `locate` finds.
    pub fn read(self, files: &[PathBuf]) -> Result<Benchmark> {
        match (self, files) {
            (Self::Power, [file]) => power(file),
            (Self::Gas, [file]) => gas(file),
            (Self::Hepmass, [training, test]) => hepmass(training, test),
            (Self::Miniboone, [file]) => miniboone(file),
            (Self::Bsds300, [training, validation, test]) => bsds300(training, validation, test),
            _ => Err(TableError::Missing { file: PathBuf::from(self.folder()) }),
        }
    }
}

/// What is called `name` in a folder: as it is written, else in any case.
fn entry(folder: &Path, name: &str) -> Option<PathBuf> {
    let exact = folder.join(name);
    if exact.exists() {
        return Some(exact);
    }
    let entries = std::fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let same = |path: &PathBuf| {
        path.file_name().is_some_and(|found| found.to_string_lossy().eq_ignore_ascii_case(name))
    };
    entries.filter(same).min()
}

/// Such as `csv, .csv.gz or .npy`.
fn either(endings: &[&str]) -> String {
    match endings {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} or .{last}", first.join(", .")),
    }
}
