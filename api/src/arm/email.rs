//! `Microsoft.Communication/emailServices` with their domains, senders and suppression lists, and the SMTP user names of
//! communication resources.
//!
//! Promise: PUT answers 201 for what is new and 200 for what was there; asking for a verification answers 202 with the
//! place to look at, where it is done already.
//! Not here: what each type's body has to say (`email_body`), keeping any of it (`comms::mail`).
//! Source: reference management 6.

use std::sync::Arc;

use gridpost_comms::mail::{MailKind, MailResource, MailSpec};
use gridpost_grid::manage::Created;
use gridpost_grid::scope::Scope;
use gridpost_model::ResourceId;
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::{Value, json};

use super::email_body::{self, Body};
use super::envelope::{Tracked, system_data};
use super::{Answer, Call, empty, json, lists, ok};
use crate::problem::Refusal;

/// The kind of resource that a path speaks of.
pub(super) fn kind_of(call: &Call) -> Option<MailKind> {
    let names = call.address.names.iter().step_by(2).take(DEEPEST);
    let types: Vec<&str> = names.map(String::as_str).collect();
    // An action ends a path that would name a type otherwise.
    let action = |types: &[&str]| {
        let path = format!("Microsoft.Communication/{}", types.join("/"));
        let mut all = MailKind::ALL.into_iter();
        all.find(|kind| kind.resource_type().eq_ignore_ascii_case(&path))
    };
    action(&types).or_else(|| action(types.split_last()?.1))
}

/// Types of the deepest resource there is.
const DEEPEST: usize = 4;

/// Routes of one kind.
pub(super) async fn route(call: &Call, kind: MailKind) -> Answer {
    let depth = 2 * kind.resource_type().matches('/').count();
    let words = call.address.words();
    match (call.method(), words.get(depth).copied()) {
        (_, None) if words.len() < depth => list(call, kind),
        (&Method::GET, None) => ok(shown(call, kind, &*found(call, &id(call, kind)?)?)),
        (&Method::PUT, None) => put(call, kind).await,
        (&Method::PATCH, None) => patch(call, kind).await,
        (&Method::DELETE, None) => {
            let existed = call.parts.comms.delete_mail(&id(call, kind)?).await?;
            empty(match existed {
                true => StatusCode::OK,
                false => StatusCode::NO_CONTENT,
            })
        }
        (&Method::POST, Some(action @ ("initiateverification" | "cancelverification")))
            if kind == MailKind::Domain && words.len() == depth + 1 =>
        {
            verify(call, action == "initiateverification").await
        }
        (_, None) => Err(call.not_allowed()),
        _ => Err(call.unknown_type()),
    }
}

/// The id that a path names, its types in canonical spelling.
fn id(call: &Call, kind: MailKind) -> Result<ResourceId, Refusal> {
    let types = kind.resource_type().split('/').skip(1);
    let names = call.address.names.iter().skip(1).step_by(2);
    let tail: Vec<String> = types
        .zip(names)
        .map(|(kind, name)| format!("{kind}/{name}"))
        .collect();
    let group = call.address.group_id().ok_or_else(|| call.unknown_type())?;
    group
        .join(&format!(
            "providers/Microsoft.Communication/{}",
            tail.join("/")
        ))
        .map_err(|_| call.unknown_type())
}

fn found(call: &Call, id: &ResourceId) -> Result<Arc<MailResource>, Refusal> {
    let found = call.parts.comms.mail(id);
    found.ok_or_else(|| Refusal::resource_not_found(id))
}

fn list(call: &Call, kind: MailKind) -> Answer {
    if *call.method() != Method::GET {
        return Err(call.not_allowed());
    }
    if kind == MailKind::Service {
        let scope = call.address.list_scope();
        let scope = scope.ok_or_else(|| call.unknown_type())?;
        return lists::answer(call, all(call, &scope, kind));
    }
    // The path ends with the type, so the last name is that of what they live below.
    let parent = parent(call, kind)?;
    let comms = &call.parts.comms;
    if comms.mail(&parent).is_none() && comms.resource(&parent).is_none() {
        return Err(Refusal::resource_not_found(&parent));
    }
    let below = comms.mail_below(&parent, kind);
    lists::answer_some(
        call,
        below,
        |one| one.id.name(),
        |one| shown(call, kind, &one),
    )
}

