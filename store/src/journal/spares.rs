//! Spare segments: files prepared in the background, so that a full segment is followed without a pause.
//!
//! Writing into blocks that already hold something is what makes a sync cheap; filling a segment with zeros takes
//! 40 ms, which no publisher should wait for. Segments that retention gives up are used again instead of removed.
//!
//! Promise: a spare that is handed out carries its final name, durably, and has all its blocks.
//! Not here: when a segment is given up (`crate::retention`).

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::Mutex;

use super::segment::{self, SEGMENT_BYTES};
use crate::FileKind;
use crate::disk::{self, Disk, DiskFile};

/// How many segments stand ready. Where more are used than are made, segments grow as they are written.
const SPARES: usize = 2;
/// How many may stand ready when segments are given back. More than `SPARES`: a new one is ordered as soon as a spare is
/// taken, long before retention gives one back, and a journal that turns over would be filled with zeros for ever.
const RECYCLED: usize = 4;
/// A store that never wrote this much does not get spares: they take 128 MiB of disk.
pub(super) const WORTHWHILE_BYTES: u64 = 256 << 10;
/// Zeros are written and synced in pieces, so that a publisher's sync never waits behind much of them.
const PIECE_BYTES: usize = 256 << 10;
/// After each piece the disk is left to publishers for a while: the first spare takes about a second, and one is used
/// up in no less than that unless events come in large batches.
const BREATH: Duration = Duration::from_millis(3);
/// While a spare stands ready there is no hurry: the next takes two seconds.
const LONG_BREATH: Duration = Duration::from_millis(8);

/// The pool.
#[derive(Debug)]
pub(super) struct Spares {
    pool: Arc<Pool>,
    worker: Option<(mpsc::Sender<Task>, JoinHandle<()>)>,
}

/// A file ready to become a segment.
#[derive(Debug)]
pub(super) struct Spare {
    pub(super) number: u64,
    pub(super) file: DiskFile,
    /// Whether it holds nothing but zeros.
    pub(super) fresh: bool,
}

#[derive(Debug)]
struct Pool {
    folder: PathBuf,
    disk: Disk,
    shelf: Mutex<Shelf>,
    /// Nobody needs spares any more.
    closing: AtomicBool,
}

#[derive(Debug)]
struct Shelf {
    ready: VecDeque<Spare>,
    /// Spares asked for and not yet made.
    ordered: usize,
    next_number: u64,
    /// One could not be made. On a full disk trying again at once would take the journal's last space, so the next
    /// segment that is begun tries again.
    discouraged: bool,
    /// It was said in the log that one could not be made, and none was made since.
    complained: bool,
}

enum Task {
    Make,
    Recycle(PathBuf),
    Remove(PathBuf),
}

impl Spares {
    /// `next_number` lies above every number in use.
    pub(super) fn new(folder: &Path, disk: &Disk, next_number: u64) -> Self {
        let shelf = Shelf {
            ready: VecDeque::new(),
            ordered: 0,
            next_number,
            discouraged: false,
            complained: false,
        };
        let pool = Pool {
            folder: folder.to_owned(),
            disk: disk.clone(),
            shelf: Mutex::new(shelf),
            closing: AtomicBool::new(false),
        };
        Self {
            pool: Arc::new(pool),
            worker: None,
        }
    }

    /// Whether `take` would give a prepared file.
    pub(super) fn is_ready(&self) -> bool {
        !self.pool.shelf.lock().ready.is_empty()
    }

    /// Whether all spares are ready.
    #[cfg(test)]
    pub(super) fn is_stocked(&self) -> bool {
        let shelf = self.pool.shelf.lock();
        shelf.ordered == 0 && SPARES <= shelf.ready.len()
    }

    /// Whether one could not be made, and no more are till a segment is begun.
    #[cfg(test)]
    pub(super) fn is_discouraged(&self) -> bool {
        self.pool.shelf.lock().discouraged
    }

    /// A prepared file when there is one, otherwise a new and empty one that grows as it is written.
    pub(super) fn take(&self, after: u64) -> io::Result<Spare> {
        let number = {
            let mut shelf = self.pool.shelf.lock();
            shelf.discouraged = false;
            while let Some(spare) = shelf.ready.pop_front() {
                if after < spare.number {
                    return Ok(spare);
                }
                // A later number is already in use. What is below it would never be looked for.
                let _ = fs::remove_file(segment::path(&self.pool.folder, spare.number));
            }
            shelf.number()
        };
        let path = segment::path(&self.pool.folder, number);
        let file = self.pool.disk.create(&path, FileKind::Segment(number))?;
        disk::sync_folder(&self.pool.folder)?;
        Ok(Spare {
            number,
            file,
            fresh: true,
        })
    }

