//! The last resting place: deliveries we gave up, kept to be looked at and brought back.
//!
//! Promise: a dead letter has everything the service writes about one, in its spelling. Bringing one back removes it
//! and makes it due at once, in one transaction.
//! Not here: when a delivery is given up (`retry`, `settle`), writing blobs into a storage account.
//! Source: reference event-grid 5.7.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use gridpost_model::subscription::{DeliverySchema, LaneId};
use gridpost_model::{Event, ResourceId, Timestamp};
use gridpost_store::{PARTITIONS, Partition, Scan, Snapshot, StoreError, Table, Txn, WriteError};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::Grid;
use crate::kept::KeptEvent;
use crate::lane::Lane;
use crate::replay::ReplayId;
use crate::retry::{Outcome, Reason};
use crate::waiting::{History, LastAttempt, Tried, WAITING, WaitingKey, WaitingRow};

/// Dead letters, by lane and number.
pub(crate) const DEAD_LETTERS: Table<DeadLetterRow> = Table::new(41, "dead_letters");

/// Dead letters on a page unless asked otherwise.
const PAGE: usize = 100;

/// Rows read at once while looking for those that are asked for.
pub(crate) const READ: usize = 500;

/// Bytes of events read at once, and on a page at most.
const READ_BYTES: usize = 4 << 20;
const PAGE_BYTES: usize = 16 << 20;

/// Dead letters brought back in one transaction. With events of 1 MB it stays within what the journal takes at once.
const BROUGHT_BACK: usize = 64;
const BROUGHT_BACK_BYTES: usize = 2 << 20;

/// What is kept of a delivery.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeadLetterRow {
    pub(crate) event: KeptEvent,
    pub(crate) subscription: Box<str>,
    pub(crate) source: ResourceId,
    pub(crate) schema: DeliverySchema,
    pub(crate) reason: Reason,
    pub(crate) attempts: u32,
    #[serde(default)]
    pub(crate) last: Option<LastAttempt>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) tried: Vec<Tried>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) replay: Option<ReplayId>,
    pub(crate) at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) blob_error: Option<Box<str>>,
}

/// The name of a dead letter. Sorts as dead letters are listed; within a subscription the oldest comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeadLetterId {
    partition: Partition,
    lane: LaneId,
    number: u64,
}

/// The text does not name a dead letter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a dead letter")]
pub struct BadDeadLetterId;

impl fmt::Display for DeadLetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.partition.0, self.lane.0, self.number)
    }
}

impl DeadLetterId {
    /// Where its row stands.
    pub(crate) fn row(self) -> (Partition, Vec<u8>) {
        let (lane, number) = (self.lane.0.to_be_bytes(), self.number.to_be_bytes());
        (self.partition, [lane, number].concat())
    }

    /// The name of the letter whose row has this key: the lane and the number, eight bytes each.
    pub(crate) fn of_row(partition: Partition, key: &[u8]) -> Option<Self> {
        let (lane, number) = key.split_first_chunk()?;
        Some(Self {
            partition,
            lane: LaneId(u64::from_be_bytes(*lane)),
            number: u64::from_be_bytes(number.try_into().ok()?),
        })
    }

    /// Where it stands, and behind it the younger ones of its subscription.
    pub(crate) fn lane(self) -> LaneId {
        self.lane
    }
}

impl FromStr for DeadLetterId {
    type Err = BadDeadLetterId;

    fn from_str(text: &str) -> Result<Self, BadDeadLetterId> {
        let mut parts = text.splitn(3, '-').map(str::parse::<u64>);
        let mut part = || parts.next().and_then(Result::ok).ok_or(BadDeadLetterId);
        let partition = u16::try_from(part()?).map_err(|_| BadDeadLetterId)?;
        Ok(Self {
            partition: Partition(partition),
            lane: LaneId(part()?),
            number: part()?,
        })
    }
}

