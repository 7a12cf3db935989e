//! Built-in webhook receivers.

/// The receivers and what they received.
#[derive(Clone, Debug, Default)]
pub struct Sinks;

/// `/_gridpost/v1/sinks`.
pub fn routes() -> axum::Router<crate::Shared> {
    axum::Router::new()
}
