//! The page behind `validationUrl`.
//!
//! Promise: a visit that brings the token confirms, and the visitor reads in plain words what happened. Only GET and
//! POST confirm; HEAD, with which programs look at links before a person does, changes nothing.
//! Not here: the token and its window (`grid`). CloudEvents endpoints call the same URL.
//! Source: reference event-grid 4.1 and 4.2.

use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use gridpost_grid::confirm::{ConfirmError, Confirmed};
use gridpost_model::Secret;
use gridpost_model::subscription::LaneId;
use http::{HeaderValue, StatusCode, header};

use crate::Shared;
use crate::problem::RETRY_AFTER_SECONDS;
use crate::routes::Routes;

/// `/eventsubscriptions/{lane}/validate`.
pub fn routes() -> Routes {
    Routes::new().route(
        "/eventsubscriptions/{lane}/validate",
        get(visit).post(visit).head(look),
    )
}

async fn visit(
    State(parts): State<Shared>,
    Path(lane): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let Some((lane, token)) = lane
        .parse()
        .ok()
        .map(LaneId)
        .zip(token_of(query.as_deref()))
    else {
        return page(&Err(ConfirmError::Unknown));
    };
    let outcome = parts.grid.confirm(lane, &token).await;
    if let Err(ConfirmError::NotStored(error)) = &outcome {
        tracing::warn!("a validated subscription was not stored: {error}");
    }
    page(&outcome)
}

async fn look() -> StatusCode {
    StatusCode::NO_CONTENT
}

fn token_of(query: Option<&str>) -> Option<Secret> {
    url::form_urlencoded::parse(query?.as_bytes())
        .find(|(name, _)| name == "token")
        .map(|(_, value)| Secret::new(value))
}

fn page(outcome: &Result<Confirmed, ConfirmError>) -> Response {
    let (status, text) = match outcome {
        Ok(confirmed) => (
            StatusCode::OK,
            format!(
                "The event subscription '{}' is validated. Its endpoint receives events from now on.\n",
                confirmed.name
            ),
        ),
        Err(ConfirmError::Unknown) => (
            StatusCode::NOT_FOUND,
            "No event subscription is waiting for this validation. \
             It may have been validated already, or deleted, or the link is incomplete.\n"
                .to_owned(),
        ),
        Err(ConfirmError::Expired) => (
            StatusCode::GONE,
            "This link has expired. Create the event subscription again to get a new one.\n"
                .to_owned(),
        ),
        Err(ConfirmError::NotStored(_)) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "The validation could not be stored. Please visit this link again in a moment.\n"
                .to_owned(),
        ),
    };
    let mut response = (status, text).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // The URL carries a token; it must not travel on with a click.
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(
            header::RETRY_AFTER,
            HeaderValue::from_static(RETRY_AFTER_SECONDS),
        );
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_grid_4_1_every_end_of_a_visit_has_its_page() {
        let confirmed = Confirmed {
            name: "es1".into(),
            source: "/s/x".parse().unwrap(),
        };
        assert_eq!(page(&Ok(confirmed)).status(), StatusCode::OK);
        assert_eq!(
            page(&Err(ConfirmError::Unknown)).status(),
            StatusCode::NOT_FOUND
        );
        assert_eq!(page(&Err(ConfirmError::Expired)).status(), StatusCode::GONE);
    }

    #[test]
    fn the_token_is_found_among_other_parameters() {
        let query = Some("id=1&t=2022-10-28T04%3A23%3A35Z&token=a%2Bb&apiVersion=x");
        assert_eq!(token_of(query), Some(Secret::new("a+b")));
        assert_eq!(token_of(Some("id=1")), None);
    }
}
