//! Events, as the JavaScript client's push handlers read them.
//!
//! Promise: every event of a user, in either shape, becomes the notification that the client's handler of that kind
//! reads; whatever has no kind there becomes none. Values within values are JSON text, escaped where the handler
//! unescapes.
//! Source: reference communication-services 7; `TrouterUtils.ts` of `@azure/communication-signaling` 1.0.0-beta.34.

use std::fmt::Write as _;

use gridpost_comms::identity::UserId;
use gridpost_model::{Event, Timestamp};
use serde_json::{Map, Value, json};

/// The `data` of one event.
struct Data<'a> {
    data: &'a Map<String, Value>,
    recipient: &'a UserId,
}

/// The notification of an event, for that user.
pub(super) fn of(event: &Event, recipient: &UserId) -> Option<Value> {
    let object: Value = serde_json::from_slice(&event.json).ok()?;
    let data = object.get("data")?.as_object()?;
    let kind = event.event_type.rsplit('.').next()?;
    let data = Data { data, recipient };
    Some(match kind {
        "ChatMessageReceived" => data.said(200, &[("messageBody", "messageBody")]),
        "ChatMessageEdited" => data.said(
            247,
            &[("messageBody", "messageBody"), ("edittime", "editTime")],
        ),
        "ChatMessageDeleted" => data.said(248, &[("deletetime", "deleteTime")]),
        "ChatTypingIndicatorReceivedInThread" => data.said(245, &[]),
        "ChatReadReceiptReceived" => data.read(),
        "ChatThreadCreatedWithUser" => data.of_thread(
            257,
            "createTime",
            ("createdBy", "createdBy"),
            &[
                ("members", data.members()),
                ("properties", data.properties()),
            ],
        ),
        "ChatThreadPropertiesUpdatedPerUser" => data.of_thread(
            258,
            "editTime",
            ("editedBy", "editedBy"),
            &[("properties", data.properties())],
        ),
        "ChatThreadWithUserDeleted" => {
            data.of_thread(259, "deleteTime", ("deletedBy", "deletedBy"), &[])
        }
        "ChatParticipantAddedToThreadWithUser" | "ChatMemberAddedToThreadWithUser" => data
            .of_thread(
                260,
                "time",
                ("addedBy", "addedBy"),
                &[("participantsAdded", data.moved("Added"))],
            ),
        "ChatParticipantRemovedFromThreadWithUser" | "ChatMemberRemovedFromThreadWithUser" => data
            .of_thread(
                261,
                "time",
                ("removedBy", "removedBy"),
                &[("participantsRemoved", data.moved("Removed"))],
            ),
        _ => return None,
    })
}

