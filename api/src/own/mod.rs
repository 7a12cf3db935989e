//! Our own REST.

/// `/_gridpost/v1`.
pub fn routes() -> axum::Router<crate::Shared> {
    axum::Router::new()
}
