//! Who is calling, and what they may do.

use gridpost_model::Plane;

use crate::Parts;

pub mod bearer;
pub mod hmac;
pub mod machine;
pub(crate) mod sas;
pub mod user_token;

/// Whoever presented a valid credential of Resource Manager or of our own REST.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// `appid`: the client identifier.
    pub client_id: String,
    /// `oid`: what roles are assigned to.
    pub object_id: String,
}

impl Principal {
    /// That it may not do something, in the service's words.
    pub(crate) fn may_not(&self, action: &str, scope: &str) -> String {
        let (client, object) = (&self.client_id, &self.object_id);
        format!(
            "The client '{client}' with object id '{object}' does not have authorization to perform action '{action}' over scope '{scope}' or the scope is invalid. If access was recently granted, please refresh your credentials."
        )
    }
}

/// Whether a principal may do something to what is at a scope. Whoever can read the data folder may do everything
/// already, and needs no role.
pub fn allow(
    parts: &Parts,
    principal: &Principal,
    plane: Plane,
    action: &str,
    scope: &str,
) -> bool {
    let grid = &parts.grid;
    machine::is(principal) || grid.may(&principal.object_id, plane, action, scope)
}