impl Data<'_> {
    fn text(&self, name: &str) -> &str {
        self.data.get(name).and_then(Value::as_str).unwrap_or("")
    }

    /// A user, under its name of 2020 or of today.
    fn user(&self, of_2020: &str) -> &str {
        let today = match of_2020.strip_suffix("Id") {
            Some(stem) => format!("{stem}CommunicationIdentifier"),
            None => format!("{of_2020}CommunicationIdentifier"),
        };
        match self.data.get(of_2020).and_then(Value::as_str) {
            Some(id) => id,
            None => self.data.get(&today).map_or("", raw_id),
        }
    }

    fn version(&self) -> String {
        self.data
            .get("version")
            .map(Value::to_string)
            .unwrap_or_default()
    }

    fn base(&self, event_id: u32) -> Map<String, Value> {
        let base = json!({
            "eventId": event_id,
            "groupId": self.text("threadId"),
            "senderId": self.user("senderId"),
            "recipientMri": self.recipient.as_str(),
            "clientMessageId": "",
        });
        base.as_object().cloned().unwrap_or_default()
    }

    /// Something that was said; `times` are further fields and where they come from.
    fn said(&self, event_id: u32, further: &[(&str, &str)]) -> Value {
        let mut out = self.base(event_id);
        let metadata = self.data.get("metadata").map(Value::to_string);
        let common = [
            ("messageId", self.text("messageId").to_owned()),
            (
                "senderDisplayName",
                self.text("senderDisplayName").to_owned(),
            ),
            ("messageType", self.text("type").to_owned()),
            ("version", self.version()),
            ("originalArrivalTime", self.text("composeTime").to_owned()),
            ("acsChatMessageMetadata", metadata.unwrap_or_default()),
        ];
        let further = further
            .iter()
            .map(|(name, from)| (*name, self.text(from).to_owned()));
        for (name, value) in common.into_iter().chain(further) {
            out.insert(name.to_owned(), value.into());
        }
        out.into()
    }

    fn read(&self) -> Value {
        let mut out = self.base(246);
        let message = self.text("chatMessageId");
        let at: Timestamp = self.text("readOn").parse().unwrap_or_default();
        let body = json!({
            "user": self.user("senderId"),
            "consumptionhorizon": format!("{message};{};{message}", at.millis()),
            "messageVisibilityTime": at.millis(),
            "version": message,
        });
        out.insert("messageId".to_owned(), message.into());
        out.insert("messageBody".to_owned(), body.to_string().into());
        out.into()
    }

    /// Something about a thread: when, by whom, and further fields.
    fn of_thread(
        &self,
        event_id: u32,
        time: &str,
        (name, by): (&str, &str),
        further: &[(&str, String)],
    ) -> Value {
        let by = json!({"participantId": self.user(by)});
        let mut out = json!({
            "eventId": event_id,
            "threadId": self.text("threadId"),
            "version": self.version(),
        });
        out[time] = self.text(time).into();
        out[name] = escaped(&by).into();
        for (name, value) in further {
            out[*name] = value.as_str().into();
        }
        out
    }

    fn members(&self) -> String {
        let people = self.data.get("participants").or(self.data.get("members"));
        let people = people
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice);
        escaped(&people.iter().map(person).collect())
    }

    /// The one who came or went: each event tells of one.
    fn moved(&self, how: &str) -> String {
        let today = self.data.get(&format!("participant{how}"));
        let moved = today.or(self.data.get(&format!("member{how}")));
        escaped(&moved.into_iter().map(person).collect())
    }

    fn properties(&self) -> String {
        let topic = self.data.get("properties").and_then(|all| all.get("topic"));
        let metadata = self.data.get("metadata").map(Value::to_string);
        escaped(&json!({
            "topic": topic,
            "acsChatThreadMetadata": metadata.unwrap_or_default(),
        }))
    }
}

fn raw_id(identifier: &Value) -> &str {
    identifier
        .get("rawId")
        .and_then(Value::as_str)
        .unwrap_or("")
}

/// A participant of today or a member of 2020.
fn person(person: &Value) -> Value {
    let today = person.get("participantCommunicationIdentifier");
    let of_2020 = person.get("memberId").and_then(Value::as_str);
    let mut out = json!({"participantId": of_2020.or(today.map(raw_id)).unwrap_or("")});
    if let Some(name) = person.get("displayName") {
        out["displayName"] = name.clone();
    }
    if let Some(metadata) = person.get("metadata") {
        out["memberMetaData"] = metadata.to_string().into();
    }
    out
}

/// JSON text that JavaScript's `unescape` gives back.
fn escaped(value: &Value) -> String {
    let text = value.to_string();
    let mut out = String::with_capacity(text.len() * 2);
    for unit in text.encode_utf16() {
        let plain = char::from_u32(u32::from(unit))
            .filter(|c| c.is_ascii_alphanumeric() || "@*_+-./".contains(*c));
        let _ = match plain {
            Some(c) => write!(out, "{c}"),
            None if unit < 0x100 => write!(out, "%{unit:02X}"),
            None => write!(out, "%u{unit:04X}"),
        };
    }
    out
}

#[cfg(test)]
mod tests {
    use gridpost_model::event::NewEvent;

    use super::*;

    const ME: &str =
        "8:acs:1f1e2d3c-0000-4000-8000-00000000abcd_00000005-3e0d-e5aa-0e04-343a0d00037c";

    fn notification(kind: &str, data: &Value) -> Option<Value> {
        let new = NewEvent {
            id: "1",
            topic: &"/r".into(),
            subject: "s",
            event_type: kind,
            event_time: "2026-11-22T00:00:00Z",
            data_version: "1.0",
            data,
        };
        let event = Event::event_grid(&new, Timestamp::EPOCH).unwrap();
        of(&event, &ME.parse().unwrap())
    }

