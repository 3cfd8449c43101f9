//! Checkpoints: named tensors and strings in a safetensors file, written atomically.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors, serialize};

use crate::parameters::Parameters;
use crate::tensor::{Values, columns, set_values};
use crate::{Error, Real, Result};

/// Tensors and strings of a model file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checkpoint<E> {
    tensors: BTreeMap<String, (Vec<usize>, Vec<E>)>,
    /// Strings beside the tensors, which describe the model.
    pub metadata: HashMap<String, String>,
}

fn dtype<E: Real>() -> Dtype {
    if E::NAME == "f32" { Dtype::F32 } else { Dtype::F64 }
}

impl<E: Real> Checkpoint<E> {
    /// An empty checkpoint.
    #[must_use]
    pub fn new() -> Self {
        Self { tensors: BTreeMap::new(), metadata: HashMap::new() }
    }

    /// Adds all tensors of a model, their names prefixed by `prefix.`
    pub fn add_model(&mut self, prefix: &str, model: &(impl Parameters<E> + ?Sized)) {
        model.visit(&mut |name, _, tensor| {
            let shape = vec![tensor.rows(), columns(tensor)];
            self.tensors.insert(format!("{prefix}.{name}"), (shape, tensor.values()));
        });
    }

    /// Restores all tensors of a model from what [`add_model`](Self::add_model) added.
    ///
    /// # Errors
    /// [`Error::Tensors`] if one is missing or has another shape; the model is then unchanged.
    pub fn restore_model(
        &self,
        prefix: &str,
        model: &mut (impl Parameters<E> + ?Sized),
    ) -> Result<()> {
        let mut problem = Ok(());
        model.visit(&mut |name, _, tensor| {
            let expected = vec![tensor.rows(), columns(tensor)];
            if problem.is_ok() {
                problem = self.shaped(&format!("{prefix}.{name}"), &expected).map(drop);
            }
        });
        problem?;
        model.visit_mut(&mut |name, _, tensor| {
            let shape = vec![tensor.rows(), columns(tensor)];
            set_values(tensor, self.shaped(&format!("{prefix}.{name}"), &shape)?)
        })
    }

    /// Adds plain vectors as `prefix.0`, `prefix.1`, ..
    pub fn add_vectors(&mut self, prefix: &str, vectors: &[Vec<E>]) {
        for (index, values) in vectors.iter().enumerate() {
            self.tensors.insert(format!("{prefix}.{index}"), (vec![values.len()], values.clone()));
        }
    }

    /// Restores vectors from what [`add_vectors`](Self::add_vectors) added.
    ///
    /// # Errors
    /// [`Error::Tensors`] if one is missing or has another length.
    pub fn restore_vectors(&self, prefix: &str, vectors: &mut [Vec<E>]) -> Result<()> {
        for (index, values) in vectors.iter_mut().enumerate() {
            let saved = self.shaped(&format!("{prefix}.{index}"), &[values.len()])?;
            values.copy_from_slice(saved);
        }
        Ok(())
    }

    fn shaped(&self, name: &str, expected: &[usize]) -> Result<&[E]> {
        let wrong = |got: String| Error::Tensors {
            name: format!("tensor {name} of the model file"),
            expected: format!("shape {expected:?}"),
            got,
        };
        match self.tensors.get(name) {
            None => Err(wrong("no tensor of this name".into())),
            Some((shape, _)) if shape != expected => Err(wrong(format!("shape {shape:?}"))),
            Some((_, values)) => Ok(values),
        }
    }

    /// Writes the file under a temporary name and renames it, so that an interruption leaves the
    /// old file or the new one.
    ///
    /// # Errors
    /// [`Error::File`] with the system's reason.
    pub fn write(&self, path: &Path) -> Result<()> {
        let bytes: BTreeMap<&String, Vec<u8>> = self
            .tensors
            .iter()
            .map(|(name, (_, values))| {
                let mut bytes = Vec::with_capacity(values.len() * E::BYTES);
                values.iter().for_each(|value| value.write_bytes(&mut bytes));
                (name, bytes)
            })
            .collect();
        let broken = |error: safetensors::SafeTensorError| Error::Checkpoint {
            path: path.to_owned(),
            problem: format!("cannot be written: {error}"),
        };
        let mut views = Vec::with_capacity(bytes.len());
        for (name, (shape, _)) in &self.tensors {
            let view =
                TensorView::new(dtype::<E>(), shape.clone(), &bytes[name]).map_err(broken)?;
            views.push((name, view));
        }
        let data = serialize(views, Some(self.metadata.clone())).map_err(broken)?;
        write_atomically(path, &data)
    }

    /// Reads a file that [`write`](Self::write) wrote.
    ///
    /// # Errors
    /// [`Error::File`] if it cannot be read; [`Error::Checkpoint`] if it is truncated, not a
    /// checkpoint or of another precision.
    pub fn read(path: &Path) -> Result<Self> {
        let file = |source| Error::File { path: path.to_owned(), source };
        let wrong = |problem: String| Error::Checkpoint { path: path.to_owned(), problem };
        let data = std::fs::read(path).map_err(file)?;
        let damaged = |error: safetensors::SafeTensorError| {
            wrong(format!(
                "not a complete safetensors file ({error}); it is damaged or of another kind, \
                 train again or take an earlier copy"
            ))
        };
        let archive = SafeTensors::deserialize(&data).map_err(damaged)?;
        let (_, header) = SafeTensors::read_metadata(&data).map_err(damaged)?;
        let mut checkpoint = Self::new();
        checkpoint.metadata = header.metadata().clone().unwrap_or_default();
        for (name, view) in archive.tensors() {
            if view.dtype() != dtype::<E>() {
                let (expected, got) = (E::NAME, view.dtype());
                return Err(wrong(format!(
                    "expected {expected} tensors, got {got:?}; set the precision it was trained in"
                )));
            }
            let values = view.data().chunks_exact(E::BYTES).map(E::from_bytes).collect();
            checkpoint.tensors.insert(name, (view.shape().to_vec(), values));
        }
        Ok(checkpoint)
    }
}

/// Replaces a file by `data` atomically.
///
/// # Errors
/// [`Error::File`] with the system's reason.
pub fn write_atomically(path: &Path, data: &[u8]) -> Result<()> {
    let file = |source| Error::File { path: path.to_owned(), source };
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        // Temporary files are private; a result gets the permissions of any new file.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut temporary = builder.tempfile_in(folder).map_err(file)?;
    temporary.write_all(data).map_err(file)?;
    temporary.as_file().sync_all().map_err(file)?;
    temporary.persist(path).map_err(|error| file(error.error))?;
    Ok(())
}
