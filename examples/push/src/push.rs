//! A notification for every browser: RFC 8030.
//!
//! Promise: `tell` says whether every push service took what it was given. A browser whose push service answers that it
//! is gone is forgotten. Telling again replaces the notification instead of doubling it: it has the same topic towards the
//! push service, and the same tag on the screen.
//! Not here: what the event was (`webhook`).

use anyhow::Result;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use http::{Request, StatusCode, header};
use http_body_util::Full;
use ring::digest::{SHA256, digest};
use serde::Serialize;

use crate::clock;
use crate::encryption::{self, MAX_TEXT_BYTES};
use crate::outbound::{Answer, Outbound};
use crate::output;
use crate::subscriptions::{Subscription, Subscriptions};
use crate::vapid::Vapid;

/// How many push services are spoken to at once. With `MAX_SUBSCRIPTIONS` browsers that is four rounds of at most
/// `outbound::PATIENCE`: 20 of the 30 seconds that Event Grid waits for an answer.
const AT_ONCE: usize = 25;

/// How long a push service keeps a message for a browser that is off: as long as Event Grid would keep trying.
const KEPT_SECONDS: &str = "86400";

/// A text is for a person and soon, but not worth the last of a battery: "Chat or Calendar Message" in the table of
/// RFC 8030, section 5.3.
const URGENCY: &str = "normal";

/// RFC 8030, section 5.4, allows 32 letters of base64url: 24 bytes.
const TOPIC_BYTES: usize = 24;

/// What a browser shows. The service worker reads this as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Notification {
    /// The event's id, at most `webhook::MAX_ID_BYTES`.
    pub(crate) id: String,
    /// The first line, short.
    pub(crate) title: String,
    /// The text. What does not fit one push is cut off.
    pub(crate) message: String,
}

/// How telling everyone went, in numbers of browsers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) taken: usize,
    pub(crate) gone: usize,
    pub(crate) failed: usize,
}

/// Tells browsers.
pub(crate) struct Push {
    pub(crate) vapid: Vapid,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) outbound: Outbound,
}

/// What one push service made of one message.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// It will deliver it.
    Taken,
    /// The subscription is no more.
    Gone,
    /// Not now, for this reason.
    Failed(String),
}

impl Push {
    /// Tells every browser.
    pub(crate) async fn tell(&self, notification: &Notification) -> Told {
        let text = written(notification);
        let topic = topic(&notification.id);
        let browsers = self.subscriptions.all().await;
        let outcomes: Vec<_> = stream::iter(browsers)
            .map(|browser| self.tell_one(browser, &text, &topic))
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        count(&outcomes)
    }

    async fn tell_one(&self, browser: Subscription, text: &[u8], topic: &str) -> Outcome {
        let outcome = match self.send(&browser, text, topic).await {
            Ok(answer) => judge(&answer),
            Err(error) => Outcome::Failed(format!("{error:#}")),
        };
        let service = browser.endpoint().host().unwrap_or_default();
        match &outcome {
            Outcome::Taken => {}
            Outcome::Gone => {
                output::line(&format!("{service}: a browser is gone and is forgotten"));
                if let Err(error) = self.subscriptions.remove(browser.endpoint()).await {
                    output::line(&format!("{error}; it is forgotten the next time"));
                }
            }
            Outcome::Failed(why) => output::line(&format!("{service}: not taken: {why}")),
        }
        outcome
    }

    async fn send(&self, browser: &Subscription, text: &[u8], topic: &str) -> Result<Answer> {
        let body = encryption::encrypt(browser.keys(), text)?;
        let endpoint = browser.endpoint();
        let request = Request::post(endpoint)
            .header(
                header::AUTHORIZATION,
                self.vapid.authorization(endpoint, clock::now_seconds())?,
            )
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .header(header::CONTENT_ENCODING, "aes128gcm")
            .header("ttl", KEPT_SECONDS)
            .header("urgency", URGENCY)
            .header("topic", topic)
            .body(Full::new(Bytes::from(body)))?;
        self.outbound.send(request).await
    }
}

