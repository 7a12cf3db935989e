//! Resource Manager.
//!
//! Promise: a call is authenticated, may do what it asks for and has an `api-version` before anything looks at what it
//! wants; a path is taken apart once, by `address`; a route that the table in `access` does not name is not there, whoever
//! would answer it, and its caller may do what that table says; each resource type answers for itself. A change that was
//! begun ends, and is written down, also when its client hangs up.
//! Not here: signing in (`token`), error bodies (`problem`), what a change does (`grid`, `comms`).
//! Source: reference management 3 to 6, event-grid 3.1 and 3.2.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use gridpost_grid::audit::Kind;
use gridpost_grid::directory::InGroup;
use gridpost_grid::intake::IntakeKind;
use gridpost_model::{Plane, ResourceId};
use http::{Method, StatusCode, request};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::audit::{Correlation, Note, Told};
use crate::auth::bearer::{self, Audience};
use crate::auth::{Principal, allow, machine};
use crate::problem::Refusal;
use crate::{Shared, origin, path, publish, version};

mod access;
mod address;
mod authorization;
mod communication;
mod conditions;
mod destination_body;
mod domain_topics;
mod email;
mod email_body;
mod entrances;
mod envelope;
mod event_subscriptions;
mod filter_body;
mod groups;
mod handler_body;
mod headers;
mod ingress_body;
mod lists;
mod objects;
mod operations;
mod providers;
mod resources;
mod subscription_body;
mod system_topics;
mod topic_types;

use access::Need;
use address::Address;
pub use conditions::Turns;
pub(crate) use filter_body::{read_filter, shown as shown_filter};

/// The limit of a management request, as the real service has it.
const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;

/// What a handler gives back.
type Answer = Result<Response, Refusal>;

/// Answers every request that no other surface knows.
pub async fn answer(State(parts): State<Shared>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let path = path::decoded(&head.uri).into_owned();
    let Some(address) = Address::parse(&path) else {
        return publish::not_found(&parts, &head)
            .explained("This is Gridpost; clients take its address without a path.")
            .answer(&parts);
    };
    let correlation = Correlation::of(&parts, &head.headers);
    let base = origin::base_url(&parts, &head);
    let answered = match bearer::authenticate(&parts, &head, Audience::Management) {
        Err(why) => Refusal::unauthenticated(why, &base).into_response(),
        // Nothing is read of a call that nobody has signed.
        Ok(principal) => match axum::body::to_bytes(body, MAX_BODY_BYTES).await {
            Err(_) => Refusal::too_large(MAX_BODY_BYTES).into_response(),
            Ok(body) => {
                let call = Call {
                    parts: Arc::clone(&parts),
                    principal,
                    head: head.clone(),
                    body,
                    base,
                    path,
                    address,
                    correlation: correlation.clone(),
                };
                call.seen_through().await
            }
        },
    };
    headers::finish(&parts, &head, &correlation, answered)
}

/// One authenticated call.
struct Call {
    parts: Shared,
    principal: Principal,
    head: request::Parts,
    body: Bytes,
    /// The address the client dialled.
    base: String,
    /// The whole path, decoded.
    path: String,
    address: Address,
    correlation: Correlation,
}

impl Call {
    /// What only looks ends with its asker; all else is done and written down to its end.
    async fn seen_through(self) -> Response {
        let (changes, only_looks) = (self.parts.changes.clone(), only_looks(self.method()));
        let work = Box::pin(self.answered());
        if only_looks {
            return work.await;
        }
        let answered = changes.see_through(work).await;
        answered.unwrap_or_else(|| Refusal::not_stored().into_response())
    }

    async fn answered(self) -> Response {
        let answer = self.permitted().await;
        let (status, code) = match &answer {
            Ok(response) => (response.status(), None),
            Err(refusal) => (refusal.status(), Some(refusal.code())),
        };
        if let Some(note) = self.note(status) {
            let written = note.write(Arc::clone(&self.parts), status, code);
            if only_looks(self.method()) {
                self.parts.changes.see_through(written).await;
            } else {
                written.await;
            }
        }
        answer.unwrap_or_else(IntoResponse::into_response)
    }

    /// What has to stand in the audit log: changes, looks at keys, and what was refused of them; of what only looks, what
    /// a role refused.
    fn note(&self, status: StatusCode) -> Option<Note> {
        let row = access::find(&self.address).filter(|row| row.has(self.method()))?;
        let is_noted = row.is_noted && !only_looks(self.method());
        if !is_noted && status != StatusCode::FORBIDDEN {
            return None;
        }
        let told = Told {
            kind: match row.shows_secrets() {
                true => Kind::Look,
                false => Kind::Change,
            },
            action: row.action(self.method(), &self.address),
            scope: access::scope(&self.address),
            correlation: self.correlation.clone(),
            body: self.body.clone(),
        };
        Some(Note::of(&self.head, Some(&self.principal), told))
    }

    async fn permitted(&self) -> Answer {
        self.require_permission()?;
        if version::api_version(self.head.uri.query()).is_none() {
            return Err(Refusal::missing_api_version());
        }
        self.require_subscription()?;
        // Only a resource group says by itself whether it exists.
        if *self.method() == Method::HEAD && self.address.namespace.is_some() {
            return self
                .as_get()
                .dispatch()
                .await
                .and(empty(StatusCode::NO_CONTENT));
        }
        // Until the change is done.
        let turn = conditions::hold(self).await?;
        if turn.is_some() {
            // Whoever waited may have been deleted meanwhile, or lost the role.
            self.require_permission()?;
        }
        conditions::tagged(self, self.dispatch().await?).await
    }

