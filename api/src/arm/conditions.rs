//! Changing a resource only if it is still as it was read: `ETag`, `If-Match`, `If-None-Match`.
//!
//! Promise: of two callers who read the same and change it under a condition, one is refused. The tag is a digest of
//! what is shown, so it changes whenever something visible does.
//! Source: reference management 4.

use axum::body::Body;
use axum::response::Response;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use sha2::{Digest as _, Sha256};
use tokio::sync::{Mutex, MutexGuard};

use super::{Answer, Call, MAX_BODY_BYTES};
use crate::problem::Refusal;

/// One is held from the comparison to the end of the change, which may wait for somebody's endpoint; calls without a
/// condition do not wait for it. Which one follows from the resource's own name, the end of its path in every form.
static TURNS: [Mutex<()>; 64] = [const { Mutex::const_new(()) }; 64];

/// Waits for the conditional changes before this one, and compares. What is given back is held until the change is
/// done; `None` when the call has no condition.
pub(super) async fn hold(call: &Call<'_>) -> Result<Option<MutexGuard<'static, ()>>, Refusal> {
    let (must, must_not) = (
        given(call, &header::IF_MATCH),
        given(call, &header::IF_NONE_MATCH),
    );
    let changes = matches!(*call.method(), Method::PUT | Method::PATCH | Method::DELETE);
    if !changes || !is_one_resource(call) || (must.is_none() && must_not.is_none()) {
        return Ok(None);
    }
    let turn = turn_of(call).lock().await;
    let found = Box::pin(call.as_get().dispatch()).await;
    let current = match found {
        Ok(response) => Some(tag_of(&bytes_of(response).await?)),
        Err(refusal) if refusal.is_not_found() => None,
        Err(refusal) => return Err(refusal),
    };
    let is_met = must.is_none_or(|wanted| names(wanted, current.as_deref()))
        && must_not.is_none_or(|unwanted| !names(unwanted, current.as_deref()));
    if is_met {
        return Ok(Some(turn));
    }
    let message = "The condition specified using HTTP conditional header(s) is not met.";
    Err(Refusal::new(
        StatusCode::PRECONDITION_FAILED,
        "PreconditionFailed",
        message,
    ))
}

fn turn_of(call: &Call<'_>) -> &'static Mutex<()> {
    let name = call.address.names.last().map_or("", String::as_str);
    let digest = Sha256::digest(name.to_ascii_lowercase());
    &TURNS[usize::from(digest[0]) % TURNS.len()]
}

/// The answer with its tag, when it shows one resource.
pub(super) async fn tagged(call: &Call<'_>, response: Response) -> Answer {
    let shows = matches!(response.status(), StatusCode::OK | StatusCode::CREATED)
        && matches!(*call.method(), Method::GET | Method::PUT | Method::PATCH);
    if !shows || !is_one_resource(call) {
        return Ok(response);
    }
    let (mut head, body) = response.into_parts();
    let body = bytes_of(Response::new(body)).await?;
    if let Ok(tag) = HeaderValue::from_str(&tag_of(&body)) {
        head.headers.insert(header::ETAG, tag);
    }
    Ok(Response::from_parts(head, Body::from(body)))
}

/// Types and names take turns, so a path to one resource has an even number of them.
fn is_one_resource(call: &Call<'_>) -> bool {
    let names = call.address.names.len();
    match call.address.namespace {
        Some(_) => names > 0 && names.is_multiple_of(2),
        None => matches!(
            call.address.words()[..],
            ["subscriptions", _, "resourcegroups", _]
        ),
    }
}

fn given<'a>(call: &'a Call<'_>, name: &HeaderName) -> Option<&'a str> {
    call.head.headers.get(name)?.to_str().ok()
}

/// Whether a list of tags names the current one; `*` names any that there is.
fn names(list: &str, current: Option<&str>) -> bool {
    let Some(current) = current else { return false };
    let plain = |tag: &str| {
        tag.trim()
            .trim_start_matches("W/")
            .trim_matches('"')
            .to_owned()
    };
    list.split(',')
        .any(|one| one.trim() == "*" || plain(one) == plain(current))
}

fn tag_of(body: &[u8]) -> String {
    let digest = Sha256::digest(body);
    format!("\"{}\"", BASE64_URL_SAFE_NO_PAD.encode(&digest[..12]))
}

async fn bytes_of(response: Response) -> Result<Bytes, Refusal> {
    // What we show was made from what was kept, which is smaller than what a request may carry.
    let read = axum::body::to_bytes(response.into_body(), MAX_BODY_BYTES).await;
    read.map_err(|_| Refusal::too_large(MAX_BODY_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_tags_names_the_current_one_in_every_spelling() {
        let table = [
            ("*", Some("\"a\""), true),
            ("*", None, false),
            ("\"a\"", Some("\"a\""), true),
            ("W/\"a\"", Some("\"a\""), true),
            ("a", Some("\"a\""), true),
            ("\"b\", \"a\"", Some("\"a\""), true),
            ("\"b\"", Some("\"a\""), false),
            ("\"a\"", None, false),
        ];
        for (list, current, is_named) in table {
            assert_eq!(names(list, current), is_named, "{list} {current:?}");
        }
    }
}
