//! Event subscriptions that wait for somebody to visit their validation URL.

use axum::Json;
use axum::extract::State;
use gridpost_grid::confirm::Awaiting;
use gridpost_model::Timestamp;
use serde::Serialize;

use super::Value;
use crate::Shared;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AwaitingOut {
    subscription: String,
    source: String,
    endpoint: String,
    because: &'static str,
    validation_url: String,
    until: Timestamp,
}

/// All of them, the first to expire first.
pub(super) async fn list(State(parts): State<Shared>) -> Json<Value<AwaitingOut>> {
    let awaiting = parts.grid.awaiting();
    Json(Value {
        value: awaiting.iter().map(AwaitingOut::from).collect(),
    })
}

impl From<&Awaiting> for AwaitingOut {
    fn from(awaiting: &Awaiting) -> Self {
        let subscription = &awaiting.subscription;
        Self {
            subscription: subscription.name.clone(),
            source: subscription.source.as_str().to_owned(),
            endpoint: subscription.destination.shown().to_owned(),
            because: awaiting.because,
            validation_url: awaiting.validation_url.reveal().to_owned(),
            until: awaiting.until,
        }
    }
}
