//! The table engine: one `redb` file that holds every table as of the last checkpoint.
//!
//! Promise: a checkpoint is in the file as a whole or not at all, together with the journal position it reflects.
//! When the disk is full the file waits for space instead of failing, because after a failure the engine would have
//! to be opened anew; publishers do not notice, they wait for the journal only.
//! Not here: when checkpoints are made (`writer`), what changed since (`rows`).

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gridpost_model::subscription::LaneId;
use parking_lot::{Condvar, Mutex};
use redb::{
    Database, ReadOnlyTable, ReadableDatabase, StorageBackend, TableDefinition, TableHandle,
};

use crate::disk::{self, Disk, DiskFile, OWNERS};
use crate::rows::{Layer, SPACE_BYTES};
use crate::{FileKind, OpenError, Position, Progress, StoreError};

/// The format of the tables that this program writes, and the newest it reads.
pub(crate) const FORMAT: u32 = 1;
/// What the engine keeps of the file in memory, at most. The system's own cache holds the rest.
const CACHE_BYTES: usize = 8 << 20;
/// How often a full disk is tried again.
const SPACE_POLL: Duration = Duration::from_millis(100);

const META: TableDefinition<'static, &'static str, u64> = TableDefinition::new("meta");
const LANES: TableDefinition<'static, u64, &'static [u8]> = TableDefinition::new("lanes");

type Bytes = &'static [u8];

/// The open file.
#[derive(Debug)]
pub(crate) struct Engine {
    database: Database,
}

/// What the last checkpoint said.
#[derive(Debug, Default)]
pub(crate) struct Saved {
    pub(crate) position: Position,
    pub(crate) progress: HashMap<LaneId, Progress>,
}

impl Engine {
    pub(crate) fn open(
        path: &Path,
        disk: &Disk,
        patience: &Arc<Patience>,
    ) -> Result<(Self, Saved), OpenError> {
        let file = disk.open(path, FileKind::Tables);
        let file = file.map_err(|source| OpenError::File {
            doing: "could not open",
            file: path.to_owned(),
            source,
        })?;
        let backend = TablesFile {
            file,
            patience: Arc::clone(patience),
        };
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create_with_backend(backend)
            .map_err(|error| unopened(path, &error))?;
        let engine = Self { database };
        let saved = engine.saved(path)?;
        Ok((engine, saved))
    }

    fn saved(&self, path: &Path) -> Result<Saved, OpenError> {
        let read = || -> Result<Option<(u64, Saved)>, redb::Error> {
            let reading = self.database.begin_read()?;
            let meta = match reading.open_table(META) {
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
                meta => meta?,
            };
            let number =
                |name| Ok::<_, redb::Error>(meta.get_owned(name)?.map_or(0, |v| v.value()));
            let format = number("format")?;
            if u64::from(FORMAT) < format {
                return Ok(Some((format, Saved::default())));
            }
            let mut saved = Saved {
                position: Position(number("checkpoint")?),
                ..Saved::default()
            };
            for row in reading.open_table(LANES)?.range_owned::<u64>(..)? {
                let (lane, progress) = row?;
                // A lane whose progress cannot be read begins anew: what it has delivered is delivered again.
                let progress = serde_json::from_slice(progress.value()).unwrap_or_default();
                saved.progress.insert(LaneId(lane.value()), progress);
            }
            Ok(Some((format, saved)))
        };
        match read().map_err(|error| OpenError::Tables(error.to_string()))? {
            Some((format, _)) if u64::from(FORMAT) < format => Err(OpenError::NewerFormat {
                file: path.to_owned(),
                found: u32::try_from(format).unwrap_or(u32::MAX),
                supported: FORMAT,
            }),
            Some((_, saved)) => Ok(saved),
            None => {
                let empty = Saved::default();
                let made = self.commit(&Layer::new(), empty.position, Some(&empty.progress));
                made.map_err(|error| OpenError::Tables(error.to_string()))?;
                Ok(empty)
            }
        }
    }

    /// Writes a checkpoint: rows, the position they reflect, and how far lanes have come (`None`: position and progress
    /// stay as before).
    pub(crate) fn commit(
        &self,
        rows: &Layer,
        position: Position,
        progress: Option<&HashMap<LaneId, Progress>>,
    ) -> Result<(), redb::Error> {
        let mut writing = self.database.begin_write()?;
        // The next opening after a kill then takes milliseconds, whatever the size of the file.
        writing.set_quick_repair(true);
        {
            let mut meta = writing.open_table(META)?;
            meta.insert("format", u64::from(FORMAT))?;
            let mut lanes = writing.open_table(LANES)?;
            // A lane the checkpoint does not know counts as made after it. So the position moves only together with the
            // progress of lanes; that rows are ahead of it is harmless, since replaying them ends in the same state.
            if let Some(progress) = progress {
                meta.insert("checkpoint", position.0)?;
                lanes.retain(|lane, _| progress.contains_key(&LaneId(lane)))?;
                for (lane, progress) in progress {
                    let bytes = serde_json::to_vec(progress).unwrap_or_default();
                    lanes.insert(lane.0, &bytes[..])?;
                }
            }
        }
        let mut changes = rows.iter().peekable();
        while let Some((key, _)) = changes.peek() {
            let table = table_of(key);
            let mut open = writing.open_table(definition(&table_name(table)))?;
            while let Some((key, row)) = changes.next_if(|(key, _)| table_of(key) == table) {
                match row {
                    Some(row) => drop(open.insert(&key[2..], &row[..])?),
                    None => drop(open.remove(&key[2..])?),
                }
            }
        }
        writing.commit()?;
        Ok(())
    }