/// A delivery we gave up.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Its name.
    pub id: DeadLetterId,
    /// The event.
    pub event: Arc<Event>,
    /// The source of the event subscription.
    pub source: ResourceId,
    /// The event subscription's name.
    pub subscription: String,
    /// Its queue.
    pub lane: LaneId,
    /// The schema it asked for.
    pub schema: DeliverySchema,
    /// `deadLetterReason`.
    pub reason: Reason,
    /// `deliveryAttempts`.
    pub attempts: u32,
    /// `lastDeliveryOutcome`; `Probation` when nothing was ever sent.
    pub last_outcome: Outcome,
    /// The status of the last attempt, when there was an answer.
    pub last_status: Option<u16>,
    /// `lastDeliveryAttemptTime`.
    pub last_attempt: Option<Timestamp>,
    /// When we gave up.
    pub at: Timestamp,
    /// Why it was not written into the container that its subscription names.
    pub blob_error: Option<Box<str>>,
}

/// Which dead letters are meant. Everything that is set has to hold.
#[derive(Clone, Debug, Default)]
pub struct DeadLetterQuery {
    /// Exactly these.
    pub ids: Option<Vec<DeadLetterId>>,
    /// Of event subscriptions of this source.
    pub source: Option<ResourceId>,
    /// Of event subscriptions with this name, case aside.
    pub subscription: Option<String>,
    /// With this event `id`.
    pub event_id: Option<String>,
    /// Of this event type, case aside.
    pub event_type: Option<String>,
    /// With this `deadLetterReason`, case aside.
    pub reason: Option<String>,
    /// Listed after this one: the last of the page before.
    pub after: Option<DeadLetterId>,
    /// At most this many.
    pub limit: Option<usize>,
}

impl DeadLetterQuery {
    /// Whether nothing but a limit keeps any dead letter from being meant.
    pub fn is_of_all(&self) -> bool {
        let named = [
            &self.subscription,
            &self.event_id,
            &self.event_type,
            &self.reason,
        ];
        self.ids.is_none() && self.source.is_none() && named.iter().all(|one| one.is_none())
    }

    fn wants(&self, letter: &DeadLetter) -> bool {
        let same = |wanted: &Option<String>, found: &str| {
            wanted
                .as_ref()
                .is_none_or(|wanted| wanted.eq_ignore_ascii_case(found))
        };
        self.ids.as_ref().is_none_or(|ids| ids.contains(&letter.id))
            && self
                .source
                .as_ref()
                .is_none_or(|source| *source == letter.source)
            && same(&self.subscription, &letter.subscription)
            && self
                .event_id
                .as_ref()
                .is_none_or(|id| **id == *letter.event.id)
            && same(&self.event_type, &letter.event.event_type)
            && same(&self.reason, letter.reason.as_str())
    }
}

impl Grid {
    /// Dead letters in the order of their names, one page of them.
    ///
    /// # Errors
    /// The table cannot be read.
    pub fn dead_letters(&self, query: &DeadLetterQuery) -> Result<Vec<DeadLetter>, StoreError> {
        Ok(self.dead_letter_page(query)?.0)
    }

    /// The same, with what to ask for as `after` to see the next page, when there may be one. A page has 16 MiB of
    /// events and one more at most.
    ///
    /// # Errors
    /// The table cannot be read.
    pub fn dead_letter_page(
        &self,
        query: &DeadLetterQuery,
    ) -> Result<(Vec<DeadLetter>, Option<DeadLetterId>), StoreError> {
        let limit = query.limit.unwrap_or(PAGE);
        let (letters, is_full) = find(&self.0.store.snapshot(), query, limit)?;
        let next = letters.last().filter(|_| is_full).map(|last| last.id);
        Ok((letters, next))
    }

