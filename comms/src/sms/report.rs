//! How a text ends.
//!
//! Promise: the end of a message, its event and the moment it will be forgotten are one transaction. A message ends
//! once; every later report is counted and ignored.
//! Not here: when a foretold report falls due (`due`), the payload (`events`).

use std::sync::Arc;
use std::time::Duration;

use gridpost_model::Timestamp;
use gridpost_store::{StoreError, Txn, WriteError};

use crate::agenda::Wake;
use crate::metrics::Tally;
use crate::sms::carrier::{MessageRef, Report};
use crate::sms::due::{Due, Work};
use crate::sms::events;
use crate::sms::message::{Ending, Message};
use crate::sms::message_id::MessageId;
use crate::{Comms, Inner, tables};

/// How long a message is kept after its end: as long as its events and its repeatability id.
const KEPT: Duration = Duration::from_hours(24);

impl Comms {
    /// A carrier reports of itself.
    pub(crate) async fn carrier_reports(
        &self,
        message: &MessageRef,
        report: Report,
    ) -> Result<(), StoreError> {
        // The resource may be gone, and its messages with it as far as anyone can tell.
        let Some(service) = self.0.service_of(&message.resource) else {
            return Ok(());
        };
        let inner = Arc::clone(&self.0);
        let now = inner.settings.clock.now();
        let id = message.id.clone();
        let mut wake = Wake::new(&inner.agenda, service.partition());
        let ended = self
            .0
            .store
            .write(service.partition(), move |txn| {
                let mut tally = Tally::default();
                inner.end(txn, &id, report, now, &mut wake, &mut tally)?;
                Ok((tally, wake))
            })
            .await
            .map_err(WriteError::<StoreError>::into_inner)?;
        let (tally, _wake) = ended.into_inner();
        self.0.metrics.add(&tally);
        Ok(())
    }
}

impl Inner {
    /// Ends a message, unless it has ended already.
    pub(crate) fn end(
        &self,
        txn: &mut Txn<'_>,
        id: &MessageId,
        report: Report,
        now: Timestamp,
        wake: &mut Wake,
        tally: &mut Tally,
    ) -> Result<(), StoreError> {
        let ending = Ending {
            at: now,
            code: report.code,
            attempts: report.attempts,
        };
        let found = txn.get(&tables::MESSAGES, id.as_str())?;
        let Some(mut message) = found else {
            tally.ignored += 1;
            return Ok(());
        };
        if !message.end(ending.clone()) {
            tally.ignored += 1;
            return Ok(());
        }
        txn.put(&tables::MESSAGES, id.as_str(), &message)?;
        Due {
            at: message.times_out,
            work: Work::TimeOut(id.clone()),
        }
        .remove(txn)?;
        let forget = Due {
            at: now + KEPT,
            work: Work::Forget(id.clone()),
        };
        forget.put(txn, wake)?;
        tally.ended(ending.code);
        self.tell(txn, &message, &ending)
    }

    /// Stages the event, when it was asked for and the resource still exists.
    fn tell(
        &self,
        txn: &mut Txn<'_>,
        message: &Message,
        ending: &Ending,
    ) -> Result<(), StoreError> {
        let service = self
            .service_of(&message.resource)
            .filter(|_| message.report_wanted);
        let Some(service) = service else {
            return Ok(());
        };
        let event = events::reported(&service, message, ending)?;
        self.grid.stage(txn, &service.id, event);
        Ok(())
    }
}
