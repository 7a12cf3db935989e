//! What is to be done with a message, and when.
//!
//! Promise: each piece of work is a row keyed by its moment. It goes in the transaction that did it, so it is done at
//! least once, and what doing it twice would repeat is refused by the message's state.
//! Not here: when to look (`agenda`), what ends a message (`report`).

use std::sync::Arc;

use futures_util::future::join_all;
use gridpost_model::Timestamp;
use gridpost_store::{Partition, Snapshot, StoreError, Table, Txn, WriteError};
use serde::{Deserialize, Serialize};

use crate::agenda::Wake;
use crate::metrics::Tally;
use crate::resources::CommunicationService;
use crate::sms::carrier::{Happening, Later, MessageRef, Outbound, Report, Submission};
use crate::sms::message::{Message, State};
use crate::sms::message_id::MessageId;
use crate::sms::receive::{Arrival, Inbound};
use crate::sms::sender::Sender;
use crate::sms::status::StatusCode;
use crate::{Comms, Inner, due, tables};

/// Rows done in one transaction: enough to share a sync, few enough to stay far below what a record may hold.
const BATCH: usize = 256;

/// Work and its moment.
pub(crate) type Due = due::Due<Work>;

/// What is to be done.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Work {
    /// The carrier must get it.
    HandOver(MessageId),
    /// The carrier foretold this report. `number` keeps several of one message apart.
    Report {
        message: MessageId,
        number: usize,
        report: Report,
    },
    /// Waiting for a report ends.
    TimeOut(MessageId),
    /// It ended long enough ago.
    Forget(MessageId),
    /// The carrier foretold this inbound text. It has its identifier already, so that a second time is recognisable.
    Text { id: MessageId, inbound: Inbound },
}

impl due::Work for Work {
    const TABLE: Table<Due> = tables::DUE;

    fn name(&self) -> String {
        match self {
            Self::HandOver(id) => format!("hand-over/{id}"),
            Self::Report {
                message, number, ..
            } => format!("report-{number}/{message}"),
            Self::TimeOut(id) => format!("time-out/{id}"),
            Self::Forget(id) => format!("forget/{id}"),
            Self::Text { id, .. } => format!("text/{id}"),
        }
    }
}

/// Does what is due in one partition, at most a batch; tells when the next work there falls due.
pub(crate) async fn work_through(
    inner: &Arc<Inner>,
    partition: Partition,
    now: Timestamp,
) -> Result<Option<Timestamp>, StoreError> {
    let snapshot = inner.store.snapshot();
    let (rows, next) = Due::ready(&snapshot, partition, now, BATCH)?;
    if rows.is_empty() {
        return Ok(next);
    }
    let errands = join_all(
        rows.into_iter()
            .map(|due| prepare(inner, &snapshot, partition, due, now)),
    )
    .await
    .into_iter()
    .collect::<Result<Vec<_>, _>>()?;
    settle(inner, partition, errands, now).await?;
    Ok(next)
}

/// Due work with all that had to be asked outside of the transaction.
struct Errand {
    due: Due,
    answer: Answer,
}

enum Answer {
    /// Nothing had to be asked.
    None,
    /// What the carrier said to a text.
    Carrier(Submission),
    /// An inbound text, ready to be staged.
    Arrival(Box<Arrival>),
}

async fn prepare(
    inner: &Arc<Inner>,
    snapshot: &Snapshot,
    partition: Partition,
    due: Due,
    now: Timestamp,
) -> Result<Errand, StoreError> {
    let answer = match &due.work {
        Work::HandOver(id) => {
            let message = snapshot.get(&tables::MESSAGES, partition, id.as_str())?;
            match message.filter(Message::is_ours) {
                Some(message) => Answer::Carrier(hand_over(inner, message).await),
                None => Answer::None,
            }
        }
        Work::Text { id, inbound } => arrive(inner, partition, id, inbound, now).await?,
        Work::Report { .. } | Work::TimeOut(_) | Work::Forget(_) => Answer::None,
    };
    Ok(Errand { due, answer })
}

async fn hand_over(inner: &Inner, message: Message) -> Submission {
    let Ok(from) = message.from.parse::<Sender>() else {
        return Submission::Refused(Report {
            code: StatusCode::BadFrom,
            attempts: Vec::new(),
        });
    };
    let outbound = Outbound {
        message: MessageRef {
            resource: message.resource,
            id: message.id,
        },
        from,
        to: message.to,
        text: message.text,
        segments: message.segments,
    };
    inner.carrier.submit(outbound).await
}

/// A text to a number of the same partition is staged with the rest; one to another partition goes there first, and
/// after a crash in between it goes again, under the same identifier.
async fn arrive(
    inner: &Arc<Inner>,
    partition: Partition,
    id: &MessageId,
    inbound: &Inbound,
    now: Timestamp,
) -> Result<Answer, StoreError> {
    let Some(service) = inner.registry.owner(&inbound.to) else {
        return Ok(Answer::None);
    };
    let arrival = Arrival::new(service, id, inbound.clone(), now)?;
    if arrival.service.partition() == partition {
        return Ok(Answer::Arrival(Box::new(arrival)));
    }
    Comms(Arc::clone(inner)).take_in(arrival).await?;
    Ok(Answer::None)
}

