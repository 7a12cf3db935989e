//! A text comes in.
//!
//! Promise: `receive` returns once the event survives a crash; an opt-out keyword takes effect in the same transaction.
//! Nothing else is stored: the event is the text.
//! Not here: what the keywords are (`opt_out`), the payload (`events`).

use std::sync::Arc;

use gridpost_grid::Grid;
use gridpost_model::{Event, PhoneNumber, Timestamp};
use gridpost_store::{StoreError, Txn, WriteError};
use serde::{Deserialize, Serialize};

use crate::Comms;
use crate::resources::CommunicationService;
use crate::sms::events;
use crate::sms::message_id::MessageId;
use crate::sms::opt_out::{self, Keyword};

/// The longest text taken in, in UTF-16 code units: as long as one we send.
pub const LONGEST_TEXT: usize = 2048;

/// A text from a phone to one of our numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inbound {
    /// Who sent it.
    pub from: PhoneNumber,
    /// The owned number.
    pub to: PhoneNumber,
    /// The text.
    pub text: String,
}

/// Why a text was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// Nobody owns the number.
    #[error("the number belongs to no communication resource")]
    NotOurs(PhoneNumber),
    /// The text is too long.
    #[error("a text has at most {LONGEST_TEXT} characters")]
    TooLong,
    /// It could not be kept.
    #[error("the text was not stored")]
    NotStored(#[from] StoreError),
}

impl Comms {
    /// Takes in a text. Once this returns `Ok`, its `SMSReceived` event survives a crash.
    ///
    /// # Errors
    /// Nobody owns the number, the text is too long, or it could not be kept.
    pub async fn receive(&self, inbound: Inbound) -> Result<MessageId, ReceiveError> {
        if LONGEST_TEXT < inbound.text.encode_utf16().count() {
            return Err(ReceiveError::TooLong);
        }
        let Some(service) = self.0.registry.owner(&inbound.to) else {
            return Err(ReceiveError::NotOurs(inbound.to));
        };
        let now = self.0.settings.clock.now();
        let id = MessageId::incoming(now, &*self.0.settings.chance);
        let arrival = Arrival::new(Arc::clone(&service), &id, inbound, now)?;
        self.take_in(arrival).await?;
        // Kept; but whoever brings texts faster than webhooks take them must not bury us.
        self.0.grid.pace(&service.id).await;
        Ok(id)
    }

    /// Keeps an arrival in a transaction of its own.
    pub(crate) async fn take_in(&self, arrival: Arrival) -> Result<(), StoreError> {
        let grid = self.0.grid.clone();
        let partition = arrival.service.partition();
        self.0
            .store
            .write(partition, move |txn| arrival.stage(txn, &grid))
            .await
            .map_err(WriteError::<StoreError>::into_inner)?;
        self.0.metrics.received();
        Ok(())
    }
}

/// An inbound text whose event is written, so that the partition's writer only has to stage it.
pub(crate) struct Arrival {
    pub(crate) service: Arc<CommunicationService>,
    event: Event,
    keyword: Option<Keyword>,
    from: PhoneNumber,
    to: PhoneNumber,
}

impl Arrival {
    pub(crate) fn new(
        service: Arc<CommunicationService>,
        id: &MessageId,
        inbound: Inbound,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let event = events::received(&service, id, &inbound, now)?;
        let keyword = Keyword::of(&inbound.text);
        Ok(Self {
            service,
            event,
            keyword,
            from: inbound.from,
            to: inbound.to,
        })
    }

    pub(crate) fn stage(self, txn: &mut Txn<'_>, grid: &Grid) -> Result<(), StoreError> {
        if let Some(keyword) = self.keyword {
            let since = self.event.published;
            opt_out::obey(txn, &self.service, keyword, &self.to, &self.from, since)?;
        }
        grid.stage(txn, &self.service.id, self.event);
        Ok(())
    }
}
