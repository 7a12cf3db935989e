//! The wire: every surface on the one port.
//!
//! Promise: a handler reads authenticate, parse, one call, render. How a domain error is answered is decided in
//! `problem`, what a path means in `path`, and nothing here holds state of its own beyond what the clients see.
//! Not here: sockets and TLS (`server`), what the calls do (`grid`, `comms`), where anything is kept (`store`).

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use futures_util::future::BoxFuture;
use gridpost_comms::Comms;
use gridpost_comms::sms::handsets::Handsets;
use gridpost_grid::Grid;
use gridpost_model::{Chance, Clock};
use tower::{Service, ServiceExt as _};

pub mod arm;
mod audit;
pub mod auth;
mod body;
pub mod changes;
pub mod chat;
pub mod closing;
pub mod communication;
mod cors;
pub mod graph;
pub mod identity;
pub mod issuer;
mod object;
pub mod operations;
pub mod origin;
pub mod own;
pub mod path;
pub mod planned;
pub mod problem;
pub mod publish;
pub mod routes;
pub mod sinks;
pub mod sms;
pub mod token;
pub mod validate;
pub mod version;
mod words;

/// What the surfaces are made of; `server` puts it together.
pub struct Parts {
    /// The router of events.
    pub grid: Grid,
    /// The communication services.
    pub comms: Comms,
    /// The built-in carrier's handsets.
    pub handsets: Handsets,
    /// The built-in webhook receivers.
    pub sinks: sinks::Sinks,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where identifiers of requests and new keys come from.
    pub chance: Arc<dyn Chance>,
    /// What signs and verifies bearer tokens.
    pub tokens: token::TokenKeys,
    /// Sign-ins on other devices that wait for an approval.
    pub devices: token::device::Devices,
    /// Who we are to Resource Manager clients.
    pub tenant: Tenant,
    /// Which rules apply.
    pub profile: Profile,
    /// How a client reaches us when its request does not tell: `https://127.0.0.1:8480`, no trailing slash.
    pub base_url: String,
    /// Further names under which local clients reach us (a machine's or container's name), as their users spell them.
    pub host_names: Vec<String>,
    /// How the store and the process are doing.
    pub watch: Arc<dyn operations::Watch>,
    /// Changes under way, which end also when their clients have gone.
    pub changes: changes::Changes,
    /// Whose turn it is to change what, of those who change it under a condition.
    pub turns: arm::Turns,
    /// Told when the server begins to drain: what waits or streams without end is let go.
    pub closing: closing::Closing,
    /// What a publisher may send at once.
    pub publish_limits: publish::Limits,
}

/// Which rules apply to whoever connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// On loopback, with built-in identities, sinks and our own REST open to local callers.
    Development,
    /// Everything needs a credential, and there are no sinks.
    Production,
}

/// The one tenant and the one subscription that exist.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// The tenant's GUID.
    pub tenant_id: String,
    /// The subscription's GUID.
    pub subscription_id: String,
}

/// What every handler is given as its state.
pub type Shared = Arc<Parts>;

/// All surfaces.
pub fn surfaces(parts: Parts) -> Surfaces {
    let parts: Shared = Arc::new(parts);
    let routes = routes::Routes::new()
        .merge(operations::routes())
        .merge(validate::routes())
        .merge(token::routes())
        .merge(graph::routes())
        .merge(sms::routes())
        .merge(identity::routes())
        .merge(chat::routes())
        .merge(planned::routes())
        .merge(own::routes(&parts));
    let (router, mut paths) = routes.into_parts();
    paths.extend(publish::PATHS.map(str::to_owned));
    let router = router.fallback(arm::answer).with_state(Arc::clone(&parts));
    Surfaces {
        parts,
        router: Arc::new(router),
        paths: paths.into(),
    }
}

/// The service that answers every request. Cheap to clone, always ready.
///
/// Publishing is told apart before anything else is done, because it is the path that must be short. For all else,
/// paths are normalised first; `path::RawTarget` in the extensions keeps what the client sent.
#[derive(Clone)]
pub struct Surfaces {
    parts: Shared,
    router: Arc<Router>,
    paths: Arc<[String]>,
}

impl Surfaces {
    /// Every path that is answered, but for those of Resource Manager, which [`arm::listed`] has: what the test asks for
    /// that decides who may use each.
    pub fn paths(&self) -> &[String] {
        &self.paths
    }
}

impl Service<Request> for Surfaces {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        if publish::is_for_us(&request) {
            let parts = Arc::clone(&self.parts);
            return Box::pin(async move { Ok(publish::answer(&parts, request).await) });
        }
        let router = Router::clone(&self.router);
        Box::pin(router.oneshot(path::normalise(request)))
    }
}
