//! Dead letters as blobs, in the container that the event subscription names.
//!
//! A dead letter is kept here first; together with it stands a row that says which container it shall go to. A task
//! writes what is due and removes the rows.
//!
//! Promise: written at the earliest five minutes after the first letter of a blob was given up, with everything its
//! subscription has given up by then; tried again for four hours; never in the way of a delivery. Letters that come
//! into no blob are counted as dropped, and keep the reason where they are listed. After a crash a blob may be written
//! again, under the same name. A letter that was brought back before its blob was due is in none.
//! Source: reference event-grid 5.7.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use gridpost_model::subscription::{EventSubscription, LaneId};
use gridpost_model::{Chance, ResourceId, Timestamp};
use gridpost_store::{
    PARTITIONS, Partition, Raw, Scan, Snapshot, Store, StoreError, Table, Txn, WriteError,
};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::sync::Notify;
use tracing::{debug, warn};

use crate::dead_letter::{DEAD_LETTERS, DeadLetter, DeadLetterId, letter};
use crate::lane::Shared;
use crate::outbound::{Client, Outcome, Request};

/// Dead letters whose blob is not written yet, by lane and number: the keys of `dead_letters`.
pub(crate) const UNWRITTEN: Table<UnwrittenRow> = Table::new(45, "dead_letter_blobs");

/// How long a blob waits for more letters.
const DELAY: Duration = Duration::from_secs(5 * 60);

/// How long a blob that is due is tried to be written.
const PATIENCE: Duration = Duration::from_secs(4 * 3600);

/// How long after each failure it is tried again; the last one repeats.
const PAUSES: [Duration; 4] = [
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(60),
    Duration::from_secs(5 * 60),
];

/// Letters in one blob, and bytes of their events. A blob is held in memory while it is written.
const LETTERS: usize = 1_000;
const BYTES: usize = 4 << 20;

/// `DropReason` of letters whose blob could not be written within [`PATIENCE`], and of those whose blob will never be.
const UNAVAILABLE: &str = "DeadLetterDestinationUnavailable";
const REFUSED: &str = "DeadLetterDestinationRefused";

/// Blobs written at the same time, so that an account that hangs does not hold up the others at once.
const AT_ONCE: usize = 8;

/// Where a dead letter shall be written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UnwrittenRow {
    account: ResourceId,
    container: Box<str>,
    /// When the letter was given up.
    at: Timestamp,
}

/// Where the dead letters of a subscription go, if that is somewhere we know.
pub(crate) fn target(
    client: &Client,
    subscription: &EventSubscription,
    now: Timestamp,
) -> Option<UnwrittenRow> {
    let target = subscription.dead_letter.as_ref()?;
    let account: ResourceId = target.resource_id.parse().ok()?;
    client.connections().storage(&account).ok()?;
    Some(UnwrittenRow {
        account,
        container: target.container.as_str().into(),
        at: now,
    })
}

/// The lanes that have letters to be written, and when.
#[derive(Default)]
pub(crate) struct Unwritten {
    lanes: Mutex<HashMap<(Partition, LaneId), Due>>,
    /// Lanes that were taken and whose end has not been noted.
    taken: AtomicU64,
    called: Notify,
    closed: AtomicBool,
}

#[derive(Clone, Copy)]
struct Due {
    at: Timestamp,
    failures: usize,
}

impl Unwritten {
    /// A letter of a lane was given up then.
    pub(crate) fn note(&self, partition: Partition, lane: LaneId, given_up: Timestamp) {
        let due = Due {
            at: given_up + DELAY,
            failures: 0,
        };
        // Whoever is there already is due earlier, or was tried and waits for the next time.
        let is_new = {
            let mut lanes = self.lanes.lock();
            let before = lanes.len();
            lanes.entry((partition, lane)).or_insert(due);
            before < lanes.len()
        };
        if is_new {
            self.called.notify_one();
        }
    }

    /// Ends the task. What it has not written stays noted in the store.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.called.notify_one();
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Takes the lanes that are due.
    fn take(&self, now: Timestamp) -> Vec<(Partition, LaneId, usize)> {
        let mut lanes = self.lanes.lock();
        let mut due = Vec::new();
        lanes.retain(|(partition, lane), one| {
            let is_due = one.at <= now;
            if is_due {
                due.push((*partition, *lane, one.failures));
            }
            !is_due
        });
        // Before the lock is released: whoever asks what is under way finds it here or there.
        self.taken.fetch_add(due.len() as u64, Ordering::Relaxed);
        due.sort_unstable_by_key(|(partition, lane, _)| (partition.0, *lane));
        due
    }