/// RFC 8030, section 5, and for what is gone section 7.3; some services say 404 where others say 410.
fn judge(answer: &Answer) -> Outcome {
    match answer.status {
        status if status.is_success() => Outcome::Taken,
        StatusCode::NOT_FOUND | StatusCode::GONE => Outcome::Gone,
        status => Outcome::Failed(format!("{status} {}", answer.text.trim())),
    }
}

fn count(outcomes: &[Outcome]) -> Told {
    let mut told = Told::default();
    for outcome in outcomes {
        match outcome {
            Outcome::Taken => told.taken += 1,
            Outcome::Gone => told.gone += 1,
            Outcome::Failed(_) => told.failed += 1,
        }
    }
    told
}

/// What is encrypted: JSON that fits one push, whatever the length of the text.
fn written(notification: &Notification) -> Vec<u8> {
    let write = |notification: &Notification| {
        serde_json::to_vec(notification).expect("three strings can always be written as JSON")
    };
    let whole = write(notification);
    let excess = whole.len().saturating_sub(MAX_TEXT_BYTES);
    if excess == 0 {
        return whole;
    }
    // A byte of the text is at least one in JSON, so leaving out as many is enough.
    let text = &notification.message;
    let keep = text.len().saturating_sub(excess + '…'.len_utf8());
    let mut shorter = text[..text.floor_char_boundary(keep)].to_owned();
    shorter.push('…');
    write(&Notification {
        message: shorter,
        ..notification.clone()
    })
}

/// One topic for each event.
fn topic(id: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(&digest(&SHA256, id.as_bytes()).as_ref()[..TOPIC_BYTES])
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn notification(text: &str) -> Notification {
        Notification {
            id: "0d8a7c1e".to_owned(),
            title: "Text from +14255550123".to_owned(),
            message: text.to_owned(),
        }
    }

    fn answer(status: u16) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            text: "because\n".to_owned(),
        }
    }

    #[test]
    fn section_5_and_7_3_what_a_push_service_answers_decides() {
        for status in [200, 201, 202, 204] {
            assert_eq!(judge(&answer(status)), Outcome::Taken, "{status}");
        }
        for status in [404, 410] {
            assert_eq!(judge(&answer(status)), Outcome::Gone, "{status}");
        }
        for status in [301, 400, 401, 403, 413, 429, 500, 503] {
            let Outcome::Failed(why) = judge(&answer(status)) else {
                panic!("{status} is a failure")
            };
            assert!(why.starts_with(&status.to_string()), "{why}");
            assert!(why.ends_with("because"), "{why}");
        }
    }

    #[test]
    fn a_text_of_any_length_and_any_letters_fits_one_message() {
        for letter in ["a", "é", "語", "😀", "\"", "\u{1}"] {
            let text = letter.repeat(5_000);
            let written = written(&notification(&text));
            assert!(written.len() <= MAX_TEXT_BYTES, "{letter}");
            let read: Value = serde_json::from_slice(&written).unwrap();
            let shown = read["message"].as_str().unwrap();
            let kept = shown.strip_suffix('…').unwrap();
            assert!(text.starts_with(kept), "{letter}");
        }
        let short = written(&notification("Hello"));
        let read: Value = serde_json::from_slice(&short).unwrap();
        assert_eq!(read["message"], "Hello");
    }

    #[test]
    fn section_5_4_a_topic_is_the_same_for_the_same_event_only() {
        let first = topic("0d8a7c1e-0000-0000-0000-000000000001");
        assert_eq!(first, topic("0d8a7c1e-0000-0000-0000-000000000001"));
        assert_ne!(first, topic("0d8a7c1e-0000-0000-0000-000000000002"));
        assert_eq!(first.len(), 32);
    }
}