    /// Brings dead letters back: each is due at once, with no attempts made and its whole time to live before it.
    /// Those whose event subscription is gone stay, and do not count for the limit. Returns how many were brought back.
    /// Without a limit all are.
    ///
    /// # Errors
    /// A table cannot be read or written; those brought back before stay so.
    pub async fn redrive(&self, query: &DeadLetterQuery) -> Result<u64, StoreError> {
        let mut query = query.clone();
        let mut left = query.limit.unwrap_or(usize::MAX);
        let mut brought_back = 0;
        while left > 0 {
            let (page, _) = find(&self.0.store.snapshot(), &query, left.min(READ))?;
            let Some(last) = page.last() else { break };
            query.after = Some(last.id);
            for (lane, letters) in by_lane(&page) {
                let Some(lane) = self.0.delivery.lane(lane) else {
                    continue;
                };
                for few in few_at_once(&letters) {
                    let moved = bring_back(&lane, few).await?;
                    left -= moved;
                    brought_back += moved as u64;
                }
            }
        }
        Ok(brought_back)
    }
}

/// Goes through the table from where the query starts, partition by partition, until enough is found. Says, too, whether
/// it ended before the table did.
pub(crate) fn find(
    snapshot: &Snapshot,
    query: &DeadLetterQuery,
    limit: usize,
) -> Result<(Vec<DeadLetter>, bool), StoreError> {
    let (mut found, mut bytes) = (Vec::new(), 0);
    let first = query.after.map_or(0, |after| after.partition.0);
    for partition in (first..PARTITIONS).map(Partition) {
        if query
            .source
            .as_ref()
            .is_some_and(|source| Partition::of(source) != partition)
        {
            continue;
        }
        let mut scan = match query.after {
            Some(after) if after.partition == partition => {
                Scan::from((after.lane, after.number.saturating_add(1)))
            }
            _ => Scan::all(),
        }
        .limit(READ)
        .bytes(READ_BYTES);
        while let Some(rows) = snapshot.next_page(&DEAD_LETTERS, partition, &mut scan)? {
            let letters = rows
                .into_iter()
                .filter_map(|(key, row)| letter(partition, &key, row));
            for letter in letters.filter(|letter| query.wants(letter)) {
                if found.len() == limit || PAGE_BYTES <= bytes {
                    return Ok((found, true));
                }
                bytes += letter.event.json.len();
                found.push(letter);
            }
        }
    }
    Ok((found, false))
}

/// A row as it is shown.
pub(crate) fn letter(partition: Partition, key: &[u8], row: DeadLetterRow) -> Option<DeadLetter> {
    let id = DeadLetterId::of_row(partition, key)?;
    Some(DeadLetter {
        id,
        event: Arc::new(row.event.into_event()),
        source: row.source,
        subscription: row.subscription.into(),
        lane: id.lane,
        schema: row.schema,
        reason: row.reason,
        attempts: row.attempts,
        last_outcome: row.last.map_or(Outcome::Probation, |last| last.outcome),
        last_status: row.last.and_then(|last| last.status),
        last_attempt: row.last.map(|last| last.at),
        at: row.at,
        blob_error: row.blob_error,
    })
}

/// The highest number among a lane's dead letters.
pub(crate) fn highest_number(
    snapshot: &Snapshot,
    partition: Partition,
    lane: LaneId,
) -> Result<Option<u64>, StoreError> {
    let last = Scan::prefix(lane).reverse().limit(1);
    let found = snapshot.scan(&DEAD_LETTERS, partition, last)?;
    let id = found
        .first()
        .and_then(|(key, _)| DeadLetterId::of_row(partition, key));
    Ok(id.map(|id| id.number))
}

fn by_lane(letters: &[DeadLetter]) -> HashMap<LaneId, Vec<&DeadLetter>> {
    let mut lanes: HashMap<LaneId, Vec<&DeadLetter>> = HashMap::new();
    for letter in letters {
        lanes.entry(letter.lane).or_default().push(letter);
    }
    lanes
}

/// Parts of a list, each small enough for one transaction.
fn few_at_once(letters: &[&DeadLetter]) -> Vec<Vec<DeadLetterId>> {
    let mut parts: Vec<Vec<DeadLetterId>> = Vec::new();
    let mut bytes = usize::MAX;
    for letter in letters {
        bytes = bytes.saturating_add(letter.event.json.len());
        match parts.last_mut() {
            Some(part) if bytes <= BROUGHT_BACK_BYTES && part.len() < BROUGHT_BACK => {
                part.push(letter.id);
            }
            _ => {
                parts.push(vec![letter.id]);
                bytes = letter.event.json.len();
            }
        }
    }
    parts
}

