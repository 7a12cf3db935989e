//! Asking how a text ended.
//!
//! Promise: answers for every message of the resource, whether a report was asked for or not, until 24 hours after its
//! end.

use gridpost_model::{PhoneNumber, Timestamp};
use gridpost_store::StoreError;

use crate::resources::CommunicationService;
use crate::sms::message::{Attempt, Message, State};
use crate::sms::message_id::MessageId;
use crate::sms::status::StatusCode;
use crate::{Comms, EventShape, tables};

/// `deliveryStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryStatus {
    /// `Pending`: it has not ended.
    Pending,
    /// `Delivered`.
    Delivered,
    /// `Failed`.
    Failed,
}

impl DeliveryStatus {
    /// The status of an ending.
    pub fn of(code: StatusCode) -> Self {
        if code.is_delivered() {
            Self::Delivered
        } else {
            Self::Failed
        }
    }

    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Delivered => "Delivered",
            Self::Failed => "Failed",
        }
    }
}

/// How a text is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryReport {
    /// `messageId`.
    pub message_id: MessageId,
    /// `from`, without a plus sign.
    pub from: String,
    /// `to`; written with its plus sign.
    pub to: PhoneNumber,
    /// `deliveryStatus`.
    pub status: DeliveryStatus,
    /// `deliveryStatusDetails`, once it ended.
    pub details: Option<String>,
    /// `deliveryAttempts`.
    pub attempts: Vec<Attempt>,
    /// `receivedTimestamp`, once it ended.
    pub received: Option<Timestamp>,
    /// `tag`.
    pub tag: Option<String>,
}

impl Comms {
    /// How a message of this resource is doing; `None` when it has none of that identifier (any more).
    ///
    /// # Errors
    /// The tables cannot be read.
    pub fn delivery_report(
        &self,
        service: &CommunicationService,
        message_id: &str,
    ) -> Result<Option<DeliveryReport>, StoreError> {
        if message_id.contains('\0') {
            return Ok(None);
        }
        let snapshot = self.0.store.snapshot();
        let found = snapshot.get(&tables::MESSAGES, service.partition(), message_id)?;
        let own = found.filter(|message| message.resource == service.immutable_id);
        Ok(own.map(DeliveryReport::from))
    }
}

impl From<Message> for DeliveryReport {
    fn from(message: Message) -> Self {
        let mut report = Self {
            message_id: message.id,
            from: message.from.into(),
            to: message.to,
            status: DeliveryStatus::Pending,
            details: None,
            attempts: Vec::new(),
            received: None,
            tag: message.tag,
        };
        if let State::Ended(ending) = message.state {
            report.status = DeliveryStatus::of(ending.code);
            report.details = Some(ending.code.details(EventShape::Current));
            report.attempts = ending.attempts;
            report.received = Some(ending.at);
        }
        report
    }
}