    /// Lanes whose letters are being written, or are due now.
    pub(crate) fn under_way(&self, now: Timestamp) -> u64 {
        let lanes = self.lanes.lock();
        let due = lanes.values().filter(|due| due.at <= now).count() as u64;
        due + self.taken.load(Ordering::Relaxed)
    }

    fn next(&self) -> Option<Timestamp> {
        self.lanes.lock().values().map(|due| due.at).min()
    }

    /// Comes back to a lane then, unless it was noted for an earlier moment meanwhile.
    fn again(&self, partition: Partition, lane: LaneId, due: Due) {
        let mut lanes = self.lanes.lock();
        let known = lanes.entry((partition, lane)).or_insert(due);
        if due.at < known.at || known.failures < due.failures {
            *known = due;
        }
    }
}

/// Writes blobs as they fall due, until it is told to end.
pub(crate) async fn run(shared: Arc<Shared>) {
    match earlier(&shared.store.snapshot()) {
        Ok(lanes) => lanes
            .into_iter()
            .for_each(|(partition, lane, at)| shared.unwritten.note(partition, lane, at)),
        Err(error) => warn!(%error, "dead letters of earlier runs will not be written as blobs"),
    }
    while !shared.unwritten.is_closed() {
        let called = shared.unwritten.called.notified();
        let due = shared.unwritten.take(shared.clock.now());
        if due.is_empty() {
            // With nothing to write there is no moment to wait for, and no alarm that a clock could be turned to.
            let Some(next) = shared.unwritten.next() else {
                called.await;
                continue;
            };
            tokio::select! {
                () = called => (),
                () = shared.clock.sleep_until(next) => (),
            }
            continue;
        }
        let shared = &*shared;
        let writing = futures_util::stream::iter(due).for_each_concurrent(
            AT_ONCE,
            |(partition, lane, failures)| async move {
                write_lane(shared, partition, lane, failures).await;
                shared.unwritten.taken.fetch_sub(1, Ordering::Relaxed);
            },
        );
        tokio::select! {
            () = writing => (),
            () = closing(&shared.unwritten) => (),
        }
    }
}

/// Ends when the task shall end.
async fn closing(unwritten: &Unwritten) {
    while !unwritten.is_closed() {
        unwritten.called.notified().await;
    }
}

/// Every lane with rows, and when its oldest letter was given up.
fn earlier(snapshot: &Snapshot) -> Result<Vec<(Partition, LaneId, Timestamp)>, StoreError> {
    let mut found = Vec::new();
    for partition in (0..PARTITIONS).map(Partition) {
        let mut scan = Scan::all();
        while let Some((key, row)) = snapshot
            .scan(&UNWRITTEN, partition, scan.limit(1))?
            .into_iter()
            .next()
        {
            let Some(lane) = DeadLetterId::of_row(partition, &key).map(DeadLetterId::lane) else {
                break;
            };
            found.push((partition, lane, row.at));
            scan = Scan::from(LaneId(lane.0.saturating_add(1)));
        }
    }
    Ok(found)
}

/// Writes a lane's letters, blob by blob, and says when to come back.
async fn write_lane(shared: &Shared, partition: Partition, lane: LaneId, failures: usize) {
    let again = |at, failures| {
        let due = Due { at, failures };
        shared.unwritten.again(partition, lane, due);
    };
    let later = |now: Timestamp| {
        let pause = PAUSES[failures.min(PAUSES.len() - 1)];
        again(now + pause, failures + 1);
    };
    loop {
        let now = shared.clock.now();
        let blob = match Blob::collect(&shared.store.snapshot(), partition, lane) {
            Ok(Some(blob)) => blob,
            Ok(None) => return,
            Err(error) => {
                warn!(lane = lane.0, %error, "dead letters could not be read; trying again");
                return later(now);
            }
        };
        let due = blob.opened + DELAY;
        if now < due {
            return again(due, 0);
        }
        let lost = match write(shared, &blob).await {
            Written::Yes => None,
            Written::Later(why) if now < due + PATIENCE => {
                debug!(lane = lane.0, %why, "dead letters could not be written; trying again");
                return later(now);
            }
            Written::Later(why) => Some((UNAVAILABLE, why)),
            Written::Never(why) => Some((REFUSED, why)),
        };
        let (path, letters) = (blob.path, blob.letters);
        let why = lost.as_ref().map(|(_, why)| why.as_str().into());
        if let Err(error) = settle(&shared.store, partition, blob.keys, why).await {
            if !matches!(error, StoreError::Closed) {
                warn!(lane = lane.0, %error, "written dead letters could not be noted");
            }
            return later(now);
        }
        match lost {
            None => debug!(lane = lane.0, blob = %path, "wrote dead letters"),
            Some((reason, why)) => {
                warn!(lane = lane.0, %why, "{letters} dead letters were not written to {path}; they stay here");
                if let Some((source, name)) = &blob.subscription {
                    shared.topics.dropped_for(source, name, reason, letters);
                }
            }
        }
    }
}