async fn bring_back(lane: &Arc<Lane>, ids: Vec<DeadLetterId>) -> Result<usize, StoreError> {
    let writer = Arc::clone(lane);
    let now = lane.shared.clock.now();
    let moved = lane
        .shared
        .store
        .write(lane.partition, move |txn: &mut Txn<'_>| {
            let mut keys = Vec::new();
            for id in ids {
                keys.extend(move_one(txn, &writer, id, now)?);
            }
            Ok::<_, StoreError>(keys)
        })
        .await
        .map_err(WriteError::into_inner)?
        .into_inner();
    let mut state = lane.lock();
    for key in &moved {
        state.waiting.put(*key, now);
    }
    let call = lane.stir(&mut state, now);
    drop(state);
    lane.carry_out(call);
    Ok(moved.len())
}

/// Moves one dead letter to the waiting table. `None`: somebody else was faster, or the subscription is gone by now.
fn move_one(
    txn: &mut Txn<'_>,
    lane: &Lane,
    id: DeadLetterId,
    now: Timestamp,
) -> Result<Option<WaitingKey>, StoreError> {
    // Asked here, on the writer: a row put after the lane's rows were removed would stay for ever.
    if lane.retired.load(Ordering::Acquire) {
        return Ok(None);
    }
    let Some(row) = txn.get(&DEAD_LETTERS, (id.lane, id.number))? else {
        return Ok(None);
    };
    let key = WaitingKey {
        due: now,
        number: lane.shared.next_number(),
    };
    txn.remove(&DEAD_LETTERS, (id.lane, id.number))?;
    let waiting = WaitingRow {
        event: row.event,
        history: History::again(now, row.tried, row.replay),
    };
    txn.put(&WAITING, key.of(lane.id), &waiting)?;
    Ok(Some(key))
}

/// The five fields the service adds to an event of the Event Grid schema.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EventGridFields<'a> {
    dead_letter_reason: &'a str,
    delivery_attempts: u32,
    last_delivery_outcome: &'a str,
    publish_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_delivery_attempt_time: Option<String>,
}

/// The same in the names that CloudEvents allow.
#[derive(Serialize)]
struct CloudEventsFields<'a> {
    deadletterreason: &'a str,
    deliveryattempts: u32,
    lastdeliveryoutcome: &'a str,
    publishtime: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    lastdeliveryattempttime: Option<String>,
}

impl DeadLetter {
    /// The record as the service writes it: the event in the subscription's schema, and what became of it.
    ///
    /// # Errors
    /// The stored event is damaged.
    pub fn record(&self) -> Result<Box<RawValue>, serde_json::Error> {
        let publish_time = seven_digits(self.event.published);
        let last_attempt_time = self.last_attempt.map(seven_digits);
        let (object, fields) = if self.schema == DeliverySchema::CloudEvents {
            let fields = CloudEventsFields {
                deadletterreason: self.reason.as_str(),
                deliveryattempts: self.attempts,
                lastdeliveryoutcome: self.last_outcome.as_str(),
                publishtime: publish_time,
                lastdeliveryattempttime: last_attempt_time,
            };
            let object = self
                .event
                .to_cloud_event()
                .map_err(serde::de::Error::custom)?;
            (object.to_vec(), serde_json::to_vec(&fields)?)
        } else {
            let fields = EventGridFields {
                dead_letter_reason: self.reason.as_str(),
                delivery_attempts: self.attempts,
                last_delivery_outcome: self.last_outcome.as_str(),
                publish_time,
                last_delivery_attempt_time: last_attempt_time,
            };
            // Trap 35: also for an event of its publisher's own shape.
            (self.event.json.to_vec(), serde_json::to_vec(&fields)?)
        };
        joined(&object, &fields)
    }
}

