//! Packets of socket.io 0.9, protocol 1, as far as the client's push connection uses them.
//!
//! Promise: what is no packet of it is `None`; nothing panics.
//! Source: the protocol's published description; `@azure/communication-signaling` 1.0.0-beta.34.

use serde::Deserialize;
use serde_json::{Value, json};

/// What a client says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Packet {
    /// It leaves.
    Disconnect,
    /// An event. With a number, it wants to hear that it came.
    Event { acknowledge: Option<u64> },
    /// Anything else: a heartbeat, the answer to a notification.
    Other,
}

impl Packet {
    /// Reads `type:id[+]:endpoint[:data]`.
    pub(super) fn read(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        let (id, rest) = rest.split_once(':').unwrap_or((rest, ""));
        let data = rest.split_once(':').map_or("", |(_, data)| data);
        Some(match kind {
            "0" => Self::Disconnect,
            "5" => {
                #[derive(Deserialize)]
                struct Named {
                    #[serde(rename = "name")]
                    _name: String,
                }
                let _: Named = serde_json::from_str(data).ok()?;
                let number = id.trim_end_matches('+');
                Self::Event {
                    acknowledge: number.parse().ok(),
                }
            }
            "1" | "2" | "3" | "4" | "6" | "7" | "8" => Self::Other,
            _ => return None,
        })
    }
}

/// The connection is there.
pub(super) const CONNECT: &str = "1::";

/// We are there.
pub(super) const HEARTBEAT: &str = "2::";

/// It is over.
pub(super) const DISCONNECT: &str = "0::";

/// It is over, and another token would help.
pub(super) const UNAUTHORIZED: &str = r#"0:::{"reason":"unauthorized"}"#;

/// The event of that number came.
pub(super) fn acknowledgement(number: u64) -> String {
    format!("6:::{number}+[]")
}

/// An event with one argument.
pub(super) fn event(name: &str, argument: &Value) -> String {
    format!("5:::{}", json!({"name": name, "args": [argument]}))
}

/// A message.
pub(super) fn message(data: &Value) -> String {
    format!("3:::{data}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_of_the_client_are_read() {
        let event = |acknowledge| Some(Packet::Event { acknowledge });
        let table = [
            (r#"5:1+::{"name":"ping"}"#, event(Some(1))),
            (
                r#"5:12::{"name":"ping","args":[{"a":"b:c"}]}"#,
                event(Some(12)),
            ),
            (r#"5:::{"name":"user.activity"}"#, event(None)),
            ("0::", Some(Packet::Disconnect)),
            ("2::", Some(Packet::Other)),
            (r#"3:::{"id":1,"status":200}"#, Some(Packet::Other)),
            ("5:::", None),
            ("5:1+::[]", None),
            ("9::", None),
            ("", None),
            ("hello", None),
        ];
        for (text, packet) in table {
            assert_eq!(Packet::read(text), packet, "{text}");
        }
    }

    #[test]
    fn packets_to_the_client_have_its_form() {
        assert_eq!(acknowledgement(7), "6:::7+[]");
        assert_eq!(
            event("trouter.connected", &json!({"ttl": "1"})),
            r#"5:::{"args":[{"ttl":"1"}],"name":"trouter.connected"}"#
        );
    }
}
