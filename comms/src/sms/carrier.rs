//! The port to the world of phones.
//!
//! Promise: a carrier is given each accepted text at least once, always under the same identifier; what it says will
//! happen later is written down by us and survives a restart. It may report as often as it likes: a message ends once.
//! Not here: the built-in carrier (`handsets`).

use std::sync::Weak;
use std::time::Duration;

use futures_util::future::BoxFuture;
use gridpost_model::PhoneNumber;
use gridpost_store::StoreError;
use serde::{Deserialize, Serialize};

use crate::sms::message::Attempt;
use crate::sms::message_id::MessageId;
use crate::sms::receive::{Inbound, ReceiveError};
use crate::sms::sender::Sender;
use crate::sms::status::StatusCode;
use crate::{Comms, Inner};

/// Whoever brings texts to phones and back.
pub trait Carrier: Send + Sync + 'static {
    /// Called once, before anything else: where reports and inbound texts go that the carrier does not foretell.
    fn start(&self, inbox: CarrierInbox);

    /// Whether a text to this number would be taken right now. Asked while a client waits: no I/O.
    fn admit(&self, to: &PhoneNumber) -> Admission;

    /// Takes a text over. It may have been handed over before a crash already; its identifier tells.
    /// Answers soon, by queueing what takes long: the next texts of the same partition wait for it.
    fn submit(&self, outbound: Outbound) -> BoxFuture<'_, Submission>;
}

/// The answer to a client that wants to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It may.
    Yes,
    /// 400: nobody can have that number.
    InvalidNumber,
    /// 429.
    TooManyRequests,
    /// 503.
    Unavailable,
}

/// Which message is meant. Opaque to a carrier; it hands it back with its reports.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MessageRef {
    pub(crate) resource: String,
    pub(crate) id: MessageId,
}

impl MessageRef {
    /// The message's identifier.
    pub fn id(&self) -> &MessageId {
        &self.id
    }
}

/// A text on its way to a phone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outbound {
    /// Which message it is.
    pub message: MessageRef,
    /// Who sends it.
    pub from: Sender,
    /// To whom.
    pub to: PhoneNumber,
    /// The text.
    pub text: String,
    /// How many segments it takes.
    pub segments: u32,
}

/// What a carrier says to a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Submission {
    /// It has it, and tells now what it will say later. A carrier that does not know uses its inbox when it does.
    Taken(Vec<Later>),
    /// It will never take it.
    Refused(Report),
    /// Not now; try again after this long.
    Busy(Duration),
}

/// Something that will happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Later {
    /// How long after the text was handed over.
    pub after: Duration,
    /// What.
    pub what: Happening,
}

/// What a carrier brings back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// The text ended.
    Report(Report),
    /// A text comes in, such as an answer.
    Text(Inbound),
}

/// How a text ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Its code.
    pub code: StatusCode,
    /// What was tried, in order.
    pub attempts: Vec<Attempt>,
}

/// Where a carrier brings what it has for us.
#[derive(Clone)]
pub struct CarrierInbox(Weak<Inner>);

impl CarrierInbox {
    pub(crate) fn new(inner: Weak<Inner>) -> Self {
        Self(inner)
    }

    /// A text ended. Once this returns `Ok`, the report survives a crash. A second report changes nothing, and neither
    /// does one for a message that is not known any more.
    ///
    /// # Errors
    /// It could not be kept; report again.
    pub async fn report(&self, message: &MessageRef, report: Report) -> Result<(), StoreError> {
        let comms = self.comms().ok_or(StoreError::Closed)?;
        comms.carrier_reports(message, report).await
    }

    /// A text for one of our numbers arrived. Once this returns `Ok`, it survives a crash.
    ///
    /// # Errors
    /// Nobody owns the number, or it could not be kept; bring it again.
    pub async fn receive(&self, inbound: Inbound) -> Result<MessageId, ReceiveError> {
        let comms = self.comms().ok_or(StoreError::Closed)?;
        comms.receive(inbound).await
    }

    /// Whether the number belongs to one of our resources.
    pub fn is_ours(&self, number: &PhoneNumber) -> bool {
        self.0
            .upgrade()
            .is_some_and(|inner| inner.registry.assignment(number).is_some())
    }

    fn comms(&self) -> Option<Comms> {
        self.0.upgrade().map(Comms)
    }
}
