//! The two SMS events, in both shapes.
//!
//! Promise: these are the only places where their payloads are made. Shape `2020-09` has the keys of the mission's two
//! samples, in their order; `current` those of today's type sets.
//! Source: reference communication-events 1, 4, 9.

use std::sync::Arc;

use gridpost_model::event::{NewEvent, NotAnEvent};
use gridpost_model::{Event, PhoneNumber, Timestamp};
use serde::Serialize;

use crate::EventShape;
use crate::resources::CommunicationService;
use crate::sms::delivery_report::DeliveryStatus;
use crate::sms::message::{Ending, Message};
use crate::sms::message_id::MessageId;
use crate::sms::receive::Inbound;
use crate::sms::segments;

const RECEIVED: &str = "Microsoft.Communication.SMSReceived";
const REPORTED: &str = "Microsoft.Communication.SMSDeliveryReportReceived";
const DATA_VERSION: &str = "1.0";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Received<'a> {
    message_id: &'a str,
    from: &'a str,
    to: &'a str,
    message: &'a str,
    received_timestamp: Timestamp,
    segment_count: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Received2020<'a> {
    message_id: &'a str,
    from: &'a str,
    to: &'a str,
    message: &'a str,
    received_timestamp: Timestamp,
}

/// A text arrived at an owned number.
pub(crate) fn received(
    service: &CommunicationService,
    id: &MessageId,
    inbound: &Inbound,
    now: Timestamp,
) -> Result<Event, NotAnEvent> {
    let (from, to) = (inbound.from.digits(), inbound.to.digits());
    let (message_id, message) = (id.as_str(), inbound.text.as_str());
    match service.event_shape() {
        EventShape::Current => {
            let segment_count = segments::count(message);
            let data = Received {
                message_id,
                from,
                to,
                message,
                received_timestamp: now,
                segment_count,
            };
            event(service, RECEIVED, id, to, &data, now)
        }
        EventShape::Of2020 => {
            let data = Received2020 {
                message_id,
                from,
                to,
                message,
                received_timestamp: now,
            };
            event(service, RECEIVED, id, to, &data, now)
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Reported<'a> {
    message_id: &'a str,
    from: &'a str,
    #[serde(serialize_with = "with_plus")]
    to: &'a PhoneNumber,
    delivery_status: &'static str,
    delivery_status_details: String,
    received_timestamp: Timestamp,
    delivery_attempts: Vec<Attempted>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Attempted {
    timestamp: Timestamp,
    segments_succeeded: u32,
    segments_failed: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Reported2020<'a> {
    message_id: &'a str,
    from: &'a str,
    #[serde(serialize_with = "with_plus")]
    to: &'a PhoneNumber,
    delivery_status: &'static str,
    delivery_status_details: String,
    received_timestamp: Timestamp,
    delivery_attempts: Vec<Attempted2020>,
    // The documentation of that year has it, though its sample was sent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Attempted2020 {
    timestamp: Timestamp,
    segments_succeeded: u32,
    segments_failed: u32,
}

/// An outgoing text ended.
pub(crate) fn reported(
    service: &CommunicationService,
    message: &Message,
    ending: &Ending,
) -> Result<Event, NotAnEvent> {
    let shape = service.event_shape();
    let delivery_status = DeliveryStatus::of(ending.code).as_str();
    let delivery_status_details = ending.code.details(shape);
    let tag = message.tag.as_deref();
    let (message_id, from, to) = (message.id.as_str(), &*message.from, &message.to);
    let received_timestamp = ending.at;
    match shape {
        EventShape::Current => {
            let attempts = ending.attempts.iter().map(|attempt| Attempted {
                timestamp: attempt.at,
                segments_succeeded: attempt.segments_succeeded,
                segments_failed: attempt.segments_failed,
            });
            let data = Reported {
                message_id,
                from,
                to,
                delivery_status,
                delivery_status_details,
                received_timestamp,
                delivery_attempts: attempts.collect(),
                tag,
            };
            event(service, REPORTED, &message.id, from, &data, ending.at)
        }
        EventShape::Of2020 => {
            let attempts = ending.attempts.iter().map(|attempt| Attempted2020 {
                timestamp: attempt.at,
                segments_succeeded: attempt.segments_succeeded,
                segments_failed: attempt.segments_failed,
            });
            let data = Reported2020 {
                message_id,
                from,
                to,
                delivery_status,
                delivery_status_details,
                received_timestamp,
                delivery_attempts: attempts.collect(),
                tag,
            };
            event(service, REPORTED, &message.id, from, &data, ending.at)
        }
    }
}

/// The samples write the recipient of an outgoing text with its plus sign, and every other number without.
fn with_plus<S: serde::Serializer>(number: &&PhoneNumber, out: S) -> Result<S::Ok, S::Error> {
    out.collect_str(number)
}

fn event<D: Serialize>(
    service: &CommunicationService,
    event_type: &'static str,
    id: &MessageId,
    owned: &str,
    data: &D,
    now: Timestamp,
) -> Result<Event, NotAnEvent> {
    let topic: Arc<str> = service.id.as_str().into();
    let new = NewEvent {
        id: id.as_str(),
        topic: &topic,
        subject: &format!("/phonenumber/{owned}"),
        event_type,
        event_time: &now.to_string(),
        data_version: DATA_VERSION,
        data,
    };
    Event::event_grid(&new, now)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::samples::{keys, service};
    use crate::sms::message::Attempt;
    use crate::sms::message::tests::message;
    use crate::sms::status::StatusCode;

    const RECEIVED_SAMPLE: &str = include_str!("fixtures/Microsoft.Communication.SMSReceived.json");
    const REPORTED_SAMPLE: &str =
        include_str!("fixtures/Microsoft.Communication.SMSDeliveryReportReceived.json");

    fn sample(text: &str) -> Value {
        serde_json::from_str::<Value>(text).unwrap()[0].clone()
    }

    fn received_in(shape: EventShape) -> Event {
        let sample = sample(RECEIVED_SAMPLE);
        let service = service(shape, sample["topic"].as_str().unwrap());
        let inbound = Inbound {
            from: "15555555555".parse().unwrap(),
            to: "15555555555".parse().unwrap(),
            text: sample["data"]["Message"].as_str().unwrap().to_owned(),
        };
        let id = serde_json::from_value(sample["id"].clone()).unwrap();
        let now = sample["data"]["ReceivedTimestamp"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        received(&service, &id, &inbound, now).unwrap()
    }

    fn reported_in(shape: EventShape, tag: Option<&str>) -> Event {
        let sample = sample(REPORTED_SAMPLE);
        let service = service(shape, sample["topic"].as_str().unwrap());
        let mut message = message();
        message.tag = tag.map(str::to_owned);
        let ending = Ending {
            at: "2020-09-18T00:22:20.2855749Z".parse().unwrap(),
            code: StatusCode::Delivered,
            attempts: vec![Attempt {
                at: "2020-09-18T00:22:14.9315918Z".parse().unwrap(),
                segments_succeeded: 1,
                segments_failed: 0,
            }],
        };
        reported(&service, &message, &ending).unwrap()
    }

    fn value(event: &Event) -> Value {
        serde_json::from_slice(&event.json).unwrap()
    }

    /// The mission's samples were delivered later than they were made, so this one value differs.
    fn without_time(mut event: Value) -> Value {
        event["eventTime"].take();
        event
    }

    #[test]
    fn in_the_shape_of_2020_both_samples_are_reproduced_key_for_key() {
        let event = received_in(EventShape::Of2020);
        assert_eq!(
            keys(std::str::from_utf8(&event.json).unwrap()),
            keys(RECEIVED_SAMPLE)
        );
        assert_eq!(
            without_time(value(&event)),
            without_time(sample(RECEIVED_SAMPLE))
        );

        let event = reported_in(EventShape::Of2020, None);
        assert_eq!(
            keys(std::str::from_utf8(&event.json).unwrap()),
            keys(REPORTED_SAMPLE)
        );
        assert_eq!(
            without_time(value(&event)),
            without_time(sample(REPORTED_SAMPLE))
        );
    }

    #[test]
    fn the_current_received_event_has_the_fields_of_todays_types() {
        insta::assert_json_snapshot!(value(&received_in(EventShape::Current)));
    }

    #[test]
    fn the_current_report_event_has_the_fields_of_todays_types() {
        insta::assert_json_snapshot!(value(&reported_in(EventShape::Current, Some("campaign"))));
    }

    #[test]
    fn the_event_names_the_text_and_the_owned_number() {
        let event = reported_in(EventShape::Current, None);
        assert_eq!(
            &*event.id,
            "Outgoing_202009180022138813a09b-0cbf-4304-9b03-1546683bb910"
        );
        assert_eq!(&*event.subject, "/phonenumber/15555555555");
        assert_eq!(value(&event)["data"]["messageId"], *event.id);
        assert!(value(&event)["data"].get("tag").is_none());
    }
}
