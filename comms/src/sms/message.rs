//! One outgoing text, as it is stored.
//!
//! Promise: a message ends once. What comes later (a second report, a time-out after the report) finds it ended and
//! changes nothing.

use gridpost_model::{PhoneNumber, Timestamp};
use serde::{Deserialize, Serialize};

use crate::sms::message_id::MessageId;
use crate::sms::status::StatusCode;

/// An outgoing text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Message {
    pub(crate) id: MessageId,
    /// The immutable id of the resource that sent it.
    pub(crate) resource: String,
    /// The sender without a plus sign.
    pub(crate) from: Box<str>,
    pub(crate) to: PhoneNumber,
    /// Empty once the carrier has it: nobody needs it again, and it is nobody's business.
    pub(crate) text: String,
    pub(crate) segments: u32,
    /// A delivery report was asked for.
    pub(crate) report_wanted: bool,
    pub(crate) tag: Option<String>,
    /// The repeatability id it was sent with; forgotten together with the message.
    pub(crate) remembered_as: Option<String>,
    pub(crate) accepted: Timestamp,
    /// When waiting for a report ends.
    pub(crate) times_out: Timestamp,
    pub(crate) state: State,
}

/// Where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum State {
    /// Ours to hand over.
    Accepted,
    /// The carrier has it; a report is due.
    HandedOver { at: Timestamp },
    /// Nothing more will happen.
    Ended(Ending),
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ending {
    pub(crate) at: Timestamp,
    pub(crate) code: StatusCode,
    pub(crate) attempts: Vec<Attempt>,
}

/// One attempt of the carrier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// When.
    pub at: Timestamp,
    /// Segments that arrived.
    pub segments_succeeded: u32,
    /// Segments that did not.
    pub segments_failed: u32,
}

/// What a repeatability id stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Remembered {
    pub(crate) message: MessageId,
    pub(crate) at: Timestamp,
}

impl Message {
    /// Whether the carrier still has to get it.
    pub(crate) fn is_ours(&self) -> bool {
        self.state == State::Accepted
    }

    /// The carrier took it.
    pub(crate) fn hand_over(&mut self, at: Timestamp) {
        self.text = String::new();
        self.state = State::HandedOver { at };
    }

    /// Ends it, unless it has ended already; tells whether this was the end.
    pub(crate) fn end(&mut self, ending: Ending) -> bool {
        if matches!(self.state, State::Ended(_)) {
            return false;
        }
        self.text = String::new();
        self.state = State::Ended(ending);
        true
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn message() -> Message {
        let accepted: Timestamp = "2020-09-18T00:22:13Z".parse().unwrap();
        Message {
            id: serde_json::from_str(
                "\"Outgoing_202009180022138813a09b-0cbf-4304-9b03-1546683bb910\"",
            )
            .unwrap(),
            resource: "guid".into(),
            from: "15555555555".into(),
            to: "+15555555555".parse().unwrap(),
            text: "hello".into(),
            segments: 1,
            report_wanted: true,
            tag: None,
            remembered_as: None,
            accepted,
            times_out: accepted,
            state: State::Accepted,
        }
    }

    fn ending(code: StatusCode) -> Ending {
        Ending {
            at: Timestamp::EPOCH,
            code,
            attempts: Vec::new(),
        }
    }

    #[test]
    fn a_message_ends_once() {
        let mut message = message();
        message.hand_over(Timestamp::EPOCH);
        assert!(message.end(ending(StatusCode::Delivered)));
        assert!(!message.end(ending(StatusCode::Unreachable)));
        assert_eq!(message.state, State::Ended(ending(StatusCode::Delivered)));
    }

    #[test]
    fn the_text_is_forgotten_once_the_carrier_has_it() {
        let mut message = message();
        assert!(message.is_ours());
        message.hand_over(Timestamp::EPOCH);
        assert!(!message.is_ours());
        assert_eq!(message.text, "");
    }
}
