//! Signatures by the rules of standard-webhooks: a receiver with the secret can tell that a request is ours and fresh.
//!
//! Promise: the headers are `webhook-id`, `webhook-timestamp` and `webhook-signature`; the last is `v1,` and the base64
//! form of the HMAC-SHA256 of `id.timestamp.body`. An identifier names the events, so that it stays the same when they
//! are tried again.
//! Source: standard-webhooks 1.0. The cloud service has no signatures.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use gridpost_model::{Event, Secret, Timestamp};
use hmac::{Hmac, Mac as _};
use http::{HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest as _, Sha256};

const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// What a secret begins with.
const PREFIX: &str = "whsec_";

/// A secret, ready to sign.
#[derive(Clone)]
pub(crate) struct SigningKey(Hmac<Sha256>);

impl SigningKey {
    /// Reads `whsec_` and the base64 form of 24 to 64 bytes.
    pub(crate) fn parse(secret: &Secret) -> Option<Self> {
        let encoded = secret.reveal().strip_prefix(PREFIX)?;
        let key = BASE64_STANDARD.decode(encoded).ok()?;
        if !(24..=64).contains(&key.len()) {
            return None;
        }
        Hmac::new_from_slice(&key).ok().map(Self)
    }

    /// Signs a request: the identifier, the moment of sending, and the parts of the body in their order.
    pub(crate) fn sign<'a>(
        &self,
        headers: &mut HeaderMap,
        id: &str,
        at: Timestamp,
        body: impl IntoIterator<Item = &'a [u8]>,
    ) {
        let seconds = at.seconds().to_string();
        let mut hmac = self.0.clone();
        for part in [id, ".", &seconds, "."] {
            hmac.update(part.as_bytes());
        }
        body.into_iter().for_each(|part| hmac.update(part));
        let signature = BASE64_STANDARD.encode(hmac.finalize().into_bytes());
        for (name, text) in [
            (ID, id.to_owned()),
            (TIMESTAMP, seconds),
            (SIGNATURE, format!("v1,{signature}")),
        ] {
            if let Ok(value) = HeaderValue::try_from(text) {
                headers.insert(name, value);
            }
        }
    }
}

/// The name of what is sent: the same events have the same one, whenever they are sent.
pub(crate) fn message_id(events: &[&Event]) -> String {
    let mut hash = Sha256::new();
    for event in events {
        // Neither can contain a zero byte and be JSON text without an escape; together they tell events apart.
        for part in [&*event.topic, &*event.id] {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
    }
    let name = BASE64_URL_SAFE_NO_PAD.encode(&hash.finalize()[..16]);
    format!("msg_{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example that the reference libraries of standard-webhooks test themselves with.
    #[test]
    fn the_vector_of_the_reference_libraries_is_met() {
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let key = SigningKey::parse(&secret).unwrap();
        let mut headers = HeaderMap::new();
        let body: [&[u8]; 2] = [br#"{"test": "#, b"2432232314}"];
        let at = Timestamp::from_seconds(1_614_265_330);
        key.sign(&mut headers, "msg_p5jXN8AQM9LWM0D4loKWxJek", at, body);
        assert_eq!(headers[ID], "msg_p5jXN8AQM9LWM0D4loKWxJek");
        assert_eq!(headers[TIMESTAMP], "1614265330");
        assert_eq!(
            headers[SIGNATURE],
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn the_same_events_have_the_same_name_and_others_another() {
        let event = |subject: &str, id: &str| Event {
            id: id.into(),
            ..crate::testing::event("t", subject)
        };
        let (one, other) = (event("s", "1"), event("s", "2"));
        assert_eq!(message_id(&[&one]), message_id(&[&one]));
        assert_ne!(message_id(&[&one]), message_id(&[&other]));
        assert_ne!(message_id(&[&one, &other]), message_id(&[&other, &one]));
        assert!(message_id(&[&one]).starts_with("msg_"));
    }
}
