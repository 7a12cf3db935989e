//! Files: the only place that touches the disk, and where tests make it fail.
//!
//! Promise: `write_all_at` and `sync` either did all of it or say so; an injected fault looks like the system's own.
//! Not here: what stands in the files (`journal`, `engine`).

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;

use crate::{Fault, Faults, FileKind, Operation};

/// Keys and messages stand in our files, so that whoever else uses the machine may not read them, whatever its umask is.
pub(crate) const OWNERS: u32 = 0o600;

/// Opens and makes files.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    faults: Option<Arc<dyn Faults>>,
}

impl Disk {
    pub(crate) fn new(faults: Option<Arc<dyn Faults>>) -> Self {
        Self { faults }
    }

    /// Makes a file that must not exist yet.
    pub(crate) fn create(&self, path: &Path, kind: FileKind) -> io::Result<DiskFile> {
        self.strike(kind, Operation::Create)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(OWNERS)
            .open(path)?;
        Ok(DiskFile {
            file,
            kind,
            disk: self.clone(),
        })
    }

    /// Opens a file for reading and writing, making it when it is missing.
    pub(crate) fn open(&self, path: &Path, kind: FileKind) -> io::Result<DiskFile> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(OWNERS)
            .open(path)?;
        Ok(DiskFile {
            file,
            kind,
            disk: self.clone(),
        })
    }

    fn strike(&self, kind: FileKind, operation: Operation) -> io::Result<()> {
        self.fault(kind, operation)
            .map_or(Ok(()), |fault| Err(fault.error))
    }

    fn fault(&self, kind: FileKind, operation: Operation) -> Option<Fault> {
        self.faults.as_ref()?.strike(kind, operation)
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Disk")
    }
}

/// Makes names given and taken in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Bytes of disk that a file really occupies.
pub(crate) fn occupied_bytes(path: &Path) -> io::Result<u64> {
    Ok(std::fs::metadata(path)?.blocks() * 512)
}

/// One open file.
#[derive(Debug)]
pub(crate) struct DiskFile {
    file: File,
    kind: FileKind,
    disk: Disk,
}

impl DiskFile {
    pub(crate) fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let operation = Operation::Write {
            size_bytes: bytes.len(),
        };
        if let Some(fault) = self.disk.fault(self.kind, operation) {
            let reached = fault.written_bytes.min(bytes.len());
            self.file.write_all_at(&bytes[..reached], offset)?;
            return Err(fault.error);
        }
        self.file.write_all_at(bytes, offset)
    }

    /// Makes what was written durable. After an error the file must not be synced again: the system has already
    /// forgotten what it could not write.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.disk.strike(self.kind, Operation::Sync)?;
        self.file.sync_data()
    }

    /// Has the system begin to write out what lies in a range, and waits for nothing. Whether it does is its own affair:
    /// only `sync` promises.
    pub(crate) fn begin_write_out(&self, offset: u64, size_bytes: usize) {
        let _ = rustix::fs::fadvise(
            &self.file,
            offset,
            NonZeroU64::new(size_bytes as u64),
            rustix::fs::Advice::DontNeed,
        );
    }

    pub(crate) fn set_len(&self, size_bytes: u64) -> io::Result<()> {
        self.disk.strike(self.kind, Operation::Create)?;
        self.file.set_len(size_bytes)
    }

    pub(crate) fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    pub(crate) fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(bytes, offset)
    }

    /// Reads as much as there is, at most what `bytes` holds; says how much.
    pub(crate) fn read_up_to(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < bytes.len() {
            match self
                .file
                .read_at(&mut bytes[filled..], offset + filled as u64)
            {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

/// Whether an error says that the disk is full.
pub(crate) fn is_no_space(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