    /// The tables as of the last checkpoint, for as long as the value lives.
    pub(crate) fn base(&self) -> Result<Base, redb::Error> {
        let reading = self.database.begin_read()?;
        let mut tables = HashMap::new();
        for handle in reading.list_tables()? {
            if let Some(table) = handle
                .name()
                .strip_prefix('t')
                .and_then(|id| id.parse().ok())
            {
                tables.insert(table, reading.open_table(definition(handle.name()))?);
            }
        }
        Ok(Base(Arc::new(tables)))
    }
}

fn table_name(table: u16) -> String {
    format!("t{table}")
}

fn definition(name: &str) -> TableDefinition<'_, Bytes, Bytes> {
    TableDefinition::new(name)
}

fn table_of(key: &[u8]) -> u16 {
    u16::from_be_bytes([key[0], key[1]])
}

fn unopened(path: &Path, error: &redb::DatabaseError) -> OpenError {
    match error {
        redb::DatabaseError::DatabaseAlreadyOpen => OpenError::InUse(path.to_owned()),
        error => OpenError::Tables(format!("{}: {error}", path.display())),
    }
}

/// The tables as of one checkpoint. The engine keeps what it needs of the file until the last copy is gone.
#[derive(Clone)]
pub(crate) struct Base(Arc<HashMap<u16, ReadOnlyTable<Bytes, Bytes>>>);

impl Base {
    /// No tables.
    #[cfg(test)]
    pub(crate) fn empty() -> Self {
        Self(Arc::default())
    }

    pub(crate) fn get<R>(
        &self,
        key: &[u8],
        read: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>, StoreError> {
        let Some(table) = self.0.get(&table_of(key)) else {
            return Ok(None);
        };
        let row = table.get_owned(&key[2..]).map_err(|error| unread(&error))?;
        Ok(row.map(|row| read(row.value())))
    }

    /// Rows of one table between two row keys; each key without the table's number.
    #[expect(clippy::type_complexity, reason = "an iterator over rows, as it is")]
    pub(crate) fn range(
        &self,
        from: &[u8],
        to: &[u8],
    ) -> Result<
        Option<impl DoubleEndedIterator<Item = Result<(Vec<u8>, Vec<u8>), StoreError>> + use<>>,
        StoreError,
    > {
        let Some(table) = self.0.get(&table_of(from)) else {
            return Ok(None);
        };
        // A range to the end of the last partition is named by a key of the next table.
        let to = if table_of(to) == table_of(from) {
            &to[2..]
        } else {
            &[u8::MAX; SPACE_BYTES][..]
        };
        let rows = table
            .range_owned::<&[u8]>(&from[2..]..to)
            .map_err(|error| unread(&error))?;
        Ok(Some(rows.map(|row| {
            let (key, row) = row.map_err(|error| unread(&error))?;
            Ok((key.value().to_vec(), row.value().to_vec()))
        })))
    }
}

impl fmt::Debug for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Base({} tables)", self.0.len())
    }
}

fn unread(error: &redb::StorageError) -> StoreError {
    StoreError::Failed(format!("the tables cannot be read: {error}").into())
}

/// How the engine meets a full disk: it waits until there is space, or until nobody wants it to wait.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    state: Mutex<PatienceState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct PatienceState {
    /// While the store is being opened a full disk is an error.
    willing: bool,
    waiting: bool,
}

impl Patience {
    /// From now on, wait; or from now on, fail.
    pub(crate) fn set_willing(&self, willing: bool) {
        self.state.lock().willing = willing;
        self.changed.notify_all();
    }

    /// Whether the tables wait for space.
    pub(crate) fn is_waiting(&self) -> bool {
        self.state.lock().waiting
    }

    fn insist(&self, mut attempt: impl FnMut() -> io::Result<()>) -> io::Result<()> {
        loop {
            let done = attempt();
            let mut state = self.state.lock();
            state.waiting = state.willing && done.as_ref().is_err_and(disk::is_no_space);
            if !state.waiting {
                return done;
            }
            self.changed.wait_for(&mut state, SPACE_POLL);
        }
    }
}

/// The file as the engine sees it.
#[derive(Debug)]
struct TablesFile {
    file: DiskFile,
    patience: Arc<Patience>,
}

impl StorageBackend for TablesFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.patience.insist(|| self.file.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.patience
            .insist(|| self.file.write_all_at(data, offset))
    }
}

/// One process at a time: an advisory lock that the system releases with the process.
#[derive(Debug)]
pub(crate) struct FolderLock(
    #[expect(dead_code, reason = "holding it is what it is for")] fs::File,
);

impl FolderLock {
    pub(crate) fn take(folder: &Path) -> Result<Self, OpenError> {
        let path = folder.join("lock");
        let failed = |source| OpenError::File {
            doing: "could not lock",
            file: path.clone(),
            source,
        };
        let file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(OWNERS)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(fs::TryLockError::WouldBlock) => Err(OpenError::InUse(PathBuf::from(folder))),
            Err(fs::TryLockError::Error(error)) => Err(failed(error)),
        }
    }
}
