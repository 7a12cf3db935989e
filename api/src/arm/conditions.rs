//! Changing a resource only if it is still as it was read: `ETag`, `If-Match`, `If-None-Match`.
//!
//! Promise: of two callers who read the same and change it under a condition, one is refused. The tag is a digest of
//! what is shown, so it changes whenever something visible does.
//! Source: reference management 4.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use gridpost_model::ResourceId;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use sha2::{Digest as _, Sha256};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::address::Address;
use super::{Answer, Call, MAX_BODY_BYTES, access};
use crate::problem::Refusal;

/// Who changes what under a condition. A turn is held from the comparison to the end of the change, which may wait for
/// somebody's endpoint; calls without a condition do not wait for it.
#[derive(Default)]
pub struct Turns(parking_lot::Mutex<HashMap<String, Arc<Mutex<()>>>>);

impl Turns {
    /// Waits for those who change the same before. There are as many as changes under way, at most.
    async fn take(&self, what: String) -> OwnedMutexGuard<()> {
        let turn = {
            let mut all = self.0.lock();
            // Nobody holds the others or waits for them any more.
            all.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(all.entry(what).or_default())
        };
        turn.lock_owned().await
    }
}

/// Waits for the conditional changes before this one, and compares. What is given back is held until the change is
/// done; `None` when the call has no condition.
pub(super) async fn hold(call: &Call) -> Result<Option<OwnedMutexGuard<()>>, Refusal> {
    let (must, must_not) = (
        given(call, &header::IF_MATCH),
        given(call, &header::IF_NONE_MATCH),
    );
    let changes = matches!(*call.method(), Method::PUT | Method::PATCH | Method::DELETE);
    if !changes || !is_one_resource(call) || (must.is_none() && must_not.is_none()) {
        return Ok(None);
    }
    let turn = call.parts.turns.take(name_of(call)).await;
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

fn name_of(call: &Call) -> String {
    let grid = &call.parts.grid;
    let source_of = |id: &ResourceId| grid.system_topic(id).map(|topic| topic.source.clone());
    canonical(&call.address, source_of)
}

/// One name for what lies at an address, in whichever form it is written: an event subscription is one thing below its
/// source, its topic and its system topic. `source_of` knows the sources of system topics.
fn canonical(address: &Address, source_of: impl Fn(&ResourceId) -> Option<ResourceId>) -> String {
    let scope = access::scope(address).to_ascii_lowercase();
    let words = address.words();
    let [above @ .., "eventsubscriptions", name] = &words[..] else {
        return scope;
    };
    let parent: Option<ResourceId> = if above.is_empty() {
        address.scope.clone()
    } else {
        scope.rsplitn(3, '/').last().and_then(|id| id.parse().ok())
    };
    let source = parent.map(|parent| source_of(&parent).unwrap_or(parent));
    let source = source.as_ref().map_or("", ResourceId::key);
    format!("{source}/eventsubscriptions/{name}")
}

/// The answer with its tag, when it shows one resource.
pub(super) async fn tagged(call: &Call, response: Response) -> Answer {
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
fn is_one_resource(call: &Call) -> bool {
    let names = call.address.names.len();
    match call.address.namespace {
        Some(_) => names > 0 && names.is_multiple_of(2),
        None => matches!(
            call.address.words()[..],
            ["subscriptions", _, "resourcegroups", _]
        ),
    }
}

fn given<'a>(call: &'a Call, name: &HeaderName) -> Option<&'a str> {
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
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn only_who_changes_the_same_waits_and_what_nobody_changes_is_forgotten() {
        let turns = Turns::default();
        let take = |what: &str| turns.take(what.to_owned()).now_or_never();
        let first = take("a");
        assert!(first.is_some());
        assert!(take("a").is_none());
        assert!(take("b").is_some());
        drop(first);
        assert!(take("a").is_some());
        let _other = take("c");
        assert_eq!(turns.0.lock().len(), 1);
    }

    #[test]
    fn an_event_subscription_has_one_name_in_every_form_and_shares_it_with_nobody() {
        let group = "/subscriptions/S/resourceGroups/G/providers";
        let dev = format!("{group}/Microsoft.Communication/communicationServices/dev");
        let source_of = |id: &ResourceId| {
            let is_topic = id.key().ends_with("/systemtopics/st");
            is_topic.then(|| dev.parse().unwrap())
        };
        let of = |path: String| canonical(&Address::parse(&path).unwrap(), source_of);
        let extension = "providers/Microsoft.EventGrid/eventSubscriptions";
        let topic = |name: &str| format!("{group}/Microsoft.EventGrid/topics/{name}");
        let below = of(format!("{}/eventSubscriptions/E", topic("a")));
        assert_eq!(of(format!("{}/{extension}/e", topic("A"))), below);
        assert_ne!(of(format!("{}/{extension}/e", topic("b"))), below);
        let system_topic = format!("{group}/Microsoft.EventGrid/systemTopics/st");
        assert_eq!(
            of(format!("{system_topic}/eventSubscriptions/e")),
            of(format!("{dev}/{extension}/e"))
        );
        assert_eq!(of(topic("A")), of(topic("a")));
        assert_ne!(of(topic("a")), of(dev.clone()));
    }

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