/// What is written in one go.
struct Blob {
    /// Whose letters it holds: source and name. `None`: it holds none.
    subscription: Option<(ResourceId, String)>,
    account: ResourceId,
    path: String,
    content: Vec<u8>,
    /// How many it holds.
    letters: u64,
    /// When its first letter was given up.
    opened: Timestamp,
    /// The rows that it settles.
    keys: Vec<Box<[u8]>>,
}

impl Blob {
    /// The oldest letters of a lane that have one target. Letters that are gone leave only their rows.
    fn collect(
        snapshot: &Snapshot,
        partition: Partition,
        lane: LaneId,
    ) -> Result<Option<Self>, StoreError> {
        let rows = snapshot.scan(&UNWRITTEN, partition, Scan::prefix(lane).limit(LETTERS))?;
        let Some((_, first)) = rows.first() else {
            return Ok(None);
        };
        let mut blob = Self {
            subscription: None,
            account: first.account.clone(),
            path: String::new(),
            content: Vec::new(),
            letters: 0,
            opened: first.at,
            keys: Vec::new(),
        };
        for (key, row) in &rows {
            if row.account != blob.account || row.container != first.container {
                break;
            }
            let dead = snapshot.get(&DEAD_LETTERS, partition, Raw(key))?;
            if let Some(dead) = dead.and_then(|dead| letter(partition, key, dead)) {
                let is_first = blob.content.is_empty();
                if !is_first && BYTES < blob.content.len() + dead.event.json.len() {
                    break;
                }
                if is_first {
                    blob.path = path(&first.container, &dead, blob.opened + DELAY);
                    blob.subscription = Some((dead.source.clone(), dead.subscription.clone()));
                }
                blob.add(&dead);
            }
            blob.keys.push(key.clone());
        }
        if !blob.content.is_empty() {
            blob.content.push(b']');
        }
        Ok(Some(blob))
    }

    fn add(&mut self, dead: &DeadLetter) {
        match dead.record() {
            Ok(record) => {
                let separator = if self.content.is_empty() { b'[' } else { b',' };
                self.content.push(separator);
                self.content.extend_from_slice(record.get().as_bytes());
                self.letters += 1;
            }
            Err(error) => warn!(letter = %dead.id, %error, "a dead letter is damaged"),
        }
    }
}

/// `container/SUBSCRIPTION/2019/8/8/5/guid.json`: no zeros in front. The same letters have the same name.
fn path(container: &str, first: &DeadLetter, due: Timestamp) -> String {
    format!(
        "{container}/{}/{}/{}.json",
        first.subscription.to_uppercase(),
        due.format("%Y/%-m/%-d/%-H"),
        guid(first)
    )
}

/// A GUID that belongs to this letter: after a crash the blob that begins with it has the same name.
fn guid(letter: &DeadLetter) -> String {
    struct Derived([u8; 32]);
    impl Chance for Derived {
        fn fill(&self, bytes: &mut [u8]) {
            for (byte, derived) in bytes.iter_mut().zip(self.0) {
                *byte = derived;
            }
        }
    }
    let text = format!("{} {} {}", letter.source, letter.id, letter.event.id);
    let derived: &dyn Chance = &Derived(Sha256::digest(text).into());
    derived.uuid()
}

enum Written {
    Yes,
    /// It may go another time.
    Later(String),
    /// It will not go however often it is tried.
    Never(String),
}

async fn write(shared: &Shared, blob: &Blob) -> Written {
    if blob.content.is_empty() {
        return Written::Yes;
    }
    let account = match shared.client.connections().storage(&blob.account) {
        Ok(account) => account,
        Err(error) => return Written::Later(error.to_string()),
    };
    let url = format!("{}/{}", account.blobs(), blob.path);
    let (endpoint, url) = match (shared.client.endpoint(&url), url.parse()) {
        (Ok(endpoint), Ok(url)) => (endpoint, url),
        (Err(error), _) => return Written::Later(error.to_string()),
        (_, Err(_)) => return Written::Never("the blob has no URL".into()),
    };
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert("x-ms-blob-type", HeaderValue::from_static("BlockBlob"));
    let (length, wall) = (blob.content.len(), shared.clock.wall());
    account.sign(&Method::PUT, &url, &mut headers, length, wall);
    let request = Request {
        method: Method::PUT,
        endpoint,
        headers,
        body: Bytes::copy_from_slice(&blob.content),
    };
    judge(&shared.client.send(request).await)
}