    /// The same call, only asking.
    fn as_get(&self) -> Self {
        let mut head = self.head.clone();
        head.method = Method::GET;
        Self {
            parts: Arc::clone(&self.parts),
            principal: self.principal.clone(),
            head,
            body: Bytes::new(),
            base: self.base.clone(),
            path: self.path.clone(),
            address: self.address.clone(),
            correlation: self.correlation.clone(),
        }
    }

    async fn dispatch(&self) -> Answer {
        let namespace = self.address.namespace.as_deref().unwrap_or_default();
        match namespace.to_ascii_lowercase().as_str() {
            "" => groups::route(self).await,
            _ if self.address.is_about_provider() => providers::route(self),
            "microsoft.communication" => communication::route(self).await,
            "microsoft.eventgrid" => self.route_event_grid().await,
            "microsoft.authorization" => authorization::route(self).await,
            _ => Err(self.unknown_type()),
        }
    }

    async fn route_event_grid(&self) -> Answer {
        match self.address.words().first() {
            Some(&"topics") => entrances::route(self, IntakeKind::Topic).await,
            Some(&"domains") => entrances::route(self, IntakeKind::Domain).await,
            Some(&"systemtopics") if self.address.names.len() < 4 => {
                system_topics::route(self).await
            }
            Some(&("systemtopics" | "eventsubscriptions")) => {
                event_subscriptions::route(self).await
            }
            Some(&("locations" | "topictypes")) if self.address.scope.is_some() => {
                event_subscriptions::route(self).await
            }
            Some(&("topictypes" | "eventtypes" | "extensiontopics" | "operations")) => {
                topic_types::route(self)
            }
            _ => Err(self.unknown_type()),
        }
    }

    fn require_permission(&self) -> Result<(), Refusal> {
        let row = access::find(&self.address).ok_or_else(|| self.unknown_type())?;
        if !row.has(self.method()) {
            return Err(self.not_allowed());
        }
        let action = row.action(self.method(), &self.address);
        let scope = access::scope(&self.address);
        match row.need {
            Need::SignIn => Ok(()),
            Need::AnyRole if self.holds_any_role() => Ok(()),
            Need::AnyRole => Err(Refusal::forbidden(&self.principal, &action, &scope)),
            Need::Role => self.require(&action, &scope),
        }
    }

    /// Refuses unless the caller may do something to what is at a scope.
    fn require(&self, action: &str, scope: &str) -> Result<(), Refusal> {
        let principal = &self.principal;
        if allow(&self.parts, principal, Plane::Management, action, scope) {
            return Ok(());
        }
        Err(Refusal::forbidden(principal, action, scope))
    }

    fn holds_any_role(&self) -> bool {
        let principal = &self.principal;
        machine::is(principal) || self.parts.grid.holds_any_role(&principal.object_id)
    }

    fn require_subscription(&self) -> Result<(), Refusal> {
        let own = &self.parts.tenant.subscription_id;
        match self.address.subscription() {
            Some(other) if !other.eq_ignore_ascii_case(own) => {
                Err(Refusal::subscription_not_found(other))
            }
            _ => Ok(()),
        }
    }

    /// The resource group that a new resource goes into. It stays while this is held, so until the resource is there.
    fn require_group(&self, id: &ResourceId) -> Result<InGroup, Refusal> {
        let name = id.resource_group().ok_or_else(|| self.unknown_type())?;
        let group = self.address.group_id();
        let group = group.ok_or_else(|| Refusal::group_not_found(name))?;
        groups::enter(self, &group)
    }

    fn method(&self) -> &Method {
        &self.head.method
    }

    /// The body as `T`; unknown fields do not matter.
    fn body<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        objects::from_slice(&self.body).map_err(|error| {
            let message = format!(
                "The request content was invalid and could not be deserialized: '{error}'."
            );
            Refusal::new(StatusCode::BAD_REQUEST, "InvalidRequestContent", message)
        })
    }

    /// A parameter of the query string, its name compared without case.
    fn query(&self, name: &str) -> Option<String> {
        let query = self.head.uri.query()?;
        url::form_urlencoded::parse(query.as_bytes())
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.into_owned())
    }

    fn not_allowed(&self) -> Refusal {
        Refusal::method_not_allowed(&self.head.method)
    }

    /// 501 for what the real service has, 404 for what nobody has.
    fn unknown_type(&self) -> Refusal {
        let namespace = self.address.namespace.as_deref().unwrap_or_default();
        let names = &self.address.names;
        let types: Vec<&str> = names.iter().step_by(2).map(String::as_str).collect();
        let resource_type = format!("{namespace}/{}", types.join("/"));
        if providers::is_planned(&resource_type) {
            return Refusal::not_implemented(&format!("The resource type '{resource_type}'"));
        }
        Refusal::no_route(&self.path)
    }
}

/// Every method and path there is, for the test that asks for each: names are written `{}`, a resource on which others
/// hang `{resource}`.
pub fn listed() -> Vec<(&'static str, String)> {
    access::listed()
}

fn only_looks(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

fn json(status: StatusCode, body: impl Serialize) -> Response {
    (status, Json(body)).into_response()
}

fn ok(body: Value) -> Answer {
    Ok(json(StatusCode::OK, body))
}

fn empty(status: StatusCode) -> Answer {
    Ok(status.into_response())
}