    /// What JavaScript's `unescape` does.
    fn unescape(text: &str) -> String {
        let (mut units, mut rest) = (Vec::new(), text);
        while let Some(c) = rest.chars().next() {
            let (digits, length) = if rest.starts_with("%u") {
                (&rest[2..6], 6)
            } else if c == '%' {
                (&rest[1..3], 3)
            } else {
                units.push(u16::try_from(u32::from(c)).unwrap());
                rest = &rest[1..];
                continue;
            };
            units.push(u16::from_str_radix(digits, 16).unwrap());
            rest = &rest[length..];
        }
        String::from_utf16(&units).unwrap()
    }

    #[test]
    fn a_message_is_read_in_the_words_of_both_shapes() {
        let today = json!({"messageBody": "hi", "messageId": "160", "version": 160, "threadId": "19:t",
            "metadata": {"a": "b"}, "type": "Text", "composeTime": "2026-11-22T00:00:00Z",
            "senderCommunicationIdentifier": {"rawId": "8:acs:x", "communicationUser": {"id": "8:acs:x"}}});
        let of_2020 = json!({"messageBody": "hi", "messageId": "160", "version": 160, "threadId": "19:t",
            "type": "Text", "composeTime": "2026-11-22T00:00:00Z", "senderId": "8:acs:x"});
        for (data, metadata) in [(today, r#"{"a":"b"}"#), (of_2020, "")] {
            let told = notification("Microsoft.Communication.ChatMessageReceived", &data);
            let expected = json!({"eventId": 200, "groupId": "19:t", "senderId": "8:acs:x", "recipientMri": ME,
                "clientMessageId": "", "messageId": "160", "senderDisplayName": "", "messageType": "Text",
                "version": "160", "originalArrivalTime": "2026-11-22T00:00:00Z",
                "acsChatMessageMetadata": metadata, "messageBody": "hi"});
            assert_eq!(told, Some(expected));
        }
    }

    #[test]
    fn values_within_values_come_back_from_unescape() {
        let data = json!({"threadId": "19:t", "version": 1, "createTime": "2026-11-22T00:00:00Z",
            "createdBy": "8:acs:x", "properties": {"topic": "100% \"größer\" 🐝 %u0041"}, "metadata": {},
            "participants": [{"displayName": "Bø", "metadata": {"k": "v"},
                "participantCommunicationIdentifier": {"rawId": "8:acs:y"}}]});
        let told =
            notification("Microsoft.Communication.ChatThreadCreatedWithUser", &data).unwrap();
        let inner = |name: &str| -> Value {
            serde_json::from_str(&unescape(told[name].as_str().unwrap())).unwrap()
        };
        assert_eq!(inner("properties")["topic"], "100% \"größer\" 🐝 %u0041");
        assert_eq!(inner("createdBy"), json!({"participantId": "8:acs:x"}));
        assert_eq!(
            inner("members"),
            json!([{"participantId": "8:acs:y", "displayName": "Bø", "memberMetaData": "{\"k\":\"v\"}"}])
        );
    }

    #[test]
    fn a_receipt_tells_the_moment_where_the_client_looks_for_it() {
        let data = json!({"threadId": "19:t", "chatMessageId": "160", "readOn": "1970-01-01T00:00:01Z",
            "senderCommunicationIdentifier": {"rawId": "8:acs:x"}});
        let told = notification("Gridpost.ChatReadReceiptReceived", &data).unwrap();
        let body: Value = serde_json::from_str(told["messageBody"].as_str().unwrap()).unwrap();
        let horizon = body["consumptionhorizon"].as_str().unwrap();
        assert_eq!(horizon.split(';').nth(1), Some("1000"));
        assert_eq!(told["messageId"], "160");
    }

    #[test]
    fn what_the_client_has_no_handler_for_becomes_nothing() {
        assert_eq!(
            notification("Microsoft.Communication.SMSReceived", &json!({})),
            None
        );
    }
}
