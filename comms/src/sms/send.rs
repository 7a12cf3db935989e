//! Texts go out.
//!
//! Promise: a recipient answered 202 has a stored message that reaches the carrier, and the same repeatability id
//! answered again within 24 hours is the same message. A request is refused as a whole only for what concerns all of
//! its recipients.
//! Not here: handing over to the carrier (`due`), what the carrier says (`report`).

use std::borrow::Cow;
use std::time::Duration;

use gridpost_model::Timestamp;
use gridpost_store::{StoreError, Txn, WriteError};

use crate::agenda::Wake;
use crate::resources::CommunicationService;
use crate::sms::carrier::{Admission, Report};
use crate::sms::due::{Due, Work};
use crate::sms::message::{Attempt, Message, Remembered, State};
use crate::sms::message_id::MessageId;
use crate::sms::receive::LONGEST_TEXT;
use crate::sms::sender::{self, Sender};
use crate::sms::status::StatusCode;
use crate::sms::{opt_out, segments};
use crate::{Comms, tables};

/// The most recipients of one request.
pub const LONGEST_LIST: usize = 100;

/// How long a repeatability id stands for its message.
const MEMORY: Duration = Duration::from_hours(24);

/// How long a report is waited for when the request does not say: as long as it could say.
const LONGEST_WAIT: u32 = 43_200;
const SHORTEST_WAIT: u32 = 60;

/// The longest tag. The service names no bound; a tag is a label, not a document.
const LONGEST_TAG: usize = 256;

/// The longest repeatability id: a GUID in any of its spellings fits well.
const LONGEST_REQUEST_ID: usize = 64;

/// A request to send.
#[derive(Clone, Debug, Default)]
pub struct SendRequest {
    /// `from`.
    pub from: String,
    /// `smsRecipients`.
    pub recipients: Vec<Recipient>,
    /// `message`.
    pub message: String,
    /// `smsSendOptions`.
    pub options: SendOptions,
}

/// One recipient of a request, as it was written: what is wrong with it is answered per recipient.
#[derive(Clone, Debug, Default)]
pub struct Recipient {
    /// `to`.
    pub to: String,
    /// `repeatabilityRequestId`.
    pub request_id: Option<String>,
    /// `repeatabilityFirstSent`.
    pub first_sent: Option<String>,
}

/// What a request may ask for.
#[derive(Clone, Debug, Default)]
pub struct SendOptions {
    /// `enableDeliveryReport`: publish an event when a text ended.
    pub enable_delivery_report: bool,
    /// `tag`: comes back in that event.
    pub tag: Option<String>,
    /// `deliveryReportTimeoutInSeconds`, 60 to 43200; 43200 when absent.
    pub report_timeout_seconds: Option<u32>,
}

/// What became of one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipientResult {
    /// The recipient, as it was given.
    pub to: String,
    /// The message's identifier, when there is a message.
    pub message_id: Option<MessageId>,
    /// `httpStatusCode`; 202 is the only success.
    pub status: u16,
    /// `repeatabilityResult`, when the recipient carried a repeatability id.
    pub repeatability: Option<Repeatability>,
    /// `errorMessage`.
    pub error: Option<Cow<'static, str>>,
}

impl RecipientResult {
    /// `successful`.
    pub fn is_successful(&self) -> bool {
        self.status == 202
    }
}

/// `repeatabilityResult`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeatability {
    /// `accepted`.
    Accepted,
    /// `rejected`.
    Rejected,
}

impl Repeatability {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
        }
    }
}

/// Why a request was refused as a whole.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// 400: `from` is no sender.
    #[error("Invalid From phone number format.")]
    BadFrom,
    /// 401: `from` belongs to another resource or to nobody.
    #[error("The sender does not belong to this resource.")]
    NotOwned,
    /// 400: not 1 to 100 recipients.
    #[error("A request has 1 to {LONGEST_LIST} recipients; this one has {0}.")]
    Recipients(usize),
    /// 400: no text, or too long a text.
    #[error("A message has 1 to {LONGEST_TEXT} characters; this one has {0}.")]
    Length(usize),
    /// 400: the wait for a report is out of bounds.
    #[error("deliveryReportTimeoutInSeconds is {SHORTEST_WAIT} to {LONGEST_WAIT}.")]
    ReportTimeout,
    /// 400: the tag is too long.
    #[error("A tag has at most {LONGEST_TAG} characters.")]
    Tag,
    /// 503: nothing was kept.
    #[error("the messages were not stored")]
    NotStored(#[from] StoreError),
}

