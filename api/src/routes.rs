//! A router that knows its paths.
//!
//! Promise: every path that is answered is listed, so that a test can ask for each and no route is forgotten when it is
//! decided who may use it. What Resource Manager answers is listed by its own table (`arm`).

use std::convert::Infallible;

use axum::Router;
use axum::extract::Request;
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, Route};
use tower::{Layer, Service};

use crate::Shared;

/// A router and the paths it has.
#[derive(Default)]
pub struct Routes {
    router: Router<Shared>,
    paths: Vec<String>,
}

impl Routes {
    /// Without a path.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a path, as `Router::route` does.
    #[must_use]
    pub fn route(mut self, path: &str, methods: MethodRouter<Shared>) -> Self {
        self.router = self.router.route(path, methods);
        self.paths.push(path.to_owned());
        self
    }

    /// Adds the paths of another.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.router = self.router.merge(other.router);
        self.paths.extend(other.paths);
        self
    }

    /// Adds the paths of another below a path.
    #[must_use]
    pub fn nest(mut self, path: &str, other: Self) -> Self {
        self.router = self.router.nest(path, other.router);
        let below = other.paths.into_iter();
        self.paths
            .extend(below.map(|below| format!("{path}{below}")));
        self
    }

    /// Puts a layer around the paths that are there, as `Router::layer` does.
    #[must_use]
    pub fn layer<L>(self, layer: L) -> Self
    where
        L: Layer<Route> + Clone + Send + Sync + 'static,
        L::Service: Service<Request> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request>>::Response: IntoResponse + 'static,
        <L::Service as Service<Request>>::Error: Into<Infallible> + 'static,
        <L::Service as Service<Request>>::Future: Send + 'static,
    {
        self.with(|router| router.layer(layer))
    }

    /// Changes what adds no path.
    #[must_use]
    pub(crate) fn with(mut self, change: impl FnOnce(Router<Shared>) -> Router<Shared>) -> Self {
        self.router = change(self.router);
        self
    }

    /// The router, and the paths.
    pub(crate) fn into_parts(self) -> (Router<Shared>, Vec<String>) {
        (self.router, self.paths)
    }
}
