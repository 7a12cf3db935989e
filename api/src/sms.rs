//! SMS.

/// `/sms`.
pub fn routes() -> axum::Router<crate::Shared> {
    axum::Router::new()
}