fn parent(call: &Call, kind: MailKind) -> Result<ResourceId, Refusal> {
    if kind == MailKind::SmtpUsername {
        let name = &call.address.names[1];
        let id = call
            .address
            .resource("Microsoft.Communication", "communicationServices", name);
        return id.ok_or_else(|| call.unknown_type());
    }
    let above = MailKind::ALL.into_iter().find(|one| {
        let types = kind.resource_type().rsplit_once('/');
        types.is_some_and(|(above, _)| above == one.resource_type())
    });
    id(call, above.ok_or_else(|| call.unknown_type())?)
}

/// The resources of a scope, as they are listed.
pub(super) fn all(call: &Call, scope: &Scope, kind: MailKind) -> Vec<Value> {
    let all = call.parts.comms.mail_in(scope, kind);
    all.iter().map(|one| shown(call, kind, one)).collect()
}

async fn put(call: &Call, kind: MailKind) -> Answer {
    let id = id(call, kind)?;
    let _in_group = call.require_group(&id)?;
    let body: Body = call.body()?;
    let (chance, own) = (Arc::clone(&call.parts.chance), id.clone());
    let decide =
        move |known: Option<&MailResource>| email_body::spec(&*chance, kind, &own, body, known);
    let (made, created) = call.parts.comms.put_mail(id, decide).await?;
    let status = match created {
        Created::New => StatusCode::CREATED,
        Created::Updated => StatusCode::OK,
    };
    Ok(json(status, shown(call, kind, &made)))
}

/// Tags, and the one property that can be changed.
async fn patch(call: &Call, kind: MailKind) -> Answer {
    if !email_body::is_tracked(kind) {
        return Err(call.not_allowed());
    }
    let id = id(call, kind)?;
    found(call, &id)?;
    let body: Body = call.body()?;
    let patch = move |known: &MailResource| email_body::patched(kind, known, body);
    ok(shown(call, kind, &*change(call, id, patch).await?))
}

/// Changes what is there, and makes nothing.
async fn change(
    call: &Call,
    id: ResourceId,
    decide: impl FnOnce(&MailResource) -> Result<MailSpec, Refusal> + Send + 'static,
) -> Result<Arc<MailResource>, Refusal> {
    let own = id.clone();
    let decide = move |known: Option<&MailResource>| {
        decide(known.ok_or_else(|| Refusal::resource_not_found(&own))?)
    };
    let (changed, _) = call.parts.comms.put_mail(id, decide).await?;
    Ok(changed)
}

/// There is no name server to ask here: what is to be verified is.
async fn verify(call: &Call, wanted: bool) -> Answer {
    let id = id(call, MailKind::Domain)?;
    found(call, &id)?;
    let body: Value = call.body()?;
    let verified = move |known: &MailResource| email_body::verified(known, &body, wanted);
    change(call, id, verified).await?;
    let subscription = &call.parts.tenant.subscription_id;
    let place = format!(
        "{}/subscriptions/{subscription}/providers/Microsoft.Communication/locations/global/operationStatuses/{}?api-version=2025-09-01",
        call.base,
        call.parts.chance.uuid(),
    );
    let mut response = json(StatusCode::ACCEPTED, json!({"status": "Succeeded"}));
    let headers = response.headers_mut();
    if let Ok(place) = HeaderValue::from_str(&place) {
        headers.insert(header::LOCATION, place);
    }
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    Ok(response)
}

/// What became of an operation: all were done before they were answered.
pub(super) fn operation(call: &Call) -> Answer {
    ok(json!({
        "id": call.path, "name": call.address.names.last(), "status": "Succeeded",
    }))
}

fn shown(call: &Call, kind: MailKind, one: &MailResource) -> Value {
    let properties = email_body::shown(kind, one, data_location(call, one));
    if email_body::is_tracked(kind) {
        return Tracked::new(
            &one.id,
            kind.resource_type(),
            (&one.location, &one.tags),
            (one.created, one.updated),
            properties,
        )
        .shown();
    }
    json!({
        "id": one.id, "name": one.id.name(), "type": kind.resource_type(),
        "systemData": system_data(one.created, one.updated), "properties": properties,
    })
}

/// `dataLocation` is that of the email service.
fn data_location(call: &Call, one: &MailResource) -> Option<Value> {
    // `/subscriptions/{}/resourceGroups/{}/providers/{}/emailServices/{}`: nine parts, the first of them empty.
    let service: Vec<&str> = one.id.as_str().split('/').take(9).collect();
    let service = service.join("/").parse().ok()?;
    let service = call.parts.comms.mail(&service)?;
    service.properties.get("dataLocation").cloned()
}
