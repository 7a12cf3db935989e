//! Resource Manager.
//!
//! Promise: a call is authenticated and has an `api-version` before anything looks at what it wants; a path is taken
//! apart once, by `address`, and each resource type answers for itself.
//! Not here: signing in (`token`), error bodies (`problem`), what a change does (`grid`, `comms`).
//! Source: reference management 3 to 6, event-grid 3.1 and 3.2.

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use gridpost_grid::intake::IntakeKind;
use gridpost_model::ResourceId;
use http::{Method, StatusCode, request};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::auth::bearer::{self, Audience};
use crate::auth::{Principal, allow};
use crate::problem::Refusal;
use crate::{Parts, Shared, origin, path, publish, version};

mod address;
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

use address::Address;
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
    let base = origin::base_url(&parts, &head);
    let call = Call {
        parts: &parts,
        head: head.clone(),
        body: Bytes::new(),
        base,
        path,
        address,
    };
    let answered = Box::pin(call.answered(body)).await;
    let response = answered.unwrap_or_else(IntoResponse::into_response);
    headers::finish(&parts, &head, response)
}

/// One authenticated call.
struct Call<'a> {
    parts: &'a Parts,
    head: request::Parts,
    /// Read once it is known who calls.
    body: Bytes,
    /// The address the client dialled.
    base: String,
    /// The whole path, decoded.
    path: String,
    address: Address,
}

impl Call<'_> {
    /// Nothing is read of a call that nobody has signed.
    async fn answered(mut self, body: Body) -> Answer {
        let principal = bearer::authenticate(self.parts, &self.head, Audience::Management)
            .map_err(|why| Refusal::unauthenticated(why, &self.base))?;
        self.body = axum::body::to_bytes(body, MAX_BODY_BYTES)
            .await
            .map_err(|_| Refusal::too_large(MAX_BODY_BYTES))?;
        self.route(&principal).await
    }

    async fn route(&self, principal: &Principal) -> Answer {
        if version::api_version(self.head.uri.query()).is_none() {
            return Err(Refusal::missing_api_version());
        }
        self.require_permission(principal)?;
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
        let _turn = conditions::hold(self).await?;
        conditions::tagged(self, self.dispatch().await?).await
    }

    /// The same call, only asking.
    fn as_get(&self) -> Self {
        let mut head = self.head.clone();
        head.method = Method::GET;
        Self {
            parts: self.parts,
            head,
            body: Bytes::new(),
            base: self.base.clone(),
            path: self.path.clone(),
            address: self.address.clone(),
        }
    }

    async fn dispatch(&self) -> Answer {
        let namespace = self.address.namespace.as_deref().unwrap_or_default();
        match namespace.to_ascii_lowercase().as_str() {
            "" => groups::route(self).await,
            _ if self.address.is_about_provider() => providers::route(self),
            "microsoft.communication" => communication::route(self).await,
            "microsoft.eventgrid" => self.route_event_grid().await,
            "microsoft.resources" => groups::route(self).await,
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

    fn require_permission(&self, principal: &Principal) -> Result<(), Refusal> {
        let action = self.action();
        let scope = self.address.scope.as_ref().map_or("/", ResourceId::as_str);
        if allow(principal, &action, scope) {
            return Ok(());
        }
        Err(Refusal::forbidden(&principal.client_id, &action, scope))
    }

    /// `Microsoft.EventGrid/topics/write`: what roles will speak of.
    fn action(&self) -> String {
        let verb = match self.head.method {
            Method::GET | Method::HEAD => "read",
            Method::PUT | Method::PATCH => "write",
            Method::DELETE => "delete",
            _ => "action",
        };
        let namespace = self
            .address
            .namespace
            .as_deref()
            .unwrap_or("Microsoft.Resources");
        let types: Vec<&str> = self
            .address
            .names
            .iter()
            .step_by(2)
            .map(String::as_str)
            .collect();
        format!("{namespace}/{}/{verb}", types.join("/"))
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

    /// The resource group that a new resource goes into.
    fn require_group(
        &self,
        id: &ResourceId,
    ) -> Result<std::sync::Arc<gridpost_grid::directory::ResourceGroup>, Refusal> {
        let name = id.resource_group().ok_or_else(|| self.unknown_type())?;
        let group = self
            .address
            .group_id()
            .and_then(|id| self.parts.grid.resource_group(&id));
        group.ok_or_else(|| Refusal::group_not_found(name))
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

fn json(status: StatusCode, body: impl Serialize) -> Response {
    (status, Json(body)).into_response()
}

fn ok(body: Value) -> Answer {
    Ok(json(StatusCode::OK, body))
}

fn empty(status: StatusCode) -> Answer {
    Ok(status.into_response())
}
