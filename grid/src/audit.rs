//! The audit log: who did what, when, and what came of it.
//!
//! Promise: rows are only ever added; nothing changes one, and only age and number remove the oldest. A row that was
//! written survives a crash. It is written after what it tells of, in a transaction of its own: the change itself may be
//! one of another partition, or of several.
//! Not here: what is worth a row, and what must not be in one (`api::audit`).

use std::time::Duration;

use gridpost_model::Timestamp;
use gridpost_store::{Partition, Scan, StoreError, Txn};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Grid;
use crate::registry::AUDIT;

/// How many rows are kept: some 50 MB at the usual half kilobyte each.
pub const MOST_ROWS: u64 = 100_000;

/// How long a row is kept, as the service keeps its activity log.
pub const KEPT: Duration = Duration::from_secs(90 * 24 * 3_600);

/// How many rows one query looks at, so that a filter that fits little costs a bounded time.
const LOOKED_AT: usize = 20_000;

/// How many of them are read at once.
const BATCH: usize = 500;

/// How many rows are removed when one is added: more than one, so that their number falls when age removes many.
const REMOVED_AT_ONCE: usize = 4;

/// How many calls that a role refused leave a row in a minute: whoever is refused without end must not push out what
/// others did.
const REFUSALS_A_MINUTE: u32 = 60;

/// The status of a call that a role refused.
const REFUSED: u16 = 403;

/// How many calls were refused in which minute.
#[derive(Default)]
pub(crate) struct Refusals(Mutex<(i64, u32)>);

impl Refusals {
    /// Counts one. False when that is one too many to be written down.
    fn counts(&self, at: Timestamp) -> bool {
        let minute = at.seconds().div_euclid(60);
        let mut counted = self.0.lock();
        if counted.0 != minute {
            *counted = (minute, 0);
        }
        counted.1 = counted.1.saturating_add(1);
        if counted.1 == REFUSALS_A_MINUTE + 1 {
            tracing::warn!(
                "more than {REFUSALS_A_MINUTE} calls were refused for want of a role within a minute; the audit log has the first"
            );
        }
        counted.1 <= REFUSALS_A_MINUTE
    }
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
    /// What ties calls together, as the client gave it or as we made it.
    pub correlation_id: String,
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
    /// The correlation id.
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
            && same(&self.correlation_id, &|id| entry.correlation_id == id)
    }
}

impl Grid {
    /// Writes a row, unless it is one refusal of too many.
    ///
    /// # Errors
    /// It was not stored.
    pub async fn write_audit(&self, entry: Entry) -> Result<(), StoreError> {
        if entry.status == REFUSED && !self.0.refusals.counts(entry.at) {
            return Ok(());
        }
        self.0
            .commit(Partition::DIRECTORY, move |txn| append(txn, &entry))
            .await
    }

    /// Rows that fit, the newest first. Reads tables: not for a thread that serves others.
    ///
    /// # Errors
    /// The table cannot be read.
    pub fn audit(&self, query: &AuditQuery) -> Result<AuditPage, StoreError> {
        let snapshot = self.0.store.snapshot();
        let mut page = AuditPage::default();
        let mut before = query.before;
        let mut left = LOOKED_AT;
        while left > 0 {
            let scan = match before {
                Some(before) => Scan::all().to(before),
                None => Scan::all(),
            };
            let scan = scan.reverse().limit(BATCH.min(left));
            let rows = snapshot.scan(&AUDIT, Partition::DIRECTORY, scan)?;
            if rows.is_empty() {
                page.next = None;
                return Ok(page);
            }
            left -= rows.len();
            for (key, entry) in rows {
                let number = number_of(&key);
                // Rows are in the order of their writing, which is that of time but for clocks that were set back.
                if query.since.is_some_and(|since| entry.at < since) {
                    page.next = None;
                    return Ok(page);
                }
                if query.wants(&entry) {
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

fn append(txn: &mut Txn<'_>, entry: &Entry) -> Result<(), StoreError> {
    let last = txn.scan(&AUDIT, Scan::all().reverse().limit(1))?;
    let number = last.first().map_or(0, |(key, _)| number_of(key)) + 1;
    txn.put(&AUDIT, number, entry)?;
    let oldest = txn.scan(&AUDIT, Scan::all().limit(REMOVED_AT_ONCE))?;
    for (key, old) in oldest {
        let old_number = number_of(&key);
        if number - old_number >= MOST_ROWS || old.at + KEPT <= entry.at {
            txn.remove(&AUDIT, old_number)?;
        }
    }
    Ok(())
}

fn number_of(key: &[u8]) -> u64 {
    key.try_into().map_or(0, u64::from_be_bytes)
}
