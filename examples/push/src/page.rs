//! The page where a browser asks to be told, and what it reports.
//!
//! Promise: a subscription is answered with success once it is kept. Of what browsers showed, the last is remembered.

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Json, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use serde::{Deserialize, Serialize};

use crate::output;
use crate::push::Push;
use crate::subscriptions::{NotKept, Subscription};

/// A subscription is half a kilobyte, a notification at most four.
pub(crate) const MAX_BODY_BYTES: usize = 16 * 1024;

/// What a browser showed last, if one did.
#[derive(Default)]
pub(crate) struct Screen(Mutex<Option<Shown>>);

/// A notification as it was on a screen.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Shown {
    id: String,
    title: String,
    message: String,
    /// How many of the page's notifications the screen had then.
    on_screen: u32,
}

/// The page.
pub(crate) async fn index() -> Html<&'static str> {
    Html(include_str!("../page/index.html"))
}

/// What runs in the page.
pub(crate) async fn script() -> Response {
    javascript(include_str!("../page/page.js"))
}

/// What runs in the browser when a push arrives, whether the page is open or not.
pub(crate) async fn worker() -> Response {
    javascript(include_str!("../page/worker.js"))
}

fn javascript(text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, "text/javascript")], text).into_response()
}

/// The key to subscribe to.
pub(crate) async fn key(State(push): State<Arc<Push>>) -> String {
    push.vapid.public()
}

/// Keeps a browser's subscription. JSON is asked for by its type, which pages of other sites cannot send unasked.
pub(crate) async fn subscribe(
    State(push): State<Arc<Push>>,
    Json(new): Json<Subscription>,
) -> Response {
    let service = new.endpoint().host().unwrap_or_default().to_owned();
    match push.subscriptions.add(new).await {
        Ok(()) => {
            output::line(&format!(
                "a browser subscribed; its push service is {service}"
            ));
            StatusCode::CREATED.into_response()
        }
        Err(error @ NotKept::Full) => {
            (StatusCode::INSUFFICIENT_STORAGE, error.to_string()).into_response()
        }
        Err(error @ NotKept::File(_)) => {
            output::line(&error.to_string());
            (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response()
        }
    }
}

/// Remembers what a browser showed.
pub(crate) async fn show(State(screen): State<Arc<Screen>>, Json(shown): Json<Shown>) {
    output::line(&format!("event {}: on a screen", shown.id.escape_debug()));
    *screen.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(shown);
}

/// What a browser showed last.
pub(crate) async fn shown(State(screen): State<Arc<Screen>>) -> Json<Option<Shown>> {
    let shown = screen.0.lock().unwrap_or_else(PoisonError::into_inner);
    Json(shown.clone())
}