impl Comms {
    /// Accepts texts. The results stand in the order of the recipients; each answered 202 survives a crash.
    ///
    /// # Errors
    /// The request is refused as a whole; no recipient gets anything.
    pub async fn send(
        &self,
        service: &CommunicationService,
        request: SendRequest,
    ) -> Result<Vec<RecipientResult>, SendError> {
        let from = self.check(service, &request)?;
        let now = self.0.settings.clock.now();
        let plans: Vec<Plan> = request
            .recipients
            .iter()
            .map(|recipient| self.plan(service, &from, &request, recipient, now))
            .collect();
        if plans.iter().all(|plan| matches!(plan, Plan::Answered(_))) {
            return Ok(plans.into_iter().filter_map(Plan::answer).collect());
        }
        let mut wake = Wake::new(&self.0.agenda, service.partition());
        let accepted = self
            .0
            .store
            .write(service.partition(), move |txn| {
                let mut results = Vec::with_capacity(plans.len());
                for plan in plans {
                    results.push(match plan {
                        Plan::Answered(result) => result,
                        Plan::Send { to, message } => accept(txn, to, *message, now, &mut wake)?,
                    });
                }
                Ok((results, wake))
            })
            .await
            .map_err(WriteError::<StoreError>::into_inner)?;
        let (results, _wake) = accepted.into_inner();
        self.0.metrics.accepted(
            results
                .iter()
                .filter(|result| result.is_successful())
                .count(),
        );
        Ok(results)
    }

    /// What concerns the request as a whole.
    fn check(
        &self,
        service: &CommunicationService,
        request: &SendRequest,
    ) -> Result<Sender, SendError> {
        let from: Sender = request.from.parse().map_err(|_| SendError::BadFrom)?;
        if !(1..=LONGEST_LIST).contains(&request.recipients.len()) {
            return Err(SendError::Recipients(request.recipients.len()));
        }
        let length = request.message.encode_utf16().count();
        if !(1..=LONGEST_TEXT).contains(&length) {
            return Err(SendError::Length(length));
        }
        let wait = request
            .options
            .report_timeout_seconds
            .unwrap_or(LONGEST_WAIT);
        if !(SHORTEST_WAIT..=LONGEST_WAIT).contains(&wait) {
            return Err(SendError::ReportTimeout);
        }
        let tag = request.options.tag.as_deref().unwrap_or_default();
        if LONGEST_TAG < tag.encode_utf16().count() {
            return Err(SendError::Tag);
        }
        if !self.may_use(service, &from) {
            return Err(SendError::NotOwned);
        }
        Ok(from)
    }

    /// Whether a resource may send as this sender: its own numbers and short codes, and any name.
    pub(crate) fn may_use(&self, service: &CommunicationService, from: &Sender) -> bool {
        match from {
            Sender::Number(number) => self.0.registry.owns(&service.id, number),
            Sender::Name(_) => true,
        }
    }

    fn plan(
        &self,
        service: &CommunicationService,
        from: &Sender,
        request: &SendRequest,
        recipient: &Recipient,
        now: Timestamp,
    ) -> Plan {
        if let Err(error) = check_repeatability(recipient) {
            return Plan::refused(recipient, 400, error);
        }
        let Some(to) = sender::recipient(&recipient.to) else {
            return Plan::refused(recipient, 400, INVALID_TO);
        };
        match self.0.carrier.admit(&to) {
            Admission::Yes => (),
            Admission::InvalidNumber => return Plan::refused(recipient, 400, INVALID_TO),
            Admission::TooManyRequests => return Plan::refused(recipient, 429, "TooManyRequests"),
            Admission::Unavailable => return Plan::refused(recipient, 503, "ServiceUnavailable"),
        }
        let wait = request
            .options
            .report_timeout_seconds
            .unwrap_or(LONGEST_WAIT);
        let message = Message {
            id: MessageId::outgoing(now, &*self.0.settings.chance),
            resource: service.immutable_id.clone(),
            from: from.bare().into(),
            to,
            text: request.message.clone(),
            segments: segments::count(&request.message),
            report_wanted: request.options.enable_delivery_report,
            tag: request.options.tag.clone(),
            // GUIDs are compared without case.
            remembered_as: recipient
                .request_id
                .as_ref()
                .map(|id| id.to_ascii_lowercase()),
            accepted: now,
            times_out: now + Duration::from_secs(wait.into()),
            state: State::Accepted,
        };
        Plan::Send {
            to: recipient.to.clone(),
            message: Box::new(message),
        }
    }
}

const INVALID_TO: &str = "Invalid To phone number format.";
const INVALID_FIRST_SENT: &str = "Request sent with Invalid DateTime value for \
    repeatability-first-sent. Expected is DateTime ,RFC1123 pattern.";
const INVALID_REQUEST_ID: &str =
    "Request sent with Invalid value for repeatability-request-id. Expected is Guid.";