/// Two JSON objects as one, neither of them empty.
fn joined(object: &[u8], more: &[u8]) -> Result<Box<RawValue>, serde_json::Error> {
    let head = object.trim_ascii_end().strip_suffix(b"}").unwrap_or(object);
    let tail = more.strip_prefix(b"{").unwrap_or(more);
    let text = [head, b",", tail].concat();
    RawValue::from_string(String::from_utf8(text).map_err(serde::de::Error::custom)?)
}

/// Times in dead letters always have seven digits behind the second.
fn seven_digits(moment: Timestamp) -> String {
    let ticks = moment.ticks().rem_euclid(10_000_000);
    format!("{}.{ticks:07}Z", moment.format("%Y-%m-%dT%H:%M:%S"))
}

#[cfg(test)]
mod tests {
    use gridpost_model::EventSchema;
    use gridpost_model::event::NewEvent;

    use super::*;

    fn dead(schema: DeliverySchema) -> DeadLetter {
        let new = NewEvent {
            id: "1",
            topic: &"/t".into(),
            subject: "s",
            event_type: "x",
            event_time: "2026-01-01T00:00:00Z",
            data_version: "1.0",
            data: &serde_json::json!({"n": 1}),
        };
        let published = "2026-01-01T00:00:01.5Z".parse().unwrap();
        DeadLetter {
            id: DeadLetterId {
                partition: Partition(3),
                lane: LaneId(2),
                number: 1,
            },
            event: Arc::new(Event::event_grid(&new, published).unwrap()),
            source: "/subscriptions/s".parse().unwrap(),
            subscription: "es".into(),
            lane: LaneId(2),
            schema,
            reason: Reason::MaxDeliveryAttemptsExceeded,
            attempts: 3,
            last_outcome: Outcome::Busy,
            last_status: Some(503),
            last_attempt: Some(published),
            at: published,
            blob_error: None,
        }
    }

    #[test]
    fn section_5_7_the_record_in_the_event_grid_schema() {
        let record = dead(DeliverySchema::EventGrid).record().unwrap();
        let record: serde_json::Value = serde_json::from_str(record.get()).unwrap();
        assert_eq!(
            record,
            serde_json::json!({
                "id": "1", "topic": "/t", "subject": "s", "data": {"n": 1}, "eventType": "x",
                "dataVersion": "1.0", "metadataVersion": "1", "eventTime": "2026-01-01T00:00:00Z",
                "deadLetterReason": "MaxDeliveryAttemptsExceeded", "deliveryAttempts": 3,
                "lastDeliveryOutcome": "Busy", "publishTime": "2026-01-01T00:00:01.5000000Z",
                "lastDeliveryAttemptTime": "2026-01-01T00:00:01.5000000Z",
            })
        );
    }

    #[test]
    fn section_5_7_the_record_in_the_cloud_events_schema() {
        let record = dead(DeliverySchema::CloudEvents).record().unwrap();
        let record: serde_json::Value = serde_json::from_str(record.get()).unwrap();
        assert_eq!(record["specversion"], "1.0");
        assert_eq!(record["deadletterreason"], "MaxDeliveryAttemptsExceeded");
        assert_eq!(record["lastdeliveryoutcome"], "Busy");
        assert_eq!(record["deliveryattempts"], 3);
        assert_eq!(record["publishtime"], "2026-01-01T00:00:01.5000000Z");
    }

    #[test]
    fn trap_35_an_event_of_its_own_schema_rests_in_an_envelope() {
        let mut letter = dead(DeliverySchema::Custom);
        let mut event = Event::clone(&letter.event);
        event.schema = EventSchema::Custom;
        letter.event = Arc::new(event);
        let record: serde_json::Value =
            serde_json::from_str(letter.record().unwrap().get()).unwrap();
        assert_eq!(record["data"], serde_json::json!({"n": 1}));
        assert_eq!(record["eventType"], "x");
        assert_eq!(record["deadLetterReason"], "MaxDeliveryAttemptsExceeded");
    }

    #[test]
    fn a_name_is_read_back() {
        let id = dead(DeliverySchema::EventGrid).id;
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("3-x-1".parse::<DeadLetterId>().is_err());
    }
}