/// Reference 5.7: a missing container loses the blob, an account that cannot be used is waited for.
fn judge(outcome: &Outcome) -> Written {
    let answer = match outcome {
        Outcome::Failed(failure) => return Written::Later(failure.to_string()),
        Outcome::Answered(answer) => answer,
    };
    let code = answer.headers.get("x-ms-error-code");
    let code = code.and_then(|code| code.to_str().ok()).unwrap_or_default();
    let why = format!("the storage account answered {} {code}", answer.status);
    match answer.status {
        status if status.is_success() => Written::Yes,
        StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::PAYLOAD_TOO_LARGE => {
            Written::Never(why)
        }
        _ => Written::Later(why),
    }
}

/// Notes that these letters are done with. `lost`: why they come into no blob, which their own rows keep.
async fn settle(
    store: &Store,
    partition: Partition,
    keys: Vec<Box<[u8]>>,
    lost: Option<Box<str>>,
) -> Result<(), StoreError> {
    let change = move |txn: &mut Txn<'_>| {
        for key in &keys {
            txn.remove(&UNWRITTEN, Raw(key))?;
            let Some(why) = &lost else { continue };
            if let Some(mut row) = txn.get(&DEAD_LETTERS, Raw(key))? {
                row.blob_error = Some(why.clone());
                txn.put(&DEAD_LETTERS, Raw(key), &row)?;
            }
        }
        Ok::<_, StoreError>(())
    };
    let settled = store.write_soon(partition, change).await;
    settled.map_err(WriteError::into_inner)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbound::{Failure, Response};

    fn note(unwritten: &Unwritten, lane: u64, seconds: i64) {
        unwritten.note(Partition(0), LaneId(lane), Timestamp::from_seconds(seconds));
    }

    fn taken(unwritten: &Unwritten, seconds: i64) -> Vec<u64> {
        let due = unwritten.take(Timestamp::from_seconds(seconds));
        due.iter().map(|(_, lane, _)| lane.0).collect()
    }

    #[test]
    fn section_5_7_a_blob_is_due_five_minutes_after_its_first_letter() {
        let unwritten = Unwritten::default();
        note(&unwritten, 1, 0);
        note(&unwritten, 1, 200);
        note(&unwritten, 2, 100);
        assert_eq!(unwritten.next(), Some(Timestamp::from_seconds(300)));
        assert_eq!(unwritten.under_way(Timestamp::from_seconds(299)), 0);
        assert_eq!(unwritten.under_way(Timestamp::from_seconds(300)), 1);
        assert_eq!(taken(&unwritten, 299), [] as [u64; 0]);
        assert_eq!(taken(&unwritten, 300), [1]);
        assert_eq!(unwritten.under_way(Timestamp::from_seconds(300)), 1);
        assert_eq!(taken(&unwritten, 400), [2]);
        assert_eq!(unwritten.next(), None);
    }

    #[test]
    fn a_new_letter_does_not_hasten_a_lane_that_failed() {
        let unwritten = Unwritten::default();
        let due = Due {
            at: Timestamp::from_seconds(1_000),
            failures: 3,
        };
        note(&unwritten, 1, 900);
        unwritten.again(Partition(0), LaneId(1), due);
        note(&unwritten, 1, 950);
        assert_eq!(unwritten.next(), Some(Timestamp::from_seconds(1_000)));
    }

    #[test]
    fn section_5_7_a_missing_container_loses_the_blob_and_an_outage_does_not() {
        let answered = |status| {
            Outcome::Answered(Response {
                status: StatusCode::from_u16(status).unwrap(),
                headers: HeaderMap::new(),
                body: Bytes::new(),
            })
        };
        assert!(matches!(judge(&answered(201)), Written::Yes));
        for status in [400, 404, 413] {
            assert!(
                matches!(judge(&answered(status)), Written::Never(_)),
                "{status}"
            );
        }
        for status in [401, 403, 409, 429, 500, 503] {
            assert!(
                matches!(judge(&answered(status)), Written::Later(_)),
                "{status}"
            );
        }
        let down = Outcome::Failed(Failure::TimedOut);
        assert!(matches!(judge(&down), Written::Later(_)));
    }
}
