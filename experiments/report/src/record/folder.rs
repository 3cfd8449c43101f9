//! Where the files of a comparison are, and how each is read.

use std::fs::File;
use std::io::{BufReader, ErrorKind};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use flows_core::train::write_atomically;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Change, Comparison, Matrix, MetricsRow, Problem, RunSummary, array, read_summaries};

/// Images of a line of interpolation, its ends among them.
pub const INTERPOLATION_STEPS: usize = 9;

/// The folder of one comparison. Errors name files relative to it.
#[derive(Clone, Debug)]
pub struct Folder(Files);

/// A folder whose files are read by their paths inside it, which errors name.
#[derive(Clone, Debug)]
pub(super) struct Files {
    root: PathBuf,
}

impl Folder {
    /// The comparison in `root`; nothing is read yet.
    pub fn new(root: &Path) -> Self {
        Self(Files::new(root))
    }

    /// Reads `comparison.json`.
    ///
    /// # Errors
    /// When the file is missing or malformed.
    pub fn comparison(&self) -> Result<Comparison> {
        self.0.json(Path::new("comparison.json"))
    }

    /// Reads `summary.csv`.
    ///
    /// # Errors
    /// When the file is missing or malformed.
    pub fn summaries(&self) -> Result<Vec<RunSummary>> {
        let path = Path::new("summary.csv");
        read_summaries(self.0.open(path)?)
            .with_context(|| format!("cannot read {}", path.display()))
    }

    /// Reads `baseline.csv`; none where the comparison was compared with no earlier one.
    ///
    /// # Errors
    /// When the file is malformed.
    pub fn changes(&self) -> Result<Option<Vec<Change>>> {
        let path = Path::new("baseline.csv");
        if !self.0.root.join(path).exists() {
            return Ok(None);
        }
        self.0.csv(path).map(Some)
    }

    /// Whether two comparisons were evaluated on the same test rows of a problem, as far as their files
    /// tell: as many rows of the same columns, and those that are kept, the first few thousand, equal
    /// byte for byte.
    #[must_use]
    pub fn has_same_test_rows(&self, problem: &Problem, other: &Self, theirs: &Problem) -> bool {
        let shape = |p: &Problem| (p.dim, p.test_rows, p.columns.clone(), p.context.clone());
        let kept = |folder: &Self, problem: &Problem| {
            let path = Path::new("problems").join(&problem.name).join("samples.npy");
            std::fs::read(folder.0.root.join(path)).ok()
        };
        shape(problem) == shape(theirs)
            && kept(self, problem).is_some_and(|rows| kept(other, theirs) == Some(rows))
    }

    /// Reads the true log-density of a two-dimensional toy on its window, lowest row first.
    ///
    /// # Errors
    /// When the file is missing or malformed.
    pub fn truth(&self, problem: &str) -> Result<Matrix> {
        self.0.matrix(&Path::new("problems").join(problem).join("truth.npy"))
    }

    /// Reads held-out rows of a problem.
    ///
    /// # Errors
    /// When the file is missing or malformed.
    pub fn data(&self, problem: &str) -> Result<Matrix> {
        self.0.matrix(&Path::new("problems").join(problem).join("samples.npy"))
    }

    /// Reads the summary of one run.
    ///
    /// # Errors
    /// When the file is missing or malformed.
    pub fn run(&self, run: RunKey<'_>) -> Result<RunSummary> {
        self.0.json(&run.path("summary.json"))
    }

    /// Reads the learning curve of one run.
    ///
    /// # Errors
    /// When the file is missing or malformed.
    pub fn metrics(&self, run: RunKey<'_>) -> Result<Vec<MetricsRow>> {
        self.0.csv(&run.path("metrics.csv"))
    }

    /// Reads the learned log-density of one run on the window of its problem.
    ///
    /// # Errors
    /// When the file is missing or malformed.
    pub fn density(&self, run: RunKey<'_>) -> Result<Matrix> {
        self.0.matrix(&run.path("density.npy"))
    }

