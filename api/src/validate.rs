//! The page behind `validationUrl`.

use axum::Router;

use crate::Shared;

/// `/eventsubscriptions/{lane}/validate`.
pub fn routes() -> Router<Shared> {
    Router::new()
}
