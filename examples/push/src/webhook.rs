//! What Event Grid posts.
//!
//! Promise: an event is answered with success only when every push service took its notification. Otherwise the answer is
//! 503, Event Grid comes again, and who was told already sees the same notification replaced.
//! Not here: pushing (`push`).

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::output;
use crate::push::{Notification, Push};

/// The largest batch that Event Grid delivers.
pub(crate) const MAX_BODY_BYTES: usize = 1024 * 1024;

/// Event ids are identifiers; a longer one would leave no room for the text in a push message.
const MAX_ID_BYTES: usize = 256;

/// A phone number in E.164 has 15 digits; a short code or an alphanumeric sender is no longer.
const MAX_SENDER_LETTERS: usize = 16;

#[derive(Deserialize)]
struct Event {
    id: String,
    #[serde(rename = "eventType")]
    kind: String,
    #[serde(default)]
    data: Value,
}

/// The data of `SMSReceived`; the names began with capitals in 2020.
#[derive(Deserialize)]
struct Text {
    #[serde(alias = "From")]
    from: String,
    #[serde(alias = "Message")]
    message: String,
}

/// What was posted is not what Event Grid posts.
#[derive(Debug, thiserror::Error)]
enum BadRequest {
    #[error("not a batch of events")]
    Batch(#[source] serde_json::Error),
    #[error("a handshake without a code")]
    Handshake,
    #[error("an id longer than {MAX_ID_BYTES} bytes")]
    Id,
    #[error("an SMSReceived event without sender or message")]
    Text(#[source] serde_json::Error),
}

/// Answers one request of Event Grid.
pub(crate) async fn receive(
    State(push): State<Arc<Push>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let is_handshake = headers
        .get("aeg-event-type")
        .is_some_and(|kind| kind == "SubscriptionValidation");
    if is_handshake {
        return match validation_code(&body) {
            Ok(code) => {
                output::line("Event Grid asked whether we want its events; we do");
                Json(json!({"validationResponse": code})).into_response()
            }
            Err(error) => refuse(&error),
        };
    }
    match notifications(&body) {
        Ok(notifications) => tell(&push, &notifications).await,
        Err(error) => refuse(&error),
    }
}

/// 400 tells Event Grid not to come again: the event would not get better.
fn refuse(error: &BadRequest) -> Response {
    (StatusCode::BAD_REQUEST, error.to_string()).into_response()
}

async fn tell(push: &Push, notifications: &[Notification]) -> Response {
    let mut failed = 0;
    for notification in notifications {
        let told = push.tell(notification).await;
        output::line(&format!(
            "event {}: pushed to {}, gone {}, failed {}",
            notification.id.escape_debug(),
            told.taken,
            told.gone,
            told.failed
        ));
        failed += told.failed;
    }
    if failed == 0 {
        return StatusCode::OK.into_response();
    }
    let why = format!("{failed} pushes were not taken");
    (StatusCode::SERVICE_UNAVAILABLE, why).into_response()
}

fn validation_code(body: &[u8]) -> Result<String, BadRequest> {
    let events: Vec<Event> = serde_json::from_slice(body).map_err(BadRequest::Batch)?;
    let code = events
        .first()
        .and_then(|it| it.data["validationCode"].as_str());
    code.map(str::to_owned).ok_or(BadRequest::Handshake)
}

/// One for each text in the batch; other events are for others.
fn notifications(body: &[u8]) -> Result<Vec<Notification>, BadRequest> {
    let events: Vec<Event> = serde_json::from_slice(body).map_err(BadRequest::Batch)?;
    events
        .into_iter()
        .filter(|event| event.kind == "Microsoft.Communication.SMSReceived")
        .map(notification)
        .collect()
}

fn notification(event: Event) -> Result<Notification, BadRequest> {
    if event.id.len() > MAX_ID_BYTES {
        return Err(BadRequest::Id);
    }
    let text: Text = serde_json::from_value(event.data).map_err(BadRequest::Text)?;
    let sender: String = text.from.chars().take(MAX_SENDER_LETTERS).collect();
    Ok(Notification {
        id: event.id,
        title: format!("Text from +{}", sender.trim_start_matches('+')),
        message: text.message,
    })
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use axum::routing::post;
    use tokio::net::TcpListener;
    use tower::ServiceExt as _;

    use super::*;
    use crate::subscriptions::tests::subscription;

    /// The example with one browser for each status its push service answers with.
    struct World {
        push: Arc<Push>,
        _folder: tempfile::TempDir,
    }

    impl World {
        async fn with_browsers(statuses: &[u16]) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let contact = "mailto:operator@example.com".to_owned();
            let push = crate::open(folder.path(), contact).await.unwrap();
            let service = push_service().await;
            for status in statuses {
                let endpoint = format!("{service}/{status}");
                let browser = subscription(&endpoint);
                push.subscriptions.add(browser).await.unwrap();
            }
            Self {
                push: Arc::new(push),
                _folder: folder,
            }
        }

        async fn post(&self, kind: &str, body: &Value) -> (StatusCode, String) {
            let router = Router::new()
                .route("/", post(receive))
                .with_state(Arc::clone(&self.push));
            let request = Request::post("/")
                .header("aeg-event-type", kind)
                .body(Body::from(body.to_string()))
                .unwrap();
            let response = router.oneshot(request).await.unwrap();
            let status = response.status();
            let text = to_bytes(response.into_body(), MAX_BODY_BYTES)
                .await
                .unwrap();
            (status, String::from_utf8(text.to_vec()).unwrap())
        }

        async fn text(&self) -> StatusCode {
            self.post("Notification", &json!([sms()])).await.0
        }

        async fn browsers(&self) -> usize {
            self.push.subscriptions.all().await.len()
        }
    }

    /// Answers `/410` with 410, provided that the request is what RFC 8030 and 8291 ask for.
    async fn push_service() -> String {
        async fn answer(uri: http::Uri, headers: HeaderMap, body: Bytes) -> StatusCode {
            let is_good = headers["content-encoding"] == "aes128gcm"
                && headers["ttl"] == "86400"
                && headers["topic"].len() == 32
                && headers["authorization"].as_bytes().starts_with(b"vapid t=")
                && !body.is_empty();
            let status = uri.path().trim_start_matches('/').parse().unwrap();
            let status = StatusCode::from_u16(status).unwrap();
            if is_good {
                status
            } else {
                StatusCode::IM_A_TEAPOT
            }
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(answer);
        tokio::spawn(async { axum::serve(listener, router).await });
        format!("http://{address}")
    }

    fn sms() -> Value {
        json!({
            "id": "0d8a7c1e",
            "topic": "/subscriptions/x",
            "subject": "/phonenumber/15555550100",
            "eventType": "Microsoft.Communication.SMSReceived",
            "data": {"from": "14255550123", "to": "15555550100", "message": "Hello"},
            "dataVersion": "1.0",
            "eventTime": "2026-01-01T00:00:00Z",
        })
    }

    #[tokio::test]
    async fn the_handshake_is_answered_with_its_code() {
        let world = World::with_browsers(&[]).await;
        let event = json!([{
            "id": "1",
            "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
            "data": {"validationCode": "512d38b6", "validationUrl": "https://example.com"},
        }]);
        let (status, text) = world.post("SubscriptionValidation", &event).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(text, r#"{"validationResponse":"512d38b6"}"#);
        let (status, _) = world.post("SubscriptionValidation", &json!([])).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
    }

    #[tokio::test]
    async fn a_text_that_everybody_was_told_of_is_accepted() {
        let world = World::with_browsers(&[201, 200]).await;
        assert_eq!(world.text().await, StatusCode::OK);
        assert_eq!(world.browsers().await, 2);
    }

    #[tokio::test]
    async fn a_browser_that_is_gone_is_forgotten_and_not_missed() {
        let world = World::with_browsers(&[201, 410, 404]).await;
        assert_eq!(world.text().await, StatusCode::OK);
        assert_eq!(world.browsers().await, 1);
    }

    #[tokio::test]
    async fn event_grid_comes_again_when_a_push_service_did_not_take_it() {
        for status in [401, 403, 429, 500, 503] {
            let world = World::with_browsers(&[201, status]).await;
            assert_eq!(world.text().await, StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(world.browsers().await, 2, "nobody is forgotten");
        }
    }

    #[tokio::test]
    async fn other_events_are_accepted_and_told_to_nobody() {
        let world = World::with_browsers(&[500]).await;
        let mut event = sms();
        event["eventType"] = "Microsoft.Communication.SMSDeliveryReportReceived".into();
        let (status, _) = world.post("Notification", &json!([event])).await;
        assert_eq!(status, StatusCode::OK);
    }

    #[tokio::test]
    async fn what_is_no_event_is_refused_for_good() {
        let world = World::with_browsers(&[201]).await;
        let mut silent = sms();
        silent["data"] = json!({"from": "14255550123"});
        let mut long = sms();
        long["id"] = "x".repeat(MAX_ID_BYTES + 1).into();
        for body in [json!({}), json!([1]), json!([silent]), json!([long])] {
            let (status, _) = world.post("Notification", &body).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
        }
    }

    #[test]
    fn a_text_becomes_a_notification_in_either_shape_of_the_event() {
        let expected = Notification {
            id: "0d8a7c1e".to_owned(),
            title: "Text from +14255550123".to_owned(),
            message: "Hello".to_owned(),
        };
        let mut of_2020 = sms();
        of_2020["data"] = json!({"From": "14255550123", "Message": "Hello"});
        let body = json!([sms(), of_2020]).to_string();
        let found = notifications(body.as_bytes()).unwrap();
        assert_eq!(found, [expected.clone(), expected]);
    }
}
