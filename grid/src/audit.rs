//! The audit log: who did what, when, and what came of it.
//!
//! Promise: rows are only ever added; nothing changes one, and only age and number remove the oldest. Changes, looks at
//! what opens something, and refusals have a range each: rows of one range never push out those of another, and in the
//! last two whoever has most rows gives way, so that nobody hides what somebody else did. A row that was written survives
//! a crash. It is written after what it tells of, in a transaction of its own: the change itself may be one of another
//! partition, or of several.
//! Not here: what is worth a row, and what must not be in one (`api::audit`), who gives way (`audit::side`).

use std::cmp::Reverse;
use std::time::Duration;

use gridpost_model::Timestamp;
use gridpost_store::{Partition, Scan, Snapshot, StoreError, Table, Txn};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Grid;
use crate::registry::{AUDIT, AUDIT_LOOKS, AUDIT_REFUSALS};

mod side;

pub(crate) use side::Sides;

/// How many changes are kept: some 50 MB at the usual half kilobyte each, and 200 MB if every row is as long as it may be.
pub const MOST_ROWS: u64 = 100_000;

/// How many looks at keys, secret URLs and secret headers are kept.
pub const MOST_LOOKS: usize = 20_000;

/// How many refusals are kept.
pub const MOST_REFUSALS: usize = 10_000;

/// How many calls of one principal that were refused leave a row in a minute.
pub const REFUSALS_A_MINUTE: u32 = 60;

/// How long a row is kept, as the service keeps its activity log.
pub const KEPT: Duration = Duration::from_secs(90 * 24 * 3_600);

/// How many rows one query looks at, so that a filter that fits little costs a bounded time.
const LOOKED_AT: usize = 20_000;

/// How many of them are read at once.
const BATCH: usize = 500;

/// How many rows are removed when one is added: more than one, so that their number falls when age removes many.
const REMOVED_AT_ONCE: usize = 4;

/// The ranges of the log.
const RANGES: [&Table<Row>; 3] = [&AUDIT, &AUDIT_LOOKS, &AUDIT_REFUSALS];

/// What a row tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Something was changed.
    Change,
    /// Somebody looked at what opens something.
    Look,
    /// Nothing was done: a role did not allow it, or it was asked for wrongly.
    Refusal,
}

/// A row, as it is stored.
#[derive(Serialize, Deserialize)]
pub(crate) struct Row {
    /// How many rows its range has had before it: numbers count those of all ranges.
    #[serde(default)]
    place: u64,
    #[serde(flatten)]
    entry: Entry,
}

/// One row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// Who: a client id, or the word for a caller that needs none.
    pub principal: String,
    /// Their object id, where they have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_id: Option<String>,
    /// From which address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// What: `Microsoft.EventGrid/topics/write`.
    pub action: String,
    /// To what.
    pub scope: String,
    /// The status that was answered.
    pub status: u16,
    /// The code of the refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What ties calls together, as the client gave it or as we made it; the answer shows it.
    pub correlation_id: String,
    /// What the client calls the one call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_request_id: Option<String>,
    /// What the client says it was doing: `eventgrid topic create`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// What was sent, without secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Value>,
}

/// Which rows are wanted, the newest first. What is `None` does not matter.
#[derive(Clone, Debug, Default)]
pub struct AuditQuery {
    /// Older than the row of this number.
    pub before: Option<u64>,
    /// Not older than this.
    pub since: Option<Timestamp>,
    /// Older than this.
    pub until: Option<Timestamp>,
    /// The client id or object id, in any case.
    pub principal: Option<String>,
    /// The action contains this, in any case.
    pub action: Option<String>,
    /// At this scope or below it.
    pub scope: Option<String>,
    /// Whether it was refused.
    pub refused: Option<bool>,
    /// The correlation id, or what the client calls the one call.
    pub correlation_id: Option<String>,
    /// How many at most.
    pub limit: usize,
}

/// Some rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AuditPage {
    /// Each with its number.
    pub rows: Vec<(u64, Entry)>,
    /// Where to go on; `None` when there is nothing older.
    pub next: Option<u64>,
}

