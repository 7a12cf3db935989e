//! One exchange with a destination, as it is remembered.
//!
//! Promise: it is bounded in bytes whatever was said, and holds no secret that a request or an answer carries by
//! custom: query strings, credentials, cookies, signatures, secret delivery attributes.
//! Not here: which exchanges are remembered (`recent`), how they are shown (`api`).

use bytes::Bytes;
use gridpost_model::subscription::{AttributeValue, EventSubscription};
use http::{HeaderMap, HeaderValue, header};

use crate::outbound::{Body, Outcome as Received};

/// How much of a body is remembered: an ordinary event or error page, whole.
pub const BODY_KEPT: usize = 4 << 10;

/// How much of a head is remembered.
const HEAD_KEPT: usize = 4 << 10;

/// What stands where a secret was.
pub(crate) const MASK: &str = "•••";

/// What was sent and what came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// What was sent. `None` when nothing was, or when the destination does not speak HTTP.
    pub request: Option<Request>,
    /// What came back.
    pub answer: Option<Answer>,
    /// Why nothing did.
    pub failure: Option<String>,
}

/// What was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The path; a query is masked.
    pub target: String,
    /// The head.
    pub headers: Headers,
    /// The body.
    pub body: Excerpt,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// The head.
    pub headers: Headers,
    /// The body.
    pub body: Excerpt,
}

/// Names and values in their order, as many as fit into 4 KiB.
pub type Headers = Vec<(Box<str>, Box<str>)>;

/// The beginning of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// At most [`BODY_KEPT`] bytes of it.
    pub bytes: Bytes,
    /// How long all of it is.
    pub whole_bytes: usize,
}

impl Exchange {
    /// What is worth remembering.
    pub(crate) fn new(
        subscription: &EventSubscription,
        request: Option<&http::Request<Body>>,
        received: &Received,
    ) -> Self {
        let request = request.map(|request| Request {
            method: request.method().to_string(),
            target: without_query(request.uri()),
            headers: shown(request.headers(), &secret_attributes(subscription)),
            body: excerpt(request.body().beginning(BODY_KEPT), request.body().size()),
        });
        match received {
            Received::Answered(response) => Self {
                request,
                answer: Some(Answer {
                    status: response.status.as_u16(),
                    headers: shown(&response.headers, &[]),
                    body: excerpt(response.body.to_vec(), response.body.len()),
                }),
                failure: None,
            },
            Received::Failed(failure) => Self {
                request,
                answer: None,
                failure: Some(failure.to_string()),
            },
        }
    }

    /// About as many bytes it takes to remember.
    pub(crate) fn size(&self) -> usize {
        const FRAME: usize = 256;
        let of_headers = |headers: &Headers| -> usize {
            let pair = |(name, value): &(Box<str>, Box<str>)| name.len() + value.len() + 32;
            headers.iter().map(pair).sum()
        };
        let request = self.request.as_ref().map_or(0, |request| {
            request.target.len() + of_headers(&request.headers) + request.body.bytes.len()
        });
        let answer = self.answer.as_ref().map_or(0, |answer| {
            of_headers(&answer.headers) + answer.body.bytes.len()
        });
        FRAME + request + answer + self.failure.as_ref().map_or(0, String::len)
    }
}

fn without_query(uri: &http::Uri) -> String {
    match uri.query() {
        Some(_) => format!("{}?{MASK}", uri.path()),
        None => uri.path().to_owned(),
    }
}

/// Headers that a subscription says are secret.
fn secret_attributes(subscription: &EventSubscription) -> Vec<&str> {
    let is_secret = |value: &AttributeValue| {
        matches!(
            value,
            AttributeValue::Static {
                is_secret: true,
                ..
            }
        )
    };
    let attributes = subscription.destination.attributes();
    attributes
        .iter()
        .filter(|attribute| is_secret(&attribute.value))
        .map(|attribute| attribute.name.as_str())
        .collect()
}

fn shown(headers: &HeaderMap, secret: &[&str]) -> Headers {
    let mut left = HEAD_KEPT;
    let mut shown = Headers::new();
    for (name, value) in headers {
        let text = if is_secret(name.as_str(), value, secret) {
            MASK.into()
        } else {
            plain(name, value)
        };
        let Some(rest) = left.checked_sub(name.as_str().len() + text.len()) else {
            break;
        };
        left = rest;
        shown.push((name.as_str().into(), text));
    }
    shown
}

