//! A file that is replaced as a whole: never half of it on the disk.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use tempfile::Builder;

use super::{Result, TableError};

/// Opens a file for reading and tells its length in bytes.
pub(super) fn open(file: &Path) -> Result<(File, u64)> {
    let wrong = |cause: io::Error| TableError::reading(file, &cause);
    let metadata = fs::metadata(file).map_err(wrong)?;
    if metadata.is_dir() {
        return Err(TableError::Folder { file: file.to_owned() });
    }
    if metadata.is_file() && metadata.len() == 0 {
        return Err(TableError::Empty { file: file.to_owned() });
    }
    Ok((File::open(file).map_err(wrong)?, metadata.len()))
}

/// Runs `write` on a new file beside `file`, flushes it to the disk and renames it to `file`.
pub(super) fn replace(file: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<()> {
    let attempt = || -> io::Result<()> {
        let folder = match file.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        let mut temporary = builder().tempfile_in(folder)?;
        write(temporary.as_file_mut())?;
        temporary.as_file().sync_all()?;
        temporary.persist(file).map_err(|failed| failed.error)?;
        Ok(())
    };
    attempt().map_err(|cause| TableError::writing(file, &cause))
}

/// A temporary file is private by default; a result is as readable as any new file of the user.
fn builder() -> Builder<'static, 'static> {
    let mut builder = Builder::new();
    builder.prefix(".table-").suffix(".tmp");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("old.csv");
        fs::write(&file, "old").unwrap();
        let result = replace(&file, |out| {
            out.write_all(b"half")?;
            Err(io::Error::other("disk full"))
        });
        assert!(result.unwrap_err().to_string().contains("old.csv: cannot be written (disk full)"));
        assert_eq!(fs::read_to_string(&file).unwrap(), "old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