    /// Reads draws of one run.
    ///
    /// # Errors
    /// When the file is missing or malformed.
    pub fn draws(&self, run: RunKey<'_>) -> Result<Matrix> {
        self.0.matrix(&run.path("samples.npy"))
    }

    /// Reads where draws of one run stand on their way from base to data: stage, x1, x2.
    ///
    /// # Errors
    /// When the file is missing or malformed.
    pub fn transport(&self, run: RunKey<'_>) -> Result<Matrix> {
        self.0.matrix(&run.path("transport.npy"))
    }

    /// Reads the training images nearest to the first draws of one run.
    ///
    /// # Errors
    /// When the file is missing or malformed.
    pub fn nearest(&self, run: RunKey<'_>) -> Result<Matrix> {
        self.0.matrix(&run.path("nearest.npy"))
    }

    /// Reads the images between test images of one run, [`INTERPOLATION_STEPS`] to a line.
    ///
    /// # Errors
    /// When the file is missing or malformed.
    pub fn interpolations(&self, run: RunKey<'_>) -> Result<Matrix> {
        self.0.matrix(&run.path("interpolations.npy"))
    }

    /// Reads the ranks of truths among draws of one run: by each feature, by density, by distance.
    ///
    /// # Errors
    /// When the file is missing or malformed.
    pub fn calibration(&self, run: RunKey<'_>) -> Result<Matrix> {
        self.0.matrix(&run.path("calibration.npy"))
    }

    /// Reads the log-densities that one run gives to the test rows, in nats of the data's own units.
    ///
    /// # Errors
    /// When the file is missing or malformed.
    pub fn test_log_prob(&self, run: RunKey<'_>) -> Result<Vec<f64>> {
        let path = run.path("test_log_prob.npy");
        array::vector(self.0.open(&path)?)
            .with_context(|| format!("cannot read {}", path.display()))
    }
}

/// Writes rows as a table with the names of their fields as heads; nothing but heads needs a row.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn write_csv<T: Serialize>(path: &Path, rows: &[T]) -> Result<()> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    rows.iter().try_for_each(|row| writer.serialize(row))?;
    let bytes = writer.into_inner().context("writing CSV")?;
    write_atomically(path, &bytes).with_context(|| format!("writing {}", path.display()))
}

impl Files {
    /// The files below `root`; nothing is read yet.
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub(super) fn open(&self, path: &Path) -> Result<BufReader<File>> {
        match File::open(self.root.join(path)) {
            Ok(file) => Ok(BufReader::new(file)),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                bail!("{} is missing", path.display())
            }
            Err(error) => Err(error).with_context(|| format!("cannot open {}", path.display())),
        }
    }

    pub(super) fn json<T: DeserializeOwned>(&self, path: &Path) -> Result<T> {
        let reader = self.open(path)?;
        serde_json::from_reader(reader).with_context(|| format!("cannot read {}", path.display()))
    }

    pub(super) fn csv<T: DeserializeOwned>(&self, path: &Path) -> Result<Vec<T>> {
        csv::Reader::from_reader(self.open(path)?)
            .into_deserialize()
            .collect::<std::result::Result<_, _>>()
            .with_context(|| format!("cannot read {}", path.display()))
    }

    pub(super) fn matrix(&self, path: &Path) -> Result<Matrix> {
        Matrix::from_npy(self.open(path)?)
            .with_context(|| format!("cannot read {}", path.display()))
    }
}

/// Which run of a comparison.
#[derive(Clone, Copy, Debug)]
pub struct RunKey<'a> {
    /// Name of the problem.
    pub problem: &'a str,
    /// Name of the flow.
    pub flow: &'a str,
    /// Seed.
    pub seed: u64,
}

impl RunKey<'_> {
    fn path(&self, file: &str) -> PathBuf {
        let seed = format!("seed-{}", self.seed);
        Path::new("runs").join(self.problem).join(self.flow).join(seed).join(file)
    }
}