    /// Has spares made until enough stand ready.
    pub(super) fn replenish(&mut self) {
        let missing = {
            let mut shelf = self.pool.shelf.lock();
            let enough = shelf.ready.len() + shelf.ordered;
            let missing = if shelf.discouraged {
                0
            } else {
                SPARES.saturating_sub(enough)
            };
            shelf.ordered += missing;
            missing
        };
        for _ in 0..missing {
            self.give(Task::Make);
        }
    }

    /// Takes back a segment that is not needed any more.
    pub(super) fn give_back(&mut self, path: PathBuf) {
        let whole = disk::occupied_bytes(&path).is_ok_and(|bytes| SEGMENT_BYTES <= bytes);
        let wanted = {
            let mut shelf = self.pool.shelf.lock();
            let wanted = whole && shelf.ready.len() + shelf.ordered < RECYCLED;
            shelf.ordered += usize::from(wanted);
            wanted
        };
        self.give(if wanted {
            Task::Recycle(path)
        } else {
            Task::Remove(path)
        });
    }

    fn give(&mut self, task: Task) {
        let pool = &self.pool;
        if self.worker.is_none() {
            self.worker = start(Arc::clone(pool));
        }
        // The worker ends only when this sender is gone.
        let _ = self.worker.as_ref().map(|(tasks, _)| tasks.send(task));
    }
}

impl Drop for Spares {
    fn drop(&mut self) {
        if let Some((tasks, worker)) = self.worker.take() {
            drop(tasks);
            self.pool.closing.store(true, Ordering::Relaxed);
            let _ = worker.join();
        }
    }
}

impl Shelf {
    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number - 1
    }
}

/// Without a thread there are no spares; segments then grow as they are written.
fn start(pool: Arc<Pool>) -> Option<(mpsc::Sender<Task>, JoinHandle<()>)> {
    let (sender, tasks) = mpsc::channel::<Task>();
    let worker = thread::Builder::new()
        .name("journal-spares".into())
        .spawn(move || tasks.iter().for_each(|task| pool.run(&task)));
    Some((sender, worker.ok()?))
}

impl Pool {
    fn run(&self, task: &Task) {
        let done = match task {
            Task::Make if self.closing.load(Ordering::Relaxed) => return,
            Task::Make => self.make(),
            Task::Recycle(path) => self.recycle(path),
            Task::Remove(path) => fs::remove_file(path),
        };
        let failed = done.is_err();
        let mut shelf = self.shelf.lock();
        match done {
            // On a full disk every refused batch asks for a spare anew; one line tells of all of them.
            Err(error) if !shelf.complained && !self.closing.load(Ordering::Relaxed) => {
                shelf.complained = true;
                tracing::warn!(%error, "spare journal segments cannot be prepared or removed");
            }
            Ok(()) if !matches!(task, Task::Remove(_)) => shelf.complained = false,
            _ => (),
        }
        match task {
            Task::Make => {
                shelf.ordered -= 1;
                shelf.discouraged |= failed;
            }
            Task::Recycle(_) => shelf.ordered -= 1,
            Task::Remove(_) => (),
        }
    }

    fn make(&self) -> io::Result<()> {
        let number = self.shelf.lock().number();
        // Until it is whole it has a name that nobody takes for a segment.
        let unfinished = self.folder.join(format!("{number:016x}.unfinished"));
        let _ = fs::remove_file(&unfinished);
        let kind = FileKind::Segment(number);
        let file = self.disk.create(&unfinished, kind)?;
        if let Err(error) = self.fill(&file) {
            let _ = fs::remove_file(&unfinished);
            return Err(error);
        }
        self.shelve(&unfinished, file, true)
    }

    fn fill(&self, file: &DiskFile) -> io::Result<()> {
        let zeros = vec![0; PIECE_BYTES];
        let mut at = 0;
        while at < SEGMENT_BYTES {
            if self.closing.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            file.write_all_at(&zeros, at)?;
            file.begin_write_out(at, PIECE_BYTES);
            at += PIECE_BYTES as u64;
            let urgent = self.shelf.lock().ready.is_empty();
            thread::park_timeout(if urgent { BREATH } else { LONG_BREATH });
        }
        file.sync()
    }

    fn recycle(&self, path: &Path) -> io::Result<()> {
        let number = self.shelf.lock().number();
        let file = self.disk.open(path, FileKind::Segment(number))?;
        self.shelve(path, file, false)
    }

    /// Gives a finished file its number and its name. Only now: while it was made the journal may have gone on under a
    /// later number, and what lies below that would never be used.
    fn shelve(&self, path: &Path, file: DiskFile, fresh: bool) -> io::Result<()> {
        let mut shelf = self.shelf.lock();
        let number = shelf.number();
        fs::rename(path, segment::path(&self.folder, number))?;
        disk::sync_folder(&self.folder)?;
        shelf.ready.push_back(Spare {
            number,
            file,
            fresh,
        });
        Ok(())
    }
}