fn plain(name: &header::HeaderName, value: &HeaderValue) -> Box<str> {
    let text = String::from_utf8_lossy(value.as_bytes());
    match text.split_once('?') {
        Some((before, _)) if *name == header::LOCATION => format!("{before}?{MASK}").into(),
        _ => text.into(),
    }
}

/// Whether a header carries a secret: marked so, named so by the subscription, or by its name.
pub(crate) fn is_secret(name: &str, value: &HeaderValue, named: &[&str]) -> bool {
    const TELLING: [&str; 8] = [
        "authorization",
        "cookie",
        "credential",
        "password",
        "secret",
        "signature",
        "token",
        "apikey",
    ];
    value.is_sensitive()
        || named.iter().any(|one| one.eq_ignore_ascii_case(name))
        || TELLING.iter().any(|word| name.contains(word))
        || name.ends_with("-key")
}

fn excerpt(mut beginning: Vec<u8>, whole_bytes: usize) -> Excerpt {
    beginning.truncate(BODY_KEPT);
    beginning.shrink_to_fit();
    Excerpt {
        bytes: beginning.into(),
        whole_bytes,
    }
}

#[cfg(test)]
mod tests {
    use gridpost_model::subscription::DeliveryAttribute;
    use gridpost_model::{Destination, Filter};
    use http::StatusCode;

    use super::*;
    use crate::outbound::{Failure, Response};
    use crate::testing;

    fn value<'a>(headers: &'a Headers, name: &str) -> &'a str {
        let found = headers.iter().find(|(found, _)| **found == *name);
        found.map_or("", |(_, value)| value)
    }

    #[test]
    fn secrets_are_masked_on_both_sides() {
        let mut subscription = testing::subscription(1, Filter::default());
        let Destination::WebHook(hook) = &mut subscription.destination else {
            panic!("{subscription:?}");
        };
        hook.attributes = vec![DeliveryAttribute::secret("X-Shop", "s3cret")];
        let request = http::Request::post("/hook?code=s3cret")
            .header("authorization", "Bearer s3cret")
            .header("aeg-sas-key", "s3cret")
            .header("webhook-signature", "v1,s3cret")
            .header("x-shop", "s3cret")
            .header("aeg-event-type", "Notification")
            .body(Body::Whole("[{}]".into()))
            .unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("set-cookie", "s3cret".parse().unwrap());
        headers.insert("location", "/there?code=s3cret".parse().unwrap());
        let received = Received::Answered(Response {
            status: StatusCode::FOUND,
            headers,
            body: "no".into(),
        });
        let exchange = Exchange::new(&subscription, Some(&request), &received);
        assert!(!format!("{exchange:?}").contains("s3cret"), "{exchange:?}");
        let sent = exchange.request.unwrap();
        assert_eq!(sent.target, "/hook?•••");
        assert_eq!(value(&sent.headers, "aeg-event-type"), "Notification");
        assert_eq!(value(&sent.headers, "x-shop"), MASK);
        assert_eq!(&*sent.body.bytes, b"[{}]");
        let answer = exchange.answer.unwrap();
        assert_eq!(value(&answer.headers, "location"), "/there?•••");
    }

    #[test]
    fn a_long_exchange_is_cut() {
        let subscription = testing::subscription(1, Filter::default());
        let mut request = http::Request::new(Body::array_of_one("x".repeat(100_000).into()));
        for number in 0..100 {
            let name = format!("x-{number}").parse::<http::HeaderName>().unwrap();
            let text = HeaderValue::from_str(&"y".repeat(500)).unwrap();
            request.headers_mut().insert(name, text);
        }
        let received = Received::Failed(Failure::TimedOut);
        let exchange = Exchange::new(&subscription, Some(&request), &received);
        let sent = exchange.request.as_ref().unwrap();
        assert_eq!(sent.body.bytes.len(), BODY_KEPT);
        assert_eq!(sent.body.whole_bytes, 100_002);
        assert!(sent.body.bytes.starts_with(b"[xxx"));
        assert!(exchange.size() < BODY_KEPT + HEAD_KEPT + 1024);
        assert_eq!(
            exchange.failure.as_deref(),
            Some("no answer within the time limit")
        );
    }
}