fn check_repeatability(recipient: &Recipient) -> Result<(), &'static str> {
    if let Some(id) = &recipient.request_id {
        let printable = id.bytes().all(|byte| byte.is_ascii_graphic());
        if !printable || !(1..=LONGEST_REQUEST_ID).contains(&id.len()) {
            return Err(INVALID_REQUEST_ID);
        }
    }
    match (&recipient.request_id, &recipient.first_sent) {
        (None, None) => Ok(()),
        (_, Some(text)) if Timestamp::from_http_date(text).is_ok() => Ok(()),
        _ => Err(INVALID_FIRST_SENT),
    }
}

/// What will be done for one recipient.
enum Plan {
    Answered(RecipientResult),
    Send { to: String, message: Box<Message> },
}

impl Plan {
    fn refused(recipient: &Recipient, status: u16, error: &'static str) -> Self {
        let repeatable = recipient.request_id.is_some() || recipient.first_sent.is_some();
        Self::Answered(RecipientResult {
            to: recipient.to.clone(),
            message_id: None,
            status,
            repeatability: repeatable.then_some(Repeatability::Rejected),
            error: Some(error.into()),
        })
    }

    fn answer(self) -> Option<RecipientResult> {
        match self {
            Self::Answered(result) => Some(result),
            Self::Send { .. } => None,
        }
    }
}

/// Stores a message with all that is due for it, unless its repeatability id stands for another one already.
fn accept(
    txn: &mut Txn<'_>,
    to: String,
    message: Message,
    now: Timestamp,
    wake: &mut Wake,
) -> Result<RecipientResult, StoreError> {
    let repeatability = message
        .remembered_as
        .as_ref()
        .map(|_| Repeatability::Accepted);
    let result = |message_id| RecipientResult {
        to,
        message_id,
        status: 202,
        repeatability,
        error: None,
    };
    if let Some(request_id) = &message.remembered_as {
        let key = (message.resource.as_str(), request_id.as_str());
        if let Some(found) = txn.get(&tables::REMEMBERED, key)?
            && now.since(found.at) < MEMORY
        {
            return Ok(result(Some(found.message)));
        }
        let row = Remembered {
            message: message.id.clone(),
            at: now,
        };
        txn.put(&tables::REMEMBERED, key, &row)?;
    }
    first_work(txn, &message, now)?.put(txn, wake)?;
    Due {
        at: message.times_out,
        work: Work::TimeOut(message.id.clone()),
    }
    .put(txn, wake)?;
    txn.put(&tables::MESSAGES, message.id.as_str(), &message)?;
    Ok(result(Some(message.id)))
}

/// The carrier gets it at once; a recipient who opted out ends it at once.
fn first_work(txn: &Txn<'_>, message: &Message, now: Timestamp) -> Result<Due, StoreError> {
    let id = message.id.clone();
    if !opt_out::is_opted_out(txn, &message.resource, &message.from, &message.to)? {
        return Ok(Due {
            at: now,
            work: Work::HandOver(id),
        });
    }
    let attempt = Attempt {
        at: now,
        segments_succeeded: 0,
        segments_failed: message.segments,
    };
    let report = Report {
        code: StatusCode::OptedOut,
        attempts: vec![attempt],
    };
    Ok(Due {
        at: now,
        work: Work::Report {
            message: id,
            number: 0,
            report,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipient(request_id: Option<&str>, first_sent: Option<&str>) -> Recipient {
        Recipient {
            to: "+15555550123".into(),
            request_id: request_id.map(str::to_owned),
            first_sent: first_sent.map(str::to_owned),
        }
    }

    #[test]
    fn a_repeatability_id_needs_a_first_sent_in_rfc_1123() {
        let date = Some("Sun, 22 Nov 2026 00:27:55 GMT");
        assert_eq!(check_repeatability(&recipient(None, None)), Ok(()));
        assert_eq!(check_repeatability(&recipient(Some("a-b"), date)), Ok(()));
        let refused = check_repeatability(&recipient(Some("a-b"), None));
        assert_eq!(refused, Err(INVALID_FIRST_SENT));
        let refused = check_repeatability(&recipient(Some("a-b"), Some("2026-11-22")));
        assert_eq!(
            refused.unwrap_err(),
            "Request sent with Invalid DateTime value for repeatability-first-sent. \
             Expected is DateTime ,RFC1123 pattern."
        );
    }

    #[test]
    fn a_repeatability_id_that_cannot_be_a_guid_is_refused() {
        let date = Some("Sun, 22 Nov 2026 00:27:55 GMT");
        for id in ["", "a b", "a\0b", &"a".repeat(65)] {
            let refused = check_repeatability(&recipient(Some(id), date));
            assert_eq!(refused, Err(INVALID_REQUEST_ID), "{id}");
        }
    }
}
