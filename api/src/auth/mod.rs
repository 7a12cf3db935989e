//! Who is calling.

pub mod bearer;
pub mod hmac;
pub(crate) mod sas;
pub mod user_token;

/// Whoever presented a valid credential of Resource Manager or of our own REST.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// `appid`: the client identifier.
    pub client_id: String,
}

/// Whether a principal may do something to a resource. Every valid principal may do all; roles will decide here.
pub fn allow(_principal: &Principal, _action: &str, _scope: &str) -> bool {
    true
}