impl AuditQuery {
    fn wants(&self, entry: &Entry) -> bool {
        let same =
            |wanted: &Option<String>, is: &dyn Fn(&str) -> bool| wanted.as_deref().is_none_or(is);
        let is_by = |who: &str| {
            let object_id = entry.object_id.as_deref().unwrap_or_default();
            entry.principal.eq_ignore_ascii_case(who) || object_id.eq_ignore_ascii_case(who)
        };
        let is_done = |action: &str| {
            let action = action.to_ascii_lowercase();
            entry.action.to_ascii_lowercase().contains(&action)
        };
        self.until.is_none_or(|until| entry.at < until)
            && same(&self.principal, &is_by)
            && same(&self.action, &is_done)
            && same(&self.scope, &|scope| {
                gridpost_model::role::covers(scope, &entry.scope)
            })
            && self
                .refused
                .is_none_or(|refused| refused == (entry.status >= 400))
            && same(&self.correlation_id, &|id| {
                entry.correlation_id == id || entry.client_request_id.as_deref() == Some(id)
            })
    }
}

impl Grid {
    /// Writes a row, unless it is one refusal of too many.
    ///
    /// # Errors
    /// It was not stored.
    pub async fn write_audit(&self, kind: Kind, entry: Entry) -> Result<(), StoreError> {
        match kind {
            Kind::Change => {
                let commit = self.0.commit(Partition::DIRECTORY, move |txn| {
                    append(txn, &AUDIT, entry).map(drop)
                });
                commit.await
            }
            Kind::Look => self.0.sides.looks.write(&self.0.store, entry).await,
            Kind::Refusal if self.0.sides.is_too_often(&entry) => Ok(()),
            Kind::Refusal => self.0.sides.refusals.write(&self.0.store, entry).await,
        }
    }

    /// Rows that fit and that their reader may see, the newest first. Reads tables: not for a thread that serves others.
    ///
    /// # Errors
    /// The table cannot be read.
    pub fn audit(
        &self,
        query: &AuditQuery,
        may_see: impl Fn(&Entry) -> bool,
    ) -> Result<AuditPage, StoreError> {
        let snapshot = self.0.store.snapshot();
        let mut page = AuditPage::default();
        let mut before = query.before;
        let mut left = LOOKED_AT;
        while left > 0 {
            let rows = newest(&snapshot, before, BATCH.min(left))?;
            if rows.is_empty() {
                page.next = None;
                return Ok(page);
            }
            left -= rows.len();
            for (number, entry) in rows {
                // Rows are in the order of their writing, which is that of time but for clocks that were set back.
                if query.since.is_some_and(|since| entry.at < since) {
                    page.next = None;
                    return Ok(page);
                }
                if query.wants(&entry) && may_see(&entry) {
                    page.rows.push((number, entry));
                }
                before = Some(number);
                page.next = before;
                if page.rows.len() >= query.limit {
                    return Ok(page);
                }
            }
        }
        Ok(page)
    }
}

/// The newest rows of all ranges.
fn newest(
    snapshot: &Snapshot,
    before: Option<u64>,
    limit: usize,
) -> Result<Vec<(u64, Entry)>, StoreError> {
    let mut rows = Vec::new();
    for range in RANGES {
        let scan = match before {
            Some(before) => Scan::all().to(before),
            None => Scan::all(),
        };
        let scan = scan.reverse().limit(limit);
        let found = snapshot.scan(range, Partition::DIRECTORY, scan)?;
        rows.extend(
            found
                .into_iter()
                .map(|(key, row)| (number_of(&key), row.entry)),
        );
    }
    rows.sort_by_key(|(number, _)| Reverse(*number));
    rows.truncate(limit);
    Ok(rows)
}

/// What adding a row did.
struct Appended {
    /// The row's number.
    number: u64,
    /// The rows that went for their age or number.
    removed: Vec<u64>,
}

/// Adds a row to a range, and removes some that are too old, or beyond the number of changes.
fn append(txn: &mut Txn<'_>, range: &Table<Row>, entry: Entry) -> Result<Appended, StoreError> {
    let (mut last, mut place) = (0, 0);
    for each in RANGES {
        for (key, row) in txn.scan(each, Scan::all().reverse().limit(1))? {
            last = last.max(number_of(&key));
            if each.id() == range.id() {
                place = row.place + 1;
            }
        }
    }
    let (number, at) = (last + 1, entry.at);
    txn.put(range, number, &Row { place, entry })?;
    let mut removed = Vec::new();
    for (key, old) in txn.scan(range, Scan::all().limit(REMOVED_AT_ONCE))? {
        let is_one_too_many = range.id() == AUDIT.id() && place - old.place >= MOST_ROWS;
        if is_one_too_many || old.entry.at + KEPT <= at {
            txn.remove(range, number_of(&key))?;
            removed.push(number_of(&key));
        }
    }
    Ok(Appended { number, removed })
}

fn number_of(key: &[u8]) -> u64 {
    key.try_into().map_or(0, u64::from_be_bytes)
}