async fn settle(
    inner: &Arc<Inner>,
    partition: Partition,
    errands: Vec<Errand>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let hands = Arc::clone(inner);
    let mut wake = Wake::new(&inner.agenda, partition);
    let settled = inner
        .store
        .write(partition, move |txn| {
            let mut tally = Tally::default();
            for errand in errands {
                if errand.due.take(txn)? {
                    hands.carry_out(txn, errand, now, &mut wake, &mut tally)?;
                }
            }
            Ok((tally, wake))
        })
        .await
        .map_err(WriteError::<StoreError>::into_inner)?;
    let (tally, _wake) = settled.into_inner();
    inner.metrics.add(&tally);
    Ok(())
}

impl Inner {
    fn carry_out(
        &self,
        txn: &mut Txn<'_>,
        errand: Errand,
        now: Timestamp,
        wake: &mut Wake,
        tally: &mut Tally,
    ) -> Result<(), StoreError> {
        match (errand.due.work, errand.answer) {
            (Work::HandOver(id), Answer::Carrier(said)) => {
                self.heard(txn, &id, said, now, wake, tally)
            }
            (
                Work::Report {
                    message, report, ..
                },
                _,
            ) => self.end(txn, &message, report, now, wake, tally),
            (Work::TimeOut(id), _) => self.time_out(txn, &id, now, wake, tally),
            (Work::Forget(id), _) => forget(txn, &id),
            (Work::Text { .. }, Answer::Arrival(arrival)) => {
                tally.received += 1;
                arrival.stage(txn, &self.grid)
            }
            (Work::HandOver(_) | Work::Text { .. }, _) => Ok(()),
        }
    }

    /// Writes down what the carrier said to a text.
    fn heard(
        &self,
        txn: &mut Txn<'_>,
        id: &MessageId,
        said: Submission,
        now: Timestamp,
        wake: &mut Wake,
        tally: &mut Tally,
    ) -> Result<(), StoreError> {
        match said {
            Submission::Taken(later) => {
                let found = txn.get(&tables::MESSAGES, id.as_str())?;
                let Some(mut message) = found.filter(Message::is_ours) else {
                    return Ok(());
                };
                message.hand_over(now);
                txn.put(&tables::MESSAGES, id.as_str(), &message)?;
                for (number, later) in later.into_iter().enumerate() {
                    self.foretold(id, number, later, now).put(txn, wake)?;
                }
                Ok(())
            }
            Submission::Refused(report) => self.end(txn, id, report, now, wake, tally),
            Submission::Busy(pause) => {
                let due = Due {
                    at: now + pause,
                    work: Work::HandOver(id.clone()),
                };
                due.put(txn, wake)
            }
        }
    }

    fn foretold(&self, id: &MessageId, number: usize, later: Later, now: Timestamp) -> Due {
        let work = match later.what {
            Happening::Report(report) => Work::Report {
                message: id.clone(),
                number,
                report,
            },
            Happening::Text(inbound) => {
                let id = MessageId::incoming(now + later.after, &*self.settings.chance);
                Work::Text { id, inbound }
            }
        };
        Due {
            at: now + later.after,
            work,
        }
    }

    /// Nobody reported in time.
    fn time_out(
        &self,
        txn: &mut Txn<'_>,
        id: &MessageId,
        now: Timestamp,
        wake: &mut Wake,
        tally: &mut Tally,
    ) -> Result<(), StoreError> {
        let Some(message) = txn.get(&tables::MESSAGES, id.as_str())? else {
            return Ok(());
        };
        let code = match message.state {
            State::Accepted => StatusCode::Unavailable,
            State::HandedOver { .. } | State::Ended(_) => StatusCode::NoReport,
        };
        self.end(
            txn,
            id,
            Report {
                code,
                attempts: Vec::new(),
            },
            now,
            wake,
            tally,
        )
    }

    /// The resource a message belongs to, while it exists.
    pub(crate) fn service_of(&self, immutable_id: &str) -> Option<Arc<CommunicationService>> {
        self.registry.service_with(immutable_id)
    }
}

/// Removes a message and the repeatability id that stood for it, unless that stands for a newer one by now.
fn forget(txn: &mut Txn<'_>, id: &MessageId) -> Result<(), StoreError> {
    let Some(message) = txn.get(&tables::MESSAGES, id.as_str())? else {
        return Ok(());
    };
    txn.remove(&tables::MESSAGES, id.as_str())?;
    let Some(request_id) = &message.remembered_as else {
        return Ok(());
    };
    let key = (message.resource.as_str(), request_id.as_str());
    let remembered = txn.get(&tables::REMEMBERED, key)?;
    if remembered.is_some_and(|remembered| remembered.message == *id) {
        txn.remove(&tables::REMEMBERED, key)?;
    }
    Ok(())
}
